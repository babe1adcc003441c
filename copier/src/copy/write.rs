use super::{Handler, Keeper};
use crate::control::Control;
use crate::disk::{Disk, zeros};
use crate::failure::Failure;
use crate::job::state::Progress;
use crate::plan::feed::Item;

/// The first pass: writes what was read. Progress is saved after the destination was flushed, never before.
pub struct Writer<'a, D, K> {
    disk: &'a D,
    /// The destination reads as zeros where nothing was written.
    zeroed: bool,
    keeper: &'a K,
    control: &'a Control,
}

impl<'a, D: Disk, K: Keeper> Writer<'a, D, K> {
    pub fn new(disk: &'a D, zeroed: bool, keeper: &'a K, control: &'a Control) -> Self {
        Writer { disk, zeroed, keeper, control }
    }

    fn zero(&self, offset: u64, bytes: u64) -> Result<(), Failure> {
        if self.zeroed {
            return Ok(());
        }
        self.disk.zero(offset, bytes).map_err(|error| self.failed("writing zeros to", offset, &error))
    }

    fn failed(&self, doing: &str, offset: u64, error: &std::io::Error) -> Failure {
        Failure::disk(format_args!("{doing} the destination at byte {offset}"), error)
    }
}

impl<D: Disk + Sync, K: Keeper> Handler for Writer<'_, D, K> {
    fn take(&mut self, item: &mut Item) -> Result<(), Failure> {
        match item {
            Item::Data(chunk) => {
                self.control.check()?;
                let offset = chunk.offset;
                let bytes = chunk.bytes();
                for (run, zero) in zeros::runs(offset, bytes) {
                    let at = offset + run.start as u64;
                    if zero {
                        self.zero(at, run.len() as u64)?;
                    } else {
                        self.disk.write(at, &bytes[run]).map_err(|error| self.failed("writing to", at, &error))?;
                    }
                }
                Ok(())
            }
            Item::Zeros { offset, bytes } => {
                self.control.check()?;
                self.zero(*offset, *bytes)
            }
            // Even when the job was stopped: what was done need not be done again.
            Item::Checkpoint { upto } => {
                self.disk.flush().map_err(|error| self.failed("flushing", *upto, &error))?;
                self.keeper.save(Progress { copied: *upto, ..self.keeper.progress() })
            }
        }
    }
}
