//! Which frames are one request to somebody who counts requests. At an MTU of 1500, 4 KiB come in four frames.

use std::collections::VecDeque;

use crate::disk::engine::Kind;

/// Bytes that are one request, however many frames carry them.
pub const UNIT: u64 = 4096;
/// Streams that are remembered: requests of several hosts, or to several places, may come mixed, and with pauses.
const REMEMBERED: usize = 64;

/// A request of which a part has come.
#[derive(Debug, Clone, Copy)]
struct Stream {
    kind: Kind,
    /// Where the next part would begin.
    end: u64,
    /// Bytes after `end` that are charged already; not 0.
    left: u64,
}

#[derive(Debug, Default)]
pub struct Streams {
    begun: VecDeque<Stream>,
}

impl Streams {
    /// Requests of 4 KiB that begin with a frame for `length` bytes at `offset`.
    pub fn begin(&mut self, kind: Kind, offset: u64, length: u64) -> u64 {
        let at = self.begun.iter().position(|stream| stream.kind == kind && stream.end == offset);
        let left = at.and_then(|at| self.begun.remove(at)).map_or(0, |stream| stream.left);
        let begun = length.saturating_sub(left).div_ceil(UNIT);
        let left = left + begun * UNIT - length;
        if left > 0 {
            if self.begun.len() >= REMEMBERED {
                self.begun.pop_front();
            }
            self.begun.push_back(Stream { kind, end: offset + length, left });
        }
        begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: u64 = 1024;

    #[test]
    fn a_block_is_one_request_at_every_mtu() {
        for frame in [512, K, 2 * K, 4 * K] {
            let mut streams = Streams::default();
            for block in [7, 3, 9] {
                let begun: u64 = (0..4 * K / frame).map(|at| streams.begin(Kind::Write, block * 1024 * K + at * frame, frame)).sum();
                assert_eq!(begun, 1, "frames of {frame}");
            }
        }
        assert_eq!(Streams::default().begin(Kind::Read, 0, 8 * K), 2);
    }

    #[test]
    fn small_requests_here_and_there_are_each_counted_and_a_long_one_by_its_length() {
        let mut streams = Streams::default();
        assert_eq!((0..100).map(|at| streams.begin(Kind::Read, at * 1024 * K, 512)).sum::<u64>(), 100);
        let mut streams = Streams::default();
        assert_eq!((0..64).map(|at| streams.begin(Kind::Write, at * K, K)).sum::<u64>(), 16);
        assert_eq!(streams.begin(Kind::Read, 64 * K, K), 1, "of another kind");
    }

    #[test]
    fn streams_of_several_hosts_may_come_mixed() {
        let mut streams = Streams::default();
        let begun: u64 = (0..4)
            .flat_map(|at| (0..10).map(move |host| (host, at)))
            .map(|(host, at)| streams.begin(Kind::Write, host * 1024 * K + at * K, K))
            .sum();
        assert_eq!(begun, 10);
    }
}
