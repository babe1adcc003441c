//! Answers to requests of volumes with limits: kept back until they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::DataPath;
use super::slots::Request;
use crate::definition::Limits;
use crate::net::socket::Socket;
use crate::serve::limit::{Pacer, Path, path};
use crate::serve::ports::Ports;
use crate::serve::volume::registry::Registry;

/// Answers that wait, by the time at which they leave. Each has the slot of its request.
#[derive(Default)]
pub struct Paced(BinaryHeap<Reverse<(Instant, u32)>>);

impl Paced {
    fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    fn push(&mut self, at: Instant, slot: u32) {
        self.0.push(Reverse((at, slot)));
    }

    fn pop(&mut self, now: Instant) -> Option<u32> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse((_, slot))| slot)
    }

    /// Takes those out for which `take` is true.
    fn take(&mut self, mut take: impl FnMut(u32) -> bool) -> Vec<u32> {
        let mut taken = Vec::new();
        self.0.retain(|Reverse((_, slot))| {
            let taking = take(*slot);
            if taking {
                taken.push(*slot);
            }
            !taking
        });
        taken
    }
}

impl DataPath {
    /// Charges a request for data to a volume with limits. False when it is dropped, because it would be answered too late.
    pub(super) fn pace<S: Socket>(&mut self, registry: &mut Registry, ports: &mut Ports<S>, slot: u32, repeated: bool) -> bool {
        let request = *self.slots.get(slot);
        let (id, volumes) = (request.volume, registry.len());
        let Some(pacer) = &mut registry.volume_mut(id).pacer else { return true };
        if pacer.has_no_limits() {
            self.tell_of_no_limits(registry, ports, id, path(&request));
            return true;
        }
        if let Some(port) = ports.position(request.port) {
            let window = pacer.window(ports.buffers(port, volumes), ports.sectors(port));
            // Only a host with a request under way is told: others would get a disk back that they have removed.
            if pacer.must_tell(&request, window, self.now) {
                ports.announce_at(port, registry, id, &[request.header.source]);
            }
        }
        let due = registry.volume_mut(id).pacer.as_mut().and_then(|pacer| pacer.admit(&request, repeated, self.now));
        if due.is_none() {
            self.slots.free(slot);
            registry.stats.initiator(id, request.header.source, self.now).dropped += 1;
            return false;
        }
        self.slots.set_due(slot, due);
        true
    }

    /// Keeps the answer to a request back that was done. False when it may leave now.
    pub(super) fn keep_back(&mut self, registry: &mut Registry, slot: u32, request: &Request) -> bool {
        let Some(pacer) = &mut registry.volume_mut(request.volume).pacer else { return false };
        if pacer.has_no_limits() {
            return false;
        }
        let Some(leaves) = request.due.map(|due| pacer.leaves(request, due)).filter(|at| *at > self.now) else {
            pacer.answered(request, self.now);
            return false;
        };
        pacer.wait(request, self.now);
        self.paced.push(leaves, slot);
        true
    }

    /// When the next answer that was kept back leaves.
    pub fn next_release(&self) -> Option<Instant> {
        self.paced.next()
    }

    /// Sends the answers that are due. False when none is.
    pub fn release<S: Socket>(&mut self, registry: &mut Registry, ports: &mut Ports<S>) -> bool {
        let Some(next) = self.paced.next() else { return false };
        let now = Instant::now();
        if next > now {
            return false;
        }
        self.now = now;
        while let Some(slot) = self.paced.pop(now) {
            let request = *self.slots.get(slot);
            if let Some(pacer) = &mut registry.volume_mut(request.volume).pacer {
                // The host may have become more patient since.
                if let Some(later) = request.due.map(|due| pacer.leaves(&request, due)).filter(|at| *at > now) {
                    self.paced.push(later, slot);
                    continue;
                }
                pacer.answered(&request, now);
                let waited = pacer.waited(&request, now);
                registry.stats.initiator(request.volume, request.header.source, now).throttled += waited;
            }
            self.end_slot(registry, ports, slot, &request, None);
        }
        true
    }

    /// What waits for hosts that are no longer admitted is answered at once: it was done before.
    pub(super) fn hasten(&mut self, registry: &Registry, id: u32) {
        if self.paced.next().is_some()
            && let Some(volume) = registry.get(id)
        {
            self.hasten_those(|request| request.volume == id && volume.forbids(request));
        }
    }

    pub fn hasten_all(&mut self) {
        self.hasten_those(|_| true);
    }

    fn hasten_those(&mut self, these: impl Fn(&Request) -> bool) {
        let now = Instant::now();
        for slot in self.paced.take(|slot| these(self.slots.get(slot))) {
            self.slots.set_due(slot, None);
            self.paced.push(now, slot);
        }
    }

    /// A volume is gone: nobody is answered any more.
    pub fn drop_paced(&mut self, id: u32) {
        for slot in self.paced.take(|slot| self.slots.get(slot).volume == id) {
            self.slots.free(slot);
        }
    }

