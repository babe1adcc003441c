//! Which folders of the crate may use which: `serve` knows no gRPC, `net` and `disk` know no `serve`, `wire` knows nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Folder, and what its files must not name.
const WALLS: [(&str, &[&str]); 4] = [
    ("serve", &["crate::rpc", "crate::proto", "crate::cli", "tonic", "prost", "tokio_stream", "tokio::net", "tokio::runtime"]),
    ("net", &["crate::serve", "crate::rpc", "crate::proto", "crate::cli", "tonic", "tokio", "crate::store", "crate::worker"]),
    ("disk", &["crate::serve", "crate::rpc", "crate::proto", "crate::cli", "tonic", "tokio", "crate::net", "crate::store"]),
    ("wire", &["crate::", "tonic", "tokio", "std::fs", "std::net", "std::io", "libc"]),
];

const MAX_LINES: usize = 400;

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 40, "{found:?}");
    found
}

#[test]
fn no_folder_uses_what_it_must_not_know() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (folder, forbidden) in WALLS {
        let files: Vec<PathBuf> = all().into_iter().filter(|path| path.starts_with(root.join(folder))).collect();
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for (number, line) in code.enumerate() {
                for name in forbidden {
                    assert!(!line.contains(name), "{}: {name} (line {} of its code): {line}", file.display(), number + 1);
                }
            }
        }
    }
}

#[test]
fn no_file_has_grown_beyond_reading() {
    for file in all() {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", file.display());
    }
}
