use std::io;
use std::time::Duration;

use aoe_target::definition::Address;
use aoe_target::net::initiator::{BATCH, InitiatorSocket};
use aoe_target::wire::{Header, HeaderView, Mac};

use crate::disk::Disk;
use crate::histogram::Histogram;
use crate::plan::{Order, Place, Plan};
use crate::request::{Problem, Request};

/// Tag: bit 31, then a number that each frame sent increases, then which of the requests under way it belongs to.
const TAG: u32 = 0x8000_0000;
const SLOT_BITS: u32 = 12;
pub const MAX_WINDOW: usize = 1 << SLOT_BITS;
const NUMBERS: u32 = 1 << 18;
/// Requests that wait before they are sent together.
const FLUSH: usize = 8;
/// Problems that are told in words.
const TOLD: u64 = 5;

/// How the load is put on; what it is follows from [`Order`] and `write`.
#[derive(Debug, Clone)]
pub struct Settings {
    pub sectors: u8,
    /// Blocks of each volume that are used.
    pub blocks: u64,
    /// Requests under way at once.
    pub window: usize,
    /// Look for answers without ever sleeping.
    pub poll: bool,
    /// Time after which a request is sent again.
    pub again: Duration,
    /// Time after which it has failed.
    pub give_up: Duration,
}

/// When a load that has no end of its own ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    Answered(u64),
}

#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub retransmits: u64,
    /// Answers to frames that were sent again meanwhile.
    pub late: u64,
    /// Wrong answers.
    pub wrong: u64,
    /// Requests that were given up.
    pub unanswered: u64,
}

#[derive(Default, Clone)]
pub struct Measured {
    pub elapsed: Duration,
    pub latency: Histogram,
    /// Of each volume; the clock (ns) at which the slowest request was answered.
    pub each: Vec<Histogram>,
    pub slowest_at: u64,
    pub counts: Counts,
}

struct Slot {
    request: Request,
    place: Place,
    frame: Vec<u8>,
    busy: bool,
    /// Clock, ns: first and latest sending.
    started: u64,
    sent: u64,
}

/// A window of requests to a set of volumes, which knows what it has written there.
pub struct Load<'a> {
    socket: &'a mut InitiatorSocket,
    disks: &'a [Disk],
    settings: Settings,
    /// Generation of each block of each volume, 0 when not known.
    written: Vec<Vec<u32>>,
    generation: u32,
    number: u32,
}

