use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use super::command::{self, Command};
use super::data::slots::Slots;
use super::observe::stats::{Refused, Stats};
use super::observe::trace::Traces;
use super::polling::Patience;
use super::ports::flood::{Allowances, Flood};
use super::volume::change::{Reply, Step};
use super::volume::{Status, Volume};
use crate::definition::Address;
use crate::disk::engine::{Completion, Engine};
use crate::log;
use crate::net::link::Monitor;
use crate::net::packet::PacketSocket;
use crate::net::port::Port;
use crate::net::socket::{Frame, Socket};
use crate::net::{buffer_count, ring_frames};
use crate::store::{Loaded, Saved, Store};
use crate::wake::Waker;
use crate::wire::Mac;
use crate::worker::{Task, Worker};

/// Frames taken before all else has its turn, for each interface that there is.
const FRAMES_OF_A_TURN: usize = 64;
/// Answers that are sent together, at most.
const ANSWERS_OF_A_TURN: usize = 16;
/// Frames that are taken as one moment.
const FRAMES_OF_A_MOMENT: usize = 16;
/// How often a disk, or an interface, that could not be used is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often one that is never idle looks for what is neither a frame, a completion nor a command.
const LOOK: Duration = Duration::from_millis(100);
/// How long requests under way may take once the process is told to stop.
const STOP: Duration = Duration::from_millis(700);

pub struct Options {
    /// How long to look for the next frame before sleeping, at most. Zero: sleep at once.
    pub poll: Duration,
    /// Whether to use io_uring where the kernel has it.
    pub uring: bool,
    /// Whether a file in memory is read and written where the frame is. Else its requests take the way that those to other
    /// disks take.
    pub at_once: bool,
}

pub struct Server<S = PacketSocket> {
    pub(super) options: Options,
    pub(super) volumes: Vec<Option<Box<Volume>>>,
    pub(super) by_address: HashMap<Address, u32>,
    pub(super) by_uid: HashMap<String, u32>,
    pub(super) ports: Vec<Port<S>>,
    pub(super) next_port: u32,
    /// Frames that receive rings should hold, by the number of volumes.
    pub(super) ring_frames: usize,
    pub(super) slots: Slots,
    pub(super) engine: Engine,
    pub(super) worker: Worker,
    pub(super) waker: Arc<Waker>,
    pub(super) monitor: Monitor,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) watchers: Vec<command::Watcher>,
    pub(super) stats: Stats,
    pub(super) traces: Traces,
    pub(super) flood: Flood,
    /// When the frames in hand were taken, or the completions in hand reaped: the clock is read once for several.
    pub(super) now: Instant,
    /// The wall clock when it was last looked at, as [`clock`].
    pub(super) clock: Duration,
    /// Interface lists that wait to be saved; the first is being saved.
    pub(super) interface_changes: VecDeque<(Vec<String>, Reply<Vec<crate::proto::Interface>>)>,
    pub(super) retry_at: Option<Instant>,
    pub(super) next_look: Instant,
    pub(super) next_complaint: Instant,
    pub(super) completions: Vec<Completion>,
    /// Requests to start now; kept for its memory.
    pub(super) starting: Vec<u32>,
    /// Volumes with a request that may still grow.
    pub(super) gathering: Vec<u32>,
}

impl<S: Socket> Server<S> {
    /// Must be called on the thread that runs it.
    pub fn new(options: Options, store: Option<Store>, waker: Arc<Waker>, commands: mpsc::Receiver<Command>) -> io::Result<Self> {
        let (engine, problem) = Engine::new(waker.clone(), options.uring);
        if let Some(error) = problem {
            log!(Warn, "io_uring is not available; threads do its work", error = error);
        }
        Ok(Server {
            options,
            volumes: Vec::new(),
            by_address: HashMap::new(),
            by_uid: HashMap::new(),
            ports: Vec::new(),
            next_port: 0,
            ring_frames: ring_frames(0),
            slots: Slots::new()?,
            engine,
            worker: Worker::new(waker.clone(), store),
            waker,
            monitor: Monitor::open()?,
            commands,
            watchers: Vec::new(),
            stats: Stats::default(),
            traces: Traces::default(),
            flood: Flood::default(),
            now: Instant::now(),
            clock: Duration::ZERO,
            interface_changes: VecDeque::new(),
            retry_at: None,
            next_look: Instant::now(),
            next_complaint: Instant::now(),
            completions: Vec::new(),
            starting: Vec::new(),
            gathering: Vec::new(),
        })
    }

