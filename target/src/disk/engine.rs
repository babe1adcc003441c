use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::group::Groups;
use super::lanes::Lanes;
use super::memory::Aligned;
use super::pieces::Pieces;
use super::uring::Uring;
use super::{Disk, Mode};
use crate::crew::{Crew, Queue};
use crate::wake::Waker;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Flush,
    /// Gives back the chunks of a range if they hold zeros: see [`Disk::give_back`]. Its pieces have a length and no memory.
    GiveBack,
}

/// A request to a disk. The memory of its pieces belongs to the job from [`Engine::submit`] until its completion is reaped.
pub struct Job {
    pub id: u32,
    /// The volume. A lane has a limited number of jobs under way.
    pub lane: u32,
    pub kind: Kind,
    pub disk: Arc<Disk>,
    pub offset: u64,
    pub pieces: Pieces,
    /// Nothing else of its lane was under way when it began: no other job can share a flush with it.
    pub alone: bool,
    /// A write of zeros that are to take no space.
    pub zeros: bool,
    /// Syncs of the disk that had failed when it began.
    pub failed_syncs: u64,
}

// SAFETY: the memory is the job's alone while it is under way.
unsafe impl Send for Job {}

pub struct Completion {
    pub id: u32,
    pub result: io::Result<()>,
}

impl Job {
    /// Does it now, blocking. A write is durable.
    pub(super) fn run(&self) -> Completion {
        Completion { id: self.id, result: self.result() }
    }

    /// Whether this is a write that becomes durable by a flush after it.
    pub(super) fn shares_flush(&self) -> bool {
        self.kind == Kind::Write && self.disk.grouped && !self.alone
    }

    fn result(&self) -> io::Result<()> {
        let length = self.pieces.length();
        match (self.kind, self.pieces.as_slice()) {
            (Kind::Flush, _) => self.disk.flush(),
            (Kind::GiveBack, _) => self.disk.give_back(self.offset, length as u64),
            (Kind::Write, _) if self.zeros => self.disk.write_zeros(self.offset, length),
            // SAFETY: see `Job`, here and below.
            (Kind::Read, [one]) => self.disk.read(self.offset, unsafe { std::slice::from_raw_parts_mut(one.iov_base.cast(), length) }),
            (Kind::Write, [one]) => self.disk.write(self.offset, unsafe { std::slice::from_raw_parts(one.iov_base.cast(), length) }),
            (kind, _) => {
                let mut whole = Aligned::new(length);
                if kind == Kind::Write {
                    // SAFETY: as above.
                    unsafe { self.pieces.gather(whole.bytes()) };
                    return self.disk.write(self.offset, whole.bytes());
                }
                self.disk.read(self.offset, whole.bytes())?;
                // SAFETY: as above.
                unsafe { self.pieces.scatter(whole.bytes()) };
                Ok(())
            }
        }
    }
}

/// Jobs of one volume that io_uring has under way.
const URING_DEPTH: usize = 64;
/// Threads for jobs that io_uring cannot do, and jobs of one volume that they do at once: a slow disk takes a few of them.
const THREADS: usize = 16;
const THREADS_OF_A_LANE: usize = 4;

impl Queue for Lanes {
    type Task = Job;
    /// With the lane.
    type Done = (u32, Completion);

    fn add(&mut self, job: Job) {
        Lanes::add(self, job);
    }

    fn take(&mut self) -> Option<Job> {
        self.next()
    }

    fn ready(&self) -> usize {
        Lanes::ready(self)
    }

    fn ended(&mut self, (lane, _): &(u32, Completion)) {
        self.end(*lane);
    }
}

/// Does jobs without blocking the caller, and completes them in any order.
pub struct Engine {
    uring: Option<Uring>,
    lanes: Lanes,
    groups: Groups,
    threads: Crew<Lanes>,
    done: Vec<Completion>,
    ended: Vec<(Job, io::Result<()>)>,
    /// Jobs that the threads have.
    blocking: usize,
}

