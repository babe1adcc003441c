pub mod change;
pub mod lists;

use std::collections::VecDeque;
use std::sync::Arc;

use super::data::gather::Gathering;
use super::data::order::Order;
use crate::definition::{Access, Address};
use crate::disk::Disk;
use crate::proto;
use crate::store::Saved;
use crate::wire::Mac;
use crate::wire::identify::Identity;
use change::{Change, Drain, Step};

/// Firmware revision, as IDENTIFY and config answers show it.
pub const FIRMWARE: &str = env!("CARGO_PKG_VERSION");
pub const FIRMWARE_NUMBER: u16 = 0x0100;
const MODEL: &str = "aoe-target";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Its address is taken, nothing is answered: it is being exported for the first time, or removed.
    Reserved,
    /// Its disk is being opened after a start: requests stay unanswered and are repeated.
    Loading,
    Serving,
    /// Its disk cannot be used now.
    Failed,
}

pub struct Volume {
    /// What is in force, and on disk.
    pub saved: Saved,
    pub disk: Option<Arc<Disk>>,
    pub status: Status,
    pub error: String,
    pub order: Order,
    /// A request that may still grow with the frames of this batch.
    pub gathering: Option<Gathering>,
    /// Narrows access while a change of it is being saved.
    pub gate: Option<Access>,
    /// Requests stay unanswered: the disk is about to be another.
    pub paused: bool,
    pub step: Step,
    /// Wait until the step under way has ended.
    pub changes: VecDeque<Change>,
    pub drains: Vec<Drain>,
}

impl Volume {
    pub fn new(saved: Saved, status: Status) -> Volume {
        Volume {
            saved,
            disk: None,
            status,
            error: String::new(),
            order: Order::default(),
            gathering: None,
            gate: None,
            paused: false,
            step: Step::Idle,
            changes: VecDeque::new(),
            drains: Vec::new(),
        }
    }

    pub fn address(&self) -> Address {
        self.saved.definition.address
    }

    pub fn uid(&self) -> &str {
        &self.saved.definition.uid
    }

    /// Whether this initiator is in force.
    pub fn allows(&self, mac: Mac) -> bool {
        self.saved.definition.access.allows(mac) && self.gate.as_ref().is_none_or(|gate| gate.allows(mac))
    }

    /// Whether writes are refused because nobody has taken the lock.
    pub fn lacks_lock(&self) -> bool {
        self.saved.definition.access.writes_need_lock && self.saved.config.is_empty()
    }

    /// Whether the mask list, if there is one, lets this initiator speak.
    pub fn hears(&self, mac: Mac) -> bool {
        self.saved.mask.is_empty() || self.saved.mask.contains(&mac)
    }

    /// Whether the reserve list, if there is one, lets this initiator read and write.
    pub fn lets_at_data(&self, mac: Mac) -> bool {
        self.saved.reserve.is_empty() || self.saved.reserve.contains(&mac)
    }

    pub fn identity(&self) -> Identity {
        Identity {
            serial: self.saved.definition.serial.clone(),
            firmware: FIRMWARE.into(),
            model: MODEL.into(),
            sectors: self.disk.as_ref().map_or(0, |disk| disk.sectors()),
            physical_block: self.disk.as_ref().map_or(512, |disk| disk.physical_block()),
        }
    }

    pub fn state(&self) -> proto::VolumeState {
        let definition = &self.saved.definition;
        proto::VolumeState {
            volume: Some(proto::Volume {
                uid: definition.uid.clone(),
                shelf: definition.address.shelf.into(),
                slot: definition.address.slot.into(),
                path: definition.path.clone(),
                serial: definition.serial.clone(),
                read_only: definition.read_only,
                access: Some(proto::Access {
                    anyone: definition.access.anyone,
                    macs: definition.access.macs.iter().map(Mac::to_string).collect(),
                    writes_need_lock: definition.access.writes_need_lock,
                }),
            }),
            sectors: self.disk.as_ref().map_or(0, |disk| disk.sectors()),
            config_string: self.saved.config.clone(),
            error: self.error.clone(),
        }
    }
}
