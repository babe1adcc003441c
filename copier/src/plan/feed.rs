use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use aoe_target::disk::memory::Aligned;

use super::throttle::Throttle;
use super::{PIECE, Piece, Plan};
use crate::control::{Control, NAP, Place, Waits};
use crate::failure::Failure;

/// Progress is saved after so many bytes or so much time.
const CHECKPOINT_BYTES: u64 = if cfg!(test) { 1 << 20 } else { 64 << 20 };
const CHECKPOINT_TIME: Duration = Duration::from_secs(2);

/// What goes from source to destination, in this order.
pub enum Item {
    Data(Chunk),
    /// The source promises zeros.
    Zeros {
        offset: u64,
        bytes: u64,
    },
    /// All before this place is handed over. The source is still the one that the job names.
    Checkpoint {
        upto: u64,
    },
}

/// Bytes of the source.
pub struct Chunk {
    pub offset: u64,
    pub length: usize,
    memory: Aligned,
}

impl Chunk {
    pub fn new() -> Chunk {
        Chunk { offset: 0, length: 0, memory: Aligned::new(PIECE as usize) }
    }

    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory.bytes()[..self.length]
    }

    pub fn end(&self) -> u64 {
        self.offset + self.length as u64
    }
}

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk::new()
    }
}

/// What a source is to do next.
pub enum Next {
    /// Fill it, or hand it on.
    Item(Item),
    /// Not now: the throttle, or no memory is free. Ask again after this time, or when something was received.
    Later(Duration),
    End,
}

/// Gives a source what to read, no faster than the job may, and no more than fits the memory of the job.
pub struct Feed {
    plan: Plan,
    piece: Option<Piece>,
    /// Whether pieces of zeros count for the throttle: where they are written, or read at the destination.
    charge_zeros: bool,
    throttle: Throttle,
    control: Arc<Control>,
    spare: VecDeque<Chunk>,
    returned: Receiver<Chunk>,
    /// The end of what was given out, and of the last checkpoint.
    given: u64,
    saved: (u64, Instant),
    charged: u64,
}

impl Feed {
    /// `returned`: chunks that are free again. All memory that there is comes from it.
    pub fn new(plan: Plan, from: u64, charge_zeros: bool, control: Arc<Control>, returned: Receiver<Chunk>) -> Feed {
        let now = Instant::now();
        Feed {
            plan,
            piece: None,
            charge_zeros,
            throttle: Throttle::new(now),
            control,
            spare: VecDeque::new(),
            returned,
            given: from,
            saved: (from, now),
            charged: 0,
        }
    }

    /// Bytes per second that the job may read now; 0: no limit.
    pub fn rate(&self) -> u64 {
        self.control.rate()
    }

    /// A request to the source begins that may hang.
    #[must_use]
    pub fn begin(&self) -> Waits<'_> {
        self.control.begin(Place::Source)
    }

    pub fn take(&mut self) -> Result<Next, Failure> {
        self.control.check()?;
        if self.piece.is_none() {
            let _waits = self.control.begin(Place::Source);
            self.piece = self.plan.next_piece().map_err(|error| Failure::disk("asking the source where it holds data", &error))?;
        }
        let now = Instant::now();
        let due = self.charged >= CHECKPOINT_BYTES || now.duration_since(self.saved.1) >= CHECKPOINT_TIME;
        if self.given > self.saved.0 && (due || self.piece.is_none()) {
            self.saved = (self.given, now);
            self.charged = 0;
            return Ok(Next::Item(Item::Checkpoint { upto: self.given }));
        }
        let Some(piece) = self.piece else { return Ok(Next::End) };
        let delay = self.throttle.delay(self.control.rate(), now);
        if !delay.is_zero() {
            return Ok(Next::Later(delay));
        }
        let item = if piece.data {
            let Some(mut chunk) = self.spare.pop_front().or_else(|| self.returned.try_recv().ok()) else {
                return Ok(Next::Later(NAP));
            };
            (chunk.offset, chunk.length) = (piece.offset, piece.bytes as usize);
            Item::Data(chunk)
        } else {
            Item::Zeros { offset: piece.offset, bytes: piece.bytes }
        };
        if piece.data || self.charge_zeros {
            self.throttle.charge(piece.bytes);
            self.charged += piece.bytes;
        }
        if piece.data {
            self.control.count_read(piece.bytes);
        }
        self.given = piece.end();
        self.piece = None;
        Ok(Next::Item(item))
    }

    /// Waits until it may be worth while to ask again: at most so long, and never longer than [`NAP`].
    pub fn rest(&mut self, longest: Duration) {
        match self.returned.recv_timeout(longest.min(NAP)) {
            Ok(chunk) => self.spare.push_back(chunk),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(longest.min(NAP)),
        }
    }
}
