//! Which volumes a frame is for, and which part of the server takes it.

use super::data::ata::Asked;
use super::observe::stats::Refused;
use super::server::Server;
use super::volume::lists::ListCommand;
use crate::definition::Address;
use crate::net::socket::Socket;
use crate::wire::header::{ANY_SHELF, ANY_SLOT, Failure, VERSION, command};
use crate::wire::{Header, HeaderView};

impl<S: Socket> Server<S> {
    /// Takes a frame that came by a port.
    pub(super) fn take(&mut self, port: usize, frame: &[u8]) {
        let view = match HeaderView::new_checked(frame) {
            Ok(view) if view.source().is_unicast() => view,
            _ => return self.registry.stats.refused.add(Refused::Malformed),
        };
        if view.is_response() {
            return;
        }
        let (shelf, slot) = (view.shelf(), view.slot());
        let header = Header::parse(&view);
        if shelf != ANY_SHELF && slot != ANY_SLOT {
            if let Some(id) = self.registry.at(Address { shelf, slot }) {
                self.take_for(Asked { volume: id, port, header: &header, directed: true }, view.argument());
            }
            return;
        }
        for id in 0..self.registry.end() {
            let matches = |address: Address| (shelf == ANY_SHELF || shelf == address.shelf) && (slot == ANY_SLOT || slot == address.slot);
            if self.registry.get(id).is_some_and(|volume| matches(volume.address())) {
                self.take_for(Asked { volume: id, port, header: &header, directed: false }, view.argument());
            }
        }
    }

    fn take_for(&mut self, asked: Asked<'_>, argument: &[u8]) {
        let Asked { volume: id, port, header, directed } = asked;
        let volume = self.registry.volume(id);
        if !volume.state.is_exported() || !volume.notices(header, directed) {
            return;
        }
        if !volume.hears(header.source) {
            // A broadcast is not counted as refused by each volume.
            if directed {
                self.registry.stats.volume(id).refused.add(Refused::Masked);
            }
            return;
        }
        // Broadcasts do not find volumes for hosts that may not use them.
        if !(directed || volume.admits(header.source) && volume.state.is_served()) {
            return;
        }
        let for_copies = volume.saved.definition.for_copies;
        if header.version != VERSION {
            return self.refuse(asked, Failure::UnsupportedVersion);
        }
        if header.command == command::ATA {
            self.data.take(&mut self.registry, &mut self.ports, asked, argument);
        } else if let Some(command) = ListCommand::parse(header, argument).filter(|command| !for_copies || command.only_reads()) {
            self.data.close_gathering(&mut self.registry, id); // earlier requests are in the order, where a change finds them
            self.take_list_command(id, port, command);
        } else {
            self.refuse(asked, Failure::UnrecognizedCommand);
        }
    }

    fn refuse(&mut self, asked: Asked<'_>, failure: Failure) {
        self.registry.stats.volume(asked.volume).refused.add(Refused::of(failure, true));
        self.ports.refuse(asked.port, self.registry.volume(asked.volume), asked.header, failure);
    }
}
