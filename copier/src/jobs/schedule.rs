use std::sync::Arc;
use std::time::{Duration, Instant};

use aoe_target::log;

use super::{Jobs, State};
use crate::control::{Control, Place};
use crate::copy::{self, Keeper};
use crate::failure::Failure;
use crate::job::Job;
use crate::job::state::{Course, Phase, Progress, now};

/// Longest sleep of the scheduler.
const SLEEP: Duration = Duration::from_secs(60);
/// How long jobs may take to end when the process ends.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const STACK: usize = 512 << 10;
/// Jobs whose disk hangs that leave their place to others, at most: each keeps some 7 MiB of memory.
const MOST_HANGING: usize = 8;
/// Between two looks whether a disk hangs, while jobs run.
const LOOK: Duration = Duration::from_secs(2);

impl Jobs {
    /// Runs jobs whose time has come, until [`Jobs::close`].
    pub fn schedule(self: &Arc<Jobs>) {
        let mut inner = self.lock();
        while !inner.closing {
            inner.share();
            let time = Instant::now();
            let waiting = |entry: &&super::Entry| entry.control.is_none() && !entry.held && entry.progress.course == Course::Running;
            let next = inner.entries.values().filter(waiting).min_by_key(|entry| (entry.due, entry.progress.started));
            let has_room = inner.running - inner.hanging().min(MOST_HANGING) < self.parallel;
            let longest = if inner.running > 0 { LOOK } else { SLEEP };
            let sleep = match next.map(|entry| (entry.job.clone(), entry.due)) {
                Some((job, due)) if due <= time && has_room => {
                    let control = Arc::new(Control::new(job.bytes_per_second));
                    let entry = inner.entries.get_mut(&job.id).expect("it was just found");
                    entry.control = Some(control.clone());
                    inner.running += 1;
                    let (jobs, id) = (self.clone(), job.id.clone());
                    let builder = std::thread::Builder::new().name("job".into()).stack_size(STACK);
                    if let Err(error) = builder.spawn(move || jobs.run(&job, &control)) {
                        log!(Error, "cannot start a thread", job = id, error = error);
                        inner.running -= 1;
                        let entry = inner.entries.get_mut(&id).expect("it was just found");
                        (entry.control, entry.due) = (None, time + Duration::from_secs(1));
                    }
                    continue;
                }
                Some((_, due)) if has_room => due.saturating_duration_since(time).min(longest),
                _ => longest,
            };
            inner = self.changed.wait_timeout(inner, sleep).expect("a thread that panics ends the process").0;
        }
    }

    /// Ends all work. Jobs go on when the copier is started again. False: a disk hangs.
    pub fn close(&self) -> bool {
        let mut inner = self.lock();
        inner.closing = true;
        for control in inner.entries.values().filter_map(|entry| entry.control.as_ref()) {
            control.stop();
        }
        self.changed.notify_all();
        let waited =
            self.changed.wait_timeout_while(inner, CLOSE_LIMIT, |inner| inner.running > 0).expect("a thread that panics ends the process");
        !waited.1.timed_out()
    }

    /// One attempt, in a thread of its own.
    fn run(&self, job: &Job, control: &Arc<Control>) {
        let kept = Kept { jobs: self, id: &job.id, control };
        log!(Info, "job runs", job = job.id, volume = job.volume, copied = kept.progress().copied, verified = kept.progress().verified);
        let result = copy::attempt(job, &kept, control);
        let outcome = self.settle(job, &kept, result);
        let mut inner = self.lock();
        inner.running -= 1;
        if let Some(entry) = inner.entries.get_mut(&job.id) {
            entry.read += control.bytes_read();
            entry.control = None;
            match outcome {
                Outcome::Ended => {}
                Outcome::Done => entry.clear_problem(),
                Outcome::Retry { after, problem } => {
                    entry.due = Instant::now() + after;
                    entry.report(problem);
                }
                Outcome::Failed { problem } => entry.report(problem),
            }
        }
        self.changed.notify_all();
    }

