#![no_main]

#[path = "../../tests/fuzz/codec.rs"]
mod codec;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| codec::codec(bytes));
