#![no_main]

#[path = "../../tests/fuzz/answer.rs"]
mod answer;
#[path = "../../tests/fuzz/disk.rs"]
mod disk;
#[path = "../../tests/fuzz/judge.rs"]
mod judge;
#[path = "../../tests/fuzz/model.rs"]
mod model;
#[path = "../../tests/fuzz/rig.rs"]
mod rig;
#[path = "../../tests/fuzz/script.rs"]
mod script;
#[path = "../../tests/fuzz/segment.rs"]
mod segment;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| rig::serve(bytes));
