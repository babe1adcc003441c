//! A raw initiator: sends frames, and takes the answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use aoe_target::net::link::look_up;
use aoe_target::net::packet::{bind, packet_socket, set_option};
use aoe_target::wire::header::{self, RESPONSE, USER_TAG};
use aoe_target::wire::{Ata, AtaView, Config, ConfigView, ETHERTYPE, Header, HeaderView, Mac, Mask, MaskView, Reserve, ReserveView, ata};

use crate::lab::LIMIT;

pub struct Host {
    socket: File,
    pub mac: Mac,
    tag: u32,
    kept: RefCell<HashMap<u32, Answer>>,
}

/// An answer taken apart.
#[derive(Debug)]
pub struct Answer {
    pub header: Header,
    pub argument: Vec<u8>,
    pub length: usize,
}

impl Answer {
    pub fn ata(&self) -> Ata {
        Ata::parse(&AtaView::new_checked(&self.argument).unwrap())
    }

    pub fn data(&self) -> &[u8] {
        &self.argument[ata::LENGTH..]
    }

    pub fn config(&self) -> Config {
        Config::parse(&ConfigView::new_checked(&self.argument).unwrap()).unwrap()
    }

    pub fn mask(&self) -> Mask {
        Mask::parse(&MaskView::new_checked(&self.argument).unwrap())
    }

    pub fn reserve(&self) -> Reserve {
        Reserve::parse(&ReserveView::new_checked(&self.argument).unwrap())
    }

    pub fn string(&self) -> String {
        String::from_utf8(self.config().string).unwrap()
    }

    /// ATA status without error.
    pub fn good(&self) -> bool {
        self.header.flags == RESPONSE && self.ata().command & 0xa9 == 0
    }
}

