use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::time::Duration;

use super::link::{self, Link};
use super::port::Outgoing;
use super::ring::{Received, Ring};
use super::socket::{Frame, Socket};
use super::{ATA_HEADER, filter, longest_frame, sectors_for};
use crate::disk::memory::Aligned;
use crate::wire::{ETHERTYPE, SECTOR};

/// Bytes of answers that the kernel may hold for a socket.
const SEND_BUFFER: libc::c_int = 4 << 20;

/// Most memory, in bytes, for a ring whose slots hold whole frames with data: the fastest ring. It is allocated whether frames
/// come or not.
const WHOLE_RING: usize = 5 << 20;
/// Otherwise, bytes of a frame that a slot holds: a whole request without data. Frames with data wait in the socket, in memory
/// that is allocated when they come. Each costs one more system call, but a ring for thousands of frames is small.
const SHORT: usize = 190;
/// Bytes that a frame with data takes in the socket, and most bytes for all of them.
const KEPT: usize = 16 << 10;
const MOST_KEPT: usize = 64 << 20;
/// Most frames of a large ring whose slots hold whole frames: without the privilege to let the socket keep them.
const WHOLE_FRAMES: usize = 1024;
/// Where a frame that is received from the socket begins in memory, so that the data of an ATA frame begins on a page.
const LEAD: usize = 4096 - ATA_HEADER;

/// Frames that one call sends at most.
const BATCH: usize = 16;

/// Bytes of data from which on pages are worth while: the kernel keeps shorter frames in one piece.
const PAGE: usize = 4096;
/// What comes before a frame for the page sender (`struct virtio_net_hdr`): the kernel has no checksum to fill in, and only the
/// head must be in one piece. It then puts the data in whole pages, which are quicker to allocate and to copy to.
const TO_KERNEL: [u8; 10] = {
    let [low, high] = (ATA_HEADER as u16).to_ne_bytes();
    [0, 0, low, high, 0, 0, 0, 0, 0, 0]
};

/// A packet socket (AF_PACKET) on one interface, with its receive ring, and another to send pages of data from.
pub struct PacketSocket {
    file: File,
    ring: Ring,
    /// Sends frames whose data fills pages, each after [`TO_KERNEL`].
    page_sender: File,
    /// A frame that did not fit its slot of the ring.
    kept: Aligned,
    /// Longest frame.
    longest: usize,
}

impl Socket for PacketSocket {
    fn look_up(name: &str) -> io::Result<Option<Link>> {
        link::look_up(name)
    }

