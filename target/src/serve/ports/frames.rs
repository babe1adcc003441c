use crate::definition::Address;
use crate::net::buffer_count;
use crate::net::port::{Data, Outgoing};
use crate::net::socket::Socket;
use crate::serve::observe::stats::Refused;
use crate::serve::server::Server;
use crate::serve::volume::change::{Change, Step, Then};
use crate::serve::volume::lists::{self, Outcome};
use crate::serve::volume::{FIRMWARE_NUMBER, Status, Volume};
use crate::wire::header::{self, ANY_SHELF, ANY_SLOT, Failure, VERSION, command};
use crate::wire::{Config, ConfigView, Directive, Header, HeaderView, Mac, Mask, MaskView, Reserve, ReserveView, config, mask};

/// Changes by frames that may wait for one under way, and answers to such frames that may wait for requests; further ones are
/// dropped, and sent again.
pub(in crate::serve) const MAX_CHANGES: usize = 64;

impl<S: Socket> Server<S> {
    /// Takes a frame that came by a port.
    pub(in crate::serve) fn take(&mut self, port: usize, frame: &[u8]) {
        let view = match HeaderView::new_checked(frame) {
            Ok(view) if view.source().is_unicast() => view,
            _ => return self.stats.refused.add(Refused::Malformed),
        };
        if view.is_response() {
            return;
        }
        let (shelf, slot) = (view.shelf(), view.slot());
        if shelf != ANY_SHELF && slot != ANY_SLOT {
            if let Some(&id) = self.by_address.get(&Address { shelf, slot }) {
                self.take_for(id, port, frame, &view, true);
            }
            return;
        }
        for id in 0..self.volumes.len() as u32 {
            let matches = |volume: &Volume| {
                let address = volume.address();
                (shelf == ANY_SHELF || shelf == address.shelf) && (slot == ANY_SLOT || slot == address.slot)
            };
            if self.volumes[id as usize].as_deref().is_some_and(matches) {
                self.take_for(id, port, frame, &view, false);
            }
        }
    }

    /// `directed`: the frame names this volume alone.
    fn take_for(&mut self, id: u32, port: usize, frame: &[u8], view: &HeaderView<'_>, directed: bool) {
        let header = Header::parse(view);
        let volume = self.volume(id);
        let allowed = volume.allows(header.source);
        let heard = volume.hears(header.source);
        if volume.status == Status::Reserved || !heard {
            // Who asks for all was not after this one.
            if directed && !heard {
                self.stats.volume(id).refused.add(Refused::Masked);
            }
            return;
        }
        // Who may not use a volume does not find it by asking for all.
        if !directed && (!allowed || volume.status != Status::Serving) {
            return;
        }
        if header.version != VERSION {
            return self.refuse(id, port, &header, Failure::UnsupportedVersion);
        }
        match header.command {
            command::ATA => self.take_ata(id, port, &header, view.argument(), directed),
            command::CONFIG | command::MASK | command::RESERVE => {
                self.close_gathering(id); // what came before is in the order, where a change finds it
                self.take_change(id, port, frame);
            }
            _ => self.refuse(id, port, &header, Failure::UnrecognizedCommand),
        }
    }

    /// Commands 1 to 3. What changes the volume waits for the change under way, and is answered when it is on disk.
    pub(in crate::serve) fn take_change(&mut self, id: u32, port: usize, frame: &[u8]) {
        let Ok(view) = HeaderView::new_checked(frame) else { return };
        let header = Header::parse(&view);
        let volume = self.volume(id);
        let allowed = volume.allows(header.source);
        let outcome = match header.command {
            command::CONFIG => ConfigView::new_checked(view.argument()).map(|view| lists::config(&volume.saved, &view, allowed)),
            command::MASK => MaskView::new_checked(view.argument()).map(|view| lists::mask(&volume.saved, &view, allowed)),
            _ => ReserveView::new_checked(view.argument()).map(|view| lists::reserve(&volume.saved, &view, header.source, allowed)),
        };
        match outcome.unwrap_or(Outcome::Refuse(Failure::BadArgument)) {
            Outcome::Silence => {}
            Outcome::Answer => self.answer_when_safe(id, port, frame), // the same frame, sent before, may have changed a list
            Outcome::MaskError(error) => {
                self.stats.volume(id).refused.add(Refused::BadArgument);
                self.answer(id, port, frame, None, error);
            }
            Outcome::Refuse(failure) => {
                self.stats.volume(id).refused.add(Refused::of(failure, allowed));
                self.answer(id, port, frame, Some(failure), 0);
            }
            Outcome::Change(next) => {
                let (key, bytes) = (self.ports[port].key, frame.to_vec());
                let volume = self.volume(id);
                if !matches!(volume.step, Step::Idle) {
                    let waiting = volume.changes.iter().filter(|change| matches!(change, Change::Frame { .. })).count();
                    if waiting < MAX_CHANGES {
                        volume.changes.push_back(Change::Frame { port: key, bytes });
                    } else {
                        self.stats.volume(id).refused.add(Refused::TooManyChanges);
                    }
                    return;
                }
                self.save(id, next, None, Then::Answer { port: key, bytes });
            }
        }
    }

