use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// Longest sleep between two looks at whether the job was stopped.
pub const NAP: Duration = Duration::from_millis(50);

/// What may change while a job runs, and what it counts.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    rate: AtomicU64,
    share: AtomicU64,
    read: AtomicU64,
}

impl Control {
    pub fn new(rate: u64) -> Control {
        Control { rate: AtomicU64::new(rate), ..Control::default() }
    }

    /// Has the job end soon.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An error once the job was stopped.
    pub fn check(&self) -> Result<(), Failure> {
        if self.is_stopped() { Err(Failure::Stopped) } else { Ok(()) }
    }

    /// Sleeps so long, or until the job is stopped.
    pub fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    /// Bytes per second; 0: no limit.
    pub fn rate(&self) -> u64 {
        let limits = [self.rate.load(Ordering::Relaxed), self.share.load(Ordering::Relaxed)];
        limits.into_iter().filter(|limit| *limit > 0).min().unwrap_or(0)
    }

    pub fn set_rate(&self, rate: u64) {
        self.rate.store(rate, Ordering::Relaxed);
    }

    /// What the job may read of the bytes per second that all jobs may read together; 0: no limit.
    pub fn set_share(&self, share: u64) {
        self.share.store(share, Ordering::Relaxed);
    }

    pub fn count_read(&self, bytes: u64) {
        self.read.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that were read from the source.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}
