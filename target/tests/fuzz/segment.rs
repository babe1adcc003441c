//! A segment in memory: interfaces that frames are handed to, and whose answers are taken.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use aoe_target::net::link::Link;
use aoe_target::net::port::Outgoing;
use aoe_target::net::socket::{Frame, Socket};
use aoe_target::wire::Mac;

/// Bytes of an Ethernet header: an MTU does not count them.
pub const ETHERNET: usize = 14;

pub struct Interface {
    pub link: Link,
    /// Frames that the target has not taken yet, each with its number among those of all interfaces.
    coming: VecDeque<(u32, Vec<u8>)>,
    /// The last of them is never taken for good: there always is another.
    pub endless: bool,
    /// How often a socket cannot be opened from now on.
    pub failures: u32,
    /// Frames that it has sent.
    pub sent: Vec<Vec<u8>>,
}

impl Interface {
    pub fn clear(&mut self) {
        self.coming.clear();
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.endless && self.coming.len() == 1 {
            return self.coming.front().map(|(_, frame)| frame.clone());
        }
        self.coming.pop_front().map(|(_, frame)| frame)
    }
}

thread_local! {
    static SEGMENT: RefCell<Vec<Interface>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Replaces the interfaces of this thread by `if0` and so on, with these MTUs.
pub fn reset(mtus: &[u32]) {
    let interface = |(at, mtu): (usize, &u32)| {
        let link = Link { index: at as u32, mac: mac(at), mtu: *mtu, up: true };
        Interface { link, coming: VecDeque::new(), endless: false, failures: 0, sent: Vec::new() }
    };
    COUNT.set(0);
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

/// A frame comes by an interface.
pub fn send(at: usize, frame: Vec<u8>) {
    COUNT.set(COUNT.get() + 1);
    with(at, |interface| interface.coming.push_back((COUNT.get(), frame)));
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
        with(link.index as usize, |interface| {
            if interface.failures > 0 {
                interface.failures -= 1;
                return Err(io::Error::from_raw_os_error(libc::ENOMEM));
            }
            if !interface.endless {
                interface.clear();
            }
            Ok(MemorySocket { at: link.index as usize, frame: Vec::new(), frames })
        })
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
        with(self.at, |interface| interface.coming.iter().map(|(_, frame)| frame.as_slice()).for_each(see));
    }

    fn arrived(&self) -> Option<Duration> {
        with(self.at, |interface| interface.coming.front().map(|(number, _)| Duration::from_nanos((*number).into())))
    }

    fn receive(&mut self) -> Option<Frame> {
        assert!(self.frame.is_empty(), "the frame before was not released");
        self.frame = with(self.at, Interface::next)?;
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
