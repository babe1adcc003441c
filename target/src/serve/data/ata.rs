use std::io;
use std::time::{Duration, Instant};

use super::order::Span;
use super::slots::Request;
use crate::disk::Mode;
use crate::disk::engine::{Completion, Job, Kind};
use crate::disk::pieces::Pieces;
use crate::log;
use crate::net::ATA_HEADER;
use crate::net::port::{Data, Outgoing};
use crate::net::socket::Socket;
use crate::serve::observe::stats::Refused;
use crate::serve::server::Server;
use crate::serve::volume::Status;
use crate::wire::ata::{self, command, error};
use crate::wire::header::{self, Failure};
use crate::wire::{Ata, AtaView, Header, SECTOR};

/// Features of SET FEATURES that change nothing here: write cache and read-ahead, on and off. Writes are durable anyway.
const FEATURES: [u8; 4] = [0x02, 0x82, 0xaa, 0x55];
/// Count register of CHECK POWER MODE: active.
const ACTIVE: u8 = 0xff;

impl<S: Socket> Server<S> {
    /// An ATA command for a volume that hears the sender.
    pub(in crate::serve) fn take_ata(&mut self, id: u32, port: usize, header: &Header, argument: &[u8], directed: bool) {
        let Ok(view) = AtaView::new_checked(argument) else { return self.refuse(id, port, header, Failure::BadArgument) };
        let ata = Ata::parse(&view);
        let sectors = self.ports[port].sectors();
        let may_be_at_once = self.options.at_once;
        let volume = self.volume(id);
        if !volume.allows(header.source) {
            // The Linux driver drops AoE errors and hangs; an ATA error ends the request at once.
            return self.abort(id, port, header, &ata.failed(error::ABORTED), Refused::NotInForce);
        }
        if volume.paused || volume.status == Status::Loading {
            return self.stats.volume(id).refused.add(Refused::NotReady); // asked again in a moment
        }
        let Some(disk) = volume.disk.as_ref().filter(|_| volume.status == Status::Serving) else {
            return self.refuse(id, port, header, Failure::DeviceUnavailable);
        };
        let (disk_sectors, grain) = (disk.sectors(), disk.grain_sectors());
        let at_once = (may_be_at_once && disk.mode() == Mode::Memory).then(|| disk.clone());
        let kind = match ata.command {
            command::READ | command::READ_EXT => Kind::Read,
            command::WRITE | command::WRITE_EXT => Kind::Write,
            command::FLUSH_CACHE | command::FLUSH_CACHE_EXT => Kind::Flush,
            command::IDENTIFY => {
                let mut data = [0; SECTOR];
                volume.identity().emit(&mut data);
                return self.answer_ata(id, port, header, &ata.done(), Data::Bytes(data.to_vec()));
            }
            command::CHECK_POWER_MODE => {
                return self.answer_ata(id, port, header, &Ata { count: ACTIVE, ..ata.done() }, Data::None);
            }
            command::SET_FEATURES if FEATURES.contains(&ata.feature) => {
                return self.answer_ata(id, port, header, &ata.done(), Data::None);
            }
            _ => return self.abort(id, port, header, &ata.failed(error::ABORTED), Refused::UnknownAtaCommand),
        };
        let (key, arrived) = (self.ports[port].key, self.now);
        let mut request = Request { volume: id, port: key, header: *header, ata, kind, offset: 0, length: 0, next: None, arrived };
        if kind == Kind::Flush {
            if let Some(slot) = self.take_slot(request) {
                self.enter(id, slot, Span { start: 0, end: 0, write: false });
            }
            return;
        }
        let volume = self.volume(id);
        if volume.reserves_against(&request) {
            return self.refuse(id, port, header, Failure::TargetReserved);
        }
        if kind == Kind::Write && !directed {
            return self.stats.volume(id).refused.add(Refused::ToAll); // nobody's wish
        }
        let (read_only, lacks_lock) = (volume.saved.definition.read_only, volume.lacks_lock());
        let (sector, count) = (ata.sector(), u64::from(ata.count));
        let length = usize::from(ata.count) * SECTOR;
        if ata.count == 0 || ata.count > sectors || (kind == Kind::Write && view.data().len() < length) {
            return self.refuse(id, port, header, Failure::BadArgument);
        }
        if kind == Kind::Write && read_only {
            return self.abort(id, port, header, &ata.failed(error::ABORTED), Refused::ReadOnly);
        }
        if kind == Kind::Write && lacks_lock {
            return self.abort(id, port, header, &ata.failed(error::ABORTED), Refused::NoLock);
        }
        if sector + count > disk_sectors {
            return self.abort(id, port, header, &ata.failed(error::NOT_FOUND), Refused::BeyondEnd);
        }
        request.offset = sector * SECTOR as u64;
        request.length = length;
        let data = if kind == Kind::Write { &view.data()[..length] } else { &[] };
        if let (Kind::Write, Some(disk)) = (kind, &at_once) {
            let result = disk.write(request.offset, data);
            self.now = Instant::now();
            return self.end(id, port, &request, Data::None, result.as_ref().err());
        }
        let Some(slot) = self.take_slot(request) else { return };
        let buffer = self.slots.buffer(slot);
        if let Some(disk) = at_once {
            let request = *self.slots.get(slot);
            // SAFETY: the buffer is the slot's, and as long as the most sectors of a frame.
            let result = disk.read(request.offset, unsafe { std::slice::from_raw_parts_mut(buffer, length) });
            self.now = Instant::now();
            return self.end(id, port, &request, Data::Slot { slot, pointer: buffer, length }, result.as_ref().err());
        }
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), buffer, data.len()) };
        self.gather(id, slot, grain);
    }

    /// A slot for a request; none when too many are under way: it is asked again later.
    fn take_slot(&mut self, request: Request) -> Option<u32> {
        let inserted = self.slots.insert(request);
        if !matches!(inserted, Some((_, false))) {
            let initiator = self.stats.initiator(request.volume, request.header.source, self.now);
            match inserted {
                Some(_) => initiator.repeats += 1,
                None => initiator.dropped += 1,
            }
        }
        inserted.map(|(slot, _)| slot)
    }

    /// Gives a request, and those linked to it, to the disk.
    pub(in crate::serve) fn start(&mut self, slot: u32) {
        let request = self.slots.get(slot);
        let (id, kind, offset) = (request.volume, request.kind, request.offset);
        let mut pieces = Pieces::new(self.slots.buffer(slot), request.length);
        let mut next = request.next;
        while let Some(slot) = next {
            let request = self.slots.get(slot);
            pieces.push(self.slots.buffer(slot), request.length);
            next = request.next;
        }
        match self.volume(id).disk.clone() {
            Some(disk) => self.engine.submit(Job { id: slot, lane: id, kind, disk, offset, pieces, alone: false }),
            None => self.completions.push(Completion { id: slot, result: Err(io::ErrorKind::NotFound.into()) }),
        }
    }

    /// A request has ended, and those linked to it.
    pub(in crate::serve) fn complete(&mut self, completion: Completion) {
        let Completion { id: leader, result } = completion;
        let id = self.slots.get(leader).volume;
        let mut start = std::mem::take(&mut self.starting);
        if result.is_err() && self.slots.get(leader).next.is_some() {
            self.separate(id, leader, &mut start);
        } else {
            let mut next = Some(leader);
            while let Some(slot) = next {
                let request = *self.slots.get(slot);
                next = request.next;
                let length = if request.kind == Kind::Read { request.length } else { 0 };
                let data = Data::Slot { slot, pointer: self.slots.buffer(slot), length };
                match self.ports.iter().position(|port| port.key == request.port) {
                    Some(port) => self.end(id, port, &request, data, result.as_ref().err()),
                    None => self.slots.free(slot),
                }
            }
            self.volume(id).order.leave(leader, &mut start);
        }
        for slot in start.drain(..) {
            self.start(slot);
        }
        self.starting = start;
        if !self.volume(id).drains.is_empty() {
            self.check_drains(id);
        }
    }

    /// Answers a request that was done, or that failed. Its slot is freed at once, or when the answer is sent.
    fn end(&mut self, id: u32, port: usize, request: &Request, mut data: Data, failure: Option<&io::Error>) {
        let mut answer = request.ata.done();
        let latency = self.now.saturating_duration_since(request.arrived);
        let initiator = self.stats.initiator(id, request.header.source, self.now);
        initiator.answered(request.kind, request.length, latency, failure.is_some());
        if let Some(failure) = failure {
            answer = request.ata.failed(if request.kind == Kind::Read { error::UNCORRECTABLE } else { error::ABORTED });
            if let Data::Slot { length, .. } = &mut data {
                *length = 0;
            }
            self.complain(id, request.kind, failure);
        }
        self.answer_ata(id, port, &request.header, &answer, data);
    }

    /// Ends the waiting requests of those who may not have them done any more.
    pub(in crate::serve) fn drop_forbidden(&mut self, id: u32) {
        let mut dropped = Vec::new();
        let (volumes, slots) = (&mut self.volumes, &self.slots);
        let Some(volume) = volumes[id as usize].as_mut() else { return };
        let mut order = std::mem::take(&mut volume.order);
        order.drop_waiting(|slot| {
            let forbidden = volume.forbids(slots.get(slot));
            if forbidden {
                dropped.push(slot);
            }
            forbidden
        });
        volume.order = order;
        for slot in dropped.into_iter().flat_map(|slot| self.slots.unlink(slot)).collect::<Vec<u32>>() {
            let request = *self.slots.get(slot);
            self.slots.free(slot);
            if let Some(port) = self.ports.iter().position(|port| port.key == request.port) {
                self.refuse_waiting(id, port, &request);
            }
        }
    }

    /// Answers a request that was taken, and may not be done any more, as if it came now.
    fn refuse_waiting(&mut self, id: u32, port: usize, request: &Request) {
        let volume = self.volume(id);
        if !volume.hears(request.header.source) {
            self.stats.volume(id).refused.add(Refused::Masked);
        } else if volume.allows(request.header.source) && volume.reserves_against(request) {
            self.refuse(id, port, &request.header, Failure::TargetReserved);
        } else {
            self.abort(id, port, &request.header, &request.ata.failed(error::ABORTED), Refused::NotInForce);
        }
    }

    /// Answers a request that is not served with an ATA error.
    fn abort(&mut self, id: u32, port: usize, header: &Header, answer: &Ata, reason: Refused) {
        self.stats.volume(id).refused.add(reason);
        self.answer_ata(id, port, header, answer, Data::None);
    }

    pub(in crate::serve) fn answer_ata(&mut self, id: u32, port: usize, header: &Header, ata: &Ata, data: Data) {
        let address = self.volume(id).address();
        let mut head = [0; ATA_HEADER];
        let mac = self.ports[port].mac().unwrap_or_default();
        header.answer(mac, address.shelf, address.slot, None).emit(&mut head[..header::LENGTH]);
        ata.emit(&mut head[header::LENGTH..]);
        debug_assert_eq!(ATA_HEADER, header::LENGTH + ata::LENGTH);
        if let Err(Outgoing { data: Data::Slot { slot, .. }, .. }) = self.queue(port, Outgoing::new(&head, data)) {
            self.slots.free(slot);
        }
    }

    fn complain(&mut self, id: u32, kind: Kind, failure: &io::Error) {
        let gone = matches!(failure.raw_os_error(), Some(libc::ENODEV | libc::ENXIO));
        if Instant::now() >= self.next_complaint {
            self.next_complaint = Instant::now() + Duration::from_secs(1);
            let volume = self.volume(id);
            log!(Error, "request failed", uid = volume.uid(), request = format!("{kind:?}"), error = failure);
        }
        // Of a disk that is about to be another, nothing more is expected.
        if gone && self.volume(id).status == Status::Serving && !self.volume(id).paused {
            self.fail(id, format!("the device is gone: {failure}"));
        }
    }
}
