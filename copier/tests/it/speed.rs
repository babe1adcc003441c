//! Not a test: `cargo test --release -p aoe-copier --test it -- --ignored --nocapture speed` prints MB/s of this machine.

use std::time::Instant;

use crate::copier::Copier;
use crate::lab::Lab;

#[test]
#[ignore = "measures this machine, and asserts nothing"]
fn speed() {
    for mtu in [1500, 9000] {
        let Some(lab) = Lab::new(mtu) else { return };
        let bytes: u64 = 256 << 20;
        let source = lab.path("source");
        std::fs::write(&source, vec![0xa5; bytes as usize]).unwrap();
        let destination = lab.empty("destination", bytes);
        let _target = lab.serve(&source, "SERIAL7");
        let mut copier = Copier::start(&lab);
        for (id, job) in
            [("aoe", lab.remote("aoe", bytes, &destination)), ("local", lab.local("local", &source, bytes, &lab.empty("other", bytes)))]
        {
            let begin = Instant::now();
            copier.begin(&job);
            copier.until(id, "copied", |state| state.copied == bytes);
            let copied = begin.elapsed();
            copier.until_verified(id);
            let verified = begin.elapsed() - copied;
            let rate = |time: std::time::Duration| bytes as f64 / 1e6 / time.as_secs_f64();
            println!(
                "MTU {mtu}, {id}: copied at {:.0} MB/s, verified at {:.0} MB/s, {} KiB",
                rate(copied),
                rate(verified),
                copier.peak_kib()
            );
        }
    }
}
