use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How far a job is, as it is kept on disk. What it says is on stable storage is there: it is saved afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Bytes from the beginning on that are on stable storage at the destination.
    pub copied: u64,
    /// Bytes from the beginning on that were compared. 0 before all is copied.
    pub verified: u64,
    /// Places that differed when they were compared. Each is counted before it is written again.
    pub repaired: u64,
    pub course: Course,
    /// Seconds since 1970; 0: not yet.
    pub started: u64,
    pub ended: u64,
    /// Why it failed.
    pub problem: String,
}

/// Whether a job goes on by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Course {
    #[default]
    Running,
    Stopped,
    Failed,
    /// Every byte was compared.
    Verified,
}

/// What a job is doing, for people and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Queued,
    Copying,
    Verifying,
    Verified,
    Stopped,
    Failed,
}

impl Progress {
    /// Whether this can be the progress of a job of so many bytes.
    pub fn is_possible(&self, bytes: u64) -> bool {
        let compared = self.verified == 0 || self.copied == bytes;
        let done = self.course != Course::Verified || self.verified == bytes;
        self.copied <= bytes && self.verified <= bytes && compared && done
    }

    /// The phase of a job of so many bytes that is not waiting for others.
    pub fn phase(&self, bytes: u64) -> Phase {
        match self.course {
            Course::Stopped => Phase::Stopped,
            Course::Failed => Phase::Failed,
            Course::Verified => Phase::Verified,
            Course::Running if self.copied < bytes => Phase::Copying,
            Course::Running => Phase::Verifying,
        }
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_that_cannot_be_is_recognized() {
        let progress = |copied, verified, course| Progress { copied, verified, course, ..Progress::default() };
        assert!(progress(0, 0, Course::Running).is_possible(10));
        assert!(progress(10, 5, Course::Stopped).is_possible(10));
        assert!(progress(10, 10, Course::Verified).is_possible(10));
        assert!(!progress(11, 0, Course::Running).is_possible(10));
        assert!(!progress(9, 5, Course::Running).is_possible(10), "compared before it was copied");
        assert!(!progress(10, 5, Course::Verified).is_possible(10), "verified, but not compared");
    }
}