    /// Takes up what was served before.
    pub fn restore(&mut self, loaded: Loaded) {
        for (path, problem) in &loaded.problems {
            log!(Error, "state file passed over", path = path.display(), error = problem);
        }
        for saved in loaded.volumes {
            let definition = &saved.definition;
            if self.by_uid.contains_key(&definition.uid) || self.by_address.contains_key(&definition.address) {
                log!(Error, "volume passed over: its address is another's", uid = definition.uid, address = definition.address);
                continue;
            }
            let id = self.insert(saved, Status::Loading);
            self.load(id);
        }
        self.set_ports(&loaded.interfaces);
    }

    /// Adds a volume to the tables.
    pub(super) fn insert(&mut self, saved: Saved, status: Status) -> u32 {
        let id = self.volumes.iter().position(Option::is_none).unwrap_or_else(|| {
            self.volumes.push(None);
            self.volumes.len() - 1
        }) as u32;
        self.by_address.insert(saved.definition.address, id);
        self.by_uid.insert(saved.definition.uid.clone(), id);
        self.volumes[id as usize] = Some(Box::new(Volume::new(saved, status)));
        id
    }

    pub(super) fn volume(&mut self, id: u32) -> &mut Volume {
        self.volumes[id as usize].as_mut().expect("a volume stays while something is under way for it")
    }

    /// Opens the disk of a volume that should be served.
    pub(super) fn load(&mut self, id: u32) {
        let volume = self.volume(id);
        volume.step = Step::Loading;
        let definition = &volume.saved.definition;
        let (path, read_only) = (definition.path.clone(), definition.read_only);
        self.worker.submit(Task::Open { volume: id, path, read_only, current: None });
    }

    /// Serves until `stop` is set (and the waker woken).
    pub fn run(mut self, stop: &AtomicBool) {
        let mut last_busy = Instant::now();
        let mut patience = Patience::new(self.options.poll);
        let mut looking = false;
        while !stop.load(Ordering::Relaxed) {
            let busy = self.turn(true);
            let now = Instant::now();
            if busy {
                if looking {
                    patience.found();
                }
                looking = false;
                last_busy = now;
            } else if !self.engine.is_flushing() && now.saturating_duration_since(last_busy) < patience.limit() {
                looking = true;
                std::hint::spin_loop();
            } else {
                self.sleep(None);
                if !self.engine.is_flushing() {
                    patience.slept(last_busy.elapsed());
                }
                looking = false;
                last_busy = Instant::now();
            }
            if now >= self.next_look {
                self.look_around(0);
            }
        }
        log!(Info, "stopping");
        let limit = Instant::now() + STOP;
        while !self.is_quiet() && Instant::now() < limit {
            if !self.turn(false) {
                self.sleep(Some(limit));
            }
        }
        self.turn(false);
        if !self.is_quiet() {
            // Requests to disks that hang go on in threads and in the kernel until the process is gone. What they read and
            // write must be there until then: in memory that is given back, a disk would get whatever takes its place.
            std::mem::forget((self.slots, self.engine));
        }
    }

    /// Does what there is to do; false when there was nothing. `receive`: takes frames, too.
    pub fn turn(&mut self, receive: bool) -> bool {
        let mut busy = false;
        if receive {
            busy |= self.receive();
            self.close_gatherings();
        }
        let woken = self.waker.take();
        let mut completions = std::mem::take(&mut self.completions);
        self.engine.turn(woken, &mut completions);
        if !completions.is_empty() {
            busy = true;
            self.now = Instant::now();
        }
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        completions.append(&mut self.completions); // what failed at once
        self.completions = completions;
        self.flush();
        if woken {
            busy = true;
            for done in self.worker.reap() {
                self.done(done);
            }
            while let Ok(command) = self.commands.try_recv() {
                self.command(command);
            }
            if self.ring_frames != ring_frames(self.by_uid.len()) {
                self.refresh_ports();
            }
            self.flush();
        }
        busy
    }

