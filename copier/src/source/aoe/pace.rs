use std::time::{Duration, Instant};

const FIRST_TIMEOUT: Duration = Duration::from_millis(200);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(20);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests under way at the beginning.
const FIRST_WINDOW: f64 = 8.0;

/// Requests under way at least while a job is limited.
const LEAST_LIMITED: f64 = 4.0;

/// How long to wait for an answer, and how many requests to have under way: both as TCP does it (RFC 6298, RFC 5681).
#[derive(Debug)]
pub struct Pace {
    /// Smoothed time of a request, and its deviation.
    time: Option<(Duration, Duration)>,
    window: f64,
    most: f64,
    /// Windows below grow fast.
    threshold: f64,
    cut: Option<Instant>,
}

impl Pace {
    /// `most`: requests that may be under way.
    pub fn new(most: usize) -> Pace {
        let most = most.max(1) as f64;
        Pace { time: None, window: FIRST_WINDOW.min(most), most, threshold: most, cut: None }
    }

    /// Requests that may be under way.
    pub fn window(&self) -> usize {
        self.window as usize
    }

    /// The same for a job that may read so many bytes per second, in requests of so many bytes; 0: no limit. Requests of hosts wait at the
    /// target behind what is under way, so it is twice what the limit needs, and not a whole window.
    pub fn limited_window(&self, rate: u64, request: usize) -> usize {
        match self.time {
            Some((smooth, _)) if rate > 0 => {
                let needed = rate as f64 * smooth.as_secs_f64() / request as f64;
                self.window.min((2.0 * needed).max(LEAST_LIMITED)) as usize
            }
            _ => self.window(),
        }
    }

    /// How long to wait for an answer to what was sent so many times.
    pub fn timeout(&self, tries: u32) -> Duration {
        let first = self.time.map_or(FIRST_TIMEOUT, |(smooth, deviation)| smooth + 4 * deviation).max(SHORTEST_TIMEOUT);
        first.saturating_mul(1 << tries.saturating_sub(1).min(6)).min(LONGEST_TIMEOUT)
    }

    /// An answer came. `took`: none when the request was sent more than once, since it is not known which one was answered.
    pub fn answered(&mut self, took: Option<Duration>) {
        if let Some(took) = took {
            self.time = Some(match self.time {
                None => (took, took / 2),
                Some((smooth, deviation)) => ((smooth * 7 + took) / 8, (deviation * 3 + smooth.abs_diff(took)) / 4),
            });
        }
        let step = if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
        self.window = (self.window + step).min(self.most);
    }

    /// A request was not answered in time. What is lost together counts once.
    pub fn lost(&mut self, now: Instant) {
        let apart = self.time.map_or(FIRST_TIMEOUT, |(smooth, _)| smooth).max(SHORTEST_TIMEOUT);
        if self.cut.is_none_or(|cut| now.duration_since(cut) > apart) {
            self.cut = Some(now);
            self.threshold = (self.window / 2.0).max(2.0).min(self.most);
            self.window = self.threshold;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_to_what_the_target_takes_and_is_halved_once_for_what_is_lost_together() {
        let mut pace = Pace::new(64);
        assert_eq!(pace.window(), 8);
        (0..100).for_each(|_| pace.answered(Some(Duration::from_micros(300))));
        assert_eq!(pace.window(), 64);
        let now = Instant::now();
        pace.lost(now);
        pace.lost(now + Duration::from_micros(100));
        assert_eq!(pace.window(), 32);
        (0..32).for_each(|_| pace.answered(None));
        assert_eq!(pace.window(), 32, "slowly from there on");
        (0..100).for_each(|step| pace.lost(now + Duration::from_secs(step)));
        assert_eq!(pace.window(), 2, "never less than two");
        assert_eq!(Pace::new(1).window(), 1);
    }

    #[test]
    fn a_limited_job_has_no_more_under_way_than_its_limit_needs() {
        let mut pace = Pace::new(64);
        assert_eq!(pace.limited_window(32 << 20, 8192), 8, "nothing is known yet");
        (0..100).for_each(|_| pace.answered(Some(Duration::from_micros(250))));
        assert_eq!(pace.limited_window(0, 8192), 64);
        assert_eq!(pace.limited_window(32 << 20, 8192), 4);
        assert_eq!(pace.limited_window(32 << 20, 1024), 16, "short frames");
        assert_eq!(pace.limited_window(128 << 20, 8192), 8, "a higher limit");
        (0..100).for_each(|_| pace.answered(Some(Duration::from_millis(4))));
        assert_eq!(pace.limited_window(32 << 20, 8192), 32, "a slow disk");
        assert_eq!(pace.limited_window(u64::MAX, 1024), 64);
    }

    #[test]
    fn the_timeout_follows_the_time_that_answers_take() {
        let mut pace = Pace::new(64);
        assert_eq!(pace.timeout(1), FIRST_TIMEOUT);
        (0..50).for_each(|_| pace.answered(Some(Duration::from_micros(300))));
        assert_eq!(pace.timeout(1), SHORTEST_TIMEOUT);
        assert_eq!(pace.timeout(2), 2 * SHORTEST_TIMEOUT);
        assert_eq!(pace.timeout(60), LONGEST_TIMEOUT);
        (0..50).for_each(|_| pace.answered(Some(Duration::from_millis(100))));
        assert!(pace.timeout(1) >= Duration::from_millis(100) && pace.timeout(1) < Duration::from_millis(200));
    }
}
