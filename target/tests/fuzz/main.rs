//! Hostile frames at the codec and at the server, without sockets. What the fuzzers of target/fuzz found worth keeping is here:
//! corpus/ holds inputs that reach different code, and every input that once broke something is a test with a name.

mod answer;
mod codec;
mod disk;
mod judge;
mod model;
mod rig;
mod script;
mod segment;

use std::path::Path;

use proptest::prelude::*;

fn corpus(entry: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(entry);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{} holds {} inputs", folder.display(), files.len());
    for file in files {
        let input = std::fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| run(&input)).is_err() {
            panic!("{}", file.display());
        }
    }
}

#[test]
fn the_codec_lives_through_its_corpus() {
    corpus("codec", codec::codec);
}

#[test]
fn the_server_lives_through_its_corpus() {
    corpus("serve", rig::serve);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_codec_lives_through_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        codec::codec(&bytes);
    }

    #[test]
    fn the_server_does_what_it_must_and_nothing_else(setup in 0u8..4, steps in prop::collection::vec(any::<u8>(), 0..600)) {
        rig::serve(&[&[setup], &steps[..]].concat());
    }
}
