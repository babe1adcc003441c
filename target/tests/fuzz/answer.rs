//! Answers: taken apart, and compared with what the model expects.

use aoe_target::wire::{
    Ata, AtaView, Config, ConfigView, Header, HeaderView, MIN_FRAME, Mask, MaskView, Reserve, ReserveView, SECTOR, ata, header,
};

use crate::model::{Body, Expected};

#[derive(Debug)]
pub struct Answer {
    pub header: Header,
    pub argument: Vec<u8>,
}

impl Answer {
    /// Whatever the target sends is a whole answer, and padded.
    pub fn new(frame: &[u8]) -> Answer {
        assert!(frame.len() >= MIN_FRAME, "an answer of {} bytes", frame.len());
        let view = HeaderView::new_checked(frame).expect("an answer is an AoE frame");
        let header = Header::parse(&view);
        assert!(view.is_response() && header.version == 1, "{header:?}");
        assert_eq!(header.flags & header::ERROR != 0, header.error != 0, "{header:?}");
        Answer { header, argument: view.argument().to_vec() }
    }

    pub fn ata(&self) -> Ata {
        Ata::parse(&AtaView::new_checked(&self.argument).expect("registers"))
    }

    /// Without padding.
    fn data(&self, length: usize) -> &[u8] {
        assert_eq!(
            self.argument.len(),
            (ata::LENGTH + length).max(MIN_FRAME - header::LENGTH),
            "no more than asked for: {:?}",
            self.header
        );
        &self.argument[ata::LENGTH..][..length]
    }

    /// What a good read brought.
    pub fn read(&self, sectors: u8) -> &[u8] {
        self.data(usize::from(sectors) * SECTOR)
    }

    fn config(&self) -> Config {
        Config::parse(&ConfigView::new_checked(&self.argument).expect("a config argument")).expect("a string")
    }

    pub fn check(&self, expected: &Expected) {
        assert_eq!(self.header.error, expected.failure, "{expected:?}");
        match &expected.body {
            Body::Nothing => assert_eq!(self.argument, [0; MIN_FRAME - header::LENGTH]),
            Body::Ata { status, error, data } => {
                let found = self.ata();
                assert_eq!((found.command, found.feature), (*status, *error));
                assert!(self.data(data.len()) == data, "other data than the disk has");
            }
            Body::Identity(sectors) => {
                let words = &self.data(SECTOR)[200..208];
                assert_eq!(u64::from_le_bytes(words.try_into().unwrap()), *sectors);
            }
            Body::Config { command, string } => {
                let found = self.config();
                assert_eq!((found.command, &found.string), (*command & 0x0f, string));
                assert!(found.buffers >= 2 && found.sectors > 0);
                self.ends_after(found.emitted());
            }
            Body::Mask { command, error, macs } => {
                let found = Mask::parse(&MaskView::new_checked(&self.argument).expect("a mask argument"));
                assert_eq!((found.command, found.error), (*command, *error));
                assert!(found.directives.iter().map(|directive| directive.mac).eq(macs.iter().copied()));
                self.ends_after(found.emitted());
            }
            Body::Reserve { command, macs } => {
                let found = Reserve::parse(&ReserveView::new_checked(&self.argument).expect("a reserve argument"));
                assert_eq!((found.command, &found.macs), (*command, macs));
                self.ends_after(found.emitted());
            }
        }
    }

    fn ends_after(&self, argument: usize) {
        assert_eq!(self.argument.len(), argument.max(MIN_FRAME - header::LENGTH));
    }
}

/// Bytes of the answer's frame.
pub fn length(expected: &Expected) -> usize {
    let argument = match &expected.body {
        Body::Nothing => 0,
        Body::Ata { data, .. } => ata::LENGTH + data.len(),
        Body::Identity(_) => ata::LENGTH + SECTOR,
        Body::Config { string, .. } => 8 + string.len(),
        Body::Mask { macs, .. } => 4 + 8 * macs.len(),
        Body::Reserve { macs, .. } => 2 + 6 * macs.len(),
    };
    (header::LENGTH + argument).max(MIN_FRAME)
}
