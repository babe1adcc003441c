//! What a job is to do (`Job`), how far it is (`state`), and both on disk (`store`).

pub mod state;
pub mod store;

use std::path::Path;

use aoe_target::definition::Address;
use aoe_target::wire::SECTOR;
use aoe_target::wire::identify::SERIAL_LENGTH;
use serde::{Deserialize, Serialize};

/// Most ranges of a job: with more, gaps between neighbours must be closed.
pub const MAX_RANGES: usize = 16_384;
const MAX_INTERFACES: usize = 16;

/// A copy that is asked for. `bytes` from the beginning of the source come to the beginning of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub id: String,
    /// Name of the volume that is made, for messages.
    pub volume: String,
    pub source: Source,
    pub destination: Destination,
    pub bytes: u64,
    /// What may hold data; empty: see [`Job::ranges`].
    #[serde(default)]
    pub ranges: Vec<Range>,
    /// Bytes per second that are read from the source; 0: no limit.
    #[serde(default)]
    pub bytes_per_second: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    Local { path: String },
    Aoe { address: Address, serial: String, interfaces: Vec<String> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub path: String,
    /// It reads as zeros wherever no job with this source has written.
    pub zeroed: bool,
}

/// Bytes of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    pub offset: u64,
    pub bytes: u64,
}

impl Range {
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// What is wrong with a job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("id {0:?}: 1 to 63 of the characters a-z A-Z 0-9 . _ -")]
    Id(String),
    #[error("path {0:?}: must be absolute")]
    Path(String),
    #[error("source and destination are both {0}")]
    Same(String),
    #[error("{0} bytes: must be a multiple of {SECTOR}, and more than none")]
    Bytes(u64),
    #[error("serial {0:?}: 1 to {SERIAL_LENGTH} printable ASCII characters")]
    Serial(String),
    #[error("interfaces: 1 to {MAX_INTERFACES} names are needed")]
    Interfaces,
    #[error("interface {0:?}: not a name that an interface can have")]
    Interface(String),
    #[error("ranges: at most {MAX_RANGES}")]
    ManyRanges,
    #[error("ranges: they must ascend, not overlap, and end within the {bytes} bytes; the one at byte {offset} does not")]
    Range { offset: u64, bytes: u64 },
}

impl Job {
    pub fn check(&self) -> Result<(), Invalid> {
        let is_id = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.id.is_empty() || self.id.len() > 63 || !self.id.chars().all(is_id) {
            return Err(Invalid::Id(self.id.clone()));
        }
        if self.bytes == 0 || !self.bytes.is_multiple_of(SECTOR as u64) || self.bytes > i64::MAX as u64 {
            return Err(Invalid::Bytes(self.bytes));
        }
        check_path(&self.destination.path)?;
        match &self.source {
            Source::Local { path } if *path == self.destination.path => return Err(Invalid::Same(path.clone())),
            Source::Local { path } => check_path(path)?,
            Source::Aoe { serial, interfaces, .. } => {
                let printable = serial.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                if serial.trim().is_empty() || serial.len() > SERIAL_LENGTH || !printable {
                    return Err(Invalid::Serial(serial.clone()));
                }
                if interfaces.is_empty() || interfaces.len() > MAX_INTERFACES {
                    return Err(Invalid::Interfaces);
                }
                let bad = |name: &&String| name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '\0']);
                if let Some(name) = interfaces.iter().find(bad) {
                    return Err(Invalid::Interface(name.clone()));
                }
            }
        }
        self.check_ranges()
    }

    fn check_ranges(&self) -> Result<(), Invalid> {
        if self.ranges.len() > MAX_RANGES {
            return Err(Invalid::ManyRanges);
        }
        let mut free = 0;
        for range in &self.ranges {
            let end = range.offset.checked_add(range.bytes).filter(|end| *end <= self.bytes);
            match end {
                Some(end) if range.bytes > 0 && range.offset >= free => free = end,
                _ => return Err(Invalid::Range { offset: range.offset, bytes: self.bytes }),
            }
        }
        Ok(())
    }

    /// Whether another job with this id asks for the same copy. Throttle, interfaces, ranges and the name in messages do not matter.
    pub fn is_same(&self, other: &Job) -> bool {
        let sources = match (&self.source, &other.source) {
            (Source::Aoe { address: a, serial: s, .. }, Source::Aoe { address: b, serial: t, .. }) => (a, s) == (b, t),
            (a, b) => a == b,
        };
        sources && self.destination == other.destination && self.bytes == other.bytes
    }

    /// Takes over what may change while a job goes on.
    pub fn update(&mut self, newer: &Job) {
        self.bytes_per_second = newer.bytes_per_second;
        self.volume.clone_from(&newer.volume);
        if let (Source::Aoe { interfaces, .. }, Source::Aoe { interfaces: newer, .. }) = (&mut self.source, &newer.source) {
            interfaces.clone_from(newer);
        }
    }

    /// How messages begin.
    pub fn name(&self) -> String {
        if self.volume.is_empty() { format!("copy {}", self.id) } else { format!("copy {} (volume {})", self.id, self.volume) }
    }
}

