//! Volumes come and go.

use std::io;

use super::life::{Life, Opening, State, Step};
use super::lists::with_access;
use crate::definition::Definition;
use crate::disk::open::{OpenError, Opened};
use crate::log;
use crate::net::socket::Socket;
use crate::serve::command::{Command, Reply};
use crate::serve::error::Error;
use crate::serve::event::{Event, VolumeState};
use crate::serve::server::Server;
use crate::serve::volume::change::Change;
use crate::store::{Loaded, Saved};
use crate::worker::Task;

impl<S: Socket> Server<S> {
    /// Serves what an earlier process has saved.
    pub fn restore(&mut self, loaded: Loaded) {
        for (path, problem) in &loaded.problems {
            log!(Error, "state file passed over", path = path.display(), error = problem);
        }
        for saved in loaded.volumes {
            let Definition { uid, address, .. } = &saved.definition;
            if self.registry.find(uid).is_some() || self.registry.at(*address).is_some() {
                log!(Error, "volume passed over: another one has its address", uid = uid, address = address);
                continue;
            }
            let id = self.registry.insert(saved, State::loading());
            self.submit_open(id, None);
        }
        self.set_ports(&loaded.interfaces);
    }

    /// Opens the disk of a failed volume again, unless a change is under way.
    pub(in crate::serve) fn reopen(&mut self, id: u32) {
        if self.registry.volume_mut(id).state.reopen() {
            self.submit_open(id, None);
        }
    }

    pub(in crate::serve) fn export(&mut self, definition: Box<Definition>, reply: Reply<VolumeState>) {
        if let Some(id) = self.registry.find(&definition.uid) {
            return self.change(id, Change::Export { definition, reply });
        }
        if let Some(other) = self.registry.at(definition.address) {
            let uid = self.registry.volume(other).uid().to_owned();
            return drop(reply.send(Err(Error::AddressTaken { uid, address: definition.address })));
        }
        let limits = definition.limits.filter(|limits| !limits.is_none());
        let saved = Saved::new(Definition { limits, ..(*definition).clone() });
        let definition = Box::new(saved.definition.clone());
        let id = self.registry.insert(saved, State::exporting(definition.clone(), reply));
        self.submit_open(id, Some(&definition));
    }

    /// An export of a volume that exists.
    pub(super) fn export_again(&mut self, id: u32, mut definition: Box<Definition>, reply: Reply<VolumeState>) {
        let volume = self.registry.volume(id);
        let present = &volume.saved.definition;
        let uid = present.uid.clone();
        let sectors = present.sectors.max(volume.sectors());
        if definition.sectors == 0 {
            definition.sectors = present.sectors;
        }
        definition.limits = definition.limits.or(present.limits).filter(|limits| !limits.is_none());
        let problem = if definition.address != present.address {
            Error::OtherAddress { uid, address: present.address }
        } else if definition.serial != present.serial {
            Error::OtherSerial { uid, serial: present.serial.clone() }
        } else if definition.sectors != 0 && definition.sectors < sectors {
            Error::Smaller { uid, present: sectors, sectors: definition.sectors }
        } else {
            let opening = Opening::Export { definition: definition.clone(), reply };
            if self.registry.volume_mut(id).state.open(opening) {
                self.submit_open(id, Some(&definition));
            }
            return;
        };
        let _ = reply.send(Err(problem));
    }

    /// Opens the disk of a definition, or of the present one.
    fn submit_open(&mut self, id: u32, definition: Option<&Definition>) {
        let volume = self.registry.volume(id);
        let Definition { path, read_only, sectors, .. } = definition.unwrap_or(&volume.saved.definition);
        let current = volume.state.disk().cloned();
        self.worker.submit(Task::Open { volume: id, path: path.clone(), read_only: *read_only, needed: *sectors, current });
    }

