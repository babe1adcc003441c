use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::pool::Pool;
use super::uring::Uring;
use super::{Disk, Mode};
use crate::wake::Waker;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Read,
    Write,
    Flush,
}

/// A request to a disk. The memory at `data` belongs to the job from [`Engine::submit`] until its completion is reaped.
pub struct Job {
    pub id: u32,
    /// Jobs of one lane share a bounded part of what blocks.
    pub lane: u32,
    pub kind: Kind,
    pub disk: Arc<Disk>,
    pub offset: u64,
    pub data: *mut u8,
    pub length: usize,
}

// SAFETY: the memory is the job's alone while it is under way.
unsafe impl Send for Job {}

pub struct Completion {
    pub id: u32,
    pub result: io::Result<()>,
}

impl Job {
    /// Does it now, blocking.
    pub(super) fn run(&self) -> Completion {
        // SAFETY: see `data`.
        let data = unsafe { std::slice::from_raw_parts_mut(self.data, self.length) };
        let result = match self.kind {
            Kind::Read => self.disk.read(self.offset, data),
            Kind::Write => self.disk.write(self.offset, data),
            Kind::Flush => self.disk.flush(),
        };
        Completion { id: self.id, result }
    }
}

/// Does jobs without blocking the caller, and completes them in any order.
pub struct Engine {
    uring: Option<Uring>,
    pool: Pool,
    done: Vec<Completion>,
    /// Jobs in the pool.
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
        (Engine { uring, pool: Pool::new(waker), done: Vec::new(), blocking: 0 }, problem)
    }

    pub fn has_uring(&self) -> bool {
        self.uring.is_some()
    }

    pub fn submit(&mut self, job: Job) {
        if job.disk.mode == Mode::Memory {
            self.done.push(job.run());
            return;
        }
        match &mut self.uring {
            Some(uring) if job.kind == Kind::Flush || job.disk.fits(job.offset, job.length) => uring.submit(job),
            _ => {
                self.blocking += 1;
                self.pool.submit(job);
            }
        }
    }

    /// Hands what was submitted to the kernel, and takes what has ended. `pool` is whether the pool's waker was raised.
    pub fn turn(&mut self, pool: bool, into: &mut Vec<Completion>) {
        into.append(&mut self.done);
        if let Some(uring) = &mut self.uring {
            uring.turn(into);
        }
        if pool && self.blocking > 0 {
            let before = into.len();
            self.pool.reap(into);
            self.blocking -= into.len() - before;
        }
    }

    /// Readable when something may have ended, until [`Engine::clear`]; none when the waker says it all.
    pub fn fd(&self) -> Option<RawFd> {
        self.uring.as_ref().map(Uring::fd)
    }

    /// To be called before the turn that looks for what has ended.
    pub fn clear(&self) {
        if let Some(uring) = &self.uring {
            uring.clear();
        }
    }
}
