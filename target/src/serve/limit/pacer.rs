//! When answers to the requests of a volume with limits may leave.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::bucket::{Bucket, SECOND};
use super::rto::Rto;
use super::stream::{Streams, UNIT};
use crate::definition::Limits;
use crate::disk::engine::Kind;
use crate::serve::data::slots::Request;
use crate::wire::{Mac, SECTOR};

/// How long an answer waits at a limit when one host has its window full: the window is made for this.
const AIM: Duration = Duration::from_millis(40);
/// How much of a limit is saved up at least, so that nothing is lost because the target or a host slept a little too long.
const LEAST_SAVED: Duration = Duration::from_millis(100);
/// An answer may wait so long even where hosts are not known to be patient: the Linux driver looks only each 100 ms for what it
/// has to send again.
const FLOOR: Duration = Duration::from_millis(1);
/// A request that would wait longer is dropped: nobody waits for its answer any more. The Linux driver gives a disk up after 180 s.
const LONGEST: Duration = Duration::from_secs(10);
/// A host that does not keep to its window is told again after this time: the frame may have been lost.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Window with which the Linux driver sends at all.
const LEAST_WINDOW: u16 = 2;
/// Hosts that are remembered while they have nothing under way.
const HOSTS: usize = 256;

/// The limits of a volume, and the hosts that they slow down.
#[derive(Debug)]
pub struct Pacer {
    limits: Limits,
    /// Times are counted from here.
    start: Instant,
    buckets: Vec<Limit>,
    /// When the last read and the last write leave: answers keep their order.
    last: [u64; 2],
    streams: Streams,
    hosts: HashMap<Path, Host>,
}

/// A host, and the port that it uses (its key): the driver has a window for each.
pub type Path = (Mac, u32);

#[derive(Debug)]
struct Limit {
    /// None: reads and writes together.
    kind: Option<Kind>,
    /// Whether bytes count, and not requests.
    bytes: bool,
    bucket: Bucket,
}

#[derive(Debug)]
struct Host {
    rto: Rto,
    /// The window that it was told, and when.
    told: Option<(u16, Instant)>,
    /// Answers that wait.
    waiting: usize,
    /// Up to when waiting is counted.
    counted: Instant,
}

/// The host and port of a request.
pub fn path(request: &Request) -> Path {
    (request.header.source, request.port)
}

impl Pacer {
    /// None when there is no limit.
    pub fn new(limits: Option<Limits>, now: Instant) -> Option<Box<Pacer>> {
        let limits = limits.filter(|limits| !limits.is_none())?;
        let mut pacer =
            Pacer { limits, start: now, buckets: Vec::new(), last: [0; 2], streams: Streams::default(), hosts: HashMap::default() };
        pacer.set(limits, Vec::new(), now);
        Some(Box::new(pacer))
    }

    /// Sets other limits, and new times for the answers to `waiting`: the first leaves when it was to leave, and those after it as the new
    /// limits allow. What was saved up is gone: so changing limits back and forth gives nobody more. Those that would wait too long leave
    /// with the last of the others. Without limits no answer waits.
    pub fn set(&mut self, limits: Limits, mut waiting: Vec<&mut Request>, now: Instant) {
        // Those that are due are paid for.
        waiting.retain(|request| request.due.is_some_and(|due| due > now));
        let now = self.nanos(now);
        waiting.sort_by_key(|request| (request.due, request.arrived));
        let first = |pacer: &Pacer, kind: Option<Kind>| {
            let due = waiting.iter().find(|request| kind.is_none_or(|kind| kind == request.kind)).and_then(|request| request.due);
            due.map(|due| pacer.nanos(due))
        };
        for kind in [Kind::Read, Kind::Write] {
            self.last[kind as usize] = first(self, Some(kind)).unwrap_or(self.last[kind as usize]);
        }
        let saved = Duration::from_secs(limits.burst_seconds.into()).max(LEAST_SAVED).as_nanos() as u64;
        let all = limits.all().into_iter().filter(|(_, _, rate)| *rate > 0);
        let bucket = |kind, rate| Bucket::new(rate, saved, first(self, kind).unwrap_or(now));
        self.buckets = all.map(|(kind, bytes, rate)| Limit { kind, bytes, bucket: bucket(kind, rate) }).collect();
        self.limits = limits;
        if limits.is_none() {
            self.last = [0; 2];
        }
        self.streams = Streams::default();
        let mut charged = HashSet::new();
        for request in waiting {
            let repeated = !charged.insert((request.header.source, request.kind as usize, request.offset, request.length));
            let at = self.schedule(request, repeated, now).unwrap_or(self.last[request.kind as usize]);
            request.due = Some(self.start + Duration::from_nanos(at));
        }
    }

