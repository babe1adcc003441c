//! All jobs: what is known of each (`Jobs`), and when each runs (`schedule`).
//!
//! The progress of a job has one writer at a time: its thread while it runs, and otherwise the call that changes it, which holds the
//! job so that it is not begun meanwhile.

pub mod backoff;
pub mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::control::{Control, HANGS_AFTER, Place};
use crate::job::state::{Course, Phase, Progress, now};
use crate::job::store::{Loaded, Store};
use crate::job::{Invalid, Job, Source};
use backoff::Backoff;
use schedule::describe;

pub const MAX_JOBS: usize = 256;
/// How long the end of a job is waited for. Its disks end a request sooner, unless one hangs.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// What stands in the way of a call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no job {0}")]
    NoSuchJob(String),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("job {0} has another source, destination or size: remove it first, or choose another id")]
    OtherJob(String),
    #[error("{MAX_JOBS} jobs are known already: remove some that have ended")]
    TooMany,
    #[error("job {id} does not end: {what} hangs")]
    Hangs { id: String, what: String },
    #[error("the state directory: {0}")]
    NotSaved(#[from] io::Error),
}

/// What is known of a job.
#[derive(Debug, Clone)]
pub struct State {
    pub job: Job,
    pub phase: Phase,
    pub progress: Progress,
    /// Bytes read from the source since this process began.
    pub read: u64,
    /// Why it does not get ahead, and since when in seconds since 1970.
    pub problem: String,
    pub problem_since: u64,
}

struct Entry {
    job: Job,
    progress: Progress,
    problem: String,
    problem_since: u64,
    /// There while its thread runs.
    control: Option<Arc<Control>>,
    /// A call changes it: it must not begin.
    held: bool,
    /// When it may begin.
    due: Instant,
    backoff: Backoff,
    read: u64,
}

impl Entry {
    fn new(job: Job, progress: Progress) -> Entry {
        let due = Instant::now();
        let problem = progress.problem.clone();
        let problem_since = if problem.is_empty() { 0 } else { progress.ended };
        Entry { job, progress, problem, problem_since, control: None, held: false, due, backoff: Backoff::default(), read: 0 }
    }

    fn state(&self) -> State {
        let phase = match self.progress.phase(self.job.bytes) {
            Phase::Copying | Phase::Verifying if self.control.is_none() && self.problem.is_empty() => Phase::Queued,
            phase => phase,
        };
        let (problem, problem_since) = self.hangs().unwrap_or_else(|| (self.problem.clone(), self.problem_since));
        State {
            job: Job { ranges: Vec::new(), ..self.job.clone() },
            phase,
            progress: self.progress.clone(),
            read: self.read + self.control.as_ref().map_or(0, |control| control.bytes_read()),
            problem,
            problem_since,
        }
    }

    /// The problem of a job whose disk hangs, and since when in seconds since 1970.
    fn hangs(&self) -> Option<(String, u64)> {
        let (place, since) = self.control.as_ref()?.hangs()?;
        let text = format!("{} hangs: it has not ended a request for {} seconds", self.name(place), HANGS_AFTER.as_secs());
        Some((describe(&self.job, &self.progress, &text), since))
    }

    /// What the end of a job that was stopped waits for.
    fn awaited(&self, control: &Control) -> String {
        control.waits_for().map_or_else(|| "a disk that it uses".into(), |place| self.name(place))
    }

    fn name(&self, place: Place) -> String {
        match (place, &self.job.source) {
            (Place::State, _) => "the state directory of the copier".into(),
            (Place::Destination, _) => format!("the destination {}", self.job.destination.path),
            (Place::Source, Source::Local { path }) => format!("the source {path}"),
            (Place::Source, Source::Aoe { address, .. }) => format!("the source {address}"),
        }
    }

    fn report(&mut self, problem: String) {
        if self.problem.is_empty() {
            self.problem_since = now();
        }
        self.problem = problem;
    }

