//! Wakes the serving thread from another thread, or from a signal handler.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that is cheap to check, and a descriptor to sleep on.
#[derive(Debug)]
pub struct Waker {
    raised: AtomicBool,
    event: File,
}

impl Waker {
    pub fn new() -> io::Result<Waker> {
        Ok(Waker { raised: AtomicBool::new(false), event: event()? })
    }

    /// Safe in a signal handler.
    pub fn wake(&self) {
        if !self.raised.swap(true, Ordering::AcqRel) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the buffer is valid; the counter cannot overflow since it is written once per raise.
            unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Whether it was woken since the last call.
    pub fn take(&self) -> bool {
        if !self.raised.load(Ordering::Acquire) {
            return false;
        }
        // The descriptor is emptied before the flag falls: a wake in between is seen by the flag.
        clear(&self.event);
        self.raised.swap(false, Ordering::AcqRel)
    }

    /// Readable after a wake, until it is taken or [`Waker::clear`]ed.
    pub fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Empties the descriptor and leaves the flag. To be called after sleeping on the descriptor, and before [`Waker::take`]. A wake
    /// raises the flag before it writes: the flag may be taken in between, and the descriptor then is readable for nothing.
    pub fn clear(&self) {
        clear(&self.event);
    }
}

/// A descriptor that is readable once something was written to it, until it is cleared.
pub fn event() -> io::Result<File> {
    // SAFETY: eventfd has no memory arguments; the descriptor is new and ours.
    unsafe {
        match libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(File::from_raw_fd(fd)),
        }
    }
}

pub fn clear(event: &File) {
    let mut count = [0u8; 8];
    // SAFETY: the buffer is valid.
    unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}
