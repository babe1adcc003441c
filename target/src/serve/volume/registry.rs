use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::mpsc::Sender;

use super::Volume;
use super::hold::Holds;
use super::life::State;
use crate::definition::Address;
use crate::log;
use crate::serve::event::{Event, Watchers};
use crate::serve::observe::stats::{Stats, VolumeStats};
use crate::serve::retry::Retry;
use crate::store::Saved;

/// All volumes, what was counted for them, and those who watch them. A volume is known by a number, which another one gets
/// when it is gone.
#[derive(Default)]
pub struct Registry {
    volumes: Vec<Option<Box<Volume>>>,
    by_address: HashMap<Address, u32>,
    by_uid: HashMap<String, u32>,
    pub stats: Stats,
    pub watchers: Watchers,
    /// When failed volumes are to be opened again.
    pub retry: Retry,
    pub holds: Holds,
}

impl Registry {
    pub fn insert(&mut self, saved: Saved, state: State) -> u32 {
        let id = self.volumes.iter().position(Option::is_none).unwrap_or_else(|| {
            self.volumes.push(None);
            self.volumes.len() - 1
        }) as u32;
        self.by_address.insert(saved.definition.address, id);
        self.by_uid.insert(saved.definition.uid.clone(), id);
        self.volumes[id as usize] = Some(Box::new(Volume::new(saved, state)));
        id
    }

    pub fn remove(&mut self, id: u32) -> Option<Volume> {
        let volume = self.volumes[id as usize].take()?;
        self.by_uid.remove(volume.uid());
        self.by_address.remove(&volume.address());
        self.stats.forget(id);
        self.holds.ended(id);
        Some(*volume)
    }

    /// Number of volumes.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// The numbers of all volumes are below this one.
    pub fn end(&self) -> u32 {
        self.volumes.len() as u32
    }

    pub fn find(&self, uid: &str) -> Option<u32> {
        self.by_uid.get(uid).copied()
    }

    pub fn at(&self, address: Address) -> Option<u32> {
        self.by_address.get(&address).copied()
    }

    pub fn get(&self, id: u32) -> Option<&Volume> {
        self.volumes.get(id as usize)?.as_deref()
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut Volume> {
        self.volumes.get_mut(id as usize)?.as_deref_mut()
    }

    pub fn volume(&self, id: u32) -> &Volume {
        self.get(id).expect("a volume stays while something is under way for it")
    }

    pub fn volume_mut(&mut self, id: u32) -> &mut Volume {
        self.get_mut(id).expect("a volume stays while something is under way for it")
    }

    pub fn iter(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().flatten().map(Box::as_ref)
    }

    pub fn watch(&mut self, watcher: Sender<Event>) {
        let exported = self.volumes.iter().flatten().filter(|volume| volume.state.is_exported());
        self.watchers.add(watcher, exported.map(|volume| Event::Changed(volume.describe())).chain([Event::Synced]));
    }

    /// Tells watchers that a volume has changed.
    pub fn emit_changed(&mut self, id: u32) {
        if !self.watchers.is_empty() {
            let state = self.volume(id).describe();
            self.watchers.emit(&Event::Changed(state));
        }
    }

    /// The device of a volume is gone. It is not served until it can be opened again.
    pub fn device_gone(&mut self, id: u32, error: &std::io::Error) {
        let error = format!("the device is gone: {error}");
        if self.volume_mut(id).state.device_gone(error.clone()) {
            self.failed(id, &error);
        }
    }

    /// A volume has failed in a new way.
    pub fn failed(&mut self, id: u32, error: &str) {
        self.retry.later();
        let volume = self.volume(id);
        log!(Error, "volume not served", uid = volume.uid(), address = volume.address(), error = error);
        self.emit_changed(id);
    }

    /// What was counted, by uid. Initiators that are not admitted and idle are forgotten first.
    pub fn counted(&mut self, now: Instant) -> Vec<(String, VolumeStats)> {
        let mut counted = Vec::new();
        for (id, volume) in self.volumes.iter().enumerate() {
            let Some(volume) = volume else { continue };
            self.stats.expire(id as u32, |mac| volume.admits(mac), now);
            counted.extend(self.stats.get(id as u32).map(|stats| (volume.uid().to_owned(), stats.clone())));
        }
        counted
    }
}