    /// Whether its limits were taken away. It is kept until the hosts that were slowed down know that.
    pub fn has_no_limits(&self) -> bool {
        self.limits.is_none()
    }

    /// Forgets a host. Whether it was known.
    pub fn forget(&mut self, path: Path) -> bool {
        self.hosts.remove(&path).is_some()
    }

    pub fn knows_nobody(&self) -> bool {
        self.hosts.is_empty()
    }

    fn nanos(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_nanos() as u64
    }

    /// Takes a read or write, and says when its answer is due; none when that is too late. One that is repeated is not charged.
    pub fn admit(&mut self, request: &Request, repeated: bool, now: Instant) -> Option<Instant> {
        let at = self.schedule(request, repeated, self.nanos(now))?;
        Some(self.start + Duration::from_nanos(at))
    }

    fn schedule(&mut self, request: &Request, repeated: bool, now: u64) -> Option<u64> {
        let last = self.last[request.kind as usize];
        let mut at = last.max(now);
        let mut frame = [0, request.length as u64];
        if !repeated {
            if self.buckets.iter().any(|limit| !limit.bytes) {
                frame[0] = self.streams.begin(request.kind, request.offset, frame[1]);
            }
            let applies = |limit: &&mut Limit| limit.kind.is_none_or(|kind| kind == request.kind) && frame[usize::from(limit.bytes)] > 0;
            at = self.buckets.iter_mut().filter(applies).map(|limit| limit.bucket.next()).fold(at, u64::max);
            if at - now <= LONGEST.as_nanos() as u64 {
                for limit in self.buckets.iter_mut().filter(applies) {
                    limit.bucket.charge(frame[usize::from(limit.bytes)], at);
                }
                self.last[request.kind as usize] = at;
            }
        }
        (at - now <= LONGEST.as_nanos() as u64).then_some(at)
    }

    /// When an answer leaves that is due at `due`: then, or earlier when the host would send its request again otherwise. The time
    /// that a host gives grows with each answer. What leaves too early is made up for by those that follow.
    pub fn leaves(&self, request: &Request, due: Instant) -> Instant {
        let patience = self.hosts.get(&path(request)).map_or(FLOOR, |host| (host.rto.get() / 2).max(FLOOR));
        due.min(request.arrived + patience)
    }

    /// An answer is kept back.
    pub fn wait(&mut self, request: &Request, now: Instant) {
        let host = self.host(request, now);
        if host.waiting == 0 {
            host.counted = now;
        }
        host.waiting += 1;
    }

    /// An answer that was kept back leaves. Gives how much longer the host has waited since this was asked last; several answers that
    /// wait at the same time count once.
    pub fn waited(&mut self, request: &Request, now: Instant) -> Duration {
        let host = self.host(request, now);
        host.waiting = host.waiting.saturating_sub(1);
        let waited = now.saturating_duration_since(host.counted);
        host.counted = now;
        waited
    }

    /// An answer leaves.
    pub fn answered(&mut self, request: &Request, now: Instant) {
        let taken = now.saturating_duration_since(request.arrived);
        self.host(request, now).rto.learn(taken);
    }

    /// Whether the host of a request must be told its window.
    pub fn must_tell(&mut self, request: &Request, window: u16, now: Instant) -> bool {
        let host = self.host(request, now);
        let knows = |(told, at): (u16, Instant)| {
            told == window && (host.waiting <= usize::from(window) || now.saturating_duration_since(at) < TELL_AGAIN)
        };
        if host.told.is_some_and(knows) {
            return false;
        }
        host.told = Some((window, now));
        true
    }

    /// Hosts and ports with answers that wait.
    pub fn waiting(&self) -> Vec<Path> {
        self.hosts.iter().filter(|(_, host)| host.waiting > 0).map(|(path, _)| *path).collect()
    }

    fn host(&mut self, request: &Request, now: Instant) -> &mut Host {
        let path = path(request);
        if self.hosts.len() >= HOSTS && !self.hosts.contains_key(&path) {
            self.hosts.retain(|_, host| host.waiting > 0); // at most as many as there are slots
        }
        self.hosts.entry(path).or_insert_with(|| Host { rto: Rto::default(), told: None, waiting: 0, counted: now })
    }

    /// The window to tell to hosts, where `normal` is that of a volume without limits and frames carry so many sectors.
    pub fn window(&self, normal: u16, sectors: u8) -> u16 {
        let payload = (u64::from(sectors) * SECTOR as u64).max(SECTOR as u64);
        let frames = |(_, bytes, rate): (Option<Kind>, bool, u64)| {
            if bytes { rate as f64 / payload as f64 } else { rate as f64 * (UNIT as f64 / payload as f64).max(1.0) }
        };
        let slowest = self.limits.all().into_iter().filter(|(_, _, rate)| *rate > 0).map(frames).fold(f64::INFINITY, f64::min);
        let window = (slowest * AIM.as_secs_f64()).ceil() as u64;
        window.clamp(LEAST_WINDOW.into(), normal.max(LEAST_WINDOW).into()) as u16
    }
}

