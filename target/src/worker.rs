//! What may take long and is not a request: opening disks, and writing state. Each has threads of its own: disks that hang while
//! they are opened must not keep a change of access, or of a lock, from being saved.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::crew::{Crew, Queue};
use crate::disk::Disk;
use crate::disk::open::{OpenError, Opened, open};
use crate::store::{Saved, Store};
use crate::wake::Waker;

/// Something to do for a volume, by its number, or for the process.
pub enum Task {
    Open { volume: u32, path: String, read_only: bool, needed: u64, current: Option<Arc<Disk>> },
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
/// Threads that open disks: at most this many may be blocked in open(2) before other disks wait for them.
const OPENERS: usize = 64;

/// First come, first served.
#[derive(Default)]
struct Tasks(VecDeque<Task>);

impl Queue for Tasks {
    type Task = Task;
    type Done = Done;

    fn add(&mut self, task: Task) {
        self.0.push_back(task);
    }

    fn take(&mut self) -> Option<Task> {
        self.0.pop_front()
    }

    fn ready(&self) -> usize {
        self.0.len()
    }

    fn ended(&mut self, _: &Done) {}
}

pub struct Worker {
    openers: Crew<Tasks>,
    writers: Crew<Tasks>,
    /// Done without a thread, since nothing is kept.
    done: Vec<Done>,
    keeps_state: bool,
    waker: Arc<Waker>,
}

impl Worker {
    /// Without a store, nothing is kept when the process ends.
    pub fn new(waker: Arc<Waker>, store: Option<Store>) -> Worker {
        let keeps_state = store.is_some();
        Worker {
            openers: Crew::new("open", OPENERS, Tasks::default(), waker.clone(), |task| run(None, task)),
            writers: Crew::new("state", WRITERS, Tasks::default(), waker.clone(), move |task| run(store.as_ref(), task)),
            done: Vec::new(),
            keeps_state,
            waker,
        }
    }

    /// Does a task. The waker is raised when it is done.
    pub fn submit(&mut self, task: Task) {
        if matches!(task, Task::Open { .. }) {
            self.openers.submit(task);
        } else if self.keeps_state {
            self.writers.submit(task);
        } else {
            self.done.push(run(None, task));
            self.waker.wake();
        }
    }

    /// What was done since the last call.
    pub fn reap(&mut self) -> Vec<Done> {
        let mut done = std::mem::take(&mut self.done);
        done.extend(self.openers.reap());
        done.extend(self.writers.reap());
        done
    }
}

fn run(store: Option<&Store>, task: Task) -> Done {
    let stored = |action: &dyn Fn(&Store) -> io::Result<()>| store.map_or(Ok(()), action);
    match task {
        Task::Open { volume, path, read_only, needed, current } => {
            Done::Opened { volume, result: open(&path, read_only, needed, current.as_ref()) }
        }
        Task::Save { volume, saved } => Done::Saved { volume, result: stored(&|store| store.save(&saved)) },
        Task::Remove { volume, uid } => Done::Removed { volume, result: stored(&|store| store.remove(&uid)) },
        Task::Interfaces { names } => Done::Interfaces { result: stored(&|store| store.save_interfaces(&names)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    /// Far less than it takes to open a disk that another process has locked.
    const SOON: Duration = Duration::from_millis(1000);

    struct Rig {
        folder: PathBuf,
        worker: Worker,
        /// A disk that can be opened.
        free: String,
        /// One that another process has locked: opening it takes two seconds.
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

        fn open(&mut self, path: String) {
            self.worker.submit(Task::Open { volume: 0, path, read_only: false, needed: 0, current: None });
        }

        fn open_free(&mut self) {
            self.open(self.free.clone());
        }

        fn open_locked(&mut self) {
            self.open(self.locked.clone());
        }

        /// The next that is done, soon.
        fn next(&mut self) -> Done {
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
        let mut rig = Rig::new("hang");
        for _ in 0..OPENERS - 1 {
            rig.open_locked();
        }
        rig.worker.submit(Task::Interfaces { names: vec!["eth0".into()] });
        assert!(matches!(rig.next(), Done::Interfaces { result: Ok(()) }));
        rig.open_free();
        assert!(matches!(rig.next(), Done::Opened { result: Ok(_), .. }));
        rig.open_locked();
        rig.worker.submit(Task::Remove { volume: 0, uid: "v".into() });
        assert!(matches!(rig.next(), Done::Removed { result: Ok(()), .. }));
        // A thread that was woken counts as idle until it runs.
        let limit = Instant::now() + SOON;
        while rig.worker.openers.threads().1 > 0 && Instant::now() < limit {
            std::thread::yield_now();
        }
        assert_eq!(rig.worker.openers.threads(), (OPENERS, 0), "and not one thread beyond");
    }

    #[test]
    fn an_idle_thread_is_promised_to_one_task_only() {
        let mut rig = Rig::new("idle");
        rig.open_free();
        assert!(matches!(rig.next(), Done::Opened { result: Ok(_), .. }));
        while rig.worker.openers.threads().1 == 0 {
            std::thread::yield_now();
        }
        rig.open_locked();
        rig.open_free();
        assert!(matches!(rig.next(), Done::Opened { result: Ok(_), .. }));
    }
}
