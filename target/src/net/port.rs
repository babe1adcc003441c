use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use super::link::Link;
use super::packet::PacketSocket;
use super::sectors_for;
use super::socket::Socket;
use crate::wire::{MIN_FRAME, Mac};

/// Answers kept while the interface takes no frames. More are dropped; the initiator sends its request again.
const MAX_QUEUED: usize = 8192;

/// A frame that is to be sent: a head, and data.
pub struct Outgoing {
    head: [u8; MIN_FRAME],
    head_length: usize,
    pub data: Data,
}

pub enum Data {
    None,
    Bytes(Vec<u8>),
    /// Memory of the caller, who gets the key back when the frame is sent.
    Lent {
        key: u32,
        pointer: *const u8,
        length: usize,
    },
}

impl Outgoing {
    /// `head` is at most [`MIN_FRAME`] bytes. Padded to what Ethernet needs.
    pub fn new(head: &[u8], data: Data) -> Outgoing {
        let mut outgoing = Outgoing { head: [0; MIN_FRAME], head_length: head.len(), data };
        outgoing.head[..head.len()].copy_from_slice(head);
        if head.len() + outgoing.data.bytes().len() < MIN_FRAME {
            let data = outgoing.data.bytes().to_vec();
            outgoing.head[head.len()..head.len() + data.len()].copy_from_slice(&data);
            outgoing.head_length = MIN_FRAME;
            match &mut outgoing.data {
                Data::Lent { length, .. } => *length = 0,
                data => *data = Data::None,
            }
        }
        outgoing
    }

    /// Bytes of data behind the head.
    pub fn data_length(&self) -> usize {
        self.data.bytes().len()
    }

    /// The frame's bytes: what is in the second part, if anything, follows what is in the first.
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.head[..self.head_length], self.data.bytes()]
    }
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::None => &[],
            Data::Bytes(bytes) => bytes,
            // SAFETY: the caller leaves the memory alone until it gets the key back.
            Data::Lent { pointer, length, .. } => unsafe { std::slice::from_raw_parts(*pointer, *length) },
        }
    }
}

/// Frames of an interface, since it was served first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub received: u64,
    pub sent: u64,
    /// By the kernel, because the receive ring was full; up to the last [`Port::count`].
    pub ring_dropped: u64,
    /// Received, but could not be kept.
    pub lost: u64,
    /// The kernel refused to send them.
    pub failed: u64,
    /// Answers for which there was no room, or no interface.
    pub dropped: u64,
}

/// An interface to serve on, whether it exists now or not.
pub struct Port<S = PacketSocket> {
    pub name: String,
    /// Unique in the process.
    pub key: u32,
    link: Option<Link>,
    pub socket: Option<S>,
    /// Why there is no socket.
    pub error: String,
    /// The kernel could not open a socket, or look the interface up, and does not say when it can: this must be tried again.
    pub failed: bool,
    /// Frames that the ring was opened for.
    frames: usize,
    queue: VecDeque<Outgoing>,
    /// The interface takes no more now.
    blocked: bool,
    pub counts: Counts,
    /// Number of received frames from which on [`Port::is_crowded`] may be true again.
    next_crowd_check: u64,
}

impl<S: Socket> Port<S> {
    pub fn new(name: String, key: u32) -> Self {
        Port {
            name,
            key,
            link: None,
            socket: None,
            error: String::new(),
            failed: false,
            frames: 0,
            queue: VecDeque::new(),
            blocked: false,
            counts: Counts::default(),
            next_crowd_check: 0,
        }
    }

    pub fn mac(&self) -> Option<Mac> {
        self.link.map(|link| link.mac)
    }

    pub fn mtu(&self) -> u32 {
        self.link.map_or(0, |link| link.mtu)
    }

    /// Sectors per frame.
    pub fn sectors(&self) -> u8 {
        sectors_for(self.mtu())
    }

    pub fn fd(&self) -> Option<RawFd> {
        self.socket.as_ref().map(S::fd)
    }

    /// The descriptor to wait for when the interface takes no frames.
    pub fn blocked_fd(&self) -> Option<RawFd> {
        let (socket, first) = (self.socket.as_ref()?, self.queue.front()?);
        self.blocked.then(|| socket.sender(first))
    }

