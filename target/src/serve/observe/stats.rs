//! What is counted. The serving thread owns the numbers: no locks, and no memory before there is something to count.

use std::time::{Duration, Instant};

use crate::disk::engine::Kind;
use crate::wire::Mac;
use crate::wire::header::Failure;

/// Latency buckets: at most 4 µs, 8 µs, ... 8.4 s, and longer.
pub const BUCKETS: usize = 23;
/// log2 of the first bound, in microseconds.
const FIRST: u32 = 2;
/// Initiators that are counted separately, per volume and in the whole process: forged addresses take no more memory than this.
const INITIATORS: usize = 64;
const ALL_INITIATORS: usize = 4096;
/// How long the counts of an initiator that is not admitted are kept after its last request.
const KEEP: Duration = Duration::from_secs(600);

/// Upper bounds of all buckets but the last, in microseconds.
pub fn bounds() -> impl Iterator<Item = u64> {
    (0..BUCKETS as u32 - 1).map(|index| 1 << (FIRST + index))
}

fn bucket(latency: Duration) -> usize {
    let micros = latency.as_secs() * 1_000_000 + u64::from(latency.subsec_nanos().div_ceil(1000));
    let log2 = u64::BITS - micros.saturating_sub(1).leading_zeros();
    (log2.saturating_sub(FIRST) as usize).min(BUCKETS - 1)
}

/// Why a frame was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    NotAdmitted,
    Masked,
    Reserved,
    /// Another host holds the lock: its config string is set.
    LockHeld,
    Malformed,
    Version,
    UnknownCommand,
    UnknownAtaCommand,
    BadArgument,
    BeyondEnd,
    ReadOnly,
    /// A write that is addressed to all volumes.
    ToAll,
    DeviceUnavailable,
    /// The disk is being opened, or replaced.
    NotReady,
    /// Too many changes of config string or lists wait already.
    TooManyChanges,
    /// A write to a volume whose lock nobody holds.
    NoLock,
    /// The sender has more frames waiting than it may, and the ring fills.
    Flood,
}

impl Refused {
    const ALL: [Refused; 17] = [
        Refused::NotAdmitted,
        Refused::Masked,
        Refused::Reserved,
        Refused::LockHeld,
        Refused::Malformed,
        Refused::Version,
        Refused::UnknownCommand,
        Refused::UnknownAtaCommand,
        Refused::BadArgument,
        Refused::BeyondEnd,
        Refused::ReadOnly,
        Refused::ToAll,
        Refused::DeviceUnavailable,
        Refused::NotReady,
        Refused::TooManyChanges,
        Refused::NoLock,
        Refused::Flood,
    ];

    /// The label of metrics: never to be changed.
    pub fn name(self) -> &'static str {
        match self {
            Refused::NotAdmitted => "not_in_force",
            Refused::Masked => "masked",
            Refused::Reserved => "reserved",
            Refused::LockHeld => "lock_held",
            Refused::Malformed => "malformed",
            Refused::Version => "version",
            Refused::UnknownCommand => "unknown_command",
            Refused::UnknownAtaCommand => "unknown_ata_command",
            Refused::BadArgument => "bad_argument",
            Refused::BeyondEnd => "beyond_end",
            Refused::ReadOnly => "read_only",
            Refused::ToAll => "to_all",
            Refused::DeviceUnavailable => "device_unavailable",
            Refused::NotReady => "not_ready",
            Refused::TooManyChanges => "too_many_changes",
            Refused::NoLock => "no_lock",
            Refused::Flood => "flood",
        }
    }

    /// `admitted`: whether the sender is.
    pub fn of(failure: Failure, admitted: bool) -> Refused {
        match failure {
            Failure::UnrecognizedCommand => Refused::UnknownCommand,
            Failure::BadArgument => Refused::BadArgument,
            Failure::DeviceUnavailable => Refused::DeviceUnavailable,
            Failure::ConfigStringPresent => Refused::LockHeld,
            Failure::UnsupportedVersion => Refused::Version,
            Failure::TargetReserved if admitted => Refused::Reserved,
            Failure::TargetReserved => Refused::NotAdmitted,
        }
    }
}

/// Frames by [`Refused`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedFrames([u64; Refused::ALL.len()]);

