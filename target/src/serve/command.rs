//! Commands from other threads, and what they are told.

use std::io;
use std::time::Instant;

use tokio::sync::mpsc::Sender;
use tonic::Status as RpcStatus;

use super::observe::stats::{RefusedFrames, VolumeStats};
use super::observe::trace::Trace;
use super::server::Server;
use super::volume::Status;
use super::volume::change::{Change, Drain, Reply, Step};
use crate::definition::Definition;
use crate::log;
use crate::net::port::Counts;
use crate::net::socket::Socket;
use crate::proto::{Interface, VolumeState};
use crate::store::Saved;
use crate::worker::Task;

pub enum Command {
    Info {
        reply: Reply<Vec<Interface>>,
    },
    SetInterfaces {
        names: Vec<String>,
        reply: Reply<Vec<Interface>>,
    },
    Export {
        definition: Box<Definition>,
        reply: Reply<VolumeState>,
    },
    Unexport {
        uid: String,
        reply: Reply<()>,
    },
    /// A change of a volume that there is.
    Change {
        uid: String,
        change: Change,
    },
    Watch {
        to: Sender<Event>,
    },
    Stats {
        reply: Reply<Counted>,
    },
    Trace {
        /// Volume whose frames are wanted; none: all.
        uid: Option<String>,
        trace: Box<Trace>,
        reply: Reply<()>,
    },
}

/// What was counted until now.
pub struct Counted {
    /// With the uid of each.
    pub volumes: Vec<(String, VolumeStats)>,
    /// With the name of each.
    pub interfaces: Vec<(String, Counts)>,
    /// Frames that are of no volume.
    pub refused: RefusedFrames,
}

/// What watchers are told.
#[derive(Debug, Clone)]
pub enum Event {
    Changed(VolumeState),
    Removed(String),
    Synced,
    Interface(Interface),
}

/// Events that a watcher may be behind by before it is cut off. It has room for all volumes at the start.
pub const WATCH_QUEUE: usize = 8192;

pub(super) type Watcher = Sender<Event>;

