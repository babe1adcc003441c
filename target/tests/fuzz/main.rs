//! Hostile frames at the codec and at the server, without sockets. What the fuzzers of target/fuzz found worth keeping is here:
//! corpus/ holds inputs that reach different code, and what once broke something is a test with a name.

mod answer;
mod busy;
mod codec;
mod disk;
mod judge;
mod model;
mod rig;
mod script;
mod segment;
mod told;

use proptest::prelude::*;

/// Each line is an input in hex.
fn corpus(lines: &str, run: fn(&[u8])) {
    assert!(lines.lines().count() > 10);
    for line in lines.lines() {
        let input = unhex(line);
        assert!(std::panic::catch_unwind(|| run(&input)).is_ok(), "{line}");
    }
}

fn unhex(line: &str) -> Vec<u8> {
    let pairs = line.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

#[test]
fn the_codec_lives_through_its_corpus() {
    corpus(include_str!("corpus/codec.hex"), codec::codec);
}

#[test]
fn the_server_lives_through_its_corpus() {
    corpus(include_str!("corpus/serve.hex"), rig::serve);
}

#[test]
fn writes_by_two_interfaces_are_done_in_the_order_in_which_they_came() {
    // To one sector: of fives by if1, then of nines by if0.
    let writes = [[0x90, 0, 0, 0, 3, 1, 0, 0, 5], [0x10, 0, 0, 0, 3, 1, 0, 0, 9]].concat();
    for setup in 0..2 {
        rig::serve(&[&[setup], &writes[..]].concat());
    }
}

#[test]
fn a_change_of_access_that_overtakes_a_removal_admits_its_hosts_until_the_volume_is_gone() {
    // The first volume is exported again, removed while its disk is being opened, and then another host alone may use it.
    let (export, removal, access) = ([4, 0, 0], [5, 0], [2, 0, 4, 0]);
    for setup in 2..4 {
        rig::serve(&[&[setup], &export[..], &removal, &access].concat());
    }
}

/// A step of a script that is likely to come to something, where most strings of bytes do not: see script.rs.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let ata = prop::collection::vec(0u8..6, 9).prop_map(|mut step| {
        let port = step[0] << 7;
        (step[0], step[3], step[7]) = (port | 0x10, step[3] % 3, 0); // some ATA request, for a slot where a volume is, on the disk
        step
    });
    let end = prop::collection::vec(0u8..6, 9).prop_map(|mut step| {
        // A read, a write or IDENTIFY, of the first volume, at its end: what a growth changes.
        (step[0], step[2], step[3], step[6], step[7]) = (0x10, 0, 0, 38 + step[6], 0);
        step[4] = [1, 3, 7][usize::from(step[4]) % 3];
        step
    });
    let list = (0x19u8..0x1d, prop::collection::vec(0u8..6, 9)).prop_map(|(kind, rest)| [&[kind], &rest[..]].concat());
    let change = (0u8..7, prop::collection::vec(0u8..8, 3)).prop_map(|(kind, rest)| [&[kind], &rest[..]].concat());
    prop_oneof![4 => ata, 1 => end, 1 => list, 1 => change]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_codec_lives_through_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        codec::codec(&bytes);
    }

    #[test]
    fn the_server_lives_through_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        rig::serve(&bytes);
    }

    #[test]
    fn the_server_does_what_it_must_and_nothing_else(setup in 0u8..4, steps in prop::collection::vec(step(), 0..60)) {
        rig::serve(&[&[setup], &steps.concat()[..]].concat());
    }
}
