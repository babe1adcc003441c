//! A network of its own for each test: a veth pair in a namespace that goes when its last user goes, however the test ends.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::host::Host;
use crate::proto;
use crate::proto::target_client::TargetClient;

pub struct Lab {
    pub folder: PathBuf,
}

/// The end of the cable where targets are, and where initiators are.
pub const TARGET: &str = "t0";
pub const HOST: &str = "h0";

/// Longest wait for anything that should happen at once.
pub const LIMIT: Duration = Duration::from_secs(30);
/// Longest end of a target. It takes less than a second, see `restart.rs`, where neither machine nor disk is busy.
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl Lab {
    /// None, with a word about it, when the test cannot have a network.
    pub fn new(mtu: u32) -> Option<Lab> {
        Lab::on("/tmp", mtu)
    }

    /// With disks in a folder of this file system.
    pub fn on(base: &str, mtu: u32) -> Option<Lab> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // SAFETY: no memory is passed. Only this test's thread, and what it starts, move to the new namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            eprintln!("skipped: a network namespace needs root");
            return None;
        }
        let mtu = mtu.to_string();
        ip(&["link", "add", HOST, "mtu", &mtu, "type", "veth", "peer", "name", TARGET, "mtu", &mtu]);
        ip(&["link", "set", HOST, "up"]);
        ip(&["link", "set", TARGET, "up"]);
        let name = format!("aoe-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(base).join(name);
        fs::create_dir_all(&folder).unwrap();
        Some(Lab { folder })
    }

    pub fn host(&self) -> Host {
        Host::open(HOST)
    }

    /// A sparse file.
    pub fn disk(&self, name: &str, bytes: u64) -> String {
        let path = self.folder.join(name);
        fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn state(&self) -> String {
        self.folder.join("state").to_str().unwrap().to_owned()
    }

    /// Starts a target that serves by itself, and waits until it answers.
    pub fn serve(&self, arguments: &[&str]) -> Target {
        self.serve_all(arguments, 1)
    }

    /// Starts a target that serves this many volumes by itself.
    pub fn serve_all(&self, arguments: &[&str], volumes: usize) -> Target {
        let arguments = [&["--interface", TARGET], arguments].concat();
        let mut target = self.start(&arguments);
        target.wait_for_all("volume served", volumes, "volume not served");
        target
    }

    /// Starts a target that is told by gRPC what to do.
    pub fn managed(&self) -> Target {
        let socket = self.folder.join("target.sock");
        let mut target = self.start(&["--state", &self.state(), "--socket", socket.to_str().unwrap()]);
        target.wait_for("serving", "cannot serve");
        target.socket = Some(socket);
        target
    }

    pub fn start(&self, arguments: &[&str]) -> Target {
        self.start_with(arguments, || Ok(()))
    }

    /// `prepare` is done in the new process, before it becomes a target.
    pub fn start_with(&self, arguments: &[&str], mut prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Target {
        let log = self.folder.join("log");
        let file = fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_aoe-target"));
        command
            .args(arguments)
            .args(std::env::var("AOE_TARGET_ARGUMENTS").ok().as_deref().map(str::split_whitespace).into_iter().flatten());
        command.stdin(Stdio::null()).stderr(file);
        // SAFETY: system calls are allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                prepare()
            });
        }
        Target { child: command.spawn().unwrap(), log, socket: None }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub struct Target {
    pub child: Child,
    log: PathBuf,
    socket: Option<PathBuf>,
}

impl Target {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn wait_for(&mut self, message: &str, otherwise: &str) {
        self.wait_for_all(message, 1, otherwise);
    }

