//! What other threads ask the serving thread to do.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use super::error::Error;
use super::event::{Event, InterfaceState, VolumeState};
use super::observe::stats::{RefusedFrames, VolumeStats};
use super::observe::trace::Trace;
use super::ports::heard::Silences;
use super::server::Server;
use super::volume::change::Change;
use crate::definition::Definition;
use crate::net::port::Counts;
use crate::net::socket::Socket;

/// Where the answer to a command goes. One that is dropped says that the process ends.
pub type Reply<T> = oneshot::Sender<Result<T, Error>>;

pub enum Command {
    Info {
        reply: Reply<Vec<InterfaceState>>,
    },
    SetInterfaces {
        names: Vec<String>,
        reply: Reply<Vec<InterfaceState>>,
    },
    Export {
        definition: Box<Definition>,
        reply: Reply<VolumeState>,
    },
    Unexport {
        uid: String,
        reply: Reply<()>,
    },
    /// Changes a volume that exists.
    Change {
        uid: String,
        change: Change,
    },
    /// Holds the writes of a volume back, and answers with the number of the hold when none is under way.
    Hold {
        uid: String,
        /// The hold ends by itself this long after it began.
        limit: Duration,
        reply: Reply<u64>,
    },
    /// Ends a hold, and answers whether it lasted until now.
    Release {
        uid: String,
        number: u64,
        reply: Reply<bool>,
    },
    Watch {
        watcher: Sender<Event>,
    },
    Stats {
        reply: Reply<Counted>,
    },
    Heard {
        reply: Reply<Silences>,
    },
    Trace {
        /// The volume whose frames are wanted; none: frames of all.
        uid: Option<String>,
        trace: Box<Trace>,
        reply: Reply<()>,
    },
}

/// What was counted since the process began.
pub struct Counted {
    /// By uid.
    pub volumes: Vec<(String, VolumeStats)>,
    /// By name.
    pub interfaces: Vec<(String, Counts)>,
    /// Frames that are of no volume.
    pub refused: RefusedFrames,
}

impl<S: Socket> Server<S> {
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Info { reply } => drop(reply.send(Ok(self.ports.states()))),
            Command::SetInterfaces { names, reply } => self.set_interfaces(names, reply),
            Command::Export { definition, reply } => self.export(definition, reply),
            Command::Unexport { uid, reply } => match self.registry.find(&uid) {
                Some(id) => self.change(id, Change::Unexport { reply }),
                None => drop(reply.send(Ok(()))),
            },
            Command::Change { uid, change } => match self.registry.find(&uid) {
                Some(id) => self.change(id, change),
                None => change.refuse(uid),
            },
            Command::Hold { uid, limit, reply } => match self.registry.find(&uid) {
                Some(id) => self.hold(id, limit, reply),
                None => drop(reply.send(Err(Error::NoSuchVolume(uid)))),
            },
            Command::Release { uid, number, reply } => {
                let held = self.registry.find(&uid).is_some_and(|id| self.release(id, number));
                let _ = reply.send(Ok(held));
            }
            Command::Watch { watcher } => self.registry.watch(watcher),
            Command::Stats { reply } => drop(reply.send(Ok(self.counted()))),
            Command::Heard { reply } => drop(reply.send(Ok(self.ports.silences(Instant::now())))),
            Command::Trace { uid, trace, reply } => drop(reply.send(self.trace(uid, *trace))),
        }
    }

    fn counted(&mut self) -> Counted {
        let volumes = self.registry.counted(Instant::now());
        Counted { volumes, interfaces: self.ports.counts(), refused: self.registry.stats.refused.clone() }
    }

    fn trace(&mut self, uid: Option<String>, mut trace: Trace) -> Result<(), Error> {
        if let Some(uid) = uid {
            let Some(id) = self.registry.find(&uid) else { return Err(Error::NoSuchVolume(uid)) };
            trace.filter.address = Some(self.registry.volume(id).address());
        }
        self.ports.traces.add(trace)
    }
}
