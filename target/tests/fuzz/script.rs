//! Bytes as things that happen to a target. Every string of bytes is a script, and a small change of it another one.

use aoe_target::wire::{Ata, Config, Directive, ETHERTYPE, Header, Mac, Mask, Reserve, ata, config, header, mask};

/// Hosts: the last is a group, which no frame comes from.
pub const HOSTS: [Mac; 4] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([2, 0, 0, 0, 0, 3]), Mac([3, 0, 0, 0, 0, 4])];
/// Shelves and slots that frames are for: those of volumes, all, and some where nothing is.
const SHELVES: [u16; 6] = [7, 7, 7, 9, 8, header::ANY_SHELF];
const SLOTS: [u8; 6] = [3, 3, 4, 3, 5, header::ANY_SLOT];
const ATA_COMMANDS: [u8; 10] = [
    ata::command::READ,
    ata::command::READ_EXT,
    ata::command::WRITE,
    ata::command::WRITE_EXT,
    ata::command::WRITE_EXT,
    ata::command::FLUSH_CACHE,
    ata::command::FLUSH_CACHE_EXT,
    ata::command::IDENTIFY,
    ata::command::CHECK_POWER_MODE,
    ata::command::SET_FEATURES,
];
const MTUS: [u32; 6] = [9000, 1500, 600, 500, 4200, 65535];
/// Of a script. With fewer steps than requests that may wait for others, none is dropped for want of room.
const MOST_STEPS: usize = 200;

/// How the target is made, and what is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub inline_memory: bool,
    /// Changes happen while requests are under way; else each thing is over before the next begins.
    pub mixed: bool,
}

#[derive(Debug, Clone)]
pub enum Step {
    Frame {
        port: usize,
        bytes: Vec<u8>,
    },
    /// Hosts by number; `anyone` as well.
    Access {
        volume: usize,
        hosts: u8,
        anyone: bool,
    },
    Replace {
        volume: usize,
        /// With the present string as the expected one.
        right: bool,
        string: Vec<u8>,
    },
    Export {
        volume: usize,
        read_only: bool,
        /// Sectors that the disk becomes larger by, before.
        growth: usize,
    },
    Unexport {
        volume: usize,
    },
    Link {
        port: usize,
        mtu: u32,
        up: bool,
    },
    Turn,
    Settle,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// 0 when none is left.
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn host(&mut self) -> Mac {
        self.of(&HOSTS)
    }
}

pub fn read(bytes: &[u8]) -> (Setup, Vec<Step>) {
    let mut bytes = Bytes(bytes);
    let setup = bytes.byte();
    let setup = Setup { inline_memory: setup & 1 != 0, mixed: setup & 2 != 0 };
    let mut steps = Vec::new();
    while !bytes.0.is_empty() && steps.len() < MOST_STEPS {
        let step = step(&mut bytes);
        steps.push(step);
    }
    (setup, steps)
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    let kind = bytes.byte();
    let port = usize::from(kind >> 7);
    match kind & 0x1f {
        0 => Step::Settle,
        1 => Step::Turn,
        2 => Step::Access { volume: volume(bytes), hosts: bytes.byte() & 7, anyone: bytes.byte() & 7 == 1 },
        3 => Step::Replace { volume: volume(bytes), right: bytes.byte() & 1 == 0, string: string(bytes) },
        4 => {
            let (volume, how) = (volume(bytes), bytes.byte());
            Step::Export { volume, read_only: how & 1 == 1, growth: usize::from(how >> 1 & 7) }
        }
        5 => Step::Unexport { volume: volume(bytes) },
        6 => Step::Link { port, mtu: bytes.of(&MTUS), up: bytes.byte() & 7 != 1 },
        7 | 8 => {
            let length = usize::from(bytes.byte()) * if kind & 1 == 0 { 1 } else { 8 };
            Step::Frame { port, bytes: bytes.take(length).to_vec() }
        }
        kind => {
            let mut frame = frame(bytes, kind);
            if kind >= 0x1c {
                // Cut, grown, or with a byte changed.
                let (at, value) = (usize::from(bytes.byte()), bytes.byte());
                match kind {
                    0x1c => frame.truncate(at),
                    0x1d => frame.resize(frame.len() + at, value),
                    _ => {
                        if let Some(byte) = frame.get_mut(at) {
                            *byte = value;
                        }
                    }
                }
            }
            Step::Frame { port, bytes: frame }
        }
    }
}

fn volume(bytes: &mut Bytes<'_>) -> usize {
    usize::from(bytes.byte()) % super::model::VOLUMES
}

