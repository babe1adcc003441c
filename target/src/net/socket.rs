use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use super::filter;
use super::ring::Ring;
use crate::wire::ETHERTYPE;

/// Bytes of answers that the kernel may hold for a socket.
const SEND_BUFFER: libc::c_int = 4 << 20;

/// A packet socket on one interface, with its receive ring.
pub struct Socket {
    file: File,
    ring: Ring,
}

impl Socket {
    /// `frames`: at least as many frames of `longest` bytes fit the ring.
    pub fn open(interface: u32, frames: usize, longest: usize) -> io::Result<Socket> {
        // Protocol 0: nothing is received before filter and ring are in place.
        // SAFETY: no memory is passed; the descriptor is new and ours.
        let file = unsafe {
            match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) {
                -1 => return Err(io::Error::last_os_error()),
                fd => File::from_raw_fd(fd),
            }
        };
        let fd = file.as_raw_fd();
        filter::attach(fd)?;
        let ring = Ring::new(fd, frames, longest)?;
        // Without the privilege the smaller default stays.
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER);
        // SAFETY: an all-zero address is valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = ETHERTYPE.to_be();
        address.sll_ifindex = interface as i32;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address is valid for its length.
        if unsafe { libc::bind(fd, (&raw const address).cast(), length) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Socket { file, ring })
    }

    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    pub fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Reads and clears the socket's pending error, as after the interface went down.
    pub fn clear_error(&self) {
        let mut error: libc::c_int = 0;
        let mut length = size_of_val(&error) as libc::socklen_t;
        // SAFETY: both point at valid memory.
        unsafe { libc::getsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &mut length) };
    }

    /// Frames that the kernel dropped because the ring was full, since the last call.
    pub fn dropped(&self) -> u32 {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&stats) as libc::socklen_t;
        // SAFETY: both point at valid memory.
        unsafe { libc::getsockopt(self.fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, (&raw mut stats).cast(), &mut length) };
        stats.tp_drops
    }
}

pub fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the value is valid for its size.
    match unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), size_of::<T>() as libc::socklen_t) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
