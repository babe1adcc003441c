use std::io;
use std::time::Instant;

use super::DataPath;
use super::order::Span;
use super::slots::Request;
use crate::disk::Mode;
use crate::disk::engine::Kind;
use crate::disk::reclaim::is_zeros;
use crate::net::port::{Data, Outgoing};
use crate::net::socket::Socket;
use crate::serve::observe::stats::Refused;
use crate::serve::ports::Ports;
use crate::serve::volume::Volume;
use crate::serve::volume::life::Life;
use crate::serve::volume::registry::Registry;
use crate::wire::ata::{command, error};
use crate::wire::header::Failure;
use crate::wire::{Ata, AtaView, Header, SECTOR};

/// Features of SET FEATURES that change nothing here: write cache and read-ahead, on and off. Writes are durable anyway.
const FEATURES: [u8; 4] = [0x02, 0x82, 0xaa, 0x55];
/// Count register of CHECK POWER MODE: active.
const ACTIVE: u8 = 0xff;

/// A frame for a volume that hears its sender.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub volume: u32,
    pub port: usize,
    pub header: &'a Header,
    /// The frame names this volume alone.
    pub directed: bool,
}

/// Why a command is not done.
enum Refusal {
    /// No answer. The initiator sends its request again, or did not mean this volume.
    Silence(Refused),
    /// An AoE error. The Linux driver ignores these.
    Error(Failure),
    /// An ATA error, with these bits of the error register: it ends the request at once.
    Abort(u8, Refused),
}

use Refusal::{Abort, Error, Silence};

impl DataPath {
    /// Takes an ATA command. `argument` is what follows the header.
    pub fn take<S: Socket>(&mut self, registry: &mut Registry, ports: &mut Ports<S>, asked: Asked<'_>, argument: &[u8]) {
        let Ok(view) = AtaView::new_checked(argument) else {
            registry.stats.volume(asked.volume).refused.add(Refused::BadArgument);
            return ports.refuse(asked.port, registry.volume(asked.volume), asked.header, Failure::BadArgument);
        };
        let ata = Ata::parse(&view);
        if let Err(refusal) = self.perform(registry, ports, asked, &ata, view.data()) {
            self.refuse(registry, ports, asked, &ata, refusal);
        }
    }

