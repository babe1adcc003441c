//! What the owner of a volume decides about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::Mac;
use crate::wire::header::{ANY_SHELF, ANY_SLOT};
use crate::wire::identify::SERIAL_LENGTH;

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the shelf must be 0 to 65534 and not 4095 (which Linux hosts refuse)")]
    Shelf,
    #[error("the slot must be 0 to 254")]
    Slot,
    #[error("uid {0:?}: 1 to 63 of the characters a-z A-Z 0-9 . _ -")]
    Uid(String),
    #[error("serial {0:?}: at most {SERIAL_LENGTH} printable ASCII characters")]
    Serial(String),
    #[error("path {0:?}: must be absolute")]
    Path(String),
    #[error("access: {0} is not the address of one host")]
    Initiator(Mac),
    #[error("an export for copies must be read-only, and name the hosts that may read it")]
    OpenCopy,
    #[error("limits: {0} requests per second; at least {LEAST_IOPS}, or 0 for no limit")]
    Iops(u64),
    #[error("limits: {0} bytes per second; at least {LEAST_BYTES_PER_SECOND}, or 0 for no limit")]
    BytesPerSecond(u64),
    #[error("limits: a burst of {0} seconds; at most {MOST_BURST_SECONDS}")]
    BurstSeconds(u32),
}

/// Where a volume is on the segment. Text form: `e7.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    pub shelf: u16,
    pub slot: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}.{}", self.shelf, self.slot)
    }
}

/// Shelf that the Linux driver refuses.
const REFUSED_SHELF: u16 = 0xfff;

impl Address {
    /// An address that a volume can have: not a wildcard, and none that hosts refuse.
    pub fn checked(shelf: u32, slot: u32) -> Result<Address, Invalid> {
        let shelf = u16::try_from(shelf).ok().filter(|shelf| *shelf != ANY_SHELF && *shelf != REFUSED_SHELF);
        let slot = u8::try_from(slot).ok().filter(|slot| *slot != ANY_SLOT);
        match (shelf, slot) {
            (Some(shelf), Some(slot)) => Ok(Address { shelf, slot }),
            (None, _) => Err(Invalid::Shelf),
            (_, None) => Err(Invalid::Slot),
        }
    }
}

/// Who may read, write and change things.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// Every host on the segment.
    pub anyone: bool,
    pub macs: Vec<Mac>,
    /// Writes only while the config string is set.
    pub writes_need_lock: bool,
}

impl Access {
    pub fn allows(&self, mac: Mac) -> bool {
        self.anyone || self.macs.contains(&mac)
    }
}

/// Slowest limits. Hosts always have two frames under way; with less, their answers would take so long that hosts give up.
pub const LEAST_IOPS: u64 = 10;
pub const LEAST_BYTES_PER_SECOND: u64 = 65_536;
/// Longest time of which an unused limit may be saved up.
pub const MOST_BURST_SECONDS: u32 = 3600;

/// How much all hosts of a volume together may read and write in a second. 0: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Reads and writes together. Each 4 KiB of a request count as one.
    pub iops: u64,
    pub read_iops: u64,
    pub write_iops: u64,
    /// Reads and writes together.
    pub bytes_per_second: u64,
    pub read_bytes_per_second: u64,
    pub write_bytes_per_second: u64,
    /// Of how many seconds an unused limit may be saved up.
    pub burst_seconds: u32,
}

impl Limits {
    /// Whether there is no limit.
    pub fn is_none(&self) -> bool {
        Limits { burst_seconds: 0, ..*self } == Limits::default()
    }

