//! Threads for what may take long and is not a request: opening disks, writing state. Each has threads of its own: disks that
//! hang while they are opened must not keep a change of access, or of a lock, from being saved.

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

/// Threads that write state.
const WRITERS: usize = 4;
/// Threads that open disks: so many may hang before the others wait for them.
const OPENERS: usize = 64;
const IDLE: Duration = Duration::from_secs(5);
const STACK: usize = 128 * 1024;

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    threads: usize,
    idle: usize,
    /// Nobody waits for anything any more.
    ended: bool,
}

/// Threads for tasks of one kind, started when there is need, at most so many.
struct Crew {
    name: &'static str,
    most: usize,
    state: Mutex<State>,
    work: Condvar,
}

struct Shared {
    openers: Crew,
    writers: Crew,
    done: Mutex<Vec<Done>>,
    waker: Arc<Waker>,
    /// None: everything is forgotten at the end.
    store: Option<Store>,
}

pub struct Worker(Arc<Shared>);

impl Worker {
    pub fn new(waker: Arc<Waker>, store: Option<Store>) -> Worker {
        let (openers, writers) = (Crew::new("open", OPENERS), Crew::new("state", WRITERS));
        Worker(Arc::new(Shared { openers, writers, done: Mutex::default(), waker, store }))
    }

    pub fn submit(&self, task: Task) {
        if self.0.store.is_none() && !matches!(task, Task::Open { .. }) {
            let done = self.0.run(task); // at once: nothing is kept
            return self.0.end(done);
        }
        let opens = matches!(task, Task::Open { .. });
        let crew = self.0.crew(opens);
        let mut state = crew.lock();
        state.tasks.push_back(task);
        // One that is woken counts as idle until it runs, and will take one of the tasks.
        if state.tasks.len() > state.idle && state.threads < crew.most {
            let shared = self.0.clone();
            let builder = std::thread::Builder::new().name(crew.name.into()).stack_size(STACK);
            match builder.spawn(move || shared.work(shared.crew(opens))) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => panic!("no thread can be started: {error}"),
                Err(_) => crew.work.notify_one(),
            }
        } else {
            crew.work.notify_one();
        }
    }

    pub fn reap(&self) -> Vec<Done> {
        std::mem::take(&mut self.0.done())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for crew in [&self.0.openers, &self.0.writers] {
            crew.lock().ended = true;
            crew.work.notify_all();
        }
    }
}

impl Crew {
    fn new(name: &'static str, most: usize) -> Crew {
        Crew { name, most, state: Mutex::default(), work: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a thread that panics ends the process")
    }
}

impl Shared {
    fn crew(&self, opens: bool) -> &Crew {
        if opens { &self.openers } else { &self.writers }
    }

    fn done(&self) -> MutexGuard<'_, Vec<Done>> {
        self.done.lock().expect("a thread that panics ends the process")
    }

    fn end(&self, done: Done) {
        self.done().push(done);
        self.waker.wake();
    }

    /// What each thread of a crew does.
    fn work(&self, crew: &Crew) {
        let mut state = crew.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                drop(state);
                let done = self.run(task);
                self.end(done);
                state = crew.lock();
                continue;
            }
            if state.ended {
                return;
            }
            state.idle += 1;
            let (next, timeout) = crew.work.wait_timeout(state, IDLE).expect("a thread that panics ends the process");
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;
    use std::time::Instant;

    /// Far less than opening a disk takes that another has locked.
    const SOON: Duration = Duration::from_millis(1000);

    struct Rig {
        folder: PathBuf,
        worker: Worker,
        /// A disk that can be opened.
        free: String,
        /// One that another has locked: opening it takes two seconds.
        locked: String,
        _lock: File,
    }

    impl Rig {
        fn new(name: &str) -> Rig {
            let folder = std::env::temp_dir().join(format!("aoe-worker-{name}-{}", std::process::id()));
            let store = Store::open(&folder).unwrap();
            let disk = |name: &str| {
                let path = folder.join(name);
                let file = File::create(&path).unwrap();
                file.set_len(1 << 20).unwrap();
                (path.to_str().unwrap().to_owned(), file)
            };
            let ((free, _), (locked, lock)) = (disk("free"), disk("locked"));
            // SAFETY: the descriptor is open.
            assert_eq!(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) }, 0);
            let worker = Worker::new(Arc::new(Waker::new().unwrap()), Some(store));
            Rig { folder, worker, free, locked, _lock: lock }
        }

        fn open(&self, path: &str) {
            self.worker.submit(Task::Open { volume: 0, path: path.into(), read_only: false, current: None });
        }

        /// The next that was done, soon.
        fn next(&self) -> Done {
            let limit = Instant::now() + SOON;
            loop {
                match self.worker.reap().pop() {
                    Some(done) => return done,
                    None => assert!(Instant::now() < limit, "it waits for a disk that hangs"),
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn disks_that_hang_keep_nothing_from_being_saved_and_no_other_from_being_opened() {
        let rig = Rig::new("hang");
        for _ in 0..OPENERS - 1 {
            rig.open(&rig.locked);
        }
        rig.worker.submit(Task::Interfaces { names: vec!["eth0".into()] });
        assert!(matches!(rig.next(), Done::Interfaces { result: Ok(()) }));
        rig.open(&rig.free);
        assert!(matches!(rig.next(), Done::Opened { result: Ok(_), .. }));
        rig.open(&rig.locked);
        rig.worker.submit(Task::Remove { volume: 0, uid: "v".into() });
        assert!(matches!(rig.next(), Done::Removed { result: Ok(()), .. }));
        assert_eq!(rig.worker.0.openers.lock().threads, OPENERS, "and no more");
    }

    #[test]
    fn an_idle_thread_is_promised_to_one_task_only() {
        let rig = Rig::new("idle");
        rig.open(&rig.free);
        assert!(matches!(rig.next(), Done::Opened { result: Ok(_), .. }));
        while rig.worker.0.openers.lock().idle == 0 {
            std::thread::yield_now();
        }
        rig.open(&rig.locked);
        rig.open(&rig.free);
        assert!(matches!(rig.next(), Done::Opened { result: Ok(_), .. }));
    }
}
