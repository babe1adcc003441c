//! Volumes: what each is, what it allows, and how it changes.

pub mod change;
mod drain;
mod export;
pub mod hold;
pub mod life;
pub mod lists;
pub mod registry;

use std::collections::VecDeque;
use std::time::Instant;

use super::data::gather::Gathering;
use super::data::order::Order;
use super::data::slots::Request;
use super::data::zeros::Zeros;
use super::event::VolumeState;
use super::limit::Pacer;
use crate::definition::{Address, Definition};
use crate::disk::engine::Kind;
use crate::store::Saved;
use crate::wire::header::USER_TAG;
use crate::wire::identify::Identity;
use crate::wire::{Header, Mac};
use change::Change;
use drain::Drain;
use hold::Hold;
use life::{Life, State};

/// Firmware revision, as IDENTIFY and config answers show it.
pub const FIRMWARE: &str = env!("CARGO_PKG_VERSION");
pub const FIRMWARE_NUMBER: u16 = 0x0100;
const MODEL: &str = "aoe-target";

pub struct Volume {
    /// What is active, and on disk.
    pub saved: Saved,
    /// A change could not be saved. It may be on disk all the same, and active after a restart.
    pub is_unsure: bool,
    pub state: State,
    pub order: Order,
    /// A request that may still grow with the frames of this batch.
    pub gathering: Option<Gathering>,
    /// Changes that wait until the one under way has ended.
    pub changes: VecDeque<Change>,
    /// Answers that wait until requests have ended.
    pub drains: Vec<Drain>,
    /// Its writes wait.
    pub hold: Option<Hold>,
    /// Its limits; none when it has none, and every host knows.
    pub pacer: Option<Box<Pacer>>,
    /// Where zeros were written; none when there are no chunks to give back.
    pub zeros: Option<Box<Zeros>>,
}

impl Volume {
    pub fn new(saved: Saved, state: State) -> Volume {
        let pacer = Pacer::new(saved.definition.limits, Instant::now());
        Volume {
            saved,
            is_unsure: false,
            state,
            order: Order::default(),
            gathering: None,
            changes: VecDeque::new(),
            drains: Vec::new(),
            hold: None,
            pacer,
            zeros: None,
        }
    }

    pub fn address(&self) -> Address {
        self.saved.definition.address
    }

    pub fn uid(&self) -> &str {
        &self.saved.definition.uid
    }

    /// Whether no request is under way or waits, and none would have to wait.
    pub fn is_at_rest(&self) -> bool {
        self.hold.is_none() && self.pacer.is_none() && self.gathering.is_none() && self.order.is_empty()
    }

    /// Whether this initiator is admitted. While a change of access is being saved, it must be admitted before and after.
    pub fn admits(&self, mac: Mac) -> bool {
        self.saved.definition.access.allows(mac) && self.state.next_access().is_none_or(|access| access.allows(mac))
    }

    /// Whether writes are refused because nobody has taken the lock.
    pub fn lacks_lock(&self) -> bool {
        self.saved.definition.access.writes_need_lock && self.saved.config.is_empty()
    }

    /// Whether the mask list, if there is one, has this initiator.
    pub fn hears(&self, mac: Mac) -> bool {
        self.saved.mask.is_empty() || self.saved.mask.contains(&mac)
    }

    /// Whether the reserve list keeps a request from the data. Flushes are always allowed: they change nothing.
    pub fn reserves_against(&self, request: &Request) -> bool {
        let reserve = &self.saved.reserve;
        request.kind != Kind::Flush && !reserve.is_empty() && !reserve.contains(&request.header.source)
    }

    /// Whether it takes notice of a frame: what is for copies is there for frames that no kernel sends, and that mean it alone.
    pub fn notices(&self, header: &Header, directed: bool) -> bool {
        !self.saved.definition.for_copies || directed && header.tag & USER_TAG != 0
    }

    /// Whether a request would be refused now.
    pub fn forbids(&self, request: &Request) -> bool {
        !self.state.is_exported()
            || !self.admits(request.header.source)
            || !self.hears(request.header.source)
            || self.reserves_against(request)
            || (request.kind == Kind::Write && (self.saved.definition.read_only || self.lacks_lock()))
    }

    /// The hosts that announcements go to. While a change of access is being saved: those that are admitted before and after.
    pub fn audience(&self) -> Vec<Mac> {
        let Definition { access, for_copies, .. } = &self.saved.definition;
        let next = self.state.next_access().unwrap_or(access);
        if *for_copies {
            return Vec::new();
        }
        if access.anyone && next.anyone {
            return vec![Mac::BROADCAST];
        }
        let named = if access.anyone { &next.macs } else { &access.macs };
        named.iter().copied().filter(|mac| self.admits(*mac)).collect()
    }