    /// What follows from the end of an attempt.
    fn settle(&self, job: &Job, kept: &Kept<'_>, result: Result<(), Failure>) -> Outcome {
        let progress = kept.progress();
        let (text, doubtful) = match result {
            Ok(()) => {
                log!(Info, "job verified", job = job.id, volume = job.volume, bytes = job.bytes, repaired = progress.repaired);
                return Outcome::Done;
            }
            Err(Failure::Stopped) => {
                log!(Info, "job stopped", job = job.id, volume = job.volume, copied = progress.copied, verified = progress.verified);
                return Outcome::Ended;
            }
            Err(Failure::Again(text)) => {
                log!(Warn, "difference repaired", job = job.id, volume = job.volume, problem = text);
                return Outcome::Retry { after: Duration::ZERO, problem: describe(job, &progress, &text) };
            }
            Err(Failure::Wait(text)) => (text, false),
            Err(Failure::Doubt(text)) => (text, true),
            Err(Failure::Final(text)) => return self.fail(job, kept, &text),
        };
        let after =
            self.lock().entries.get_mut(&job.id).and_then(|entry| entry.backoff.failed((progress.copied, progress.verified), doubtful));
        match after {
            Some(after) => {
                log!(Warn, "job waits", job = job.id, volume = job.volume, problem = text, seconds = after.as_secs());
                Outcome::Retry { after, problem: describe(job, &progress, &text) }
            }
            None => self.fail(job, kept, &text),
        }
    }

    fn fail(&self, job: &Job, kept: &Kept<'_>, text: &str) -> Outcome {
        log!(Error, "job failed", job = job.id, volume = job.volume, problem = text);
        let progress = kept.progress();
        let problem = describe(job, &progress, text);
        match kept.save(Progress { course: Course::Failed, ended: now(), problem: problem.clone(), ..progress }) {
            Ok(()) => Outcome::Failed { problem },
            // It is tried again, and fails again.
            Err(_) => Outcome::Retry { after: SLEEP, problem },
        }
    }
}

enum Outcome {
    /// The process ends, or a call says what the job is now.
    Ended,
    Done,
    Retry {
        after: Duration,
        problem: String,
    },
    Failed {
        problem: String,
    },
}

/// A problem as people read it: which copy, how far it is, and what stands in the way.
pub(super) fn describe(job: &Job, progress: &Progress, text: &str) -> String {
    let done = if progress.copied < job.bytes {
        format!("{} of {} bytes are copied", progress.copied, job.bytes)
    } else {
        format!("{} of {} bytes are verified", progress.verified, job.bytes)
    };
    format!("{}: {text} ({done})", job.name())
}

/// The progress of a job that runs.
struct Kept<'a> {
    jobs: &'a Jobs,
    id: &'a str,
    control: &'a Control,
}

impl Keeper for Kept<'_> {
    fn progress(&self) -> Progress {
        self.jobs.lock().entries.get(self.id).map(|entry| entry.progress.clone()).unwrap_or_default()
    }

    fn save(&self, progress: Progress) -> Result<(), Failure> {
        let _waits = self.control.begin(Place::State);
        self.jobs.store.save(self.id, &progress).map_err(|error| Failure::wait(format_args!("saving the progress: {error}")))?;
        if let Some(entry) = self.jobs.lock().entries.get_mut(self.id) {
            entry.progress = progress;
            // It gets ahead.
            entry.clear_problem();
        }
        Ok(())
    }
}

impl State {
    /// Whether the job goes on by itself.
    pub fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Queued | Phase::Copying | Phase::Verifying)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Entry;
    use super::*;
    use crate::job::store::{Loaded, Store};
    use crate::job::{Destination, Source};

    #[test]
    fn a_job_whose_disk_hangs_leaves_its_share_of_the_limit_to_others_until_it_gets_further() {
        let folder = std::env::temp_dir().join(format!("aoe-copier-schedule-{}", std::process::id()));
        let jobs = Arc::new(Jobs::new(Store::open(&folder).unwrap(), 2, Loaded::default()));
        let controls = ["a", "b"].map(|id| {
            let (source, destination) = (Source::Local { path: "/x".into() }, Destination { path: "/y".into(), zeroed: true });
            let job = Job { id: id.into(), volume: "v".into(), source, destination, bytes: 512, ranges: Vec::new(), bytes_per_second: 0 };
            let control = Arc::new(Control::default());
            let entry = Entry { control: Some(control.clone()), ..Entry::new(job, Progress::default()) };
            let mut inner = jobs.lock();
            inner.running += 1;
            inner.entries.insert(id.into(), entry);
            control
        });
        let scheduler = std::thread::spawn({
            let jobs = jobs.clone();
            move || jobs.schedule()
        });
        let until = |rates: [u64; 2]| {
            let limit = Instant::now() + 5 * LOOK;
            while controls.each_ref().map(|control| control.rate()) != rates {
                assert!(Instant::now() < limit, "it does not happen: {rates:?}");
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        jobs.set_limit(1000);
        until([500, 500]);
        let waits = controls[0].hang(Place::Destination);
        until([1000, 1000]);
        drop(waits);
        until([500, 500]);
        jobs.lock().running = 0;
        assert!(jobs.close());
        scheduler.join().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