impl Engine {
    /// `uring`: whether to try it; where the kernel lacks or forbids it, threads do all the work. Must be made on the thread
    /// that uses it.
    pub fn new(waker: Arc<Waker>, uring: bool) -> (Engine, Option<io::Error>) {
        let (uring, problem) = match uring.then(Uring::new) {
            Some(Ok(uring)) => (Some(uring), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        // The job ends on the thread, and with it the disk if the job was its last user.
        let run = |job: Job| (job.lane, job.run());
        let engine = Engine {
            uring,
            lanes: Lanes::new(URING_DEPTH),
            groups: Groups::default(),
            threads: Crew::new("disk", THREADS, Lanes::new(THREADS_OF_A_LANE), waker, run),
            done: Vec::new(),
            ended: Vec::new(),
            blocking: 0,
        };
        (engine, problem)
    }

    /// Whether threads are left for work that need not be done by one: whatever hangs of that, other requests get a thread.
    pub fn may_block(&self) -> bool {
        self.blocking < THREADS / 2
    }

    /// Whether threads of the kernel are making writes durable: they need a CPU.
    pub fn is_flushing(&self) -> bool {
        self.groups.under_way() > 0
    }

    pub fn submit(&mut self, job: Job) {
        if job.disk.mode == Mode::Memory {
            self.done.push(job.run());
            return;
        }
        let fits = || job.disk.fits(job.offset, job.pieces.length()) && job.pieces.each_fits(job.disk.grain as usize);
        let blocks = job.zeros || job.kind == Kind::GiveBack;
        if self.uring.is_some() && !blocks && (job.kind == Kind::Flush || fits()) {
            self.lanes.add(job);
        } else {
            self.blocking += 1;
            self.threads.submit(job);
        }
    }

    /// Hands the submitted jobs to the kernel, and takes those that have ended. `woken`: whether the waker was raised.
    pub fn turn(&mut self, woken: bool, into: &mut VecDeque<Completion>) {
        into.extend(self.done.drain(..));
        if let Some(uring) = &mut self.uring {
            loop {
                while let Some(mut job) = self.lanes.next() {
                    job.alone &= !self.groups.is_busy(job.lane);
                    job.failed_syncs = job.disk.failed_syncs();
                    uring.submit(job);
                }
                self.groups.start(|job| uring.submit(job));
                uring.turn(&mut self.ended);
                if self.ended.is_empty() {
                    break;
                }
                // Failures are counted before any result is judged: the device may have done these jobs in another order.
                for (job, result) in &self.ended {
                    match (job.kind, result) {
                        (Kind::Flush, Err(_)) => job.disk.sync_failed(),
                        (Kind::Write, Err(error)) if !job.shares_flush() => job.disk.durable_write_failed(error),
                        _ => {}
                    }
                }
                for (job, result) in self.ended.drain(..) {
                    if Groups::is_flush(&job) {
                        self.groups.end(&job, &result, into);
                        continue;
                    }
                    self.lanes.end(job.lane);
                    if job.shares_flush() && result.is_ok() {
                        self.groups.add(job);
                    } else {
                        let written = job.kind == Kind::Write && result.is_ok();
                        let result = if written { job.disk.check_syncs(job.failed_syncs) } else { result };
                        into.push_back(Completion { id: job.id, result });
                    }
                }
            }
        }
        if woken && self.blocking > 0 {
            let done = self.threads.reap();
            self.blocking -= done.len();
            into.extend(done.into_iter().map(|(_, completion)| completion));
        }
    }

    /// Readable when a job may have ended, until [`Engine::clear`]; none when only the waker is raised.
    pub fn fd(&self) -> Option<RawFd> {
        self.uring.as_ref().map(Uring::fd)
    }

    /// To be called before [`Engine::turn`].
    pub fn clear(&self) {
        if let Some(uring) = &self.uring {
            uring.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::disk::open::{Opened, open};

    /// A disk that is something else, and so fails as that does.
    fn disk_of(file: std::fs::File, mode: Mode) -> Arc<Disk> {
        let Ok(Opened::New(disk)) = open("/proc/self/exe", true, 0, None) else { panic!("it cannot be opened") };
        Arc::new(Disk { file, mode, cached: true, grouped: mode == Mode::Direct, grain: 512, ..Arc::into_inner(disk).unwrap() })
    }

    fn engine(uring: bool) -> Engine {
        Engine::new(Arc::new(Waker::new().unwrap()), uring).0
    }

    fn job(id: u32, kind: Kind, disk: &Arc<Disk>, memory: &mut [u8]) -> Job {
        let pieces = Pieces::new(memory.as_mut_ptr(), memory.len());
        Job { id, lane: 0, kind, disk: disk.clone(), offset: 0, pieces, alone: true, zeros: false, failed_syncs: 0 }
    }

    fn end(engine: &mut Engine) -> Completion {
        let mut ended = VecDeque::new();
        while ended.is_empty() {
            engine.turn(true, &mut ended);
        }
        ended.pop_front().unwrap()
    }

    #[test]
    fn a_flush_that_fails_is_counted_by_whatever_it_is_done() {
        // No sync of it succeeds.
        let disk = disk_of(std::fs::File::open("/dev/null").unwrap(), Mode::Direct);
        for (uring, failed) in [(false, 1), (true, 2)] {
            let mut engine = engine(uring);
            engine.submit(job(0, Kind::Flush, &disk, &mut []));
            assert!(end(&mut engine).result.is_err());
            assert_eq!(disk.failed_syncs(), failed);
        }
    }

    #[test]
    fn a_write_that_fails_with_its_sync_is_counted_by_whatever_it_is_done() {
        let disk = disk_of(std::fs::File::open("/dev/null").unwrap(), Mode::Direct);
        for (uring, failed) in [(false, 1), (true, 2)] {
            let (mut engine, mut memory) = (engine(uring), [0; 512]);
            engine.submit(job(0, Kind::Write, &disk, &mut memory));
            assert!(end(&mut engine).result.is_err());
            assert_eq!(disk.failed_syncs(), failed);
        }
    }

    #[test]
    fn a_write_that_was_refused_is_no_failed_sync_unless_it_may_be_told_the_error_of_another() {
        for (mode, number, counted) in [
            (Mode::Direct, libc::ENOSPC, 0),
            (Mode::Direct, libc::EINVAL, 0),
            (Mode::Direct, libc::EIO, 1),
            (Mode::Direct, libc::EROFS, 1),
            (Mode::Buffered, libc::ENOSPC, 1),
        ] {
            let disk = disk_of(std::fs::File::open("/dev/null").unwrap(), mode);
            disk.durable_write_failed(&io::Error::from_raw_os_error(number));
            assert_eq!(disk.failed_syncs(), counted, "{mode:?} {number}");
        }
    }

    #[test]
    fn a_write_that_is_alone_has_failed_when_a_sync_failed_while_it_was_under_way() {
        // A pipe that is full: the write is under way until it is read.
        let mut ends = [0; 2];
        // SAFETY: the array holds both ends, which are open and nobody's.
        let [mut reader, mut writer] = unsafe {
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
            ends.map(|end| <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(end))
        };
        // SAFETY: the descriptor is open; no memory is passed.
        let bytes = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) } as usize;
        let (mut engine, mut memory) = (engine(true), [0; 512]);
        if engine.uring.is_none() {
            return; // a thread cannot write to a pipe at an offset
        }
        for (fails, ok) in [(false, true), (true, false)] {
            writer.write_all(&vec![0; bytes]).unwrap();
            let disk = disk_of(writer.try_clone().unwrap(), Mode::Direct);
            engine.submit(job(0, Kind::Write, &disk, &mut memory));
            let mut ended = VecDeque::new();
            engine.turn(true, &mut ended);
            assert!(ended.is_empty());
            if fails {
                disk.sync_failed();
            }
            reader.read_exact(&mut vec![0; bytes]).unwrap();
            let result = end(&mut engine).result;
            assert!(if ok { result.is_ok() } else { crate::disk::is_doubtful(&result.unwrap_err()) });
            reader.read_exact(&mut [0; 512]).unwrap();
        }
    }

    #[test]
    fn work_that_need_not_be_done_by_a_thread_leaves_half_of_them_to_others() {
        let path = std::env::temp_dir().join(format!("aoe-engine-{}", std::process::id()));
        std::fs::write(&path, [0; 4096]).unwrap();
        let Ok(Opened::New(disk)) = open(path.to_str().unwrap(), false, 0, None) else { panic!("it cannot be opened") };
        let waker = Arc::new(Waker::new().unwrap());
        let (mut engine, _) = Engine::new(waker, false);
        for id in 0..THREADS as u32 {
            assert_eq!(engine.may_block(), (id as usize) < THREADS / 2);
            let pieces = Pieces::new(std::ptr::null_mut(), 4096);
            let disk = disk.clone();
            engine.submit(Job { id, lane: id, kind: Kind::GiveBack, disk, offset: 0, pieces, alone: false, zeros: false, failed_syncs: 0 });
        }
        let mut ended = VecDeque::new();
        while ended.len() < THREADS {
            engine.turn(true, &mut ended);
        }
        assert!(engine.may_block());
        std::fs::remove_file(path).unwrap();
    }
}
