use std::io;
use std::time::{Duration, Instant};

use super::Server;
use super::order::{Span, Turn};
use super::slots::Request;
use super::volume::Status;
use crate::disk::engine::{Completion, Job, Kind};
use crate::log;
use crate::net::ATA_HEADER;
use crate::net::port::{Data, Outgoing};
use crate::wire::ata::{self, command, error};
use crate::wire::header::{self, Failure};
use crate::wire::{Ata, AtaView, Header, SECTOR};

/// Features of SET FEATURES that change nothing here: write cache and read-ahead, on and off. Writes are durable anyway.
const FEATURES: [u8; 4] = [0x02, 0x82, 0xaa, 0x55];
/// Count register of CHECK POWER MODE: active.
const ACTIVE: u8 = 0xff;

impl Server {
    /// An ATA command for a volume that hears the sender.
    pub(super) fn take_ata(&mut self, id: u32, port: usize, header: &Header, argument: &[u8], directed: bool) {
        let Ok(view) = AtaView::new_checked(argument) else { return self.refuse(id, port, header, Failure::BadArgument) };
        let ata = Ata::parse(&view);
        let sectors = self.ports[port].sectors();
        let volume = self.volume(id);
        if !volume.allows(header.source) {
            // The Linux driver drops AoE errors and hangs; an ATA error ends the request at once.
            return self.answer_ata(id, port, header, &ata.failed(error::ABORTED), Data::None);
        }
        if volume.paused || volume.status == Status::Loading {
            return; // asked again in a moment
        }
        let Some(disk) = volume.disk.as_ref().filter(|_| volume.status == Status::Serving) else {
            return self.refuse(id, port, header, Failure::DeviceUnavailable);
        };
        let (disk_sectors, grain) = (disk.sectors(), disk.grain_sectors());
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
            _ => return self.answer_ata(id, port, header, &ata.failed(error::ABORTED), Data::None),
        };
        let mut request = Request { volume: id, port: self.ports[port].key, header: *header, ata, kind, offset: 0, length: 0 };
        if kind == Kind::Flush {
            return self.enter(port, request, Span { start: 0, end: 0, write: false }, &[]);
        }
        let volume = self.volume(id);
        if !volume.saved.reserve.is_empty() && !volume.saved.reserve.contains(&header.source) {
            return self.refuse(id, port, header, Failure::TargetReserved);
        }
        if kind == Kind::Write && !directed {
            return; // a write to every volume is nobody's wish
        }
        let read_only = volume.saved.definition.read_only;
        let (sector, count) = (ata.sector(), u64::from(ata.count));
        let length = usize::from(ata.count) * SECTOR;
        if ata.count == 0 || ata.count > sectors || (kind == Kind::Write && view.data().len() < length) {
            return self.refuse(id, port, header, Failure::BadArgument);
        }
        if kind == Kind::Write && read_only {
            return self.answer_ata(id, port, header, &ata.failed(error::ABORTED), Data::None);
        }
        if sector + count > disk_sectors {
            return self.answer_ata(id, port, header, &ata.failed(error::NOT_FOUND), Data::None);
        }
        request.offset = sector * SECTOR as u64;
        request.length = length;
        let data = if kind == Kind::Write { &view.data()[..length] } else { &[] };
        self.enter(port, request, Span::new(sector, count, kind == Kind::Write, grain), data);
    }

    fn enter(&mut self, port: usize, request: Request, span: Span, data: &[u8]) {
        let (id, volume) = (self.slots.insert(request), &mut self.volumes);
        let Some(slot) = id else { return }; // too many under way: asked again later
        let id = self.slots.get(slot).volume;
        let Some(volume) = volume[id as usize].as_mut() else { return self.slots.free(slot) };
        // SAFETY: the buffer is the slot's, and as long as the most sectors of a frame.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.slots.buffer(slot), data.len()) };
        debug_assert!(port < self.ports.len());
        match volume.order.enter(slot, span) {
            Turn::Start => self.start(slot),
            Turn::Wait => {}
            Turn::Refuse => self.slots.free(slot),
        }
    }

    /// Gives a request to its disk.
    fn start(&mut self, slot: u32) {
        let request = self.slots.get(slot);
        let (id, kind, offset, length) = (request.volume, request.kind, request.offset, request.length);
        match self.volume(id).disk.clone() {
            Some(disk) => self.engine.submit(Job { id: slot, lane: id, kind, disk, offset, data: self.slots.buffer(slot), length }),
            None => self.completions.push(Completion { id: slot, result: Err(io::ErrorKind::NotFound.into()) }),
        }
    }

    /// A request has ended.
    pub(super) fn complete(&mut self, completion: Completion) {
        let slot = completion.id;
        let id = self.slots.get(slot).volume;
        self.end(slot, completion.result);
        let mut start = Vec::new();
        self.volume(id).order.leave(slot, &mut start);
        for slot in start {
            self.start(slot);
        }
        if !self.volume(id).drains.is_empty() {
            self.check_drains(id);
        }
    }

    /// Answers a request and frees its slot, at once or when the answer is sent.
    fn end(&mut self, slot: u32, result: io::Result<()>) {
        let request = self.slots.get(slot);
        let (id, key, header, ata) = (request.volume, request.port, request.header, request.ata);
        let (kind, length) = (request.kind, request.length);
        let mut answer = ata.done();
        let mut data = Data::Slot { slot, pointer: self.slots.buffer(slot), length: 0 };
        match result {
            Ok(()) => {
                if let (Kind::Read, Data::Slot { length: whole, .. }) = (kind, &mut data) {
                    *whole = length;
                }
            }
            Err(failure) => {
                answer = ata.failed(if kind == Kind::Read { error::UNCORRECTABLE } else { error::ABORTED });
                self.complain(id, kind, &failure);
            }
        }
        match self.ports.iter().position(|port| port.key == key) {
            Some(port) => self.answer_ata(id, port, &header, &answer, data),
            None => self.slots.free(slot),
        }
    }

    /// Ends the waiting requests of those who may not have them done any more.
    pub(super) fn drop_forbidden(&mut self, id: u32) {
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
        for slot in dropped {
            let request = self.slots.get(slot);
            let (key, header, ata) = (request.port, request.header, request.ata);
            self.slots.free(slot);
            if let Some(port) = self.ports.iter().position(|port| port.key == key) {
                self.answer_ata(id, port, &header, &ata.failed(error::ABORTED), Data::None);
            }
        }
    }

    pub(super) fn answer_ata(&mut self, id: u32, port: usize, header: &Header, ata: &Ata, data: Data) {
        let address = self.volume(id).address();
        let mut head = [0; ATA_HEADER];
        let mac = self.ports[port].mac().unwrap_or_default();
        header.answer(mac, address.shelf, address.slot, None).emit(&mut head[..header::LENGTH]);
        ata.emit(&mut head[header::LENGTH..]);
        debug_assert_eq!(ATA_HEADER, header::LENGTH + ata::LENGTH);
        if let Err(Outgoing { data: Data::Slot { slot, .. }, .. }) = self.ports[port].send(Outgoing::new(&head, data)) {
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
        if gone && self.volume(id).status == Status::Serving {
            self.fail(id, format!("the device is gone: {failure}"));
        }
    }
}