    /// Waits until a message was logged so many times.
    pub fn wait_for_all(&mut self, message: &str, times: usize, otherwise: &str) {
        let limit = Instant::now() + LIMIT;
        loop {
            let log = self.log();
            if log.matches(&format!("\"msg\":\"{message}\"")).count() >= times {
                return;
            }
            let gone = self.child.try_wait().unwrap();
            assert!(gone.is_none() && !log.contains(otherwise) && Instant::now() < limit, "no \"{message}\": {log}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM; the exit status must be 0.
    pub fn stop(self) {
        let took = self.terminate();
        assert!(took < STOP_LIMIT, "{took:?}");
    }

    /// SIGTERM; the exit status must be 0. Gives how long the target took to end.
    pub fn terminate(mut self) -> Duration {
        let before = Instant::now();
        // SAFETY: no memory is passed; the child is not yet reaped.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
        before.elapsed()
    }

    pub fn rpc(&self) -> Rpc {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let uri = format!("unix://{}", self.socket.as_ref().unwrap().display());
        let client = runtime.block_on(async { TargetClient::connect(uri).await.unwrap() });
        Rpc { runtime, client }
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

/// Sees by how much this machine is late: a thread that only sleeps, and wakes too late when no CPU is free or the machine stands still.
pub struct Watchdog(Arc<Late>);

#[derive(Default)]
struct Late {
    nanos: AtomicU64,
    done: AtomicBool,
}

impl Watchdog {
    pub fn start() -> Watchdog {
        const SLEEP: Duration = Duration::from_millis(10);
        let late = Arc::new(Late::default());
        std::thread::spawn({
            let late = late.clone();
            move || {
                while !late.done.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    std::thread::sleep(SLEEP);
                    late.nanos.fetch_add((begun.elapsed() - SLEEP).as_nanos() as u64, Ordering::SeqCst);
                }
            }
        });
        Watchdog(late)
    }

    /// By how much it woke too late, all times together.
    pub fn late(&self) -> Duration {
        Duration::from_nanos(self.0.nanos.load(Ordering::SeqCst))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::SeqCst);
    }
}

/// A blocking gRPC client.
pub struct Rpc {
    pub runtime: tokio::runtime::Runtime,
    pub client: TargetClient<tonic::transport::Channel>,
}

pub type Answer<T> = Result<T, tonic::Status>;

impl Rpc {
    pub fn interfaces(&mut self, names: &[&str]) -> Answer<Vec<proto::Interface>> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let call = self.client.set_interfaces(proto::SetInterfacesRequest { names });
        self.runtime.block_on(call).map(|answer| answer.into_inner().interfaces)
    }

    pub fn export(&mut self, volume: proto::Volume) -> Answer<proto::VolumeState> {
        let call = self.client.export(proto::ExportRequest { volume: Some(volume) });
        self.runtime.block_on(call).map(|answer| answer.into_inner().state.unwrap())
    }

    pub fn unexport(&mut self, uid: &str) -> Answer<()> {
        let call = self.client.unexport(proto::UnexportRequest { uid: uid.into() });
        self.runtime.block_on(call).map(|_| ())
    }

    pub fn access(&mut self, uid: &str, macs: &[&str]) -> Answer<proto::VolumeState> {
        let access = Some(proto::Access { anyone: false, macs: macs.iter().map(|mac| (*mac).to_owned()).collect(), ..Default::default() });
        let call = self.client.set_access(proto::SetAccessRequest { uid: uid.into(), access });
        self.runtime.block_on(call).map(|answer| answer.into_inner().state.unwrap())
    }

    /// The number of a hold. 0: its limit is the target's default.
    pub fn hold(&mut self, uid: &str, limit_ms: u32) -> Answer<u64> {
        let call = self.client.hold(proto::HoldRequest { uid: uid.into(), limit_ms });
        self.runtime.block_on(call).map(|answer| answer.into_inner().number)
    }

    pub fn release(&mut self, uid: &str, number: u64) -> Answer<bool> {
        let call = self.client.release(proto::ReleaseRequest { uid: uid.into(), number });
        self.runtime.block_on(call).map(|answer| answer.into_inner().held_throughout)
    }

    pub fn replace(&mut self, uid: &str, expected: &[u8], replacement: &[u8]) -> Answer<proto::VolumeState> {
        let request = proto::ReplaceConfigStringRequest { uid: uid.into(), expected: expected.into(), replacement: replacement.into() };
        let call = self.client.replace_config_string(request);
        self.runtime.block_on(call).map(|answer| answer.into_inner().state.unwrap())
    }
}

/// Volume `uid` at e7.3, for these initiators.
pub fn volume(uid: &str, path: &str, macs: &[&str]) -> proto::Volume {
    proto::Volume {
        uid: uid.into(),
        shelf: 7,
        slot: 3,
        path: path.into(),
        serial: "SERIAL7".into(),
        read_only: false,
        access: Some(proto::Access { anyone: false, macs: macs.iter().map(|mac| (*mac).to_owned()).collect(), ..Default::default() }),
        sectors: 0,
        for_copies: false,
        limits: None,
        reclaim: false,
    }
}

pub fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a program in the test's network; none when it is not installed.
pub fn program(name: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("timeout").arg("60").arg(name).args(arguments).output().unwrap();
    if output.status.code() == Some(127) {
        eprintln!("skipped: no {name}");
        return None;
    }
    assert!(output.status.success(), "{name} {arguments:?}: {output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
