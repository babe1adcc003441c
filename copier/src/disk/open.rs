use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};

use aoe_target::disk::memory::Aligned;

use super::Device;
use crate::failure::Failure;
use crate::plan::GRAIN;

// linux/fs.h
const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;

/// Opens what is copied from. Nothing that honours locks can write to it meanwhile: our target cannot serve it for writing.
pub fn source(path: &str, needed: u64) -> Result<Device, Failure> {
    open("source", path, needed, false)
}

/// Opens what is copied to. Nothing that honours locks can open it meanwhile: our target cannot serve it, nobody can mount it.
pub fn destination(path: &str, needed: u64) -> Result<Device, Failure> {
    open("destination", path, needed, true)
}

fn open(role: &str, path: &str, needed: u64, write: bool) -> Result<Device, Failure> {
    let about = format!("{role} {path}");
    let failed = |error: &io::Error| Failure::disk(format!("opening the {about}"), error);
    let metadata = std::fs::metadata(path).map_err(|error| failed(&error))?;
    let block = metadata.file_type().is_block_device();
    if !block && !metadata.is_file() {
        return Err(Failure::fatal(format!("the {about} is neither a block device nor a regular file")));
    }
    // O_EXCL on a block device: not while it is mounted, or part of something else.
    let exclusive = if block && write { libc::O_EXCL } else { 0 };
    let file = OpenOptions::new().read(true).write(write).custom_flags(exclusive).open(path).map_err(|error| failed(&error))?;
    lock(&file, write).map_err(|error| failed(&error))?;
    let has = bytes_of(&file, block).map_err(|error| failed(&error))?;
    if has < needed {
        return Err(too_small(&about, has, needed));
    }
    // The open file may be another than the one above.
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    let identity = if block { (metadata.rdev(), 0) } else { (metadata.dev(), metadata.ino()) };
    let direct = direct(&file, write).filter(|direct| has < 2 * GRAIN || works(direct));
    Ok(Device { path: path.to_owned(), file, direct, block, identity })
}

pub fn too_small(about: &str, has: u64, needed: u64) -> Failure {
    Failure::fatal(format!("the {about} has {has} bytes, and the job needs {needed}: it was made smaller, or it is not what the job means"))
}

pub fn bytes_of(file: &File, block: bool) -> io::Result<u64> {
    if !block {
        return Ok(file.metadata()?.len());
    }
    let mut bytes = 0u64;
    // SAFETY: BLKGETSIZE64 writes 64 bits.
    match unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64 as _, &mut bytes) } {
        0 => Ok(bytes),
        _ => Err(io::Error::last_os_error()),
    }
}

fn lock(file: &File, exclusive: bool) -> io::Result<()> {
    let operation = if exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
    // SAFETY: the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same file without the page cache; none where the file system cannot do it.
fn direct(file: &File, write: bool) -> Option<File> {
    // By its descriptor: the path may lead elsewhere now.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().read(true).write(write).custom_flags(libc::O_DIRECT).open(path).ok()
}

/// Whether a direct read at the smallest alignment that is used succeeds.
fn works(direct: &File) -> bool {
    let mut buffer = Aligned::new(GRAIN as usize);
    let bytes = buffer.bytes();
    // SAFETY: the buffer is valid for its length.
    unsafe { libc::pread(direct.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), GRAIN as libc::off_t) == bytes.len() as isize }
}

#[cfg(test)]
mod tests {
    use super::super::Disk;
    use super::*;
    use std::path::PathBuf;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(folder: &str, name: &str, bytes: u64) -> Temporary {
            let path = PathBuf::from(format!("{folder}/aoe-copier-disk-{name}-{}", std::process::id()));
            File::create(&path).unwrap().set_len(bytes).unwrap();
            Temporary(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let file = Temporary::new("/tmp", "why", 1 << 20);
        let text = |result: Result<Device, Failure>| match result {
            Err(Failure::Final(text)) => format!("final: {text}"),
            Err(Failure::Wait(text)) => format!("wait: {text}"),
            other => panic!("{other:?}"),
        };
        assert!(text(source("/no/such/path", 512)).starts_with("final: opening the source /no/such/path: No such file"));
        assert!(text(source("/tmp", 512)).contains("neither a block device nor a regular file"));
        assert!(text(destination(file.path(), 2 << 20)).contains("has 1048576 bytes, and the job needs 2097152"));
        let first = destination(file.path(), 1 << 20).unwrap();
        assert!(text(destination(file.path(), 512)).starts_with("wait: "));
        assert!(text(source(file.path(), 512)).contains("another program uses it"));
        drop(first);
        let first = source(file.path(), 512).unwrap();
        assert!(source(file.path(), 512).unwrap().is_same(&first));
    }

    #[test]
    fn what_is_written_at_any_alignment_is_read_again() {
        for folder in ["/tmp", "/dev/shm"] {
            let file = Temporary::new(folder, "rw", (1 << 20) + 512);
            let device = destination(file.path(), 0).unwrap();
            let mut data = Aligned::new(1 << 20);
            for (offset, length) in [(0, 8192), (8192, 512), (8704, 4096), (1 << 20, 512), (65536, 1 << 19)] {
                data.bytes()[..length].fill(offset as u8 + 7);
                device.write(offset, &data.bytes()[..length]).unwrap();
                device.flush().unwrap();
                data.bytes().fill(0);
                device.read(offset, &mut data.bytes()[..length]).unwrap();
                assert!(data.bytes()[..length].iter().all(|byte| *byte == offset as u8 + 7), "{folder} {offset}");
                device.zero(offset, length as u64).unwrap();
                device.read(offset, &mut data.bytes()[..length]).unwrap();
                assert!(data.bytes()[..length].iter().all(|byte| *byte == 0), "{folder} {offset}");
            }
            assert!(device.read(1 << 20, &mut data.bytes()[..1024]).is_err(), "beyond the end");
        }
    }
}
