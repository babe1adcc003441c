//! Changes of volumes. Each volume has one at a time: it is saved, then in force, then answered.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::Status as RpcStatus;

use super::{Status, Volume};
use crate::definition::{Access, Definition};
use crate::disk::Disk;
use crate::disk::engine::Kind;
use crate::disk::open::{OpenError, Opened};
use crate::log;
use crate::net::port::Outgoing;
use crate::net::socket::Socket;
use crate::proto::VolumeState;
use crate::serve::command::Event;
use crate::serve::data::slots::Request;
use crate::serve::observe::stats::Refused;
use crate::serve::ports::frames::MAX_CHANGES;
use crate::serve::server::Server;
use crate::store::Saved;
use crate::wire::header::command;
use crate::wire::{Header, HeaderView, Mac};
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
    /// An answer to a frame, by the port with this key: as it was when the change came into force.
    Frame {
        port: u32,
        answer: Outgoing,
    },
    Removed(Reply<()>),
}

impl Drain {
    /// Answers a removal when all requests have ended.
    pub(in crate::serve) fn removal(reply: Reply<()>) -> Drain {
        Drain { all: true, disk: None, end: End::Removed(reply) }
    }

    fn is_frame(&self) -> bool {
        matches!(self.end, End::Frame { .. })
    }
}

impl Volume {
    /// Whether a request would not be taken now.
    pub(in crate::serve) fn forbids(&self, request: &Request) -> bool {
        self.status == Status::Reserved
            || !self.allows(request.header.source)
            || !self.hears(request.header.source)
            || self.reserves_against(request)
            || (self.saved.definition.read_only && request.kind == Kind::Write)
    }

    /// Takes the next change that may begin. Exports wait while the disk is about to be another: which is the present one is open
    /// until then, and may be for as long as the old one hangs. Changes of access and of the lock must not wait with them.
    fn due_change(&mut self) -> Option<Change> {
        let is_export = |change: &Change| matches!(change, Change::Export { .. });
        let at = if self.paused { self.changes.iter().position(|change| !is_export(change))? } else { 0 };
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

    /// Whether the reserve list keeps a request from the data.
    pub(in crate::serve) fn reserves_against(&self, request: &Request) -> bool {
        request.kind != Kind::Flush && !self.lets_at_data(request.header.source)
    }
}

impl<S: Socket> Server<S> {
    /// Does a change now, or when those before it have ended.
    pub(in crate::serve) fn change(&mut self, id: u32, change: Change) {
        self.volume(id).changes.push_back(change);
        self.next_change(id);
    }

    pub(in crate::serve) fn next_change(&mut self, id: u32) {
        while let Some(Some(volume)) = self.volumes.get_mut(id as usize) {
            if !matches!(volume.step, Step::Idle) {
                return;
            }
            let Some(change) = volume.due_change() else { return };
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
    pub(in crate::serve) fn save(&mut self, id: u32, next: Box<Saved>, disk: Option<Arc<Disk>>, then: Then) {
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
                    self.answer_when_safe(id, port, &bytes);
                }
            }
            Then::Reply(reply) => self.volume(id).drains.push(Drain { all: swap.is_some(), disk: swap, end: End::State(reply) }),
        }
        self.changed(id);
        self.check_drains(id);
        self.next_change(id);
    }

    /// Answers a frame of commands 1 to 3 with the volume as it is now. With a list only once nothing is under way that it
    /// forbids: whom it shuts out must be done writing.
    pub(in crate::serve) fn answer_when_safe(&mut self, id: u32, port: usize, frame: &[u8]) {
        if HeaderView::new_checked(frame).is_ok_and(|view| Header::parse(&view).command == command::CONFIG) {
            return self.answer(id, port, frame, None, 0);
        }
        let Some(answer) = self.answer_to(id, port, frame, None, 0) else { return };
        let port = self.ports[port].key;
        let drains = &mut self.volume(id).drains;
        if drains.iter().filter(|drain| drain.is_frame()).count() < MAX_CHANGES {
            drains.push(Drain { all: false, disk: None, end: End::Frame { port, answer } });
        } else {
            return self.stats.volume(id).refused.add(Refused::TooManyChanges); // it is asked again
        }
        self.check_drains(id);
    }

