//! Which chunks of a volume may hold nothing but zeros, so that they can be given back. AoE frames carry a few KiB and chunks have 64 KiB
//! and more: a chunk is complete when zeros were written to all of its sectors. This is a hint that may be lost or wrong at any time:
//! [`crate::disk::Disk::give_back`] looks at the chunk itself, while no request to it is under way.

use std::collections::VecDeque;
use std::io;

use super::DataPath;
use super::order::{INTERNAL, Span};
use crate::disk::engine::{Job, Kind};
use crate::disk::pieces::Pieces;
use crate::disk::reclaim::is_zeros;
use crate::serve::volume::Volume;
use crate::serve::volume::life::Life;
use crate::serve::volume::registry::Registry;
use crate::wire::SECTOR;

/// Bytes of memory for the chunks of a volume that have some zeros.
const MEMORY: usize = 16 * 1024;
/// Fewest and most of such chunks.
const FEWEST: usize = 4;
const MOST: usize = 128;
/// Complete chunks that wait to be given back.
const COMPLETE: usize = 4096;
/// Sectors that are given back at once, at most, unless a chunk has more: requests to them wait meanwhile.
const AT_ONCE: u64 = 2048;

struct Partial {
    chunk: u64,
    /// One bit for each sector: zeros were written to it.
    zeros: Box<[u64]>,
    /// Sectors without.
    left: u64,
}

pub struct Zeros {
    /// Sectors of a chunk.
    chunk: u64,
    /// The one that was changed last is the last.
    partial: Vec<Partial>,
    complete: VecDeque<u64>,
}

impl Zeros {
    /// For chunks of so many sectors.
    pub fn new(chunk: u64) -> Zeros {
        Zeros { chunk, partial: Vec::new(), complete: VecDeque::new() }
    }

    /// Sectors were written.
    pub fn note(&mut self, start: u64, count: u64, zeros: bool) {
        if !zeros && self.partial.is_empty() {
            return;
        }
        let end = start + count;
        let mut at = start;
        while at < end {
            let chunk = at / self.chunk;
            let until = end.min((chunk + 1) * self.chunk);
            self.note_chunk(chunk, at % self.chunk, until - chunk * self.chunk, zeros);
            at = until;
        }
    }

    fn note_chunk(&mut self, chunk: u64, start: u64, end: u64, zeros: bool) {
        let mut partial = match self.partial.iter().position(|partial| partial.chunk == chunk) {
            Some(at) => self.partial.remove(at),
            None if zeros => {
                let words = self.chunk.div_ceil(64) as usize;
                if self.partial.len() >= (MEMORY / (words * 8)).clamp(FEWEST, MOST) {
                    self.partial.remove(0);
                }
                Partial { chunk, zeros: vec![0; words].into(), left: self.chunk }
            }
            None => return,
        };
        if !zeros {
            return; // data: the chunk is forgotten
        }
        for sector in start..end {
            let (word, bit) = (&mut partial.zeros[(sector / 64) as usize], 1 << (sector % 64));
            partial.left -= u64::from(*word & bit == 0);
            *word |= bit;
        }
        if partial.left > 0 {
            self.partial.push(partial);
        } else if self.complete.len() < COMPLETE {
            self.complete.push_back(chunk);
        }
    }

    /// First sector and number of sectors to give back next: chunks that were completed one after the other.
    fn next(&self) -> Option<(u64, u64)> {
        let first = *self.complete.front()?;
        let most = (AT_ONCE / self.chunk).max(1);
        let count = self.complete.iter().zip(first..first + most).take_while(|(chunk, expected)| *chunk == expected).count() as u64;
        Some((first * self.chunk, count * self.chunk))
    }

    fn taken(&mut self, sectors: u64) {
        self.complete.drain(..(sectors / self.chunk) as usize);
    }
}

impl Volume {
    /// What watches its zeros; none when it gives nothing back by chunks.
    fn zeros(&mut self) -> Option<&mut Zeros> {
        let chunk = self.state.disk().filter(|_| self.saved.definition.reclaim).and_then(|disk| disk.chunk());
        let Some(sectors) = chunk.map(|bytes| bytes / SECTOR as u64) else {
            self.zeros = None;
            return None;
        };
        if self.zeros.as_ref().is_none_or(|zeros| zeros.chunk != sectors) {
            self.zeros = Some(Box::new(Zeros::new(sectors)));
        }
        self.zeros.as_deref_mut()
    }
}

