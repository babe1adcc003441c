use super::Source;
use crate::disk::open::too_small;
use crate::disk::{Device, Disk, open};
use crate::failure::Failure;
use crate::job::Range;
use crate::plan::feed::{Feed, Item, Next};
use crate::plan::map::Map;

/// A local block device or file.
pub struct LocalSource {
    device: Device,
    bytes: u64,
}

impl LocalSource {
    pub fn open(path: &str, bytes: u64) -> Result<LocalSource, Failure> {
        Ok(LocalSource { device: open::source(path, bytes)?, bytes })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where it holds data: what the job says, or a sparse file itself.
    pub fn map(&self, ranges: &[Range]) -> Result<Map, Failure> {
        match ranges {
            [] if self.device.is_block() => Ok(Map::Whole),
            [] => self.device.file().map(Map::File).map_err(|error| self.failed("opening", 0, &error)),
            ranges => Ok(Map::Ranges(ranges.to_vec())),
        }
    }

    fn failed(&self, doing: &str, offset: u64, error: &std::io::Error) -> Failure {
        match Failure::disk(format_args!("{doing} the source {} at byte {offset}", self.device.path), error) {
            // A device that comes back reads again.
            Failure::Final(text) => Failure::Doubt(text),
            other => other,
        }
    }

    fn check_size(&self) -> Result<(), Failure> {
        let has = self.device.bytes().map_err(|error| self.failed("asking the size of", 0, &error))?;
        if has < self.bytes { Err(too_small(&format!("source {}", self.device.path), has, self.bytes)) } else { Ok(()) }
    }
}

impl Source for LocalSource {
    fn next(&mut self, feed: &mut Feed) -> Result<Option<Item>, Failure> {
        loop {
            match feed.take()? {
                Next::Item(Item::Data(mut chunk)) => {
                    let offset = chunk.offset;
                    let _waits = feed.begin();
                    if let Err(error) = self.device.read(offset, chunk.bytes()) {
                        self.check_size()?;
                        return Err(self.failed("reading", offset, &error));
                    }
                    return Ok(Some(Item::Data(chunk)));
                }
                Next::Item(item) => {
                    // A file that was cut short and made longer again would read as zeros there.
                    self.check_size()?;
                    return Ok(Some(item));
                }
                Next::Later(time) => feed.rest(time),
                Next::End => return Ok(None),
            }
        }
    }
}