    fn perform<S: Socket>(
        &mut self,
        registry: &mut Registry,
        ports: &mut Ports<S>,
        asked: Asked<'_>,
        ata: &Ata,
        data: &[u8],
    ) -> Result<(), Refusal> {
        let Asked { volume: id, port, header, .. } = asked;
        let volume = registry.volume(id);
        if !volume.admits(header.source) {
            return Err(Abort(error::ABORTED, Refused::NotAdmitted));
        }
        let disk = match volume.state.life() {
            Life::Serving { disk } => disk,
            Life::Loading | Life::Swapping { .. } => return Err(Silence(Refused::NotReady)),
            Life::Failed { .. } | Life::Exporting | Life::Leaving { .. } => return Err(Error(Failure::DeviceUnavailable)),
        };
        let kind = match ata.command {
            command::READ | command::READ_EXT => Kind::Read,
            command::WRITE | command::WRITE_EXT => Kind::Write,
            command::FLUSH_CACHE | command::FLUSH_CACHE_EXT => Kind::Flush,
            _ => {
                let (answer, data) = without_data(volume, ata).ok_or(Abort(error::ABORTED, Refused::UnknownAtaCommand))?;
                self.answer(registry, ports, asked, &answer, data);
                return Ok(());
            }
        };
        let mut request = Request {
            volume: id,
            port: ports.key(port),
            header: *header,
            ata: *ata,
            kind,
            offset: 0,
            length: 0,
            next: None,
            arrived: self.now,
            due: None,
            doubted: None,
        };
        if kind == Kind::Flush {
            if let Some((slot, _)) = self.take_slot(registry, request) {
                self.enter(registry, id, slot, Span { start: 0, end: 0, write: false });
            }
            return Ok(());
        }
        check(volume, volume.sectors(), ports.sectors(port), asked.directed, &request, data)?;
        request.offset = ata.sector() * SECTOR as u64;
        request.length = usize::from(ata.count) * SECTOR;
        let grain = disk.grain_sectors();
        // One that others wait for takes its turn: it must not overtake them.
        let inline = (self.inline_memory && disk.mode() == Mode::Memory && volume.is_at_rest()).then(|| disk.clone());
        let data = if kind == Kind::Write { &data[..request.length] } else { &[] };
        if let (Kind::Write, Some(disk)) = (kind, &inline) {
            let zeros = volume.saved.definition.reclaim && disk.makes_holes() && is_zeros(data);
            let result = if zeros { disk.write_zeros(request.offset, data.len()) } else { disk.write(request.offset, data) };
            if zeros {
                self.count_reclaimed(registry, id);
            }
            self.now = Instant::now();
            self.end(registry, ports, port, &request, Data::None, result.as_ref().err());
            return Ok(());
        }
        let Some((slot, repeated)) = self.take_slot(registry, request) else { return Ok(()) };
        if registry.volume(id).pacer.is_some() && !self.pace(registry, ports, slot, repeated) {
            return Ok(());
        }
        let buffer = self.slots.buffer(slot);
        if let Some(disk) = inline {
            let length = request.length;
            // SAFETY: the buffer is the slot's, and as long as the most sectors of a frame.
            let result = disk.read(request.offset, unsafe { std::slice::from_raw_parts_mut(buffer, length) });
            self.now = Instant::now();
            self.end(registry, ports, port, &request, Data::Lent { key: slot, pointer: buffer, length }, result.as_ref().err());
            return Ok(());
        }
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), buffer, data.len()) };
        self.gather(registry, id, slot, grain);
        Ok(())
    }

    /// A slot for a request, and whether the same request is under way; none when too many are: the initiator sends it again later.
    fn take_slot(&mut self, registry: &mut Registry, request: Request) -> Option<(u32, bool)> {
        let inserted = self.slots.insert(request);
        if !matches!(inserted, Some((_, false))) {
            let initiator = registry.stats.initiator(request.volume, request.header.source, self.now);
            match inserted {
                Some(_) => initiator.repeats += 1,
                None => initiator.dropped += 1,
            }
        }
        inserted
    }

    /// Answers a request that was done, or that failed. Its slot is freed at once, or when the answer is sent.
    pub(super) fn end<S: Socket>(
        &mut self,
        registry: &mut Registry,
        ports: &mut Ports<S>,
        port: usize,
        request: &Request,
        mut data: Data,
        failure: Option<&io::Error>,
    ) {
        let mut answer = request.ata.done();
        let latency = self.now.saturating_duration_since(request.arrived);
        let initiator = registry.stats.initiator(request.volume, request.header.source, self.now);
        initiator.answered(request.kind, request.length, latency, failure.is_some());
        if let Some(failure) = failure {
            answer = request.ata.failed(if request.kind == Kind::Read { error::UNCORRECTABLE } else { error::ABORTED });
            if let Data::Lent { length, .. } = &mut data {
                *length = 0;
            }
            self.warn_of_failure(registry, request.volume, request.kind, failure);
        }
        self.answer(registry, ports, asked_by(request, port), &answer, data);
    }

    /// Ends the waiting requests that are forbidden now, and starts those that waited for them only.
    pub fn drop_forbidden<S: Socket>(&mut self, registry: &mut Registry, ports: &mut Ports<S>, id: u32) {
        self.hasten(registry, id);
        let Some(volume) = registry.get_mut(id) else { return };
        let mut order = std::mem::take(&mut volume.order);
        let mut dropped = Vec::new();
        let forbidden = |slot| {
            let forbidden = volume.forbids(self.slots.get(slot));
            if forbidden {
                dropped.push(slot);
            }
            forbidden
        };
        order.drop_waiting(forbidden, &mut self.starting);
        volume.order = order;
        for slot in dropped.into_iter().flat_map(|slot| self.slots.unlink(slot)).collect::<Vec<u32>>() {
            let request = *self.slots.get(slot);
            self.slots.free(slot);
            let Some(port) = ports.position(request.port) else { continue };
            let volume = registry.volume(id);
            let refusal = if !volume.hears(request.header.source) {
                Silence(Refused::Masked)
            } else if volume.admits(request.header.source) && volume.reserves_against(&request) {
                Error(Failure::TargetReserved)
            } else if volume.admits(request.header.source) && request.kind == Kind::Write && volume.lacks_lock() {
                Abort(error::ABORTED, Refused::NoLock)
            } else {
                Abort(error::ABORTED, Refused::NotAdmitted)
            };
            self.refuse(registry, ports, asked_by(&request, port), &request.ata, refusal);
        }
        self.start_all(registry);
    }

    fn refuse<S: Socket>(&mut self, registry: &mut Registry, ports: &mut Ports<S>, asked: Asked<'_>, ata: &Ata, refusal: Refusal) {
        let reason = match refusal {
            Silence(reason) => reason,
            Error(failure) => {
                ports.refuse(asked.port, registry.volume(asked.volume), asked.header, failure);
                Refused::of(failure, true)
            }
            Abort(bits, reason) => {
                self.answer(registry, ports, asked, &ata.failed(bits), Data::None);
                reason
            }
        };
        registry.stats.volume(asked.volume).refused.add(reason);
    }

    fn answer<S: Socket>(&mut self, registry: &Registry, ports: &mut Ports<S>, asked: Asked<'_>, ata: &Ata, data: Data) {
        let sent = ports.answer_ata(asked.port, registry.volume(asked.volume), asked.header, ata, data);
        if let Err(Outgoing { data: Data::Lent { key, .. }, .. }) = sent {
            self.slots.free(key);
        }
    }
}

