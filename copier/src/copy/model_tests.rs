//! Both passes over a disk that loses what was not flushed, with a crash after any number of steps.

use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::verify::Verifier;
use super::write::Writer;
use super::{Keeper, run};
use crate::control::Control;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::job::Range;
use crate::job::state::Progress;
use crate::plan::Plan;
use crate::plan::feed::{Feed, Item, Next};
use crate::plan::map::Map;
use crate::source::Source;

#[derive(Default)]
struct World {
    /// What the disk reads as, and what is on stable storage.
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last flush: offset and length.
    unflushed: Vec<(usize, usize)>,
    progress: Progress,
    /// Steps until the crash.
    fuse: usize,
    random: u64,
}

impl World {
    fn step(&mut self) -> io::Result<()> {
        self.fuse = self.fuse.checked_sub(1).ok_or_else(|| io::Error::other("crash"))?;
        Ok(())
    }

    fn draw(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 20 & 1 == 1
    }

    /// Of what was not flushed, any part may be there afterwards.
    fn crash(&mut self) {
        for (offset, length) in std::mem::take(&mut self.unflushed) {
            for at in (offset..offset + length).step_by(4096) {
                if self.draw() {
                    let end = (at + 4096).min(offset + length);
                    self.durable[at..end].copy_from_slice(&self.now[at..end]);
                }
            }
        }
        self.now.clone_from(&self.durable);
    }
}

struct FakeDisk<'a>(&'a Mutex<World>);

impl Disk for FakeDisk<'_> {
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        data.copy_from_slice(&self.0.lock().unwrap().now[offset as usize..][..data.len()]);
        Ok(())
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<u64>> {
        Ok(Some(offset))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        world.step()?;
        world.now[offset as usize..][..data.len()].copy_from_slice(data);
        world.unflushed.push((offset as usize, data.len()));
        Ok(())
    }

    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        self.write(offset, &vec![0; bytes as usize])
    }

    fn flush(&self) -> io::Result<()> {
        let mut world = self.0.lock().unwrap();
        world.step()?;
        world.durable = world.now.clone();
        world.unflushed.clear();
        Ok(())
    }
}

impl Keeper for &Mutex<World> {
    fn progress(&self) -> Progress {
        self.lock().unwrap().progress.clone()
    }

    /// The crash may come before or after it is saved.
    fn save(&self, progress: Progress) -> Result<(), Failure> {
        let mut world = self.lock().unwrap();
        let crash = |error: io::Error| Failure::fatal(error);
        world.step().map_err(crash)?;
        world.progress = progress;
        world.step().map_err(crash)
    }
}

struct FakeSource<'a>(&'a [u8]);

impl Source for FakeSource<'_> {
    fn next(&mut self, feed: &mut Feed) -> Result<Option<Item>, Failure> {
        loop {
            match feed.take()? {
                Next::Item(Item::Data(mut chunk)) => {
                    let at = chunk.offset as usize;
                    let length = chunk.length;
                    chunk.bytes().copy_from_slice(&self.0[at..at + length]);
                    return Ok(Some(Item::Data(chunk)));
                }
                Next::Item(item) => return Ok(Some(item)),
                Next::Later(time) => feed.rest(time),
                Next::End => return Ok(None),
            }
        }
    }
}

fn attempt(source: &[u8], ranges: &[Range], zeroed: bool, world: &Mutex<World>) -> Result<(), Failure> {
    let control = Arc::new(Control::new(0));
    let (disk, keeper) = (FakeDisk(world), world);
    let bytes = source.len() as u64;
    let plan = |from| Plan::new(Map::Ranges(ranges.to_vec()), from, bytes);
    let from = keeper.progress().copied;
    if from < bytes {
        run(FakeSource(source), plan(from), from, false, &control, Writer::new(&disk, zeroed, &keeper, &control))?;
    }
    let from = keeper.progress().verified;
    run(FakeSource(source), plan(from), from, false, &control, Verifier::new(&disk, &keeper, &control))
}

