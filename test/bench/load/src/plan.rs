use std::collections::HashSet;

/// Which blocks are read or written, in which order. A block is what one frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Random,
    Sequential,
    /// Each block of each volume once.
    Once,
    /// Once each block that was written with a generation that is known.
    Written,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub volume: usize,
    pub block: u64,
}

/// Deals out blocks. No block is dealt out again before it is given back: what two writes under way at once to one block
/// leave there is open.
pub struct Plan {
    order: Order,
    blocks: u64,
    /// Next block of each volume.
    next: Vec<u64>,
    busy: HashSet<(usize, u64), Mixer>,
    random: u64,
}

impl Plan {
    /// `blocks` of each volume; more than are ever busy at once.
    pub fn new(order: Order, volumes: usize, blocks: u64) -> Plan {
        Plan { order, blocks, next: vec![0; volumes], busy: HashSet::default(), random: 0x2545_f491_4f6c_dd1d }
    }

    /// The next place, for the request that has this number of all that may be under way. `written` is asked only for
    /// [`Order::Written`]. None: nothing is left.
    pub fn next(&mut self, slot: usize, window: usize, written: impl Fn(Place) -> bool) -> Option<Place> {
        let volumes = self.next.len();
        // With enough requests each volume has its share of them, whatever the others do.
        let mut volume = match self.order {
            _ if window >= volumes => slot % volumes,
            Order::Random | Order::Sequential => (self.random() % volumes as u64) as usize,
            Order::Once | Order::Written => 0,
        };
        loop {
            let place = match self.order {
                Order::Random => Place { volume, block: self.random() % self.blocks },
                Order::Sequential => self.step(volume, true),
                Order::Once | Order::Written => {
                    // A volume that is through leaves its share to the others.
                    volume = (volume..volume + volumes).map(|volume| volume % volumes).find(|volume| self.next[*volume] < self.blocks)?;
                    self.step(volume, false)
                }
            };
            if self.order == Order::Written && !written(place) {
                continue;
            }
            if self.busy.insert((place.volume, place.block)) {
                return Some(place);
            }
        }
    }

    pub fn give_back(&mut self, place: Place) {
        self.busy.remove(&(place.volume, place.block));
    }

    fn step(&mut self, volume: usize, again: bool) -> Place {
        let block = self.next[volume];
        self.next[volume] = if again { (block + 1) % self.blocks } else { block + 1 };
        Place { volume, block }
    }

    /// Marsaglia's xorshift.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// A hash for numbers of our own making: quick, where nobody attacks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mixer(u64);

impl std::hash::BuildHasher for Mixer {
    type Hasher = Mixer;
    fn build_hasher(&self) -> Mixer {
        Mixer(0)
    }
}

impl std::hash::Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64((*byte).into()));
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(plan: &mut Plan, window: usize, written: impl Fn(Place) -> bool + Copy) -> Vec<(usize, u64)> {
        std::iter::from_fn(|| plan.next(0, window, written)).map(|place| (place.volume, place.block)).collect()
    }

    #[test]
    fn once_deals_out_every_block_of_every_volume() {
        for window in [1, 2, 8] {
            let mut dealt = all(&mut Plan::new(Order::Once, 3, 2), window, |_| true);
            dealt.sort();
            assert_eq!(dealt, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
        }
    }

    #[test]
    fn written_passes_over_what_was_not_written() {
        assert_eq!(all(&mut Plan::new(Order::Written, 2, 4), 8, |place| place.block == 3), [(0, 3), (1, 3)]);
    }

    #[test]
    fn sequential_goes_round_and_each_volume_has_its_own_place() {
        let mut plan = Plan::new(Order::Sequential, 2, 3);
        let mut dealt = Vec::new();
        for slot in [0, 1, 0, 0, 0] {
            let place = plan.next(slot, 2, |_| true).unwrap();
            plan.give_back(place);
            dealt.push((place.volume, place.block));
        }
        assert_eq!(dealt, [(0, 0), (1, 0), (0, 1), (0, 2), (0, 0)]);
    }

    #[test]
    fn no_block_is_under_way_twice() {
        let mut plan = Plan::new(Order::Random, 1, 64);
        let dealt: HashSet<u64> = (0..63).map(|slot| plan.next(slot, 64, |_| true).unwrap().block).collect();
        assert_eq!(dealt.len(), 63);
        assert!(dealt.iter().all(|block| *block < 64));
    }
}
