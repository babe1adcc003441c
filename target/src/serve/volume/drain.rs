//! Answers that wait until requests under way have ended.

use super::change::MAX_WAITING;
use super::life::Drained;
use super::lists::ListCommand;
use crate::net::port::Outgoing;
use crate::net::socket::Socket;
use crate::serve::command::Reply;
use crate::serve::event::VolumeState;
use crate::serve::observe::stats::Refused;
use crate::serve::server::Server;
use crate::wire::header::command;

/// An answer that waits until no request is under way that is forbidden now.
pub struct Drain(pub End);

pub enum End {
    State(Reply<VolumeState>),
    /// An answer to a frame, by the port with this key: as it was when the change became active.
    Frame {
        port: u32,
        answer: Outgoing,
    },
}

impl<S: Socket> Server<S> {
    /// Answers a frame of commands 1 to 3 with the volume as it is now. An answer with a list waits until no request is under
    /// way that the list forbids: hosts that it shuts out must be done writing.
    pub(super) fn answer_when_safe(&mut self, id: u32, port: usize, command: &ListCommand) {
        if command.header.command == command::CONFIG {
            return self.ports.answer_list(port, &self.registry, id, command, None, 0);
        }
        let Some(answer) = self.ports.list_answer(port, &self.registry, id, command, None, 0) else { return };
        let port = self.ports.key(port);
        let drains = &mut self.registry.volume_mut(id).drains;
        if drains.iter().filter(|drain| matches!(drain.0, End::Frame { .. })).count() < MAX_WAITING {
            drains.push(Drain(End::Frame { port, answer }));
        } else {
            return self.registry.stats.volume(id).refused.add(Refused::TooManyChanges); // the initiator asks again
        }
        self.check_drains(id);
    }

    /// Gives the answers for which requests have ended, and goes on with what waited for all requests to end.
    pub(in crate::serve) fn check_drains(&mut self, id: u32) {
        self.check_hold(id);
        let Some(volume) = self.registry.get_mut(id) else { return };
        if volume.drains.is_empty() && !volume.state.awaits_quiet() {
            return;
        }
        let quiet = volume.order.is_empty();
        let drained = if quiet { volume.state.drained() } else { Drained::Nothing };
        if quiet || !volume.order.under_way().any(|slot| volume.forbids(self.data.slots.get(slot))) {
            for Drain(end) in std::mem::take(&mut volume.drains) {
                match end {
                    End::State(reply) => drop(reply.send(Ok(volume.describe()))),
                    End::Frame { port, answer } => self.ports.send_by_key(port, answer),
                }
            }
        }
        match drained {
            Drained::Nothing => {}
            Drained::Swapped(reply) => {
                let _ = reply.send(Ok(volume.describe()));
                self.registry.emit_changed(id);
                self.next_change(id); // an export may have waited for this
            }
            Drained::Gone => {
                let Some(reply) = self.forget(id) else { return };
                let _ = reply.send(Ok(()));
            }
        }
    }
}