    /// Looks the interface up and follows its changes. True when something did change.
    pub fn refresh(&mut self, frames: usize) -> bool {
        let found = S::look_up(&self.name);
        let failed = found.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::InvalidInput);
        let (link, error) = match found {
            Ok(Some(link)) if !link.up => (Some(link), "the interface is down".to_owned()),
            Ok(Some(link)) if sectors_for(link.mtu) == 0 => (Some(link), format!("MTU {} is too small", link.mtu)),
            Ok(Some(link)) => (Some(link), String::new()),
            Ok(None) => (None, "there is no such interface".to_owned()),
            Err(error) => (None, error.to_string()),
        };
        if link == self.link && error == self.error && frames == self.frames {
            return false;
        }
        let before = (self.link, self.error.clone());
        let reopen = link.map(|link| (link.index, link.mtu)) != self.link.map(|link| (link.index, link.mtu));
        (self.link, self.error, self.failed) = (link, error, failed);
        self.count();
        match link.filter(|_| self.error.is_empty()) {
            None => self.socket = None,
            Some(link) => {
                if reopen || self.socket.is_none() || frames != self.frames {
                    self.socket = None;
                    self.frames = frames;
                    match S::open(&link, frames) {
                        Ok(socket) => self.socket = Some(socket),
                        Err(error) => (self.error, self.failed) = (error.to_string(), true),
                    }
                }
            }
        }
        before != (self.link, self.error.clone())
    }

    /// Frames that the receive ring holds.
    pub fn ring_frames(&self) -> usize {
        self.socket.as_ref().map_or(0, S::frames)
    }

    /// Whether many frames wait, and half a ring of them was taken since [`Port::skip_crowd_check`].
    pub fn is_crowded(&self) -> bool {
        self.counts.received >= self.next_crowd_check && self.socket.as_ref().is_some_and(S::is_filling)
    }

    /// The waiting frames were counted: that need not be done again before half a ring of frames was taken.
    pub fn skip_crowd_check(&mut self) {
        self.next_crowd_check = self.counts.received + self.ring_frames() as u64 / 2;
    }

    /// Shows the beginning of all frames that wait.
    pub fn look_ahead(&self, see: impl FnMut(&[u8])) {
        if let Some(socket) = &self.socket {
            socket.look_ahead(see);
        }
    }

    /// What was counted until now. The kernel counts for each socket: this must be called before one is closed.
    pub fn count(&mut self) -> Counts {
        self.counts.ring_dropped += self.socket.as_ref().map_or(0, |socket| socket.dropped().into());
        self.counts
    }

    /// Stops serving; queued frames are lost.
    pub fn close(&mut self, free: impl FnMut(u32)) {
        self.count();
        self.socket = None;
        self.flush(free);
    }

    /// Queues a frame; it comes back when there is no room for it.
    pub fn send(&mut self, frame: Outgoing) -> Result<(), Outgoing> {
        if !self.has_room() {
            self.counts.dropped += 1;
            return Err(frame);
        }
        self.queue.push_back(frame);
        Ok(())
    }

    pub fn has_room(&self) -> bool {
        self.socket.is_some() && self.queue.len() < MAX_QUEUED
    }

    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Sends what is queued; `free` gets the keys of the memory that was lent.
    pub fn flush(&mut self, mut free: impl FnMut(u32)) {
        while !self.queue.is_empty() {
            let sent = match &self.socket {
                Some(socket) => socket.send(self.queue.iter()).inspect(|count| self.counts.sent += *count as u64),
                None => {
                    self.counts.dropped += self.queue.len() as u64;
                    Ok(self.queue.len())
                }
            };
            let done = match sent {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                // Interface down, queue full, frame too long after an MTU change: it is lost like any frame can be.
                Err(_) => {
                    self.counts.failed += 1;
                    1
                }
            };
            for frame in self.queue.drain(..done) {
                if let Data::Lent { key, .. } = frame.data {
                    free(key);
                }
            }
        }
        self.blocked = false;
    }
}
