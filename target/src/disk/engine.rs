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
                for (job, result) in self.ended.drain(..) {
                    if job.kind == Kind::Flush && result.is_err() {
                        job.disk.sync_failed();
                    }
                    if Groups::is_flush(&job) {
                        self.groups.end(&job, &result, into);
                        continue;
                    }
                    self.lanes.end(job.lane);
                    if job.shares_flush() && result.is_ok() {
                        self.groups.add(job);
                    } else {
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
    use super::*;
    use crate::disk::open::{Opened, open};

    #[test]
    fn a_flush_that_fails_is_counted_by_whatever_it_is_done() {
        let Ok(Opened::New(disk)) = open("/proc/self/exe", true, 0, None) else { panic!("it cannot be opened") };
        // No sync of it succeeds.
        let file = std::fs::File::open("/dev/null").unwrap();
        let disk = Arc::new(Disk { file, mode: Mode::Direct, ..Arc::into_inner(disk).unwrap() });
        for (uring, failed) in [(false, 1), (true, 2)] {
            let (mut engine, _) = Engine::new(Arc::new(Waker::new().unwrap()), uring);
            let (disk, pieces) = (disk.clone(), Pieces::new(std::ptr::null_mut(), 0));
            let (kind, alone, zeros) = (Kind::Flush, false, false);
            engine.submit(Job { id: 0, lane: 0, kind, disk: disk.clone(), offset: 0, pieces, alone, zeros, failed_syncs: 0 });
            let mut ended = VecDeque::new();
            while ended.is_empty() {
                engine.turn(true, &mut ended);
            }
            assert!(ended[0].result.is_err());
            assert_eq!(disk.failed_syncs(), failed);
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
