//! What a volume is and does by the rules, one request after the other: AoEr11, and docs/adr/0003 for who is told what.

use aoe_target::wire::header::{self, ANY_SHELF, ANY_SLOT, command};
use aoe_target::wire::{
    Ata, AtaView, ConfigView, Header, HeaderView, Mac, Mask, MaskView, Reserve, ReserveView, SECTOR, ata, config, mask, reserve,
};

pub const VOLUMES: usize = 3;
/// Addresses that a mask or reserve list may have.
const MOST_MACS: usize = 128;

#[derive(Debug, Clone)]
pub struct Volume {
    pub shelf: u16,
    pub slot: u8,
    pub exported: bool,
    pub read_only: bool,
    pub anyone: bool,
    pub hosts: Vec<Mac>,
    pub config: Vec<u8>,
    pub mask: Vec<Mac>,
    pub reserve: Vec<Mac>,
    pub data: Vec<u8>,
    /// From then on it is exported with its size; before, the target takes that of the disk.
    pub has_grown: bool,
}

/// What follows the header of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    Nothing,
    Ata {
        status: u8,
        error: u8,
        data: Vec<u8>,
    },
    /// A whole IDENTIFY answer; its sectors.
    Identity(u64),
    Config {
        command: u8,
        string: Vec<u8>,
    },
    Mask {
        command: u8,
        error: u8,
        macs: Vec<Mac>,
    },
    Reserve {
        command: u8,
        macs: Vec<Mac>,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub struct Expected {
    /// Error field of the header; 0: none.
    pub failure: u8,
    pub body: Body,
}

fn failed(failure: header::Failure) -> Expected {
    Expected { failure: failure as u8, body: Body::Nothing }
}

fn ata_answer(status: u8, error: u8, data: Vec<u8>) -> Expected {
    Expected { failure: 0, body: Body::Ata { status, error, data } }
}

impl Volume {
    pub fn allows(&self, mac: Mac) -> bool {
        self.anyone || self.hosts.contains(&mac)
    }

    pub fn sectors(&self) -> u64 {
        (self.data.len() / SECTOR) as u64
    }

    /// Lists lose every host that is not admitted.
    pub fn set_access(&mut self, anyone: bool, hosts: Vec<Mac>) {
        (self.anyone, self.hosts) = (anyone, hosts);
        self.mask = self.mask.iter().copied().filter(|mac| self.allows(*mac)).collect();
        self.reserve = self.reserve.iter().copied().filter(|mac| self.allows(*mac)).collect();
    }

    pub fn grow(&mut self, sectors: usize) {
        self.data.resize(self.data.len() + sectors * SECTOR, 0);
        self.has_grown = true;
    }

    pub fn unexport(&mut self) {
        (self.exported, self.config) = (false, Vec::new());
        (self.mask, self.reserve) = (Vec::new(), Vec::new());
    }

    /// Whether a frame is for this volume; and for it alone.
    pub fn addressed(&self, view: &HeaderView<'_>) -> Option<bool> {
        let (shelf, slot) = (view.shelf(), view.slot());
        let matches = (shelf == ANY_SHELF || shelf == self.shelf) && (slot == ANY_SLOT || slot == self.slot);
        matches.then_some(shelf != ANY_SHELF && slot != ANY_SLOT)
    }

    /// Does what a frame asks for, and tells what must be answered. `sectors`: that a frame may carry here.
    pub fn take(&mut self, frame: &[u8], sectors: u8) -> Option<Expected> {
        let view = HeaderView::new_checked(frame).ok()?;
        let directed = self.addressed(&view)?;
        let request = Header::parse(&view);
        if !self.exported || view.is_response() || request.source.0[0] & 1 != 0 || request.source == Mac::default() {
            return None;
        }
        let allowed = self.allows(request.source);
        if (!self.mask.is_empty() && !self.mask.contains(&request.source)) || (!directed && !allowed) {
            return None;
        }
        if request.version != 1 {
            return Some(failed(header::Failure::UnsupportedVersion));
        }
        let argument = view.argument();
        match request.command {
            command::ATA => match AtaView::new_checked(argument) {
                Ok(view) => self.ata(&Ata::parse(&view), view.data(), request.source, directed, sectors),
                Err(_) => Some(failed(header::Failure::BadArgument)),
            },
            command::CONFIG => {
                let command = argument.get(5).filter(|_| argument.len() >= config::LENGTH).map_or(0, |byte| byte & 0x0f);
                let failure = self.config(argument, allowed)?;
                Some(Expected { failure, body: Body::Config { command, string: self.config.clone() } })
            }
            command::MASK => {
                let (failure, error) = self.edit_mask(argument, allowed);
                let command = argument.get(1).copied().unwrap_or(0);
                Some(Expected { failure, body: Body::Mask { command, error, macs: self.mask.clone() } })
            }
            command::RESERVE => {
                let failure = self.set_reserve(argument, request.source, allowed);
                let command = argument.first().copied().unwrap_or(0);
                Some(Expected { failure, body: Body::Reserve { command, macs: self.reserve.clone() } })
            }
            _ => Some(failed(header::Failure::UnrecognizedCommand)),
        }
    }

    fn ata(&mut self, request: &Ata, data: &[u8], source: Mac, directed: bool, sectors: u8) -> Option<Expected> {
        const ABORTED: (u8, u8) = (0x41, 0x04);
        if !self.allows(source) {
            return Some(ata_answer(ABORTED.0, ABORTED.1, Vec::new()));
        }
        let write = match request.command {
            ata::command::READ | ata::command::READ_EXT => false,
            ata::command::WRITE | ata::command::WRITE_EXT => true,
            ata::command::IDENTIFY => return Some(Expected { failure: 0, body: Body::Identity(self.sectors()) }),
            ata::command::FLUSH_CACHE | ata::command::FLUSH_CACHE_EXT | ata::command::CHECK_POWER_MODE => {
                return Some(ata_answer(0x40, 0, Vec::new()));
            }
            ata::command::SET_FEATURES if [0x02, 0x82, 0xaa, 0x55].contains(&request.feature) => {
                return Some(ata_answer(0x40, 0, Vec::new()));
            }
            _ => return Some(ata_answer(ABORTED.0, ABORTED.1, Vec::new())),
        };
        if !self.reserve.is_empty() && !self.reserve.contains(&source) {
            return Some(failed(header::Failure::TargetReserved));
        }
        if write && !directed {
            return None;
        }
        let length = usize::from(request.count) * SECTOR;
        if request.count == 0 || request.count > sectors || (write && data.len() < length) {
            return Some(failed(header::Failure::BadArgument));
        }
        if write && self.read_only {
            return Some(ata_answer(ABORTED.0, ABORTED.1, Vec::new()));
        }
        if request.sector() + u64::from(request.count) > self.sectors() {
            return Some(ata_answer(0x41, 0x10, Vec::new()));
        }
        let place = &mut self.data[request.sector() as usize * SECTOR..][..length];
        if write {
            place.copy_from_slice(&data[..length]);
            return Some(ata_answer(0x40, 0, Vec::new()));
        }
        Some(ata_answer(0x40, 0, place.to_vec()))
    }

    /// None: no answer. Else the error.
    fn config(&mut self, argument: &[u8], allowed: bool) -> Option<u8> {
        let Ok(view) = ConfigView::new_checked(argument) else { return Some(2) };
        let command = view.command();
        if command == config::command::READ {
            return Some(0);
        }
        let Ok(string) = view.string() else { return Some(2) };
        match command {
            config::command::TEST_EXACT => (string == self.config).then_some(0),
            config::command::TEST_PREFIX => self.config.starts_with(string).then_some(0),
            3..=5 if !allowed => Some(6),
            config::command::SET_IF_EMPTY if !self.config.is_empty() => Some(4),
            config::command::SET_IF_EMPTY | config::command::FORCE => {
                self.config = string.to_vec();
                Some(0)
            }
            config::command::TEST_AND_REPLACE => match view.replacement() {
                Err(_) => Some(2),
                Ok(_) if string != self.config => Some(4),
                Ok(new) => {
                    self.config = new.to_vec();
                    Some(0)
                }
            },
            _ => Some(2),
        }
    }

    /// Error of the header, and of the argument.
    fn edit_mask(&mut self, argument: &[u8], allowed: bool) -> (u8, u8) {
        let Ok(view) = MaskView::new_checked(argument) else { return (2, 0) };
        let request = Mask::parse(&view);
        match request.command {
            mask::command::READ => return (0, 0),
            mask::command::EDIT if !allowed => return (6, 0),
            mask::command::EDIT => {}
            _ => return (2, 0),
        }
        let mut macs = self.mask.clone();
        for entry in request.directives {
            match entry.command {
                0 => {}
                1 if macs.contains(&entry.mac) => {}
                1 if macs.len() == MOST_MACS => return (0, mask::error::FULL),
                1 => macs.push(entry.mac),
                2 => macs.retain(|mac| *mac != entry.mac),
                _ => return (0, mask::error::BAD_DIRECTIVE),
            }
        }
        self.mask = macs;
        (0, 0)
    }

    fn set_reserve(&mut self, argument: &[u8], source: Mac, allowed: bool) -> u8 {
        let Ok(view) = ReserveView::new_checked(argument) else { return 2 };
        let request = Reserve::parse(&view);
        match request.command {
            reserve::command::READ => return 0,
            reserve::command::SET | reserve::command::FORCE if !allowed => return 6,
            reserve::command::SET if !self.reserve.is_empty() && !self.reserve.contains(&source) => return 6,
            reserve::command::SET | reserve::command::FORCE => {}
            _ => return 2,
        }
        if request.macs.len() > MOST_MACS {
            return 2;
        }
        self.reserve = request.macs;
        0
    }
}
