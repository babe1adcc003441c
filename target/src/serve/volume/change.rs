//! Changes of volumes. Each volume has one at a time: it is saved, then active, then answered.

use std::io;

use super::Volume;
use super::drain::{Drain, End};
use super::life::{Saving, Step};
use super::lists::{ListCommand, Outcome, with_access};
use crate::definition::{Access, Definition};
use crate::log;
use crate::net::socket::Socket;
use crate::serve::command::Reply;
use crate::serve::error::Error;
use crate::serve::event::VolumeState;
use crate::serve::observe::stats::Refused;
use crate::serve::server::Server;
use crate::store::Saved;
use crate::wire::Mac;
use crate::worker::{Done, Task};

/// Changes by frames that may wait for one under way, and answers to such frames that may wait for requests. More are dropped;
/// the initiator sends its frame again.
pub const MAX_WAITING: usize = 64;

pub enum Change {
    /// By a frame that came by the port with this key.
    List {
        port: u32,
        command: Box<ListCommand>,
    },
    Export {
        definition: Box<Definition>,
        reply: Reply<VolumeState>,
    },
    Unexport {
        reply: Reply<()>,
    },
    SetAccess {
        access: Access,
        reply: Reply<VolumeState>,
    },
    ReplaceConfigString {
        expected: Vec<u8>,
        replacement: Vec<u8>,
        reply: Reply<VolumeState>,
    },
}

/// What to do when a change is active.
pub enum Then {
    /// Answer a frame that came by the port with this key.
    Answer {
        port: u32,
        command: Box<ListCommand>,
    },
    Reply(Reply<VolumeState>),
    /// As [`Then::Reply`]. The export whose disk is being opened, and those among the first so many changes that wait, do not undo
    /// the change of access: it came later.
    Overtake {
        waiting: usize,
        reply: Reply<VolumeState>,
    },
}

impl Change {
    /// There is no such volume.
    pub fn refuse(self, uid: String) {
        match self {
            Change::SetAccess { reply, .. } | Change::ReplaceConfigString { reply, .. } | Change::Export { reply, .. } => {
                let _ = reply.send(Err(Error::NoSuchVolume(uid)));
            }
            Change::Unexport { reply } => drop(reply.send(Ok(()))),
            Change::List { .. } => {}
        }
    }
}

impl Volume {
    /// Takes the next change that may begin, and says how many that came before it still wait. Exports wait while a disk is being opened, and
    /// while a disk swap is pending: until the old disk has drained there is no present disk to compare with. A disk that hangs may never
    /// open or drain: changes of access and of the lock overtake exports, and removals, too: those whom they admit are told of the
    /// volume, and have it until it is gone. A removal overtakes nothing.
    fn due_change(&mut self) -> Option<(usize, Change)> {
        let (idle, swapping) = (self.state.is_idle(), self.state.is_swapping());
        let is_due = |(at, change): (usize, &Change)| match change {
            Change::Export { .. } => idle && !swapping,
            Change::Unexport { .. } => idle && at == 0,
            Change::List { .. } | Change::SetAccess { .. } | Change::ReplaceConfigString { .. } => true,
        };
        let at = self.changes.iter().enumerate().position(is_due)?;
        Some((at, self.changes.remove(at)?))
    }

    /// A change of access is saved: the exports that it has overtaken do not undo it.
    fn overtake(&mut self, waiting: usize) {
        let access = &self.saved.definition.access;
        self.state.overtake(access);
        for overtaken in self.changes.iter_mut().take(waiting) {
            if let Change::Export { definition, .. } = overtaken {
                definition.access = access.clone();
            }
        }
    }
}

impl<S: Socket> Server<S> {
    /// Does a change now, or when those before it have ended.
    pub(in crate::serve) fn change(&mut self, id: u32, change: Change) {
        self.registry.volume_mut(id).changes.push_back(change);
        self.next_change(id);
    }

    pub(super) fn next_change(&mut self, id: u32) {
        while !self.save_opened(id) {
            let Some(volume) = self.registry.get_mut(id).filter(|volume| volume.state.may_save()) else { return };
            let Some((before, change)) = volume.due_change() else { return };
            match change {
                Change::List { port, command } => {
                    if let Some(port) = self.ports.position(port) {
                        self.take_list_command(id, port, *command);
                    }
                }
                Change::Export { definition, reply } => self.export_again(id, definition, reply),
                Change::Unexport { reply } => self.unexport(id, reply),
                Change::SetAccess { access, reply } => {
                    let next = with_access(&volume.saved, access);
                    self.save(id, Saving { next: Box::new(next), disk: None, then: Then::Overtake { waiting: before, reply } });
                }
                Change::ReplaceConfigString { expected, replacement, reply } => {
                    if volume.saved.config != expected {
                        let present = String::from_utf8_lossy(&volume.saved.config).into_owned();
                        let _ = reply.send(Err(Error::OtherConfigString(present)));
                        continue;
                    }
                    let next = Saved { config: replacement, ..volume.saved.clone() };
                    self.save(id, Saving { next: Box::new(next), disk: None, then: Then::Reply(reply) });
                }
            }
        }
    }

