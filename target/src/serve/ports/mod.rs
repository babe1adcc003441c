pub mod flood;
pub mod frames;

use super::command::Event;
use super::server::Server;
use crate::log;
use crate::net::port::Port;
use crate::net::ring_frames;
use crate::net::socket::Socket;
use crate::proto::Interface;

impl<S: Socket> Server<S> {
    /// Serves on these interfaces, and on no others.
    pub(in crate::serve) fn set_ports(&mut self, names: &[String]) {
        for port in &mut self.ports {
            if !names.contains(&port.name) {
                port.flush(|slot| self.slots.free(slot));
                port.close(|slot| self.slots.free(slot));
                log!(Info, "interface given up", interface = port.name);
            }
        }
        self.ports.retain(|port| names.contains(&port.name));
        for name in names {
            if !self.ports.iter().any(|port| port.name == *name) {
                self.ports.push(Port::new(name.clone(), self.next_port));
                self.next_port += 1;
            }
        }
        self.refresh_ports();
    }

    /// Follows what became of the interfaces, and of the number of volumes.
    pub(in crate::serve) fn refresh_ports(&mut self) {
        let frames = ring_frames(self.by_uid.len());
        self.ring_frames = frames;
        for index in 0..self.ports.len() {
            let port = &mut self.ports[index];
            let served = port.socket.is_some();
            let changed = port.refresh(frames);
            if port.failed {
                self.retry_later();
            }
            if !changed {
                continue;
            }
            let port = &mut self.ports[index];
            if port.socket.is_some() {
                let mac = port.mac().unwrap_or_default();
                log!(Info, "interface served", interface = port.name, mac = mac, mtu = port.mtu(), sectors = port.sectors());
            } else {
                log!(Warn, "interface not served", interface = port.name, error = port.error);
                port.close(|slot| self.slots.free(slot));
            }
            let event = Event::Interface(describe(&self.ports[index]));
            self.tell(&event);
            if !served && self.ports[index].socket.is_some() {
                for id in 0..self.volumes.len() as u32 {
                    if self.volumes[id as usize].is_some() {
                        let to = self.audience(id);
                        self.announce(id, index, &to);
                    }
                }
            }
        }
    }

    pub(in crate::serve) fn interfaces(&self) -> Vec<Interface> {
        self.ports.iter().map(describe).collect()
    }
}

fn describe<S: Socket>(port: &Port<S>) -> Interface {
    Interface {
        name: port.name.clone(),
        mac: port.mac().map_or_else(String::new, |mac| mac.to_string()),
        mtu: port.mtu(),
        serving: port.socket.is_some(),
        error: port.error.clone(),
    }
}
