//! Threads that do what cannot be done without blocking. Each volume has a lane: a slow one takes a few threads at most.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::engine::{Completion, Job};
use crate::wake::Waker;

const THREADS: usize = 16;
const THREADS_OF_A_LANE: usize = 4;
const IDLE: Duration = Duration::from_secs(5);
const STACK: usize = 128 * 1024;

#[derive(Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<Job>,
}

#[derive(Default)]
struct State {
    lanes: HashMap<u32, Lane>,
    /// Lanes with something to start, in the order of their turns.
    ready: VecDeque<u32>,
    threads: usize,
    idle: usize,
    done: Vec<Completion>,
}

impl State {
    /// Whether more is ready than idle threads will take: one that is woken counts as idle until it runs.
    fn needs_thread(&self) -> bool {
        self.ready.len() > self.idle && self.threads < THREADS
    }
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    waker: Arc<Waker>,
}

pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    pub fn new(waker: Arc<Waker>) -> Pool {
        Pool { shared: Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), waker }) }
    }

    pub fn submit(&self, job: Job) {
        let mut state = self.shared.lock();
        let lane = state.lanes.entry(job.lane).or_default();
        let key = job.lane;
        // A lane has one turn in the queue for each job that may start.
        let starts = lane.running + lane.waiting.len() < THREADS_OF_A_LANE;
        lane.waiting.push_back(job);
        if !starts {
            return;
        }
        state.ready.push_back(key);
        if state.needs_thread() {
            state.threads += 1;
            let shared = self.shared.clone();
            let builder = std::thread::Builder::new().name("disk".into()).stack_size(STACK);
            if builder.spawn(move || shared.work()).is_err() {
                state.threads -= 1; // out of threads: those that run take it, the first job apart
                if state.threads == 0 {
                    drop(state);
                    self.shared.run_here();
                }
            }
        } else {
            self.shared.work.notify_one();
        }
    }

    pub fn reap(&self, into: &mut Vec<Completion>) {
        into.append(&mut self.shared.lock().done);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a thread that panics ends the process")
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(key) = state.ready.pop_front() {
                state = self.run(state, key);
                continue;
            }
            state.idle += 1;
            let (next, timeout) = self.work.wait_timeout(state, IDLE).expect("a thread that panics ends the process");
            state = next;
            state.idle -= 1;
            if timeout.timed_out() && state.ready.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn run_here(&self) {
        let mut state = self.lock();
        while let Some(key) = state.ready.pop_front() {
            state = self.run(state, key);
        }
    }

    /// Does the next job of a lane.
    fn run<'a>(&'a self, mut state: MutexGuard<'a, State>, key: u32) -> MutexGuard<'a, State> {
        let Some(lane) = state.lanes.get_mut(&key) else { return state };
        let Some(job) = lane.waiting.pop_front() else { return state };
        lane.running += 1;
        drop(state);
        let completion = job.run();
        drop(job); // the disk may be closed here, off the serving thread
        let mut state = self.lock();
        state.done.push(completion);
        if let Some(lane) = state.lanes.get_mut(&key) {
            lane.running -= 1;
            // `running` more turns are in the queue or under way already.
            if lane.waiting.len() + lane.running >= THREADS_OF_A_LANE {
                state.ready.push_back(key);
            } else if lane.running == 0 && lane.waiting.is_empty() {
                state.lanes.remove(&key);
            }
        }
        self.waker.wake();
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_started_for_each_job_that_no_idle_one_takes() {
        let state = |ready: u32, threads, idle| State { ready: (0..ready).collect(), threads, idle, ..State::default() };
        assert!(state(1, 0, 0).needs_thread());
        assert!(!state(1, 1, 1).needs_thread());
        assert!(state(2, 1, 1).needs_thread(), "the idle one has been promised to the first");
        assert!(state(1, 3, 0).needs_thread());
        assert!(!state(9, THREADS, 1).needs_thread());
    }
}
