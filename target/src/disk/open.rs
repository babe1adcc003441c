use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::memory::Aligned;
use super::reclaim::Reclaim;
use super::{Disk, Identity, Mode};
use crate::log;
use crate::wire::SECTOR;

/// Why a path cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} does not exist")]
    Missing(String),
    /// It exists, but writes to it cannot be made durable, or it cannot be used at all.
    #[error("{path}: {reason}")]
    Unfit { path: String, reason: Unfit },
}

#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("neither a block device nor a regular file")]
    Kind,
    #[error("in use by another volume or program")]
    InUse,
    #[error("the device is read-only")]
    ReadOnly,
    /// Sectors of 512 bytes.
    #[error("it has {has} sectors, but hosts were shown {needed}: it was made smaller")]
    TooSmall { has: u64, needed: u64 },
    #[error("it cannot promise durable writes: {0}")]
    NotDurable(io::Error),
}

/// The result of opening a path.
pub enum Opened {
    /// The path is the current disk, which is open already. Its size was read again.
    Same,
    New(Arc<Disk>),
}

/// How long requests of an ended process may keep the disk locked.
const PREDECESSOR: Duration = Duration::from_secs(2);

// linux/fs.h
const BLKSSZGET: libc::c_ulong = 0x1268;
const BLKPBSZGET: libc::c_ulong = 0x127b;
const BLKGETSIZE64: libc::c_ulong = 0x8008_1272;
const BLKROGET: libc::c_ulong = 0x125e;
// linux/magic.h
const TMPFS_MAGIC: i64 = 0x0102_1994;
const RAMFS_MAGIC: i64 = 0x8584_58f6;

/// Opens the path, unless it is the `current` disk, by whatever name. A disk with less than `needed` sectors is refused.
pub fn open(path: &str, read_only: bool, needed: u64, current: Option<&Arc<Disk>>) -> Result<Opened, OpenError> {
    let unfit = |reason: Unfit| OpenError::Unfit { path: path.to_owned(), reason };
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing(path.to_owned()),
        _ => unfit(error.into()),
    })?;
    let block = metadata.file_type().is_block_device();
    if !block && !metadata.is_file() {
        return Err(unfit(Unfit::Kind));
    }
    let identity =
        if block { Identity { device: metadata.rdev(), inode: 0 } } else { Identity { device: metadata.dev(), inode: metadata.ino() } };
    if let Some(disk) = current.filter(|disk| disk.identity == identity && (read_only || disk.writable)) {
        let sectors = sectors_of(&disk.file, block).map_err(|error| unfit(error.into()))?;
        check_size(sectors, needed).map_err(unfit)?;
        disk.sectors.store(sectors, Ordering::Relaxed);
        return Ok(Opened::Same);
    }
    let released = current.filter(|disk| disk.identity == identity);
    if let Some(disk) = released {
        // The same disk is to be opened for writing: our own lock is released first.
        // SAFETY: the descriptor is open.
        unsafe { libc::flock(disk.file.as_raw_fd(), libc::LOCK_UN) };
    }
    let opened = open_new(Path::new(path), read_only, block, identity).and_then(|disk| check_size(disk.sectors(), needed).map(|()| disk));
    // It goes on being served for reading. Somebody who has locked it meanwhile keeps it.
    if let Some(disk) = released.filter(|_| opened.is_err())
        && let Err(error) = lock(&disk.file, true)
    {
        log!(Warn, "a disk that is served is locked by another program", path = path, error = error);
    }
    opened.map(|disk| Opened::New(Arc::new(disk))).map_err(unfit)
}

fn check_size(has: u64, needed: u64) -> Result<(), Unfit> {
    if has < needed { Err(Unfit::TooSmall { has, needed }) } else { Ok(()) }
}

