use aoe_target::disk::memory::Aligned;

use super::{Handler, Keeper};
use crate::control::{Control, Place};
use crate::disk::{Disk, zeros};
use crate::failure::Failure;
use crate::job::state::Progress;
use crate::plan::PIECE;
use crate::plan::feed::Item;

/// With more places that differ, source or destination are not what they should be.
const MOST_REPAIRS: u64 = 16;

/// The second pass: compares every byte of the destination with what was read from the source again. What differs is written again
/// and then compared again, with the source read once more.
pub struct Verifier<'a, D, K> {
    disk: &'a D,
    keeper: &'a K,
    control: &'a Control,
    found: Aligned,
}

impl<'a, D: Disk, K: Keeper> Verifier<'a, D, K> {
    pub fn new(disk: &'a D, keeper: &'a K, control: &'a Control) -> Self {
        Verifier { disk, keeper, control, found: Aligned::new(PIECE as usize) }
    }

    fn failed(&self, doing: &str, offset: u64, error: &std::io::Error) -> Failure {
        match Failure::disk(format_args!("{doing} the destination at byte {offset}"), error) {
            Failure::Final(text) => Failure::Doubt(text),
            other => other,
        }
    }

    fn read(&mut self, offset: u64, length: usize) -> Result<&[u8], Failure> {
        match self.disk.read(offset, &mut self.found.bytes()[..length]) {
            Ok(()) => Ok(&self.found.bytes()[..length]),
            Err(error) => Err(self.failed("reading", offset, &error)),
        }
    }

    /// Always a failure: the place is to be compared again.
    fn repair(&self, offset: u64, write: impl FnOnce() -> std::io::Result<()>) -> Failure {
        let progress = self.keeper.progress();
        if progress.repaired >= MOST_REPAIRS {
            return Failure::fatal(format_args!(
                "source and destination differ at byte {offset}, after {MOST_REPAIRS} places that differed were copied again: \
                 the source changes, another program writes to the destination, or a disk is broken"
            ));
        }
        // Counted first: after a crash the place may be right, and nobody would know that it was not.
        if let Err(failure) = self.keeper.save(Progress { repaired: progress.repaired + 1, ..progress.clone() }) {
            return failure;
        }
        if let Err(error) = write() {
            // The place still differs, and is counted when it is found again.
            return self.keeper.save(progress).err().unwrap_or_else(|| self.failed("writing to", offset, &error));
        }
        match self.disk.flush() {
            Ok(()) => Failure::Again(format!("the destination differed at byte {offset} and was written again")),
            Err(error) => self.failed("flushing", offset, &error),
        }
    }
}

impl<D: Disk + Sync, K: Keeper> Handler for Verifier<'_, D, K> {
    fn take(&mut self, item: &mut Item) -> Result<(), Failure> {
        match item {
            Item::Data(chunk) => {
                self.control.check()?;
                let offset = chunk.offset;
                let expected = chunk.bytes();
                if self.read(offset, expected.len())? != expected {
                    return Err(self.repair(offset, || self.disk.write(offset, expected)));
                }
                Ok(())
            }
            Item::Zeros { offset, bytes } => {
                let (mut at, end) = (*offset, *offset + *bytes);
                while at < end {
                    self.control.check()?;
                    // There may be many requests in a piece of zeros: each has its own time.
                    let _waits = self.control.begin(Place::Destination);
                    // Holes of the destination are zeros.
                    let data = self.disk.data_after(at).map_err(|error| self.failed("looking for data in", at, &error))?;
                    at = data.unwrap_or(end);
                    if at >= end {
                        break;
                    }
                    let length = (end - at).min(PIECE);
                    if !zeros::is_zero(self.read(at, length as usize)?) {
                        return Err(self.repair(at, || self.disk.zero(at, length)));
                    }
                    at += length;
                }
                Ok(())
            }
            Item::Checkpoint { upto } => self.keeper.save(Progress { verified: *upto, ..self.keeper.progress() }),
        }
    }
}
