use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::link::look_up;
use super::packet::{bind, dropped, packet_socket, set_option};
use super::ring::{Received, Ring};
use super::{ETHERNET, filter};
use crate::wire::{ETHERTYPE, Mac};

const SEND_BUFFER: libc::c_int = 8 << 20;
/// Longest time that a frame waits for an interface that takes none.
const SEND_LIMIT: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 100_000 };
/// Frames that one call sends at most.
pub const BATCH: usize = 64;

/// One interface, as an initiator in user space uses it: it receives answers whose tag has [`crate::wire::header::USER_TAG`].
pub struct InitiatorSocket {
    file: File,
    ring: Ring,
    pub mac: Mac,
    pub mtu: u32,
}

impl InitiatorSocket {
    /// `frames`: answers that the receive ring holds at least.
    pub fn open(interface: &str, frames: usize) -> io::Result<InitiatorSocket> {
        let link = look_up(interface)?.ok_or_else(|| io::Error::other(format!("no interface {interface}")))?;
        let file = packet_socket()?;
        let fd = file.as_raw_fd();
        filter::attach(fd, &filter::ANSWERS)?;
        let ring = Ring::new(fd, frames, link.mtu as usize + ETHERNET)?;
        // Without the privilege the smaller default stays.
        let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER);
        set_option(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &SEND_LIMIT)?;
        bind(fd, link.index, ETHERTYPE)?;
        Ok(InitiatorSocket { file, ring, mac: link.mac, mtu: link.mtu })
    }

    /// Hands the next answer to `take`. False when there is none.
    pub fn receive(&mut self, take: impl FnOnce(&[u8])) -> bool {
        match self.ring.next() {
            None => return false,
            Some(Received::Whole(frame)) => take(frame),
            // Longer than the MTU allows: lost, as any frame can be.
            Some(Received::Kept | Received::Lost) => {}
        }
        self.ring.release();
        true
    }

    /// Readable when an answer is there.
    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Sleeps until an answer is there, for `limit` at most.
    pub fn wait(&self, limit: Duration) {
        let mut fd = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let limit = libc::timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        // SAFETY: one descriptor; no signal mask.
        unsafe { libc::ppoll(&mut fd, 1, &limit, std::ptr::null()) };
    }

    /// Sends up to [`BATCH`] frames. One that cannot be sent now is lost, as any frame can be.
    pub fn send(&self, frames: &[&[u8]]) -> io::Result<()> {
        // SAFETY: all-zero headers are valid; vectors point at frames that outlive the call.
        unsafe {
            let mut vectors: [libc::iovec; BATCH] = std::mem::zeroed();
            let mut messages: [libc::mmsghdr; BATCH] = std::mem::zeroed();
            for ((frame, vector), message) in frames.iter().zip(&mut vectors).zip(&mut messages) {
                *vector = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
                message.msg_hdr.msg_iov = vector;
                message.msg_hdr.msg_iovlen = 1;
            }
            let mut at = 0;
            while at < frames.len() {
                let left = (frames.len() - at) as u32;
                match libc::sendmmsg(self.file.as_raw_fd(), messages.as_mut_ptr().add(at), left, 0) {
                    -1 => match io::Error::last_os_error() {
                        error if error.kind() == io::ErrorKind::Interrupted => {}
                        error if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENETDOWN | libc::EAGAIN)) => at += 1,
                        error => return Err(error),
                    },
                    sent => at += sent as usize,
                }
            }
        }
        Ok(())
    }

    /// Answers that the ring had no room for, since the last call.
    pub fn dropped(&self) -> u32 {
        dropped(self.file.as_raw_fd())
    }
}
