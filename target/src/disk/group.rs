//! One flush for all writes to a disk that ended before it began: for files on devices that make a write durable only by
//! flushing their whole cache. With a flush for each write, the writes would wait for one another in the file system.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::engine::{Completion, Job, Kind};
use super::pieces::Pieces;

/// The number of a flush; no request has it.
const FLUSH: u32 = u32::MAX;

#[derive(Default)]
struct Group {
    /// Written, but not yet durable.
    written: Vec<Job>,
    /// Writes that the flush under way makes durable.
    flushing: Vec<Job>,
    busy: bool,
}

/// By lane.
#[derive(Default)]
pub struct Groups {
    groups: Vec<Group>,
    /// Lanes with a flush that may start.
    ready: Vec<u32>,
    under_way: usize,
}

impl Groups {
    /// Adds a write that the device has. It completes when a flush has made it durable.
    pub fn add(&mut self, job: Job) {
        let key = job.lane;
        if self.groups.len() <= key as usize {
            self.groups.resize_with(key as usize + 1, Group::default);
        }
        let group = &mut self.groups[key as usize];
        group.written.push(job);
        if !group.busy {
            group.busy = true;
            self.ready.push(key);
        }
    }

    /// Passes the flushes that may start now to `begin`.
    pub fn start(&mut self, mut begin: impl FnMut(Job)) {
        for lane in self.ready.drain(..) {
            let group = &mut self.groups[lane as usize];
            let Some(first) = group.written.first() else { continue };
            // Writes to another disk are in the group only after a disk swap.
            let disk = first.disk.clone();
            group.flushing.extend(group.written.extract_if(.., |job| Arc::ptr_eq(&job.disk, &disk)));
            self.under_way += 1;
            begin(Job {
                id: FLUSH,
                lane,
                kind: Kind::Flush,
                disk,
                offset: 0,
                pieces: Pieces::new(std::ptr::null_mut(), 0),
                alone: false,
                zeros: false,
                failed_syncs: 0,
            });
        }
    }

    /// Whether a lane has a write that waits for a flush.
    pub fn is_busy(&self, lane: u32) -> bool {
        self.groups.get(lane as usize).is_some_and(|group| group.busy)
    }

    /// Flushes that were given and have not ended.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    pub fn is_flush(job: &Job) -> bool {
        job.id == FLUSH
    }

    /// A flush has ended; so have the writes that it made durable. A write that had begun when an earlier sync failed has failed, too.
    pub fn end(&mut self, flush: &Job, result: &io::Result<()>, into: &mut VecDeque<Completion>) {
        self.under_way -= 1;
        let group = &mut self.groups[flush.lane as usize];
        for job in group.flushing.drain(..) {
            let result = result.as_ref().map_err(copy).and_then(|()| job.disk.check_syncs(job.failed_syncs));
            into.push_back(Completion { id: job.id, result });
        }
        if group.written.is_empty() {
            group.busy = false;
        } else {
            self.ready.push(flush.lane);
        }
    }
}

fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::open::{Opened, open};

    fn disk() -> Arc<Disk> {
        match open("/proc/self/exe", true, 0, None) {
            Ok(Opened::New(disk)) => Arc::new(Disk { cached: true, ..Arc::into_inner(disk).unwrap() }),
            _ => panic!(),
        }
    }

    fn write(id: u32, lane: u32, disk: &Arc<Disk>) -> Job {
        Job {
            id,
            lane,
            kind: Kind::Write,
            disk: disk.clone(),
            offset: 0,
            pieces: Pieces::new(std::ptr::null_mut(), 0),
            alone: false,
            zeros: false,
            failed_syncs: disk.failed_syncs(),
        }
    }

    fn started(groups: &mut Groups) -> Vec<Job> {
        let mut flushes = Vec::new();
        groups.start(|job| flushes.push(job));
        assert!(flushes.iter().all(Groups::is_flush));
        flushes
    }

    fn ended(groups: &mut Groups, flush: &Job, result: io::Result<()>) -> Vec<(u32, bool)> {
        let mut into = VecDeque::new();
        groups.end(flush, &result, &mut into);
        into.iter().map(|completion| (completion.id, completion.result.is_ok())).collect()
    }

    #[test]
    fn a_flush_ends_only_what_was_written_before_it_began() {
        let (mut groups, disk) = (Groups::default(), disk());
        groups.add(write(1, 0, &disk));
        groups.add(write(2, 0, &disk));
        groups.add(write(3, 1, &disk));
        let flushes = started(&mut groups);
        assert_eq!(flushes.iter().map(|flush| flush.lane).collect::<Vec<_>>(), [0, 1]);
        groups.add(write(4, 0, &disk));
        assert!(started(&mut groups).is_empty(), "one flush of a lane at a time");
        assert_eq!(ended(&mut groups, &flushes[0], Ok(())), [(1, true), (2, true)]);
        let next = started(&mut groups);
        assert_eq!(ended(&mut groups, &next[0], Ok(())), [(4, true)]);
        assert_eq!(ended(&mut groups, &flushes[1], Ok(())), [(3, true)]);
        assert!(started(&mut groups).is_empty());
    }

    #[test]
    fn writes_that_had_begun_when_a_flush_failed_have_failed() {
        let (mut groups, disk) = (Groups::default(), disk());
        groups.add(write(1, 0, &disk));
        let flushes = started(&mut groups);
        groups.add(write(2, 0, &disk));
        let under_way = write(3, 0, &disk);
        disk.sync_failed();
        assert_eq!(ended(&mut groups, &flushes[0], Err(io::Error::from_raw_os_error(libc::EIO))), [(1, false)]);
        let next = started(&mut groups);
        groups.add(under_way);
        groups.add(write(4, 0, &disk));
        assert_eq!(ended(&mut groups, &next[0], Ok(())), [(2, false)]);
        let last = started(&mut groups);
        assert_eq!(ended(&mut groups, &last[0], Ok(())), [(3, false), (4, true)]);
    }

    #[test]
    fn each_disk_of_a_lane_has_its_own_flush() {
        let (mut groups, before, after) = (Groups::default(), disk(), disk());
        groups.add(write(1, 0, &before));
        groups.add(write(2, 0, &after));
        let first = started(&mut groups);
        assert!(Arc::ptr_eq(&first[0].disk, &before));
        assert_eq!(ended(&mut groups, &first[0], Ok(())), [(1, true)]);
        let second = started(&mut groups);
        assert!(Arc::ptr_eq(&second[0].disk, &after));
        assert_eq!(ended(&mut groups, &second[0], Ok(())), [(2, true)]);
    }
}
