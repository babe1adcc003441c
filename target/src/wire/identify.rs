use super::SECTOR;

/// Word numbers of IDENTIFY DEVICE data (ATA8-ACS, section 7.16); words are little-endian.
mod word {
    pub const GENERAL: usize = 0;
    pub const SERIAL: usize = 10;
    pub const FIRMWARE: usize = 23;
    pub const MODEL: usize = 27;
    pub const CAPABILITIES: usize = 49;
    pub const VALID: usize = 53;
    pub const SECTORS_28: usize = 60;
    pub const MAJOR_VERSION: usize = 80;
    pub const COMMANDS_82: usize = 82;
    pub const COMMANDS_83: usize = 83;
    pub const COMMANDS_84: usize = 84;
    pub const ENABLED_85: usize = 85;
    pub const ENABLED_86: usize = 86;
    pub const ENABLED_87: usize = 87;
    pub const SECTORS_48: usize = 100;
    pub const SECTOR_SIZE: usize = 106;
}

/// Most sectors that 28-bit commands reach.
pub const MAX_SECTORS_28: u64 = 0x0fff_ffff;
/// Characters of the serial number, the firmware revision and the model.
pub const SERIAL_LENGTH: usize = 20;
const FIRMWARE_LENGTH: usize = 8;
const MODEL_LENGTH: usize = 40;

/// Word 83, bit 10: 48-bit addresses.
const HAS_48_BIT: u16 = 0x0400;
/// Word 106, bit 14: the word is valid; bit 13: a physical sector is several logical ones, 2 to the power of bits 0 to 3.
const SIZE_VALID: u16 = 0x4000;
const SIZE_MULTIPLE: u16 = 0x2000;
const SIZE_SHIFT: u16 = 0x000f;

/// What IDENTIFY says about a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub serial: String,
    pub firmware: String,
    pub model: String,
    /// Of 512 bytes.
    pub sectors: u64,
    /// Bytes that the device writes at once: 512 or 4096.
    pub physical_block: u32,
}

impl Identity {
    /// Reads IDENTIFY data back.
    pub fn parse(bytes: &[u8; SECTOR]) -> Identity {
        let get = |word: usize| u16::from_le_bytes([bytes[word * 2], bytes[word * 2 + 1]]);
        let text = |word: usize, length: usize| -> String {
            let characters: String = (0..length).map(|index| char::from(bytes[(word * 2 + index) ^ 1])).collect();
            characters.trim_end().to_owned()
        };
        let sectors = if get(word::COMMANDS_83) & HAS_48_BIT != 0 {
            (0..4).rev().fold(0, |value, index| value << 16 | u64::from(get(word::SECTORS_48 + index)))
        } else {
            u64::from(get(word::SECTORS_28 + 1)) << 16 | u64::from(get(word::SECTORS_28))
        };
        let shift = if get(word::SECTOR_SIZE) & SIZE_MULTIPLE != 0 { get(word::SECTOR_SIZE) & SIZE_SHIFT } else { 0 };
        Identity {
            serial: text(word::SERIAL, SERIAL_LENGTH),
            firmware: text(word::FIRMWARE, FIRMWARE_LENGTH),
            model: text(word::MODEL, MODEL_LENGTH),
            sectors,
            physical_block: 512 << shift,
        }
    }

    pub fn emit(&self, bytes: &mut [u8; SECTOR]) {
        bytes.fill(0);
        let mut put = |word: usize, value: u16| bytes[word * 2..word * 2 + 2].copy_from_slice(&value.to_le_bytes());
        let sectors_28 = self.sectors.min(MAX_SECTORS_28);
        put(word::GENERAL, 0x0040); // an ATA disk, not removable
        put(word::CAPABILITIES, 0x0200); // LBA
        put(word::VALID, 0x0002); // words 64-70 are valid
        put(word::SECTORS_28, sectors_28 as u16);
        put(word::SECTORS_28 + 1, (sectors_28 >> 16) as u16);
        put(word::MAJOR_VERSION, 0x00f0); // ATA/ATAPI-4 to 7
        // No volatile cache is announced: answered writes are on stable storage. FLUSH CACHE is supported all the same.
        put(word::COMMANDS_82, 0x0000);
        put(word::COMMANDS_83, 0x7400); // bit 14 valid, 13 FLUSH CACHE EXT, 12 FLUSH CACHE, 10 48-bit
        put(word::COMMANDS_84, 0x4000);
        put(word::ENABLED_85, 0x0000);
        put(word::ENABLED_86, 0x3400);
        put(word::ENABLED_87, 0x4000);
        for index in 0..4 {
            put(word::SECTORS_48 + index, (self.sectors >> (16 * index)) as u16);
        }
        if self.physical_block > 512 {
            put(word::SECTOR_SIZE, SIZE_VALID | SIZE_MULTIPLE | (self.physical_block / 512).trailing_zeros() as u16);
        } else {
            put(word::SECTOR_SIZE, SIZE_VALID);
        }
        let mut text = |word: usize, length: usize, value: &str| {
            let padded = value.bytes().chain(std::iter::repeat(b' '));
            for (index, byte) in padded.take(length).enumerate() {
                bytes[(word * 2 + index) ^ 1] = byte; // the first character of a pair is the high byte
            }
        };
        text(word::SERIAL, SERIAL_LENGTH, &self.serial);
        text(word::FIRMWARE, FIRMWARE_LENGTH, &self.firmware);
        text(word::MODEL, MODEL_LENGTH, &self.model);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(sectors: u64) -> Identity {
        Identity { serial: "0123456789ABCDEF0123".into(), firmware: "0.1".into(), model: "AoE".into(), sectors, physical_block: 4096 }
    }

    #[test]
    fn strings_are_swapped_in_pairs_and_padded_with_spaces() {
        let mut bytes = [0; SECTOR];
        identity(1).emit(&mut bytes);
        assert_eq!(&bytes[20..24], b"1032");
        assert_eq!(&bytes[54..58], b"oA E");
    }

    #[test]
    fn a_large_disk_shows_its_size_in_48_bits_only() {
        let mut bytes = [0; SECTOR];
        identity(0x1234_5678_9abc).emit(&mut bytes);
        assert_eq!(bytes[120..124], [0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(bytes[200..208], [0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0]);
        assert_eq!(u16::from_le_bytes([bytes[166], bytes[167]]) & 0x0400, 0x0400, "word 83, bit 10");
        assert_eq!(u16::from_le_bytes([bytes[172], bytes[173]]) & 0x0400, 0x0400, "word 86, bit 10");
    }

    proptest! {
        #[test]
        fn what_is_emitted_parses_to_the_same(serial in "[!-~]{0,20}", model in "[!-~]{0,40}", sectors in 0u64..1 << 48, block in prop::sample::select(vec![512u32, 4096])) {
            let identity = Identity { serial, firmware: "1".into(), model, sectors, physical_block: block };
            let mut bytes = [0; SECTOR];
            identity.emit(&mut bytes);
            prop_assert_eq!(Identity::parse(&bytes), identity);
        }
    }
}