    /// Answers a frame of commands 1 to 3 with the volume as it is.
    pub(in crate::serve) fn answer(&mut self, id: u32, port: usize, frame: &[u8], failure: Option<Failure>, mask_error: u8) {
        if let Some(answer) = self.answer_to(id, port, frame, failure, mask_error) {
            let _ = self.queue(port, answer);
        }
    }

    /// The answer to a frame of commands 1 to 3 with the volume as it is.
    pub(in crate::serve) fn answer_to(
        &mut self,
        id: u32,
        port: usize,
        frame: &[u8],
        failure: Option<Failure>,
        mask_error: u8,
    ) -> Option<Outgoing> {
        let view = HeaderView::new_checked(frame).ok()?;
        let header = Header::parse(&view);
        let argument = view.argument();
        let body = match header.command {
            command::CONFIG => self.config_body(id, port, ConfigView::new_checked(argument).map_or(0, |view| view.command())),
            command::MASK => {
                let macs = &self.volume(id).saved.mask;
                let directives = macs.iter().map(|mac| Directive { reserved: 0, command: mask::directive::NONE, mac: *mac }).collect();
                let body = Mask { reserved: 0, command: argument.get(1).copied().unwrap_or(0), error: mask_error, directives };
                let mut bytes = vec![0; body.emitted()];
                body.emit(&mut bytes);
                bytes
            }
            _ => {
                let macs = self.volume(id).saved.reserve.clone();
                let body = Reserve { command: argument.first().copied().unwrap_or(0), macs };
                let mut bytes = vec![0; body.emitted()];
                body.emit(&mut bytes);
                bytes
            }
        };
        self.outgoing(id, port, &header, failure, body)
    }

    pub(in crate::serve) fn refuse(&mut self, id: u32, port: usize, header: &Header, failure: Failure) {
        self.stats.volume(id).refused.add(Refused::of(failure, true));
        self.send(id, port, header, Some(failure), Vec::new());
    }

    fn config_body(&mut self, id: u32, port: usize, command: u8) -> Vec<u8> {
        let volumes = self.by_uid.len();
        let port = &mut self.ports[port];
        let body = Config {
            buffers: buffer_count(port.ring_frames(), volumes),
            firmware: FIRMWARE_NUMBER,
            sectors: port.sectors(),
            version: VERSION,
            command,
            string: self.volume(id).saved.config.clone(),
        };
        let mut bytes = vec![0; body.emitted()];
        body.emit(&mut bytes);
        bytes
    }

    fn send(&mut self, id: u32, port: usize, header: &Header, failure: Option<Failure>, body: Vec<u8>) {
        if let Some(answer) = self.outgoing(id, port, header, failure, body) {
            let _ = self.queue(port, answer);
        }
    }

    fn outgoing(&mut self, id: u32, port: usize, header: &Header, failure: Option<Failure>, body: Vec<u8>) -> Option<Outgoing> {
        let mac = self.ports[port].mac()?;
        let address = self.volume(id).address();
        let mut head = [0; header::LENGTH];
        header.answer(mac, address.shelf, address.slot, failure).emit(&mut head);
        Some(Outgoing::new(&head, Data::Bytes(body)))
    }

    /// Has a frame sent; it comes back when it cannot be.
    pub(in crate::serve) fn queue(&mut self, port: usize, frame: Outgoing) -> Result<(), Outgoing> {
        if !self.traces.is_empty() && self.ports[port].has_room() {
            self.traces.take(frame.parts());
        }
        self.ports[port].send(frame)
    }

    /// Tells hosts of a volume, unasked: their driver then finds the disk at once.
    pub(in crate::serve) fn announce(&mut self, id: u32, port: usize, to: &[Mac]) {
        if self.ports[port].socket.is_none() || self.volume(id).status != Status::Serving {
            return;
        }
        let body = self.config_body(id, port, config::command::READ);
        for mac in to {
            // As if they had asked with tag 0.
            let question = Header {
                destination: Mac::default(),
                source: *mac,
                version: VERSION,
                flags: 0,
                error: 0,
                shelf: ANY_SHELF,
                slot: ANY_SLOT,
                command: command::CONFIG,
                tag: 0,
            };
            self.send(id, port, &question, None, body.clone());
        }
    }

    /// Announces a volume to all who may use it, on every interface.
    pub(in crate::serve) fn announce_everywhere(&mut self, id: u32) {
        let to = self.audience(id);
        for port in 0..self.ports.len() {
            self.announce(id, port, &to);
        }
    }

    pub(in crate::serve) fn audience(&mut self, id: u32) -> Vec<Mac> {
        let access = &self.volume(id).saved.definition.access;
        if access.anyone { vec![Mac::BROADCAST] } else { access.macs.clone() }
    }
}
