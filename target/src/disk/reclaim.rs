//! Zeros that take no space. AoE has no discard: what is overwritten with zeros is given back instead.
//!
//! A file gets holes. On a thin logical volume only whole chunks can be given back: dm-thin completes a smaller discard without doing it
//! (drivers/md/dm-thin.c, `process_discard_bio`), and shows no holes. There zeros are written first and given back afterwards, so that
//! a crash at any point leaves zeros.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use super::memory::Aligned;
use super::{Disk, read_all};
use crate::log;

/// How a disk gives back what is overwritten with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reclaim {
    /// It does not.
    No,
    /// A file: in blocks of so many bytes.
    Holes { block: u64 },
    /// A device that can discard: in chunks of so many bytes.
    Chunks { bytes: u64 },
}

/// Largest chunk whose blocks are watched. LVM makes them larger only in pools of many terabytes.
const LARGEST_CHUNK: u64 = 16 << 20;
const SMALLEST_CHUNK: u64 = 4096;
/// Bytes that are read at once to see whether they are zeros.
const LOOK: usize = 256 * 1024;

// linux/fs.h
const BLKDISCARD: libc::c_ulong = 0x1277;

/// Whether all bytes are zeros. Most data differs from zeros in its first bytes.
pub fn is_zeros(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first_chunk::<8>() else { return data.iter().all(|byte| *byte == 0) };
    // The rest is as long as all but the last eight bytes: equal to those before it, all are like the first.
    u64::from_ne_bytes(*first) == 0 && rest == &data[..rest.len()]
}

impl Reclaim {
    pub(super) fn of_file(file: &std::fs::File) -> Reclaim {
        // SAFETY: an all-zero statfs is valid and filled in by the call.
        let block = unsafe {
            let mut found: libc::statfs = std::mem::zeroed();
            if libc::fstatfs(file.as_raw_fd(), &mut found) == 0 { u64::try_from(found.f_bsize).unwrap_or(0) } else { 0 }
        };
        if block.is_power_of_two() && (512..=1 << 20).contains(&block) { Reclaim::Holes { block } } else { Reclaim::No }
    }

    /// Of a block device: the chunk size of a thin volume is what its queue shows as the granularity of discards. The kernel splits discards of
    /// another granularity than a power of two in the middle of chunks (block/blk-lib.c, `bio_discard_limit`), and dm-thin then does nothing.
    pub(super) fn of_device(device: u64) -> Reclaim {
        let queue = format!("/sys/dev/block/{}:{}/queue", libc::major(device), libc::minor(device));
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("{queue}/{name}")).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let (chunk, most) = (read("discard_granularity").unwrap_or(0), read("discard_max_bytes").unwrap_or(0));
        let fits = chunk.is_power_of_two() && (SMALLEST_CHUNK..=LARGEST_CHUNK).contains(&chunk) && most >= chunk;
        if fits { Reclaim::Chunks { bytes: chunk } } else { Reclaim::No }
    }
}

impl Disk {
    /// Whether zeros become holes as they are written.
    pub fn makes_holes(&self) -> bool {
        matches!(self.reclaim, Reclaim::Holes { .. }) && !self.keeps_zeros.load(Ordering::Relaxed)
    }

