//! The serving thread: its loop, and how it sleeps.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::command::{Command, Reply};
use super::data::DataPath;
use super::error::Error;
use super::event::{Event, InterfaceState};
use super::polling::Polling;
use super::ports::Ports;
use super::retry;
use super::volume::registry::Registry;
use crate::log;
use crate::net::packet::PacketSocket;
use crate::net::socket::{Frame, Socket};
use crate::store::Store;
use crate::wake::Waker;
use crate::worker::{Task, Worker};

/// Frames of one turn, for each interface, before completions and commands are handled.
const FRAMES_OF_A_TURN: usize = 64;
/// Answers that are sent together, at most.
const ANSWERS_OF_A_TURN: usize = 16;
/// Frames that share one reading of the clock.
const FRAMES_OF_A_MOMENT: usize = 16;
/// How often a server that is never idle polls the kernel for what is neither a frame, a completion nor a command.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long requests under way may take after the process was told to stop.
const STOP_LIMIT: Duration = Duration::from_millis(700);

pub struct Options {
    /// How long to poll for the next frame before sleeping, at most. Zero: sleep at once.
    pub poll: Duration,
    /// Whether to use io_uring where the kernel has it.
    pub uring: bool,
    /// Whether a file in memory is read and written at once, on the serving thread. Tests turn this off to reach the queues.
    pub inline_memory: bool,
}

pub struct Server<S = PacketSocket> {
    poll: Duration,
    pub(super) registry: Registry,
    pub(super) data: DataPath,
    pub(super) ports: Ports<S>,
    pub(super) worker: Worker,
    waker: Arc<Waker>,
    commands: mpsc::Receiver<Command>,
    /// Interface lists that wait to be saved; the first is being saved.
    interface_changes: VecDeque<(Vec<String>, Reply<Vec<InterfaceState>>)>,
    next_poll: Instant,
}

impl<S: Socket> Server<S> {
    /// Must be called on the thread that runs it.
    pub fn new(options: Options, store: Option<Store>, waker: Arc<Waker>, commands: mpsc::Receiver<Command>) -> io::Result<Self> {
        Ok(Server {
            poll: options.poll,
            registry: Registry::default(),
            data: DataPath::new(waker.clone(), options.uring, options.inline_memory)?,
            ports: Ports::new()?,
            worker: Worker::new(waker.clone(), store),
            waker,
            commands,
            interface_changes: VecDeque::new(),
            next_poll: Instant::now(),
        })
    }

    /// Serves until `stop` is set (and the waker woken).
    pub fn run(mut self, stop: &AtomicBool) {
        let mut last_busy = Instant::now();
        let mut polling = Polling::new(self.poll);
        let mut polled = false;
        while !stop.load(Ordering::Relaxed) {
            let busy = self.turn(true);
            let now = Instant::now();
            if busy {
                if polled {
                    polling.found();
                }
                polled = false;
                last_busy = now;
            } else if !self.data.engine.is_flushing() && now.saturating_duration_since(last_busy) < polling.limit() {
                polled = true;
                std::hint::spin_loop();
            } else {
                self.sleep(None);
                if !self.data.engine.is_flushing() {
                    polling.slept(last_busy.elapsed());
                }
                polled = false;
                last_busy = Instant::now();
            }
            if now >= self.next_poll {
                self.poll_kernel(0);
            }
        }
        log!(Info, "stopping");
        self.end_all_holds();
        self.data.hasten_all();
        let limit = Instant::now() + STOP_LIMIT;
        while !self.is_quiet() && Instant::now() < limit {
            if !self.turn(false) {
                self.sleep(Some(limit));
            }
        }
        self.turn(false);
        if !self.is_quiet() {
            // Requests to disks that hang go on in threads and in the kernel until the process is gone. Their memory must stay
            // until then: if it were freed and used again, a disk would get what is there then.
            std::mem::forget(self.data);
        }
    }

