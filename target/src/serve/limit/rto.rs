//! When a host sends a request again that is not answered, as the Linux driver decides it (calc_rttavg and rto in
//! drivers/block/aoe/aoecmd.c, 6.1). It learns from the answers that it gets: when they come slower step by step, it waits longer.

use std::time::Duration;

/// As in aoe.h.
const AVERAGE_SCALE: u32 = 8;
const DEVIATION_SCALE: u32 = 3;

/// What the driver has learned about one target. It begins with nothing: the driver begins with more patience.
#[derive(Debug, Clone, Default)]
pub struct Rto {
    /// Microseconds, times 2^8.
    average: i64,
    /// Microseconds, times 2^3.
    deviation: i64,
}

impl Rto {
    /// An answer took so long.
    pub fn learn(&mut self, taken: Duration) {
        let taken = i64::try_from(taken.as_micros()).unwrap_or(i64::MAX >> AVERAGE_SCALE);
        let error = taken - (self.average >> AVERAGE_SCALE);
        self.average += error;
        self.deviation += error.abs() - (self.deviation >> DEVIATION_SCALE);
    }

    /// How long the driver waits before it sends again, at least.
    pub fn get(&self) -> Duration {
        let micros = ((2 * self.average) >> AVERAGE_SCALE) + ((8 * self.deviation) >> DEVIATION_SCALE);
        Duration::from_micros(micros.max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn answers_that_come_slower_step_by_step_are_waited_for() {
        let mut rto = Rto::default();
        for _ in 0..1000 {
            rto.learn(MS / 5);
        }
        assert!(rto.get() < MS);
        let mut steps = 0;
        while rto.get() < 200 * MS {
            let wait = (rto.get() / 2).max(MS);
            rto.learn(wait);
            assert!(rto.get() > wait, "it would send again");
            steps += 1;
        }
        assert!(steps < 25, "{steps}");
    }

    #[test]
    fn the_patience_stays_while_answers_take_the_same_time() {
        let mut rto = Rto::default();
        for _ in 0..10_000 {
            rto.learn(20 * MS);
            assert!(rto.get() > 20 * MS);
        }
        assert!(rto.get() >= 39 * MS && rto.get() < 45 * MS, "{:?}", rto.get());
    }
}