    /// Whether no request is under way, and no answer to one waits to be sent.
    pub fn is_quiet(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes frames in the order in which they came, whatever interface they came by: a write must not be done after a newer
    /// one to the same sectors, which its host has sent by another way since. False when there was none.
    fn receive(&mut self) -> bool {
        for port in 0..self.ports.len() {
            if self.ports[port].is_crowded() {
                self.look_for_flood(port);
            }
        }
        let one = self.ports.len() == 1;
        if !one {
            self.clock = clock();
        }
        for count in 0..FRAMES_OF_A_TURN * self.ports.len() {
            if self.slots.is_full() {
                return count > 0; // frames stay in the ring
            }
            let Some(port) = (if one { Some(0) } else { self.oldest() }) else { return count > 0 };
            let Some(socket) = &mut self.ports[port].socket else { return count > 0 };
            let Some(frame) = socket.receive() else { return count > 0 };
            if count % FRAMES_OF_A_MOMENT == 0 {
                self.now = Instant::now();
            }
            match frame {
                // SAFETY: the frame stays where it is until it is released, and handling it leaves the socket alone.
                Frame::Whole(frame) => {
                    let frame = unsafe { &*frame };
                    self.ports[port].counts.received += 1;
                    if !self.flood.is_quiet() && self.flood.silences(sender(frame), self.now) {
                        self.stats.refused.add(Refused::Flood);
                    } else {
                        if !self.traces.is_empty() {
                            self.traces.take([frame, &[]]);
                        }
                        self.take(port, frame);
                    }
                }
                Frame::Lost => self.ports[port].counts.lost += 1,
            }
            if let Some(socket) = &mut self.ports[port].socket {
                socket.release();
            }
            if self.ports[port].queued() >= ANSWERS_OF_A_TURN {
                self.flush();
            }
        }
        !self.ports.is_empty()
    }

    /// The port whose next frame came before those of all others. All are looked at for each frame: whoever sends by another
    /// way since an answer has sent what is newer.
    fn oldest(&mut self) -> Option<usize> {
        let mut first = None;
        for (at, port) in self.ports.iter().enumerate() {
            let Some(arrived) = port.socket.as_ref().and_then(S::arrived) else { continue };
            if arrived > self.clock {
                self.clock = clock();
            }
            // What came later than now came before the clock was set back: else it would wait until then.
            let next = (arrived <= self.clock, arrived, at);
            if first.is_none_or(|first| next < first) {
                first = Some(next);
            }
        }
        first.map(|(.., at)| at)
    }

    /// Many frames wait at a port: counts whose they are.
    fn look_for_flood(&mut self, port: usize) {
        let volumes = self.volumes.iter().flatten();
        let buffers = usize::from(buffer_count(self.ports[port].ring_frames(), self.by_uid.len()));
        let mut allowances = Allowances::default();
        for access in volumes.map(|volume| &volume.saved.definition.access) {
            allowances.anyone += if access.anyone { buffers } else { 0 };
            for mac in access.macs.iter().filter(|_| !access.anyone) {
                *allowances.named.entry(*mac).or_default() += buffers;
            }
        }
        let mut senders = Vec::new();
        self.ports[port].look_ahead(|frame| senders.push(sender(frame)));
        self.now = Instant::now();
        for host in self.flood.count(senders.into_iter(), allowances, self.now) {
            if self.now >= self.next_complaint {
                self.next_complaint = self.now + Duration::from_secs(1);
                let host = host.map_or_else(|| "hosts that may use no volume".into(), |host| host.to_string());
                log!(
                    Warn,
                    "more frames than the buffer counts allow; some are passed over",
                    interface = self.ports[port].name,
                    host = host
                );
            }
        }
    }

    pub(super) fn flush(&mut self) {
        for port in &mut self.ports {
            if port.queued() > 0 {
                port.flush(|slot| self.slots.free(slot));
            }
        }
    }

    /// Sleeps until something happens.
    pub(super) fn sleep(&mut self, limit: Option<Instant>) {
        let trim = self.slots.needs_trim().then(|| Instant::now() + RETRY);
        let limit = [limit, self.retry_at, trim].into_iter().flatten().min();
        let timeout = limit.map_or(-1, |limit| limit.saturating_duration_since(Instant::now()).as_millis() as i32 + 1);
        if !self.look_around(timeout) {
            self.slots.trim();
        }
    }

    /// Follows what becomes of interfaces, and tries again what could not be used. Waits so many milliseconds for something to
    /// happen, without end when it is negative; false when nothing did. A turn must come before it waits again: what has woken
    /// it does so once.
    pub(super) fn look_around(&mut self, timeout: i32) -> bool {
        let full = self.slots.is_full();
        let mut fds = vec![poll_for(self.waker.fd(), libc::POLLIN), poll_for(self.monitor.fd(), libc::POLLIN)];
        fds.extend(self.engine.fd().map(|fd| poll_for(fd, libc::POLLIN)));
        let others = fds.len();
        for port in &self.ports {
            fds.push(poll_for(port.fd().unwrap_or(-1), if full { 0 } else { libc::POLLIN }));
            fds.push(poll_for(port.blocked_fd().unwrap_or(-1), libc::POLLOUT));
        }
        // SAFETY: the array is valid for its length.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        if fds[0].revents != 0 {
            self.waker.clear();
        }
        if others > 2 && fds[2].revents != 0 {
            self.engine.clear();
        }
        if fds[1].revents != 0 {
            self.monitor.drain();
            self.refresh_ports();
        }
        for (port, fds) in self.ports.iter_mut().zip(fds[others..].chunks_exact(2)) {
            if fds[0].revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0
                && let Some(socket) = &port.socket
            {
                socket.clear_error();
            }
            if fds[1].revents != 0 {
                port.flush(|slot| self.slots.free(slot));
            }
        }
        let now = Instant::now();
        self.next_look = now + LOOK;
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.retry();
        }
        ready != 0
    }

    /// Tries again what could not be used, and will again while there is such.
    fn retry(&mut self) {
        if self.ports.iter().any(|port| port.failed) {
            self.refresh_ports();
        }
        for id in 0..self.volumes.len() as u32 {
            let Some(volume) = self.volumes[id as usize].as_deref().filter(|volume| volume.status == Status::Failed) else { continue };
            if matches!(volume.step, Step::Idle) {
                self.load(id);
            }
            self.retry_later(); // its step may end without a word of the disk
        }
    }

    pub(super) fn retry_later(&mut self) {
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
    }
}

