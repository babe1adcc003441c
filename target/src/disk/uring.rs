use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::{EnterFlags, IoUring, Probe, opcode, types};

use super::engine::{Completion, Job, Kind};

const ENTRIES: u32 = 256;
const COMPLETIONS: u32 = 4096;

/// Jobs by io_uring. Only for requests that fit the disk as they are.
pub struct Uring {
    ring: IoUring,
    /// Told of completions: a ring whose completions wait to be asked for does not wake who polls the ring itself.
    event: File,
    /// By job id.
    jobs: Vec<Option<Under>>,
    waiting: VecDeque<u32>,
    /// Given to the kernel and not yet completed.
    under_way: usize,
    unsubmitted: usize,
}

struct Under {
    job: Job,
    /// Bytes done: the kernel may do a request in parts.
    done: usize,
}

impl Uring {
    pub fn new() -> io::Result<Uring> {
        // Completions are handled when this thread asks for them (6.1 and later); older kernels interrupt it.
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES)
            .or_else(|_| IoUring::builder().setup_cqsize(COMPLETIONS).build(ENTRIES))?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        let needed = [opcode::Read::CODE, opcode::Write::CODE, opcode::Fsync::CODE];
        if !needed.into_iter().all(|code| probe.is_supported(code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let event = crate::wake::event()?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Uring { ring, event, jobs: Vec::new(), waiting: VecDeque::new(), under_way: 0, unsubmitted: 0 })
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
        let id = job.id;
        if self.jobs.len() <= id as usize {
            self.jobs.resize_with(id as usize + 1, || None);
        }
        self.jobs[id as usize] = Some(Under { job, done: 0 });
        self.waiting.push_back(id);
    }

    pub fn turn(&mut self, into: &mut Vec<Completion>) {
        self.fill();
        while self.under_way > 0 {
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

    fn fill(&mut self) {
        while let Some(&id) = self.waiting.front() {
            let under = self.jobs[id as usize].as_ref().expect("a waiting job is kept");
            let entry = entry(under).user_data(u64::from(id));
            // SAFETY: buffer and file live as long as the job, which is kept until its completion.
            if unsafe { self.ring.submission().push(&entry) }.is_err() {
                return;
            }
            self.waiting.pop_front();
            self.under_way += 1;
            self.unsubmitted += 1;
        }
    }

    fn reap(&mut self, into: &mut Vec<Completion>) {
        for entry in self.ring.completion() {
            let id = entry.user_data() as u32;
            self.under_way -= 1;
            let slot = &mut self.jobs[id as usize];
            let under = slot.as_mut().expect("each job completes once");
            let result = match entry.result() {
                result if -result == libc::EAGAIN || -result == libc::EINTR => {
                    self.waiting.push_back(id);
                    continue;
                }
                result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
                _ if under.job.kind == Kind::Flush => Ok(()),
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                result => {
                    under.done += result as usize;
                    if under.done < under.job.length {
                        self.waiting.push_back(id);
                        continue;
                    }
                    Ok(())
                }
            };
            *slot = None;
            into.push(Completion { id, result });
        }
    }
}

fn entry(under: &Under) -> Entry {
    let Under { job, done } = under;
    let file = types::Fd(job.disk.fd());
    let offset = job.offset + *done as u64;
    // SAFETY: within the job's memory.
    let data = unsafe { job.data.add(*done) };
    let length = (job.length - done) as u32;
    match job.kind {
        Kind::Read => opcode::Read::new(file, data, length).offset(offset).build(),
        Kind::Write => opcode::Write::new(file, data, length).offset(offset).rw_flags(libc::RWF_DSYNC).build(),
        Kind::Flush => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
    }
}
