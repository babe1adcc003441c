//! Requests that come together and are adjacent on the disk become one: at an MTU of 1500, 4 KiB come in four frames. Written
//! separately, they would wait for stable storage four times.

use super::DataPath;
use super::order::{Entered, Span};
use super::slots::Request;
use crate::disk::engine::Kind;
use crate::serve::volume::registry::Registry;
use crate::wire::{Mac, SECTOR};

/// Most sectors that become one request.
const MOST: u64 = 512;

/// A request that may still grow: it is not yet in the order of its volume, nor are those behind it.
pub struct Gathering {
    leader: u32,
    last: u32,
    /// Whole sectors, not yet widened to blocks.
    start: u64,
    end: u64,
    grain: u64,
    kind: Kind,
    /// All come from one initiator, so that all are allowed or all are forbidden.
    source: Mac,
}

impl Gathering {
    fn continues(&self, request: &Request) -> bool {
        let (start, count) = sectors(request);
        self.end == start && self.kind == request.kind && self.source == request.header.source && start + count - self.start <= MOST
    }
}

/// First sector and number of sectors.
pub(super) fn sectors(request: &Request) -> (u64, u64) {
    (request.offset / SECTOR as u64, (request.length / SECTOR) as u64)
}

impl DataPath {
    /// Takes a read or write that is in a slot. It begins at the end of this batch of frames, at the latest.
    pub(super) fn gather(&mut self, registry: &mut Registry, id: u32, slot: u32, grain: u64) {
        let request = self.slots.get(slot);
        let (start, count) = sectors(request);
        let (kind, source) = (request.kind, request.header.source);
        let gathering = registry.get_mut(id).and_then(|volume| volume.gathering.as_mut());
        if let Some(present) = gathering.filter(|present| present.continues(request)) {
            self.slots.link(present.last, slot);
            (present.last, present.end) = (slot, start + count);
            return;
        }
        self.close_gathering(registry, id);
        let gathering = Gathering { leader: slot, last: slot, start, end: start + count, grain, kind, source };
        registry.volume_mut(id).gathering = Some(gathering);
        self.gathering.push(id);
    }

    /// Puts what was gathered for a volume into its order.
    pub fn close_gathering(&mut self, registry: &mut Registry, id: u32) {
        let Some(gathered) = registry.get_mut(id).and_then(|volume| volume.gathering.take()) else { return };
        let span = Span::new(gathered.start, gathered.end - gathered.start, gathered.kind == Kind::Write, gathered.grain);
        self.enter(registry, id, gathered.leader, span);
    }

    /// At the end of a batch of frames.
    pub fn close_gatherings(&mut self, registry: &mut Registry) {
        while let Some(id) = self.gathering.pop() {
            self.close_gathering(registry, id);
        }
    }

    /// Puts a request, and those linked to it, into the order of its volume.
    pub(super) fn enter(&mut self, registry: &mut Registry, id: u32, slot: u32, span: Span) {
        match registry.volume_mut(id).order.enter(slot, span) {
            Entered::UnderWay => self.start(registry, slot),
            Entered::Waiting => {}
            Entered::Refused => {
                let source = self.slots.get(slot).header.source; // all linked requests have the same
                registry.stats.initiator(id, source, self.now).dropped += self.slots.linked(slot).count() as u64;
                self.slots.free_all(slot);
            }
        }
    }
}
