use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::{EnterFlags, IoUring, Probe, opcode, types};

use super::engine::{Job, Kind};

const ENTRIES: u32 = 256;
const COMPLETIONS: u32 = 4096;
/// Most kernel threads for requests that block: enough for eight volumes that hang, each with a full lane. Few of them are ever
/// started.
const BLOCKING: u32 = 512;

/// Does jobs by io_uring. Only for requests that are multiples of the disk's grain.
pub struct Uring {
    ring: IoUring,
    /// Becomes readable at a completion. The ring itself does not: its completions are deferred until this thread asks for them.
    event: File,
    /// By the number that the kernel is given.
    jobs: Vec<Option<Job>>,
    free: Vec<u32>,
    waiting: VecDeque<u32>,
    /// Given to the kernel and not yet completed.
    under_way: usize,
    unsubmitted: usize,
    /// Whether the kernel shows that deferred completions wait.
    shows_work: bool,
}

impl Uring {
    pub fn new() -> io::Result<Uring> {
        // Completions are handled when this thread asks for them (6.1 and later); older kernels interrupt it.
        let deferred =
            IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_cqsize(COMPLETIONS).build(ENTRIES);
        let shows_work = deferred.is_ok();
        let ring = deferred.or_else(|_| IoUring::builder().setup_cqsize(COMPLETIONS).build(ENTRIES))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Read::CODE, opcode::Write::CODE, opcode::Readv::CODE, opcode::Writev::CODE, opcode::Fsync::CODE];
        if !needed.into_iter().all(|code| probe.is_supported(code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // Kernels before 5.15 do not know this. Their own limit is enough unless many disks hang.
        let _ = ring.submitter().register_iowq_max_workers(&mut [BLOCKING, 0]);
        let event = crate::wake::event()?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Uring { ring, event, jobs: Vec::new(), free: Vec::new(), waiting: VecDeque::new(), under_way: 0, unsubmitted: 0, shows_work })
    }

    /// Readable when something may have ended, until [`Uring::clear`].
    pub fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// To be called before the turn that looks for what has ended.
    pub fn clear(&self) {
        crate::wake::clear(&self.event);
    }

    pub fn submit(&mut self, job: Job) {
        let key = self.free.pop().unwrap_or_else(|| {
            self.jobs.push(None);
            self.jobs.len() as u32 - 1
        });
        self.jobs[key as usize] = Some(job);
        self.waiting.push_back(key);
    }

    /// Hands what was submitted to the kernel, and takes what has ended.
    pub fn turn(&mut self, into: &mut Vec<(Job, io::Result<()>)>) {
        self.fill();
        while self.under_way > 0 && (self.unsubmitted > 0 || self.may_have_ended()) {
            // SAFETY: no argument memory is passed.
            let entered =
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(self.unsubmitted as u32, 0, EnterFlags::GETEVENTS.bits(), None) };
            match entered {
                Ok(count) => self.unsubmitted -= count.min(self.unsubmitted),
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::EINTR)) => {}
                Err(error) => panic!("io_uring_enter: {error}"),
            }
            self.reap(into);
            self.fill();
            if self.unsubmitted == 0 {
                break;
            }
        }
    }

    /// Whether completions may wait: without a system call, where the kernel shows it.
    fn may_have_ended(&mut self) -> bool {
        if !self.shows_work || !self.ring.completion().is_empty() {
            return true;
        }
        let submission = self.ring.submission();
        submission.taskrun() || submission.cq_overflow()
    }

    fn fill(&mut self) {
        while let Some(&key) = self.waiting.front() {
            let job = self.jobs[key as usize].as_ref().expect("a waiting job is kept");
            let entry = entry(job).user_data(u64::from(key));
            // SAFETY: memory, its list of pieces and file live as long as the job, which is kept until its completion; a job
            // that moves leaves a list of several pieces where it is, and one piece is not read from the list.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
            self.under_way += 1;
            self.unsubmitted += 1;
        }
    }

    fn reap(&mut self, into: &mut Vec<(Job, io::Result<()>)>) {
        for entry in self.ring.completion() {
            let key = entry.user_data() as u32;
            self.under_way -= 1;
            let slot = &mut self.jobs[key as usize];
            let job = slot.as_mut().expect("each job completes once");
            let result = match entry.result() {
                result if -result == libc::EAGAIN || -result == libc::EINTR => {
                    self.waiting.push_back(key);
                    continue;
                }
                result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
                _ if job.kind == Kind::Flush => Ok(()),
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                result if (result as usize) < job.pieces.length() => {
                    // The kernel may do a request in parts.
                    job.pieces.skip(result as usize);
                    job.offset += result as u64;
                    self.waiting.push_back(key);
                    continue;
                }
                _ => Ok(()),
            };
            if let Some(job) = slot.take() {
                self.free.push(key);
                into.push((job, result));
            }
        }
    }
}

fn entry(job: &Job) -> Entry {
    let file = types::Fd(job.disk.fd());
    let pieces = job.pieces.as_slice();
    let count = pieces.len() as u32;
    let durable = if job.shares_flush() { 0 } else { libc::RWF_DSYNC };
    match (job.kind, pieces) {
        (Kind::GiveBack, _) => unreachable!("threads give back"),
        (Kind::Flush, _) => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
        (Kind::Read, [one]) => opcode::Read::new(file, one.iov_base.cast(), one.iov_len as u32).offset(job.offset).build(),
        (Kind::Read, _) => opcode::Readv::new(file, pieces.as_ptr(), count).offset(job.offset).build(),
        (Kind::Write, [one]) => {
            opcode::Write::new(file, one.iov_base.cast(), one.iov_len as u32).offset(job.offset).rw_flags(durable).build()
        }
        (Kind::Write, _) => opcode::Writev::new(file, pieces.as_ptr(), count).offset(job.offset).rw_flags(durable).build(),
    }
}