/// A source, with zeros outside its ranges and some within.
fn source(pieces: &[(bool, bool, usize)]) -> (Vec<u8>, Vec<Range>) {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    for (index, (allocated, zeros, sectors)) in pieces.iter().enumerate() {
        let offset = bytes.len() as u64;
        let value = if *allocated && !zeros { index as u8 + 1 } else { 0 };
        bytes.resize(bytes.len() + sectors * 512, value);
        if *allocated {
            ranges.push(Range { offset, bytes: *sectors as u64 * 512 });
        }
    }
    (bytes, ranges)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_crash_at_any_step_loses_nothing_that_was_called_copied(
        pieces in prop::collection::vec((any::<bool>(), any::<bool>(), 1usize..3000), 1..8),
        fuses in prop::collection::vec(0usize..12, 0..12),
        zeroed in any::<bool>(),
        seed in 1u64..,
    ) {
        let (source, ranges) = source(&pieces);
        let before = vec![if zeroed { 0 } else { 0x55 }; source.len()];
        let world = Mutex::new(World { now: before.clone(), durable: before, random: seed, ..World::default() });
        for fuse in fuses {
            let verified = {
                let mut world = world.lock().unwrap();
                world.fuse = fuse;
                world.progress.verified
            };
            let done = attempt(&source, &ranges, zeroed, &world).is_ok();
            let mut world = world.lock().unwrap();
            world.crash();
            let progress = &world.progress;
            prop_assert!(progress.is_possible(source.len() as u64) && progress.verified >= verified);
            let copied = progress.copied as usize;
            prop_assert!(world.durable[..copied] == source[..copied], "{copied} bytes were called copied");
            prop_assert!(!done || progress.verified == source.len() as u64);
        }
        world.lock().unwrap().fuse = usize::MAX;
        prop_assert!(attempt(&source, &ranges, zeroed, &world).is_ok());
        let world = world.lock().unwrap();
        prop_assert!(world.durable == source && world.progress.repaired == 0);
    }

    #[test]
    fn bytes_that_differ_are_found_wherever_they_are(
        pieces in prop::collection::vec((any::<bool>(), any::<bool>(), 1usize..3000), 1..6),
        place in any::<prop::sample::Index>(),
    ) {
        let (source, ranges) = source(&pieces);
        let mut wrong = source.clone();
        wrong[place.index(source.len())] ^= 1;
        let progress = Progress { copied: source.len() as u64, ..Progress::default() };
        let world = Mutex::new(World { now: wrong, progress, fuse: usize::MAX, ..World::default() });
        prop_assert!(matches!(attempt(&source, &ranges, true, &world), Err(Failure::Again(_))));
        prop_assert!(world.lock().unwrap().progress.verified < source.len() as u64);
        prop_assert!(attempt(&source, &ranges, true, &world).is_ok());
        let world = world.lock().unwrap();
        prop_assert!(world.durable == source && world.progress.repaired == 1);
    }

    #[test]
    fn a_difference_that_was_found_is_counted_wherever_a_crash_comes(
        pieces in prop::collection::vec((any::<bool>(), any::<bool>(), 1usize..3000), 1..6),
        place in any::<prop::sample::Index>(),
        fuse in 0usize..12,
        seed in 1u64..,
    ) {
        let (source, ranges) = source(&pieces);
        let mut wrong = source.clone();
        wrong[place.index(source.len())] ^= 1;
        let progress = Progress { copied: source.len() as u64, ..Progress::default() };
        let world = Mutex::new(World { now: wrong.clone(), durable: wrong, progress, fuse, random: seed, ..World::default() });
        let _ = attempt(&source, &ranges, true, &world);
        world.lock().unwrap().crash();
        world.lock().unwrap().fuse = usize::MAX;
        while let Err(failure) = attempt(&source, &ranges, true, &world) {
            prop_assert!(matches!(failure, Failure::Again(_)));
        }
        let world = world.lock().unwrap();
        prop_assert!(world.durable == source && world.progress.repaired > 0);
    }
}
