//! What watchers are sent, and callers are answered.

use tokio::sync::mpsc::Sender;

use crate::definition::Definition;
use crate::wire::Mac;

/// A volume as others see it.
#[derive(Debug, Clone)]
pub struct VolumeState {
    pub definition: Definition,
    /// Of 512 bytes; 0 while it has no disk.
    pub sectors: u64,
    pub config_string: Vec<u8>,
    /// Why it is not served; empty while it is.
    pub error: String,
}

/// An interface as others see it.
#[derive(Debug, Clone)]
pub struct InterfaceState {
    pub name: String,
    /// None while there is no such interface.
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub serving: bool,
    /// Why it is not served; empty while it is.
    pub error: String,
}

#[derive(Debug, Clone)]
pub enum Event {
    /// A volume is new or has changed.
    Changed(VolumeState),
    /// The volume with this uid is gone.
    Removed(String),
    /// All volumes that there are were sent.
    Synced,
    /// An interface came, went or changed.
    Interface(InterfaceState),
}

/// Events that a watcher may be behind by before it is dropped. There is room for all volumes at the start.
pub const WATCH_QUEUE: usize = 8192;

/// Those who are sent every event.
#[derive(Default)]
pub struct Watchers(Vec<Sender<Event>>);

impl Watchers {
    /// `first` are sent before all others.
    pub fn add(&mut self, watcher: Sender<Event>, first: impl IntoIterator<Item = Event>) {
        if first.into_iter().all(|event| watcher.try_send(event).is_ok()) {
            self.0.push(watcher);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Watchers that are gone, or too far behind, are dropped: their stream ends, and they watch again.
    pub fn emit(&mut self, event: &Event) {
        self.0.retain(|watcher| watcher.try_send(event.clone()).is_ok());
    }
}
