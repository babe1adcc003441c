//! Requests that come again while they are under way. The Linux driver repeats them with a new tag: they are recognised by what
//! they ask for.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::slots::Request;
use crate::disk::engine::Kind;

/// Reads and writes under way, by a fingerprint of volume, initiator, kind, place and length. It has a secret, so that nobody can
/// make many fingerprints collide.
pub struct Repeats {
    secrets: [u64; 2],
    under_way: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
}

/// Uses a fingerprint as its own hash.
#[derive(Default)]
pub struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are numbers")
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Repeats {
    pub fn new() -> Repeats {
        let state = RandomState::new();
        Repeats { secrets: [state.hash_one(0), state.hash_one(1)], under_way: HashMap::default() }
    }

    /// Whether the same request is under way already. Each must [`Repeats::leave`].
    pub fn enter(&mut self, request: &Request) -> bool {
        // All flushes of a volume are alike.
        if request.kind == Kind::Flush {
            return false;
        }
        let count = self.under_way.entry(self.fingerprint(request)).or_default();
        *count += 1;
        *count > 1
    }

    pub fn leave(&mut self, request: &Request) {
        if request.kind == Kind::Flush {
            return;
        }
        let fingerprint = self.fingerprint(request);
        if let Some(count) = self.under_way.get_mut(&fingerprint) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&fingerprint);
            }
        }
    }

    /// Frees memory. Only when nothing is under way.
    pub fn trim(&mut self) {
        self.under_way = HashMap::default();
    }

    fn fingerprint(&self, request: &Request) -> u64 {
        let [a, b, c, d, e, f] = request.header.source.0;
        let source = u64::from_le_bytes([a, b, c, d, e, f, request.kind as u8, request.ata.count]);
        let place = request.offset ^ u64::from(request.volume).rotate_right(16);
        mix(mix(source ^ self.secrets[0], self.secrets[1]) ^ place, self.secrets[0])
    }
}

/// Both halves of the product folded into one.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b | 1);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Ata, Header, Mac};
    use std::time::Instant;

    fn request(volume: u32, host: u8, kind: Kind, offset: u64, count: u8, tag: u32) -> Request {
        let header = Header {
            destination: Mac::default(),
            source: Mac([2, 0, 0, 0, 0, host]),
            version: 1,
            flags: 0,
            error: 0,
            shelf: 0,
            slot: 0,
            command: 0,
            tag,
        };
        let ata = Ata { flags: 0, feature: 0, count, command: 0, lba: [0; 6], reserved: [0; 2] };
        Request {
            volume,
            port: 0,
            header,
            ata,
            kind,
            offset,
            length: usize::from(count) * 512,
            next: None,
            arrived: Instant::now(),
            due: None,
            doubted: None,
        }
    }

    #[test]
    fn a_request_is_a_repetition_while_the_first_is_under_way_whatever_its_tag() {
        let mut repeats = Repeats::new();
        let first = request(0, 1, Kind::Write, 4096, 8, 1);
        assert!(!repeats.enter(&first));
        assert!(repeats.enter(&request(0, 1, Kind::Write, 4096, 8, 2)));
        for other in [
            request(1, 1, Kind::Write, 4096, 8, 1),
            request(0, 2, Kind::Write, 4096, 8, 1),
            request(0, 1, Kind::Read, 4096, 8, 1),
            request(0, 1, Kind::Write, 8192, 8, 1),
            request(0, 1, Kind::Write, 4096, 4, 1),
        ] {
            assert!(!repeats.enter(&other), "{other:?}");
            repeats.leave(&other);
        }
        repeats.leave(&first);
        assert!(repeats.enter(&first), "the second is still under way");
        repeats.leave(&first);
        repeats.leave(&first);
        assert!(!repeats.enter(&first));
        repeats.leave(&first);
        assert!(repeats.under_way.is_empty());
    }

    #[test]
    fn flushes_are_never_repetitions() {
        let mut repeats = Repeats::new();
        let flush = request(0, 1, Kind::Flush, 0, 0, 1);
        assert!(!repeats.enter(&flush) && !repeats.enter(&flush));
        repeats.leave(&flush);
    }
}
