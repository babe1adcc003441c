//! Decodes frames: a line of hex on standard input for each, a line of JSON on standard output. The TypeScript codec is
//! compared with this one so (test/conformance/codecs.test.ts).

#[path = "../tests/codec/decode.rs"]
mod decode;

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let frame = decode::unhex(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no hex: {line}")))?;
        writeln!(out, "{}", decode::decode(&frame))?;
    }
    out.flush()
}