    fn clear_problem(&mut self) {
        self.problem.clear();
        self.problem_since = 0;
    }
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<String, Entry>,
    running: usize,
    /// New jobs that are being saved.
    created: usize,
    /// Bytes per second of all jobs together; 0: no limit.
    limit: u64,
    closing: bool,
}

impl Inner {
    /// Jobs that run and get no further, because a disk hangs.
    fn hanging(&self) -> usize {
        self.entries.values().filter(|entry| entry.control.as_ref().is_some_and(|control| control.hangs().is_some())).count()
    }

    /// Gives each job that gets further the same share of the limit.
    fn share(&self) {
        let active = self.running.saturating_sub(self.hanging()).max(1);
        let share = if self.limit == 0 { 0 } else { (self.limit / active as u64).max(1) };
        for control in self.entries.values().filter_map(|entry| entry.control.as_ref()) {
            control.set_share(share);
        }
    }
}

pub struct Jobs {
    store: Store,
    /// Jobs that run at once, at most. Those that wait for something do not run, and those whose disk hangs do not count, up to a number.
    parallel: usize,
    inner: Mutex<Inner>,
    /// Raised when something changed that a thread may wait for.
    changed: Condvar,
    /// The jobs that calls are changing. Calls for the same job are made one after the other; one for a job whose disk hangs holds up no call
    /// for another job.
    calls: Mutex<BTreeSet<String>>,
    /// Raised when a call has ended.
    call_ended: Condvar,
}

/// A call changes a job for as long as this lives.
struct Call<'a> {
    jobs: &'a Jobs,
    id: &'a str,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.jobs.calls.lock().expect("a thread that panics ends the process").remove(self.id);
        self.jobs.call_ended.notify_all();
    }
}

impl Jobs {
    pub fn new(store: Store, parallel: usize, loaded: Loaded) -> Jobs {
        let entries = loaded.jobs.into_iter().map(|(job, progress)| (job.id.clone(), Entry::new(job, progress))).collect();
        let inner = Mutex::new(Inner { entries, ..Inner::default() });
        Jobs { store, parallel: parallel.max(1), inner, changed: Condvar::new(), calls: Mutex::default(), call_ended: Condvar::new() }
    }

    pub fn get(&self, id: &str) -> Result<State, Error> {
        self.lock().entries.get(id).map(Entry::state).ok_or_else(|| Error::NoSuchJob(id.to_owned()))
    }

    pub fn list(&self) -> Vec<State> {
        self.lock().entries.values().map(Entry::state).collect()
    }

    /// Limits all jobs together to so many bytes per second, from now on; 0: no limit.
    pub fn set_limit(&self, bytes_per_second: u64) {
        let mut inner = self.lock();
        inner.limit = bytes_per_second;
        inner.share();
    }

    /// Begins a job, or goes on with one that was stopped or failed. Returns when that is saved.
    pub fn start(&self, job: Job) -> Result<State, Error> {
        job.check()?;
        let id = job.id.clone();
        let _call = self.one_call(&id);
        if self.is_known(&id) {
            self.restart(&job)?
        } else {
            self.create(job)?
        }
        self.changed.notify_all();
        self.get(&id)
    }

    fn create(&self, job: Job) -> Result<(), Error> {
        let mut inner = self.lock();
        if inner.entries.len() + inner.created >= MAX_JOBS {
            return Err(Error::TooMany);
        }
        inner.created += 1;
        drop(inner);
        let progress = Progress { started: now(), ..Progress::default() };
        let saved = self.store.create(&job, &progress);
        let mut inner = self.lock();
        inner.created -= 1;
        saved?;
        inner.entries.insert(job.id.clone(), Entry::new(job, progress));
        Ok(())
    }

