use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::link::Link;
use super::port::Outgoing;

/// What carries frames from and to one interface: a packet socket, or, for tests, memory. The serving thread is made for one
/// kind at compile time, so that a frame costs no indirect call.
pub trait Socket: Sized {
    /// Looks the interface up; none when there is no such interface.
    fn look_up(name: &str) -> io::Result<Option<Link>>;

    /// `frames`: at least as many received frames of the longest that the link carries are kept until they are taken.
    fn open(link: &Link, frames: usize) -> io::Result<Self>;

    /// Readable when a frame has come.
    fn fd(&self) -> RawFd;

    /// Writable when it takes this frame.
    fn sender(&self, frame: &Outgoing) -> RawFd;

    /// Received frames that it keeps.
    fn frames(&self) -> usize;

    /// Whether a quarter of them have come and wait.
    fn is_filling(&self) -> bool;

    /// Shows the beginning of all frames that wait, with the one that comes next.
    fn look_ahead(&self, see: impl FnMut(&[u8]));

    /// When the next frame came, if there is one: time since an epoch that is that of all sockets.
    fn arrived(&self) -> Option<Duration>;

    /// The next frame, if there is one.
    fn receive(&mut self) -> Option<Frame>;

    /// Done with the frame of [`Socket::receive`].
    fn release(&mut self);

    /// Sends the first of these frames, as many as it takes; the answer is how many. `WouldBlock`: none now.
    fn send<'a>(&self, frames: impl Iterator<Item = &'a Outgoing>) -> io::Result<usize>;

    /// Reads and clears the pending error, as after the interface went down.
    fn clear_error(&self);

    /// Frames that were lost for want of room, since the last call.
    fn dropped(&self) -> u32;
}

/// What [`Socket::receive`] found.
pub enum Frame {
    /// From the Ethernet header on. It stays where it is until [`Socket::release`].
    Whole(*const [u8]),
    /// There was a frame, but it could not be kept: it is lost as on the wire.
    Lost,
}
