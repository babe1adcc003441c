use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::job::state::now;

/// Longest sleep between two looks at whether the job was stopped.
pub const NAP: Duration = Duration::from_millis(50);

/// A disk has to end a request within this time. The kernel tries one again after 30 seconds without an answer (SCSI).
pub const HANGS_AFTER: Duration = Duration::from_secs(30);

/// What a job waits for that may hang. Only one thread of a job waits for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The progress is saved there. It comes first: while it is saved, the handling of what was read counts as a request to the destination.
    State,
    Destination,
    Source,
}

const PLACES: [Place; 3] = [Place::State, Place::Destination, Place::Source];

/// When something began.
#[derive(Debug, Clone, Copy)]
struct Begin {
    at: Instant,
    /// Seconds since 1970.
    since: u64,
}

/// What may change while a job runs, and what it counts.
#[derive(Debug, Default)]
pub struct Control {
    /// When the job was to end.
    stop: OnceLock<Instant>,
    rate: AtomicU64,
    share: AtomicU64,
    read: AtomicU64,
    /// Since when a request to each place is under way.
    waits: Mutex<[Option<Begin>; PLACES.len()]>,
}

/// A request is under way for as long as this lives.
pub struct Waits<'a>(&'a Control, Place);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waits()[self.1 as usize] = None;
    }
}

impl Control {
    pub fn new(rate: u64) -> Control {
        Control { rate: AtomicU64::new(rate), ..Control::default() }
    }

    /// Has the job end soon. Gives when that was asked for first.
    pub fn stop(&self) -> Instant {
        *self.stop.get_or_init(Instant::now)
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.get().is_some()
    }

    /// A request to this place begins.
    #[must_use]
    pub fn begin(&self, place: Place) -> Waits<'_> {
        self.waits()[place as usize] = Some(Begin { at: Instant::now(), since: now() });
        Waits(self, place)
    }

    /// A request to this place has been under way for [`HANGS_AFTER`].
    #[cfg(test)]
    pub fn hang(&self, place: Place) -> Waits<'_> {
        let begin = Begin { at: Instant::now() - HANGS_AFTER, since: now() - HANGS_AFTER.as_secs() };
        self.waits()[place as usize] = Some(begin);
        Waits(self, place)
    }

    /// To what a request is under way, if to any.
    pub fn waits_for(&self) -> Option<Place> {
        let waits = self.waits();
        PLACES.into_iter().find(|place| waits[*place as usize].is_some())
    }

    /// What has not ended a request for [`HANGS_AFTER`], and since when in seconds since 1970.
    pub fn hangs(&self) -> Option<(Place, u64)> {
        let waits = self.waits();
        PLACES.into_iter().find_map(|place| {
            let begin = waits[place as usize].filter(|begin| begin.at.elapsed() >= HANGS_AFTER)?;
            Some((place, begin.since))
        })
    }

    fn waits(&self) -> MutexGuard<'_, [Option<Begin>; PLACES.len()]> {
        self.waits.lock().expect("a thread that panics ends the process")
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
