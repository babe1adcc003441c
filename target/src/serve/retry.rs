use std::time::{Duration, Instant};

/// How often a disk, or an interface, that could not be used is tried again.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// When something is to be tried again, if anything.
#[derive(Debug, Default)]
pub struct Retry(Option<Instant>);

impl Retry {
    pub fn at(&self) -> Option<Instant> {
        self.0
    }

    /// Something failed: it is to be tried again after [`INTERVAL`], or earlier if something else is due earlier.
    pub fn later(&mut self) {
        self.0.get_or_insert_with(|| Instant::now() + INTERVAL);
    }

    /// Whether the time has come. It is due once.
    pub fn take_due(&mut self, now: Instant) -> bool {
        self.0.take_if(|at| *at <= now).is_some()
    }

    #[cfg(test)]
    pub fn make_due(&mut self) {
        self.0 = Some(Instant::now());
    }
}
