//! The interfaces that are served: which frame is next, and which answers leave.

mod answers;
pub mod flood;
pub mod heard;

use std::time::{Duration, Instant, SystemTime};

use super::data::slots::Slots;
use super::event::InterfaceState;
use super::observe::stats::Refused;
use super::observe::trace::Traces;
use super::retry::Retry;
use super::volume::registry::Registry;
use crate::log;
use crate::net::link::Monitor;
use crate::net::port::{Counts, Outgoing, Port};
use crate::net::socket::{Frame, Socket};
use crate::net::{buffer_count, ring_frames};
use crate::wire::Mac;
use flood::{Allowances, Flood};
use heard::{Heard, Silences};

pub struct Ports<S> {
    list: Vec<Port<S>>,
    next_key: u32,
    /// Frames that receive rings should hold, by the number of volumes.
    ring_frames: usize,
    pub monitor: Monitor,
    flood: Flood,
    heard: Heard,
    pub traces: Traces,
    /// The wall clock when it was last read, as time since 1970.
    clock: Duration,
    warnings: log::Limit,
    /// When failed interfaces are to be opened again.
    pub retry: Retry,
}

impl<S: Socket> Ports<S> {
    pub fn new() -> std::io::Result<Ports<S>> {
        Ok(Ports {
            list: Vec::new(),
            next_key: 0,
            ring_frames: ring_frames(0),
            monitor: Monitor::open()?,
            flood: Flood::default(),
            heard: Heard::new(Instant::now()),
            traces: Traces::default(),
            clock: Duration::ZERO,
            warnings: log::Limit::default(),
            retry: Retry::default(),
        })
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Port<S>> {
        self.list.iter()
    }

    /// Whether the rings have another size than this number of volumes needs.
    pub fn needs_refresh(&self, volumes: usize) -> bool {
        self.ring_frames != ring_frames(volumes)
    }

    /// Tells a port from all others of the process.
    pub fn key(&self, port: usize) -> u32 {
        self.list[port].key
    }

    /// The port with this key, if it is still served.
    pub fn position(&self, key: u32) -> Option<usize> {
        self.list.iter().position(|port| port.key == key)
    }

    /// Sectors per frame.
    pub fn sectors(&self, port: usize) -> u8 {
        self.list[port].sectors()
    }

    /// Frames that a host may have outstanding for a volume without limits, among this number of volumes.
    pub fn buffers(&self, port: usize, volumes: usize) -> u16 {
        buffer_count(self.list[port].ring_frames(), volumes)
    }

    pub fn states(&self) -> Vec<InterfaceState> {
        self.list.iter().map(describe).collect()
    }

    /// What was counted, by name.
    pub fn counts(&mut self) -> Vec<(String, Counts)> {
        self.list.iter_mut().map(|port| (port.name.clone(), port.count())).collect()
    }

    /// Serves on these interfaces, and on no others. [`Ports::refresh`] opens those that are new.
    pub fn set(&mut self, names: &[String], slots: &mut Slots) {
        for port in &mut self.list {
            if !names.contains(&port.name) {
                port.flush(|slot| slots.free(slot));
                port.close(|slot| slots.free(slot));
                log!(Info, "interface given up", interface = port.name);
            }
        }
        let before = self.list.len();
        self.list.retain(|port| names.contains(&port.name));
        if self.list.len() < before {
            self.heard.restart(Instant::now());
        }
        for name in names {
            if !self.list.iter().any(|port| port.name == *name) {
                self.list.push(Port::new(name.clone(), self.next_key));
                self.next_key += 1;
            }
        }
    }

    /// Follows changes of the interfaces, and of the number of volumes. Gives each port that has changed, and whether it is
    /// newly served.
    pub fn refresh(&mut self, volumes: usize, slots: &mut Slots) -> Vec<(usize, InterfaceState, bool)> {
        self.ring_frames = ring_frames(volumes);
        let mut changed = Vec::new();
        for (index, port) in self.list.iter_mut().enumerate() {
            let served = port.socket.is_some();
            let different = port.refresh(self.ring_frames);
            if port.failed {
                self.retry.later();
            }
            if !different {
                continue;
            }
            if port.socket.is_some() {
                let mac = port.mac().unwrap_or_default();
                log!(Info, "interface served", interface = port.name, mac = mac, mtu = port.mtu(), sectors = port.sectors());
            } else {
                log!(Warn, "interface not served", interface = port.name, error = port.error);
                port.close(|slot| slots.free(slot));
            }
            changed.push((index, describe(port), !served && port.socket.is_some()));
        }
        if !changed.is_empty() {
            self.heard.restart(Instant::now());
        }
        changed
    }

    pub fn has_failed(&self) -> bool {
        self.list.iter().any(|port| port.failed)
    }

    /// Before a batch of frames is taken.
    pub fn begin_batch(&mut self, registry: &Registry, now: &mut Instant) {
        for port in 0..self.list.len() {
            if self.list[port].is_crowded() {
                self.list[port].skip_crowd_check();
                *now = Instant::now();
                self.find_flood(port, registry, *now);
            }
        }
        if self.list.len() > 1 {
            self.clock = clock();
        }
    }

    /// The port that the next frame comes by, and the frame: they are taken in the order in which they came, whatever interface
    /// they came by. A host may send a newer write to the same sectors by another interface, and the older one must not be done
    /// after it. The frame stays until [`Ports::release`].
    pub fn receive(&mut self) -> Option<(usize, Frame)> {
        let port = if self.list.len() == 1 { 0 } else { self.oldest()? };
        Some((port, self.list[port].socket.as_mut()?.receive()?))
    }

    /// For how long each host has been silent. Frames that wait count as heard: this process may have been stopped.
    pub fn silences(&mut self, now: Instant) -> Silences {
        for port in &self.list {
            port.look_ahead(|frame| self.heard.note(sender(frame), now));
        }
        self.heard.silences(now)
    }

    /// Whether a frame is to be served. It is counted and traced.
    pub fn accept(&mut self, port: usize, frame: &[u8], registry: &mut Registry, now: Instant) -> bool {
        self.list[port].counts.received += 1;
        self.heard.note(sender(frame), now);
        if !self.flood.is_quiet() && !self.flood.take_allowance(sender(frame), now) {
            registry.stats.refused.add(Refused::Flood);
            return false;
        }
        if !self.traces.is_empty() {
            self.traces.take([frame, &[]]);
        }
        true
    }

    /// The frame that came could not be kept.
    pub fn count_lost(&mut self, port: usize) {
        self.list[port].counts.lost += 1;
    }

    /// Done with the frame of [`Ports::receive`].
    pub fn release(&mut self, port: usize) {
        if let Some(socket) = &mut self.list[port].socket {
            socket.release();
        }
    }

    /// The port whose next frame came before those of all others. All are compared for each frame: a host that sends by another
    /// interface after an answer has sent what is newer.
    fn oldest(&mut self) -> Option<usize> {
        let mut first = None;
        for (at, port) in self.list.iter().enumerate() {
            let Some(arrived) = port.socket.as_ref().and_then(S::arrived) else { continue };
            if arrived > self.clock {
                self.clock = clock();
            }
            // A frame from the future came before the clock was set back. It goes first, or it would wait until then.
            let next = (arrived <= self.clock, arrived, at);
            if first.is_none_or(|first| next < first) {
                first = Some(next);
            }
        }
        first.map(|(.., at)| at)
    }

    /// Many frames wait at a port: counts them by sender, and finds those with more than they may have.
    fn find_flood(&mut self, port: usize, registry: &Registry, now: Instant) {
        let port = &self.list[port];
        let buffers = usize::from(buffer_count(port.ring_frames(), registry.len()));
        let mut allowances = Allowances::default();
        for access in registry.iter().map(|volume| &volume.saved.definition.access) {
            allowances.anyone += if access.anyone { buffers } else { 0 };
            for mac in access.macs.iter().filter(|_| !access.anyone) {
                *allowances.named.entry(*mac).or_default() += buffers;
            }
        }
        let mut senders = Vec::new();
        port.look_ahead(|frame| senders.push(sender(frame)));
        for host in self.flood.count(senders.into_iter(), allowances, now) {
            if self.warnings.take(now) {
                let host = host.map_or_else(|| "hosts that may use no volume".into(), |host| host.to_string());
                log!(Warn, "more frames than the buffer counts allow; some are passed over", interface = port.name, host = host);
            }
        }
    }

    /// Answers that wait at a port.
    pub fn queued(&self, port: usize) -> usize {
        self.list[port].queued()
    }

    /// Sends what waits.
    pub fn flush(&mut self, slots: &mut Slots) {
        for port in &mut self.list {
            if port.queued() > 0 {
                port.flush(|slot| slots.free(slot));
            }
        }
    }

    /// What poll(2) found at the descriptors of [`Port::fd`] and [`Port::blocked_fd`] of each port.
    pub fn polled(&mut self, found: &[libc::pollfd], slots: &mut Slots) {
        for (port, fds) in self.list.iter_mut().zip(found.chunks_exact(2)) {
            if fds[0].revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0
                && let Some(socket) = &port.socket
            {
                socket.clear_error();
            }
            if fds[1].revents != 0 {
                port.flush(|slot| slots.free(slot));
            }
        }
    }

    /// Queues a frame; it comes back when it cannot be sent.
    pub fn send(&mut self, port: usize, frame: Outgoing) -> Result<(), Outgoing> {
        if !self.traces.is_empty() && self.list[port].has_room() {
            self.traces.take(frame.parts());
        }
        self.list[port].send(frame)
    }

    /// Queues a frame for the port with this key, if it is still served.
    pub fn send_by_key(&mut self, key: u32, frame: Outgoing) {
        if let Some(port) = self.position(key) {
            let _ = self.send(port, frame);
        }
    }

    #[cfg(test)]
    pub fn add_unserved(&mut self, name: &str, key: u32) {
        self.list.push(Port::new(name.into(), key));
    }
}

fn describe<S: Socket>(port: &Port<S>) -> InterfaceState {
    InterfaceState { name: port.name.clone(), mac: port.mac(), mtu: port.mtu(), serving: port.socket.is_some(), error: port.error.clone() }
}

/// Time of the wall clock since 1970, by which the kernel says when a frame came.
fn clock() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// Source of a frame, which is at least an Ethernet header.
fn sender(frame: &[u8]) -> Mac {
    if frame.len() < 2 * Mac::LENGTH { Mac::default() } else { Mac::at(frame, Mac::LENGTH) }
}
