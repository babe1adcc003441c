//! A volume that is held still, so that a snapshot of its disk has every write that was answered before, and no other.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::life::Life;
use crate::disk::Disk;
use crate::log;
use crate::net::socket::Socket;
use crate::serve::command::Reply;
use crate::serve::error::Error;
use crate::serve::server::Server;

/// While a volume has one, no write to it begins.
pub struct Hold {
    number: u64,
    /// The disk that the volume had when the hold began. When its device is gone it is closed, so that it can be opened again.
    disk: Weak<Disk>,
    limit: Duration,
    /// Where the number goes when no write is under way; none when it has gone there.
    reply: Option<Reply<u64>>,
}

/// When the holds of all volumes end, and their numbers.
pub struct Holds {
    last: u64,
    ends: HashMap<u32, Instant>,
}

impl Default for Holds {
    /// Numbers begin anywhere below 2^52: a hold of an earlier process is not taken for one of this process.
    fn default() -> Holds {
        Holds { last: RandomState::new().hash_one("hold") >> 12, ends: HashMap::new() }
    }
}

impl Holds {
    fn begin(&mut self, id: u32, end: Instant) -> u64 {
        self.ends.insert(id, end);
        self.last += 1;
        self.last
    }

    pub fn ended(&mut self, id: u32) {
        self.ends.remove(&id);
    }

    pub fn next_end(&self) -> Option<Instant> {
        self.ends.values().min().copied()
    }

    fn due(&self, now: Instant) -> Vec<u32> {
        self.ends.iter().filter(|(_, end)| **end <= now).map(|(id, _)| *id).collect()
    }
}

impl<S: Socket> Server<S> {
    pub(in crate::serve) fn hold(&mut self, id: u32, limit: Duration, reply: Reply<u64>) {
        let volume = self.registry.volume(id);
        let uid = volume.uid().to_owned();
        let problem = match (&volume.hold, volume.state.life()) {
            (Some(Hold { number, limit, .. }), _) => Error::Held { uid, number: *number, limit: *limit },
            (None, Life::Serving { disk }) => {
                let disk = Arc::downgrade(disk);
                let number = self.registry.holds.begin(id, Instant::now() + limit);
                self.data.hold(&mut self.registry, id);
                self.registry.volume_mut(id).hold = Some(Hold { number, disk, limit, reply: Some(reply) });
                return self.check_hold(id);
            }
            (None, _) => Error::NotServed(uid),
        };
        let _ = reply.send(Err(problem));
    }

    /// Answers a hold that waits until no write is under way. One that nobody waits for any more ends.
    pub(super) fn check_hold(&mut self, id: u32) {
        let Some(volume) = self.registry.get_mut(id) else { return };
        let Some(hold) = &mut volume.hold else { return };
        let Some(reply) = hold.reply.take_if(|_| volume.order.is_still()) else { return };
        if reply.send(Ok(hold.number)).is_err() {
            self.end_hold(id);
        }
    }

    /// Ends a hold. Whether there was one of this number, with the disk that the volume has now.
    pub(in crate::serve) fn release(&mut self, id: u32, number: u64) -> bool {
        let volume = self.registry.volume(id);
        let Some(hold) = volume.hold.as_ref().filter(|hold| hold.number == number && hold.reply.is_none()) else { return false };
        let same_disk = matches!(volume.state.life(), Life::Serving { disk } if std::ptr::eq(Arc::as_ptr(disk), hold.disk.as_ptr()));
        self.end_hold(id);
        same_disk
    }

    /// Ends the hold of a volume, if it has one: its writes go on. One that still waits is refused.
    pub(super) fn end_hold(&mut self, id: u32) {
        let volume = self.registry.volume_mut(id);
        let Some(hold) = volume.hold.take() else { return };
        if let Some(reply) = hold.reply {
            let _ = reply.send(Err(Error::NotStill { uid: volume.uid().to_owned(), limit: hold.limit }));
        }
        self.registry.holds.ended(id);
        self.data.resume(&mut self.registry, id);
    }

    /// Ends the holds of which the time is over.
    pub(in crate::serve) fn end_due_holds(&mut self, now: Instant) {
        for id in self.registry.holds.due(now) {
            let volume = self.registry.volume(id);
            log!(Warn, "hold ended by its limit", uid = volume.uid(), address = volume.address());
            self.end_hold(id);
        }
    }

    pub(in crate::serve) fn end_all_holds(&mut self) {
        for id in 0..self.registry.end() {
            if self.registry.get(id).is_some() {
                self.end_hold(id);
            }
        }
    }
}