    /// Commands 1 to 3. One that changes the volume waits for the change under way, and is answered when it is on disk.
    pub(in crate::serve) fn take_list_command(&mut self, id: u32, port: usize, command: ListCommand) {
        let volume = self.registry.volume(id);
        let admitted = volume.admits(command.header.source);
        match command.decide(&volume.saved, admitted) {
            Outcome::Silence => {}
            Outcome::Answer => self.answer_when_safe(id, port, &command), // the same frame, sent before, may have changed a list
            Outcome::MaskError(error) => {
                self.registry.stats.volume(id).refused.add(Refused::BadArgument);
                self.ports.answer_list(port, &self.registry, id, &command, None, error);
            }
            Outcome::Refuse(failure) => {
                self.registry.stats.volume(id).refused.add(Refused::of(failure, admitted));
                self.ports.answer_list(port, &self.registry, id, &command, Some(failure), 0);
            }
            Outcome::Change(next) => {
                let (port, command) = (self.ports.key(port), Box::new(command));
                let volume = self.registry.volume_mut(id);
                if volume.state.may_save() {
                    self.save(id, Saving { next, disk: None, then: Then::Answer { port, command } });
                } else if volume.changes.iter().filter(|change| matches!(change, Change::List { .. })).count() < MAX_WAITING {
                    volume.changes.push_back(Change::List { port, command });
                } else {
                    self.registry.stats.volume(id).refused.add(Refused::TooManyChanges);
                }
            }
        }
    }

    fn save(&mut self, id: u32, saving: Saving) {
        if self.registry.volume_mut(id).state.begin(Step::Saving(saving)) {
            self.submit_save(id);
        }
    }

    /// Puts on disk what the volume is saving; then it becomes active. Hosts that lose access lose it now.
    pub(super) fn submit_save(&mut self, id: u32) {
        self.data.drop_forbidden(&mut self.registry, &mut self.ports, id);
        let volume = self.registry.volume(id);
        let Some(saving) = volume.state.saving() else { return };
        if *saving.next == volume.saved && volume.state.is_exported() && !volume.is_unsure {
            self.commit(id);
        } else {
            self.worker.submit(Task::Save { volume: id, saved: saving.next.clone() });
        }
    }

    fn saved(&mut self, id: u32, result: io::Result<()>) {
        let volume = self.registry.volume_mut(id);
        volume.is_unsure = result.is_err();
        let Err(error) = result else { return self.commit(id) };
        log!(Error, "state not saved", uid = volume.uid(), error = error);
        let told = volume.audience();
        // A frame whose change could not be saved stays unanswered, and is sent again.
        if let Some(Then::Reply(reply) | Then::Overtake { reply, .. }) = volume.state.not_saved() {
            let _ = reply.send(Err(Error::NotSaved(error)));
        }
        // Those who were to lose access were told of nothing meanwhile.
        let missed: Vec<Mac> = volume.audience().into_iter().filter(|mac| !told.contains(mac)).collect();
        self.ports.announce(&self.registry, id, &missed);
        self.next_change_or_forget(id);
    }

    /// A change has failed: a volume that was never exported is forgotten.
    pub(super) fn next_change_or_forget(&mut self, id: u32) {
        if self.registry.volume(id).state.is_exported() { self.next_change(id) } else { drop(self.forget(id)) }
    }

    fn commit(&mut self, id: u32) {
        let volume = self.registry.volume_mut(id);
        let sectors = volume.sectors();
        let Some(committed) = volume.state.saved(volume.order.is_empty()) else { return };
        let swapping = volume.state.is_swapping();
        let before = std::mem::replace(&mut volume.saved, *committed.next).definition;
        let (before, limits) = (before.access, before.limits);
        let for_all = committed.fresh || volume.sectors() != sectors;
        let new: Vec<Mac> = volume.audience().into_iter().filter(|mac| for_all || !before.allows(*mac)).collect();
        self.data.drop_forbidden(&mut self.registry, &mut self.ports, id);
        self.ports.announce(&self.registry, id, &new);
        if self.registry.volume(id).saved.definition.limits != limits {
            self.data.limits_changed(&mut self.registry, &mut self.ports, id);
        }
        match committed.then {
            Some(Then::Answer { port, command }) => {
                if let Some(port) = self.ports.position(port) {
                    self.answer_when_safe(id, port, &command);
                }
            }
            Some(Then::Reply(reply)) => self.registry.volume_mut(id).drains.push(Drain(End::State(reply))),
            Some(Then::Overtake { waiting, reply }) => {
                let volume = self.registry.volume_mut(id);
                volume.overtake(waiting);
                volume.drains.push(Drain(End::State(reply)));
            }
            None => {}
        }
        self.registry.emit_changed(id);
        if swapping {
            self.end_hold(id); // the writes that wait for it keep the old disk in use
        }
        self.check_drains(id);
        self.next_change(id);
    }

    /// The worker has done something.
    pub(in crate::serve) fn done(&mut self, done: Done) {
        match done {
            Done::Opened { volume, result } => self.opened(volume, result),
            Done::Saved { volume, result } => self.saved(volume, result),
            Done::Removed { volume, result } => self.removed(volume, result),
            Done::Interfaces { result } => self.interfaces_saved(result),
        }
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
