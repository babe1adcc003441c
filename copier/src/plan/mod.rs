//! What is read next: pieces of the source in ascending order (`Plan`), where it holds data (`Map`), how fast (`Throttle`), and all
//! together as a source takes it (`Feed`).

pub mod feed;
pub mod map;
pub mod throttle;

use std::io;

use map::Map;

/// Most bytes of a piece with data. A piece never crosses a multiple of it.
pub const PIECE: u64 = 1 << 20;
/// Most bytes of a piece of zeros: none takes so long that a job cannot be stopped.
pub const ZEROS: u64 = 64 << 20;
/// Data begins and ends at multiples of this, except at the end of the copy: for direct I/O.
pub const GRAIN: u64 = 4096;

/// A part of the copy that is handled at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub offset: u64,
    pub bytes: u64,
    /// Otherwise the source promises zeros there.
    pub data: bool,
}

impl Piece {
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// Cuts the bytes from a place on into pieces, each beginning where the one before it ends.
pub struct Plan {
    map: Map,
    at: u64,
    end: u64,
    /// What holds data, from where on it was looked up.
    data: Option<(u64, u64)>,
}

impl Plan {
    pub fn new(map: Map, from: u64, end: u64) -> Plan {
        Plan { map, at: from, end, data: None }
    }

    /// The next piece; none at the end. An error is one of the map.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (start, end) = match self.data {
            Some((start, end)) if self.at < end => (start, end),
            _ => {
                let (start, end) = self.map.data_after(self.at)?.unwrap_or((self.end, self.end));
                // Outwards to whole grains. What was before is done already.
                let start = (start - start % GRAIN).max(self.at).min(self.end);
                let end = end.checked_next_multiple_of(GRAIN).unwrap_or(self.end).min(self.end);
                self.data = Some((start, end));
                (start, end)
            }
        };
        let piece = if self.at < start {
            Piece { offset: self.at, bytes: (start - self.at).min(ZEROS), data: false }
        } else {
            let border = (self.at + 1).next_multiple_of(PIECE);
            Piece { offset: self.at, bytes: end.min(border) - self.at, data: true }
        };
        self.at = piece.end();
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Range;
    use super::*;
    use proptest::prelude::*;

    fn all(mut plan: Plan) -> Vec<Piece> {
        std::iter::from_fn(|| plan.next_piece().unwrap()).collect()
    }

    #[test]
    fn a_whole_source_is_cut_at_multiples_of_a_piece() {
        let pieces = all(Plan::new(Map::Whole, 512, (2 << 20) + 1024));
        let found: Vec<(u64, u64)> = pieces.iter().map(|piece| (piece.offset, piece.bytes)).collect();
        assert_eq!(found, [(512, (1 << 20) - 512), (1 << 20, 1 << 20), (2 << 20, 1024)]);
        assert!(pieces.iter().all(|piece| piece.data));
    }

    #[test]
    fn at_the_end_there_is_nothing_to_do() {
        assert_eq!(all(Plan::new(Map::Whole, 4096, 4096)), []);
    }

    proptest! {
        #[test]
        fn pieces_cover_all_bytes_once_and_all_ranges_are_data(
            gaps in prop::collection::vec((0u64..100, 1u64..5000), 0..20),
            from in 0u64..3000,
            tail in 1u64..500_000,
        ) {
            let mut ranges = Vec::new();
            let mut at = 0;
            for (gap, sectors) in gaps {
                let offset = at + gap * 4096 + gap % 8 * 512;
                ranges.push(Range { offset, bytes: sectors * 512 });
                at = offset + sectors * 512;
            }
            let (from, end) = (from * 512, at + tail * 512);
            let pieces = all(Plan::new(Map::Ranges(ranges.clone()), from, end));
            let mut at = from;
            for piece in &pieces {
                prop_assert_eq!(piece.offset, at);
                prop_assert!(piece.bytes > 0);
                at = piece.end();
                if piece.data {
                    prop_assert!(piece.offset / PIECE == (at - 1) / PIECE);
                    prop_assert!(piece.offset == from || piece.offset.is_multiple_of(GRAIN));
                    prop_assert!(at == end || at.is_multiple_of(GRAIN));
                } else {
                    prop_assert!(piece.bytes <= ZEROS);
                    prop_assert!(ranges.iter().all(|range| range.end() <= piece.offset || at <= range.offset));
                }
            }
            prop_assert_eq!(at, end.max(from));
        }
    }
}
