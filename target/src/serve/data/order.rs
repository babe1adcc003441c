//! Which requests of a volume may be under way at the same time.
//!
//! Requests that overlap, one of them a write, are done in the order in which they came: the Linux driver repeats a write
//! with a new tag, and the late repetition must not undo a newer write to the same blocks. All others start at once.

use std::collections::VecDeque;

/// Sectors, and whether they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
    pub write: bool,
}

impl Span {
    /// The span of a request, widened to whole grains: the disk reads and writes a grain as one.
    pub fn new(sector: u64, count: u64, write: bool, grain: u64) -> Span {
        Span { start: sector - sector % grain, end: (sector + count).next_multiple_of(grain), write }
    }

    fn conflicts(&self, other: &Span) -> bool {
        (self.write || other.write) && self.start < other.end && other.start < self.end
    }
}

/// What is entered by numbers from here on is no request, but something that the target does by itself.
pub const INTERNAL: u32 = 1 << 31;

#[derive(Debug, Default)]
pub struct Order {
    under_way: Vec<(u32, Span)>,
    waiting: VecDeque<(u32, Span)>,
    /// Whether writes wait, whatever they overlap.
    held: bool,
}

/// Most requests of a volume that wait for others: the cost of a flood of overlapping writes must stay limited.
const MAX_WAITING: usize = 256;

/// What became of a request that was entered.
#[derive(Debug, PartialEq, Eq)]
pub enum Entered {
    /// It may start.
    UnderWay,
    Waiting,
    /// Too many wait already: it was not taken.
    Refused,
}

impl Order {
    /// Takes a request in.
    pub fn enter(&mut self, id: u32, span: Span) -> Entered {
        if self.must_wait(&span, self.waiting.len()) {
            if self.waiting.len() >= MAX_WAITING {
                return Entered::Refused;
            }
            self.waiting.push_back((id, span));
            return Entered::Waiting;
        }
        self.under_way.push((id, span));
        Entered::UnderWay
    }

    /// Takes something in if it may start at once; false otherwise.
    pub fn enter_alone(&mut self, id: u32, span: Span) -> bool {
        let free = !self.must_wait(&span, self.waiting.len()) && !self.under_way.iter().any(|(other, _)| *other == id);
        if free {
            self.under_way.push((id, span));
        }
        free
    }

    /// Removes a request that has ended; those that may start now are added to `start`, in order.
    pub fn leave(&mut self, id: u32, start: &mut Vec<u32>) {
        if self.remove(id) {
            self.start(start);
        }
    }

    /// Replaces a request that is under way by several, which go before all that wait.
    pub fn separate(&mut self, id: u32, parts: &[(u32, Span)], start: &mut Vec<u32>) {
        if self.remove(id) {
            for part in parts.iter().rev() {
                self.waiting.push_front(*part);
            }
            self.start(start);
        }
    }

    fn remove(&mut self, id: u32) -> bool {
        let at = self.under_way.iter().position(|(other, _)| *other == id);
        at.map(|at| self.under_way.swap_remove(at)).is_some()
    }

    /// Starts the requests that no longer wait for others.
    fn start(&mut self, start: &mut Vec<u32>) {
        let mut at = 0;
        while at < self.waiting.len() {
            let (id, span) = self.waiting[at];
            if self.must_wait(&span, at) {
                at += 1;
            } else {
                self.waiting.remove(at);
                self.under_way.push((id, span));
                start.push(id);
            }
        }
    }

    /// From now on no write starts, until [`Order::resume`]. Reads go on, but not past a waiting write to the same sectors.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Ends a hold. The requests that may start now are added to `start`, in order.
    pub fn resume(&mut self, start: &mut Vec<u32>) {
        self.held = false;
        self.start(start);
    }

    /// There is another disk, on which nothing has started yet. Its blocks may be larger.
    pub fn widen(&mut self, grain: u64) {
        for (_, span) in self.under_way.iter_mut().chain(&mut self.waiting) {
            *span = Span::new(span.start, span.end - span.start, span.write, grain);
        }
    }

    /// Whether no write is under way.
    pub fn is_still(&self) -> bool {
        !self.under_way.iter().any(|(_, span)| span.write)
    }

