//! The state directory. `jobs/ID.job.json` is the job, `jobs/ID.state.json` its progress, which changes often and is small. Files
//! are replaced whole: after a crash at any point each is the old one or the new one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use aoe_target::store::{lock, replace};
use aoe_target::wire::SECTOR;

use super::state::Progress;
use super::{Invalid, Job};

const JOB: &str = ".job.json";
const STATE: &str = ".state.json";

/// A state directory, locked against a second process.
#[derive(Debug)]
pub struct Store {
    jobs: PathBuf,
    _lock: File,
}

/// Why a file is passed over.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Job(#[from] Invalid),
    #[error("the file holds job {0}")]
    OtherJob(String),
    #[error("progress that the job cannot have: it begins again")]
    Progress,
}

/// What was saved. `problems`: each file that was passed over, and why.
#[derive(Default)]
pub struct Loaded {
    pub jobs: Vec<(Job, Progress)>,
    pub problems: Vec<(PathBuf, Unusable)>,
}

impl Store {
    /// Makes the directory if it does not exist. Waits a little for an earlier process that is just ending.
    pub fn open(directory: &Path) -> io::Result<Store> {
        let jobs = directory.join("jobs");
        fs::create_dir_all(&jobs)?;
        Ok(Store { jobs, _lock: lock(directory, "aoe-copier")? })
    }

    /// All jobs. One whose progress cannot be read begins again, which is safe: its source is still the same.
    pub fn load(&self) -> io::Result<Loaded> {
        let mut loaded = Loaded::default();
        for entry in fs::read_dir(&self.jobs)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(id) = name.strip_suffix(JOB) {
                match read_job(&path, id) {
                    Ok(job) => {
                        let progress = self.read_progress(&job).unwrap_or_else(|problem| {
                            loaded.problems.push((self.jobs.join(format!("{id}{STATE}")), problem));
                            Progress::default()
                        });
                        loaded.jobs.push((job, progress));
                    }
                    Err(problem) => loaded.problems.push((path, problem)),
                }
            } else if name.strip_suffix(STATE).is_none_or(|id| !self.jobs.join(format!("{id}{JOB}")).exists()) {
                // A replacement that a crash cut short, or what is left of a job that was removed.
                let _ = fs::remove_file(&path);
            }
        }
        loaded.jobs.sort_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        Ok(loaded)
    }

    /// Saves a new job with no progress. It is on disk when this returns.
    pub fn create(&self, job: &Job, progress: &Progress) -> io::Result<()> {
        // Not the other way round: after a crash in between, the job would have the progress of an earlier one of this id.
        self.save(&job.id, progress)?;
        self.save_job(job)
    }

    pub fn save_job(&self, job: &Job) -> io::Result<()> {
        replace(&self.jobs, &format!("{}{JOB}", job.id), &serde_json::to_vec(job)?)
    }

    /// Saves how far a job is. It is on disk when this returns.
    pub fn save(&self, id: &str, progress: &Progress) -> io::Result<()> {
        replace(&self.jobs, &format!("{id}{STATE}"), &serde_json::to_vec(progress)?)
    }

    pub fn remove(&self, id: &str) -> io::Result<()> {
        for suffix in [JOB, STATE] {
            match fs::remove_file(self.jobs.join(format!("{id}{suffix}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        File::open(&self.jobs)?.sync_all()
    }

    fn read_progress(&self, job: &Job) -> Result<Progress, Unusable> {
        let progress: Progress = serde_json::from_slice(&fs::read(self.jobs.join(format!("{}{STATE}", job.id)))?)?;
        let whole = progress.copied.is_multiple_of(SECTOR as u64) && progress.verified.is_multiple_of(SECTOR as u64);
        if whole && progress.is_possible(job.bytes) { Ok(progress) } else { Err(Unusable::Progress) }
    }
}

fn read_job(path: &Path, id: &str) -> Result<Job, Unusable> {
    let job: Job = serde_json::from_slice(&fs::read(path)?)?;
    job.check()?;
    if job.id == id { Ok(job) } else { Err(Unusable::OtherJob(job.id)) }
}

#[cfg(test)]
mod tests {
    use super::super::state::Course;
    use super::super::{Destination, Source};
    use super::*;
    use proptest::prelude::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("aoe-copier-store-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn job(id: &str) -> Job {
        let destination = Destination { path: "/dev/x".into(), zeroed: true };
        let source = Source::Local { path: "/dev/y".into() };
        Job { id: id.into(), volume: "v".into(), source, destination, bytes: 1 << 20, ranges: Vec::new(), bytes_per_second: 7 }
    }

    #[test]
    fn what_was_saved_is_loaded_again() {
        let folder = Folder::new("again");
        let store = Store::open(&folder.0).unwrap();
        let progress = Progress { copied: 4096, started: 9, ..Progress::default() };
        store.create(&job("a.job"), &Progress::default()).unwrap();
        store.save("a.job", &progress).unwrap();
        store.create(&job("b"), &Progress::default()).unwrap();
        store.remove("b").unwrap();
        store.remove("b").unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.jobs, [(job("a.job"), progress)]);
        assert!(loaded.problems.is_empty());
    }

    #[test]
    fn a_job_whose_progress_cannot_be_read_begins_again_and_torn_jobs_are_passed_over() {
        let folder = Folder::new("torn");
        let store = Store::open(&folder.0).unwrap();
        for id in ["torn-state", "no-state", "wild-state", "good"] {
            store.create(&job(id), &Progress { copied: 512, ..Progress::default() }).unwrap();
        }
        let jobs = folder.0.join("jobs");
        fs::write(jobs.join("torn-state.state.json"), b"{\"copied\":51").unwrap();
        fs::remove_file(jobs.join("no-state.state.json")).unwrap();
        fs::write(jobs.join("wild-state.state.json"), b"{\"copied\":99999999}").unwrap();
        fs::write(jobs.join("torn.job.json"), b"{").unwrap();
        fs::copy(jobs.join("good.job.json"), jobs.join("other.job.json")).unwrap();
        fs::write(jobs.join(".good.state.json.tmp"), b"{").unwrap();
        fs::write(jobs.join("gone.state.json"), b"{}").unwrap();
        let loaded = store.load().unwrap();
        let copied: Vec<(&str, u64)> = loaded.jobs.iter().map(|(job, progress)| (job.id.as_str(), progress.copied)).collect();
        assert_eq!(copied, [("good", 512), ("no-state", 0), ("torn-state", 0), ("wild-state", 0)]);
        assert_eq!(loaded.problems.len(), 5);
        assert!(!jobs.join(".good.state.json.tmp").exists() && !jobs.join("gone.state.json").exists());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_in_a_state_file_give_impossible_progress(text in "\\PC{0,80}", copied in any::<u64>(), verified in any::<u64>(), end in 0..4) {
            let folder = Folder::new("any");
            let store = Store::open(&folder.0).unwrap();
            let course = [Course::Running, Course::Stopped, Course::Failed, Course::Verified][end as usize];
            let some = serde_json::to_vec(&Progress { copied, verified, course, ..Progress::default() }).unwrap();
            store.save_job(&job("a")).unwrap();
            for bytes in [text.into_bytes(), some] {
                fs::write(folder.0.join("jobs/a.state.json"), bytes).unwrap();
                let loaded = store.load().unwrap();
                prop_assert_eq!(loaded.jobs.len(), 1);
                prop_assert!(loaded.jobs[0].1.is_possible(1 << 20));
            }
        }
    }
}
