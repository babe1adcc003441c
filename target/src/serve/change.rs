//! Changes of volumes. Each volume has one at a time: it is saved, then in force, then answered.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tonic::Status as RpcStatus;

use super::slots::Request;
use super::volume::{Status, Volume};
use super::{Event, RETRY, Server};
use crate::definition::{Access, Definition};
use crate::disk::Disk;
use crate::disk::engine::Kind;
use crate::disk::open::{OpenError, Opened};
use crate::log;
use crate::net::socket::Socket;
use crate::proto::VolumeState;
use crate::store::Saved;
use crate::wire::Mac;
use crate::worker::{Done, Task};

pub type Reply<T> = oneshot::Sender<Result<T, RpcStatus>>;

pub enum Change {
    Frame { port: u32, bytes: Vec<u8> },
    Export { definition: Box<Definition>, reply: Reply<VolumeState> },
    Unexport { reply: Reply<()> },
    SetAccess { access: Access, reply: Reply<VolumeState> },
    Replace { expected: Vec<u8>, replacement: Vec<u8>, reply: Reply<VolumeState> },
}

/// What a volume waits for.
pub enum Step {
    Idle,
    /// Its disk is being opened after a start, or again.
    Loading,
    /// The disk of an export is being opened.
    Opening {
        definition: Box<Definition>,
        reply: Reply<VolumeState>,
    },
    Saving {
        next: Box<Saved>,
        disk: Option<Arc<Disk>>,
        then: Then,
    },
    Leaving {
        reply: Reply<()>,
    },
}

/// What to do when a change is in force.
pub enum Then {
    Answer { port: u32, bytes: Vec<u8> },
    Reply(Reply<VolumeState>),
}

/// A reply that waits for requests to end.
pub struct Drain {
    /// All requests, not only those that are forbidden now.
    all: bool,
    /// Becomes the volume's disk then.
    disk: Option<Arc<Disk>>,
    end: End,
}

enum End {
    State(Reply<VolumeState>),
    Removed(Reply<()>),
}

impl Drain {
    /// Answers a removal when all requests have ended.
    pub(super) fn removal(reply: Reply<()>) -> Drain {
        Drain { all: true, disk: None, end: End::Removed(reply) }
    }
}

impl Volume {
    /// Whether a request would not be taken now.
    pub(super) fn forbids(&self, request: &Request) -> bool {
        self.status == Status::Reserved
            || !self.allows(request.header.source)
            || (self.saved.definition.read_only && request.kind == Kind::Write)
    }
}

impl<S: Socket> Server<S> {
    /// Does a change now, or when those before it have ended.
    pub(super) fn change(&mut self, id: u32, change: Change) {
        self.volume(id).changes.push_back(change);
        self.next_change(id);
    }

    fn next_change(&mut self, id: u32) {
        while let Some(Some(volume)) = self.volumes.get_mut(id as usize) {
            if !matches!(volume.step, Step::Idle) {
                return;
            }
            let Some(change) = volume.changes.pop_front() else { return };
            match change {
                Change::Frame { port, bytes } => {
                    if let Some(port) = self.ports.iter().position(|other| other.key == port) {
                        self.take_change(id, port, &bytes);
                    }
                }
                Change::Export { definition, reply } => self.export_again(id, definition, reply),
                Change::Unexport { reply } => self.unexport(id, reply),
                Change::SetAccess { access, reply } => {
                    let next = with_access(&volume.saved, access);
                    self.save(id, Box::new(next), None, Then::Reply(reply));
                }
                Change::Replace { expected, replacement, reply } => {
                    if volume.saved.config != expected {
                        let present = String::from_utf8_lossy(&volume.saved.config).into_owned();
                        let _ = reply.send(Err(RpcStatus::failed_precondition(format!("the config string is {present:?}"))));
                        continue;
                    }
                    let next = Saved { config: replacement, ..volume.saved.clone() };
                    self.save(id, Box::new(next), None, Then::Reply(reply));
                }
            }
        }
    }

    /// Puts a change on disk, then in force. Who loses access loses it now.
    pub(super) fn save(&mut self, id: u32, next: Box<Saved>, disk: Option<Arc<Disk>>, then: Then) {
        let volume = self.volume(id);
        volume.gate = Some(next.definition.access.clone());
        let unchanged = *next == volume.saved && volume.status != Status::Reserved;
        let task = Task::Save { volume: id, saved: next.clone() };
        volume.step = Step::Saving { next, disk, then };
        self.drop_forbidden(id);
        if unchanged {
            self.commit(id);
        } else {
            self.worker.submit(task);
        }
    }

    fn saved(&mut self, id: u32, result: io::Result<()>) {
        let Err(error) = result else { return self.commit(id) };
        let volume = self.volume(id);
        log!(Error, "state not saved", uid = volume.uid(), error = error);
        volume.gate = None;
        let fresh = volume.status == Status::Reserved;
        if let Step::Saving { then: Then::Reply(reply), .. } = std::mem::replace(&mut volume.step, Step::Idle) {
            let _ = reply.send(Err(RpcStatus::internal(format!("the state directory cannot be written: {error}"))));
        }
        // No answer to a frame whose change could not be saved: it is sent again.
        if fresh {
            return self.forget(id);
        }
        self.next_change(id);
    }

