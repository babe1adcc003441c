//! Requests for data: from a frame to the disk, and back.

mod again;
pub mod ata;
pub mod gather;
pub mod order;
mod pace;
mod repeats;
pub mod slots;
pub mod zeros;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::ports::Ports;
use super::volume::registry::Registry;
use crate::disk::engine::{Completion, Engine, Job, Kind};
use crate::disk::pieces::Pieces;
use crate::log;
use crate::net::port::Data;
use crate::net::socket::Socket;
use crate::wake::Waker;
use order::INTERNAL;
use pace::Paced;
use slots::{Request, Slots};

/// Requests under way, and what does them.
pub struct DataPath {
    pub slots: Slots,
    pub engine: Engine,
    /// Whether a file in memory is read and written at once, on the serving thread. Tests turn this off to reach the queues.
    inline_memory: bool,
    /// When the present frames were taken, or the present completions reaped: the clock is read once for several.
    pub now: Instant,
    completions: VecDeque<Completion>,
    /// Requests to start now; kept for its memory.
    starting: Vec<u32>,
    /// Volumes with a request that may still grow.
    gathering: Vec<u32>,
    /// Answers that wait for the limits of their volumes.
    paced: Paced,
    warnings: log::Limit,
}

impl DataPath {
    /// Must be called on the thread that uses it. `uring`: whether to use io_uring where the kernel has it.
    pub fn new(waker: Arc<Waker>, uring: bool, inline_memory: bool) -> io::Result<DataPath> {
        let (engine, problem) = Engine::new(waker, uring);
        if let Some(error) = problem {
            log!(Warn, "io_uring is not available; threads do its work", error = error);
        }
        Ok(DataPath {
            slots: Slots::new()?,
            engine,
            inline_memory,
            now: Instant::now(),
            completions: VecDeque::new(),
            starting: Vec::new(),
            gathering: Vec::new(),
            paced: Paced::default(),
            warnings: log::Limit::default(),
        })
    }

    /// Hands requests to the disks, and takes those that have ended for [`DataPath::next_completion`]. False when none has.
    /// `woken`: whether the waker was raised.
    pub fn turn(&mut self, woken: bool) -> bool {
        self.engine.turn(woken, &mut self.completions);
        let ended = !self.completions.is_empty();
        if ended {
            self.now = Instant::now();
        }
        ended
    }

    pub fn next_completion(&mut self) -> Option<Completion> {
        self.completions.pop_front()
    }

    /// Gives a request, and those linked to it, to the disk.
    fn start(&mut self, registry: &Registry, slot: u32) {
        let request = self.slots.get(slot);
        let (id, kind, offset) = (request.volume, request.kind, request.offset);
        let mut pieces = Pieces::new(self.slots.buffer(slot), request.length);
        let mut next = request.next;
        while let Some(slot) = next {
            let request = self.slots.get(slot);
            pieces.push(self.slots.buffer(slot), request.length);
            next = request.next;
        }
        let volume = registry.volume(id);
        match volume.state.disk().cloned() {
            Some(disk) => {
                let reclaims = kind == Kind::Write && volume.saved.definition.reclaim && disk.makes_holes() && self.engine.may_block();
                // SAFETY: the buffers are the slots', and hold the data of the requests.
                let zeros = reclaims && unsafe { pieces.are_zeros() };
                self.engine.submit(Job { id: slot, lane: id, kind, disk, offset, pieces, alone: false, zeros, failed_syncs: 0 });
            }
            None => self.completions.push_back(Completion { id: slot, result: Err(io::ErrorKind::NotFound.into()) }),
        }
    }

    /// Answers a request that has ended, and those linked to it, and starts those that waited for it. Gives their volume.
    pub fn complete<S: Socket>(&mut self, registry: &mut Registry, ports: &mut Ports<S>, completion: Completion) -> u32 {
        let Completion { id: leader, result } = completion;
        if leader & INTERNAL != 0 {
            let id = leader & !INTERNAL;
            self.gave_back(registry, id, &result);
            self.count_reclaimed(registry, id);
            self.give_back(registry, id);
            return id;
        }
        let Request { volume: id, kind, .. } = *self.slots.get(leader);
        let reclaims = kind == Kind::Write && registry.volume(id).saved.definition.reclaim;
        if reclaims && result.is_ok() {
            self.note_zeros(registry, id, leader);
        }
        let again = result.as_ref().err().and_then(|failure| self.again(registry.volume(id), leader, failure));
        if let Some(grain) = again {
            self.separate(registry, id, leader, grain);
            // Their host may have lost the volume since they were under way together. One that waits is not started after that.
            self.drop_forbidden(registry, ports, id);
        } else {
            let mut next = Some(leader);
            while let Some(slot) = next {
                let request = *self.slots.get(slot);
                next = request.next;
                if request.due.is_none() || result.is_err() || !self.keep_back(registry, slot, &request) {
                    self.end_slot(registry, ports, slot, &request, result.as_ref().err());
                }
            }
            registry.volume_mut(id).order.leave(leader, &mut self.starting);
        }
        self.start_all(registry);
        if reclaims {
            self.count_reclaimed(registry, id);
        }
        // Also after a read, which may have been in the way before.
        self.give_back(registry, id);
        id
    }

    fn count_reclaimed(&self, registry: &mut Registry, id: u32) {
        let bytes = registry.volume(id).state.disk().map_or(0, |disk| disk.take_reclaimed());
        if bytes > 0 {
            registry.stats.volume(id).reclaimed += bytes;
        }
    }

    /// Answers a request that was done, or that failed.
    fn end_slot<S: Socket>(
        &mut self,
        registry: &mut Registry,
        ports: &mut Ports<S>,
        slot: u32,
        request: &Request,
        failure: Option<&io::Error>,
    ) {
        let length = if request.kind == Kind::Read { request.length } else { 0 };
        let data = Data::Lent { key: slot, pointer: self.slots.buffer(slot), length };
        match ports.position(request.port) {
            Some(port) => self.end(registry, ports, port, request, data, failure),
            None => self.slots.free(slot),
        }
    }

    fn start_all(&mut self, registry: &Registry) {
        for at in 0..self.starting.len() {
            self.start(registry, self.starting[at]);
        }
        self.starting.clear();
    }

    /// No write of a volume begins from now on, until [`DataPath::resume`].
    pub fn hold(&mut self, registry: &mut Registry, id: u32) {
        self.close_gathering(registry, id);
        registry.volume_mut(id).order.hold();
    }

    /// Starts the writes that waited for the end of a hold.
    pub fn resume(&mut self, registry: &mut Registry, id: u32) {
        registry.volume_mut(id).order.resume(&mut self.starting);
        self.start_all(registry);
    }

    /// Warns that a disk has failed; not more than once a second.
    fn warn_of_failure(&mut self, registry: &mut Registry, id: u32, kind: Kind, failure: &io::Error) {
        if self.warnings.take(self.now) {
            log!(Error, "request failed", uid = registry.volume(id).uid(), request = format!("{kind:?}"), error = failure);
        }
        if matches!(failure.raw_os_error(), Some(libc::ENODEV | libc::ENXIO)) {
            registry.device_gone(id, failure);
        }
    }
}