fn open_new(path: &Path, read_only: bool, block: bool, identity: Identity) -> Result<Disk, Unfit> {
    // O_EXCL on a block device: not while it is mounted, or part of something else.
    let exclusive = if block && !read_only { libc::O_EXCL } else { 0 };
    let open = |flags: i32| OpenOptions::new().read(true).write(!read_only).custom_flags(flags | exclusive).open(path);
    let limit = Instant::now() + PREDECESSOR;
    let file = loop {
        let tried = open(0).and_then(|file| lock(&file, read_only).map(|()| file));
        match tried {
            Ok(file) => break file,
            Err(error) if is_busy(&error) && Instant::now() < limit => std::thread::sleep(Duration::from_millis(5)),
            Err(error) if is_busy(&error) => return Err(Unfit::InUse),
            Err(error) => return Err(error.into()),
        }
    };
    if block && !read_only && ioctl_int(&file, BLKROGET)? != 0 {
        return Err(Unfit::ReadOnly);
    }
    let sectors = sectors_of(&file, block)?;
    let physical_block = if block { ioctl_int(&file, BLKPBSZGET)? } else { 4096 };
    let logical_block = if block { ioctl_int(&file, BLKSSZGET)? } else { direct_alignment(&file, identity.device) };
    let mut disk = Disk {
        file,
        mode: Mode::Memory,
        grain: SECTOR as u64,
        grouped: false,
        cached: false,
        physical_block: physical_block.clamp(512, 4096),
        identity,
        writable: !read_only,
        sectors: AtomicU64::new(sectors),
        reclaim: Reclaim::No,
        keeps_zeros: AtomicBool::new(false),
        reclaimed: AtomicU64::new(0),
        failed_syncs: AtomicU64::new(0),
    };
    if !read_only {
        disk.reclaim = if block { Reclaim::of_device(identity.device) } else { Reclaim::of_file(&disk.file) };
    }
    if !block && in_memory(&disk.file) {
        return Ok(disk);
    }
    (disk.mode, disk.cached) = (Mode::Buffered, true);
    if set_direct(&disk.file, true)
        && let Some(grain) = direct_grain(&disk, u64::from(logical_block))
    {
        disk.mode = Mode::Direct;
        disk.grain = grain;
        let (through, fua) = durability(identity.device);
        (disk.cached, disk.grouped) = caching(block, through, fua);
    } else {
        set_direct(&disk.file, false);
    }
    if !read_only {
        disk.flush().map_err(Unfit::NotDurable)?;
    }
    Ok(disk)
}

/// Turns direct I/O on or off. The file stays open, and so keeps its lock.
fn set_direct(file: &File, direct: bool) -> bool {
    // SAFETY: the descriptor is open.
    unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        let flags = if direct { flags | libc::O_DIRECT } else { flags & !libc::O_DIRECT };
        libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags) == 0
    }
}

/// Alignment in bytes of direct I/O to a file: as its file system says (STATX_DIOALIGN, since Linux 6.1), or else the logical block of the
/// disk that it is on. A trial read cannot find it: reads of a hole succeed at any alignment.
fn direct_alignment(file: &File, device: u64) -> u32 {
    // SAFETY: all bytes zero are a valid statx.
    let mut about: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, the path ends with NUL, and `about` lives until the call returns.
    let asked = unsafe { libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &raw mut about) };
    if asked == 0 && about.stx_mask & libc::STATX_DIOALIGN != 0 && about.stx_dio_offset_align != 0 {
        return about.stx_dio_offset_align;
    }
    let disk = format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device));
    // A partition has its queue one folder higher. File systems on several disks, such as btrfs, have no such device: they are tried.
    let block = ["queue", "../queue"].iter().find_map(|queue| std::fs::read_to_string(format!("{disk}/{queue}/logical_block_size")).ok());
    block.and_then(|text| text.trim().parse().ok()).unwrap_or(SECTOR as u32)
}

