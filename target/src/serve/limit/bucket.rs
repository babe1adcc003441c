//! A token bucket, kept as the time from which on it has enough for the next request (the virtual scheduling form of the generic
//! cell rate algorithm, ITU-T I.371). Nothing has to be done while time passes.

/// Nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// Times are nanoseconds since some beginning.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Units per second, not 0.
    rate: u64,
    /// How much of the limit may be saved up while nothing is asked for, as time.
    saved: u64,
    next: u64,
}

impl Bucket {
    /// A bucket that has saved up nothing yet.
    pub fn new(rate: u64, saved: u64, now: u64) -> Bucket {
        Bucket { rate: rate.max(1), saved, next: now }
    }

    /// From when on a request may be answered. Over any time, no more than the limit, what was saved up, and one request more is
    /// answered if none is answered earlier.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Takes what a request needs that is answered at `at`, which is not before [`Bucket::next`].
    pub fn charge(&mut self, units: u64, at: u64) {
        let time = (u128::from(units) * u128::from(SECOND)).div_ceil(u128::from(self.rate));
        let time = u64::try_from(time).unwrap_or(u64::MAX);
        self.next = self.next.max(at.saturating_sub(self.saved)).saturating_add(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_saved_up_is_used_at_once_and_then_the_limit_holds() {
        let mut bucket = Bucket::new(100, SECOND, 0);
        let mut times = Vec::new();
        for _ in 0..300 {
            let at = bucket.next().max(5 * SECOND);
            bucket.charge(1, at);
            times.push(at);
        }
        assert_eq!(times.iter().filter(|at| **at == 5 * SECOND).count(), 101);
        assert_eq!(times[299], 5 * SECOND + 199 * SECOND / 100);
    }

    #[test]
    fn numbers_that_are_as_large_as_can_be_do_no_harm() {
        let mut bucket = Bucket::new(u64::MAX, u64::MAX, 0);
        bucket.charge(u64::MAX, u64::MAX);
        assert!(bucket.next() <= SECOND);
        let mut bucket = Bucket::new(1, 0, 0);
        bucket.charge(u64::MAX, 0);
        assert_eq!(bucket.next(), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_interval_has_more_than_the_limit_and_what_was_saved_up(
            rate in 1u64..1_000_000,
            saved in 0u64..3 * SECOND,
            asked in proptest::collection::vec((0u64..SECOND, 1u64..1000), 1..60),
        ) {
            let mut bucket = Bucket::new(rate, saved, 0);
            let mut now = 0;
            let mut answered: Vec<(u64, u64)> = Vec::new();
            for (gap, units) in asked {
                now += gap;
                let at = bucket.next().max(now).max(answered.last().map_or(0, |last| last.0));
                bucket.charge(units, at);
                answered.push((at, units));
            }
            for (first, from) in answered.iter().enumerate() {
                let mut units = 0;
                for to in &answered[first..] {
                    // The last one may begin when there is anything left.
                    let allowed = u128::from(rate) * u128::from(to.0 - from.0 + saved) / u128::from(SECOND);
                    prop_assert!(u128::from(units) <= allowed, "{} units from {} to {}", units, from.0, to.0);
                    units += to.1;
                }
            }
        }

        #[test]
        fn nobody_starves(rate in 1u64..1_000_000, saved in 0u64..SECOND, units in proptest::collection::vec(1u64..1000, 1..60)) {
            let mut bucket = Bucket::new(rate, saved, 0);
            let mut asked = 0;
            for units in units {
                // All that was asked for before is answered after the time that the limit needs for it, and no later.
                let needed = u128::from(asked) * u128::from(SECOND) / u128::from(rate);
                prop_assert!(u128::from(bucket.next()) <= needed + 60, "{} after {} units", bucket.next(), asked);
                let at = bucket.next();
                bucket.charge(units, at);
                asked += units;
            }
        }
    }
}
