//! Network interfaces: finding them, receiving and sending frames. Targets and initiators use it.

pub mod filter;
pub mod initiator;
pub mod link;
pub mod packet;
pub mod port;
pub mod ring;
pub mod socket;

use crate::wire::SECTOR;

/// Most sectors that a frame carries: 4 KiB blocks stay whole, and buffers small.
pub const MAX_SECTORS: u8 = 16;
/// Bytes before the data of an ATA frame, Ethernet header included.
pub const ATA_HEADER: usize = 36;
/// Bytes of an Ethernet header: an MTU does not count it.
pub const ETHERNET: usize = 14;

/// Sectors per frame to advertise. The Linux driver uses at most `(mtu - 36) / 512`: at MTU 9000 that is 17, which straddles
/// 4 KiB blocks, so it is cut to a multiple of 8, or to a power of two below 8. 0: the MTU carries no sector.
pub fn sectors_for(mtu: u32) -> u8 {
    let most = (mtu as usize).saturating_sub(ATA_HEADER) / SECTOR;
    let whole = match most {
        0 => 0,
        1..8 => 1 << most.ilog2(),
        _ => most - most % 8,
    };
    whole.min(MAX_SECTORS.into()) as u8
}

/// Bytes of the longest frame that is received whole: one that fills the MTU, or has the most sectors.
pub fn longest_frame(mtu: u32) -> usize {
    (mtu as usize + ETHERNET).min(ATA_HEADER + usize::from(MAX_SECTORS) * SECTOR)
}

/// Most frames that the Linux driver has outstanding (`aoe_maxout`).
const MOST_OUTSTANDING: usize = 64;

/// Frames the receive ring holds for this many volumes.
pub fn ring_frames(volumes: usize) -> usize {
    // Few steps: a ring is replaced at each, and frames that come meanwhile are lost.
    [8, 64, 256].into_iter().find(|most| volumes <= *most).unwrap_or(256) * MOST_OUTSTANDING
}

/// Frames that each initiator may have outstanding per volume, so that the ring holds all of them. With less than 2 the Linux
/// driver never transmits; it uses at most 64.
pub fn buffer_count(frames: usize, volumes: usize) -> u16 {
    (frames / volumes.max(1)).clamp(2, MOST_OUTSTANDING) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_whole_blocks_where_the_mtu_allows() {
        let cases = [(0, 0), (68, 0), (547, 0), (548, 1), (1500, 2), (2100, 4), (4000, 4), (4200, 8), (9000, 16), (65535, 16)];
        for (mtu, sectors) in cases {
            assert_eq!(sectors_for(mtu), sectors, "MTU {mtu}");
        }
    }

    #[test]
    fn the_ring_holds_what_the_buffer_counts_allow() {
        for volumes in 1..=1024 {
            let frames = ring_frames(volumes);
            let count = buffer_count(frames, volumes);
            assert!((2..=64).contains(&count));
            assert!(usize::from(count) * volumes <= frames, "{volumes}");
        }
        assert_eq!(buffer_count(ring_frames(0), 0), 64);
        assert_eq!(buffer_count(ring_frames(64), 64), 64);
        assert_eq!(buffer_count(ring_frames(1000), 1000), 16);
        assert_eq!(buffer_count(ring_frames(20_000), 20_000), 2);
    }
}