    fn commit(&mut self, id: u32) {
        let volume = self.volume(id);
        let Step::Saving { next, disk, then } = std::mem::replace(&mut volume.step, Step::Idle) else { return };
        let before = std::mem::replace(&mut volume.saved, *next);
        volume.gate = None;
        let mut fresh = false;
        let mut swap = None;
        if let Some(disk) = disk {
            fresh = volume.status != Status::Serving;
            if volume.order.is_empty() {
                volume.disk = Some(disk);
            } else {
                volume.paused = true;
                swap = Some(disk);
            }
            volume.status = Status::Serving;
            volume.error = String::new();
        }
        self.drop_forbidden(id);
        let to = self.audience(id);
        let access = before.definition.access;
        let new: Vec<Mac> = to.into_iter().filter(|mac| fresh || !access.allows(*mac)).collect();
        for port in 0..self.ports.len() {
            self.announce(id, port, &new);
        }
        match then {
            Then::Answer { port, bytes } => {
                if let Some(port) = self.ports.iter().position(|other| other.key == port) {
                    self.answer(id, port, &bytes, None, 0);
                }
            }
            Then::Reply(reply) => self.volume(id).drains.push(Drain { all: swap.is_some(), disk: swap, end: End::State(reply) }),
        }
        self.changed(id);
        self.check_drains(id);
        self.next_change(id);
    }

    /// Ends the drains whose requests have ended.
    pub(super) fn check_drains(&mut self, id: u32) {
        let (volumes, slots) = (&mut self.volumes, &self.slots);
        let Some(volume) = volumes[id as usize].as_mut() else { return };
        let quiet = volume.order.is_empty();
        let safe = quiet || !volume.order.under_way().any(|slot| volume.forbids(slots.get(slot)));
        let mut removed = None;
        let mut swapped = false;
        for drain in std::mem::take(&mut volume.drains) {
            if !(if drain.all { quiet } else { safe }) {
                volume.drains.push(drain);
                continue;
            }
            if let Some(disk) = drain.disk {
                volume.disk = Some(disk);
                volume.paused = false;
                swapped = true;
            }
            match drain.end {
                End::State(reply) => drop(reply.send(Ok(volume.state()))),
                End::Removed(reply) => removed = Some(reply),
            }
        }
        if swapped {
            self.changed(id);
        }
        if let Some(reply) = removed {
            let uid = self.volume(id).uid().to_owned();
            self.forget(id);
            self.tell(&Event::Removed(uid));
            let _ = reply.send(Ok(()));
        }
    }

    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Opened { volume, result } => self.opened(volume, result),
            Done::Saved { volume, result } => self.saved(volume, result),
            Done::Removed { volume, result } => self.removed(volume, result),
            Done::Interfaces { result } => self.interfaces_saved(result),
        }
    }

    fn opened(&mut self, id: u32, result: Result<Opened, OpenError>) {
        let volume = self.volume(id);
        match std::mem::replace(&mut volume.step, Step::Idle) {
            Step::Loading => {
                match result {
                    Ok(Opened::New(disk)) => {
                        log!(Info, "volume served", uid = volume.uid(), address = volume.address(), disk = format!("{:?}", disk.mode()));
                        volume.disk = Some(disk);
                        volume.status = Status::Serving;
                        volume.error = String::new();
                        self.announce_everywhere(id);
                        self.changed(id);
                    }
                    Ok(Opened::Same) => {}
                    Err(error) => self.fail(id, error.to_string()),
                }
                self.next_change(id);
            }
            Step::Opening { definition, reply } => {
                let disk = match result {
                    Ok(Opened::New(disk)) => Some(disk),
                    Ok(Opened::Same) => None,
                    Err(error) => {
                        let _ = reply.send(Err(match error {
                            OpenError::Missing(text) => RpcStatus::not_found(text),
                            OpenError::Unfit(text) => RpcStatus::failed_precondition(text),
                        }));
                        if volume.status == Status::Reserved {
                            return self.forget(id);
                        }
                        return self.next_change(id);
                    }
                };
                let access = definition.access.clone();
                let saved = Saved { definition: *definition, ..volume.saved.clone() };
                log!(Info, "volume exported", uid = saved.definition.uid, address = saved.definition.address);
                self.save(id, Box::new(with_access(&saved, access)), disk, Then::Reply(reply));
            }
            step => volume.step = step,
        }
    }

    /// The volume cannot be served now; it is tried again.
    pub(super) fn fail(&mut self, id: u32, error: String) {
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
        let volume = self.volume(id);
        volume.disk = None;
        let before = std::mem::replace(&mut volume.error, error);
        let known = volume.status == Status::Failed && before == volume.error;
        volume.status = Status::Failed;
        if !known {
            log!(Error, "volume not served", uid = volume.uid(), address = volume.address(), error = volume.error);
            self.changed(id);
        }
    }
}

/// The volume with other initiators: nobody else stays on its lists, where they would shut the new ones out.
fn with_access(saved: &Saved, access: Access) -> Saved {
    let keep = |macs: &[Mac]| macs.iter().copied().filter(|mac| access.allows(*mac)).collect();
    let (mask, reserve) = (keep(&saved.mask), keep(&saved.reserve));
    Saved { definition: Definition { access, ..saved.definition.clone() }, mask, reserve, ..saved.clone() }
}
