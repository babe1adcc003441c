use aoe_target::definition::Address;
use aoe_target::net::ATA_HEADER;
use aoe_target::wire::header::{self, RESPONSE, command};
use aoe_target::wire::{Ata, AtaView, Header, HeaderView, Mac, SECTOR, ata};

use crate::pattern::{Stamp, Wrong};

/// Status bits that mean failure: busy, fault, data request, error.
const BAD_STATUS: u8 = 0xa9;

/// A read or a write of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub write: bool,
    pub address: Address,
    pub lba: u64,
    pub sectors: u8,
    /// What a write stamps its sectors with, and a read expects (0: any).
    pub generation: u32,
    pub tag: u32,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Not the header that belongs to the tag.
    Header,
    /// The target's error field.
    Refused(u8),
    /// ATA status and error register.
    Status(u8, u8),
    /// Bytes of data, where another number was due.
    Length(usize),
    Data(u64, Wrong),
}

impl Request {
    /// Writes the frame. `frame` is kept from one request to the next and grows as needed.
    pub fn emit(&self, destination: Mac, source: Mac, frame: &mut Vec<u8>) {
        let Request { address: Address { shelf, slot }, tag, .. } = *self;
        let data = if self.write { usize::from(self.sectors) * SECTOR } else { 0 };
        frame.resize(ATA_HEADER + data, 0);
        Header { destination, source, version: 1, flags: 0, error: 0, shelf, slot, command: command::ATA, tag }.emit(frame);
        let [a, b, c, d, e, f, ..] = self.lba.to_le_bytes();
        let (flags, command) = match self.write {
            true => (ata::flag::LBA48 | ata::flag::WRITE, ata::command::WRITE_EXT),
            false => (ata::flag::LBA48, ata::command::READ_EXT),
        };
        let registers = Ata { flags, feature: 0, count: self.sectors, command, lba: [a, b, c, d, e, f], reserved: [0; 2] };
        registers.emit(&mut frame[header::LENGTH..]);
        for (index, sector) in frame[ATA_HEADER..].chunks_exact_mut(SECTOR).enumerate() {
            self.stamp(index).fill(sector);
        }
    }

    /// Checks the answer with this request's tag.
    pub fn check(&self, header: &Header, view: &HeaderView<'_>, me: Mac) -> Result<(), Problem> {
        let same = (header.destination, header.shelf, header.slot) == (me, self.address.shelf, self.address.slot);
        if !same || header.version != 1 || header.flags & RESPONSE == 0 || header.command != command::ATA {
            return Err(Problem::Header);
        }
        if header.flags & header::ERROR != 0 || header.error != 0 {
            return Err(Problem::Refused(header.error));
        }
        let view = AtaView::new_checked(view.argument()).map_err(|_| Problem::Length(0))?;
        let registers = Ata::parse(&view);
        if registers.command & BAD_STATUS != 0 {
            return Err(Problem::Status(registers.command, registers.feature));
        }
        if self.write {
            return Ok(());
        }
        // A short frame is padded; more than was asked for is wrong all the same.
        let due = usize::from(self.sectors) * SECTOR;
        if view.data().len() != due {
            return Err(Problem::Length(view.data().len()));
        }
        for (index, sector) in view.data().chunks_exact(SECTOR).enumerate() {
            let stamp = self.stamp(index);
            stamp.check(sector).map_err(|wrong| Problem::Data(stamp.lba, wrong))?;
        }
        Ok(())
    }

    fn stamp(&self, index: usize) -> Stamp {
        Stamp { address: self.address, lba: self.lba + index as u64, generation: self.generation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const TARGET: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn request(write: bool) -> Request {
        Request { write, address: Address { shelf: 7, slot: 3 }, lba: 0x1_0000_0010, sectors: 2, generation: 9, tag: 0x8000_0001 }
    }

    /// The answer that a good target gives.
    fn answer(request: &Request) -> Vec<u8> {
        let mut frame = Vec::new();
        Request { write: true, ..*request }.emit(ME, TARGET, &mut frame);
        frame[14] |= RESPONSE;
        frame[27] = ata::status::READY;
        if request.write {
            frame.truncate(ATA_HEADER);
            frame.resize(60, 0);
        }
        frame
    }

    fn checked(request: &Request, frame: &[u8]) -> Result<(), Problem> {
        let view = HeaderView::new_checked(frame).unwrap();
        request.check(&Header::parse(&view), &view, ME)
    }

    #[test]
    fn requests_are_48_bit_and_writes_carry_stamped_sectors() {
        let mut frame = Vec::new();
        request(true).emit(TARGET, ME, &mut frame);
        assert_eq!(frame.len(), 36 + 1024);
        assert_eq!(frame[14..36], [0x10, 0, 0, 7, 3, 0, 0x80, 0, 0, 1, 0x41, 0, 2, 0x34, 0x10, 0, 0, 0, 1, 0, 0, 0]);
        request(false).emit(TARGET, ME, &mut frame);
        assert_eq!((frame.len(), frame[24], frame[27]), (36, 0x40, 0x24));
    }

    #[test]
    fn good_answers_pass() {
        for write in [false, true] {
            assert_eq!(checked(&request(write), &answer(&request(write))), Ok(()));
        }
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_told() {
        let read = request(false);
        let changed = |at: usize, value: u8| {
            let mut frame = answer(&read);
            frame[at] = value;
            checked(&read, &frame)
        };
        assert_eq!(changed(5, 9), Err(Problem::Header));
        assert_eq!(changed(14, 0x28), Err(Problem::Header));
        assert_eq!(changed(18, 4), Err(Problem::Header));
        assert_eq!(changed(19, 1), Err(Problem::Header));
        assert_eq!(changed(15, 6), Err(Problem::Refused(6)));
        assert_eq!(changed(27, 0x41), Err(Problem::Status(0x41, 0)));
        assert_eq!(changed(36 + 512 + 100, 0), Err(Problem::Data(0x1_0000_0011, Wrong::Garbage)));
        let frame = answer(&read);
        assert_eq!(checked(&read, &frame[..frame.len() - 512]), Err(Problem::Length(512)));
        assert_eq!(checked(&read, &[&frame[..], &[0; 512]].concat()), Err(Problem::Length(1536)));
        assert_eq!(checked(&Request { generation: 8, ..read }, &frame), Err(Problem::Data(read.lba, Wrong::Generation(9))));
    }
}
