//! A disk on the segment, read by an initiator of our own: `segment` finds it, `frames` are the requests, `pace` decides how many of
//! them are under way. Here they are sent and answered.

pub mod frames;
pub mod pace;
pub mod segment;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aoe_target::definition::Address;
use aoe_target::net::initiator::BATCH;
use aoe_target::wire::header::{USER_TAG, command};
use aoe_target::wire::{Header, HeaderView, Mac, SECTOR};

use super::Source;
use crate::control::{Control, NAP};
use crate::failure::Failure;
use crate::plan::feed::{Feed, Item, Next};
use frames::Frame;
use pace::Pace;
use segment::{Interface, Segment, random_tag, send};

/// Items that are worked on at once, at most. Memory limits those with data further.
const MOST_ITEMS: usize = 16;
/// A path that says nothing for so long is silent.
const SILENCE: Duration = Duration::from_secs(3);
/// A request that is not answered for so long, while others are, ends the attempt.
const STUCK: Duration = Duration::from_secs(30);
/// Bits of a tag that number the request among those under way.
const SLOT_BITS: u32 = 8;
const MOST_SLOTS: usize = 1 << SLOT_BITS;
/// Requests that are sent together, once the window has room for so many: a call for each would cost more than the frames.
const TOGETHER: usize = 8;

/// An item and how much of it was asked for and is missing, in bytes.
struct Work {
    item: Item,
    asked: usize,
    missing: usize,
}

/// A request under way.
#[derive(Clone, Copy)]
struct Request {
    tag: u32,
    /// Number of the work item since the beginning, and place and length in it; or the identity of a path is asked for.
    what: What,
    path: usize,
    first: Instant,
    sent: Instant,
    tries: u32,
}

#[derive(Clone, Copy)]
enum What {
    Read { work: u64, at: usize, offset: u64, sectors: u8 },
    Identify,
}

/// What is known of a path since it was used last.
#[derive(Clone, Copy, Default)]
struct Use {
    /// When the first request was sent after the last answer.
    waiting: Option<Instant>,
    /// Something was read over it since its disk was identified last.
    read: bool,
}

pub struct AoeSource {
    segment: Segment,
    serial: String,
    bytes: u64,
    pace: Pace,
    uses: Vec<Use>,
    work: VecDeque<Work>,
    /// Number of the first item of `work` since the beginning.
    first: u64,
    requests: Vec<Option<Request>>,
    under_way: usize,
    /// Whether the item at the front is a checkpoint whose identities are asked for.
    confirming: bool,
    ended: bool,
    /// When the feed is worth asking again.
    later: Instant,
    number: u32,
    next_path: usize,
}

impl AoeSource {
    pub fn open(address: Address, serial: &str, interfaces: &[String], bytes: u64, control: &Control) -> Result<AoeSource, Failure> {
        let segment = Segment::find(address, interfaces, serial, bytes, control)?;
        Ok(AoeSource {
            pace: Pace::new(segment.most),
            uses: vec![Use::default(); segment.paths.len()],
            segment,
            serial: serial.to_owned(),
            bytes,
            work: VecDeque::new(),
            first: 0,
            requests: vec![None; MOST_SLOTS],
            under_way: 0,
            confirming: false,
            ended: false,
            later: Instant::now(),
            number: random_tag(),
            next_path: 0,
        })
    }

    /// Takes new items from the feed.
    fn fill(&mut self, feed: &mut Feed) -> Result<(), Failure> {
        while !self.ended && self.work.len() < MOST_ITEMS {
            match feed.take()? {
                Next::Item(item) => {
                    let missing = if let Item::Data(chunk) = &item { chunk.length } else { 0 };
                    self.work.push_back(Work { item, asked: 0, missing });
                }
                Next::Later(time) => {
                    self.later = Instant::now() + time;
                    return Ok(());
                }
                Next::End => self.ended = true,
            }
        }
        self.later = Instant::now() + NAP;
        Ok(())
    }

