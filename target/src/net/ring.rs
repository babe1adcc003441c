use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::packet::set_option;

/// Bytes that the kernel asks for at once from its memory.
const BLOCK: usize = 128 * 1024;
/// Most bytes of a slot before the Ethernet header: the ring's own header, an address, and alignment.
const FRAME_HEADER: usize = 80;
const ALIGNMENT: usize = 16;

/// A frame that was received, in its slot of the ring.
pub enum Received<'a> {
    Whole(&'a [u8]),
    /// Longer than a slot: the socket keeps it.
    Kept,
    /// Longer than a slot, and the socket had no room for it.
    Lost,
}

/// A receive ring (TPACKET_V2; version 3 delivers frames up to a millisecond late). Frames are read where the kernel put them.
pub struct Ring {
    base: NonNull<u8>,
    blocks: usize,
    frame_size: usize,
    frames: usize,
    at: usize,
}

impl Ring {
    /// At least `frames` slots, for frames of at most `longest` bytes. The socket keeps longer ones while it has room.
    pub fn new(fd: RawFd, frames: usize, longest: usize) -> io::Result<Ring> {
        let frame_size = (FRAME_HEADER + longest).next_multiple_of(ALIGNMENT);
        let frames_of_block = BLOCK / frame_size;
        let blocks = frames.div_ceil(frames_of_block);
        let frames = blocks * frames_of_block;
        set_option(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V2 as libc::c_int))?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK as u32,
            tp_block_nr: blocks as u32,
            tp_frame_size: frame_size as u32,
            tp_frame_nr: frames as u32,
        };
        set_option(fd, libc::SOL_PACKET, libc::PACKET_COPY_THRESH, &1i32)?;
        set_option(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new shared mapping of the ring, as long as it is.
        let base = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            match libc::mmap(std::ptr::null_mut(), blocks * BLOCK, protection, libc::MAP_SHARED, fd, 0) {
                libc::MAP_FAILED => return Err(io::Error::last_os_error()),
                base => base,
            }
        };
        Ok(Ring { base: NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?, blocks, frame_size, frames, at: 0 })
    }

    /// The next frame, if there is one, from the Ethernet header on. It stays until [`Ring::release`].
    pub fn next(&self) -> Option<Received<'_>> {
        let status = self.status(self.at).load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        if status & libc::TP_STATUS_COPY != 0 {
            return Some(Received::Kept);
        }
        let slot = self.slot(self.at);
        // SAFETY: the kernel has filled the slot and handed it over; offsets are checked against the slot.
        unsafe {
            let header = slot.cast::<libc::tpacket2_hdr>().read();
            let (start, length) = (usize::from(header.tp_mac), header.tp_len as usize);
            if header.tp_snaplen < header.tp_len || start + length > self.frame_size {
                return Some(Received::Lost);
            }
            Some(Received::Whole(std::slice::from_raw_parts(slot.add(start), length)))
        }
    }

    /// When the next frame came, if there is one, by the wall clock: time since 1970.
    pub fn arrived(&self) -> Option<Duration> {
        if !self.has_come(self.at) {
            return None;
        }
        // SAFETY: the kernel has filled the slot and handed it over.
        let header = unsafe { self.slot(self.at).cast::<libc::tpacket2_hdr>().read() };
        Some(Duration::new(header.tp_sec.into(), header.tp_nsec))
    }

    /// Gives the frame of [`Ring::next`] back to the kernel.
    pub fn release(&mut self) {
        self.status(self.at).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.at = (self.at + 1) % self.frames;
    }

    /// Frames that fit.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Whether frames wait in a quarter of the slots.
    pub fn is_filling(&self) -> bool {
        self.has_come((self.at + self.frames / 4) % self.frames)
    }

    /// Shows the beginning of all frames that wait, as much as fits a slot.
    pub fn look_ahead(&self, mut see: impl FnMut(&[u8])) {
        for at in (self.at..self.frames).chain(0..self.at).take_while(|at| self.has_come(*at)) {
            let slot = self.slot(at);
            // SAFETY: as for `next`.
            unsafe {
                let header = slot.cast::<libc::tpacket2_hdr>().read();
                let (start, length) = (usize::from(header.tp_mac), header.tp_snaplen as usize);
                if start + length <= self.frame_size {
                    see(std::slice::from_raw_parts(slot.add(start), length));
                }
            }
        }
    }

    fn has_come(&self, at: usize) -> bool {
        self.status(at).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    fn slot(&self, at: usize) -> *mut u8 {
        let in_block = BLOCK / self.frame_size;
        let offset = at / in_block * BLOCK + at % in_block * self.frame_size;
        debug_assert!(at < self.frames);
        // SAFETY: within the mapping, since `at` is below `frames`.
        unsafe { self.base.as_ptr().add(offset) }
    }

    fn status(&self, at: usize) -> &AtomicU32 {
        // SAFETY: the status is the first, aligned word of a slot; the kernel changes it, too.
        unsafe { AtomicU32::from_ptr(self.slot(at).cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped with this length.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.blocks * BLOCK) };
    }
}
