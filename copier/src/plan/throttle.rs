use std::time::{Duration, Instant};

/// Idle time that may be made up for: a job that is woken late by this much does not fall behind.
const CREDIT: Duration = Duration::from_millis(50);

/// Bytes that were read ahead of the rate. The next piece may be read when there are none.
pub struct Throttle {
    /// In bytes; below 0: credit.
    debt: f64,
    at: Instant,
}

impl Throttle {
    pub fn new(now: Instant) -> Throttle {
        Throttle { debt: 0.0, at: now }
    }

    /// How long to wait before the next piece is read, at `rate` bytes per second; 0: no limit. The rate may change at any time.
    pub fn delay(&mut self, rate: u64, now: Instant) -> Duration {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        if rate == 0 {
            self.debt = 0.0;
            return Duration::ZERO;
        }
        let rate = rate as f64;
        self.debt = (self.debt - rate * elapsed).max(-rate * CREDIT.as_secs_f64());
        Duration::from_secs_f64((self.debt / rate).clamp(0.0, 3600.0))
    }

    /// A piece is read.
    pub fn charge(&mut self, bytes: u64) {
        self.debt += bytes as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn over_ten_seconds_the_rate_holds(rate in 100_000u64..1_000_000_000, piece in 512u64..1 << 20, late in 0u64..5_000) {
            let start = Instant::now();
            let mut throttle = Throttle::new(start);
            let (mut now, mut sent) = (start, 0u64);
            let end = start + Duration::from_secs(10);
            while now < end {
                let delay = throttle.delay(rate, now);
                if delay.is_zero() {
                    throttle.charge(piece);
                    sent += piece;
                } else {
                    // Whoever sleeps, wakes a little late.
                    now += delay + Duration::from_micros(late);
                }
            }
            let allowed = rate as f64 * 10.0;
            prop_assert!(sent as f64 <= allowed * 1.02 + piece as f64, "{sent} of {allowed}");
            prop_assert!(sent as f64 >= allowed * 0.98 - 2.0 * piece as f64, "{sent} of {allowed}");
        }
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let start = Instant::now();
        let mut throttle = Throttle::new(start);
        throttle.charge(1 << 20);
        assert!(throttle.delay(1024, start) > Duration::from_secs(1000));
        assert!(throttle.delay(1 << 20, start) <= Duration::from_secs(1));
        assert_eq!(throttle.delay(0, start), Duration::ZERO);
        assert_eq!(throttle.delay(1, start), Duration::ZERO);
    }
}