/// Who asked for a request that is under way.
fn asked_by(request: &Request, port: usize) -> Asked<'_> {
    Asked { volume: request.volume, port, header: &request.header, directed: true }
}

/// The answer to a command that does not touch the disk; none to one that is not known.
fn without_data(volume: &Volume, ata: &Ata) -> Option<(Ata, Data)> {
    match ata.command {
        command::IDENTIFY => {
            let mut data = [0; SECTOR];
            volume.identity().emit(&mut data);
            Some((ata.done(), Data::Bytes(data.to_vec())))
        }
        command::CHECK_POWER_MODE => Some((Ata { count: ACTIVE, ..ata.done() }, Data::None)),
        command::SET_FEATURES if FEATURES.contains(&ata.feature) => Some((ata.done(), Data::None)),
        _ => None,
    }
}

/// Whether a read or a write may be done. `sectors`: of the volume; `most`: of a frame.
fn check(volume: &Volume, sectors: u64, most: u8, directed: bool, request: &Request, data: &[u8]) -> Result<(), Refusal> {
    let (ata, write) = (&request.ata, request.kind == Kind::Write);
    if volume.reserves_against(request) {
        return Err(Error(Failure::TargetReserved));
    }
    if write && !directed {
        return Err(Silence(Refused::ToAll)); // a write that is addressed to all volumes
    }
    if ata.count == 0 || ata.count > most || (write && data.len() < usize::from(ata.count) * SECTOR) {
        return Err(Error(Failure::BadArgument));
    }
    if write && volume.saved.definition.read_only {
        return Err(Abort(error::ABORTED, Refused::ReadOnly));
    }
    if write && volume.lacks_lock() {
        return Err(Abort(error::ABORTED, Refused::NoLock));
    }
    if ata.sector() + u64::from(ata.count) > sectors {
        return Err(Abort(error::NOT_FOUND, Refused::BeyondEnd));
    }
    Ok(())
}
