//! A network of its own for each test: a target at one end, the copier at the other. It goes when its last user goes, however the
//! test ends.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aoe_copier::proto::job::Source;
use aoe_copier::proto::{AoeSource, Destination, Job, LocalSource};

use crate::cable::Cable;

/// Longest wait for anything that should happen soon.
pub const LIMIT: Duration = Duration::from_secs(120);
/// The interface of the target, and of the copier.
pub const TARGET: &str = "t0";
pub const HOST: &str = "h0";

pub struct Lab {
    pub folder: PathBuf,
    _cable: Option<Cable>,
}

impl Lab {
    /// None, with a word about it, when the test cannot have a network.
    pub fn new(mtu: u32) -> Option<Lab> {
        Lab::made(mtu, None)
    }

    /// With a cable that loses so many frames of a thousand, and repeats and delays as many.
    pub fn lossy(mtu: u32, per_mille: u32) -> Option<Lab> {
        Lab::made(mtu, Some(per_mille))
    }

    fn made(mtu: u32, per_mille: Option<u32>) -> Option<Lab> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // SAFETY: no memory is passed. Only this test's thread, and what it starts, move to the new namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            eprintln!("skipped: a network namespace needs root");
            return None;
        }
        let cable = match per_mille {
            None => {
                pair(HOST, TARGET, mtu);
                None
            }
            Some(per_mille) => {
                pair(HOST, "h1", mtu);
                pair(TARGET, "t1", mtu);
                Some(Cable::between("h1", "t1", per_mille))
            }
        };
        let name = format!("aoe-copier-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new("/tmp").join(name);
        fs::create_dir_all(&folder).unwrap();
        Some(Lab { folder, _cable: cable })
    }

    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// A sparse file.
    pub fn empty(&self, name: &str, bytes: u64) -> String {
        let path = self.path(name);
        fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    }

    /// A file with data that differs everywhere, and holes: every fourth MiB is one, every fifth is written zeros.
    pub fn data(&self, name: &str, bytes: u64) -> String {
        let path = self.empty(name, bytes);
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        let mut random = 0x1234_5678_9abc_def1u64;
        let mut block = vec![0u8; 1 << 20];
        for at in 0..bytes.div_ceil(1 << 20) {
            use std::io::Seek;
            if at % 4 == 3 {
                continue;
            }
            for word in block.chunks_exact_mut(8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                word.copy_from_slice(&if at % 5 == 4 { 0 } else { random }.to_le_bytes());
            }
            file.seek(std::io::SeekFrom::Start(at << 20)).unwrap();
            let length = ((bytes - (at << 20)).min(1 << 20)) as usize;
            file.write_all(&block[..length]).unwrap();
        }
        file.sync_all().unwrap();
        path
    }

    /// Starts a target that serves a file as e7.3 with this serial number, read-only, and waits until it does.
    pub fn serve(&self, path: &str, serial: &str) -> Target {
        let export = format!("7.3={path},ro,serial={serial}");
        let log = self.folder.join("target.log");
        let child = start("aoe-target", &["--interface", TARGET, "--export", &export], &log);
        let mut target = Target { child, log };
        wait_until("the target serves", || {
            assert!(target.child.try_wait().unwrap().is_none(), "{}", target.log());
            target.log().contains("volume served").then_some(())
        });
        target
    }

    /// A job that copies what [`Lab::serve`] serves.
    pub fn remote(&self, id: &str, bytes: u64, destination: &str) -> Job {
        let source = AoeSource { shelf: 7, slot: 3, serial: "SERIAL7".into(), interfaces: vec![HOST.into()] };
        job(id, Source::Aoe(source), bytes, destination)
    }

    pub fn local(&self, id: &str, source: &str, bytes: u64, destination: &str) -> Job {
        job(id, Source::Local(LocalSource { path: source.into() }), bytes, destination)
    }
}

fn job(id: &str, source: Source, bytes: u64, destination: &str) -> Job {
    let destination = Some(Destination { path: destination.into(), zeroed: true });
    Job { id: id.into(), volume: "v".into(), source: Some(source), destination, bytes, ..Job::default() }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub struct Target {
    child: Child,
    log: PathBuf,
}

impl Target {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Starts a program of the workspace, which ends with the test's thread at the latest.
pub fn start(program: &str, arguments: &[&str], log: &Path) -> Child {
    let folder = Path::new(env!("CARGO_BIN_EXE_aoe-copier")).parent().unwrap();
    let path = folder.join(program);
    assert!(path.exists(), "{} is not built: cargo build", path.display());
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::null()).stderr(fs::File::options().create(true).append(true).open(log).unwrap());
    // SAFETY: a system call is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    command.spawn().unwrap()
}

pub fn wait_until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + LIMIT;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < limit, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compares the first bytes of two files.
pub fn assert_same(a: &str, b: &str, bytes: u64) {
    use std::os::unix::fs::FileExt;
    let (a, b) = (fs::File::open(a).unwrap(), fs::File::open(b).unwrap());
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0;
    while at < bytes {
        let length = (bytes - at).min(1 << 20) as usize;
        a.read_exact_at(&mut one[..length], at).unwrap();
        b.read_exact_at(&mut other[..length], at).unwrap();
        assert!(one[..length] == other[..length], "they differ within a MiB from byte {at} on");
        at += length as u64;
    }
}

fn pair(one: &str, other: &str, mtu: u32) {
    let mtu = mtu.to_string();
    ip(&["link", "add", one, "mtu", &mtu, "type", "veth", "peer", "name", other, "mtu", &mtu]);
    ip(&["link", "set", one, "up"]);
    ip(&["link", "set", other, "up"]);
}

pub fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a program in the test's network; none when it cannot.
pub fn program(name: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(name).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
