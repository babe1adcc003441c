//! How long to poll for the next frame before sleeping. Where CPUs are virtual, waking up costs tens of microseconds; but where
//! the initiator runs on the same machine, a polling thread keeps the other CPU busy, and waking the initiator takes longer.
//! So the thread polls for as long as that pays.

use std::time::Duration;

/// Polling stops after so many polls in a row that found nothing.
const MAX_FRUITLESS_POLLS: u32 = 8;
/// After so many sleeps without polling, polling is tried again.
const SLEEPS_BEFORE_RETRY: u32 = 256;
/// Gaps longer than this say nothing about whether polling pays.
const MAX_TELLING_GAP: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct Polling {
    most: Duration,
    /// Sleeps since polling found something.
    sleeps: u32,
}

impl Polling {
    /// `most`: how long to poll while it pays. Zero: sleep at once, always.
    pub fn new(most: Duration) -> Polling {
        Polling { most, sleeps: 0 }
    }

    /// How long to poll.
    pub fn limit(&self) -> Duration {
        if self.sleeps < MAX_FRUITLESS_POLLS { self.most } else { Duration::ZERO }
    }

    /// Polling found something.
    pub fn found(&mut self) {
        self.sleeps = 0;
    }

    /// The thread has slept. `gap`: how long there was nothing to do.
    pub fn slept(&mut self, gap: Duration) {
        if gap < MAX_TELLING_GAP {
            self.sleeps = (self.sleeps + 1) % (MAX_FRUITLESS_POLLS + SLEEPS_BEFORE_RETRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);
    const LATE: Duration = Duration::from_micros(90);

    #[test]
    fn polling_ends_where_it_does_not_pay_and_is_tried_again() {
        let mut polling = Polling::new(MOST);
        for _ in 0..MAX_FRUITLESS_POLLS - 1 {
            polling.slept(LATE);
        }
        assert_eq!(polling.limit(), MOST);
        polling.found();
        for _ in 0..MAX_FRUITLESS_POLLS {
            assert_eq!(polling.limit(), MOST);
            polling.slept(LATE);
        }
        for _ in 0..SLEEPS_BEFORE_RETRY {
            assert_eq!(polling.limit(), Duration::ZERO);
            polling.slept(LATE);
        }
        assert_eq!(polling.limit(), MOST);
    }

    #[test]
    fn a_long_gap_changes_nothing() {
        let mut polling = Polling::new(MOST);
        for _ in 0..2 * MAX_FRUITLESS_POLLS {
            polling.slept(MAX_TELLING_GAP);
            assert_eq!(polling.limit(), MOST);
        }
    }
}
