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
    /// Takes the next change that may begin. While a disk swap is pending, exports stay queued: until the old disk has
    /// drained there is no present disk to compare with, and a disk that hangs may never drain. Changes of access and of the
    /// lock overtake them; a removal does not.
    fn due_change(&mut self) -> Option<Change> {
        let is_export = |change: &Change| matches!(change, Change::Export { .. });
        let at = if self.state.is_swapping() { self.changes.iter().position(|change| !is_export(change))? } else { 0 };
        if at > 0 && matches!(self.changes[at], Change::Unexport { .. }) {
            return None;
        }
        let change = self.changes.remove(at)?;
        if let Change::SetAccess { access: newer, .. } = &change {
            for overtaken in self.changes.iter_mut().take(at) {
                if let Change::Export { definition, .. } = overtaken {
                    definition.access = newer.clone();
                }
            }
        }
        Some(change)
    }
}

impl<S: Socket> Server<S> {
    /// Does a change now, or when those before it have ended.
    pub(in crate::serve) fn change(&mut self, id: u32, change: Change) {
        self.registry.volume_mut(id).changes.push_back(change);
        self.next_change(id);
    }

    pub(super) fn next_change(&mut self, id: u32) {
        while let Some(volume) = self.registry.get_mut(id) {
            if !volume.state.is_idle() {
                return;
            }
            let Some(change) = volume.due_change() else { return };
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
                    self.save(id, Saving { next: Box::new(next), disk: None, then: Then::Reply(reply) });
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
                if volume.state.is_idle() {
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
        // A frame whose change could not be saved stays unanswered, and is sent again.
        if let Some(Then::Reply(reply)) = volume.state.not_saved() {
            let _ = reply.send(Err(Error::NotSaved(error)));
        }
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
mod tests {
    use super::*;
    use crate::disk::engine::{Completion, Kind};
    use crate::serve::data::order::{Entered, Span};
    use crate::serve::testing::{A, B, request, saved, server};
    use crate::serve::volume::life::State;
    use crate::store::Loaded;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};
    use tokio::sync::oneshot;

    struct Rig {
        server: Server,
        id: u32,
        paths: [PathBuf; 2],
    }

    impl Rig {
        /// A volume on the first of two disks.
        fn new(name: &str) -> Rig {
            let path = |at| std::env::temp_dir().join(format!("aoe-change-{name}-{}-{at}", std::process::id()));
            let paths = [path(0), path(1)];
            for path in &paths {
                std::fs::write(path, [0; 4096]).unwrap();
            }
            let mut server = server();
            let volume = saved(paths[0].to_str().unwrap());
            server.restore(Loaded { volumes: vec![volume], ..Loaded::default() });
            let id = server.registry.find("v").unwrap();
            let mut rig = Rig { server, id, paths };
            rig.until(|volume| volume.state.is_served());
            rig
        }

        fn volume(&self) -> &Volume {
            self.server.registry.volume(self.id)
        }

        fn until(&mut self, come: impl Fn(&Volume) -> bool) {
            let limit = Instant::now() + Duration::from_secs(5);
            while !come(self.volume()) {
                assert!(Instant::now() < limit, "it does not happen");
                self.server.turn(true);
            }
        }

        /// A write that is under way.
        fn write(&mut self, source: Mac) -> u32 {
            let (slot, _) = self.server.data.slots.insert(request(self.id, source, Kind::Write)).unwrap();
            let volume = self.server.registry.volume_mut(self.id);
            assert_eq!(volume.order.enter(slot, Span::new(0, 1, true, 1)), Entered::UnderWay);
            slot
        }

        /// A request has ended.
        fn complete(&mut self, slot: u32, result: io::Result<()>) {
            let Server { registry, ports, data, .. } = &mut self.server;
            data.complete(registry, ports, Completion { id: slot, result });
            self.server.check_drains(self.id);
        }

        fn export(&mut self, path: usize) -> oneshot::Receiver<Result<VolumeState, Error>> {
            let (reply, answer) = oneshot::channel();
            let definition = Box::new(saved(self.paths[path].to_str().unwrap()).definition);
            self.server.change(self.id, Change::Export { definition, reply });
            answer
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            for path in &self.paths {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    #[test]
    fn an_export_waits_until_the_disk_of_the_one_before_is_in_use() {
        let mut rig = Rig::new("back");
        let before = rig.volume().state.disk().unwrap().identity();
        let slot = rig.write(A);
        let mut away = rig.export(1);
        rig.until(|volume| volume.state.is_swapping());
        let mut back = rig.export(0);
        rig.until(|volume| volume.state.is_idle());
        assert!(away.try_recv().is_err() && back.try_recv().is_err());
        rig.complete(slot, Ok(()));
        rig.until(|volume| volume.state.is_idle() && volume.changes.is_empty());
        assert!(away.try_recv().unwrap().is_ok() && back.try_recv().unwrap().is_ok());
        let volume = rig.volume();
        assert_eq!(volume.state.disk().unwrap().identity(), before, "the disk of the definition");
        assert!(!volume.state.is_swapping());
    }

    #[test]
    fn access_changes_while_an_export_waits_and_is_not_undone_by_it() {
        let mut rig = Rig::new("access");
        let slot = rig.write(A);
        let _away = rig.export(1);
        rig.until(|volume| volume.state.is_swapping());
        let mut back = rig.export(0);
        let only = |mac| Access { macs: vec![mac], ..Access::default() };
        let (reply, mut access) = oneshot::channel();
        rig.server.change(rig.id, Change::SetAccess { access: only(A), reply });
        rig.until(|volume| volume.saved.definition.access == only(A));
        assert!(access.try_recv().unwrap().is_ok(), "nothing is under way that is forbidden now");
        let (reply, mut removal) = oneshot::channel();
        rig.server.change(rig.id, Change::Unexport { reply });
        rig.server.turn(true);
        assert!(removal.try_recv().is_err() && back.try_recv().is_err());
        assert_eq!(rig.volume().changes.len(), 2, "it is not removed before it is exported");
        rig.complete(slot, Ok(()));
        rig.until(|volume| matches!(volume.state.step(), Step::Removing { .. }));
        assert!(back.try_recv().unwrap().is_ok());
        assert!(rig.volume().saved.definition.access == only(A));
    }

    #[test]
    fn a_disk_that_is_gone_while_another_replaces_it_does_not_fail_the_volume() {
        let mut rig = Rig::new("gone");
        let slot = rig.write(A);
        let mut away = rig.export(1);
        rig.until(|volume| volume.state.is_swapping());
        rig.server.ports.add_unserved("none0", 0);
        rig.complete(slot, Err(io::Error::from_raw_os_error(libc::ENODEV)));
        assert!(away.try_recv().unwrap().is_ok());
        assert!(rig.volume().state.is_served() && !rig.volume().state.is_swapping());
    }

    #[test]
    fn what_is_active_is_saved_again_after_a_change_that_could_not_be_saved() {
        let mut rig = Rig::new("unsure");
        let set = |rig: &mut Rig, access: Access| {
            let (reply, answer) = oneshot::channel();
            rig.server.change(rig.id, Change::SetAccess { access, reply });
            answer
        };
        let active = rig.volume().saved.definition.access.clone();
        let mut refused = set(&mut rig, Access { macs: vec![B], ..Access::default() });
        rig.server.done(Done::Saved { volume: rig.id, result: Err(io::ErrorKind::StorageFull.into()) });
        assert!(refused.try_recv().unwrap().is_err());
        let mut back = set(&mut rig, active);
        assert!(back.try_recv().is_err(), "the file may have the other one");
        rig.until(|volume| volume.state.is_idle());
        assert!(back.try_recv().unwrap().is_ok() && !rig.volume().is_unsure);
    }

    #[test]
    fn parts_of_a_failed_write_are_not_done_once_their_host_has_lost_the_volume() {
        let mut rig = Rig::new("parts");
        let slot = rig.write(A);
        let (next, _) = rig.server.data.slots.insert(request(rig.id, A, Kind::Write)).unwrap();
        rig.server.data.slots.link(slot, next);
        rig.server.data.hold(&mut rig.server.registry, rig.id);
        let (reply, mut access) = oneshot::channel();
        let without = Access { macs: vec![B], ..Access::default() };
        rig.server.change(rig.id, Change::SetAccess { access: without.clone(), reply });
        rig.until(|volume| volume.saved.definition.access == without);
        assert!(access.try_recv().is_err(), "a write is under way that is forbidden now");
        rig.server.ports.add_unserved("none0", 0);
        rig.complete(slot, Err(io::Error::from_raw_os_error(libc::EIO)));
        assert!(access.try_recv().unwrap().is_ok());
        assert!(rig.volume().order.is_empty(), "nothing waits for the end of the hold");
    }

    #[test]
    fn an_export_is_refused_when_the_volume_is_removed_before_its_disk_is_in_use() {
        let mut rig = Rig::new("removed");
        let slot = rig.write(A);
        let mut away = rig.export(1);
        rig.until(|volume| volume.state.is_swapping());
        let (reply, mut removal) = oneshot::channel();
        rig.server.change(rig.id, Change::Unexport { reply });
        rig.until(|volume| !volume.state.is_exported());
        assert!(matches!(away.try_recv().unwrap(), Err(Error::Unexported(uid)) if uid == "v"));
        assert!(removal.try_recv().is_err(), "a request is under way");
        rig.complete(slot, Ok(()));
        assert!(removal.try_recv().unwrap().is_ok());
        assert!(rig.server.registry.find("v").is_none());
    }

    #[test]
    fn changes_that_waited_for_a_removal_that_failed_are_done() {
        let mut server = server();
        let id = server.registry.insert(saved("/no/such"), State::loading());
        let state = &mut server.registry.volume_mut(id).state;
        state.reopened(Err("gone".into()));
        let (reply, mut removal) = oneshot::channel();
        assert!(state.begin(Step::Removing { reply }));
        let (reply, mut access) = oneshot::channel();
        server.change(id, Change::SetAccess { access: Access::default(), reply });
        assert!(access.try_recv().is_err());
        server.done(Done::Removed { volume: id, result: Err(io::ErrorKind::StorageFull.into()) });
        assert!(removal.try_recv().unwrap().is_err());
        server.turn(true);
        assert!(access.try_recv().unwrap().is_ok());
    }
}
