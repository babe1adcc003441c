//! Threads for what may take long and is not a request: opening disks, writing state.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::disk::Disk;
use crate::disk::open::{OpenError, Opened, open};
use crate::store::{Saved, Store};
use crate::wake::Waker;

/// Something to do for a volume, by its number, or for the process.
pub enum Task {
    Open { volume: u32, path: String, read_only: bool, current: Option<Arc<Disk>> },
    Save { volume: u32, saved: Box<Saved> },
    Remove { volume: u32, uid: String },
    Interfaces { names: Vec<String> },
}

/// What came of it.
pub enum Done {
    Opened { volume: u32, result: Result<Opened, OpenError> },
    Saved { volume: u32, result: io::Result<()> },
    Removed { volume: u32, result: io::Result<()> },
    Interfaces { result: io::Result<()> },
}

const THREADS: usize = 4;
const IDLE: Duration = Duration::from_secs(5);
const STACK: usize = 128 * 1024;

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    done: Vec<Done>,
    threads: usize,
    idle: usize,
    /// Nobody waits for anything any more.
    ended: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    waker: Arc<Waker>,
    /// None: everything is forgotten at the end.
    store: Option<Store>,
}

pub struct Worker(Arc<Shared>);

impl Worker {
    pub fn new(waker: Arc<Waker>, store: Option<Store>) -> Worker {
        Worker(Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), waker, store }))
    }

    pub fn submit(&self, task: Task) {
        if self.0.store.is_none() && !matches!(task, Task::Open { .. }) {
            let done = self.0.run(task); // at once: nothing is kept
            self.0.lock().done.push(done);
            return self.0.waker.wake();
        }
        let mut state = self.0.lock();
        state.tasks.push_back(task);
        if state.idle == 0 && state.threads < THREADS {
            let shared = self.0.clone();
            let builder = std::thread::Builder::new().name("state".into()).stack_size(STACK);
            match builder.spawn(move || shared.work()) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => panic!("no thread can be started: {error}"),
                Err(_) => {}
            }
        } else {
            self.0.work.notify_one();
        }
    }

    pub fn reap(&self) -> Vec<Done> {
        std::mem::take(&mut self.0.lock().done)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a thread that panics ends the process")
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                drop(state);
                let done = self.run(task);
                state = self.lock();
                state.done.push(done);
                self.waker.wake();
                continue;
            }
            if state.ended {
                return;
            }
            state.idle += 1;
            let (next, timeout) = self.work.wait_timeout(state, IDLE).expect("a thread that panics ends the process");
            state = next;
            state.idle -= 1;
            if timeout.timed_out() && state.tasks.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }

    fn run(&self, task: Task) -> Done {
        let stored = |action: &dyn Fn(&Store) -> io::Result<()>| self.store.as_ref().map_or(Ok(()), action);
        match task {
            Task::Open { volume, path, read_only, current } => Done::Opened { volume, result: open(&path, read_only, current.as_ref()) },
            Task::Save { volume, saved } => Done::Saved { volume, result: stored(&|store| store.save(&saved)) },
            Task::Remove { volume, uid } => Done::Removed { volume, result: stored(&|store| store.remove(&uid)) },
            Task::Interfaces { names } => Done::Interfaces { result: stored(&|store| store.save_interfaces(&names)) },
        }
    }
}
