use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio::sync::mpsc::{self, Receiver};
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::Status;

use crate::proto::{TraceRequest, TraceResponse, TracedFrame};
use crate::serve::observe::trace::{Filter, Trace, Traced};
use crate::wire::mac::BadMac;

/// Defaults and maxima of the limits of a trace.
pub const SNAP: (u32, u32) = (256, 65_535);
pub const FRAMES: (u32, u32) = (10_000, 1_000_000);
pub const SECONDS: (u32, u32) = (60, 3600);
/// Bytes of an Ethernet header.
pub const LEAST_SNAP: u32 = 14;

/// Bytes of the longest frame: an ATA frame with all sectors, or one that fills an MTU of 9000.
const LONGEST: usize = 9018;
/// Most bytes of frames that wait for the reader.
const WAITING: usize = 2 << 20;
/// Bytes of a waiting frame in addition to its data.
const OVERHEAD: usize = 64;
/// Most frames of a message.
const BATCH: usize = 64;

/// The requested trace, and its stream.
pub fn open(request: &TraceRequest) -> Result<(Trace, TraceStream), Status> {
    let snap = limit("snap", request.snap, SNAP, LEAST_SNAP)? as usize;
    let frames = limit("frames", request.frames, FRAMES, 1)?;
    let time = Duration::from_secs(limit("seconds", request.seconds, SECONDS, 1)?.into());
    let mac = match request.mac.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error: BadMac| Status::invalid_argument(error.to_string()))?),
    };
    let (to, seen) = mpsc::channel(WAITING / (snap.min(LONGEST) + OVERHEAD));
    let skipped = Arc::new(AtomicU64::new(0));
    let filter = Filter { address: None, mac };
    let trace = Trace { filter, snap, frames, until: Instant::now() + time, to, skipped: skipped.clone() };
    let stream = TraceStream { seen, batch: Vec::new(), skipped, end: Box::pin(tokio::time::sleep(time)), ended: false };
    Ok((trace, stream))
}

fn limit(name: &str, given: u32, (default, most): (u32, u32), least: u32) -> Result<u32, Status> {
    match given {
        0 => Ok(default),
        given if (least..=most).contains(&given) => Ok(given),
        given => Err(Status::invalid_argument(format!("{name} {given}: must be {least} to {most}"))),
    }
}

/// The frames of a trace as messages: those taken until its time is over, then the number of those skipped.
pub struct TraceStream {
    seen: Receiver<Traced>,
    batch: Vec<Traced>,
    skipped: Arc<AtomicU64>,
    end: Pin<Box<Sleep>>,
    ended: bool,
}

impl Stream for TraceStream {
    type Item = Result<TraceResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if this.end.as_mut().poll(context).is_ready() {
            this.seen.close(); // what it holds is still sent
        }
        if this.seen.poll_recv_many(context, &mut this.batch, BATCH).is_pending() {
            return Poll::Pending;
        }
        this.ended = this.batch.is_empty();
        let frames = this.batch.drain(..).map(message).collect();
        Poll::Ready(Some(Ok(TraceResponse { frames, skipped: this.skipped.load(Ordering::Relaxed) })))
    }
}

fn message(frame: Traced) -> TracedFrame {
    let time_ns = frame.time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    TracedFrame { time_ns, length: frame.length as u32, data: frame.data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_stream::StreamExt;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn limits_have_defaults_and_bounds() {
        run(async {
            let (trace, _) = open(&TraceRequest::default()).unwrap();
            assert_eq!((trace.snap, trace.frames), (256, 10_000));
            let most = TraceRequest { snap: 65_535, frames: 1_000_000, seconds: 3600, ..TraceRequest::default() };
            let (trace, _) = open(&most).unwrap();
            assert!(trace.to.max_capacity() >= 200, "{}", trace.to.max_capacity());
            for wrong in [
                TraceRequest { snap: 13, ..TraceRequest::default() },
                TraceRequest { snap: 65_536, ..TraceRequest::default() },
                TraceRequest { frames: 1_000_001, ..TraceRequest::default() },
                TraceRequest { seconds: 3601, ..TraceRequest::default() },
                TraceRequest { mac: "x".into(), ..TraceRequest::default() },
            ] {
                assert!(open(&wrong).is_err(), "{wrong:?}");
            }
        });
    }

    #[test]
    fn a_stream_sends_all_frames_then_the_number_skipped_and_ends_in_time() {
        run(async {
            let (trace, stream) = open(&TraceRequest { seconds: 1, ..TraceRequest::default() }).unwrap();
            let before = tokio::time::Instant::now();
            for length in 0..100 {
                trace.to.try_send(Traced { time: UNIX_EPOCH, length, data: Vec::new() }).unwrap();
            }
            trace.skipped.store(7, Ordering::Relaxed);
            let messages: Vec<_> = stream.map(Result::unwrap).collect().await;
            let lengths: Vec<u32> = messages.iter().flat_map(|message| &message.frames).map(|frame| frame.length).collect();
            assert_eq!(lengths, (0..100).collect::<Vec<_>>());
            let last = messages.last().unwrap();
            assert_eq!((last.frames.len(), last.skipped), (0, 7));
            assert!(trace.to.is_closed());
            assert!(before.elapsed().as_secs() >= 1);
        });
    }
}