    /// Ends the drains whose requests have ended.
    pub(in crate::serve) fn check_drains(&mut self, id: u32) {
        let (volumes, slots) = (&mut self.volumes, &self.slots);
        let Some(volume) = volumes[id as usize].as_mut() else { return };
        let quiet = volume.order.is_empty();
        let safe = quiet || !volume.order.under_way().any(|slot| volume.forbids(slots.get(slot)));
        let mut removed = None;
        let mut answers = Vec::new();
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
                End::Frame { port, answer } => answers.push((port, answer)),
                End::Removed(reply) => removed = Some(reply),
            }
        }
        for (port, answer) in answers {
            if let Some(port) = self.ports.iter().position(|other| other.key == port) {
                let _ = self.queue(port, answer);
            }
        }
        if swapped {
            self.changed(id);
            self.next_change(id); // an export may have waited for this
        }
        if let Some(reply) = removed {
            let uid = self.volume(id).uid().to_owned();
            self.forget(id);
            self.tell(&Event::Removed(uid));
            let _ = reply.send(Ok(()));
        }
    }

    pub(in crate::serve) fn done(&mut self, done: Done) {
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
    pub(in crate::serve) fn fail(&mut self, id: u32, error: String) {
        self.retry_later();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::engine::Completion;
    use crate::serve::data::order::{Span, Turn};
    use crate::serve::server::tests::{A, B, request, saved, server};
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

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
            let id = server.insert(saved(paths[0].to_str().unwrap()), Status::Loading);
            server.load(id);
            let mut rig = Rig { server, id, paths };
            rig.until(|volume| volume.status == Status::Serving);
            rig
        }

        fn until(&mut self, come: impl Fn(&Volume) -> bool) {
            let limit = Instant::now() + Duration::from_secs(5);
            while !come(self.server.volume(self.id)) {
                assert!(Instant::now() < limit, "it waits for ever");
                self.server.turn(true);
            }
        }

        /// A write that is under way.
        fn write(&mut self, source: Mac) -> u32 {
            let (slot, _) = self.server.slots.insert(request(self.id, source, Kind::Write)).unwrap();
            assert_eq!(self.server.volume(self.id).order.enter(slot, Span::new(0, 1, true, 1)), Turn::Start);
            slot
        }

        fn export(&mut self, path: usize) -> oneshot::Receiver<Result<VolumeState, RpcStatus>> {
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
    fn an_export_waits_until_the_one_before_has_the_disk_it_is_for() {
        let mut rig = Rig::new("back");
        let before = rig.server.volume(rig.id).disk.as_ref().unwrap().identity();
        let slot = rig.write(A);
        let mut away = rig.export(1);
        rig.until(|volume| volume.paused);
        let mut back = rig.export(0);
        rig.until(|volume| matches!(volume.step, Step::Idle));
        assert!(away.try_recv().is_err() && back.try_recv().is_err());
        rig.server.complete(Completion { id: slot, result: Ok(()) });
        rig.until(|volume| matches!(volume.step, Step::Idle) && volume.changes.is_empty());
        assert!(away.try_recv().unwrap().is_ok() && back.try_recv().unwrap().is_ok());
        let volume = rig.server.volume(rig.id);
        assert_eq!(volume.disk.as_ref().unwrap().identity(), before, "the disk of the definition");
        assert!(!volume.paused);
    }

    #[test]
    fn access_changes_while_an_export_waits_and_is_not_undone_by_it() {
        let mut rig = Rig::new("access");
        let slot = rig.write(A);
        let _away = rig.export(1);
        rig.until(|volume| volume.paused);
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
        assert_eq!(rig.server.volume(rig.id).changes.len(), 2, "it is not removed before it is exported");
        rig.server.complete(Completion { id: slot, result: Ok(()) });
        rig.until(|volume| matches!(volume.step, Step::Leaving { .. }));
        assert!(back.try_recv().unwrap().is_ok());
        assert!(rig.server.volume(rig.id).saved.definition.access == only(A));
    }

    #[test]
    fn a_disk_that_goes_while_another_takes_its_place_is_no_failure_of_the_volume() {
        let mut rig = Rig::new("gone");
        let slot = rig.write(A);
        let mut away = rig.export(1);
        rig.until(|volume| volume.paused);
        rig.server.ports.push(crate::net::port::Port::new("none0".into(), 0));
        rig.server.complete(Completion { id: slot, result: Err(io::Error::from_raw_os_error(libc::ENODEV)) });
        assert!(away.try_recv().unwrap().is_ok());
        assert!(rig.server.volume(rig.id).status == Status::Serving);
    }

    #[test]
    fn lists_forbid_what_others_have_under_way() {
        let forbids = |mask: &[Mac], reserve: &[Mac], kind| {
            let volume = Volume::new(Saved { mask: mask.to_vec(), reserve: reserve.to_vec(), ..saved("/x") }, Status::Serving);
            [A, B].map(|mac| volume.forbids(&request(0, mac, kind)))
        };
        assert_eq!(forbids(&[], &[], Kind::Write), [false, false]);
        assert_eq!(forbids(&[], &[A], Kind::Write), [false, true]);
        assert_eq!(forbids(&[], &[A], Kind::Read), [false, true]);
        assert_eq!(forbids(&[], &[A], Kind::Flush), [false, false], "it changes nothing");
        assert_eq!(forbids(&[B], &[], Kind::Flush), [true, false]);
    }
}
