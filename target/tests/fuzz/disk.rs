use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use aoe_target::wire::SECTOR;

/// After the last sector of a disk: too few for another one, and nobody's to touch.
const CANARY: [u8; SECTOR - 1] = [0xc5; SECTOR - 1];

/// A file in memory that a volume is served from.
pub struct Disk {
    file: File,
    length: usize,
}

impl Disk {
    pub fn new(data: &[u8]) -> Disk {
        // SAFETY: the name is a string; the descriptor is new and ours.
        let mut file = unsafe {
            let fd = libc::memfd_create(c"fuzz".as_ptr(), libc::MFD_CLOEXEC);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            File::from_raw_fd(fd)
        };
        file.write_all(&[data, &CANARY].concat()).expect("memory");
        Disk { file, length: data.len() }
    }

    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    /// Zeros follow what there was.
    pub fn grow(&mut self, bytes: usize) {
        let end = [vec![0; bytes], CANARY.to_vec()].concat();
        self.file.write_all_at(&end, self.length as u64).expect("memory");
        self.length += bytes;
    }

    /// All of the disk. What is around it must be as it was.
    pub fn content(&self) -> Vec<u8> {
        let size = self.file.metadata().expect("its size").len();
        assert_eq!(size, (self.length + CANARY.len()) as u64, "it was written beyond the end");
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, 0).expect("its content");
        assert!(bytes[self.length..] == CANARY, "what follows the disk was written to");
        bytes.truncate(self.length);
        bytes
    }
}
