use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::time::Duration;

use aoe_target::net::link::look_up;
use aoe_target::wire::{ETHERTYPE, Mac};

use crate::ring::{Ring, set_option};

const SEND_BUFFER: libc::c_int = 8 << 20;
/// Ethernet header: not counted in an MTU.
const ETHERNET: usize = 14;
/// Frames that one call sends at most.
pub const BATCH: usize = 64;

/// Takes answers with bit 31 of the tag set: others are for the machine's own driver.
const FILTER: [libc::sock_filter; 8] = [
    step(0x28, 12, 0, 0),               // half word: EtherType
    step(0x15, ETHERTYPE as u32, 0, 5), // equal
    step(0x30, 14, 0, 0),               // byte: version and flags
    step(0x45, 0x08, 0, 3),             // has the response bit
    step(0x20, 20, 0, 0),               // word: tag
    step(0x45, 0x8000_0000, 0, 1),      // has bit 31
    step(libc::BPF_RET as u16, u32::MAX, 0, 0),
    step(libc::BPF_RET as u16, 0, 0, 0),
];

const fn step(code: u16, value: u32, on_true: u8, on_false: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: on_true, jf: on_false, k: value }
}

/// One interface, as an initiator uses it.
pub struct Socket {
    file: File,
    ring: Ring,
    pub mac: Mac,
}

impl Socket {
    /// `frames`: answers that the receive ring holds at least.
    pub fn open(interface: &str, frames: usize) -> io::Result<Socket> {
        let link = look_up(interface)?.ok_or_else(|| io::Error::other(format!("no interface {interface}")))?;
        // SAFETY: the descriptor is new and ours; filter and address are valid for their lengths.
        unsafe {
            // Protocol 0: nothing is received before filter and ring are in place.
            let file = match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) {
                -1 => return Err(io::Error::last_os_error()),
                fd => File::from_raw_fd(fd),
            };
            let fd = file.as_raw_fd();
            let mut filter = FILTER;
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
            let ring = Ring::new(fd, frames, link.mtu as usize + ETHERNET)?;
            set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER)?;
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = ETHERTYPE.to_be();
            address.sll_ifindex = link.index as i32;
            match libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) {
                0 => Ok(Socket { file, ring, mac: link.mac }),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Hands the next answer to `take`. False when there is none.
    pub fn receive(&mut self, take: impl FnOnce(&[u8])) -> bool {
        self.ring.receive(take)
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
                        error if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENETDOWN)) => at += 1,
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
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&stats) as libc::socklen_t;
        let fd = self.file.as_raw_fd();
        // SAFETY: both point at valid memory.
        unsafe { libc::getsockopt(fd, libc::SOL_PACKET, libc::PACKET_STATISTICS, (&raw mut stats).cast(), &mut length) };
        stats.tp_drops
    }
}
