//! Backing storage: block devices and regular files. The functions of [`Disk`] block; [`engine::Engine`] does the same without
//! blocking.

pub mod engine;
mod group;
mod lanes;
pub mod memory;
pub mod open;
pub mod pieces;
pub mod reclaim;
pub mod uring;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::wire::SECTOR;
use memory::Aligned;
use reclaim::Reclaim;

/// How a disk is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Without the page cache, in multiples of the grain.
    Direct,
    /// Through the page cache, in any multiple of a sector. Writes are on stable storage when they end.
    Buffered,
    /// A file in memory: it never blocks.
    Memory,
}

/// Identifies a backing store, whatever its path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub device: u64,
    /// 0 for block devices.
    pub inode: u64,
}

/// Why a write counts as failed although the disk took it: a sync failed meanwhile, maybe that of another write, and may have lost this one,
/// too. Done again, it may last.
#[derive(Debug, thiserror::Error)]
#[error("a sync failed while it was under way")]
struct Doubt;

/// Whether a write has failed for [`Doubt`] alone.
pub fn is_doubtful(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Doubt>())
}

#[cfg(test)]
pub fn doubt() -> io::Error {
    io::Error::other(Doubt)
}

/// An open backing store. It is locked against other processes, and against a second volume, until the last request for
/// it has ended: the lock goes with the open file, which requests under way hold, even those of a process that is gone.
#[derive(Debug)]
pub struct Disk {
    pub(crate) file: File,
    pub(crate) mode: Mode,
    /// Bytes: offset and length of a direct request must be multiples of it.
    pub(crate) grain: u64,
    /// Whether writes that are under way together share a flush. Otherwise each is durable by itself.
    pub(crate) grouped: bool,
    /// Whether a sync that fails may lose what other writes have written: there is a cache between them and stable storage, of the kernel
    /// or of the device.
    pub(crate) cached: bool,
    pub(crate) physical_block: u32,
    pub(crate) identity: Identity,
    pub(crate) writable: bool,
    pub(crate) sectors: AtomicU64,
    pub(crate) reclaim: Reclaim,
    /// Giving back has failed.
    pub(crate) keeps_zeros: AtomicBool,
    /// Bytes given back that were not yet taken by [`Disk::take_reclaimed`].
    pub(crate) reclaimed: AtomicU64,
    /// Syncs that have failed.
    pub(crate) failed_syncs: AtomicU64,
}

impl Disk {
    pub fn sectors(&self) -> u64 {
        self.sectors.load(Ordering::Relaxed)
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub fn writable(&self) -> bool {
        self.writable
    }

    pub fn physical_block(&self) -> u32 {
        self.physical_block
    }

    /// Sectors that are read or written as one: requests that share such a block must not overlap in time.
    pub fn grain_sectors(&self) -> u64 {
        self.grain / SECTOR as u64
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Whether a request is a multiple of the grain.
    pub(crate) fn fits(&self, offset: u64, length: usize) -> bool {
        offset.is_multiple_of(self.grain) && (length as u64).is_multiple_of(self.grain)
    }

    pub fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        if self.fits(offset, data.len()) {
            return read_all(self.fd(), data, offset);
        }
        let (start, length) = self.around(offset, data.len());
        let mut bounce = Aligned::new(length);
        read_all(self.fd(), bounce.bytes(), start)?;
        let at = (offset - start) as usize;
        data.copy_from_slice(&bounce.bytes()[at..at + data.len()]);
        Ok(())
    }

    /// On stable storage when it returns. The caller keeps other writes to the same blocks away meanwhile.
    pub fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.fits(offset, data.len()) {
            return self.write_durably(data, offset);
        }
        let (start, length) = self.around(offset, data.len());
        let mut bounce = Aligned::new(length);
        read_all(self.fd(), bounce.bytes(), start)?;
        let at = (offset - start) as usize;
        bounce.bytes()[at..at + data.len()].copy_from_slice(data);
        self.write_durably(bounce.bytes(), start)
    }

    fn write_durably(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let failed_syncs = self.failed_syncs();
        let result = write_all(self.fd(), data, offset);
        if let Err(error) = &result {
            self.durable_write_failed(error);
        }
        result.and_then(|()| self.check_syncs(failed_syncs))
    }

    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.sync_failed())
    }

    /// How many syncs have failed. What was written before one failed may be lost although a later one succeeds: the kernel and the device
    /// report a failure once. So a write is durable only if this number is the same at its end as at its beginning.
    pub(crate) fn failed_syncs(&self) -> u64 {
        self.failed_syncs.load(Ordering::Relaxed)
    }

    pub(crate) fn sync_failed(&self) {
        self.failed_syncs.fetch_add(1, Ordering::Relaxed);
    }

    /// A write that was to be durable by itself has failed. Its sync counts as failed, too, unless the error shows that it is the request
    /// that was refused. Writes through the page cache are told errors of one another, among them a want of space, and each error once
    /// (lib/errseq.c). A medium error (ENODATA) is no refusal: a flush that fails for a sector of another write ends with it, too.
    pub(crate) fn durable_write_failed(&self, error: &io::Error) {
        let refusals = [libc::EFAULT, libc::EINVAL, libc::EFBIG, libc::ENOSPC, libc::EDQUOT];
        let refused = error.raw_os_error().is_none_or(|number| refusals.contains(&number));
        if self.mode == Mode::Buffered || !refused {
            self.sync_failed();
        }
    }

    /// Fails with [`Doubt`] when what was written since so many syncs had failed may be lost: see [`Disk::failed_syncs`].
    pub(crate) fn check_syncs(&self, failed_before: u64) -> io::Result<()> {
        if self.cached && failed_before != self.failed_syncs() { Err(io::Error::other(Doubt)) } else { Ok(()) }
    }

    /// The whole blocks that hold a range.
    fn around(&self, offset: u64, length: usize) -> (u64, usize) {
        let start = offset - offset % self.grain;
        let end = (offset + length as u64).next_multiple_of(self.grain);
        (start, (end - start) as usize)
    }
}

fn read_all(fd: RawFd, mut data: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        // SAFETY: the buffer is valid for its length.
        let done = unsafe { libc::pread(fd, data.as_mut_ptr().cast(), data.len(), offset as libc::off_t) };
        match done {
            -1 if interrupted() => {}
            -1 => return Err(io::Error::last_os_error()),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            done => {
                data = &mut data[done as usize..];
                offset += done as u64;
            }
        }
    }
    Ok(())
}

fn write_all(fd: RawFd, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        let piece = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
        // SAFETY: the vector points at a valid buffer, which is only read.
        let done = unsafe { libc::pwritev2(fd, &piece, 1, offset as libc::off_t, libc::RWF_DSYNC) };
        match done {
            -1 if interrupted() => {}
            -1 => return Err(io::Error::last_os_error()),
            0 => return Err(io::ErrorKind::WriteZero.into()),
            done => {
                data = &data[done as usize..];
                offset += done as u64;
            }
        }
    }
    Ok(())
}

fn interrupted() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
}
