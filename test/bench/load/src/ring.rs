use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of the blocks that slots lie in, which the kernel takes from its memory in one piece.
const BLOCK: usize = 128 << 10;
/// Bytes of a slot before the frame, at most.
const HEADER: usize = 128;

/// A receive ring of version 2 whose slots hold whole frames. On a veth pair it is the sender who fills it: the smaller it is,
/// the more of it stays in the processors' caches.
pub struct Ring {
    base: NonNull<u8>,
    slots: usize,
    /// Bytes of each.
    slot: usize,
    at: usize,
}

impl Ring {
    /// At least this many slots, for frames of at most `longest` bytes.
    pub fn new(fd: RawFd, slots: usize, longest: usize) -> io::Result<Ring> {
        let slot = (longest + HEADER).next_power_of_two();
        let slots = slots.next_multiple_of(BLOCK / slot);
        let length = slots * slot;
        set_option(fd, libc::SOL_PACKET, libc::PACKET_VERSION, &(libc::tpacket_versions::TPACKET_V2 as libc::c_int))?;
        let request = libc::tpacket_req {
            tp_block_size: BLOCK as u32,
            tp_block_nr: (length / BLOCK) as u32,
            tp_frame_size: slot as u32,
            tp_frame_nr: slots as u32,
        };
        set_option(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new shared mapping of the ring, as long as it is.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
        match NonNull::new(base.cast()).filter(|_| base != libc::MAP_FAILED) {
            Some(base) => Ok(Ring { base, slots, slot, at: 0 }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// Hands the next frame to `take`, from the Ethernet header on. False when there is none.
    pub fn receive(&mut self, take: impl FnOnce(&[u8])) -> bool {
        // SAFETY: within the mapping, as `at` is below `slots`. The status is the first, aligned word of a slot; the kernel
        // changes it, too, and leaves the rest alone from when it says so until it gets the slot back.
        unsafe {
            let slot = self.base.as_ptr().add(self.at * self.slot);
            let status = AtomicU32::from_ptr(slot.cast());
            if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return false;
            }
            let header = slot.cast::<libc::tpacket2_hdr>().read();
            let start = usize::from(header.tp_mac);
            take(std::slice::from_raw_parts(slot.add(start), (header.tp_snaplen as usize).min(self.slot - start)));
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.at = (self.at + 1) % self.slots;
        true
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped with this length.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.slots * self.slot) };
    }
}

pub fn set_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the value is valid for its size.
    match unsafe { libc::setsockopt(fd, level, name, (&raw const *value).cast(), size_of::<T>() as libc::socklen_t) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
