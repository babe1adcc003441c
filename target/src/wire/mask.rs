use super::{Error, Mac, Result};

/// Offsets of the fields, from the start of the argument.
mod field {
    pub const RESERVED: usize = 0;
    pub const COMMAND: usize = 1;
    pub const ERROR: usize = 2;
    pub const COUNT: usize = 3;
}

/// Offsets of the fields of a directive.
mod entry {
    pub const RESERVED: usize = 0;
    pub const COMMAND: usize = 1;
    pub const MAC: usize = 2;
}

/// Bytes before the directives, and of one directive.
pub const LENGTH: usize = 4;
pub const DIRECTIVE: usize = 8;

/// MCmd (section 3.3).
pub mod command {
    pub const READ: u8 = 0;
    pub const EDIT: u8 = 1;
}

/// DCmd of a directive.
pub mod directive {
    pub const NONE: u8 = 0;
    pub const ADD: u8 = 1;
    pub const DELETE: u8 = 2;
}

/// MError: why an edit failed.
pub mod error {
    pub const UNSPECIFIED: u8 = 1;
    pub const BAD_DIRECTIVE: u8 = 2;
    pub const FULL: u8 = 3;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive {
    pub reserved: u8,
    pub command: u8,
    pub mac: Mac,
}

/// Argument of command 2, "MAC mask list" (section 3.3).
///
/// ```text
/// 0 reserved   1 MCmd   2 MError   3 count   4 directives: { reserved, DCmd, MAC } of 8 bytes each
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    pub reserved: u8,
    pub command: u8,
    pub error: u8,
    pub directives: Vec<Directive>,
}

/// The argument, checked to have as many directives as its count says.
#[derive(Debug, Clone, Copy)]
pub struct MaskView<'a>(&'a [u8]);

impl<'a> MaskView<'a> {
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self> {
        let count = usize::from(*bytes.get(field::COUNT).ok_or(Error::Truncated)?);
        if bytes.len() < LENGTH + count * DIRECTIVE { Err(Error::Truncated) } else { Ok(MaskView(bytes)) }
    }

    pub fn directives(&self) -> impl Iterator<Item = Directive> + use<'a> {
        let end = LENGTH + usize::from(self.0[field::COUNT]) * DIRECTIVE;
        self.0[LENGTH..end].chunks_exact(DIRECTIVE).map(|chunk| Directive {
            reserved: chunk[entry::RESERVED],
            command: chunk[entry::COMMAND],
            mac: Mac::at(chunk, entry::MAC),
        })
    }
}

/// MCmd of an argument that may be too short to have one: 0 then, as an answer repeats it.
pub fn command_of(argument: &[u8]) -> u8 {
    argument.get(field::COMMAND).copied().unwrap_or(0)
}

impl Mask {
    pub fn parse(view: &MaskView<'_>) -> Mask {
        Mask {
            reserved: view.0[field::RESERVED],
            command: view.0[field::COMMAND],
            error: view.0[field::ERROR],
            directives: view.directives().collect(),
        }
    }

    /// Bytes that [`Mask::emit`] writes.
    pub fn emitted(&self) -> usize {
        LENGTH + self.directives.len() * DIRECTIVE
    }

    pub fn emit(&self, bytes: &mut [u8]) {
        bytes[field::RESERVED] = self.reserved;
        bytes[field::COMMAND] = self.command;
        bytes[field::ERROR] = self.error;
        bytes[field::COUNT] = self.directives.len() as u8;
        for (chunk, directive) in bytes[LENGTH..].chunks_exact_mut(DIRECTIVE).zip(&self.directives) {
            chunk[entry::RESERVED] = directive.reserved;
            chunk[entry::COMMAND] = directive.command;
            chunk[entry::MAC..].copy_from_slice(&directive.mac.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_that_do_not_fit_are_refused() {
        for bytes in [&[][..], &[0, 1, 0], &[0, 1, 0, 1], &[0, 1, 0, 1, 0, 1, 2, 0, 0, 0, 0], &[0, 1, 0, 255, 0, 1, 2, 0, 0, 0, 0, 1]] {
            assert!(MaskView::new_checked(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_emits_to_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), LENGTH..500), count in 0u8..70) {
            let mut bytes = bytes;
            bytes[field::COUNT] = count;
            let Ok(view) = MaskView::new_checked(&bytes) else {
                prop_assert!(LENGTH + usize::from(count) * DIRECTIVE > bytes.len());
                return Ok(());
            };
            let mask = Mask::parse(&view);
            let mut out = vec![0; mask.emitted()];
            mask.emit(&mut out);
            prop_assert_eq!(&out[..], &bytes[..out.len()]);
        }
    }
}