impl Limits {
    /// Each limit: of reads or writes or both, whether of bytes, and how many a second. 0: none.
    fn all(&self) -> [(Option<Kind>, bool, u64); 6] {
        [
            (None, false, self.iops),
            (Some(Kind::Read), false, self.read_iops),
            (Some(Kind::Write), false, self.write_iops),
            (None, true, self.bytes_per_second),
            (Some(Kind::Read), true, self.read_bytes_per_second),
            (Some(Kind::Write), true, self.write_bytes_per_second),
        ]
    }
}

const _: () = assert!(Kind::Read as usize == 0 && Kind::Write as usize == 1 && SECOND == 1_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::testing::{A, request};

    fn limits(write_iops: u64) -> Limits {
        Limits { write_iops, ..Limits::default() }
    }

    fn asked(kind: Kind, at: u64, now: Instant) -> Request {
        Request { offset: at << 20, arrived: now, ..request(0, A, kind) }
    }

    /// So many writes of a host that does not keep to its window.
    fn admitted(pacer: &mut Pacer, count: u64, now: Instant) -> Vec<Request> {
        let asked = (0..count).map(|at| asked(Kind::Write, at, now));
        asked.map(|asked| Request { due: Some(pacer.admit(&asked, false, now).unwrap()), ..asked }).collect()
    }

    /// Milliseconds after a time.
    fn due(waiting: &[Request], now: Instant) -> Vec<u128> {
        waiting.iter().map(|request| (request.due.unwrap() - now).as_millis()).collect()
    }

    #[test]
    fn answers_that_left_when_the_limits_were_taken_away_delay_none_under_later_limits() {
        let now = Instant::now();
        let mut pacer = Pacer::new(Some(limits(10)), now).unwrap();
        admitted(&mut pacer, 30, now);
        pacer.set(Limits::default(), Vec::new(), now);
        pacer.set(limits(20), Vec::new(), now);
        assert_eq!(pacer.admit(&asked(Kind::Write, 99, now), false, now), Some(now));
    }

    #[test]
    fn what_waits_when_limits_are_raised_leaves_as_the_new_ones_allow() {
        let now = Instant::now();
        let mut pacer = Pacer::new(Some(limits(10)), now).unwrap();
        let mut waiting = admitted(&mut pacer, 50, now).split_off(1);
        assert_eq!(due(&waiting, now)[..3], [100, 200, 300]);
        waiting.reverse();
        pacer.set(limits(1000), waiting.iter_mut().collect(), now + AIM);
        waiting.reverse();
        assert_eq!(due(&waiting, now), (100..149).collect::<Vec<_>>(), "in the order in which they were to leave");
        let next = pacer.admit(&asked(Kind::Write, 99, now), false, now + AIM).unwrap();
        assert_eq!((next - now).as_millis(), 149, "not before those that wait");
        let read = pacer.admit(&asked(Kind::Read, 99, now), false, now + AIM);
        assert_eq!(read, Some(now + AIM));
    }

    #[test]
    fn limits_that_are_raised_for_a_moment_give_nothing_and_those_that_are_lowered_hold_at_once() {
        let now = Instant::now();
        let mut pacer = Pacer::new(Some(limits(100)), now).unwrap();
        let mut waiting = admitted(&mut pacer, 900, now).split_off(20);
        let before = due(&waiting, now);
        for other in [1_000_000, 100, 10, 100] {
            pacer.set(limits(other), waiting.iter_mut().collect(), now);
        }
        assert_eq!(due(&waiting, now), before);
        pacer.set(limits(10), waiting.iter_mut().collect(), now);
        let found = due(&waiting, now);
        assert_eq!(found[..3], [before[0], before[0] + 100, before[0] + 200]);
        assert!(found[200..].iter().all(|due| *due == found[879] && *due <= LONGEST.as_millis()), "none waits longer");
    }

    #[test]
    fn a_request_that_waits_twice_is_charged_once_when_other_limits_are_set() {
        let now = Instant::now();
        let mut pacer = Pacer::new(Some(limits(10)), now).unwrap();
        let mut waiting = admitted(&mut pacer, 4, now).split_off(1);
        let again = asked(Kind::Write, 3, now);
        waiting.push(Request { due: pacer.admit(&again, true, now), ..again });
        pacer.set(limits(20), waiting.iter_mut().collect(), now);
        assert_eq!(due(&waiting, now), [100, 150, 200, 200]);
        let next = pacer.admit(&asked(Kind::Write, 99, now), false, now).unwrap();
        assert_eq!((next - now).as_millis(), 250);
    }
}