    fn open(link: &Link, frames: usize) -> io::Result<PacketSocket> {
        let longest = longest_frame(link.mtu);
        let file = packet_socket()?;
        let fd = file.as_raw_fd();
        filter::attach(fd, &filter::REQUESTS)?;
        // The kernel doubles this value, for what it adds to each frame.
        let room = ((frames * KEPT).min(MOST_KEPT) / 2) as libc::c_int;
        let with_data = ATA_HEADER + usize::from(sectors_for(link.mtu)) * SECTOR;
        let ring = if frames * with_data <= WHOLE_RING {
            Ring::new(fd, frames, with_data)?
        } else if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &room).is_ok() {
            Ring::new(fd, frames, SHORT)?
        } else {
            Ring::new(fd, frames.min(WHOLE_FRAMES), longest)?
        };
        bind(fd, link.index, ETHERTYPE)?;
        let page_sender = packet_socket()?;
        set_option(page_sender.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1i32)?;
        bind(page_sender.as_raw_fd(), link.index, 0)?;
        for socket in [&file, &page_sender] {
            // Without the privilege the smaller default stays.
            let _ = set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER);
        }
        Ok(PacketSocket { file, ring, page_sender, kept: Aligned::new(LEAD + longest), longest })
    }

    fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn frames(&self) -> usize {
        self.ring.frames()
    }

    fn is_filling(&self) -> bool {
        self.ring.is_filling()
    }

    fn look_ahead(&self, see: impl FnMut(&[u8])) {
        self.ring.look_ahead(see);
    }

    fn arrived(&self) -> Option<Duration> {
        self.ring.arrived()
    }

    fn receive(&mut self) -> Option<Frame> {
        match self.ring.next()? {
            Received::Whole(frame) => Some(Frame::Whole(frame)),
            Received::Kept => Some(self.receive_kept()),
            Received::Lost => Some(Frame::Lost),
        }
    }

    fn release(&mut self) {
        self.ring.release();
    }

    fn sender(&self, first: &Outgoing) -> RawFd {
        if in_pages(first) { self.page_sender.as_raw_fd() } else { self.fd() }
    }

    fn send<'a>(&self, frames: impl Iterator<Item = &'a Outgoing>) -> io::Result<usize> {
        let mut frames = frames.peekable();
        let Some(&first) = frames.peek() else { return Ok(0) };
        let pages = in_pages(first);
        let alike = frames.take_while(|frame| in_pages(frame) == pages);
        // SAFETY: all-zero headers and vectors are valid; they point at frames, and a constant, that outlive the call.
        unsafe {
            let mut vectors: [[libc::iovec; 3]; BATCH] = std::mem::zeroed();
            let mut messages: [libc::mmsghdr; BATCH] = std::mem::zeroed();
            let mut count = 0;
            for ((frame, vector), message) in alike.zip(&mut vectors).zip(&mut messages) {
                let [head, data] = frame.parts();
                for (place, part) in vector.iter_mut().zip([&TO_KERNEL[..], head, data]) {
                    *place = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
                }
                let used = if pages { &mut vector[..] } else { &mut vector[1..] };
                message.msg_hdr.msg_iov = used.as_mut_ptr();
                message.msg_hdr.msg_iovlen = used.len() as _;
                count += 1;
            }
            match libc::sendmmsg(self.sender(first), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) {
                -1 => Err(io::Error::last_os_error()),
                sent => Ok(sent as usize),
            }
        }
    }

    fn clear_error(&self) {
        let mut error: libc::c_int = 0;
        let mut length = size_of_val(&error) as libc::socklen_t;
        // SAFETY: both point at valid memory.
        unsafe { libc::getsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &mut length) };
    }

    fn dropped(&self) -> u32 {
        dropped(self.fd())
    }
}

impl PacketSocket {
    /// Takes a frame from the socket, which has one for each slot that says so. Where several CPUs receive, it may be that of
    /// another slot, which does no harm.
    fn receive_kept(&mut self) -> Frame {
        let fd = self.file.as_raw_fd();
        let place = &mut self.kept.bytes()[LEAD..][..self.longest];
        let got = receive_from(fd, place).or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Err(error),
            // An earlier error of the socket, as when its interface went down. The kernel reports it once, in place of a frame.
            // The frame is still there, and must be taken: or the next slot would get it.
            _ => receive_from(fd, place),
        });
        match got {
            Ok(length) => Frame::Whole(&place[..length]),
            Err(_) => Frame::Lost,
        }
    }
}

/// Takes the next frame that a socket keeps. Gives its length.
fn receive_from(fd: RawFd, place: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the place is valid for its length.
    let got = unsafe { libc::recv(fd, place.as_mut_ptr().cast(), place.len(), libc::MSG_DONTWAIT) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

fn in_pages(frame: &Outgoing) -> bool {
    frame.data_length() >= PAGE
}

/// A raw packet socket. It receives nothing before [`bind`].
pub fn packet_socket() -> io::Result<File> {
    // SAFETY: no memory is passed; the descriptor is new and ours.
    unsafe {
        match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(File::from_raw_fd(fd)),
        }
    }
}

/// Binds a packet socket to an interface, by its index, and to an EtherType. Protocol 0: to send only.
pub fn bind(fd: RawFd, interface: u32, protocol: u16) -> io::Result<()> {
    // SAFETY: an all-zero address is valid, and it is valid for its length.
    unsafe {
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = interface as i32;
        match libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Frames that the kernel dropped since the last call, because the receive ring was full.
pub fn dropped(fd: RawFd) -> u32 {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of_val(&stats) as libc::socklen_t;
    // SAFETY: both point at valid memory.
    unsafe { libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, (&raw mut stats).cast(), &mut length) };
    stats.tp_drops
}

pub fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the value is valid for its size.
    match unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), size_of::<T>() as libc::socklen_t) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
