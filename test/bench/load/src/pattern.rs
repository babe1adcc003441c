use aoe_target::definition::Address;
use aoe_target::wire::SECTOR;

const WORDS: usize = SECTOR / 8;
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a sector holds: its own address, the generation that wrote it, and words that follow from both. So a sector tells
/// whether it is the right one, whole, and the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub address: Address,
    pub lba: u64,
    pub generation: u32,
}

/// What is wrong with a sector that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// A whole sector, of another place.
    Misplaced,
    /// The right place, but not of the generation expected.
    Generation(u32),
    /// Not written by us, or not in one piece.
    Garbage,
}

impl Stamp {
    /// Fills one sector.
    pub fn fill(self, sector: &mut [u8]) {
        let (place, generation) = (self.place(), u64::from(self.generation));
        let seed = seed(place, generation);
        let (words, _) = sector.as_chunks_mut::<8>();
        for (index, word) in words.iter_mut().enumerate().take(WORDS) {
            *word = seed.wrapping_add((index as u64).wrapping_mul(STEP)).to_le_bytes();
        }
        words[0] = place.to_le_bytes();
        words[1] = generation.to_le_bytes();
    }

    /// Checks one sector; generation 0 takes any.
    pub fn check(self, sector: &[u8]) -> Result<(), Wrong> {
        let (words, _) = sector.as_chunks::<8>();
        let (place, generation) = (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]));
        let seed = seed(place, generation);
        // One pass without a branch: the compiler makes vector code of it.
        let differing = words[2..].iter().enumerate().fold(0, |differing, (index, word)| {
            differing | (u64::from_le_bytes(*word) ^ seed.wrapping_add((index as u64 + 2).wrapping_mul(STEP)))
        });
        match generation {
            _ if differing != 0 => Err(Wrong::Garbage),
            _ if place != self.place() => Err(Wrong::Misplaced),
            found if self.generation != 0 && found != u64::from(self.generation) => Err(Wrong::Generation(found as u32)),
            _ => Ok(()),
        }
    }

    fn place(self) -> u64 {
        u64::from(self.address.shelf) << 48 | u64::from(self.address.slot) << 40 | self.lba
    }
}

fn seed(place: u64, generation: u64) -> u64 {
    (place ^ generation.rotate_left(32)).wrapping_mul(STEP) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(lba: u64, generation: u32) -> Stamp {
        Stamp { address: Address { shelf: 7, slot: 3 }, lba, generation }
    }

    #[test]
    fn a_sector_that_was_filled_passes() {
        let mut sector = [0; SECTOR];
        stamp(12, 5).fill(&mut sector);
        assert_eq!(stamp(12, 5).check(&sector), Ok(()));
        assert_eq!(stamp(12, 0).check(&sector), Ok(()));
    }

    #[test]
    fn another_place_another_generation_and_a_torn_sector_are_told_apart() {
        let mut sector = [0; SECTOR];
        assert_eq!(stamp(12, 5).check(&sector), Err(Wrong::Garbage));
        stamp(12, 5).fill(&mut sector);
        assert_eq!(stamp(13, 5).check(&sector), Err(Wrong::Misplaced));
        assert_eq!(Stamp { address: Address { shelf: 7, slot: 4 }, ..stamp(12, 5) }.check(&sector), Err(Wrong::Misplaced));
        assert_eq!(stamp(12, 6).check(&sector), Err(Wrong::Generation(5)));
        let mut newer = [0; SECTOR];
        stamp(12, 6).fill(&mut newer);
        sector[256..].copy_from_slice(&newer[256..]);
        assert_eq!(stamp(12, 5).check(&sector), Err(Wrong::Garbage));
        for at in [0, 8, 16, 511] {
            let mut sector = newer;
            sector[at] ^= 1;
            assert!(stamp(12, 6).check(&sector).is_err(), "byte {at}");
        }
    }
}
