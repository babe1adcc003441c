//! What the disk of each volume has to do, and how much of it at once: a disk that hangs holds nothing but its own.

use std::collections::VecDeque;

use super::engine::Job;

/// Requests that a lane may have under way.
const DEPTH: usize = 64;

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Job>,
    under_way: usize,
}

#[derive(Default)]
pub struct Lanes {
    lanes: Vec<Lane>,
    /// One entry for each waiting job that there is room for.
    ready: Vec<u32>,
}

impl Lanes {
    pub fn add(&mut self, job: Job) {
        let key = job.lane;
        if self.lanes.len() <= key as usize {
            self.lanes.resize_with(key as usize + 1, Lane::default);
        }
        let lane = &mut self.lanes[key as usize];
        lane.waiting.push_back(job);
        if lane.under_way < DEPTH {
            lane.under_way += 1;
            self.ready.push(key);
        }
    }

    /// A job has ended.
    pub fn end(&mut self, key: u32) {
        let lane = &mut self.lanes[key as usize];
        // As many of the waiting jobs have their turn already as there is room for.
        if lane.waiting.is_empty() {
            lane.under_way -= 1;
        } else {
            self.ready.push(key);
        }
    }

    /// Gives the jobs that may start now, those of a lane in the order in which they came.
    pub fn start(&mut self, mut begin: impl FnMut(Job)) {
        for key in self.ready.drain(..) {
            let lane = &mut self.lanes[key as usize];
            match lane.waiting.pop_front() {
                Some(job) => begin(Job { alone: lane.under_way == 1, ..job }),
                None => lane.under_way -= 1,
            }
        }
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

    proptest! {
        #[test]
        fn each_lane_has_what_it_may_under_way_and_loses_nothing(
            steps in prop::collection::vec((0u32..3, 0u32..100, any::<prop::sample::Index>()), 1..60),
        ) {
            let Ok(Opened::New(disk)) = open("/proc/self/exe", true, None) else { panic!() };
            let mut lanes = Lanes::default();
            let mut running: Vec<(u32, u32)> = Vec::new();
            let mut next = 0;
            let mut begun = Vec::new();
            for (lane, count, ended) in steps {
                for _ in 0..count {
                    let pieces = Pieces::new(std::ptr::null_mut(), 0);
                    lanes.add(Job { id: next, lane, kind: Kind::Flush, disk: Arc::clone(&disk), offset: 0, pieces, alone: false });
                    next += 1;
                }
                for _ in 0..ended.index(running.len() + 1) {
                    let (lane, _) = running.swap_remove(ended.index(running.len()));
                    lanes.end(lane);
                }
                let mut start = |running: &mut Vec<_>| lanes.start(|job| {
                    begun.push((job.lane, job.id));
                    running.push((job.lane, job.id));
                });
                start(&mut running);
                for lane in 0..3 {
                    let of_lane = running.iter().filter(|(other, _)| *other == lane).count();
                    let waiting = lanes.lanes.get(lane as usize).map_or(0, |lane| lane.waiting.len());
                    prop_assert!(of_lane == DEPTH || of_lane < DEPTH && waiting == 0, "{of_lane} under way, {waiting} wait");
                }
            }
            while let Some((lane, _)) = running.pop() {
                lanes.end(lane);
                lanes.start(|job| {
                    begun.push((job.lane, job.id));
                    running.push((job.lane, job.id));
                });
            }
            for lane in 0..3 {
                prop_assert!(begun.iter().filter(|(other, _)| *other == lane).is_sorted());
            }
            prop_assert_eq!(begun.len(), next as usize);
            prop_assert!(lanes.lanes.iter().all(|lane| lane.waiting.is_empty() && lane.under_way == 0));
        }
    }
}