    /// The first item, once it is complete.
    fn finished(&mut self, now: Instant) -> Option<Item> {
        let front = self.work.front()?;
        if front.missing > 0 {
            return None;
        }
        if matches!(front.item, Item::Checkpoint { .. }) {
            if !self.confirming {
                self.confirming = true;
                for path in 0..self.uses.len() {
                    if std::mem::take(&mut self.uses[path].read) {
                        self.add(What::Identify, path, now);
                    }
                }
            }
            if self.requests.iter().flatten().any(|request| matches!(request.what, What::Identify)) {
                return None;
            }
            self.confirming = false;
        }
        self.first += 1;
        self.work.pop_front().map(|work| work.item)
    }

    /// Adds a request, which is sent when its time has come: at once. False: too many are under way.
    fn add(&mut self, what: What, path: usize, now: Instant) -> bool {
        let Some(slot) = self.requests.iter().position(Option::is_none) else { return false };
        self.number = self.number.wrapping_add(1);
        let tag = USER_TAG | (self.number << SLOT_BITS & !USER_TAG) | slot as u32;
        self.requests[slot] = Some(Request { tag, what, path, first: now, sent: now, tries: 0 });
        self.under_way += 1;
        true
    }

    /// Asks for bytes that were not asked for yet, as far as the window allows. `rate`: bytes that the job may read per second; 0: no limit.
    fn ask(&mut self, rate: u64, now: Instant) {
        let paths = self.segment.paths.len();
        let most = usize::from(self.segment.sectors) * SECTOR;
        let window = self.pace.limited_window(rate, most).min(MOST_SLOTS - paths);
        if window >= 2 * TOGETHER && self.under_way + TOGETHER > window {
            return;
        }
        for index in 0..self.work.len() {
            loop {
                let work = &mut self.work[index];
                let Item::Data(chunk) = &work.item else { break };
                let left = chunk.length - work.asked;
                if left == 0 {
                    break;
                }
                if self.under_way >= window {
                    return;
                }
                let length = left.min(most);
                let (at, offset) = (work.asked, chunk.offset + work.asked as u64);
                work.asked += length;
                let path = self.next_path();
                let what = What::Read { work: self.first + index as u64, at, offset, sectors: (length / SECTOR) as u8 };
                self.add(what, path, now);
            }
        }
    }

    fn next_path(&mut self) -> usize {
        self.next_path = (self.next_path + 1) % self.segment.paths.len();
        self.next_path
    }

    /// Sends requests that are new, and those that were not answered in time, on another path if there is one.
    fn send(&mut self, now: Instant) -> Result<(), Failure> {
        let mut batches: Vec<Vec<Frame>> = vec![Vec::new(); self.segment.interfaces.len()];
        for slot in 0..self.requests.len() {
            let Some(mut request) = self.requests[slot] else { continue };
            if request.tries > 0 {
                if now.duration_since(request.sent) < self.pace.timeout(request.tries) {
                    continue;
                }
                if now.duration_since(request.first) > STUCK {
                    let at = if let What::Read { offset, .. } = request.what { offset } else { 0 };
                    return Err(Failure::Doubt(format!("{} answers, but does not send byte {at}", self.segment.address)));
                }
                self.pace.lost(now);
                if let What::Read { .. } = request.what {
                    request.path = self.next_path();
                }
            }
            request.tries += 1;
            request.sent = now;
            self.requests[slot] = Some(request);
            self.uses[request.path].waiting.get_or_insert(now);
            let path = &self.segment.paths[request.path];
            let ends = self.segment.ends(path);
            batches[path.interface].push(match request.what {
                What::Read { offset, sectors, .. } => frames::read(ends, request.tag, offset / SECTOR as u64, sectors),
                What::Identify => frames::identify(ends, request.tag),
            });
        }
        for (interface, frames) in self.segment.interfaces.iter().zip(&batches) {
            for batch in frames.chunks(BATCH) {
                let batch: Vec<&[u8]> = batch.iter().map(|frame| &frame[..]).collect();
                send(interface, &batch)?;
            }
        }
        self.check_silence(now)
    }