    /// Bytes of a chunk that can be given back when all of it holds zeros; none when that cannot be done.
    pub fn chunk(&self) -> Option<u64> {
        match self.reclaim {
            Reclaim::Chunks { bytes } if !self.keeps_zeros.load(Ordering::Relaxed) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes given back since the last call.
    pub fn take_reclaimed(&self) -> u64 {
        if self.reclaimed.load(Ordering::Relaxed) == 0 { 0 } else { self.reclaimed.swap(0, Ordering::Relaxed) }
    }

    /// Makes a range read as zeros, on stable storage when it returns. Whole blocks become holes. The caller keeps other writes to the
    /// same blocks away meanwhile.
    pub fn write_zeros(&self, offset: u64, length: usize) -> io::Result<()> {
        self.write_zeros_and(offset, length, Disk::flush)
    }

    fn write_zeros_and(&self, offset: u64, length: usize, flush: impl FnOnce(&Disk) -> io::Result<()>) -> io::Result<()> {
        let Reclaim::Holes { block } = self.reclaim else { return self.fill(offset, length) };
        if !self.makes_holes() {
            return self.fill(offset, length);
        }
        let end = offset + length as u64;
        // Holes are on stable storage: each was synced before it was answered, and what an earlier process left when the disk was opened. After
        // a sync that failed no hole is looked for.
        if self.is_hole(offset, end) {
            return Ok(());
        }
        let (first, last) = (offset.next_multiple_of(block).min(end), (end - end % block).max(offset));
        if first >= last {
            return self.fill(offset, length);
        }
        let failed_syncs = self.failed_syncs();
        if let Err(error) = self.punch(first, last - first) {
            self.refused(&error);
            return self.fill(offset, length);
        }
        if let Err(error) = flush(self).and_then(|()| self.check_syncs(failed_syncs)) {
            self.give_up(&error);
            return Err(error);
        }
        self.reclaimed.fetch_add(last - first, Ordering::Relaxed);
        self.fill(offset, (first - offset) as usize)?;
        self.fill(last, (end - last) as usize)
    }

    /// Gives back whole chunks if all of them hold zeros now, and leaves them alone otherwise. They read as zeros throughout, also after
    /// a crash. The caller keeps writes to them away meanwhile.
    pub fn give_back(&self, offset: u64, length: u64) -> io::Result<()> {
        if self.chunk().is_none() || !self.holds_zeros(offset, length)? {
            return Ok(());
        }
        let problem = match self.discard(offset, length).and_then(|()| self.holds_zeros(offset, length)) {
            Ok(true) => {
                self.reclaimed.fetch_add(length, Ordering::Relaxed);
                return Ok(());
            }
            Ok(false) => {
                self.give_up(&io::Error::other("what was discarded does not read as zeros"));
                return self.fill(offset, length as usize);
            }
            Err(error) => error,
        };
        self.refused(&problem);
        if self.holds_zeros(offset, length).unwrap_or(false) { Ok(()) } else { self.fill(offset, length as usize) }
    }

    /// It failed once. When the disk cannot do it at all, it is not tried again.
    fn refused(&self, error: &io::Error) {
        if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY | libc::ENOSYS)) {
            self.give_up(error);
        }
    }

    /// From now on zeros are written as other data, until the disk is opened again.
    fn give_up(&self, error: &io::Error) {
        if !self.keeps_zeros.swap(true, Ordering::Relaxed) {
            let path = std::fs::read_link(format!("/proc/self/fd/{}", self.fd())).unwrap_or_default();
            log!(Warn, "zeros take space from now on: giving it back has failed", path = path.display(), error = error);
        }
    }

    /// Writes zeros.
    fn fill(&self, mut offset: u64, mut length: usize) -> io::Result<()> {
        let mut zeros = Aligned::new(length.min(LOOK));
        while length > 0 {
            let part = length.min(LOOK);
            self.write(offset, &zeros.bytes()[..part])?;
            offset += part as u64;
            length -= part;
        }
        Ok(())
    }

    /// Whether a range of a file has no data. False when that is not known.
    fn is_hole(&self, offset: u64, end: u64) -> bool {
        // SAFETY: the descriptor is open; nobody uses its position.
        match unsafe { libc::lseek(self.fd(), offset as libc::off_t, libc::SEEK_DATA) } {
            -1 => io::Error::last_os_error().raw_os_error() == Some(libc::ENXIO) && self.reaches(end),
            data => data as u64 >= end,
        }
    }

    /// Whether the file has this many bytes: behind its end there is no data either, and no zeros can be read.
    fn reaches(&self, end: u64) -> bool {
        self.file.metadata().is_ok_and(|about| about.len() >= end)
    }