    fn restart(&self, newer: &Job) -> Result<(), Error> {
        let (job, progress) = {
            let mut inner = self.lock();
            let entry = inner.entries.get_mut(&newer.id).ok_or_else(|| Error::NoSuchJob(newer.id.clone()))?;
            if !entry.job.is_same(newer) {
                return Err(Error::OtherJob(newer.id.clone()));
            }
            let before = entry.job.clone();
            entry.job.update(newer);
            if let Some(control) = &entry.control {
                control.set_rate(newer.bytes_per_second);
            }
            let rests = entry.control.is_none() && matches!(entry.progress.course, Course::Stopped | Course::Failed);
            let progress = rests.then(|| Progress { course: Course::Running, ended: 0, problem: String::new(), ..entry.progress.clone() });
            (Some(entry.job.clone()).filter(|job| *job != before), progress)
        };
        if let Some(job) = job {
            self.store.save_job(&job)?;
        }
        // It rests, so nothing else changes its progress.
        if let Some(progress) = &progress {
            self.store.save(&newer.id, progress)?;
        }
        if let Some(entry) = self.lock().entries.get_mut(&newer.id) {
            if let Some(progress) = progress {
                entry.progress = progress;
                entry.due = Instant::now();
                entry.backoff = Backoff::default();
                entry.clear_problem();
            }
            entry.held = false;
        }
        Ok(())
    }

    /// Ends the work on a job and keeps its progress.
    pub fn stop(&self, id: &str) -> Result<State, Error> {
        let _call = self.one_call(id);
        let progress = self.halt(id)?;
        let stopped = (progress.course == Course::Running).then_some(Progress { course: Course::Stopped, ..progress });
        let saved = stopped.as_ref().map_or(Ok(()), |progress| self.store.save(id, progress));
        if let Some(entry) = self.lock().entries.get_mut(id) {
            entry.held = false;
            if let (Ok(()), Some(progress)) = (&saved, stopped) {
                entry.progress = progress;
                entry.clear_problem();
            }
        }
        saved?;
        self.get(id)
    }

    /// Stops a job and forgets it.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        let _call = self.one_call(id);
        match self.halt(id) {
            Err(Error::NoSuchJob(_)) => return Ok(()),
            other => other?,
        };
        self.store.remove(id)?;
        self.lock().entries.remove(id);
        Ok(())
    }

    /// Ends the thread of a job, and holds the job. The end of a job whose disk is known to hang is not waited for.
    fn halt(&self, id: &str) -> Result<Progress, Error> {
        let mut inner = self.lock();
        let entry = inner.entries.get_mut(id).ok_or_else(|| Error::NoSuchJob(id.to_owned()))?;
        entry.held = true;
        let limit = entry.control.as_ref().map_or(Duration::ZERO, |control| {
            let since = control.stop();
            if control.hangs().is_some() { Duration::ZERO } else { STOP_LIMIT.saturating_sub(since.elapsed()) }
        });
        let runs = |inner: &mut Inner| inner.entries.get(id).is_some_and(|entry| entry.control.is_some());
        let (inner, _) = self.changed.wait_timeout_while(inner, limit, runs).expect("a thread that panics ends the process");
        match inner.entries.get(id) {
            Some(entry) => match &entry.control {
                Some(control) => Err(Error::Hangs { id: id.into(), what: entry.awaited(control) }),
                None => Ok(entry.progress.clone()),
            },
            None => Err(Error::NoSuchJob(id.to_owned())),
        }
    }

    fn is_known(&self, id: &str) -> bool {
        self.lock().entries.contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("a thread that panics ends the process")
    }

    /// Waits until no other call changes this job.
    fn one_call<'a>(&'a self, id: &'a str) -> Call<'a> {
        let calls = self.calls.lock().expect("a thread that panics ends the process");
        let mut calls = self.call_ended.wait_while(calls, |calls| calls.contains(id)).expect("a thread that panics ends the process");
        calls.insert(id.to_owned());
        Call { jobs: self, id }
    }
}
