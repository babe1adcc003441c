use super::{Error, Result};

/// Offsets of the fields, from the start of the argument.
mod field {
    pub const FLAGS: usize = 0;
    pub const FEATURE: usize = 1;
    pub const COUNT: usize = 2;
    pub const COMMAND: usize = 3;
    pub const LBA: usize = 4;
    pub const RESERVED: usize = 10;
}

/// Bytes before the data.
pub const LENGTH: usize = 12;

/// AFlags (section 3.1).
pub mod flag {
    pub const LBA48: u8 = 0x40;
    pub const WRITE: u8 = 0x01;
}

/// ATA commands that initiators send (ATA8-ACS, section 7).
pub mod command {
    pub const READ: u8 = 0x20;
    pub const READ_EXT: u8 = 0x24;
    pub const WRITE: u8 = 0x30;
    pub const WRITE_EXT: u8 = 0x34;
    pub const CHECK_POWER_MODE: u8 = 0xe5;
    pub const FLUSH_CACHE: u8 = 0xe7;
    pub const FLUSH_CACHE_EXT: u8 = 0xea;
    pub const IDENTIFY: u8 = 0xec;
    pub const SET_FEATURES: u8 = 0xef;
}

/// Bits of the status register: device ready, and error.
pub mod status {
    pub const READY: u8 = 0x40;
    pub const ERROR: u8 = 0x01;
}

/// Bits of the error register: aborted, address not found, uncorrectable.
pub mod error {
    pub const ABORTED: u8 = 0x04;
    pub const NOT_FOUND: u8 = 0x10;
    pub const UNCORRECTABLE: u8 = 0x40;
}

/// Argument of command 0, "issue ATA command" (section 3.1).
///
/// ```text
/// 0 AFlags   1 err/feature   2 sector count   3 cmd/status   4-9 LBA0..LBA5   10-11 reserved   12 data
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ata {
    pub flags: u8,
    /// Feature in a request, error register in an answer.
    pub feature: u8,
    pub count: u8,
    /// Command in a request, status register in an answer.
    pub command: u8,
    /// LBA0, the least significant, first.
    pub lba: [u8; 6],
    pub reserved: [u8; 2],
}

/// The argument, checked to have all fields before the data.
#[derive(Debug, Clone, Copy)]
pub struct AtaView<'a>(&'a [u8]);

impl<'a> AtaView<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() < LENGTH { Err(Error::Truncated) } else { Ok(AtaView(bytes)) }
    }

    /// What follows the registers: data of a write, or padding.
    pub fn data(&self) -> &'a [u8] {
        &self.0[LENGTH..]
    }
}

impl Ata {
    pub fn parse(view: &AtaView<'_>) -> Ata {
        let bytes = view.0;
        let mut lba = [0; 6];
        lba.copy_from_slice(&bytes[field::LBA..field::RESERVED]);
        Ata {
            flags: bytes[field::FLAGS],
            feature: bytes[field::FEATURE],
            count: bytes[field::COUNT],
            command: bytes[field::COMMAND],
            lba,
            reserved: [bytes[field::RESERVED], bytes[field::RESERVED + 1]],
        }
    }

    /// Writes the registers into the first [`LENGTH`] bytes.
    pub fn emit(&self, bytes: &mut [u8]) {
        bytes[field::FLAGS] = self.flags;
        bytes[field::FEATURE] = self.feature;
        bytes[field::COUNT] = self.count;
        bytes[field::COMMAND] = self.command;
        bytes[field::LBA..field::RESERVED].copy_from_slice(&self.lba);
        bytes[field::RESERVED..LENGTH].copy_from_slice(&self.reserved);
    }

    /// First sector, of 48 bits for the EXT commands, else of 28: then the high nibble of LBA3 is the device register's.
    pub fn sector(&self) -> u64 {
        let [a, b, c, d, e, f] = self.lba;
        if matches!(self.command, command::READ_EXT | command::WRITE_EXT) {
            u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
        } else {
            u64::from_le_bytes([a, b, c, d & 0x0f, 0, 0, 0, 0])
        }
    }

    /// The answer to this request when all went well.
    pub fn done(&self) -> Ata {
        Ata { feature: 0, command: status::READY, ..*self }
    }

    /// The answer to this request when it failed, with bits of [`error`].
    pub fn failed(&self, error: u8) -> Ata {
        Ata { feature: error, command: status::READY | status::ERROR, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sectors_have_28_or_48_bits() {
        let ata = Ata { flags: 0, feature: 0, count: 1, command: command::READ, lba: [1, 2, 3, 0xe4, 5, 6], reserved: [0; 2] };
        assert_eq!(ata.sector(), 0x0403_0201);
        assert_eq!(Ata { command: command::READ_EXT, ..ata }.sector(), 0x0605_e403_0201);
    }

    #[test]
    fn a_failure_sets_the_error_bit_that_initiators_look_for() {
        let ata = Ata { flags: 1, feature: 9, count: 2, command: command::WRITE, lba: [7; 6], reserved: [0; 2] };
        let failed = ata.failed(error::ABORTED);
        assert_eq!((failed.command, failed.feature), (0x41, 0x04));
        assert_ne!(failed.command & 0xa9, 0);
        assert_eq!(ata.done().command & 0xa9, 0);
    }

    #[test]
    fn short_arguments_are_refused() {
        assert!((0..LENGTH).all(|length| AtaView::new_checked(&[0; LENGTH][..length]).is_err()));
    }

    proptest! {
        #[test]
        fn what_parses_emits_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), LENGTH..100)) {
            let view = AtaView::new_checked(&bytes).unwrap();
            let mut out = [0; LENGTH];
            Ata::parse(&view).emit(&mut out);
            prop_assert_eq!(&out[..], &bytes[..LENGTH]);
            prop_assert_eq!(view.data(), &bytes[LENGTH..]);
        }
    }
}
