use std::collections::HashMap;
use std::io;

use crate::disk::engine::Kind;
use crate::disk::memory::Buffers;
use crate::net::MAX_SECTORS;
use crate::wire::{Ata, Header, Mac, SECTOR};

/// Requests under way in the whole process.
pub const SLOTS: usize = 4096;
/// Of which one initiator may have so many: a flood from one leaves room for the others.
const SLOTS_OF_ONE: u32 = 3072;
const BUFFER: usize = MAX_SECTORS as usize * SECTOR;

/// A request from an initiator that goes to a disk.
pub struct Request {
    pub volume: u32,
    /// Key of the port that it came by.
    pub port: u32,
    pub header: Header,
    pub ata: Ata,
    pub kind: Kind,
    pub offset: u64,
    pub length: usize,
}

/// Requests under way, each with a buffer for its data.
pub struct Slots {
    requests: Vec<Option<Request>>,
    free: Vec<u32>,
    buffers: Buffers,
    of_initiator: HashMap<Mac, u32>,
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
            touched: 0,
        })
    }

    pub fn is_full(&self) -> bool {
        self.free.is_empty() && self.requests.len() == SLOTS
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.requests.len()
    }

    /// None when the initiator, or the process, has as many as may be.
    pub fn insert(&mut self, request: Request) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let count = self.of_initiator.entry(request.header.source).or_default();
        if *count >= SLOTS_OF_ONE {
            return None;
        }
        *count += 1;
        let id = self.free.pop().unwrap_or_else(|| {
            self.requests.push(None);
            self.requests.len() as u32 - 1
        });
        self.touched = self.touched.max(id as usize + 1);
        self.requests[id as usize] = Some(request);
        Some(id)
    }

    pub fn get(&self, id: u32) -> &Request {
        self.requests[id as usize].as_ref().expect("a request lives until its slot is freed")
    }

    pub fn buffer(&self, id: u32) -> *mut u8 {
        self.buffers.pointer(id as usize)
    }

    pub fn free(&mut self, id: u32) {
        let Some(request) = self.requests[id as usize].take() else { return };
        let source = request.header.source;
        if let Some(count) = self.of_initiator.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.of_initiator.remove(&source);
            }
        }
        self.free.push(id);
    }

    /// Gives memory back after a burst. Only when nothing is under way.
    pub fn trim(&mut self) {
        if self.is_empty() && self.touched > KEEP {
            self.touched = 0;
            self.requests = Vec::new();
            self.free = Vec::new();
            self.buffers.trim();
        }
    }

    pub fn needs_trim(&self) -> bool {
        self.touched > KEEP
    }
}