impl DataPath {
    /// A write, and those linked to it, have ended well; their data is still in their buffers.
    pub(super) fn note_zeros(&self, registry: &mut Registry, id: u32, leader: u32) {
        let Some(zeros) = registry.volume_mut(id).zeros() else { return };
        for slot in self.slots.linked(leader) {
            let request = self.slots.get(slot);
            // SAFETY: the buffer is the slot's, and holds the data of the request.
            let data = unsafe { std::slice::from_raw_parts(self.slots.buffer(slot), request.length) };
            zeros.note(request.offset / SECTOR as u64, (request.length / SECTOR) as u64, is_zeros(data));
        }
    }

    /// Gives back chunks of a volume, when there are any and no request to them is under way or waits.
    pub(super) fn give_back(&mut self, registry: &mut Registry, id: u32) {
        if !self.engine.may_block() {
            return;
        }
        let volume = registry.volume_mut(id);
        let Some((start, count)) = volume.zeros.as_ref().and_then(|zeros| zeros.next()) else { return };
        // Not while the volume waits for its requests to end.
        let Life::Serving { disk } = volume.state.life() else { return };
        let disk = disk.clone();
        if !volume.saved.definition.reclaim || !volume.order.enter_alone(INTERNAL | id, Span { start, end: start + count, write: true }) {
            return;
        }
        if let Some(zeros) = &mut volume.zeros {
            zeros.taken(count);
        }
        let pieces = Pieces::new(std::ptr::null_mut(), count as usize * SECTOR);
        let offset = start * SECTOR as u64;
        self.engine.submit(Job {
            id: INTERNAL | id,
            lane: id,
            kind: Kind::GiveBack,
            disk,
            offset,
            pieces,
            alone: false,
            zeros: false,
            failed_syncs: 0,
        });
    }

    /// Chunks were given back, or not.
    pub(super) fn gave_back(&mut self, registry: &mut Registry, id: u32, result: &io::Result<()>) {
        if let Err(failure) = result {
            self.warn_of_failure(registry, id, Kind::GiveBack, failure);
        }
        registry.volume_mut(id).order.leave(INTERNAL | id, &mut self.starting);
        self.start_all(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(zeros: &mut Zeros) -> Vec<u64> {
        let mut chunks = Vec::new();
        while let Some((start, count)) = zeros.next() {
            zeros.taken(count);
            chunks.extend((start..start + count).step_by(zeros.chunk as usize).map(|sector| sector / zeros.chunk));
        }
        chunks
    }

    #[test]
    fn chunks_that_follow_one_another_are_given_back_together() {
        let mut zeros = Zeros::new(128);
        zeros.note(100, 128 * 40, true);
        assert_eq!(zeros.next(), Some((128, 2048)));
        assert_eq!(taken(&mut zeros), (1..40).collect::<Vec<_>>());
    }

    #[test]
    fn memory_is_bounded_whatever_is_written() {
        let mut zeros = Zeros::new(32768);
        for chunk in 0..1000 {
            zeros.note(chunk * 32768, 1, true);
        }
        assert_eq!(zeros.partial.len(), FEWEST);
        let mut zeros = Zeros::new(8);
        zeros.note(0, 8 * 2 * COMPLETE as u64, true);
        assert_eq!(zeros.complete.len(), COMPLETE);
    }

    proptest! {
        #[test]
        fn a_chunk_is_complete_when_all_of_it_was_written_with_zeros_since_it_had_data(
            chunk in prop::sample::select(vec![8u64, 128, 192]),
            writes in prop::collection::vec((0u64..800, 1u64..130, prop::bool::weighted(0.8)), 1..80),
        ) {
            let mut zeros = Zeros::new(chunk);
            // By sector: whether zeros were written to it since its chunk had data, or was complete.
            let mut model = vec![false; 2048];
            for (start, count, is_zeros) in writes {
                zeros.note(start, count, is_zeros);
                for sector in start..start + count {
                    model[sector as usize] = is_zeros;
                }
                let mut expected = Vec::new();
                for at in start / chunk..=(start + count - 1) / chunk {
                    let sectors = &mut model[(at * chunk) as usize..((at + 1) * chunk) as usize];
                    if sectors.iter().all(|zeros| *zeros) {
                        expected.push(at);
                    }
                    if !is_zeros || sectors.iter().all(|zeros| *zeros) {
                        sectors.fill(false);
                    }
                }
                prop_assert_eq!(taken(&mut zeros), expected);
            }
        }
    }
}