impl Host {
    pub fn open(interface: &str) -> Host {
        let link = look_up(interface).unwrap().unwrap();
        let socket = packet_socket().unwrap();
        bind(socket.as_raw_fd(), link.index, ETHERTYPE).unwrap();
        const RECEIVE_BUFFER: libc::c_int = 8 << 20;
        set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER).unwrap();
        Host { socket, mac: link.mac, tag: USER_TAG, kept: RefCell::default() }
    }

    /// As another host on the same cable.
    pub fn named(mut self, mac: &str) -> Host {
        self.mac = mac.parse().unwrap();
        self
    }

    pub fn raw(&self, frame: &[u8]) {
        // SAFETY: the frame is valid for its length.
        let sent = unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }

    /// A frame with a new tag.
    pub fn frame(&mut self, shelf: u16, slot: u8, command: u8, argument: &[u8]) -> (u32, Vec<u8>) {
        self.tag += 1;
        let header =
            Header { destination: Mac::BROADCAST, source: self.mac, version: 1, flags: 0, error: 0, shelf, slot, command, tag: self.tag };
        let mut frame = vec![0; header::LENGTH];
        header.emit(&mut frame);
        frame.extend(argument);
        (self.tag, frame)
    }

    pub fn send(&mut self, shelf: u16, slot: u8, command: u8, argument: &[u8]) -> u32 {
        let (tag, frame) = self.frame(shelf, slot, command, argument);
        self.raw(&frame);
        tag
    }

    /// The next answer to this host, if one comes in time.
    pub fn receive(&self, limit: Duration) -> Option<Answer> {
        let end = Instant::now() + limit;
        let mut buffer = vec![0; 10_000];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut fd = libc::pollfd { fd: self.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one descriptor; the buffer is valid for its length.
            let length = unsafe {
                if libc::poll(&mut fd, 1, left.as_millis() as i32) == 0 {
                    return None;
                }
                libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0)
            };
            let Ok(view) = HeaderView::new_checked(&buffer[..length.max(0) as usize]) else { continue };
            let header = Header::parse(&view);
            if header.destination == self.mac || header.destination == Mac::BROADCAST && header.flags & RESPONSE != 0 {
                return Some(Answer { header, argument: view.argument().to_vec(), length: length as usize });
            }
        }
    }

    /// The answer with this tag.
    pub fn answer(&self, tag: u32) -> Answer {
        let end = Instant::now() + LIMIT;
        while let Some(answer) = self.receive(end.saturating_duration_since(Instant::now())) {
            if answer.header.tag == tag {
                return answer;
            }
        }
        panic!("no answer to {tag:#x}");
    }

    /// The answer with this tag; others that come before it are kept for later calls.
    pub fn answer_kept(&self, tag: u32) -> Answer {
        let end = Instant::now() + LIMIT;
        let mut kept = self.kept.borrow_mut();
        loop {
            if let Some(answer) = kept.remove(&tag) {
                return answer;
            }
            let answer = self.receive(end.saturating_duration_since(Instant::now())).unwrap_or_else(|| panic!("no answer to {tag:#x}"));
            kept.insert(answer.header.tag, answer);
        }
    }

    /// Whether nothing comes for a while, announcements apart.
    pub fn silence(&self) -> bool {
        while let Some(answer) = self.receive(Duration::from_millis(100)) {
            if answer.header.tag != 0 {
                return false;
            }
        }
        true
    }

    /// The next announcement, where one must come.
    pub fn announced(&self) -> Option<Answer> {
        self.announcement_within(LIMIT)
    }

    /// An announcement where none may come, or none need come any more.
    pub fn announcement(&self) -> Option<Answer> {
        self.announcement_within(Duration::from_millis(500))
    }

    fn announcement_within(&self, limit: Duration) -> Option<Answer> {
        let end = Instant::now() + limit;
        loop {
            let answer = self.receive(end.saturating_duration_since(Instant::now()))?;
            if answer.header.tag == 0 {
                return Some(answer);
            }
        }
    }

    pub fn ask(&mut self, command: u8, argument: &[u8]) -> Answer {
        self.ask_slot(3, command, argument)
    }

    pub fn ask_slot(&mut self, slot: u8, command: u8, argument: &[u8]) -> Answer {
        let tag = self.send(7, slot, command, argument);
        self.answer(tag)
    }

    pub fn config(&mut self, command: u8, string: &str) -> Answer {
        self.ask(header::command::CONFIG, &config(command, string))
    }

    pub fn ata(&mut self, command: u8, sector: u64, count: u8, data: &[u8]) -> Answer {
        self.ask(header::command::ATA, &registers(command, sector, count, data))
    }

    pub fn write(&mut self, sector: u64, data: &[u8]) -> Answer {
        self.ata(ata::command::WRITE_EXT, sector, (data.len() / 512) as u8, data)
    }

    pub fn read(&mut self, sector: u64, count: u8) -> Answer {
        self.ata(ata::command::READ_EXT, sector, count, &[])
    }
}

pub fn config(command: u8, string: &str) -> Vec<u8> {
    let config = Config { buffers: 0, firmware: 0, sectors: 0, version: 1, command, string: string.into() };
    let mut bytes = vec![0; config.emitted()];
    config.emit(&mut bytes);
    bytes
}

/// ATA registers as the Linux driver sends them, and data.
pub fn registers(command: u8, sector: u64, count: u8, data: &[u8]) -> Vec<u8> {
    let [a, b, c, d, e, f, ..] = sector.to_le_bytes();
    let extended = matches!(command, ata::command::READ_EXT | ata::command::WRITE_EXT);
    let write = matches!(command, ata::command::WRITE | ata::command::WRITE_EXT);
    let flags = if extended { ata::flag::LBA48 } else { 0 } | if write { ata::flag::WRITE } else { 0 };
    let d = if extended { d } else { d & 0x0f | 0xe0 };
    let mut bytes = vec![0; ata::LENGTH];
    Ata { flags, feature: 0, count, command, lba: [a, b, c, d, e, f], reserved: [0; 2] }.emit(&mut bytes);
    bytes.extend(data);
    bytes
}