    pub(super) fn opened(&mut self, id: u32, result: Result<Opened, OpenError>) {
        if matches!(self.registry.volume(id).state.opening(), Opening::Own) {
            return self.reopened(id, result);
        }
        let volume = self.registry.volume_mut(id);
        let disk = match result {
            Ok(Opened::New(disk)) => Some(disk),
            Ok(Opened::Same) => None,
            Err(error) => {
                let Some(reply) = volume.state.not_opened() else { return };
                let _ = reply.send(Err(error.into()));
                return self.next_change_or_forget(id);
            }
        };
        if volume.state.opened(disk) {
            self.save_opened(id);
        }
    }

    /// Saves an export whose disk is open. False when there is none, or another change is being saved.
    pub(super) fn save_opened(&mut self, id: u32) -> bool {
        let Some(volume) = self.registry.get_mut(id) else { return false };
        let saved = &volume.saved;
        let begun = volume.state.save_opened(|definition| {
            log!(Info, "volume exported", uid = definition.uid, address = definition.address);
            let access = definition.access.clone();
            Box::new(with_access(&Saved { definition, ..saved.clone() }, access))
        });
        if begun {
            self.submit_save(id);
        }
        begun
    }

    fn reopened(&mut self, id: u32, result: Result<Opened, OpenError>) {
        let volume = self.registry.volume_mut(id);
        match result {
            Ok(Opened::New(disk)) => {
                log!(Info, "volume served", uid = volume.uid(), address = volume.address(), disk = format!("{:?}", disk.mode()));
                volume.order.widen(disk.grain_sectors());
                volume.state.reopened(Ok(disk));
                let audience = volume.audience();
                self.ports.announce(&self.registry, id, &audience);
                self.registry.emit_changed(id);
            }
            Ok(Opened::Same) => unreachable!("a volume without a disk has no other to compare with"),
            Err(error) => {
                let error = error.to_string();
                let known = matches!(volume.state.life(), Life::Failed { error: before } if *before == error);
                volume.state.reopened(Err(error.clone()));
                self.registry.retry.later();
                if !known {
                    self.registry.failed(id, &error);
                }
            }
        }
        self.next_change(id);
    }

    pub(super) fn unexport(&mut self, id: u32, reply: Reply<()>) {
        let volume = self.registry.volume_mut(id);
        if volume.state.begin(Step::Removing { reply }) {
            let uid = volume.uid().to_owned();
            self.worker.submit(Task::Remove { volume: id, uid });
        }
    }

    pub(super) fn removed(&mut self, id: u32, result: io::Result<()>) {
        let volume = self.registry.volume_mut(id);
        if let Err(error) = result {
            let Some(reply) = volume.state.not_removed() else { return };
            let _ = reply.send(Err(Error::NotSaved(error)));
            return self.next_change(id);
        }
        let uid = volume.uid().to_owned();
        if volume.state.removed(&uid) {
            log!(Info, "volume unexported", uid = uid, address = volume.address());
            self.data.drop_forbidden(&mut self.registry, &mut self.ports, id);
            self.end_hold(id);
            self.check_drains(id);
        }
    }

    /// Takes a volume out of the registry. The changes that waited for it begin again without it. Gives the reply to its
    /// removal, if it was removed.
    pub(super) fn forget(&mut self, id: u32) -> Option<Reply<()>> {
        self.data.drop_paced(id);
        let volume = self.registry.remove(id)?;
        let uid = volume.uid().to_owned();
        let reply = volume.state.into_removal();
        if reply.is_some() {
            self.registry.watchers.emit(&Event::Removed(uid.clone()));
        }
        for change in volume.changes {
            let uid = uid.clone();
            match change {
                Change::List { .. } => {}
                Change::Export { definition, reply } => self.command(Command::Export { definition, reply }),
                Change::Unexport { reply } => self.command(Command::Unexport { uid, reply }),
                change => self.command(Command::Change { uid, change }),
            }
        }
        reply
    }
}
