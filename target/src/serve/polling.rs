//! How long to look for the next frame before sleeping. Where CPUs are virtual, waking up costs tens of microseconds; but so
//! does waking an initiator on the same machine when this thread keeps the other CPU busy. So it goes on as long as it pays.

use std::time::Duration;

/// So many times in a row it may be for nothing.
const FAILURES: u32 = 8;
/// After so many sleeps without looking, it is tried again.
const AGAIN: u32 = 256;
/// Who comes that late comes out of the blue, and tells nothing of what comes next.
const BLUE: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub struct Patience {
    most: Duration,
    /// Sleeps since something was found by looking.
    sleeps: u32,
}

impl Patience {
    /// Zero: sleep at once, always.
    pub fn new(most: Duration) -> Patience {
        Patience { most, sleeps: 0 }
    }

    /// How long to look.
    pub fn limit(&self) -> Duration {
        if self.sleeps < FAILURES { self.most } else { Duration::ZERO }
    }

    /// To be told when something was found by looking.
    pub fn found(&mut self) {
        self.sleeps = 0;
    }

    /// To be told, after sleeping, how long there was nothing to do.
    pub fn slept(&mut self, idle: Duration) {
        if idle < BLUE {
            self.sleeps = (self.sleeps + 1) % (FAILURES + AGAIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(50);
    const LATE: Duration = Duration::from_micros(90);

    #[test]
    fn patience_ends_where_it_does_not_pay_and_is_tried_again() {
        let mut patience = Patience::new(MOST);
        for _ in 0..FAILURES - 1 {
            patience.slept(LATE);
        }
        assert_eq!(patience.limit(), MOST);
        patience.found();
        for _ in 0..FAILURES {
            assert_eq!(patience.limit(), MOST);
            patience.slept(LATE);
        }
        for _ in 0..AGAIN {
            assert_eq!(patience.limit(), Duration::ZERO);
            patience.slept(LATE);
        }
        assert_eq!(patience.limit(), MOST);
    }

    #[test]
    fn a_long_silence_changes_nothing() {
        let mut patience = Patience::new(MOST);
        for _ in 0..2 * FAILURES {
            patience.slept(BLUE);
            assert_eq!(patience.limit(), MOST);
        }
    }
}
