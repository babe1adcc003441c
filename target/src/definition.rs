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
        match self.access.macs.iter().find(|mac| !mac.is_unicast()) {
            Some(mac) => Err(Invalid::Initiator(*mac)),
            None => Ok(()),
        }
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
        ];
        for definition in bad {
            assert!(definition.check().is_err(), "{definition:?}");
        }
    }
}