    /// Does what there is to do; false when there was nothing. `receive`: takes frames, too.
    pub fn turn(&mut self, receive: bool) -> bool {
        let mut busy = false;
        if receive {
            busy |= self.receive();
            self.data.close_gatherings(&mut self.registry);
        }
        let woken = self.waker.take();
        busy |= self.data.turn(woken);
        while let Some(completion) = self.data.next_completion() {
            let id = self.data.complete(&mut self.registry, &mut self.ports, completion);
            self.check_drains(id);
        }
        busy |= self.data.release(&mut self.registry, &mut self.ports);
        self.ports.flush(&mut self.data.slots);
        if woken {
            busy = true;
            for done in self.worker.reap() {
                self.done(done);
            }
            while let Ok(command) = self.commands.try_recv() {
                self.command(command);
            }
            if self.ports.needs_refresh(self.registry.len()) {
                self.refresh_ports();
            }
            self.ports.flush(&mut self.data.slots);
        }
        busy
    }

    /// Whether no request is under way, and no answer to one waits to be sent.
    pub fn is_quiet(&self) -> bool {
        self.data.slots.is_empty()
    }

    /// Takes the frames of one turn. False when there was none.
    fn receive(&mut self) -> bool {
        self.ports.begin_batch(&self.registry, &mut self.data.now);
        for count in 0..FRAMES_OF_A_TURN * self.ports.len() {
            if self.data.slots.is_full() {
                return count > 0; // frames stay in the ring
            }
            let Some((port, frame)) = self.ports.receive() else { return count > 0 };
            if count % FRAMES_OF_A_MOMENT == 0 {
                self.data.now = Instant::now();
            }
            match frame {
                Frame::Whole(frame) => {
                    // SAFETY: the frame stays where it is until it is released, and handling it leaves the socket alone.
                    let frame = unsafe { &*frame };
                    if self.ports.accept(port, frame, &mut self.registry, self.data.now) {
                        self.take(port, frame);
                    }
                }
                Frame::Lost => self.ports.count_lost(port),
            }
            self.ports.release(port);
            if self.ports.queued(port) >= ANSWERS_OF_A_TURN {
                self.ports.flush(&mut self.data.slots);
            }
        }
        self.ports.len() > 0
    }

    /// Sleeps until something happens, or until `limit`.
    fn sleep(&mut self, limit: Option<Instant>) {
        let trim = self.data.slots.needs_trim().then(|| Instant::now() + retry::INTERVAL);
        let due = [self.registry.retry.at(), self.registry.holds.next_end(), self.ports.retry.at(), self.data.next_release()];
        let limit = due.into_iter().chain([limit, trim]).flatten().min();
        let timeout = limit.map_or(-1, |limit| limit.saturating_duration_since(Instant::now()).as_millis() as i32 + 1);
        if !self.poll_kernel(timeout) {
            self.data.slots.trim();
        }
    }

    /// Follows changes of interfaces, and tries again what could not be used. Waits for something to happen, `timeout`
    /// milliseconds at most, without end when it is negative; false when nothing did. [`Server::turn`] must be called before
    /// this waits again: each event ends the wait only once.
    fn poll_kernel(&mut self, timeout: i32) -> bool {
        let full = self.data.slots.is_full();
        let mut fds = vec![poll_for(self.waker.fd(), libc::POLLIN), poll_for(self.ports.monitor.fd(), libc::POLLIN)];
        fds.extend(self.data.engine.fd().map(|fd| poll_for(fd, libc::POLLIN)));
        let others = fds.len();
        for port in self.ports.iter() {
            fds.push(poll_for(port.fd().unwrap_or(-1), if full { 0 } else { libc::POLLIN }));
            fds.push(poll_for(port.blocked_fd().unwrap_or(-1), libc::POLLOUT));
        }
        // SAFETY: the array is valid for its length.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        if fds[0].revents != 0 {
            self.waker.clear();
        }
        if others > 2 && fds[2].revents != 0 {
            self.data.engine.clear();
        }
        if fds[1].revents != 0 {
            self.ports.monitor.drain();
            self.refresh_ports();
        }
        self.ports.polled(&fds[others..], &mut self.data.slots);
        let now = Instant::now();
        self.next_poll = now + POLL_INTERVAL;
        self.retry(now);
        ready != 0
    }

    /// Tries again what could not be used, and ends holds, if their time has come.
    fn retry(&mut self, now: Instant) {
        self.end_due_holds(now);
        if self.ports.retry.take_due(now) && self.ports.has_failed() {
            self.refresh_ports();
        }
        if !self.registry.retry.take_due(now) {
            return;
        }
        for id in 0..self.registry.end() {
            if self.registry.get(id).is_some_and(|volume| volume.state.is_failed()) {
                self.reopen(id);
                self.registry.retry.later(); // a change may be under way, and may end without opening the disk
            }
        }
    }

    pub(super) fn set_interfaces(&mut self, names: Vec<String>, reply: Reply<Vec<InterfaceState>>) {
        self.set_ports(&names);
        self.interface_changes.push_back((names, reply));
        if self.interface_changes.len() == 1 {
            self.save_interfaces();
        }
    }

    fn save_interfaces(&mut self) {
        if let Some((names, _)) = self.interface_changes.front() {
            self.worker.submit(Task::Interfaces { names: names.clone() });
        }
    }

    pub(super) fn interfaces_saved(&mut self, result: io::Result<()>) {
        if let Some((_, reply)) = self.interface_changes.pop_front() {
            let _ = reply.send(result.map(|()| self.ports.states()).map_err(Error::NotSaved));
        }
        self.save_interfaces();
    }

    pub(super) fn set_ports(&mut self, names: &[String]) {
        self.ports.set(names, &mut self.data.slots);
        self.refresh_ports();
    }

    /// Follows changes of the interfaces, and announces the volumes on those that are new.
    fn refresh_ports(&mut self) {
        for (port, state, opened) in self.ports.refresh(self.registry.len(), &mut self.data.slots) {
            self.registry.watchers.emit(&Event::Interface(state));
            if !opened {
                continue;
            }
            for id in 0..self.registry.end() {
                if let Some(audience) = self.registry.get(id).map(|volume| volume.audience()) {
                    self.ports.announce_at(port, &self.registry, id, &audience);
                }
            }
        }
    }
}

