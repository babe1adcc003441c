use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::JoinHandle;

use aoe_copier::proto;
use aoe_copier::proto::copier_client::CopierClient;
use aoe_copier::proto::{Job, JobState, Phase};

use crate::lab::{Lab, start, wait_until};

/// A copier that runs, and a blocking client of it.
pub struct Copier {
    pub child: Child,
    log: PathBuf,
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
    client: CopierClient<tonic::transport::Channel>,
}

pub type Answer<T> = Result<T, tonic::Status>;

impl Copier {
    /// Starts one with the state that earlier ones in this lab left.
    pub fn start(lab: &Lab) -> Copier {
        Copier::with(lab, &[])
    }

    pub fn with(lab: &Lab, more: &[&str]) -> Copier {
        let (socket, log) = (lab.folder.join("copier.sock"), lab.folder.join("copier.log"));
        let state = lab.path("state");
        let arguments = [&["--state", &state, "--socket", socket.to_str().unwrap()], more].concat();
        let mut child = start("aoe-copier", &arguments, &log);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let uri = uri(&socket);
        let client = wait_until("the copier listens", || {
            assert!(child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&log).unwrap());
            runtime.block_on(CopierClient::connect(uri.clone())).ok()
        });
        Copier { child, log, socket, runtime, client }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn begin(&mut self, job: &Job) -> JobState {
        self.try_begin(job).unwrap()
    }

    pub fn try_begin(&mut self, job: &Job) -> Answer<JobState> {
        let call = self.client.start(proto::StartRequest { job: Some(job.clone()) });
        self.runtime.block_on(call).map(|answer| answer.into_inner().state.unwrap())
    }

    /// Limits all jobs together.
    pub fn limit(&mut self, bytes_per_second: u64) {
        self.runtime.block_on(self.client.set_limit(proto::SetLimitRequest { bytes_per_second })).unwrap();
    }

    pub fn get(&mut self, id: &str) -> Answer<JobState> {
        let call = self.client.get(proto::GetRequest { id: id.into() });
        self.runtime.block_on(call).map(|answer| answer.into_inner().state.unwrap())
    }

    pub fn list(&mut self) -> Vec<JobState> {
        self.runtime.block_on(self.client.list(proto::ListRequest {})).unwrap().into_inner().states
    }

    pub fn pause(&mut self, id: &str) -> Answer<JobState> {
        let call = self.client.stop(proto::StopRequest { id: id.into() });
        self.runtime.block_on(call).map(|answer| answer.into_inner().state.unwrap())
    }

    pub fn remove(&mut self, id: &str) -> Answer<()> {
        self.runtime.block_on(self.client.remove(proto::RemoveRequest { id: id.into() })).map(|_| ())
    }

    /// As [`Copier::remove`], in another thread and over a connection of its own.
    pub fn remove_meanwhile(&self, id: &str) -> JoinHandle<Answer<()>> {
        let (uri, id) = (uri(&self.socket), id.to_owned());
        std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let mut client = CopierClient::connect(uri).await.unwrap();
                client.remove(proto::RemoveRequest { id }).await.map(|_| ())
            })
        })
    }

    /// Waits for a state of a job.
    pub fn until(&mut self, id: &str, what: &str, mut is: impl FnMut(&JobState) -> bool) -> JobState {
        let mut last = None;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(what, || {
                let state = self.get(id).unwrap();
                let done = is(&state);
                last = Some(state);
                last.clone().filter(|_| done)
            })
        }));
        found.unwrap_or_else(|_| panic!("{what}: {last:?}\n{}", self.log()))
    }

    pub fn until_phase(&mut self, id: &str, phase: Phase) -> JobState {
        self.until(id, phase.as_str_name(), |state| {
            assert!(state.phase() != Phase::Failed || phase == Phase::Failed, "{}", state.problem);
            state.phase() == phase
        })
    }

    pub fn until_verified(&mut self, id: &str) -> JobState {
        self.until_phase(id, Phase::Verified)
    }

    /// Waits for a problem whose text has these words.
    pub fn until_problem(&mut self, id: &str, words: &str) -> JobState {
        self.until(id, words, |state| state.problem.contains(words))
    }

    /// Waits until so many threads wait for a destination and cannot be interrupted: state D in proc_pid_stat(5).
    pub fn until_it_hangs(&self, threads: usize) {
        let path = format!("/proc/{}/task", self.child.id());
        wait_until("a disk hangs", || {
            let tasks = fs::read_dir(&path).unwrap().filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
            (tasks.filter(|stat| stat.contains("(disk) D")).count() == threads).then_some(())
        });
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.socket);
    }

    /// SIGTERM; the exit status must be 0.
    pub fn terminate(mut self) {
        // SAFETY: no memory is passed; the child is not yet reaped.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Most memory that it had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

fn uri(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

impl Drop for Copier {
    fn drop(&mut self) {
        self.kill();
    }
}
