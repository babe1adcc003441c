//! A file system whose writes wait until it thaws. The tests of the copier use this file, too.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

// linux/fs.h
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;

/// It is frozen for as long as this lives.
pub struct Frozen(File);

impl Frozen {
    /// Freezes the file system that is mounted at this folder.
    pub fn new(folder: &Path) -> Frozen {
        let frozen = Frozen(File::open(folder).unwrap());
        frozen.ask(FIFREEZE);
        frozen
    }

    fn ask(&self, request: libc::c_ulong) {
        // SAFETY: the descriptor is open; these requests take no memory.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, 0) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.ask(FITHAW);
    }
}
