use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use super::repeats::Repeats;
use crate::disk::engine::Kind;
use crate::disk::memory::Buffers;
use crate::net::MAX_SECTORS;
use crate::wire::{Ata, Header, Mac, SECTOR};

/// Most requests under way in the whole process.
pub const SLOTS: usize = 4096;
/// Most of them for one initiator: a flood from one leaves room for the others.
const SLOTS_OF_ONE: u32 = 3072;
const BUFFER: usize = MAX_SECTORS as usize * SECTOR;
/// For how long a write is done again that syncs of others may have lost: until a burst of writes that fail is over, as in a pool that is
/// full, and far less than the three minutes after which the Linux driver gives a disk up (aoe_deadsecs).
const DOUBT: Duration = Duration::from_secs(10);

/// A request from an initiator that goes to a disk.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    pub volume: u32,
    /// Key of the port that it came by.
    pub port: u32,
    pub header: Header,
    pub ata: Ata,
    pub kind: Kind,
    pub offset: u64,
    pub length: usize,
    /// The request that continues this one on the disk, when they are done as one.
    pub next: Option<u32>,
    /// When its frame was taken.
    pub arrived: Instant,
    /// When the limits of its volume let it be answered; none when nothing keeps its answer back.
    pub due: Option<Instant>,
    /// When it failed for the first time for what another write may have done.
    pub doubted: Option<Instant>,
}

/// Requests under way, each with a buffer for its data.
pub struct Slots {
    requests: Vec<Option<Request>>,
    free: Vec<u32>,
    buffers: Buffers,
    of_initiator: HashMap<Mac, u32>,
    /// By the volume's number.
    of_volume: Vec<u32>,
    repeats: Repeats,
    /// Buffers below this one have been used since the last trim.
    touched: usize,
}

/// Buffers that are kept when nothing is under way.
const KEEP: usize = 128;

impl Slots {
    pub fn new() -> io::Result<Slots> {
        Ok(Slots {
            requests: Vec::new(),
            free: Vec::new(),
            buffers: Buffers::new(SLOTS, BUFFER)?,
            of_initiator: HashMap::new(),
            of_volume: Vec::new(),
            repeats: Repeats::new(),
            touched: 0,
        })
    }

    pub fn is_full(&self) -> bool {
        self.free.is_empty() && self.requests.len() == SLOTS
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.requests.len()
    }

    /// Puts a request in a slot, and says whether the same request is under way already. None when the initiator, the volume or
    /// the process has too many. A volume may have as many slots as are free: slow volumes, whatever their number, leave some
    /// to the others.
    pub fn insert(&mut self, request: Request) -> Option<(u32, bool)> {
        let left = SLOTS - (self.requests.len() - self.free.len());
        let volume = request.volume as usize;
        if self.of_volume.len() <= volume {
            self.of_volume.resize(volume + 1, 0);
        }
        if self.of_volume[volume] as usize >= left {
            return None;
        }
        let count = self.of_initiator.entry(request.header.source).or_default();
        if *count >= SLOTS_OF_ONE {
            return None;
        }
        *count += 1;
        self.of_volume[volume] += 1;
        let id = self.free.pop().unwrap_or_else(|| {
            self.requests.push(None);
            self.requests.len() as u32 - 1
        });
        self.touched = self.touched.max(id as usize + 1);
        self.requests[id as usize] = Some(request);
        Some((id, self.repeats.enter(&request)))
    }

    pub fn get(&self, id: u32) -> &Request {
        self.requests[id as usize].as_ref().expect("a request lives until its slot is freed")
    }

    fn get_mut(&mut self, id: u32) -> &mut Request {
        self.requests[id as usize].as_mut().expect("a request lives until its slot is freed")
    }

    pub fn set_due(&mut self, id: u32, due: Option<Instant>) {
        self.get_mut(id).due = due;
    }

    /// A write has failed for what another one may have done. Whether it is to be done again.
    pub fn doubt(&mut self, id: u32, now: Instant) -> bool {
        now.saturating_duration_since(*self.get_mut(id).doubted.get_or_insert(now)) < DOUBT
    }

    /// Requests of a volume whose answers have a time.
    pub fn with_due(&mut self, volume: u32) -> Vec<&mut Request> {
        self.requests.iter_mut().flatten().filter(|request| request.volume == volume && request.due.is_some()).collect()
    }

    pub fn buffer(&self, id: u32) -> *mut u8 {
        self.buffers.pointer(id as usize)
    }

    pub fn free(&mut self, id: u32) {
        let Some(request) = self.requests[id as usize].take() else { return };
        self.of_volume[request.volume as usize] -= 1;
        self.repeats.leave(&request);
        let source = request.header.source;
        if let Some(count) = self.of_initiator.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.of_initiator.remove(&source);
            }
        }
        self.free.push(id);
    }

    /// Makes a request part of the one before it on the disk.
    pub fn link(&mut self, before: u32, id: u32) {
        self.get_mut(before).next = Some(id);
    }

    /// A request and all linked to it, in the order of the disk.
    pub fn linked(&self, first: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(first), |id| self.get(*id).next)
    }

    /// Makes linked requests single ones.
    pub fn unlink(&mut self, first: u32) -> Vec<u32> {
        let ids: Vec<u32> = self.linked(first).collect();
        for id in &ids {
            self.get_mut(*id).next = None;
        }
        ids
    }

    /// Frees a request and all linked to it.
    pub fn free_all(&mut self, first: u32) {
        for id in self.unlink(first) {
            self.free(id);
        }
    }

    /// Frees memory after a burst. Does nothing while a request is under way.
    pub fn trim(&mut self) {
        if self.is_empty() && self.touched > KEEP {
            self.touched = 0;
            self.requests = Vec::new();
            self.free = Vec::new();
            self.buffers.trim();
            self.repeats.trim();
        }
    }

    pub fn needs_trim(&self) -> bool {
        self.touched > KEEP
    }
}
