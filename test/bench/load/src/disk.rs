use std::io;
use std::time::{Duration, Instant};

use aoe_target::definition::{Address, Invalid};
use aoe_target::net::initiator::{BATCH, InitiatorSocket};
use aoe_target::wire::header::{self, command};
use aoe_target::wire::identify::Identity;
use aoe_target::wire::{Ata, Config, ConfigView, Header, HeaderView, Mac, SECTOR, ata};

const LIMIT: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);
/// Questions under way at once.
const AT_ONCE: usize = 64;

/// A volume, as the segment tells of it.
#[derive(Debug, Clone)]
pub struct Disk {
    pub address: Address,
    pub mac: Mac,
    /// Frames that may be outstanding.
    pub buffers: u16,
    /// Sectors that a frame may carry.
    pub max_sectors: u8,
    pub sectors: u64,
}

/// `count` addresses from `first` on; a shelf has 255 slots.
pub fn addresses(first: Address, count: usize) -> Result<Vec<Address>, Invalid> {
    let start = u32::from(first.shelf) * 255 + u32::from(first.slot);
    (start..start + count as u32).map(|number| Address::checked(number / 255, number % 255)).collect()
}

/// Asks the segment for these volumes, until all have told of themselves.
pub fn discover(socket: &mut InitiatorSocket, addresses: &[Address]) -> io::Result<Vec<Disk>> {
    let mut disks = Vec::new();
    for group in addresses.chunks(AT_ONCE) {
        let configs = ask(socket, group, config_query, |bytes| {
            let config = Config::parse(&ConfigView::new_checked(bytes).ok()?).ok()?;
            Some((config.buffers, config.sectors))
        })?;
        let sizes = ask(socket, group, identify, |bytes| {
            let data = bytes.get(ata::LENGTH..)?.first_chunk::<SECTOR>()?;
            Some(Identity::parse(data).sectors)
        })?;
        for ((address, (mac, (buffers, max_sectors))), (_, sectors)) in group.iter().zip(configs).zip(sizes) {
            disks.push(Disk { address: *address, mac, buffers, max_sectors, sectors });
        }
    }
    Ok(disks)
}

/// One answer of each volume: who gave it, and what `read` makes of its argument.
fn ask<T: Clone>(
    socket: &mut InitiatorSocket,
    addresses: &[Address],
    question: fn(Mac, Address, u32) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<(Mac, T)>> {
    let end = Instant::now() + LIMIT;
    let mut answers: Vec<Option<(Mac, T)>> = vec![None; addresses.len()];
    while let Some(missing) = answers.iter().position(Option::is_none) {
        if Instant::now() > end {
            return Err(io::Error::other(format!("{} does not answer", addresses[missing])));
        }
        let open = answers.iter().enumerate().filter(|(_, answer)| answer.is_none());
        let frames: Vec<Vec<u8>> = open.map(|(index, _)| question(socket.mac, addresses[index], TAG | index as u32)).collect();
        for batch in frames.iter().map(Vec::as_slice).collect::<Vec<_>>().chunks(BATCH) {
            socket.send(batch)?;
        }
        let again = Instant::now() + AGAIN;
        while answers.iter().any(Option::is_none) && Instant::now() < again {
            let got = socket.receive(|frame| {
                let Ok(view) = HeaderView::new_checked(frame) else {
                    return;
                };
                let header = Header::parse(&view);
                let index = (header.tag & !TAG) as usize;
                if header.tag & TAG == TAG && addresses.get(index) == Some(&Address { shelf: header.shelf, slot: header.slot }) {
                    answers[index] = read(view.argument()).map(|answer| (header.source, answer));
                }
            });
            if !got {
                socket.wait(Duration::from_millis(10));
            }
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

/// Tags of questions: bit 31 tells the machine's own driver to leave them alone, bit 30 tells them from the load's.
const TAG: u32 = 0xc000_0000;

fn frame(source: Mac, address: Address, command: u8, tag: u32, argument: &[u8]) -> Vec<u8> {
    let Address { shelf, slot } = address;
    let header = Header { destination: Mac::BROADCAST, source, version: 1, flags: 0, error: 0, shelf, slot, command, tag };
    let mut frame = vec![0; header::LENGTH];
    header.emit(&mut frame);
    frame.extend(argument);
    frame
}

fn config_query(source: Mac, address: Address, tag: u32) -> Vec<u8> {
    frame(source, address, command::CONFIG, tag, &[0; 36])
}

fn identify(source: Mac, address: Address, tag: u32) -> Vec<u8> {
    let mut argument = [0; 36];
    let registers = Ata { flags: 0, feature: 0, count: 1, command: ata::command::IDENTIFY, lba: [0, 0, 0, 0xa0, 0, 0], reserved: [0; 2] };
    registers.emit(&mut argument);
    frame(source, address, command::ATA, tag, &argument)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_volumes_goes_on_in_the_next_shelf() {
        let range = addresses(Address { shelf: 7, slot: 253 }, 3).unwrap();
        assert_eq!(range.iter().map(Address::to_string).collect::<Vec<_>>(), ["e7.253", "e7.254", "e8.0"]);
        assert!(addresses(Address { shelf: 4094, slot: 254 }, 2).is_err());
    }
}
