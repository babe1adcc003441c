//! Threads for tasks that may block: started when there is need, ended when idle.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::wake::Waker;

/// How long a thread waits for a task before it ends.
const IDLE: Duration = Duration::from_secs(5);
const STACK: usize = 128 * 1024;

/// Tasks that wait, and which of them may start.
pub trait Queue: Send + 'static {
    type Task: Send;
    /// What comes of a task.
    type Done: Send;

    fn add(&mut self, task: Self::Task);

    /// Takes the next task that may start.
    fn take(&mut self) -> Option<Self::Task>;

    /// Tasks that may start, at least.
    fn ready(&self) -> usize;

    /// A task has ended: another one may start now.
    fn ended(&mut self, done: &Self::Done);
}

struct State<Q: Queue> {
    queue: Q,
    done: Vec<Q::Done>,
    threads: usize,
    /// Threads that wait for a task. One that was notified counts until it runs.
    idle: usize,
    /// The crew was dropped: threads end when the queue is empty.
    closed: bool,
}

struct Shared<Q: Queue> {
    name: &'static str,
    most: usize,
    run: Box<dyn Fn(Q::Task) -> Q::Done + Send + Sync>,
    state: Mutex<State<Q>>,
    work: Condvar,
    /// Raised when a task is done.
    waker: Arc<Waker>,
}

/// Threads that share a queue.
pub struct Crew<Q: Queue>(Arc<Shared<Q>>);

impl<Q: Queue> Crew<Q> {
    /// `most` threads with this name do tasks by `run`.
    pub fn new(
        name: &'static str,
        most: usize,
        queue: Q,
        waker: Arc<Waker>,
        run: impl Fn(Q::Task) -> Q::Done + Send + Sync + 'static,
    ) -> Crew<Q> {
        let state = State { queue, done: Vec::new(), threads: 0, idle: 0, closed: false };
        Crew(Arc::new(Shared { name, most, run: Box::new(run), state: Mutex::new(state), work: Condvar::new(), waker }))
    }

    pub fn submit(&self, task: Q::Task) {
        let mut state = self.0.lock();
        state.queue.add(task);
        if !state.needs_thread(self.0.most) {
            return self.0.work.notify_one();
        }
        let shared = self.0.clone();
        let builder = std::thread::Builder::new().name(self.0.name.into()).stack_size(STACK);
        if builder.spawn(move || shared.work()).is_ok() {
            state.threads += 1;
        } else if state.threads > 0 {
            self.0.work.notify_one(); // a thread that runs takes the task when it has time
        } else {
            drop(self.0.run_ready(state)); // no thread at all can be started: better late than never
        }
    }

    /// What was done since the last call.
    pub fn reap(&self) -> Vec<Q::Done> {
        std::mem::take(&mut self.0.lock().done)
    }

    /// Threads that there are, and those of them that are idle.
    #[cfg(test)]
    pub fn threads(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.threads, state.idle)
    }
}

impl<Q: Queue> Drop for Crew<Q> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl<Q: Queue> State<Q> {
    /// Whether more tasks may start than idle threads will take.
    fn needs_thread(&self, most: usize) -> bool {
        self.queue.ready() > self.idle && self.threads < most
    }
}

impl<Q: Queue> Shared<Q> {
    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        self.state.lock().expect("a thread that panics ends the process")
    }

    /// What each thread does.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            state = self.run_ready(state);
            if state.closed {
                return;
            }
            state.idle += 1;
            let (next, timeout) = self.work.wait_timeout(state, IDLE).expect("a thread that panics ends the process");
            state = next;
            state.idle -= 1;
            if timeout.timed_out() && state.queue.ready() == 0 {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Does tasks until none may start.
    fn run_ready<'a>(&'a self, mut state: MutexGuard<'a, State<Q>>) -> MutexGuard<'a, State<Q>> {
        while let Some(task) = state.queue.take() {
            drop(state);
            let done = (self.run)(task);
            state = self.lock();
            state.queue.ended(&done);
            state.done.push(done);
            self.waker.wake();
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only counts.
    struct Count(usize);

    impl Queue for Count {
        type Task = ();
        type Done = ();

        fn add(&mut self, (): ()) {
            self.0 += 1;
        }

        fn take(&mut self) -> Option<()> {
            self.0 = self.0.checked_sub(1)?;
            Some(())
        }

        fn ready(&self) -> usize {
            self.0
        }

        fn ended(&mut self, (): &()) {}
    }

    #[test]
    fn a_thread_is_started_for_each_task_that_no_idle_one_takes() {
        let needs = |ready, threads, idle| State { queue: Count(ready), done: Vec::new(), threads, idle, closed: false }.needs_thread(16);
        assert!(needs(1, 0, 0));
        assert!(!needs(1, 1, 1));
        assert!(needs(2, 1, 1), "the idle one has been promised to the first");
        assert!(needs(1, 3, 0));
        assert!(!needs(9, 16, 1));
    }

    #[test]
    fn all_tasks_are_done_and_the_waker_is_raised() {
        let waker = Arc::new(Waker::new().unwrap());
        let crew = Crew::new("test", 2, Count(0), waker.clone(), |()| ());
        for _ in 0..100 {
            crew.submit(());
        }
        let mut done = 0;
        while done < 100 {
            if waker.take() {
                done += crew.reap().len();
            }
            std::thread::yield_now();
        }
        assert!(crew.threads().0 <= 2);
    }
}
