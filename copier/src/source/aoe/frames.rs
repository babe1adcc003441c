//! The frames that are sent, and what is wrong with those that come back.

use aoe_target::definition::Address;
use aoe_target::net::ATA_HEADER;
use aoe_target::wire::header::{self, RESPONSE, USER_TAG, command};
use aoe_target::wire::identify::Identity;
use aoe_target::wire::{Ata, AtaView, Config, ConfigView, Header, HeaderView, MIN_FRAME, Mac, SECTOR, ata};

use crate::failure::Failure;

/// Status bits that mean failure: busy, fault, data request, error.
const BAD_STATUS: u8 = 0xa9;

/// A request; none of those that are sent here carries data.
pub type Frame = [u8; MIN_FRAME];

/// Who speaks to whom.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub host: Mac,
    pub target: Mac,
    pub address: Address,
}

fn frame(ends: Ends, command: u8, tag: u32) -> Frame {
    let Ends { host: source, target: destination, address: Address { shelf, slot } } = ends;
    let mut frame = [0; MIN_FRAME];
    Header { destination, source, version: header::VERSION, flags: 0, error: 0, shelf, slot, command, tag }.emit(&mut frame);
    frame
}

fn registers(frame: &mut Frame, flags: u8, count: u8, command: u8, lba: [u8; 6]) {
    Ata { flags, feature: 0, count, command, lba, reserved: [0; 2] }.emit(&mut frame[header::LENGTH..]);
}

/// Asks who serves an address. The argument of zeros reads the config string.
pub fn config_query(ends: Ends, tag: u32) -> Frame {
    frame(ends, command::CONFIG, tag)
}

pub fn identify(ends: Ends, tag: u32) -> Frame {
    let mut frame = frame(ends, command::ATA, tag);
    registers(&mut frame, 0, 1, ata::command::IDENTIFY, [0, 0, 0, 0xa0, 0, 0]);
    frame
}

pub fn read(ends: Ends, tag: u32, sector: u64, count: u8) -> Frame {
    let mut frame = frame(ends, command::ATA, tag);
    let [a, b, c, d, e, f, ..] = sector.to_le_bytes();
    registers(&mut frame, ata::flag::LBA48, count, ata::command::READ_EXT, [a, b, c, d, e, f]);
    frame
}

/// An answer to this host from this address. None: it is not one.
pub fn answer<'a>(bytes: &'a [u8], host: Mac, address: Address) -> Option<(Header, HeaderView<'a>)> {
    let view = HeaderView::new_checked(bytes).ok()?;
    let header = Header::parse(&view);
    let from = Address { shelf: header.shelf, slot: header.slot };
    let ours = header.destination == host && from == address && header.flags & RESPONSE != 0 && header.tag & USER_TAG != 0;
    ours.then_some((header, view))
}

/// The answer to a config query.
pub fn config(header: &Header, view: &HeaderView<'_>) -> Option<Config> {
    let good = header.command == command::CONFIG && header.flags & header::ERROR == 0;
    ConfigView::new_checked(view.argument()).ok().filter(|_| good).and_then(|view| Config::parse(&view).ok())
}

/// The `length` bytes that an answer to an ATA command carries. `at`: the first byte of the source that it was about.
pub fn data<'a>(header: &Header, view: &HeaderView<'a>, length: usize, address: Address, at: u64) -> Result<&'a [u8], Failure> {
    if header.flags & header::ERROR != 0 {
        return Err(Failure::Wait(match header.error {
            3 => format!("the target says that the disk of {address} is unavailable (at byte {at})"),
            6 => format!("{address} is reserved for other hosts (at byte {at})"),
            error => format!("the target of {address} answers with error {error} (at byte {at})"),
        }));
    }
    let short = || Failure::Doubt(format!("the target of {address} sends less data than was asked for (at byte {at})"));
    let view = AtaView::new_checked(view.argument()).map_err(|_| short())?;
    let ata = Ata::parse(&view);
    if ata.command & BAD_STATUS != 0 {
        let status = format!("status {:#04x}, error {:#04x}", ata.command, ata.feature);
        return Err(if ata.feature & ata::error::NOT_FOUND != 0 {
            Failure::Final(format!("{address} has no byte {at} any more: it was made smaller ({status})"))
        } else if ata.feature & ata::error::ABORTED != 0 {
            Failure::Wait(format!("the target of {address} does not admit this host ({status})"))
        } else {
            Failure::Doubt(format!("{address} cannot be read at byte {at} ({status})"))
        });
    }
    view.data().get(..length).ok_or_else(short)
}

