//! The jobs of each volume, and how many of them are under way at once: a disk that hangs delays no other.

use std::collections::VecDeque;

use super::engine::Job;

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Job>,
    under_way: usize,
}

pub struct Lanes {
    lanes: Vec<Lane>,
    /// Jobs that a lane may have under way.
    depth: usize,
    /// One entry for each waiting job that there is room for.
    ready: VecDeque<u32>,
}

impl Lanes {
    pub fn new(depth: usize) -> Lanes {
        Lanes { lanes: Vec::new(), depth, ready: VecDeque::new() }
    }

    pub fn add(&mut self, job: Job) {
        let key = job.lane;
        if self.lanes.len() <= key as usize {
            self.lanes.resize_with(key as usize + 1, Lane::default);
        }
        let lane = &mut self.lanes[key as usize];
        lane.waiting.push_back(job);
        if lane.under_way < self.depth {
            lane.under_way += 1;
            self.ready.push_back(key);
        }
    }

    /// A job has ended.
    pub fn end(&mut self, key: u32) {
        let lane = &mut self.lanes[key as usize];
        // As many of the waiting jobs have their turn already as there is room for.
        if lane.waiting.is_empty() {
            lane.under_way -= 1;
        } else {
            self.ready.push_back(key);
        }
    }

    /// Takes the next job that may start; those of a lane in the order in which they were added.
    pub fn next(&mut self) -> Option<Job> {
        loop {
            let lane = &mut self.lanes[self.ready.pop_front()? as usize];
            match lane.waiting.pop_front() {
                Some(job) => return Some(Job { alone: lane.under_way == 1, ..job }),
                None => lane.under_way -= 1,
            }
        }
    }

    /// Jobs that may start, at least.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::engine::Kind;
    use crate::disk::open::{Opened, open};
    use crate::disk::pieces::Pieces;
    use proptest::prelude::*;
    use std::sync::Arc;

    const DEPTH: usize = 64;

    proptest! {
        #[test]
        fn each_lane_has_what_it_may_under_way_and_loses_nothing(
            steps in prop::collection::vec((0u32..3, 0u32..100, any::<prop::sample::Index>()), 1..60),
        ) {
            let Ok(Opened::New(disk)) = open("/proc/self/exe", true, 0, None) else { panic!() };
            let mut lanes = Lanes::new(DEPTH);
            let mut running: Vec<(u32, u32)> = Vec::new();
            let mut next = 0;
            let mut begun = Vec::new();
            for (lane, count, ended) in steps {
                for _ in 0..count {
                    let pieces = Pieces::new(std::ptr::null_mut(), 0);
                    let (kind, disk, alone, zeros) = (Kind::Flush, Arc::clone(&disk), false, false);
                    lanes.add(Job { id: next, lane, kind, disk, offset: 0, pieces, alone, zeros, failed_syncs: 0 });
                    next += 1;
                }
                for _ in 0..ended.index(running.len() + 1) {
                    let (lane, _) = running.swap_remove(ended.index(running.len()));
                    lanes.end(lane);
                }
                while let Some(job) = lanes.next() {
                    begun.push((job.lane, job.id));
                    running.push((job.lane, job.id));
                }
                for lane in 0..3 {
                    let of_lane = running.iter().filter(|(other, _)| *other == lane).count();
                    let waiting = lanes.lanes.get(lane as usize).map_or(0, |lane| lane.waiting.len());
                    prop_assert!(of_lane == DEPTH || of_lane < DEPTH && waiting == 0, "{of_lane} under way, {waiting} wait");
                }
            }
            while let Some((lane, _)) = running.pop() {
                lanes.end(lane);
                while let Some(job) = lanes.next() {
                    begun.push((job.lane, job.id));
                    running.push((job.lane, job.id));
                }
            }
            for lane in 0..3 {
                prop_assert!(begun.iter().filter(|(other, _)| *other == lane).is_sorted());
            }
            prop_assert_eq!(begun.len(), next as usize);
            prop_assert!(lanes.lanes.iter().all(|lane| lane.waiting.is_empty() && lane.under_way == 0));
        }
    }
}
