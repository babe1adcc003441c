//! Local block devices and files, read and written past the page cache where that is possible: a copy must not push out what other
//! volumes have there.

pub mod open;
pub mod zeros;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use aoe_target::disk::memory::Aligned;

use crate::plan::{GRAIN, map};

/// What is copied to. Tests have one that loses what was not flushed.
pub trait Disk {
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()>;

    /// The first place at or after this one that may not read as zeros; none: there is no such place. What a disk does not know of itself,
    /// it may only read.
    fn data_after(&self, offset: u64) -> io::Result<Option<u64>>;

    /// Not on stable storage before a [`Disk::flush`].
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes these bytes read as zeros; as for [`Disk::write`].
    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()>;

    fn flush(&self) -> io::Result<()>;
}

/// An open block device or file. It is locked against other programs for as long as it is open.
#[derive(Debug)]
pub struct Device {
    pub path: String,
    /// Through the page cache: for what direct I/O does not do.
    file: File,
    /// The same file without the page cache.
    direct: Option<File>,
    block: bool,
    /// Device number and inode; no inode: a block device.
    identity: (u64, u64),
}

impl Device {
    pub fn is_block(&self) -> bool {
        self.block
    }

    /// Whether both are one, by whatever path.
    pub fn is_same(&self, other: &Device) -> bool {
        self.block == other.block && self.identity == other.identity
    }

    /// Its size now.
    pub fn bytes(&self) -> io::Result<u64> {
        open::bytes_of(&self.file, self.block)
    }

    /// Another descriptor of the same open file.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The descriptor for a request, and whether it uses the page cache.
    fn way(&self, offset: u64, memory: *const u8, length: usize) -> (RawFd, bool) {
        let aligned = [offset, memory as u64, length as u64].iter().all(|number| number.is_multiple_of(GRAIN));
        match &self.direct {
            Some(direct) if aligned => (direct.as_raw_fd(), false),
            _ => (self.file.as_raw_fd(), true),
        }
    }

    /// Removes clean pages of a range from the page cache.
    fn forget(&self, offset: u64, length: u64) {
        // SAFETY: no memory is passed. It is only advice.
        unsafe { libc::posix_fadvise(self.file.as_raw_fd(), offset as libc::off_t, length as libc::off_t, libc::POSIX_FADV_DONTNEED) };
    }

    fn write_zeros(&self, mut offset: u64, mut bytes: u64) -> io::Result<()> {
        let mut zeros = Aligned::new(bytes.min(256 << 10) as usize);
        while bytes > 0 {
            let length = bytes.min(256 << 10);
            self.write(offset, &zeros.bytes()[..length as usize])?;
            (offset, bytes) = (offset + length, bytes - length);
        }
        Ok(())
    }
}

impl Disk for Device {
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let (fd, cached) = self.way(offset, data.as_ptr(), data.len());
        if cached {
            // So that what is compared is what the disk has.
            self.forget(offset, data.len() as u64);
        }
        let (mut rest, mut at) = (&mut *data, offset);
        while !rest.is_empty() {
            // SAFETY: the buffer is valid for its length.
            let done = unsafe { libc::pread(fd, rest.as_mut_ptr().cast(), rest.len(), at as libc::off_t) };
            match done {
                -1 => interrupted()?,
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                done => (rest, at) = (&mut rest[done as usize..], at + done as u64),
            }
        }
        if cached {
            self.forget(offset, data.len() as u64);
        }
        Ok(())
    }

    fn data_after(&self, offset: u64) -> io::Result<Option<u64>> {
        if self.block {
            return Ok(Some(offset));
        }
        Ok(map::data_after(&self.file, offset)?.map(|(start, _)| start.max(offset)))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (fd, _) = self.way(offset, data.as_ptr(), data.len());
        let (mut rest, mut at) = (data, offset);
        while !rest.is_empty() {
            // SAFETY: the buffer is valid for its length.
            let done = unsafe { libc::pwrite(fd, rest.as_ptr().cast(), rest.len(), at as libc::off_t) };
            match done {
                -1 => interrupted()?,
                0 => return Err(io::ErrorKind::WriteZero.into()),
                done => (rest, at) = (&rest[done as usize..], at + done as u64),
            }
        }
        Ok(())
    }

    fn zero(&self, offset: u64, bytes: u64) -> io::Result<()> {
        for how in [libc::FALLOC_FL_ZERO_RANGE, libc::FALLOC_FL_PUNCH_HOLE] {
            let mode = how | libc::FALLOC_FL_KEEP_SIZE;
            // SAFETY: no memory is passed.
            if unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset as libc::off_t, bytes as libc::off_t) } == 0 {
                return Ok(());
            }
            match io::Error::last_os_error() {
                // Not all file systems can do it, and no device when the range is not of whole blocks.
                error if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::ENODEV)) => {}
                error => return Err(error),
            }
        }
        self.write_zeros(offset, bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.forget(0, 0);
        Ok(())
    }
}

/// The last error, unless the call is to be made again.
fn interrupted() -> io::Result<()> {
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        error => Err(error),
    }
}
