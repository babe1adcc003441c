use std::time::{Duration, Instant};

use aoe_target::definition::Address;
use aoe_target::net::initiator::InitiatorSocket;
use aoe_target::net::link::look_up;
use aoe_target::net::sectors_for;
use aoe_target::wire::header::USER_TAG;
use aoe_target::wire::{Header, HeaderView, Mac, SECTOR};

use super::frames::{self, Ends, Frame};
use crate::control::Control;
use crate::failure::Failure;

/// Answers that the ring of an interface holds.
const RING: usize = 128;
/// Requests under way that a ring can hold the answers to, with room for those that come late.
const MOST_UNDER_WAY: u16 = 64;
/// How long an answer to a question is waited for, and after which time it is asked again.
const LIMIT: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(200);
/// How long other paths have to answer after the first one.
const OTHERS: Duration = Duration::from_millis(50);
/// Sectors that every Ethernet carries.
const SAFE_SECTORS: u8 = 2;

pub struct Interface {
    pub name: String,
    pub socket: InitiatorSocket,
}

/// A way to the target: its address, as one of our interfaces sees it.
#[derive(Debug, Clone)]
pub struct Path {
    pub interface: usize,
    pub mac: Mac,
}

/// Our interfaces, and the paths from them to the disk at an address.
pub struct Segment {
    pub address: Address,
    pub interfaces: Vec<Interface>,
    pub paths: Vec<Path>,
    /// Sectors that a request may ask for.
    pub sectors: u8,
    /// Requests that may be under way on all paths together.
    pub most: usize,
}

impl Segment {
    /// Opens the interfaces and finds the disk, which must have this serial number and size.
    pub fn find(address: Address, names: &[String], serial: &str, bytes: u64, control: &Control) -> Result<Segment, Failure> {
        let interfaces = open(names)?;
        let mut segment = Segment { address, interfaces, paths: Vec::new(), sectors: u8::MAX, most: 0 };
        segment.discover(control)?;
        segment.identify(serial, bytes, control)?;
        segment.try_sizes(bytes, control)?;
        Ok(segment)
    }

    pub fn ends(&self, path: &Path) -> Ends {
        Ends { host: self.interfaces[path.interface].socket.mac, target: path.mac, address: self.address }
    }