    fn punch(&self, offset: u64, length: u64) -> io::Result<()> {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        loop {
            // SAFETY: no memory is passed.
            if unsafe { libc::fallocate(self.fd(), mode, offset as libc::off_t, length as libc::off_t) } == 0 {
                return Ok(());
            }
            if !super::interrupted() {
                return Err(io::Error::last_os_error());
            }
        }
    }

    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        let range = [offset, length];
        // SAFETY: BLKDISCARD reads two numbers of 64 bits.
        if unsafe { libc::ioctl(self.fd(), BLKDISCARD as _, range.as_ptr()) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn holds_zeros(&self, mut offset: u64, mut length: u64) -> io::Result<bool> {
        let mut buffer = Aligned::new(LOOK.min(length as usize));
        while length > 0 {
            let part = &mut buffer.bytes()[..LOOK.min(length as usize)];
            read_all(self.fd(), part, offset)?;
            if !is_zeros(part) {
                return Ok(false);
            }
            offset += part.len() as u64;
            length -= part.len() as u64;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::open::{Opened, open};
    use proptest::prelude::*;

    fn disk(name: &str, reclaim: Reclaim) -> (std::path::PathBuf, Disk) {
        let path = std::env::temp_dir().join(format!("aoe-reclaim-{name}-{}", std::process::id()));
        std::fs::write(&path, [7; 65536]).unwrap();
        let Ok(Opened::New(disk)) = open(path.to_str().unwrap(), false, 0, None) else { panic!("it cannot be opened") };
        let disk = std::sync::Arc::into_inner(disk).unwrap();
        (path, Disk { reclaim, ..disk })
    }

    fn content(disk: &Disk) -> Vec<u8> {
        let mut all = Aligned::new(65536);
        disk.read(0, all.bytes()).unwrap();
        all.bytes().to_vec()
    }

    #[test]
    fn a_disk_that_has_failed_to_punch_gets_zeros_as_other_data() {
        let (path, disk) = disk("fails", Reclaim::Holes { block: 4096 });
        disk.give_up(&io::Error::other("a test"));
        disk.write_zeros(0, 8192).unwrap();
        assert!(content(&disk)[..8192].iter().all(|byte| *byte == 0));
        assert!(!disk.makes_holes() && disk.take_reclaimed() == 0);
        std::fs::remove_file(path).unwrap();
    }

    fn not_synced(name: &str, doubtful: bool, flush: impl FnOnce(&Disk) -> io::Result<()>) {
        let (path, disk) = disk(name, Reclaim::Holes { block: 4096 });
        let disk = Disk { cached: true, ..disk };
        let failed = disk.write_zeros_and(0, 8192, flush);
        assert_eq!(crate::disk::is_doubtful(&failed.unwrap_err()), doubtful);
        if !disk.is_hole(0, 8192) {
            return; // this file system has no holes
        }
        disk.write_zeros(0, 8192).unwrap();
        assert!(!disk.is_hole(0, 8192), "zeros were written, and not only found");
        assert!(is_zeros(&content(&disk)[..8192]) && disk.take_reclaimed() == 0);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_hole_that_was_not_synced_is_not_taken_for_zeros_on_stable_storage() {
        not_synced("unsynced", false, |_| Err(io::Error::from_raw_os_error(libc::EIO)));
    }

    #[test]
    fn a_hole_is_not_on_stable_storage_when_the_sync_of_another_write_failed_meanwhile() {
        not_synced("other-sync", true, |disk| {
            disk.sync_failed();
            Ok(())
        });
    }

    #[test]
    fn what_cannot_be_discarded_still_reads_as_zeros_and_data_is_never_discarded() {
        // A file takes no BLKDISCARD: it fails as a device that refuses.
        let (path, disk) = disk("refuses", Reclaim::Chunks { bytes: 4096 });
        disk.give_back(0, 8192).unwrap();
        assert!(disk.chunk().is_some(), "it has data, so that nothing was tried");
        disk.fill(0, 8192).unwrap();
        disk.give_back(0, 8192).unwrap();
        assert!(disk.chunk().is_none() && disk.take_reclaimed() == 0);
        let all = content(&disk);
        assert!(is_zeros(&all[..8192]) && all[8192..].iter().all(|byte| *byte == 7));
        std::fs::remove_file(path).unwrap();
    }

    proptest! {
        #[test]
        fn zeros_are_told_from_data_wherever_it_is(length in 0usize..70, at in any::<prop::sample::Index>(), byte in 0u8..3) {
            let mut data = vec![0; length];
            if length > 0 {
                data[at.index(length)] = byte;
            }
            prop_assert_eq!(is_zeros(&data), data.iter().all(|byte| *byte == 0));
        }
    }
}
