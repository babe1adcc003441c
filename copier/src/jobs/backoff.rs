use std::time::Duration;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Attempts in a row that got no further, after which a doubtful failure is final.
const MOST_DOUBTS: u32 = 5;

/// When a job is tried again after a failure: later each time, unless it got further in between.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
    doubts: u32,
    /// Bytes copied and verified at the last failure.
    mark: (u64, u64),
}

impl Backoff {
    /// A failure at this progress. Gives how long to wait; none for a doubtful one that came too often.
    pub fn failed(&mut self, progress: (u64, u64), doubtful: bool) -> Option<Duration> {
        if progress != self.mark {
            *self = Backoff { mark: progress, ..Backoff::default() };
        }
        self.doubts += u32::from(doubtful);
        if doubtful && self.doubts >= MOST_DOUBTS {
            return None;
        }
        let delay = SHORTEST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures += 1;
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_gets_longer_until_the_job_gets_further() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..8).map(|_| backoff.failed((0, 0), false).unwrap().as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.failed((4096, 0), false), Some(SHORTEST));
    }

    #[test]
    fn a_doubtful_failure_is_final_when_it_comes_too_often() {
        let mut backoff = Backoff::default();
        assert!((0..4).all(|_| backoff.failed((0, 0), true).is_some()));
        assert!(backoff.failed((0, 0), false).is_some());
        assert_eq!(backoff.failed((0, 0), true), None);
        assert!(backoff.failed((0, 512), true).is_some());
    }
}