    /// A host of a volume whose limits were taken away has a request under way: it is told its window, once.
    fn tell_of_no_limits<S: Socket>(&self, registry: &mut Registry, ports: &mut Ports<S>, id: u32, path: Path) {
        let Some(pacer) = &mut registry.volume_mut(id).pacer else { return };
        let slowed = pacer.forget(path);
        if slowed && let Some(port) = ports.position(path.1) {
            ports.announce_at(port, registry, id, &[path.0]);
        }
        let pacer = &mut registry.volume_mut(id).pacer;
        pacer.take_if(|pacer| pacer.knows_nobody());
    }

    /// A volume has other limits than before. Each host is told its window: at once when answers to it wait, and otherwise with its
    /// next request.
    pub fn limits_changed<S: Socket>(&mut self, registry: &mut Registry, ports: &mut Ports<S>, id: u32) {
        let now = Instant::now();
        let volume = registry.volume_mut(id);
        match (&mut volume.pacer, volume.saved.definition.limits) {
            (Some(pacer), Some(limits)) => {
                pacer.set(limits, self.slots.with_due(id), now);
                let slots = &self.slots;
                for slot in self.paced.take(|slot| slots.get(slot).volume == id) {
                    let request = slots.get(slot);
                    self.paced.push(request.due.map_or(now, |due| pacer.leaves(request, due)), slot);
                }
            }
            (None, limits) => volume.pacer = Pacer::new(limits, now),
            (Some(pacer), None) => {
                let hosts = pacer.waiting();
                self.hasten_those(|request| request.volume == id);
                self.release(registry, ports); // while the pacer has its limits: it counts for how long they waited
                if let Some(pacer) = &mut registry.volume_mut(id).pacer {
                    pacer.set(Limits::default(), Vec::new(), now);
                }
                // Nor will those wait that the disk still has.
                for request in self.slots.with_due(id) {
                    request.due = None;
                }
                for path in hosts {
                    self.tell_of_no_limits(registry, ports, id, path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::engine::Kind;
    use crate::serve::server::Server;
    use crate::serve::testing::{A, request, saved, server};
    use crate::serve::volume::life::State;
    use std::time::Duration;

    fn set(server: &mut Server, id: u32, iops: u64) {
        let limits = Some(Limits { iops, ..Limits::default() }).filter(|limits| !limits.is_none());
        server.registry.volume_mut(id).saved.definition.limits = limits;
        server.data.limits_changed(&mut server.registry, &mut server.ports, id);
    }

    /// A volume whose limit is ten a second, and requests to it that come together, in two seconds, so that a test that is slow finds none that
    /// is due. The disk still has half of them.
    fn rig() -> (Server, u32, Vec<u32>) {
        let mut server = server();
        let id = server.registry.insert(saved("/no/such"), State::loading());
        set(&mut server, id, 10);
        let Server { registry, ports, data, .. } = &mut server;
        data.now = Instant::now() + Duration::from_secs(2);
        let taken = (0..50).map(|at| {
            let asked = Request { offset: at << 20, arrived: data.now, ..request(id, A, Kind::Write) };
            let (slot, repeated) = data.slots.insert(asked).unwrap();
            assert!(data.pace(registry, ports, slot, repeated));
            slot
        });
        let slots: Vec<u32> = taken.collect();
        // A host that waits as long as it must.
        for _ in 0..100 {
            let pacer = registry.volume_mut(id).pacer.as_mut().unwrap();
            pacer.answered(&request(id, A, Kind::Write), data.now + Duration::from_secs(20));
        }
        for slot in &slots[25..] {
            let request = *data.slots.get(*slot);
            assert!(data.keep_back(registry, *slot, &request));
        }
        (server, id, slots)
    }

    #[test]
    fn answers_that_wait_when_limits_are_raised_leave_as_the_new_ones_allow() {
        let (mut server, id, slots) = rig();
        let first = server.data.slots.get(slots[0]).due.unwrap();
        let times = |server: &Server| {
            let due = [0, 49].map(|at| server.data.slots.get(slots[at]).due.unwrap());
            due.into_iter().chain(server.data.next_release()).map(|at| (at - first).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(times(&server), [0, 4800, 2400]);
        set(&mut server, id, 1000);
        assert_eq!(times(&server), [0, 49, 25], "and what was saved up is gone");
    }

    #[test]
    fn what_the_disk_has_when_limits_are_taken_away_does_not_wait_under_later_ones() {
        let (mut server, id, slots) = rig();
        server.ports.add_unserved("none0", 0);
        set(&mut server, id, 0);
        set(&mut server, id, 10);
        let request = *server.data.slots.get(slots[20]);
        assert!(request.due.is_none(), "it would be kept back");
        assert!(server.data.next_release().is_none());
    }
}