fn poll_for(fd: i32, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::engine::Kind;
    use crate::serve::testing::{A, request, saved, server};
    use crate::serve::volume::life::{Opening, State, Step};
    use tokio::sync::oneshot;

    fn sleeps(server: &mut Server) -> bool {
        let limit = Instant::now() + Duration::from_millis(50);
        server.sleep(Some(limit));
        Instant::now() >= limit
    }

    #[test]
    fn a_wake_that_writes_after_its_flag_was_taken_is_heard_once() {
        let mut server = server();
        let one = 1u64.to_ne_bytes();
        // SAFETY: the buffer is valid.
        assert_eq!(unsafe { libc::write(server.waker.fd(), one.as_ptr().cast(), one.len()) }, 8);
        assert!(!sleeps(&mut server));
        assert!(!server.turn(true));
        assert!(sleeps(&mut server), "it polls without end");
        server.waker.wake();
        assert!(!sleeps(&mut server));
        assert!(server.turn(true), "the flag is still there");
        assert!(sleeps(&mut server));
    }

    #[test]
    fn a_failed_volume_is_opened_again_whatever_its_step_was_when_its_time_came() {
        let mut server = server();
        let id = server.registry.insert(saved("/no/such"), State::loading());
        server.registry.volume_mut(id).state.reopened(Err("gone".into()));
        assert!(server.registry.volume_mut(id).state.begin(Step::Removing { reply: oneshot::channel().0 }));
        server.registry.retry.make_due();
        server.poll_kernel(0);
        assert!(matches!(server.registry.volume(id).state.step(), Step::Removing { .. }));
        assert!(server.registry.retry.at().is_some_and(|at| at > Instant::now()), "it would never be opened again");
        server.registry.volume_mut(id).state.not_removed();
        server.registry.retry.make_due();
        server.poll_kernel(0);
        assert!(matches!(server.registry.volume(id).state.opening(), Opening::Own));
    }

    #[test]
    fn requests_that_hang_keep_their_memory_when_serving_ends() {
        let mut server = server();
        let (slot, _) = server.data.slots.insert(request(0, A, Kind::Write)).unwrap();
        let buffer = server.data.slots.buffer(slot);
        // SAFETY: the buffer is the slot's.
        unsafe { buffer.write(0x5a) };
        server.run(&AtomicBool::new(true));
        // SAFETY: it changes nothing; it fails where there is no memory.
        assert_eq!(unsafe { libc::msync(buffer.cast(), 4096, libc::MS_ASYNC) }, 0, "{}", io::Error::last_os_error());
        // SAFETY: there is memory.
        assert_eq!(unsafe { buffer.read() }, 0x5a);
    }
}