impl RefusedFrames {
    pub fn add(&mut self, reason: Refused) {
        self.0[reason as usize] += 1;
    }

    /// Reasons that there were, with frames.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::ALL.into_iter().map(|reason| (reason.name(), self.0[reason as usize])).filter(|(_, frames)| *frames > 0)
    }
}

/// Requests of one kind that were answered.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    pub errors: u64,
    /// Of those without error.
    pub bytes: u64,
    pub nanos: u64,
    pub latency: [u64; BUCKETS],
}

#[derive(Debug, Clone)]
pub struct Initiator {
    /// By [`Kind`].
    pub requests: [Requests; 3],
    pub repeats: u64,
    pub dropped: u64,
    /// Time in which an answer was kept back because of the volume's limits.
    pub throttled: Duration,
    last: Instant,
}

impl Initiator {
    fn new(now: Instant) -> Initiator {
        Initiator { requests: Default::default(), repeats: 0, dropped: 0, throttled: Duration::ZERO, last: now }
    }

    /// A request was answered, `latency` after it was taken.
    pub fn answered(&mut self, kind: Kind, bytes: usize, latency: Duration, failed: bool) {
        let requests = &mut self.requests[kind as usize];
        if failed {
            requests.errors += 1;
        } else {
            requests.bytes += bytes as u64;
        }
        requests.nanos += latency.as_nanos() as u64;
        requests.latency[bucket(latency)] += 1;
    }
}

#[derive(Debug, Clone, Default)]
pub struct VolumeStats {
    pub initiators: Vec<(Mac, Box<Initiator>)>,
    /// All those together that are too many to count separately.
    pub others: Option<Box<Initiator>>,
    pub refused: RefusedFrames,
    /// Bytes that were overwritten with zeros and given back.
    pub reclaimed: u64,
}

#[derive(Default)]
pub struct Stats {
    /// By the volume's number.
    volumes: Vec<Option<Box<VolumeStats>>>,
    /// Frames that are of no volume.
    pub refused: RefusedFrames,
    /// Initiators of all volumes.
    initiators: usize,
}

impl Stats {
    pub fn volume(&mut self, id: u32) -> &mut VolumeStats {
        let id = id as usize;
        if self.volumes.len() <= id {
            self.volumes.resize_with(id + 1, || None);
        }
        self.volumes[id].get_or_insert_default()
    }

    /// The counts of an initiator of a volume. When there are too many of them, those that were idle for long make room.
    pub fn initiator(&mut self, id: u32, mac: Mac, now: Instant) -> &mut Initiator {
        let all = self.initiators;
        let volume = self.volume(id);
        let mut at = volume.initiators.iter().position(|(other, _)| *other == mac);
        let mut added = 0isize;
        if at.is_none() {
            if all >= ALL_INITIATORS || volume.initiators.len() >= INITIATORS {
                added -= volume.forget(|_, idle| idle >= KEEP, now) as isize;
            }
            if all.saturating_add_signed(added) < ALL_INITIATORS && volume.initiators.len() < INITIATORS {
                at = Some(volume.initiators.len());
                volume.initiators.push((mac, Box::new(Initiator::new(now))));
                added += 1;
            }
        }
        self.initiators = all.saturating_add_signed(added);
        let volume = self.volume(id);
        let initiator = match at {
            Some(at) => &mut volume.initiators[at].1,
            None => volume.others.get_or_insert_with(|| Box::new(Initiator::new(now))),
        };
        initiator.last = now;
        initiator
    }

    /// Forgets the initiators of a volume that are idle and not admitted.
    pub fn expire(&mut self, id: u32, admits: impl Fn(Mac) -> bool, now: Instant) {
        if let Some(volume) = self.volumes.get_mut(id as usize).and_then(Option::as_deref_mut) {
            self.initiators -= volume.forget(|mac, idle| idle >= KEEP && !admits(mac), now);
        }
    }

    /// What was counted for a volume, if anything.
    pub fn get(&self, id: u32) -> Option<&VolumeStats> {
        self.volumes.get(id as usize)?.as_deref()
    }