    fn check(&self) -> Result<(), Invalid> {
        let few = |least: u64| move |rate: &u64| (1..least).contains(rate);
        if let Some(rate) = [self.iops, self.read_iops, self.write_iops].into_iter().find(few(LEAST_IOPS)) {
            return Err(Invalid::Iops(rate));
        }
        let bytes = [self.bytes_per_second, self.read_bytes_per_second, self.write_bytes_per_second];
        if let Some(rate) = bytes.into_iter().find(few(LEAST_BYTES_PER_SECOND)) {
            return Err(Invalid::BytesPerSecond(rate));
        }
        if self.burst_seconds > MOST_BURST_SECONDS { Err(Invalid::BurstSeconds(self.burst_seconds)) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Names the volume for ever.
    pub uid: String,
    #[serde(flatten)]
    pub address: Address,
    /// Block device or regular file.
    pub path: String,
    /// IDENTIFY serial number.
    pub serial: String,
    pub read_only: bool,
    pub access: Access,
    /// Size that hosts see, in sectors of 512 bytes; 0: that of the disk. State files of earlier versions have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sectors: u64,
    /// Only programs that copy it can find and read it: no kernel makes a disk of it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub for_copies: bool,
    /// None: there is no limit. In an export of a volume that exists: those that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Zeros that are written take no space, where the disk can do that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reclaim: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(sectors: &u64) -> bool {
    *sectors == 0
}

impl Definition {
    /// Whether uid, path, serial and access are well formed.
    pub fn check(&self) -> Result<(), Invalid> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.uid.is_empty() || self.uid.len() > 63 || !self.uid.bytes().all(plain) {
            return Err(Invalid::Uid(self.uid.clone()));
        }
        if self.serial.len() > SERIAL_LENGTH || !self.serial.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Invalid::Serial(self.serial.clone()));
        }
        if !self.path.starts_with('/') || self.path.contains('\0') {
            return Err(Invalid::Path(self.path.clone()));
        }
        if self.for_copies && (!self.read_only || self.access.anyone) {
            return Err(Invalid::OpenCopy);
        }
        if let Some(mac) = self.access.macs.iter().find(|mac| !mac.is_unicast()) {
            return Err(Invalid::Initiator(*mac));
        }
        self.limits.as_ref().map_or(Ok(()), Limits::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_and_what_linux_refuses_are_no_addresses() {
        assert_eq!(Address::checked(7, 3).unwrap().to_string(), "e7.3");
        assert!(Address::checked(65534, 254).is_ok());
        for (shelf, slot) in [(65535, 0), (4095, 0), (65536, 0), (0, 255), (0, 256)] {
            assert!(Address::checked(shelf, slot).is_err(), "{shelf}.{slot}");
        }
    }

    #[test]
    fn uids_serials_and_paths_are_checked() {
        let good = Definition {
            uid: "a-b_c.9".into(),
            address: Address { shelf: 1, slot: 1 },
            path: "/dev/x".into(),
            serial: "S 1".into(),
            read_only: false,
            access: Access::default(),
            sectors: 0,
            for_copies: false,
            limits: Some(Limits { iops: LEAST_IOPS, write_bytes_per_second: u64::MAX, ..Limits::default() }),
            reclaim: false,
        };
        assert_eq!(good.check(), Ok(()));
        assert_eq!(Definition { for_copies: true, read_only: true, ..good.clone() }.check(), Ok(()));
        let bad = [
            Definition { uid: String::new(), ..good.clone() },
            Definition { uid: "a/b".into(), ..good.clone() },
            Definition { uid: "x".repeat(64), ..good.clone() },
            Definition { serial: "x".repeat(21), ..good.clone() },
            Definition { serial: "ä".into(), ..good.clone() },
            Definition { path: "dev/x".into(), ..good.clone() },
            Definition { for_copies: true, ..good.clone() },
            Definition { for_copies: true, read_only: true, access: Access { anyone: true, ..Access::default() }, ..good.clone() },
            Definition { access: Access { anyone: false, macs: vec![Mac::BROADCAST], ..Access::default() }, ..good.clone() },
            Definition { limits: Some(Limits { read_iops: 1, ..Limits::default() }), ..good.clone() },
            Definition { limits: Some(Limits { read_bytes_per_second: 65_535, ..Limits::default() }), ..good.clone() },
            Definition { limits: Some(Limits { burst_seconds: 3601, ..Limits::default() }), ..good.clone() },
        ];
        for definition in bad {
            assert!(definition.check().is_err(), "{definition:?}");
        }
    }
}