/// Of one or two letters repeated, so that equal strings and prefixes are likely.
fn string(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let kind = bytes.byte();
    let length = match kind & 7 {
        7 => config::MAX_STRING - usize::from(kind >> 6),
        few => usize::from(few),
    };
    vec![b'a' + (kind >> 3 & 1); length]
}

/// A well-formed request, most of the time.
fn frame(bytes: &mut Bytes<'_>, kind: u8) -> Vec<u8> {
    let command = match kind & 0x0f {
        0..=8 | 0xf => header::command::ATA,
        9 | 0xa => header::command::CONFIG,
        0xb => header::command::MASK,
        0xc => header::command::RESERVE,
        _ => bytes.byte(),
    };
    let request = Header {
        destination: Mac::BROADCAST,
        source: bytes.host(),
        version: 1,
        flags: 0,
        error: 0,
        shelf: bytes.of(&SHELVES),
        slot: bytes.of(&SLOTS),
        command,
        tag: 0,
    };
    let mut frame = vec![0; header::LENGTH];
    request.emit(&mut frame);
    debug_assert_eq!(&frame[12..14], ETHERTYPE.to_be_bytes());
    match command {
        header::command::ATA => registers(bytes, &mut frame),
        header::command::CONFIG => config_request(bytes, &mut frame),
        header::command::MASK => {
            let command = bytes.byte() % 3;
            let count = bytes.byte();
            // Many: addresses in a row, as fill a list.
            let directives: Vec<Directive> = (0..if count >= 0xf0 { 140 } else { count % 5 })
                .map(|at| Directive {
                    reserved: 0,
                    command: if count >= 0xf0 { mask::directive::ADD } else { bytes.byte() % 4 },
                    mac: if count >= 0xf0 { Mac([2, 0, 0, 0, 9, at]) } else { bytes.host() },
                })
                .collect();
            append(&mut frame, Mask { reserved: 0, command, error: 0, directives }, Mask::emitted, Mask::emit);
        }
        header::command::RESERVE => {
            let command = bytes.byte() % 4;
            let count = bytes.byte();
            let many = count >= 0xf0;
            let macs = (0..if many { 140 } else { count % 5 }).map(|at| if many { Mac([2, 0, 0, 0, 9, at]) } else { bytes.host() });
            append(&mut frame, Reserve { command, macs: macs.collect() }, Reserve::emitted, Reserve::emit);
        }
        _ => {}
    }
    frame
}

fn append<T>(frame: &mut Vec<u8>, argument: T, emitted: impl Fn(&T) -> usize, emit: impl Fn(&T, &mut [u8])) {
    let at = frame.len();
    frame.resize(at + emitted(&argument), 0);
    emit(&argument, &mut frame[at..]);
}

fn registers(bytes: &mut Bytes<'_>, frame: &mut Vec<u8>) {
    let command = bytes.of(&ATA_COMMANDS);
    let count = bytes.byte();
    let count = if count & 0x80 == 0 { count & 0x1f } else { count };
    let (low, high) = (bytes.byte(), bytes.byte());
    // Mostly on the disk; else beyond its end, or at the end of what there is.
    let lba = match high {
        0..0xe0 => [low % 48, 0, 0, 0xe0, 0, 0],
        0xe0..0xf0 => [low, high, 0, 0, 0, 0],
        _ => [low, 0xff, 0xff, 0xff, 0xff, 0xff],
    };
    let lba = if matches!(command, ata::command::READ | ata::command::WRITE) {
        lba
    } else {
        [lba[0], lba[1], lba[2], lba[3] & 0x1f, lba[4], lba[5]]
    };
    let feature = if command == ata::command::SET_FEATURES { bytes.byte() } else { 0 };
    let write = matches!(command, ata::command::WRITE | ata::command::WRITE_EXT);
    append(frame, Ata { flags: u8::from(write), feature, count, command, lba, reserved: [0; 2] }, |_| ata::LENGTH, Ata::emit);
    if write {
        let value = bytes.byte();
        frame.extend((0..usize::from(count) * 512).map(|at| value.wrapping_add((at / 512) as u8)));
    }
}

fn config_request(bytes: &mut Bytes<'_>, frame: &mut Vec<u8>) {
    let command = bytes.byte() % 7;
    let request = Config { buffers: 0, firmware: 0, sectors: 0, version: 1, command, string: string(bytes) };
    append(frame, request, Config::emitted, Config::emit);
    if command == config::command::TEST_AND_REPLACE {
        let new = string(bytes);
        frame.extend((new.len() as u16).to_be_bytes());
        frame.extend(new);
    }
}
