use super::{Error, Mac, Result};

/// Offsets of the fields, from the start of the argument.
mod field {
    pub const COMMAND: usize = 0;
    pub const COUNT: usize = 1;
}

/// Bytes before the list.
pub const LENGTH: usize = 2;

/// RCmd (section 3.4).
pub mod command {
    pub const READ: u8 = 0;
    pub const SET: u8 = 1;
    pub const FORCE: u8 = 2;
}

/// Argument of command 3, "reserve/release" (section 3.4).
///
/// ```text
/// 0 RCmd   1 count   2 MAC addresses of 6 bytes each
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    pub command: u8,
    pub macs: Vec<Mac>,
}

/// The argument, checked to have as many addresses as its count says.
#[derive(Debug, Clone, Copy)]
pub struct ReserveView<'a>(&'a [u8]);

impl<'a> ReserveView<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self> {
        let count = usize::from(*bytes.get(field::COUNT).ok_or(Error::Truncated)?);
        if bytes.len() < LENGTH + count * Mac::LENGTH { Err(Error::Truncated) } else { Ok(ReserveView(bytes)) }
    }
}

/// RCmd of an argument that may be too short to have one: 0 then, as an answer repeats it.
pub fn command_of(argument: &[u8]) -> u8 {
    argument.get(field::COMMAND).copied().unwrap_or(0)
}

impl Reserve {
    pub fn parse(view: &ReserveView<'_>) -> Reserve {
        let end = LENGTH + usize::from(view.0[field::COUNT]) * Mac::LENGTH;
        let macs = view.0[LENGTH..end].chunks_exact(Mac::LENGTH).map(|chunk| Mac::at(chunk, 0)).collect();
        Reserve { command: view.0[field::COMMAND], macs }
    }

    /// Bytes that [`Reserve::emit`] writes.
    pub fn emitted(&self) -> usize {
        LENGTH + self.macs.len() * Mac::LENGTH
    }

    pub fn emit(&self, bytes: &mut [u8]) {
        bytes[field::COMMAND] = self.command;
        bytes[field::COUNT] = self.macs.len() as u8;
        for (chunk, mac) in bytes[LENGTH..].chunks_exact_mut(Mac::LENGTH).zip(&self.macs) {
            chunk.copy_from_slice(&mac.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_that_do_not_fit_are_refused() {
        for bytes in [&[][..], &[1], &[1, 1], &[1, 1, 2, 0, 0, 0, 0], &[1, 255, 2, 0, 0, 0, 0, 1]] {
            assert!(ReserveView::new_checked(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_emits_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), LENGTH..400), count in 0u8..70) {
            let mut bytes = bytes;
            bytes[field::COUNT] = count;
            let Ok(view) = ReserveView::new_checked(&bytes) else {
                prop_assert!(LENGTH + usize::from(count) * Mac::LENGTH > bytes.len());
                return Ok(());
            };
            let reserve = Reserve::parse(&view);
            let mut out = vec![0; reserve.emitted()];
            reserve.emit(&mut out);
            prop_assert_eq!(&out[..], &bytes[..out.len()]);
        }
    }
}
