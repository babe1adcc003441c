//! Requests that have failed and are tried again.

use std::io;

use super::DataPath;
use super::gather::sectors;
use super::order::Span;
use super::slots::Request;
use crate::disk::engine::Kind;
use crate::disk::is_doubtful;
use crate::serve::volume::Volume;
use crate::serve::volume::registry::Registry;

impl DataPath {
    /// Whether a request that has failed, and those linked to it, are tried again; then the grain of the disk, in sectors.
    pub(super) fn again(&mut self, volume: &Volume, leader: u32, failure: &io::Error) -> Option<u64> {
        // Without a disk each of them would fail again, or wait for a disk whose blocks may be larger.
        let grain = volume.state.disk()?.grain_sectors();
        let request = self.slots.get(leader);
        let doubtful = is_doubtful(failure) && !volume.forbids(request);
        (request.next.is_some() || doubtful && self.slots.doubt(leader, self.now)).then_some(grain)
    }

    /// Requests that failed together, or a single one, are tried again one by one: a bad sector fails only the requests for it. They keep
    /// their place before what waits for them; those that may start are added to `starting`.
    pub(super) fn separate(&mut self, registry: &mut Registry, id: u32, leader: u32, grain: u64) {
        let volume = registry.volume_mut(id);
        let span = |slot: u32, request: &Request| {
            let (start, count) = sectors(request);
            (slot, Span::new(start, count, request.kind == Kind::Write, grain))
        };
        let slots = self.slots.unlink(leader);
        let spans: Vec<(u32, Span)> = slots.into_iter().map(|slot| span(slot, self.slots.get(slot))).collect();
        volume.order.separate(leader, &spans, &mut self.starting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Access;
    use crate::disk::doubt;
    use crate::disk::engine::Completion;
    use crate::serve::server::Server;
    use crate::serve::testing::{A, B, request, serving, until};
    use crate::wire::SECTOR;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    /// A write of sevens to a disk of zeros, which has not reached it.
    struct Rig {
        server: Server,
        id: u32,
        slot: u32,
        path: PathBuf,
    }

    impl Rig {
        fn new(name: &str) -> Rig {
            let path = std::env::temp_dir().join(format!("aoe-data-{name}-{}", std::process::id()));
            std::fs::write(&path, [0; 16384]).unwrap();
            let (mut server, id) = serving(&path);
            server.ports.add_unserved("none0", 0);
            let mut rig = Rig { server, id, slot: 0, path };
            rig.slot = rig.write(7);
            rig
        }

        /// A write of such bytes to the first sector. It waits when another one is under way.
        fn write(&mut self, byte: u8) -> u32 {
            let (slot, _) = self.server.data.slots.insert(request(self.id, A, Kind::Write)).unwrap();
            // SAFETY: the buffer is the slot's.
            unsafe { self.server.data.slots.buffer(slot).write_bytes(byte, SECTOR) };
            self.server.registry.volume_mut(self.id).order.enter(slot, Span::new(0, 1, true, 1));
            slot
        }

        /// The first write has failed. Whether it was answered.
        fn fail(&mut self, failure: io::Error) -> bool {
            let Server { registry, ports, data, .. } = &mut self.server;
            data.now = Instant::now();
            data.complete(registry, ports, Completion { id: self.slot, result: Err(failure) });
            registry.volume(self.id).order.is_empty()
        }

        /// Writes that were answered with an error.
        fn errors(&mut self) -> u64 {
            let counted = self.server.registry.counted(Instant::now());
            counted[0].1.initiators[0].1.requests[Kind::Write as usize].errors
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    #[test]
    fn a_write_that_a_sync_of_another_may_have_lost_is_done_again_before_what_waits_for_it() {
        let mut rig = Rig::new("again");
        assert!(!rig.fail(doubt()), "its host would lose a write to a good sector");
        until(&mut rig.server, Server::is_quiet);
        assert_eq!(std::fs::read(&rig.path).unwrap()[..SECTOR], [7; SECTOR]);
        rig.slot = rig.write(8);
        rig.write(9);
        assert!(!rig.fail(doubt()));
        until(&mut rig.server, Server::is_quiet);
        assert_eq!(std::fs::read(&rig.path).unwrap()[..SECTOR], [9; SECTOR]);
        assert_eq!(rig.errors(), 0);
    }

    #[test]
    fn a_write_that_has_failed_by_itself_is_answered_at_once() {
        let mut rig = Rig::new("own");
        assert!(rig.fail(io::Error::from_raw_os_error(libc::EIO)));
        assert_eq!(rig.errors(), 1);
    }

    #[test]
    fn a_write_is_not_done_again_without_end() {
        let mut rig = Rig::new("end");
        assert!(rig.server.data.slots.doubt(rig.slot, Instant::now() - Duration::from_secs(9)));
        assert!(!rig.fail(doubt()));
        until(&mut rig.server, Server::is_quiet);
        rig.slot = rig.write(8);
        rig.server.data.slots.doubt(rig.slot, Instant::now() - Duration::from_secs(10));
        assert!(rig.fail(doubt()));
        assert_eq!(rig.errors(), 1);
    }

    #[test]
    fn a_write_is_not_done_again_once_its_host_has_lost_the_volume() {
        let mut rig = Rig::new("lost");
        rig.server.registry.volume_mut(rig.id).saved.definition.access = Access { macs: vec![B], ..Access::default() };
        assert!(rig.fail(doubt()));
    }
}