impl<S: Socket> Server<S> {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Info { reply } => drop(reply.send(Ok(self.interfaces()))),
            Command::SetInterfaces { names, reply } => {
                self.set_ports(&names);
                self.interface_changes.push_back((names, reply));
                if self.interface_changes.len() == 1 {
                    self.save_interfaces();
                }
            }
            Command::Export { definition, reply } => self.export(definition, reply),
            Command::Unexport { uid, reply } => match self.by_uid.get(&uid) {
                Some(&id) => self.change(id, Change::Unexport { reply }),
                None => drop(reply.send(Ok(()))),
            },
            Command::Change { uid, change } => match self.by_uid.get(&uid) {
                Some(&id) => self.change(id, change),
                None => no_such_volume(&uid, change),
            },
            Command::Watch { to } => self.watch(to),
            Command::Stats { reply } => drop(reply.send(Ok(self.counted()))),
            Command::Trace { uid, trace, reply } => drop(reply.send(self.trace(uid, *trace))),
        }
    }

    fn watch(&mut self, to: Watcher) {
        let served = self.volumes.iter().flatten().filter(|volume| volume.status != Status::Reserved);
        let mut all = served.map(|volume| Event::Changed(volume.state())).chain([Event::Synced]);
        if all.all(|event| to.try_send(event).is_ok()) {
            self.watchers.push(to);
        }
    }

    fn counted(&mut self) -> Counted {
        let now = Instant::now();
        let mut volumes = Vec::new();
        for (id, volume) in self.volumes.iter().enumerate() {
            let Some(volume) = volume else { continue };
            if let Some(stats) = self.stats.look(id as u32, |mac| volume.allows(mac), now) {
                volumes.push((volume.uid().to_owned(), stats.clone()));
            }
        }
        let interfaces = self.ports.iter_mut().map(|port| (port.name.clone(), port.count())).collect();
        Counted { volumes, interfaces, refused: self.stats.refused.clone() }
    }

    fn trace(&mut self, uid: Option<String>, mut trace: Trace) -> Result<(), RpcStatus> {
        if let Some(uid) = uid {
            let id = self.by_uid.get(&uid).copied().ok_or_else(|| RpcStatus::not_found(format!("no volume {uid}")))?;
            trace.filter.address = Some(self.volume(id).address());
        }
        self.traces.add(trace)
    }

    /// Watchers that are gone, or too far behind, are dropped: their stream ends, and they ask again.
    pub(super) fn tell(&mut self, event: &Event) {
        self.watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
    }

    pub(super) fn changed(&mut self, id: u32) {
        if !self.watchers.is_empty() {
            let state = self.volume(id).state();
            self.tell(&Event::Changed(state));
        }
    }

    fn export(&mut self, definition: Box<Definition>, reply: Reply<VolumeState>) {
        if let Some(&id) = self.by_uid.get(&definition.uid) {
            return self.change(id, Change::Export { definition, reply });
        }
        if let Some(&other) = self.by_address.get(&definition.address) {
            let uid = self.volume(other).uid().to_owned();
            let text = format!("{} is the address of volume {uid}", definition.address);
            return drop(reply.send(Err(RpcStatus::already_exists(text))));
        }
        let id = self.insert(Saved::new((*definition).clone()), Status::Reserved);
        self.open_for(id, definition, reply);
    }

    /// An export of a volume that there is.
    pub(super) fn export_again(&mut self, id: u32, definition: Box<Definition>, reply: Reply<VolumeState>) {
        let present = &self.volume(id).saved.definition;
        let problem = if definition.address != present.address {
            Some(RpcStatus::already_exists(format!("volume {} has the address {}", present.uid, present.address)))
        } else if definition.serial != present.serial {
            Some(RpcStatus::invalid_argument(format!("volume {} has the serial number {}", present.uid, present.serial)))
        } else {
            None
        };
        match problem {
            Some(problem) => drop(reply.send(Err(problem))),
            None => self.open_for(id, definition, reply),
        }
    }

    fn open_for(&mut self, id: u32, definition: Box<Definition>, reply: Reply<VolumeState>) {
        let (path, read_only) = (definition.path.clone(), definition.read_only);
        let volume = self.volume(id);
        volume.step = Step::Opening { definition, reply };
        let current = volume.disk.clone();
        self.worker.submit(Task::Open { volume: id, path, read_only, current });
    }

    pub(super) fn unexport(&mut self, id: u32, reply: Reply<()>) {
        let volume = self.volume(id);
        volume.step = Step::Leaving { reply };
        let uid = volume.uid().to_owned();
        self.worker.submit(Task::Remove { volume: id, uid });
    }

    pub(super) fn removed(&mut self, id: u32, result: io::Result<()>) {
        let volume = self.volume(id);
        let Step::Leaving { reply } = std::mem::replace(&mut volume.step, Step::Idle) else { return };
        if let Err(error) = result {
            let text = format!("the state directory cannot be written: {error}");
            let _ = reply.send(Err(RpcStatus::internal(text)));
            return self.next_change(id);
        }
        log!(Info, "volume unexported", uid = volume.uid(), address = volume.address());
        volume.status = Status::Reserved;
        // Commands that come meanwhile wait, and begin anew when it is gone.
        volume.step = Step::Loading;
        volume.drains.push(Drain::removal(reply));
        self.drop_forbidden(id);
        self.check_drains(id);
    }

    /// Takes a volume out of the tables; what waited for it begins anew.
    pub(super) fn forget(&mut self, id: u32) {
        let Some(volume) = self.volumes[id as usize].take() else { return };
        let uid = volume.uid().to_owned();
        self.by_uid.remove(&uid);
        self.by_address.remove(&volume.address());
        self.stats.forget(id);
        for change in volume.changes {
            let uid = uid.clone();
            match change {
                Change::Frame { .. } => {}
                Change::Export { definition, reply } => self.command(Command::Export { definition, reply }),
                Change::Unexport { reply } => self.command(Command::Unexport { uid, reply }),
                change => self.command(Command::Change { uid, change }),
            }
        }
    }

    fn save_interfaces(&mut self) {
        if let Some((names, _)) = self.interface_changes.front() {
            self.worker.submit(Task::Interfaces { names: names.clone() });
        }
    }

    pub(super) fn interfaces_saved(&mut self, result: io::Result<()>) {
        if let Some((_, reply)) = self.interface_changes.pop_front() {
            let failed = |error| RpcStatus::internal(format!("the state directory cannot be written: {error}"));
            let _ = reply.send(result.map(|()| self.interfaces()).map_err(failed));
        }
        self.save_interfaces();
    }
}

fn no_such_volume(uid: &str, change: Change) {
    let status = || RpcStatus::not_found(format!("no volume {uid}"));
    match change {
        Change::SetAccess { reply, .. } | Change::Replace { reply, .. } | Change::Export { reply, .. } => {
            let _ = reply.send(Err(status()));
        }
        Change::Unexport { reply } => drop(reply.send(Ok(()))),
        Change::Frame { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Access;
    use crate::serve::server::tests::{saved, server};
    use tokio::sync::oneshot;

    #[test]
    fn what_waited_for_a_removal_that_failed_is_done() {
        let mut server = server();
        let id = server.insert(saved("/no/such"), Status::Failed);
        let (reply, mut removal) = oneshot::channel();
        server.volume(id).step = Step::Leaving { reply };
        let (reply, mut access) = oneshot::channel();
        server.change(id, Change::SetAccess { access: Access::default(), reply });
        assert!(access.try_recv().is_err());
        server.removed(id, Err(io::ErrorKind::StorageFull.into()));
        assert!(removal.try_recv().unwrap().is_err());
        server.turn(true);
        assert!(access.try_recv().unwrap().is_ok());
    }
}
