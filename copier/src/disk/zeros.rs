use std::ops::Range;

/// Zeros are looked for in units of so many bytes. Smaller ones would save little room, and cost many writes.
const UNIT: usize = 64 << 10;

pub fn is_zero(bytes: &[u8]) -> bool {
    // SAFETY: any bytes are valid numbers.
    let (before, words, after) = unsafe { bytes.align_to::<u128>() };
    before.iter().chain(after).all(|byte| *byte == 0) && words.chunks(32).all(|chunk| chunk.iter().fold(0, |all, word| all | word) == 0)
}

/// Cuts bytes, of which the first is at `offset` on the disk, into runs that are zeros or are not, at whole units of the disk.
pub fn runs(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (Range<usize>, bool)> {
    let mut at = 0;
    let unit_at = move |at: usize| at..(at + UNIT - (offset as usize + at) % UNIT).min(bytes.len());
    std::iter::from_fn(move || {
        if at == bytes.len() {
            return None;
        }
        let mut run = unit_at(at);
        let zero = is_zero(&bytes[run.clone()]);
        while run.end < bytes.len() {
            let next = unit_at(run.end);
            if is_zero(&bytes[next.clone()]) != zero {
                break;
            }
            run.end = next.end;
        }
        at = run.end;
        Some((run, zero))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zeros_and_data_are_told_apart_at_units_of_the_disk() {
        let mut bytes = vec![0; 4 * UNIT];
        bytes[UNIT + 5] = 1;
        let found: Vec<_> = runs(0, &bytes).collect();
        assert_eq!(found, [(0..UNIT, true), (UNIT..2 * UNIT, false), (2 * UNIT..4 * UNIT, true)]);
        let found: Vec<_> = runs(4096, &bytes[4096..]).collect();
        assert_eq!(found[0], (0..UNIT - 4096, true));
    }

    proptest! {
        #[test]
        fn runs_cover_all_bytes_and_no_data_is_called_zeros(
            offset in 0u64..1 << 20, length in 0usize..6 * UNIT, marks in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut bytes = vec![0u8; length];
            for mark in marks.iter().filter(|_| length > 0) {
                bytes[mark.index(length)] = 1;
            }
            let mut at = 0;
            for (run, zero) in runs(offset, &bytes) {
                prop_assert!(run.start == at && run.end > at);
                prop_assert_eq!(zero, bytes[run.clone()].iter().all(|byte| *byte == 0));
                at = run.end;
            }
            prop_assert_eq!(at, length);
        }
    }
}
