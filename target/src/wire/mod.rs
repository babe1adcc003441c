//! AoE frames: one file per argument type, each with a checked view over bytes and a plain value that parses and emits.
//! No I/O here. Sections are those of the AoEr11 specification; all integers are big-endian.

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

/// The bytes are fewer than the layout needs, or fewer than a count in them says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncated;

pub type Result<T> = std::result::Result<T, Truncated>;

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