    /// Removes the waiting requests for which `drop` is true. Those that may start now are added to `start`, in order.
    pub fn drop_waiting(&mut self, mut drop: impl FnMut(u32) -> bool, start: &mut Vec<u32>) {
        self.waiting.retain(|(id, _)| !drop(*id));
        self.start(start);
    }

    /// Requests that are under way.
    pub fn under_way(&self) -> impl Iterator<Item = u32> {
        self.under_way.iter().map(|(id, _)| *id).filter(|id| id & INTERNAL == 0)
    }

    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty()
    }

    /// For a hold, or for a request that is under way, or for one of the first `waiting` that wait.
    fn must_wait(&self, span: &Span, waiting: usize) -> bool {
        (self.held && span.write) || self.conflicts(span, waiting)
    }

    /// With a request that is under way, or with one of the first `waiting` that wait.
    fn conflicts(&self, span: &Span, waiting: usize) -> bool {
        let others = self.under_way.iter().chain(self.waiting.range(..waiting));
        others.into_iter().any(|(_, other)| other.conflicts(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_overlapping_write_waits_for_the_one_before() {
        let mut order = Order::default();
        assert_eq!(order.enter(1, Span::new(0, 8, true, 1)), Entered::UnderWay);
        assert_eq!(order.enter(2, Span::new(7, 2, true, 1)), Entered::Waiting);
        assert_eq!(order.enter(3, Span::new(8, 8, false, 1)), Entered::Waiting, "behind the waiting write");
        assert_eq!(order.enter(4, Span::new(16, 8, true, 1)), Entered::UnderWay);
        let mut start = Vec::new();
        order.leave(1, &mut start);
        assert_eq!(start, [2]);
        order.leave(2, &mut start);
        assert_eq!(start, [2, 3]);
    }

    #[test]
    fn reads_never_wait_for_reads() {
        let mut order = Order::default();
        assert_eq!(order.enter(1, Span::new(0, 8, false, 1)), Entered::UnderWay);
        assert_eq!(order.enter(2, Span::new(0, 8, false, 1)), Entered::UnderWay);
    }

    #[test]
    fn writes_to_one_block_wait_when_blocks_are_larger_than_sectors() {
        let mut order = Order::default();
        assert_eq!(order.enter(1, Span::new(0, 1, true, 8)), Entered::UnderWay);
        assert_eq!(order.enter(2, Span::new(7, 1, true, 8)), Entered::Waiting);
        assert_eq!(order.enter(3, Span::new(8, 1, true, 8)), Entered::UnderWay);
    }

    #[test]
    fn writes_wait_for_the_end_of_a_hold_and_reads_do_not() {
        let mut order = Order::default();
        assert_eq!(order.enter(1, Span::new(0, 8, true, 1)), Entered::UnderWay);
        order.hold();
        assert!(!order.is_still(), "a write is under way");
        assert_eq!(order.enter(2, Span::new(16, 8, true, 1)), Entered::Waiting);
        assert_eq!(order.enter(3, Span::new(32, 8, false, 1)), Entered::UnderWay);
        assert_eq!(order.enter(4, Span::new(16, 1, false, 1)), Entered::Waiting, "it may not overtake the write");
        let mut start = Vec::new();
        order.leave(1, &mut start);
        assert!(order.is_still() && start.is_empty());
        order.resume(&mut start);
        assert_eq!(start, [2]);
        order.leave(2, &mut start);
        assert_eq!(start, [2, 4]);
    }

    #[test]
    fn a_read_starts_when_the_write_that_it_waited_for_is_dropped() {
        let mut order = Order::default();
        let mut start = Vec::new();
        order.hold();
        assert_eq!(order.enter(1, Span::new(0, 8, true, 1)), Entered::Waiting);
        assert_eq!(order.enter(2, Span::new(0, 8, false, 1)), Entered::Waiting);
        assert_eq!(order.enter(3, Span::new(8, 8, true, 1)), Entered::Waiting);
        order.drop_waiting(|id| id == 1, &mut start);
        assert_eq!(start, [2], "and the other write waits for the end of the hold");
    }

    #[test]
    fn writes_that_share_a_block_of_the_disk_that_came_back_wait_for_one_another() {
        let mut order = Order::default();
        let mut start = Vec::new();
        order.enter(1, Span::new(0, 8, true, 1));
        order.hold();
        order.enter(2, Span::new(9, 1, true, 1));
        order.enter(3, Span::new(10, 1, true, 1));
        order.enter(4, Span::new(16, 1, true, 1));
        order.widen(8);
        order.resume(&mut start);
        assert_eq!(start, [2, 4]);
        order.leave(2, &mut start);
        assert_eq!(start, [2, 4, 3]);
        order.leave(1, &mut start);
        order.leave(3, &mut start);
        order.leave(4, &mut start);
        assert!(order.is_empty());
    }

    #[test]
    fn parts_of_a_write_that_failed_wait_for_the_end_of_a_hold() {
        let mut order = Order::default();
        let mut start = Vec::new();
        assert_eq!(order.enter(1, Span::new(0, 4, true, 1)), Entered::UnderWay);
        order.hold();
        order.separate(1, &[(1, Span::new(0, 2, true, 1)), (2, Span::new(2, 2, true, 1))], &mut start);
        assert!(order.is_still() && start.is_empty());
        order.resume(&mut start);
        assert_eq!(start, [1, 2]);
    }

    #[test]
    fn parts_of_a_request_go_before_what_waited_for_it() {
        let mut order = Order::default();
        let mut start = Vec::new();
        assert_eq!(order.enter(1, Span::new(0, 4, true, 1)), Entered::UnderWay);
        assert_eq!(order.enter(4, Span::new(1, 1, true, 1)), Entered::Waiting);
        let part = |sector| Span::new(sector, 2, true, 1);
        order.separate(1, &[(1, part(0)), (2, part(2))], &mut start);
        assert_eq!(start, [1, 2]);
        order.leave(2, &mut start);
        order.leave(1, &mut start);
        assert_eq!(start, [1, 2, 4]);

        let mut order = Order::default();
        start.clear();
        assert_eq!(order.enter(1, Span::new(0, 4, true, 8)), Entered::UnderWay);
        assert_eq!(order.enter(4, Span::new(1, 1, true, 8)), Entered::Waiting);
        let part = |sector| Span::new(sector, 2, true, 8);
        order.separate(1, &[(1, part(0)), (2, part(2))], &mut start);
        assert_eq!(start, [1], "they share a block");
        order.leave(1, &mut start);
        order.leave(2, &mut start);
        assert_eq!(start, [1, 2, 4]);
    }

    proptest! {
        #[test]
        fn overlapping_requests_end_in_the_order_they_came(
            requests in prop::collection::vec((0u64..40, 1u64..8, any::<bool>()), 1..60),
            choices in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut order = Order::default();
            let spans: Vec<Span> = requests.iter().map(|(start, count, write)| Span::new(*start, *count, *write, 1)).collect();
            let mut running = Vec::new();
            let mut ended = Vec::new();
            let mut next = 0;
            for choice in choices {
                if next < spans.len() && (running.is_empty() || choice.index(2) == 0) {
                    if order.enter(next as u32, spans[next]) == Entered::UnderWay {
                        running.push(next as u32);
                    }
                    next += 1;
                } else if !running.is_empty() {
                    let id = running.swap_remove(choice.index(running.len()));
                    ended.push(id);
                    order.leave(id, &mut running);
                }
                for (index, a) in running.iter().enumerate() {
                    for b in &running[..index] {
                        prop_assert!(!spans[*a as usize].conflicts(&spans[*b as usize]));
                    }
                }
            }
            while let Some(id) = running.pop() {
                ended.push(id);
                order.leave(id, &mut running);
            }
            prop_assert!(order.is_empty());
            prop_assert_eq!(ended.len(), next);
            for (at, later) in ended.iter().enumerate() {
                for earlier in &ended[at + 1..] {
                    prop_assert!(earlier > later || !spans[*earlier as usize].conflicts(&spans[*later as usize]));
                }
            }
        }
    }
}