    /// Names of the interfaces, for messages.
    pub fn names(&self) -> String {
        self.interfaces.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn discover(&mut self, control: &Control) -> Result<(), Failure> {
        let everywhere: Vec<Path> = (0..self.interfaces.len()).map(|interface| Path { interface, mac: Mac::BROADCAST }).collect();
        let mut found = Vec::new();
        self.ask(&everywhere, frames::config_query, control, |path, header, view| {
            if let Some(config) = frames::config(header, view)
                && !found.iter().any(|(known, _): &(Path, _)| (known.interface, known.mac) == (path.interface, path.mac))
            {
                found.push((path, config));
            }
            false
        })?;
        for (path, config) in &found {
            let mtu = self.interfaces[path.interface].socket.mtu;
            let sectors = sectors_for(mtu).min(if config.sectors == 0 { SAFE_SECTORS } else { config.sectors });
            if sectors == 0 {
                let name = &self.interfaces[path.interface].name;
                return Err(Failure::wait(format_args!("interface {name}: MTU {mtu} is too small for a sector")));
            }
            self.sectors = self.sectors.min(sectors);
            self.most += usize::from(config.buffers.clamp(1, MOST_UNDER_WAY));
        }
        self.most = self.most.min(2 * usize::from(MOST_UNDER_WAY));
        self.paths = found.into_iter().map(|(path, _)| path).collect();
        if self.paths.is_empty() { Err(self.silent()) } else { Ok(()) }
    }

    fn identify(&mut self, serial: &str, bytes: u64, control: &Control) -> Result<(), Failure> {
        let (paths, address) = (self.paths.clone(), self.address);
        let mut good = Vec::new();
        let mut failure = None;
        self.ask(&paths, frames::identify, control, |path, header, view| {
            let checked = frames::data(header, view, SECTOR, address, 0)
                .and_then(|data| frames::check_identity(data, address, path.mac, serial, bytes));
            match checked {
                Ok(()) => good.push(path),
                Err(new) => failure = Some(new),
            }
            failure.is_some() || good.len() == paths.len()
        })?;
        // One wrong disk is too many: it has the address of the right one.
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.paths = good;
        if self.paths.is_empty() { Err(self.silent()) } else { Ok(()) }
    }

    /// Reads the first sectors on each path. Where the segment does not carry the long answers that the interfaces would, short ones
    /// are asked for.
    fn try_sizes(&mut self, bytes: u64, control: &Control) -> Result<(), Failure> {
        self.sectors = self.sectors.min(u8::try_from(bytes / SECTOR as u64).unwrap_or(u8::MAX));
        let largest = self.sectors;
        let mut tried = vec![largest];
        tried.extend((largest > SAFE_SECTORS).then_some(SAFE_SECTORS));
        for sectors in tried {
            let (paths, address) = (self.paths.clone(), self.address);
            let (mut answered, mut failure) = (0, None);
            let read = |ends: Ends, tag: u32| frames::read(ends, tag, 0, sectors);
            self.ask(&paths, read, control, |_, header, view| {
                match frames::data(header, view, usize::from(sectors) * SECTOR, address, 0) {
                    Ok(_) => answered += 1,
                    Err(new) => failure = Some(new),
                }
                failure.is_some() || answered == paths.len()
            })?;
            if let Some(failure) = failure {
                return Err(failure);
            }
            if answered == paths.len() {
                self.sectors = sectors;
                return Ok(());
            }
        }
        let longest = frames::answer_bytes(largest);
        Err(Failure::wait(format_args!(
            "the target of {address} answers on {names}, but no data comes: neither in packets of {longest} bytes nor in short ones",
            address = self.address,
            names = self.names(),
        )))
    }

    /// Nobody answers.
    pub fn silent(&self) -> Failure {
        Failure::wait(format_args!("{} does not answer on {}; the job goes on when it does", self.address, self.names()))
    }

    /// Sends a question on these paths, again until `take` says that all is known, or time is up. `take` gets each answer once, with
    /// the path that it came from.
    fn ask(
        &mut self,
        paths: &[Path],
        question: impl Fn(Ends, u32) -> Frame,
        control: &Control,
        mut take: impl FnMut(Path, &Header, &HeaderView<'_>) -> bool,
    ) -> Result<(), Failure> {
        let tag = random_tag();
        let address = self.address;
        let mut end = Instant::now() + LIMIT;
        let mut heard: Vec<(usize, Mac)> = Vec::new();
        while Instant::now() < end {
            for path in paths.iter().filter(|path| !heard.contains(&(path.interface, path.mac))) {
                send(&self.interfaces[path.interface], &[&question(self.ends(path), tag)])?;
            }
            let again = (Instant::now() + AGAIN).min(end);
            while Instant::now() < again.min(end) {
                control.check()?;
                let mut got = false;
                for (interface, Interface { socket, .. }) in self.interfaces.iter_mut().enumerate() {
                    let mut done = false;
                    let host = socket.mac;
                    got |= socket.receive(|bytes| {
                        let Some((header, view)) = frames::answer(bytes, host, address).filter(|(header, _)| header.tag == tag) else {
                            return;
                        };
                        let from = (interface, header.source);
                        let expected = paths.iter().any(|path| path.interface == interface && [Mac::BROADCAST, from.1].contains(&path.mac));
                        if expected && !heard.contains(&from) {
                            if heard.is_empty() && paths.iter().any(|path| path.mac == Mac::BROADCAST) {
                                end = end.min(Instant::now() + OTHERS);
                            }
                            heard.push(from);
                            done = take(Path { interface, mac: header.source }, &header, &view);
                        }
                    });
                    if done {
                        return Ok(());
                    }
                }
                if !got {
                    self.wait(again.min(end).saturating_duration_since(Instant::now()));
                }
            }
        }
        Ok(())
    }

    /// Sleeps until a frame comes, at most so long, and never long.
    pub fn wait(&self, longest: Duration) {
        let longest = longest.min(crate::control::NAP);
        let mut fds: Vec<libc::pollfd> =
            self.interfaces.iter().map(|interface| libc::pollfd { fd: interface.socket.fd(), events: libc::POLLIN, revents: 0 }).collect();
        let limit = libc::timespec { tv_sec: 0, tv_nsec: longest.subsec_nanos().into() };
        // SAFETY: the descriptors are valid for their number; no signal mask.
        let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &limit, std::ptr::null()) };
        // An interface that went down is reported until it is closed: no reason to spin.
        if ready > 0 && fds.iter().all(|fd| fd.revents & libc::POLLIN == 0) {
            std::thread::sleep(longest);
        }
    }
}

/// Sends frames on an interface. One that cannot be sent now is lost, as any frame can be.
pub fn send(interface: &Interface, frames: &[&[u8]]) -> Result<(), Failure> {
    interface.socket.send(frames).map_err(|error| Failure::wait(format_args!("sending on interface {}: {error}", interface.name)))
}

/// A tag that no other program's answers have, most likely.
pub fn random_tag() -> u32 {
    let mut bytes = [0u8; 4];
    // SAFETY: the buffer is valid for its length. Without randomness the time must do.
    if unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) } != bytes.len() as isize {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        bytes = now.map_or(0, |now| now.subsec_nanos()).to_ne_bytes();
    }
    u32::from_ne_bytes(bytes) | USER_TAG
}

/// Those interfaces that can be used; a failure when none can.
fn open(names: &[String]) -> Result<Vec<Interface>, Failure> {
    let mut problems = Vec::new();
    let mut interfaces = Vec::new();
    for name in names {
        let opened = match look_up(name) {
            Ok(Some(link)) if !link.up => Err("it is down".to_owned()),
            Ok(Some(_)) => InitiatorSocket::open(name, RING).map_err(|error| error.to_string()),
            Ok(None) => Err("there is no such interface".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match opened {
            Ok(socket) => interfaces.push(Interface { name: name.clone(), socket }),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
    }
    if interfaces.is_empty() {
        return Err(Failure::wait(format_args!("no interface to the source can be used ({})", problems.join("; "))));
    }
    Ok(interfaces)
}
