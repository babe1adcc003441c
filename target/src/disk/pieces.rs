//! The memory of one request to a disk.

use libc::iovec;

use super::reclaim::is_zeros;

/// One piece of memory, or several that are adjacent on the disk.
#[derive(Debug)]
pub enum Pieces {
    One(iovec),
    Many { pieces: Vec<iovec>, first: usize },
}

impl Pieces {
    pub fn new(data: *mut u8, length: usize) -> Pieces {
        Pieces::One(iovec { iov_base: data.cast(), iov_len: length })
    }

    /// Adds a piece that is next on the disk.
    pub fn push(&mut self, data: *mut u8, length: usize) {
        let piece = iovec { iov_base: data.cast(), iov_len: length };
        match self {
            Pieces::One(one) => *self = Pieces::Many { pieces: vec![*one, piece], first: 0 },
            Pieces::Many { pieces, .. } => pieces.push(piece),
        }
    }

    pub fn as_slice(&self) -> &[iovec] {
        match self {
            Pieces::One(one) => std::slice::from_ref(one),
            Pieces::Many { pieces, first } => &pieces[*first..],
        }
    }

    pub fn length(&self) -> usize {
        self.as_slice().iter().map(|piece| piece.iov_len).sum()
    }

    /// Whether each piece is a multiple of this, as direct requests need it.
    pub fn each_fits(&self, grain: usize) -> bool {
        self.as_slice().iter().all(|piece| piece.iov_len.is_multiple_of(grain))
    }

    /// Drops the first bytes, which are done. `bytes` is less than the length.
    pub fn skip(&mut self, mut bytes: usize) {
        let rest = match self {
            Pieces::One(one) => one,
            Pieces::Many { pieces, first } => {
                while bytes >= pieces[*first].iov_len {
                    bytes -= pieces[*first].iov_len;
                    *first += 1;
                }
                &mut pieces[*first]
            }
        };
        rest.iov_base = rest.iov_base.cast::<u8>().wrapping_add(bytes).cast();
        rest.iov_len -= bytes;
    }

    /// Whether all bytes are zeros.
    ///
    /// # Safety
    /// The pieces must be valid, and nobody may write to them meanwhile.
    pub unsafe fn are_zeros(&self) -> bool {
        // SAFETY: see above.
        self.as_slice().iter().all(|piece| is_zeros(unsafe { std::slice::from_raw_parts(piece.iov_base.cast(), piece.iov_len) }))
    }

    /// Copies all pieces to one place.
    ///
    /// # Safety
    /// The pieces must be valid, and nobody may write to them meanwhile.
    pub unsafe fn gather(&self, mut to: &mut [u8]) {
        for piece in self.as_slice() {
            let (head, rest) = to.split_at_mut(piece.iov_len);
            // SAFETY: see above.
            head.copy_from_slice(unsafe { std::slice::from_raw_parts(piece.iov_base.cast(), piece.iov_len) });
            to = rest;
        }
    }

    /// Copies one place to all pieces.
    ///
    /// # Safety
    /// The pieces must be valid, and nobody else may use them meanwhile.
    pub unsafe fn scatter(&self, mut from: &[u8]) {
        for piece in self.as_slice() {
            let (head, rest) = from.split_at(piece.iov_len);
            // SAFETY: see above.
            unsafe { std::slice::from_raw_parts_mut(piece.iov_base.cast::<u8>(), piece.iov_len) }.copy_from_slice(head);
            from = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_one_run_of_bytes_from_any_place_on(
            lengths in prop::collection::vec(1usize..9, 1..6),
            skips in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let mut memory: Vec<Vec<u8>> = Vec::new();
            let mut next = 0u8;
            for length in lengths {
                memory.push((0..length).map(|_| { next += 1; next }).collect());
            }
            let mut whole: Vec<u8> = memory.concat();
            let mut parts = memory.iter_mut();
            let first = parts.next().unwrap();
            let mut pieces = Pieces::new(first.as_mut_ptr(), first.len());
            for part in parts {
                pieces.push(part.as_mut_ptr(), part.len());
            }
            for skip in skips {
                let bytes = skip.index(whole.len());
                pieces.skip(bytes);
                whole.drain(..bytes);
                prop_assert_eq!(pieces.length(), whole.len());
                let mut found = vec![0; whole.len()];
                // SAFETY: the pieces are alive.
                unsafe { pieces.gather(&mut found) };
                prop_assert_eq!(&found, &whole);
            }
            let changed: Vec<u8> = whole.iter().map(|byte| byte ^ 0xff).collect();
            let mut found = vec![0; whole.len()];
            // SAFETY: the pieces are alive.
            unsafe {
                pieces.scatter(&changed);
                pieces.gather(&mut found);
            }
            prop_assert_eq!(found, changed);
        }
    }
}