/// Checks that a disk is the one that the job means. `bytes`: its size.
pub fn check_identity(data: &[u8], address: Address, from: Mac, serial: &str, bytes: u64) -> Result<(), Failure> {
    let Some(data) = data.first_chunk::<SECTOR>() else {
        return Err(Failure::Doubt(format!("the target of {address} sends too short an identity")));
    };
    let found = Identity::parse(data);
    if found.serial != serial.trim_end() {
        return Err(Failure::Final(format!(
            "the disk at {address} (target {from}) has the serial number {:?}, and the job means the one with {:?}: nothing is read from it",
            found.serial,
            serial.trim_end(),
        )));
    }
    let has = found.sectors.saturating_mul(SECTOR as u64);
    if has != bytes {
        let change = if has < bytes { "smaller" } else { "larger" };
        return Err(Failure::Final(format!("the disk at {address} has {has} bytes, and the job says {bytes}: it was made {change}")));
    }
    Ok(())
}

/// Bytes of the longest answer to a read of so many sectors, as an MTU counts them.
pub fn answer_bytes(sectors: u8) -> usize {
    ATA_HEADER - aoe_target::net::ETHERNET + usize::from(sectors) * SECTOR
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Address = Address { shelf: 7, slot: 3 };
    const HOST: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const TARGET: Mac = Mac([2, 0, 0, 0, 0, 2]);

    /// The answer of a good target to a read.
    fn good() -> Vec<u8> {
        let mut bytes = read(Ends { host: TARGET, target: HOST, address: ADDRESS }, USER_TAG | 5, 9, 2).to_vec();
        bytes.truncate(ATA_HEADER);
        bytes.extend([7; 1024]);
        bytes[14] |= RESPONSE;
        bytes[27] = ata::status::READY;
        bytes
    }

    fn result(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let (header, view) = answer(bytes, HOST, ADDRESS).ok_or("not ours")?;
        data(&header, &view, 1024, ADDRESS, 4608).map(<[u8]>::to_vec).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_read_is_a_48_bit_command_without_data() {
        let frame = read(Ends { host: HOST, target: TARGET, address: ADDRESS }, 0x8000_0001, 0x1_0000_0010, 16);
        assert_eq!(frame[14..36], [0x10, 0, 0, 7, 3, 0, 0x80, 0, 0, 1, 0x40, 0, 16, 0x24, 0x10, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_wrong_with_an_answer_decides_whether_waiting_helps() {
        let changed = |at: usize, value: u8| {
            let mut bytes = good();
            bytes[at] = value;
            result(&bytes).unwrap_err()
        };
        assert_eq!(result(&good()), Ok(vec![7; 1024]));
        for (at, value) in [(5, 9), (14, 0x10), (18, 4), (20, 0)] {
            assert_eq!(changed(at, value), "not ours");
        }
        let mut unavailable = good();
        (unavailable[14], unavailable[15]) = (0x1c, 3);
        assert!(result(&unavailable).unwrap_err().starts_with("Wait(\"the target says that the disk of e7.3 is unavailable"));
        let failed = |error: u8| {
            let mut bytes = good();
            (bytes[27], bytes[25]) = (0x41, error);
            result(&bytes).unwrap_err()
        };
        assert!(failed(0x10).starts_with("Final"));
        assert!(failed(0x04).contains("does not admit this host"));
        assert!(failed(0x40).starts_with("Doubt(\"e7.3 cannot be read at byte 4608"));
        assert!(result(&good()[..1000]).unwrap_err().contains("less data"));
    }

    #[test]
    fn a_disk_is_known_by_its_serial_number_and_its_size() {
        let identity = Identity { serial: "S1".into(), firmware: "1".into(), model: "AoE".into(), sectors: 8, physical_block: 512 };
        let mut bytes = [0; SECTOR];
        identity.emit(&mut bytes);
        let check = |serial: &str, size: u64| match check_identity(&bytes, ADDRESS, TARGET, serial, size) {
            Ok(()) => String::new(),
            Err(Failure::Final(text)) => text,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(check("S1", 4096), "");
        assert!(check("S2", 4096).contains("has the serial number \"S1\", and the job means the one with \"S2\""));
        assert!(check("S1", 8192).contains("it was made smaller"));
        assert!(check("S1", 512).contains("it was made larger"));
    }
}