/// The smallest direct request, in bytes, found by trying; none when direct I/O does not work.
fn direct_grain(disk: &Disk, logical_block: u64) -> Option<u64> {
    let mut buffer = Aligned::new(4096);
    let size = disk.sectors() * SECTOR as u64;
    [512, 4096].into_iter().filter(|grain| *grain >= logical_block && size.is_multiple_of(*grain)).find(|grain| {
        // At an offset of one grain, which is no multiple of a larger grain.
        size >= 2 * grain && super::read_all(disk.fd(), &mut buffer.bytes()[..*grain as usize], *grain).is_ok()
    })
}

fn lock(file: &File, shared: bool) -> io::Result<()> {
    let operation = if shared { libc::LOCK_SH } else { libc::LOCK_EX };
    // SAFETY: the descriptor is open.
    match unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn is_busy(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EWOULDBLOCK | libc::EBUSY))
}

fn sectors_of(file: &File, block: bool) -> io::Result<u64> {
    let bytes = if block {
        let mut bytes = 0u64;
        // SAFETY: BLKGETSIZE64 writes 64 bits.
        match unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64 as _, &mut bytes) } {
            0 => bytes,
            _ => return Err(io::Error::last_os_error()),
        }
    } else {
        file.metadata()?.len()
    };
    Ok((bytes / SECTOR as u64).min((1 << 48) - 1))
}

/// Whether a device has no cache, and whether it makes a single write durable (FUA). Otherwise its whole cache must be flushed.
fn durability(device: u64) -> (bool, bool) {
    let device = format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device));
    // A partition's queue is that of the whole disk.
    let is = |name: &str, value: &str| {
        let read = |queue: &str| std::fs::read_to_string(format!("{device}/{queue}/{name}"));
        read("queue").or_else(|_| read("../queue")).is_ok_and(|text| text.trim() == value)
    };
    (is("write_cache", "write through"), is("fua", "1"))
}

/// [`Disk::cached`] and [`Disk::grouped`] of a disk without the page cache. Of a file, the kernel writes with FUA only what overwrites blocks
/// that it has; other data waits in the cache of the device for a flush (fs/iomap/direct-io.c, `iomap_dio_bio_iter`).
fn caching(block: bool, through: bool, fua: bool) -> (bool, bool) {
    (!(through || block && fua), !(through || block || fua))
}

fn ioctl_int(file: &File, request: libc::c_ulong) -> io::Result<u32> {
    let mut value: libc::c_int = 0;
    // SAFETY: these requests write one int.
    match unsafe { libc::ioctl(file.as_raw_fd(), request as _, &mut value) } {
        0 => Ok(value as u32),
        _ => Err(io::Error::last_os_error()),
    }
}

