//! A segment in memory: interfaces that frames are handed to, and whose answers are taken.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use aoe_target::net::link::Link;
use aoe_target::net::port::Outgoing;
use aoe_target::net::socket::{Frame, Socket};
use aoe_target::wire::Mac;

/// Bytes of an Ethernet header: an MTU does not count them.
pub const ETHERNET: usize = 14;

pub struct Interface {
    pub link: Link,
    /// Frames that the target has not taken yet.
    pub coming: VecDeque<Vec<u8>>,
    /// Frames that it has sent.
    pub sent: Vec<Vec<u8>>,
}

thread_local! {
    static SEGMENT: RefCell<Vec<Interface>> = const { RefCell::new(Vec::new()) };
}

/// Makes the interfaces of this thread anew: `if0` and so on, with these MTUs.
pub fn reset(mtus: &[u32]) {
    let interface = |(at, mtu): (usize, &u32)| {
        let link = Link { index: at as u32, mac: mac(at), mtu: *mtu, up: true };
        Interface { link, coming: VecDeque::new(), sent: Vec::new() }
    };
    SEGMENT.set(mtus.iter().enumerate().map(interface).collect());
}

pub fn name(at: usize) -> String {
    format!("if{at}")
}

/// Address of the target at an interface.
pub fn mac(at: usize) -> Mac {
    Mac([2, 0, 0, 0, 0xff, at as u8])
}

pub fn with<T>(at: usize, action: impl FnOnce(&mut Interface) -> T) -> T {
    SEGMENT.with_borrow_mut(|interfaces| action(&mut interfaces[at]))
}

pub struct MemorySocket {
    at: usize,
    /// The frame that was received, and is not yet released.
    frame: Vec<u8>,
    frames: usize,
}

impl Socket for MemorySocket {
    fn look_up(name: &str) -> io::Result<Option<Link>> {
        let at: Option<usize> = name.strip_prefix("if").and_then(|number| number.parse().ok());
        Ok(SEGMENT.with_borrow(|interfaces| at.and_then(|at| interfaces.get(at)).map(|interface| interface.link)))
    }

    fn open(link: &Link, frames: usize) -> io::Result<MemorySocket> {
        with(link.index as usize, |interface| interface.coming.clear());
        Ok(MemorySocket { at: link.index as usize, frame: Vec::new(), frames })
    }

    fn fd(&self) -> RawFd {
        -1
    }

    fn sender(&self, _: &Outgoing) -> RawFd {
        -1
    }

    fn frames(&self) -> usize {
        self.frames
    }

    fn is_filling(&self) -> bool {
        with(self.at, |interface| interface.coming.len() >= self.frames / 4)
    }

    fn look_ahead(&self, see: impl FnMut(&[u8])) {
        with(self.at, |interface| interface.coming.iter().map(Vec::as_slice).for_each(see));
    }

    fn receive(&mut self) -> Option<Frame> {
        assert!(self.frame.is_empty(), "the frame before was not released");
        self.frame = with(self.at, |interface| interface.coming.pop_front())?;
        Some(Frame::Whole(&raw const *self.frame))
    }

    fn release(&mut self) {
        self.frame = Vec::new();
    }

    fn send<'a>(&self, mut frames: impl Iterator<Item = &'a Outgoing>) -> io::Result<usize> {
        let Some(frame) = frames.next() else { return Ok(0) };
        let bytes = frame.parts().concat();
        with(self.at, |interface| {
            if bytes.len() > interface.link.mtu as usize + ETHERNET {
                return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
            }
            interface.sent.push(bytes);
            Ok(1)
        })
    }

    fn clear_error(&self) {}

    fn dropped(&self) -> u32 {
        0
    }
}