/// Time of the wall clock since 1970, by which the kernel says when a frame came.
fn clock() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Source of a frame, which is at least an Ethernet header.
fn sender(frame: &[u8]) -> Mac {
    if frame.len() < 2 * Mac::LENGTH { Mac::default() } else { Mac::at(frame, Mac::LENGTH) }
}

fn poll_for(fd: i32, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

#[cfg(test)]
pub(in crate::serve) mod tests {
    use super::*;
    use crate::definition::{Access, Definition};
    use crate::disk::engine::Kind;
    use crate::serve::data::slots::Request;
    use crate::wire::{Ata, Header, SECTOR};
    use tokio::sync::oneshot;

    pub const A: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
    pub const B: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);

    /// Without interfaces.
    pub fn server() -> Server {
        let options = Options { poll: Duration::ZERO, uring: false, at_once: false };
        Server::new(options, None, Arc::new(Waker::new().unwrap()), mpsc::channel().1).unwrap()
    }

    /// Volume `v` at this path, for A and B.
    pub fn saved(path: &str) -> Saved {
        let access = Access { macs: vec![A, B], ..Access::default() };
        let address = Address { shelf: 7, slot: 3 };
        Saved::new(Definition { uid: "v".into(), address, path: path.into(), serial: "S".into(), read_only: false, access })
    }

    /// For a sector of a volume.
    pub fn request(volume: u32, source: Mac, kind: Kind) -> Request {
        let header = Header { destination: Mac::default(), source, version: 1, flags: 0, error: 0, shelf: 7, slot: 3, command: 0, tag: 1 };
        let ata = Ata { flags: 0, feature: 0, count: 1, command: 0, lba: [0; 6], reserved: [0; 2] };
        Request { volume, port: 0, header, ata, kind, offset: 0, length: SECTOR, next: None, arrived: Instant::now() }
    }

    fn sleeps(server: &mut Server) -> bool {
        let limit = Instant::now() + Duration::from_millis(50);
        server.sleep(Some(limit));
        Instant::now() >= limit
    }

    #[test]
    fn a_wake_that_writes_after_its_flag_was_taken_is_heard_once() {
        let mut server = server();
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is valid.
        assert_eq!(unsafe { libc::write(server.waker.fd(), one.as_ptr().cast(), one.len()) }, 8);
        assert!(!sleeps(&mut server));
        assert!(!server.turn(true));
        assert!(sleeps(&mut server), "it polls without end");
        server.waker.wake();
        assert!(!sleeps(&mut server));
        assert!(server.turn(true), "the flag is still there");
        assert!(sleeps(&mut server));
    }

    #[test]
    fn a_failed_volume_is_tried_again_whatever_its_step_was_when_its_time_came() {
        let mut server = server();
        let id = server.insert(saved("/no/such"), Status::Loading);
        server.fail(id, "gone".into());
        server.volume(id).step = Step::Leaving { reply: oneshot::channel().0 };
        server.retry_at = Some(Instant::now());
        server.look_around(0);
        assert!(matches!(server.volume(id).step, Step::Leaving { .. }));
        assert!(server.retry_at.is_some_and(|at| at > Instant::now()), "it would never be tried again");
        server.volume(id).step = Step::Idle;
        server.retry_at = Some(Instant::now());
        server.look_around(0);
        assert!(matches!(server.volume(id).step, Step::Loading));
    }

    #[test]
    fn requests_that_hang_keep_their_memory_when_serving_ends() {
        let mut server = server();
        let (slot, _) = server.slots.insert(request(0, A, Kind::Write)).unwrap();
        let buffer = server.slots.buffer(slot);
        // SAFETY: the buffer is the slot's.
        unsafe { buffer.write(0x5a) };
        server.run(&AtomicBool::new(true));
        // SAFETY: it changes nothing; it fails where there is no memory.
        assert_eq!(unsafe { libc::msync(buffer.cast(), 4096, libc::MS_ASYNC) }, 0, "{}", io::Error::last_os_error());
        // SAFETY: there is memory.
        assert_eq!(unsafe { buffer.read() }, 0x5a);
    }
}