    fn check_silence(&self, now: Instant) -> Result<(), Failure> {
        let is_silent = |use_: &Use| use_.waiting.is_some_and(|since| now.duration_since(since) > SILENCE);
        match self.uses.iter().position(is_silent) {
            None => Ok(()),
            Some(_) if self.uses.iter().all(|use_| use_.waiting.is_some()) => Err(self.segment.silent()),
            Some(path) => {
                let path = &self.segment.paths[path];
                let name = &self.segment.interfaces[path.interface].name;
                Err(Failure::wait(format_args!("{} no longer answers on {name} (target {})", self.segment.address, path.mac)))
            }
        }
    }

    /// Takes all answers that have come.
    fn receive(&mut self, now: Instant) -> Result<(), Failure> {
        for index in 0..self.segment.interfaces.len() {
            loop {
                // Apart from the rest for as long as the frame is looked at, which is where the kernel put it.
                let mut interfaces = std::mem::take(&mut self.segment.interfaces);
                let Interface { socket, .. } = &mut interfaces[index];
                let host = socket.mac;
                let mut result = Ok(());
                let got = socket.receive(|bytes| result = self.take(bytes, index, host, now));
                self.segment.interfaces = interfaces;
                result?;
                if !got {
                    break;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], interface: usize, host: Mac, now: Instant) -> Result<(), Failure> {
        let address = self.segment.address;
        let Some((header, view)) = frames::answer(bytes, host, address) else { return Ok(()) };
        let slot = (header.tag & (MOST_SLOTS as u32 - 1)) as usize;
        let Some(request) = self.requests[slot].filter(|request| request.tag == header.tag && header.command == command::ATA) else {
            return Ok(());
        };
        // From another path than it was sent on last: an earlier try was answered.
        let paths = &self.segment.paths;
        let Some(path) = paths.iter().position(|path| (path.interface, path.mac) == (interface, header.source)) else { return Ok(()) };
        self.fill_in(&header, &view, &request, path)?;
        self.requests[slot] = None;
        self.under_way -= 1;
        self.uses[path].waiting = None;
        self.pace.answered((request.tries == 1).then(|| now.duration_since(request.sent)));
        Ok(())
    }

    /// Puts the data of an answer to where it belongs.
    fn fill_in(&mut self, header: &Header, view: &HeaderView<'_>, request: &Request, path: usize) -> Result<(), Failure> {
        let address = self.segment.address;
        match request.what {
            What::Identify if path != request.path => Err(Failure::Doubt(format!("{address} gives its identity on another path"))),
            What::Identify => {
                let data = frames::data(header, view, SECTOR, address, 0)?;
                frames::check_identity(data, address, self.segment.paths[path].mac, &self.serial, self.bytes)
            }
            What::Read { work, at, offset, sectors } => {
                let length = usize::from(sectors) * SECTOR;
                let data = frames::data(header, view, length, address, offset)?;
                self.uses[path].read = true;
                let work = &mut self.work[(work - self.first) as usize];
                if let Item::Data(chunk) = &mut work.item {
                    chunk.bytes()[at..at + length].copy_from_slice(data);
                    work.missing -= length;
                }
                Ok(())
            }
        }
    }

    /// When something is to be done though nothing comes.
    fn due(&self) -> Instant {
        let again = self.requests.iter().flatten().map(|request| request.sent + self.pace.timeout(request.tries)).min();
        again.map_or(self.later, |again| again.min(self.later))
    }
}

impl Source for AoeSource {
    fn next(&mut self, feed: &mut Feed) -> Result<Option<Item>, Failure> {
        loop {
            let now = Instant::now();
            // Before anything is sent again: answers may have waited while the destination was slow.
            self.receive(now)?;
            self.fill(feed)?;
            if let Some(item) = self.finished(now) {
                return Ok(Some(item));
            }
            if self.work.is_empty() {
                if self.ended {
                    return Ok(None);
                }
                feed.rest(self.later.saturating_duration_since(now));
                continue;
            }
            self.ask(feed.rate(), now);
            self.send(now)?;
            self.segment.wait(self.due().saturating_duration_since(Instant::now()));
        }
    }
}
