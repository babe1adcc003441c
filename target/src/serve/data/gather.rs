//! Requests that come together and lie next to one another become one: at an MTU of 1500, four frames bring 4 KiB. Written
//! each by itself, that is four times the wait for stable storage.

use super::order::{Span, Turn};
use super::slots::Request;
use crate::disk::engine::Kind;
use crate::net::socket::Socket;
use crate::serve::server::Server;
use crate::wire::{Mac, SECTOR};

/// Sectors that become one request at most.
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
    /// All come from one initiator: what is forbidden to one of them is to the others.
    source: Mac,
}

impl Gathering {
    fn continues(&self, request: &Request) -> bool {
        let (start, count) = sectors(request);
        self.end == start && self.kind == request.kind && self.source == request.header.source && start + count - self.start <= MOST
    }
}

/// First sector and number of sectors.
pub(in crate::serve) fn sectors(request: &Request) -> (u64, u64) {
    (request.offset / SECTOR as u64, (request.length / SECTOR) as u64)
}

impl<S: Socket> Server<S> {
    /// Takes in a read or write that is in a slot. It begins when this batch of frames ends, at the latest.
    pub(in crate::serve) fn gather(&mut self, id: u32, slot: u32, grain: u64) {
        let request = self.slots.get(slot);
        let (start, count) = sectors(request);
        let (kind, source) = (request.kind, request.header.source);
        let gathering = self.volumes[id as usize].as_mut().and_then(|volume| volume.gathering.as_mut());
        if let Some(present) = gathering.filter(|present| present.continues(request)) {
            self.slots.link(present.last, slot);
            (present.last, present.end) = (slot, start + count);
            return;
        }
        self.close_gathering(id);
        self.volume(id).gathering = Some(Gathering { leader: slot, last: slot, start, end: start + count, grain, kind, source });
        self.gathering.push(id);
    }

    /// Puts what was gathered for a volume into its order.
    pub(in crate::serve) fn close_gathering(&mut self, id: u32) {
        let Some(volume) = self.volumes[id as usize].as_mut() else { return };
        let Some(gathered) = volume.gathering.take() else { return };
        let span = Span::new(gathered.start, gathered.end - gathered.start, gathered.kind == Kind::Write, gathered.grain);
        self.enter(id, gathered.leader, span);
    }

    /// At the end of a batch of frames.
    pub(in crate::serve) fn close_gatherings(&mut self) {
        while let Some(id) = self.gathering.pop() {
            self.close_gathering(id);
        }
    }

    /// Puts a request, and those linked to it, into the order of its volume.
    pub(in crate::serve) fn enter(&mut self, id: u32, slot: u32, span: Span) {
        match self.volume(id).order.enter(slot, span) {
            Turn::Start => self.start(slot),
            Turn::Wait => {}
            Turn::Refuse => {
                let source = self.slots.get(slot).header.source; // all linked are from one
                self.stats.initiator(id, source, self.now).dropped += self.slots.linked(slot).count() as u64;
                self.slots.free_all(slot);
            }
        }
    }

    /// Requests that failed together are tried one by one: a bad sector is the trouble of those who ask for it. They keep
    /// their place before what waits for them.
    pub(in crate::serve) fn separate(&mut self, id: u32, leader: u32, start: &mut Vec<u32>) {
        let grain = self.volume(id).disk.as_ref().map_or(1, |disk| disk.grain_sectors());
        let slots = self.slots.unlink(leader);
        let spans: Vec<(u32, Span)> = slots
            .into_iter()
            .map(|slot| {
                let request = self.slots.get(slot);
                let (start, count) = sectors(request);
                (slot, Span::new(start, count, request.kind == Kind::Write, grain))
            })
            .collect();
        self.volume(id).order.separate(leader, &spans, start);
    }
}