fn check_path(path: &str) -> Result<(), Invalid> {
    if Path::new(path).is_absolute() && !path.contains('\0') { Ok(()) } else { Err(Invalid::Path(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn job() -> Job {
        let source = Source::Aoe { address: Address { shelf: 7, slot: 3 }, serial: "SERIAL7".into(), interfaces: vec!["eth0".into()] };
        Job {
            id: "copy-1".into(),
            volume: "v".into(),
            source,
            destination: Destination { path: "/dev/x".into(), zeroed: true },
            bytes: 1 << 20,
            ranges: Vec::new(),
            bytes_per_second: 0,
        }
    }

    #[test]
    fn a_job_that_cannot_be_done_says_what_is_wrong() {
        let ranges = |ranges: &[(u64, u64)]| ranges.iter().map(|(offset, bytes)| Range { offset: *offset, bytes: *bytes }).collect();
        let aoe = |serial: &str, interfaces: &[&str]| Source::Aoe {
            address: Address { shelf: 7, slot: 3 },
            serial: serial.into(),
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        };
        let cases: [(Job, &str); 14] = [
            (Job { id: "a/b".into(), ..job() }, "id"),
            (Job { id: String::new(), ..job() }, "id"),
            (Job { bytes: 0, ..job() }, "multiple of 512"),
            (Job { bytes: 1000, ..job() }, "multiple of 512"),
            (Job { destination: Destination { path: "x".into(), zeroed: false }, ..job() }, "absolute"),
            (Job { source: Source::Local { path: "/dev/x".into() }, ..job() }, "both"),
            (Job { source: Source::Local { path: "y".into() }, ..job() }, "absolute"),
            (Job { source: aoe("", &["a"]), ..job() }, "serial"),
            (Job { source: aoe("S", &[]), ..job() }, "interfaces"),
            (Job { source: aoe("S", &["a-name-that-is-far-too-long"]), ..job() }, "interface"),
            (Job { ranges: ranges(&[(0, 0)]), ..job() }, "ranges"),
            (Job { ranges: ranges(&[(0, 4096), (2048, 4096)]), ..job() }, "byte 2048"),
            (Job { ranges: ranges(&[(0, 2 << 20)]), ..job() }, "ranges"),
            (Job { ranges: ranges(&[(u64::MAX, 2)]), ..job() }, "ranges"),
        ];
        for (job, expected) in cases {
            let error = job.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}: {expected}");
        }
        assert_eq!(job().check(), Ok(()));
        assert_eq!(Job { ranges: ranges(&[(0, 4096), (4096, 4096)]), ..job() }.check(), Ok(()));
    }

    #[test]
    fn a_job_may_change_its_throttle_and_interfaces_but_not_what_is_copied() {
        let mut known = job();
        let mut newer = Job { bytes_per_second: 5, ..job() };
        let Source::Aoe { interfaces, .. } = &mut newer.source else { unreachable!() };
        interfaces.push("eth1".into());
        assert!(known.is_same(&newer));
        known.update(&newer);
        assert_eq!(known, newer);
        assert!(!known.is_same(&Job { bytes: 512, ..job() }));
        assert!(!known.is_same(&Job { source: Source::Local { path: "/y".into() }, ..job() }));
        assert!(!known.is_same(&Job { destination: Destination { zeroed: false, ..job().destination }, ..job() }));
    }
}