impl<'a> Load<'a> {
    pub fn new(socket: &'a mut InitiatorSocket, disks: &'a [Disk], settings: Settings) -> Load<'a> {
        // Not the generation that another run has left there.
        let generation = (clock() / 1_000_000) as u32;
        Load { socket, disks, settings, written: vec![Vec::new(); disks.len()], generation, number: 0 }
    }

    /// Reads or writes in this order; without `until` up to the end of the order.
    pub fn run(&mut self, order: Order, write: bool, until: Option<Until>) -> io::Result<Measured> {
        if write {
            self.written.iter_mut().for_each(|blocks| blocks.resize(self.settings.blocks as usize, 0));
        }
        let mut plan = Plan::new(order, self.disks.len(), self.settings.blocks);
        let mut slots: Vec<Slot> = Vec::new();
        let mut measured = Measured { each: vec![Histogram::default(); self.disks.len()], ..Measured::default() };
        let mut unsent: Vec<usize> = Vec::new();
        let begin = clock();
        let (end, most) = match until {
            Some(Until::Elapsed(time)) => (begin + nanos(time), u64::MAX),
            Some(Until::Answered(count)) => (u64::MAX, count),
            None => (u64::MAX, u64::MAX),
        };
        for slot in 0..self.settings.window {
            let Some(place) = self.next(&mut plan, order, slot) else {
                break;
            };
            let request = self.request(place, order, write, slot);
            slots.push(Slot { request, place, frame: Vec::new(), busy: true, started: 0, sent: 0 });
            self.prepare(&mut slots[slot], begin);
            unsent.push(slot);
        }
        let mut busy = slots.len();
        let mut scanned = begin;
        let mut ended = None;
        while busy > 0 {
            self.flush(&slots, &mut unsent)?;
            let mut got = 0;
            while got < BATCH {
                let mut answered = None;
                let me = self.socket.mac;
                if !self.socket.receive(|frame| answered = take(frame, &slots, me, &mut measured.counts)) {
                    break;
                }
                got += 1;
                let Some((slot, good)) = answered else {
                    continue;
                };
                let now = clock();
                self.settle(&mut plan, &slots[slot], good);
                if ended.is_none() {
                    let latency = now - slots[slot].started;
                    if latency > measured.latency.max() {
                        measured.slowest_at = now;
                    }
                    measured.latency.add(latency);
                    measured.each[slots[slot].place.volume].add(latency);
                    if now >= end || measured.latency.total() >= most {
                        ended = Some(now);
                    }
                }
                match self.next(&mut plan, order, slot).filter(|_| ended.is_none()) {
                    None => {
                        slots[slot].busy = false;
                        busy -= 1;
                    }
                    Some(place) => {
                        slots[slot].place = place;
                        slots[slot].request = self.request(place, order, write, slot);
                        self.prepare(&mut slots[slot], now);
                        unsent.push(slot);
                        if unsent.len() >= FLUSH {
                            self.flush(&slots, &mut unsent)?;
                        }
                    }
                }
            }
            if got == 0 {
                let now = clock();
                if now >= end && ended.is_none() {
                    ended = Some(now);
                }
                if now - scanned > nanos(self.settings.again) / 8 {
                    scanned = now;
                    busy -= self.scan(&mut plan, &mut slots, &mut unsent, &mut measured.counts, now);
                }
                match self.settings.poll {
                    true => std::hint::spin_loop(),
                    false if unsent.is_empty() => self.socket.wait(self.settings.again / 8),
                    false => {}
                }
            }
        }
        measured.elapsed = Duration::from_nanos(ended.unwrap_or_else(clock) - begin);
        Ok(measured)
    }

    /// Sends again what was not answered in time. Returns how many were given up.
    fn scan(&mut self, plan: &mut Plan, slots: &mut [Slot], unsent: &mut Vec<usize>, counts: &mut Counts, now: u64) -> usize {
        let mut given_up = 0;
        for (index, slot) in slots.iter_mut().enumerate().filter(|(_, slot)| slot.busy) {
            if now.saturating_sub(slot.started) > nanos(self.settings.give_up) {
                counts.unanswered += 1;
                tell(counts.unanswered, &slot.request, "no answer");
                slot.busy = false;
                given_up += 1;
                self.settle(plan, slot, false);
            } else if now.saturating_sub(slot.sent) > nanos(self.settings.again) {
                counts.retransmits += 1;
                let started = slot.started;
                slot.request.tag = self.tag(index);
                self.prepare(slot, now);
                slot.started = started;
                unsent.push(index);
            }
        }
        given_up
    }

    fn flush(&mut self, slots: &[Slot], unsent: &mut Vec<usize>) -> io::Result<()> {
        for batch in unsent.chunks(BATCH) {
            let mut frames: [&[u8]; BATCH] = [&[]; BATCH];
            for (frame, slot) in frames.iter_mut().zip(batch) {
                *frame = &slots[*slot].frame;
            }
            self.socket.send(&frames[..batch.len()])?;
        }
        unsent.clear();
        Ok(())
    }

    fn next(&self, plan: &mut Plan, order: Order, slot: usize) -> Option<Place> {
        let written = |Place { volume, block }| self.written[volume].get(block as usize).is_some_and(|generation| *generation != 0);
        debug_assert!(order != Order::Random || self.settings.blocks > self.settings.window as u64);
        plan.next(slot, self.settings.window, written)
    }

    fn request(&mut self, place: Place, order: Order, write: bool, slot: usize) -> Request {
        let generation = match (write, order) {
            (true, _) => {
                self.generation = self.generation.wrapping_add(1).max(1);
                self.generation
            }
            (false, Order::Written) => self.written[place.volume][place.block as usize],
            (false, _) => 0,
        };
        let Settings { sectors, .. } = self.settings;
        let lba = place.block * u64::from(sectors);
        Request { write, address: self.disks[place.volume].address, lba, sectors, generation, tag: self.tag(slot) }
    }

    fn tag(&mut self, slot: usize) -> u32 {
        self.number = (self.number + 1) % NUMBERS;
        TAG | self.number << SLOT_BITS | slot as u32
    }

    fn prepare(&self, slot: &mut Slot, now: u64) {
        slot.request.emit(self.disks[slot.place.volume].mac, self.socket.mac, &mut slot.frame);
        (slot.started, slot.sent) = (now, now);
    }

    /// The request is over.
    fn settle(&mut self, plan: &mut Plan, slot: &Slot, good: bool) {
        plan.give_back(slot.place);
        if slot.request.write {
            self.written[slot.place.volume][slot.place.block as usize] = if good { slot.request.generation } else { 0 };
        }
    }
}

/// Which request an answer belongs to, and whether it is right. None: to none that is under way.
fn take(frame: &[u8], slots: &[Slot], me: Mac, counts: &mut Counts) -> Option<(usize, bool)> {
    let view = HeaderView::new_checked(frame).ok()?;
    let header = Header::parse(&view);
    let index = (header.tag & (MAX_WINDOW as u32 - 1)) as usize;
    // Another initiator on this interface may use the same tag for another volume.
    let address = Address { shelf: header.shelf, slot: header.slot };
    let slot = slots.get(index).filter(|slot| slot.request.address == address)?;
    if !slot.busy || slot.request.tag != header.tag {
        counts.late += 1;
        return None;
    }
    let result = slot.request.check(&header, &view, me);
    if let Err(problem) = result {
        counts.wrong += 1;
        tell(counts.wrong, &slot.request, &describe(problem));
    }
    Some((index, result.is_ok()))
}

fn describe(problem: Problem) -> String {
    match problem {
        Problem::Header => "the answer's header is not that of the request".into(),
        Problem::Refused(error) => format!("the target refuses it with error {error}"),
        Problem::Status(status, error) => format!("ATA status {status:#x}, error {error:#x}"),
        Problem::Length(length) => format!("the answer has {length} bytes of data"),
        Problem::Data(lba, wrong) => format!("sector {lba}: {wrong:?}"),
    }
}

fn tell(count: u64, request: &Request, what: &str) {
    if count <= TOLD {
        let Request { write, address, lba, sectors, generation, .. } = request;
        let verb = if *write { "write" } else { "read" };
        eprintln!("aoe-load: {verb} of {sectors} sectors at {lba} of {address} (generation {generation}): {what}");
    }
}

/// CLOCK_MONOTONIC, ns.
pub fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is valid.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}