fn in_memory(file: &File) -> bool {
    // SAFETY: an all-zero statfs is valid and filled in by the call.
    unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        libc::fstatfs(file.as_raw_fd(), &mut found) == 0 && matches!(found.f_type as i64, TMPFS_MAGIC | RAMFS_MAGIC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Temporary(std::path::PathBuf);

    impl Temporary {
        fn new(folder: &str, name: &str, bytes: u64) -> Temporary {
            let path = Path::new(folder).join(format!("aoe-disk-{name}-{}", std::process::id()));
            File::create(&path).unwrap().set_len(bytes).unwrap();
            Temporary(path)
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }

        fn open(&self) -> Arc<Disk> {
            match open(self.path(), false, 0, None) {
                Ok(Opened::New(disk)) => disk,
                Ok(Opened::Same) => unreachable!(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn paths_that_cannot_be_served_say_why() {
        assert!(matches!(open("/no/such/path", false, 0, None), Err(OpenError::Missing(_))));
        assert!(matches!(open("/tmp", false, 0, None), Err(OpenError::Unfit { .. })));
        assert!(matches!(open("/dev/null", false, 0, None), Err(OpenError::Unfit { .. })));
    }

    #[test]
    fn files_on_devices_with_fua_still_depend_on_flushes() {
        let [device, file] = [true, false].map(|block| move |through, fua| caching(block, through, fua));
        assert_eq!([device(true, false), device(true, true), device(false, true)], [(false, false); 3]);
        assert_eq!([file(true, false), file(true, true)], [(false, false); 2]);
        assert_eq!(device(false, false), (true, false));
        assert_eq!(file(false, true), (true, false), "a sync that fails may lose what was allocated for other writes");
        assert_eq!(file(false, false), (true, true));
    }

    #[test]
    fn a_disk_that_could_not_be_opened_for_writing_stays_locked() {
        let file = Temporary::new("/tmp", "stays", 8192);
        let Ok(Opened::New(disk)) = open(file.path(), true, 0, None) else { panic!("it cannot be opened") };
        assert!(matches!(open(file.path(), false, 17, Some(&disk)), Err(OpenError::Unfit { reason: Unfit::TooSmall { .. }, .. })));
        let other = File::open(file.path()).unwrap();
        assert!(is_busy(&lock(&other, false).unwrap_err()), "nobody else may write to it");
    }

    #[test]
    fn a_file_is_opened_once_for_writing() {
        let file = Temporary::new("/tmp", "once", 1 << 20);
        let disk = file.open();
        assert_eq!(disk.sectors(), 2048);
        assert!(matches!(open(file.path(), false, 0, Some(&disk)), Ok(Opened::Same)));
        assert!(matches!(open(file.path(), false, 0, None), Err(OpenError::Unfit { reason: Unfit::InUse, .. })));
    }

    #[test]
    fn a_file_that_grew_is_seen_to_have_grown() {
        let file = Temporary::new("/tmp", "grow", 1 << 20);
        let disk = file.open();
        File::options().write(true).open(file.path()).unwrap().set_len(2 << 20).unwrap();
        assert!(matches!(open(file.path(), false, 0, Some(&disk)), Ok(Opened::Same)));
        assert_eq!(disk.sectors(), 4096);
    }

    #[test]
    fn a_file_that_is_smaller_than_hosts_know_is_refused_whether_it_is_open_or_not() {
        let file = Temporary::new("/tmp", "small", 1 << 20);
        let small =
            |current| matches!(open(file.path(), false, 2049, current), Err(OpenError::Unfit { reason: Unfit::TooSmall { .. }, .. }));
        assert!(small(None));
        let disk = file.open();
        assert!(small(Some(&disk)));
        assert!(matches!(open(file.path(), false, 2048, Some(&disk)), Ok(Opened::Same)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn reads_and_writes_of_any_sectors_match_a_plain_array(
            grain in prop::sample::select(vec![512u64, 4096]),
            writes in prop::collection::vec((0u64..120, 1usize..40, prop_oneof![Just(0u8), any::<u8>()]), 1..20),
        ) {
            for folder in ["/tmp", "/dev/shm"] {
                let file = Temporary::new(folder, "array", 65536);
                let mut disk = Arc::into_inner(file.open()).unwrap();
                disk.grain = if disk.mode == Mode::Direct { grain } else { disk.grain };
                let mut array = vec![0u8; 65536];
                for (sector, count, byte) in &writes {
                    let (at, length) = (*sector as usize * 512, (*count).min(128 - *sector as usize) * 512);
                    let mut data = Aligned::new(length);
                    data.bytes().fill(*byte);
                    array[at..at + length].fill(*byte);
                    if *byte == 0 {
                        disk.write_zeros(at as u64, length).unwrap();
                    } else {
                        disk.write(at as u64, data.bytes()).unwrap();
                    }
                    disk.read(at as u64, data.bytes()).unwrap();
                    prop_assert!(data.bytes().iter().all(|found| found == byte));
                }
                let mut all = Aligned::new(65536);
                disk.read(0, all.bytes()).unwrap();
                prop_assert!(all.bytes() == &array[..]);
                disk.write_zeros(0, 65536).unwrap();
                prop_assert_eq!(disk.file.metadata().unwrap().blocks(), 0);
            }
        }
    }
}
