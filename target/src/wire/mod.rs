//! AoE frames: one file per argument type. No I/O here. Sections are those of the AoEr11 specification; all integers are
//! big-endian.
//!
//! Each type has a view and a value. A view (`HeaderView`, ...) borrows bytes; its `new_checked` is the only check, after which
//! no access fails. The value (`Header`, ...) is `parse`d from a view and `emit`s to bytes. What parses, emits to the same bytes,
//! reserved fields included; padding after the argument is not part of it.

pub mod ata;
pub mod config;
pub mod header;
pub mod identify;
pub mod mac;
pub mod mask;
pub mod reserve;

pub use ata::{Ata, AtaView};
pub use config::{Config, ConfigView};
pub use header::{Header, HeaderView};
pub use mac::Mac;
pub use mask::{Directive, Mask, MaskView};
pub use reserve::{Reserve, ReserveView};

/// EtherType of AoE (section 2.1).
pub const ETHERTYPE: u16 = 0x88a2;
/// Shortest Ethernet frame without its checksum; aoetools take no shorter answers.
pub const MIN_FRAME: usize = 60;
/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer bytes than the layout needs, or than a count in them says.
    #[error("the frame ends too early")]
    Truncated,
    #[error("EtherType {0:#06x} is not that of AoE")]
    EtherType(u16),
    /// Its length in bytes.
    #[error("a config string of {0} bytes: at most {max} fit", max = config::MAX_STRING)]
    StringTooLong(usize),
}

pub type Result<T> = std::result::Result<T, Error>;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