    /// The volume is gone.
    pub fn forget(&mut self, id: u32) {
        if let Some(volume) = self.volumes.get_mut(id as usize).and_then(Option::take) {
            self.initiators -= volume.initiators.len();
        }
    }
}

impl VolumeStats {
    /// Forgets initiators by address and idle time; how many.
    fn forget(&mut self, goes: impl Fn(Mac, Duration) -> bool, now: Instant) -> usize {
        let before = self.initiators.len();
        self.initiators.retain(|(mac, initiator)| !goes(*mac, now.saturating_duration_since(initiator.last)));
        before - self.initiators.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u32) -> Mac {
        let [a, b, c, d] = number.to_be_bytes();
        Mac([2, 0, a, b, c, d])
    }

    #[test]
    fn a_latency_is_counted_under_the_first_bound_that_it_does_not_exceed() {
        let bounds: Vec<u64> = bounds().collect();
        assert_eq!((bounds.len(), bounds[0], bounds[BUCKETS - 2]), (BUCKETS - 1, 4, 8_388_608));
        for nanos in [0, 1, 3999, 4000, 4001, 8000, 8001, 1_000_000, 8_388_608_000, 8_388_608_001, u64::MAX / 2] {
            let expected = bounds.iter().position(|bound| nanos <= bound * 1000).unwrap_or(BUCKETS - 1);
            assert_eq!(bucket(Duration::from_nanos(nanos)), expected, "{nanos}");
        }
    }

    #[test]
    fn forged_addresses_are_counted_together_and_those_admitted_stay() {
        let mut stats = Stats::default();
        let start = Instant::now();
        for number in 0..1000 {
            stats.initiator(0, mac(number), start).answered(Kind::Read, 512, Duration::ZERO, false);
        }
        stats.initiator(0, mac(0), start).answered(Kind::Read, 512, Duration::ZERO, true);
        let volume = stats.get(0).unwrap();
        assert_eq!(volume.initiators.len(), INITIATORS);
        assert_eq!(volume.others.as_ref().unwrap().requests[0].bytes, (1000 - INITIATORS as u64) * 512);
        let first = &volume.initiators[0].1.requests[0];
        assert_eq!((first.bytes, first.errors, first.latency[0]), (512, 1, 2));
        stats.expire(0, |other| other == mac(3), start + KEEP);
        assert_eq!(stats.get(0).unwrap().initiators.len(), 1);
        assert_eq!(stats.initiators, 1);
    }

    #[test]
    fn a_newcomer_takes_the_place_of_one_that_was_silent_for_long() {
        let mut stats = Stats::default();
        let start = Instant::now();
        for number in 0..INITIATORS as u32 {
            stats.initiator(0, mac(number), start);
        }
        stats.initiator(0, mac(7), start + KEEP / 2);
        stats.initiator(0, mac(1000), start + KEEP);
        let volume = stats.get(0).unwrap();
        assert_eq!(volume.initiators.iter().map(|(mac, _)| *mac).collect::<Vec<_>>(), [mac(7), mac(1000)]);
        assert!(volume.others.is_none());
    }

    #[test]
    fn all_volumes_together_are_bounded_and_those_that_go_make_room() {
        let mut stats = Stats::default();
        let now = Instant::now();
        for id in 0..100 {
            for number in 0..INITIATORS as u32 {
                stats.initiator(id, mac(number), now);
            }
        }
        assert_eq!(stats.initiators, ALL_INITIATORS);
        assert_eq!(stats.get(99).unwrap().initiators.len(), 0);
        stats.forget(0);
        stats.initiator(99, mac(1), now);
        assert_eq!(stats.get(99).unwrap().initiators.len(), 1);
        assert!(stats.get(0).is_none());
    }

    #[test]
    fn each_reason_has_its_name() {
        let mut refused = RefusedFrames::default();
        refused.add(Refused::TooManyChanges);
        refused.add(Refused::of(Failure::TargetReserved, false));
        refused.add(Refused::of(Failure::TargetReserved, false));
        assert_eq!(refused.iter().collect::<Vec<_>>(), [("not_in_force", 2), ("too_many_changes", 1)]);
    }

    #[test]
    fn each_reason_is_counted_by_itself() {
        for (at, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(at, reason as usize, "{reason:?} is out of its place");
        }
    }
}
