//! Disks that hang: files on a frozen file system, whose writes wait until it thaws.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use crate::lab::{Lab, program};

// linux/fs.h
const FIFREEZE: libc::c_ulong = 0xc004_5877;
const FITHAW: libc::c_ulong = 0xc004_5878;

/// A file system of its own, in the folder "frozen" of the lab.
pub struct Mounted(PathBuf);

impl Mounted {
    /// None, with a word about it, where it cannot be made.
    pub fn new(lab: &Lab) -> Option<Mounted> {
        let (image, folder) = (lab.empty("image", 128 << 20), lab.folder.join("frozen"));
        std::fs::create_dir_all(&folder).unwrap();
        let made = program("mkfs.ext4", &["-q", &image]).and_then(|_| program("mount", &["-o", "loop", &image, folder.to_str()?]));
        if made.is_none() {
            eprintln!("skipped: no file system on a loop device");
        }
        made.map(|_| Mounted(folder))
    }

    pub fn freeze(&self) -> Frozen {
        let frozen = Frozen(File::open(&self.0).unwrap());
        frozen.ask(FIFREEZE);
        frozen
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = program("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

pub struct Frozen(File);

impl Frozen {
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
