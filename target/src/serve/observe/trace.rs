//! Copies of frames for readers of traces. Serving never waits for a reader: frames for which its queue has no room are
//! skipped, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc::Sender;

use crate::definition::Address;
use crate::serve::error::Error;
use crate::wire::header::{ANY_SHELF, ANY_SLOT};
use crate::wire::{HeaderView, Mac};

/// Most traces at the same time: each costs time for every frame, and memory.
const MOST: usize = 4;

#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    pub address: Option<Address>,
    pub mac: Option<Mac>,
}

impl Filter {
    fn matches(&self, frame: &[u8]) -> bool {
        if self.address.is_none() && self.mac.is_none() {
            return true;
        }
        let Ok(view) = HeaderView::new_checked(frame) else { return false };
        let (shelf, slot) = (view.shelf(), view.slot());
        let at = |address: Address| (shelf == ANY_SHELF || shelf == address.shelf) && (slot == ANY_SLOT || slot == address.slot);
        self.address.is_none_or(at) && self.mac.is_none_or(|mac| view.source() == mac || view.destination() == mac)
    }
}

/// A frame that was received or sent.
#[derive(Debug)]
pub struct Traced {
    pub time: SystemTime,
    /// On the wire.
    pub length: usize,
    /// From the Ethernet header on, cut to [`Trace::snap`] bytes.
    pub data: Vec<u8>,
}

pub struct Trace {
    pub filter: Filter,
    /// Most bytes of a frame that are kept.
    pub snap: usize,
    /// Frames that are still to be taken.
    pub frames: u32,
    pub until: Instant,
    pub to: Sender<Traced>,
    pub skipped: Arc<AtomicU64>,
}

impl Trace {
    fn is_over(&self) -> bool {
        self.frames == 0 || self.to.is_closed() || Instant::now() >= self.until
    }
}

#[derive(Default)]
pub struct Traces(Vec<Trace>);

impl Traces {
    /// Whether no trace runs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, trace: Trace) -> Result<(), Error> {
        self.0.retain(|trace| !trace.is_over());
        if self.0.len() >= MOST {
            return Err(Error::TooManyTraces(MOST));
        }
        self.0.push(trace);
        Ok(())
    }

    /// A frame came or goes, in two parts, the first with the header.
    #[cold]
    pub fn take(&mut self, parts: [&[u8]; 2]) {
        self.0.retain_mut(|trace| {
            if trace.is_over() {
                return false;
            }
            if !trace.filter.matches(parts[0]) {
                return true;
            }
            let Ok(room) = trace.to.try_reserve() else {
                trace.skipped.fetch_add(1, Ordering::Relaxed);
                return true;
            };
            let length = parts[0].len() + parts[1].len();
            let mut data = Vec::with_capacity(length.min(trace.snap));
            for part in parts {
                data.extend_from_slice(&part[..part.len().min(trace.snap - data.len())]);
            }
            room.send(Traced { time: SystemTime::now(), length, data });
            trace.frames -= 1;
            trace.frames > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc::{Receiver, channel};

    fn trace(filter: Filter, snap: usize, frames: u32, room: usize) -> (Trace, Receiver<Traced>) {
        let (to, seen) = channel(room);
        let until = Instant::now() + Duration::from_secs(60);
        (Trace { filter, snap, frames, until, to, skipped: Arc::default() }, seen)
    }

    fn frame(shelf: u8, slot: u8, from: u8, to: u8) -> Vec<u8> {
        let mut frame = vec![0; 24];
        (frame[5], frame[11], frame[12], frame[13], frame[17], frame[18]) = (to, from, 0x88, 0xa2, shelf, slot);
        frame
    }

    #[test]
    fn a_reader_that_does_not_keep_up_misses_frames_which_are_counted() {
        let mut traces = Traces::default();
        let (trace, mut seen) = trace(Filter::default(), 100, 10, 2);
        let skipped = trace.skipped.clone();
        traces.add(trace).unwrap();
        for _ in 0..5 {
            traces.take([&[1; 60], &[2; 512]]);
        }
        assert_eq!(skipped.load(Ordering::Relaxed), 3);
        let first = seen.try_recv().unwrap();
        assert_eq!((first.length, first.data.len(), first.data[59], first.data[60]), (572, 100, 1, 2));
        traces.take([&[3; 60], &[]]);
        seen.try_recv().unwrap();
        assert_eq!(seen.try_recv().unwrap().data, [3; 60]);
    }

    #[test]
    fn a_trace_ends_after_its_frames_or_its_time_or_when_its_reader_goes() {
        let mut traces = Traces::default();
        let (few, _seen) = trace(Filter::default(), 14, 1, 2);
        traces.add(few).unwrap();
        traces.take([&[0; 60], &[]]);
        assert!(traces.is_empty());
        let (late, _seen) = trace(Filter::default(), 14, 9, 2);
        traces.add(Trace { until: Instant::now(), ..late }).unwrap();
        traces.take([&[0; 60], &[]]);
        assert!(traces.is_empty());
        let (left, seen) = trace(Filter::default(), 14, 9, 2);
        traces.add(left).unwrap();
        drop(seen);
        let running: Vec<_> = (0..MOST).map(|_| trace(Filter::default(), 14, 9, 2)).collect();
        let (running, _seen): (Vec<_>, Vec<_>) = running.into_iter().unzip();
        for trace in running {
            traces.add(trace).expect("one that nobody reads is no hindrance");
        }
        assert!(traces.add(trace(Filter::default(), 14, 9, 2).0).is_err());
    }

    #[test]
    fn filters_take_both_directions_and_questions_to_all() {
        let address = Some(Address { shelf: 7, slot: 3 });
        let host = Some(Mac([0, 0, 0, 0, 0, 9]));
        let cases = [
            (Filter::default(), &[0u8; 20][..], true),
            (Filter { address, mac: None }, &[0; 20], false),
            (Filter { address, mac: None }, &frame(7, 3, 1, 2), true),
            (Filter { address, mac: None }, &frame(7, 4, 1, 2), false),
            (Filter { address, mac: None }, &frame(7, ANY_SLOT, 1, 2), true),
            (Filter { address: None, mac: host }, &frame(1, 1, 9, 2), true),
            (Filter { address: None, mac: host }, &frame(1, 1, 2, 9), true),
            (Filter { address, mac: host }, &frame(7, 3, 1, 2), false),
        ];
        for (filter, frame, expected) in cases {
            assert_eq!(filter.matches(frame), expected, "{filter:?} {frame:?}");
        }
    }
}