    /// Sectors that hosts see; 0 while there is no disk.
    pub fn sectors(&self) -> u64 {
        let of_disk = self.state.disk().map_or(0, |disk| disk.sectors());
        match self.saved.definition.sectors {
            0 => of_disk,
            sectors => sectors.min(of_disk),
        }
    }

    /// The window to tell to hosts, where `normal` is that of a volume without limits and frames carry so many sectors.
    pub fn window(&self, normal: u16, sectors: u8) -> u16 {
        self.pacer.as_ref().map_or(normal, |pacer| pacer.window(normal, sectors))
    }

    pub fn identity(&self) -> Identity {
        let disk = self.state.disk();
        Identity {
            serial: self.saved.definition.serial.clone(),
            firmware: FIRMWARE.into(),
            model: MODEL.into(),
            sectors: self.sectors(),
            physical_block: disk.map_or(512, |disk| disk.physical_block()),
        }
    }

    pub fn describe(&self) -> VolumeState {
        VolumeState {
            definition: self.saved.definition.clone(),
            sectors: self.sectors(),
            config_string: self.saved.config.clone(),
            error: match self.state.life() {
                Life::Failed { error } => error.clone(),
                _ => String::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::change::Then;
    use super::life::{Saving, Step};
    use super::lists::with_access;
    use super::*;
    use crate::definition::Access;
    use crate::serve::testing::{A, B, request, saved};
    use tokio::sync::oneshot;

    #[test]
    fn lists_forbid_what_others_have_under_way() {
        let forbids = |mask: &[Mac], reserve: &[Mac], kind| {
            let volume = Volume::new(Saved { mask: mask.to_vec(), reserve: reserve.to_vec(), ..saved("/x") }, State::loading());
            [A, B].map(|mac| volume.forbids(&request(0, mac, kind)))
        };
        assert_eq!(forbids(&[], &[], Kind::Write), [false, false]);
        assert_eq!(forbids(&[], &[A], Kind::Write), [false, true]);
        assert_eq!(forbids(&[], &[A], Kind::Read), [false, true]);
        assert_eq!(forbids(&[], &[A], Kind::Flush), [false, false], "it changes nothing");
        assert_eq!(forbids(&[B], &[], Kind::Flush), [true, false]);
    }

    #[test]
    fn nobody_is_told_of_a_volume_whose_loss_of_access_is_being_saved_or_who_is_not_yet_admitted() {
        const C: Mac = Mac([2, 0, 0, 0, 0, 0x0c]);
        let access = |macs: &[Mac], anyone| Access { macs: macs.to_vec(), anyone, ..Access::default() };
        let anyone = || access(&[], true);
        let told = |before: Access, next: Option<Access>| {
            let mut state = State::loading();
            if let Some(next) = next {
                let next = Box::new(with_access(&saved("/x"), next));
                assert!(state.begin(Step::Saving(Saving { next, disk: None, then: Then::Reply(oneshot::channel().0) })));
            }
            Volume::new(with_access(&saved("/x"), before), state).audience()
        };
        assert_eq!(told(access(&[A, B], false), None), [A, B]);
        assert_eq!(told(anyone(), None), [Mac::BROADCAST]);
        assert_eq!(told(access(&[A, B], false), Some(access(&[B, C], false))), [B]);
        assert_eq!(told(anyone(), Some(access(&[B], false))), [B]);
        assert_eq!(told(access(&[B], false), Some(anyone())), [B]);
        assert_eq!(told(anyone(), Some(anyone())), [Mac::BROADCAST]);
    }

    #[test]
    fn writes_alone_are_forbidden_while_they_lack_the_lock() {
        let forbids = |config: &[u8], writes_need_lock| {
            let mut saved = Saved { config: config.to_vec(), ..saved("/x") };
            saved.definition.access.writes_need_lock = writes_need_lock;
            let volume = Volume::new(saved, State::loading());
            [Kind::Read, Kind::Write, Kind::Flush].map(|kind| volume.forbids(&request(0, A, kind)))
        };
        assert_eq!(forbids(b"", true), [false, true, false]);
        assert_eq!(forbids(b"a's", true), [false; 3]);
        assert_eq!(forbids(b"", false), [false; 3]);
    }
}
