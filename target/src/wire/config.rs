use super::{Error, Result, put_u16, u16_at};

/// Offsets of the fields, from the start of the argument.
mod field {
    pub const BUFFERS: usize = 0;
    pub const FIRMWARE: usize = 2;
    pub const SECTORS: usize = 4;
    pub const VERSION_COMMAND: usize = 5;
    pub const STRING_LENGTH: usize = 6;
}

/// Bytes before the string.
pub const LENGTH: usize = 8;
/// Longest config string, in bytes (section 3.2).
pub const MAX_STRING: usize = 1024;

/// What a config command does with the string (section 3.2). `TEST_AND_REPLACE` came with Coraid's later targets.
pub mod command {
    pub const READ: u8 = 0;
    pub const TEST_EXACT: u8 = 1;
    pub const TEST_PREFIX: u8 = 2;
    pub const SET_IF_EMPTY: u8 = 3;
    pub const FORCE: u8 = 4;
    pub const TEST_AND_REPLACE: u8 = 5;
}

/// Argument of command 1, "query config information" (section 3.2).
///
/// ```text
/// 0 buffer count (16 bit)   2 firmware (16 bit)   4 sector count   5 AoE version | CCmd   6 length (16 bit)   8 string
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Frames that the target can queue.
    pub buffers: u16,
    pub firmware: u16,
    /// Most sectors a frame may carry.
    pub sectors: u8,
    pub version: u8,
    pub command: u8,
    pub string: Vec<u8>,
}

/// The argument, checked to have the fields before the string. The string itself is checked when it is asked for: some
/// initiators read with a length and no string.
#[derive(Debug, Clone, Copy)]
pub struct ConfigView<'a>(&'a [u8]);

impl<'a> ConfigView<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() < LENGTH { Err(Error::Truncated) } else { Ok(ConfigView(bytes)) }
    }

    pub fn command(&self) -> u8 {
        self.0[field::VERSION_COMMAND] & 0x0f
    }

    /// The string; an error when it is too long or the frame ends before it does.
    pub fn string(&self) -> Result<&'a [u8]> {
        sized(&self.0[field::STRING_LENGTH..])
    }

    /// The new string of a `TEST_AND_REPLACE`: its length and itself follow the old string.
    pub fn replacement(&self) -> Result<&'a [u8]> {
        let old = self.string()?;
        sized(&self.0[LENGTH + old.len()..])
    }
}

/// A 16-bit length and as many bytes.
fn sized(bytes: &[u8]) -> Result<&[u8]> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Err(Error::Truncated) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_STRING {
        return Err(Error::StringTooLong(length));
    }
    rest.get(..length).ok_or(Error::Truncated)
}

impl Config {
    pub fn parse(view: &ConfigView<'_>) -> Result<Config> {
        let bytes = view.0;
        Ok(Config {
            buffers: u16_at(bytes, field::BUFFERS),
            firmware: u16_at(bytes, field::FIRMWARE),
            sectors: bytes[field::SECTORS],
            version: bytes[field::VERSION_COMMAND] >> 4,
            command: view.command(),
            string: view.string()?.to_vec(),
        })
    }

    /// Bytes that [`Config::emit`] writes.
    pub fn emitted(&self) -> usize {
        LENGTH + self.string.len()
    }

    pub fn emit(&self, bytes: &mut [u8]) {
        put_u16(bytes, field::BUFFERS, self.buffers);
        put_u16(bytes, field::FIRMWARE, self.firmware);
        bytes[field::SECTORS] = self.sectors;
        bytes[field::VERSION_COMMAND] = self.version << 4 | self.command & 0x0f;
        put_u16(bytes, field::STRING_LENGTH, self.string.len() as u16);
        bytes[LENGTH..self.emitted()].copy_from_slice(&self.string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_test_and_replace_carries_two_strings() {
        let bytes = b"\0\0\0\0\0\x15\0\x03old\0\x05newer??";
        let view = ConfigView::new_checked(bytes).unwrap();
        assert_eq!(view.command(), command::TEST_AND_REPLACE);
        assert_eq!(view.string(), Ok(&b"old"[..]));
        assert_eq!(view.replacement(), Ok(&b"newer"[..]));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let cases: [(&str, &[u8], Error); 4] = [
            ("longer than the frame", b"\0\0\0\0\0\x13\0\x04abc", Error::Truncated),
            ("longer than a string may be", &[&b"\0\0\0\0\0\x13\x04\x01"[..], &[b'x'; 1025]].concat(), Error::StringTooLong(1025)),
            ("all ones", b"\0\0\0\0\0\x13\xff\xffabc", Error::StringTooLong(0xffff)),
            ("empty but for the length", b"\0\0\0\0\0\x13\0\x01", Error::Truncated),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(ConfigView::new_checked(bytes).unwrap().string(), Err(expected), "{name}");
        }
        for bytes in [&b"\0\0\0\0\0\x15\0\x01a"[..], b"\0\0\0\0\0\x15\0\x01a\0", b"\0\0\0\0\0\x15\0\x01a\0\x02b"] {
            assert_eq!(ConfigView::new_checked(bytes).unwrap().replacement(), Err(Error::Truncated));
        }
        assert!((0..LENGTH).all(|length| ConfigView::new_checked(&[0; LENGTH][..length]).is_err()));
    }

    proptest! {
        #[test]
        fn what_parses_emits_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), LENGTH..1100), length in 0u16..1100) {
            let mut bytes = bytes;
            put_u16(&mut bytes, field::STRING_LENGTH, length);
            let view = ConfigView::new_checked(&bytes).unwrap();
            match Config::parse(&view) {
                Ok(config) => {
                    let mut out = vec![0; config.emitted()];
                    config.emit(&mut out);
                    prop_assert_eq!(&out[..], &bytes[..out.len()]);
                }
                Err(Error::StringTooLong(found)) => prop_assert!(found == usize::from(length) && found > MAX_STRING),
                Err(error) => prop_assert!(error == Error::Truncated && usize::from(length) > bytes.len() - LENGTH),
            }
        }
    }
}
