use super::{ETHERTYPE, Error, Mac, Result, put_u16, u16_at, u32_at};

/// Offsets of the fields, from the start of the Ethernet frame.
pub mod field {
    pub const DESTINATION: usize = 0;
    pub const SOURCE: usize = 6;
    pub const ETHERTYPE: usize = 12;
    pub const VERSION_FLAGS: usize = 14;
    pub const ERROR: usize = 15;
    pub const SHELF: usize = 16;
    pub const SLOT: usize = 18;
    pub const COMMAND: usize = 19;
    pub const TAG: usize = 20;
}

/// Bytes of Ethernet and AoE header together: the argument starts here.
pub const LENGTH: usize = 24;
/// The protocol version this code speaks.
pub const VERSION: u8 = 1;
/// Flags (section 2.3).
pub const RESPONSE: u8 = 0x08;
pub const ERROR: u8 = 0x04;
/// Bit of the tag that the Linux driver never sets: it ignores answers with it, and so leaves them to programs.
pub const USER_TAG: u32 = 0x8000_0000;
/// Every shelf, every slot (section 2.5, 2.6).
pub const ANY_SHELF: u16 = 0xffff;
pub const ANY_SLOT: u8 = 0xff;

/// Commands (section 2.7).
pub mod command {
    pub const ATA: u8 = 0;
    pub const CONFIG: u8 = 1;
    pub const MASK: u8 = 2;
    pub const RESERVE: u8 = 3;
}

/// Values of the error field of an answer with [`ERROR`] (section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Failure {
    UnrecognizedCommand = 1,
    BadArgument = 2,
    DeviceUnavailable = 3,
    ConfigStringPresent = 4,
    UnsupportedVersion = 5,
    TargetReserved = 6,
}

/// Ethernet and AoE header (section 2).
///
/// ```text
///  0  destination MAC        6  source MAC           12  EtherType 0x88A2
/// 14  version | flags       15  error                16  major (shelf, 16 bit)
/// 18  minor (slot)          19  command              20  tag (32 bit)          24  argument
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    pub destination: Mac,
    pub source: Mac,
    pub version: u8,
    /// The low nibble as sent: [`RESPONSE`], [`ERROR`].
    pub flags: u8,
    pub error: u8,
    pub shelf: u16,
    pub slot: u8,
    pub command: u8,
    pub tag: u32,
}

/// An AoE frame, checked to have a whole header and the EtherType.
#[derive(Debug, Clone, Copy)]
pub struct HeaderView<'a>(&'a [u8]);

impl<'a> HeaderView<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() < LENGTH {
            return Err(Error::Truncated);
        }
        match u16_at(bytes, field::ETHERTYPE) {
            ETHERTYPE => Ok(HeaderView(bytes)),
            other => Err(Error::EtherType(other)),
        }
    }

    pub fn destination(&self) -> Mac {
        Mac::at(self.0, field::DESTINATION)
    }

    pub fn source(&self) -> Mac {
        Mac::at(self.0, field::SOURCE)
    }

    pub fn shelf(&self) -> u16 {
        u16_at(self.0, field::SHELF)
    }

    pub fn slot(&self) -> u8 {
        self.0[field::SLOT]
    }

    pub fn is_response(&self) -> bool {
        self.0[field::VERSION_FLAGS] & RESPONSE != 0
    }

    /// What follows the header, Ethernet padding included.
    pub fn argument(&self) -> &'a [u8] {
        &self.0[LENGTH..]
    }
}

impl Header {
    pub fn parse(view: &HeaderView<'_>) -> Header {
        let bytes = view.0;
        Header {
            destination: view.destination(),
            source: view.source(),
            version: bytes[field::VERSION_FLAGS] >> 4,
            flags: bytes[field::VERSION_FLAGS] & 0x0f,
            error: bytes[field::ERROR],
            shelf: view.shelf(),
            slot: view.slot(),
            command: bytes[field::COMMAND],
            tag: u32_at(bytes, field::TAG),
        }
    }

    /// Writes the header into the first [`LENGTH`] bytes.
    pub fn emit(&self, bytes: &mut [u8]) {
        bytes[field::DESTINATION..][..Mac::LENGTH].copy_from_slice(&self.destination.0);
        bytes[field::SOURCE..][..Mac::LENGTH].copy_from_slice(&self.source.0);
        put_u16(bytes, field::ETHERTYPE, ETHERTYPE);
        bytes[field::VERSION_FLAGS] = self.version << 4 | self.flags & 0x0f;
        bytes[field::ERROR] = self.error;
        put_u16(bytes, field::SHELF, self.shelf);
        bytes[field::SLOT] = self.slot;
        bytes[field::COMMAND] = self.command;
        bytes[field::TAG..][..4].copy_from_slice(&self.tag.to_be_bytes());
    }

    /// The header of the answer that `from` gives as `shelf.slot`: tag and command are echoed (section 2).
    pub fn answer(&self, from: Mac, shelf: u16, slot: u8, failure: Option<Failure>) -> Header {
        Header {
            destination: self.source,
            source: from,
            version: VERSION,
            flags: if failure.is_some() { RESPONSE | ERROR } else { RESPONSE },
            error: failure.map_or(0, |failure| failure as u8),
            shelf,
            slot,
            command: self.command,
            tag: self.tag,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: [u8; LENGTH] =
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 0x01, 0x88, 0xa2, 0x10, 0, 0x01, 0x02, 0x03, 0x01, 0x80, 0, 0, 0x2a];

    #[test]
    fn a_config_query_parses_field_by_field() {
        let header = Header::parse(&HeaderView::new_checked(&FRAME).unwrap());
        let expected = Header {
            destination: Mac::BROADCAST,
            source: Mac([2, 0, 0, 0, 0, 1]),
            version: 1,
            flags: 0,
            error: 0,
            shelf: 0x0102,
            slot: 3,
            command: command::CONFIG,
            tag: 0x8000_002a,
        };
        assert_eq!(header, expected);
    }

    #[test]
    fn short_frames_and_other_ethertypes_are_not_aoe() {
        for length in 0..LENGTH {
            assert_eq!(HeaderView::new_checked(&FRAME[..length]).err(), Some(Error::Truncated), "{length}");
        }
        let mut other = FRAME;
        other[13] = 0xa3;
        assert_eq!(HeaderView::new_checked(&other).err(), Some(Error::EtherType(0x88a3)));
    }

    #[test]
    fn an_answer_goes_back_with_the_tag_and_its_own_address() {
        let header = Header::parse(&HeaderView::new_checked(&FRAME).unwrap());
        let answer = header.answer(Mac([2, 0, 0, 0, 0, 9]), 7, 3, Some(Failure::BadArgument));
        assert_eq!((answer.destination, answer.tag, answer.shelf, answer.slot), (header.source, header.tag, 7, 3));
        assert_eq!((answer.flags, answer.error, answer.command), (RESPONSE | ERROR, 2, command::CONFIG));
    }

    proptest! {
        #[test]
        fn what_parses_emits_to_the_same_bytes(mut bytes in prop::collection::vec(any::<u8>(), LENGTH..80)) {
            put_u16(&mut bytes, field::ETHERTYPE, ETHERTYPE);
            let header = Header::parse(&HeaderView::new_checked(&bytes).unwrap());
            let mut out = [0; LENGTH];
            header.emit(&mut out);
            prop_assert_eq!(&out[..], &bytes[..LENGTH]);
        }
    }
}
