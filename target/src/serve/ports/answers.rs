//! Answers and announcements of volumes.

use super::Ports;
use crate::net::port::{Data, Outgoing, Port};
use crate::net::socket::Socket;
use crate::net::{ATA_HEADER, buffer_count};
use crate::serve::volume::lists::{List, ListCommand};
use crate::serve::volume::registry::Registry;
use crate::serve::volume::{FIRMWARE_NUMBER, Volume};
use crate::wire::header::{self, ANY_SHELF, ANY_SLOT, Failure, VERSION, command};
use crate::wire::{Ata, Config, Directive, Header, Mac, Mask, Reserve, ata, config, mask};

impl<S: Socket> Ports<S> {
    /// Answers an ATA request. The data comes back when the answer cannot be sent.
    pub fn answer_ata(&mut self, port: usize, volume: &Volume, header: &Header, ata: &Ata, data: Data) -> Result<(), Outgoing> {
        let address = volume.address();
        let mut head = [0; ATA_HEADER];
        let mac = self.list[port].mac().unwrap_or_default();
        header.answer(mac, address.shelf, address.slot, None).emit(&mut head[..header::LENGTH]);
        ata.emit(&mut head[header::LENGTH..]);
        debug_assert_eq!(ATA_HEADER, header::LENGTH + ata::LENGTH);
        self.send(port, Outgoing::new(&head, data))
    }

    /// Answers a frame of commands 1 to 3 with the volume as it is.
    pub fn answer_list(
        &mut self,
        port: usize,
        registry: &Registry,
        id: u32,
        command: &ListCommand,
        failure: Option<Failure>,
        mask_error: u8,
    ) {
        if let Some(answer) = self.list_answer(port, registry, id, command, failure, mask_error) {
            let _ = self.send(port, answer);
        }
    }

    /// The answer to a frame of commands 1 to 3 with the volume as it is; none when the interface is gone.
    pub fn list_answer(
        &self,
        port: usize,
        registry: &Registry,
        id: u32,
        command: &ListCommand,
        failure: Option<Failure>,
        mask_error: u8,
    ) -> Option<Outgoing> {
        let port = &self.list[port];
        let volume = registry.volume(id);
        let body = match command.list {
            List::Config => config_body(port, volume, registry.len(), command.command),
            List::Mask => {
                let macs = volume.saved.mask.iter();
                let directives = macs.map(|mac| Directive { reserved: 0, command: mask::directive::NONE, mac: *mac }).collect();
                let body = Mask { reserved: 0, command: command.command, error: mask_error, directives };
                let mut bytes = vec![0; body.emitted()];
                body.emit(&mut bytes);
                bytes
            }
            List::Reserve => {
                let body = Reserve { command: command.command, macs: volume.saved.reserve.clone() };
                let mut bytes = vec![0; body.emitted()];
                body.emit(&mut bytes);
                bytes
            }
        };
        outgoing(port, volume, &command.header, failure, body)
    }

    /// Answers a frame with an AoE error.
    pub fn refuse(&mut self, port: usize, volume: &Volume, header: &Header, failure: Failure) {
        if let Some(answer) = outgoing(&self.list[port], volume, header, Some(failure), Vec::new()) {
            let _ = self.send(port, answer);
        }
    }

    /// Announces a volume to hosts on every interface, so that their driver finds the disk at once.
    pub fn announce(&mut self, registry: &Registry, id: u32, to: &[Mac]) {
        for port in 0..self.list.len() {
            self.announce_at(port, registry, id, to);
        }
    }

    /// Announces a volume to hosts on one interface: an answer to a config query with tag 0 that nobody sent. Nobody is told who is not
    /// admitted, or is losing access.
    pub fn announce_at(&mut self, port: usize, registry: &Registry, id: u32, to: &[Mac]) {
        let volume = registry.volume(id);
        if self.list[port].socket.is_none() || !volume.state.is_served() {
            return;
        }
        let body = config_body(&self.list[port], volume, registry.len(), config::command::READ);
        for mac in to.iter().filter(|mac| volume.admits(**mac)) {
            let query =
                Header { source: *mac, version: VERSION, shelf: ANY_SHELF, slot: ANY_SLOT, command: command::CONFIG, ..Header::default() };
            if let Some(answer) = outgoing(&self.list[port], volume, &query, None, body.clone()) {
                let _ = self.send(port, answer);
            }
        }
    }
}

fn config_body<S: Socket>(port: &Port<S>, volume: &Volume, volumes: usize, command: u8) -> Vec<u8> {
    let body = Config {
        buffers: volume.window(buffer_count(port.ring_frames(), volumes), port.sectors()),
        firmware: FIRMWARE_NUMBER,
        sectors: port.sectors(),
        version: VERSION,
        command,
        string: volume.saved.config.clone(),
    };
    let mut bytes = vec![0; body.emitted()];
    body.emit(&mut bytes);
    bytes
}

fn outgoing<S: Socket>(port: &Port<S>, volume: &Volume, header: &Header, failure: Option<Failure>, body: Vec<u8>) -> Option<Outgoing> {
    let address = volume.address();
    let mut head = [0; header::LENGTH];
    header.answer(port.mac()?, address.shelf, address.slot, failure).emit(&mut head);
    Some(Outgoing::new(&head, Data::Bytes(body)))
}
