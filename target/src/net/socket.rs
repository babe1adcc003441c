use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use super::link::Link;
use super::port::Outgoing;

/// Receives and sends the frames of one interface: a packet socket, or memory in tests. The server is generic over it, so that a
/// frame costs no indirect call.
pub trait Socket: Sized {
    /// Finds the interface; none when it does not exist.
    fn look_up(name: &str) -> io::Result<Option<Link>>;

    /// `frames`: at least this many received frames are kept until they are taken, however long they are.
    fn open(link: &Link, frames: usize) -> io::Result<Self>;

    /// Readable when a frame has come.
    fn fd(&self) -> RawFd;

    /// Writable when it takes this frame.
    fn sender(&self, frame: &Outgoing) -> RawFd;

    /// Received frames that it can keep.
    fn frames(&self) -> usize;

    /// Whether a quarter of them have come and wait.
    fn is_filling(&self) -> bool;

    /// Shows the beginning of all frames that wait, beginning with the next one.
    fn look_ahead(&self, see: impl FnMut(&[u8]));

    /// When the next frame came, if there is one. Comparable between sockets: by the wall clock, as time since 1970.
    fn arrived(&self) -> Option<Duration>;

    /// The next frame, if there is one.
    fn receive(&mut self) -> Option<Frame>;

    /// Done with the frame of [`Socket::receive`].
    fn release(&mut self);

    /// Sends the first of these frames, as many as the interface takes now, and gives their number. `WouldBlock`: none.
    fn send<'a>(&self, frames: impl Iterator<Item = &'a Outgoing>) -> io::Result<usize>;

    /// Reads and clears the pending error, as after the interface went down.
    fn clear_error(&self);

    /// Frames that were dropped since the last call because there was no room.
    fn dropped(&self) -> u32;
}

/// What [`Socket::receive`] found.
pub enum Frame {
    /// From the Ethernet header on. It stays where it is until [`Socket::release`].
    Whole(*const [u8]),
    /// There was a frame, but it could not be kept. It counts as lost on the wire.
    Lost,
}
