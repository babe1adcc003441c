//! What tests of this folder start from.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::data::slots::Request;
use super::server::{Options, Server};
use crate::definition::{Access, Address, Definition};
use crate::disk::engine::Kind;
use crate::store::{Loaded, Saved};
use crate::wake::Waker;
use crate::wire::{Ata, Header, Mac, SECTOR};

pub const A: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
pub const B: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);

/// Without interfaces.
pub fn server() -> Server {
    let options = Options { poll: Duration::ZERO, uring: false, inline_memory: false };
    Server::new(options, None, Arc::new(Waker::new().unwrap()), mpsc::channel().1).unwrap()
}

/// One that serves volume `v` at this path, and the volume's number.
pub fn serving(path: &Path) -> (Server, u32) {
    let mut server = server();
    server.restore(Loaded { volumes: vec![saved(path.to_str().unwrap())], ..Loaded::default() });
    let id = server.registry.find("v").unwrap();
    until(&mut server, |server| server.registry.volume(id).state.is_served());
    (server, id)
}

/// Lets a server work until something has happened.
pub fn until(server: &mut Server, happened: impl Fn(&Server) -> bool) {
    let limit = Instant::now() + Duration::from_secs(5);
    while !happened(server) {
        assert!(Instant::now() < limit, "it does not happen");
        server.turn(true);
    }
}

/// Volume `v` at this path, for A and B.
pub fn saved(path: &str) -> Saved {
    let access = Access { macs: vec![A, B], ..Access::default() };
    let address = Address { shelf: 7, slot: 3 };
    Saved::new(Definition {
        uid: "v".into(),
        address,
        path: path.into(),
        serial: "S".into(),
        read_only: false,
        access,
        sectors: 0,
        for_copies: false,
        limits: None,
        reclaim: false,
    })
}

/// For one sector of a volume.
pub fn request(volume: u32, source: Mac, kind: Kind) -> Request {
    let header = Header { source, version: 1, shelf: 7, slot: 3, tag: 1, ..Header::default() };
    let ata = Ata { flags: 0, feature: 0, count: 1, command: 0, lba: [0; 6], reserved: [0; 2] };
    let (arrived, length) = (Instant::now(), SECTOR);
    Request { volume, port: 0, header, ata, kind, offset: 0, length, next: None, arrived, due: None, doubted: None }
}
