//! Memory for direct I/O: aligned to pages.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;

const PAGE: usize = 4096;

/// A buffer for one request whose own memory is not aligned, or too short.
pub struct Aligned {
    pointer: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the allocation has no other owner.
unsafe impl Send for Aligned {}

impl Aligned {
    pub fn new(length: usize) -> Aligned {
        let layout = Layout::from_size_align(length.max(1), PAGE).expect("a few sectors fit into memory");
        // SAFETY: the layout is not empty.
        let pointer = unsafe { alloc_zeroed(layout) };
        Aligned { pointer: NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the allocation is as long, initialised, and ours.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.pointer.as_ptr(), self.layout) }
    }
}

/// Address space for many buffers of one size. Memory is allocated as they are used, and freed by [`Buffers::trim`].
pub struct Buffers {
    base: NonNull<u8>,
    count: usize,
    size: usize,
}

impl Buffers {
    /// `size` must be a multiple of a page.
    pub fn new(count: usize, size: usize) -> io::Result<Buffers> {
        assert!(size.is_multiple_of(PAGE));
        // SAFETY: a new private mapping.
        let base = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            match libc::mmap(std::ptr::null_mut(), count * size, protection, flags, -1, 0) {
                libc::MAP_FAILED => return Err(io::Error::last_os_error()),
                base => {
                    // Huge pages would make a few small buffers cost megabytes.
                    libc::madvise(base, count * size, libc::MADV_NOHUGEPAGE);
                    base
                }
            }
        };
        Ok(Buffers { base: NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?, count, size })
    }

    pub fn pointer(&self, index: usize) -> *mut u8 {
        assert!(index < self.count);
        // SAFETY: within the mapping.
        unsafe { self.base.as_ptr().add(index * self.size) }
    }

    /// Frees the memory of all buffers. None may be in use.
    pub fn trim(&mut self) {
        // SAFETY: the mapping is ours; anonymous pages come back as zeros.
        unsafe { libc::madvise(self.base.as_ptr().cast(), self.count * self.size, libc::MADV_DONTNEED) };
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: mapped with this length.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.count * self.size) };
    }
}
