use super::*;
use crate::disk::Disk;
use crate::disk::engine::{Completion, Kind};
use crate::disk::open::{Opened, open};
use crate::serve::data::order::{Entered, Span};
use crate::serve::testing::{A, B, request, saved, server, serving, until};
use crate::serve::volume::life::{Life, Opening, State};
use crate::store::Loaded;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

struct Rig {
    server: Server,
    id: u32,
    paths: [PathBuf; 2],
}

impl Rig {
    /// A volume on the first of two disks.
    fn new(name: &str) -> Rig {
        let path = |at| std::env::temp_dir().join(format!("aoe-change-{name}-{}-{at}", std::process::id()));
        let paths = [path(0), path(1)];
        for path in &paths {
            std::fs::write(path, [0; 4096]).unwrap();
        }
        let (server, id) = serving(&paths[0]);
        Rig { server, id, paths }
    }

    fn volume(&self) -> &Volume {
        self.server.registry.volume(self.id)
    }

    fn until(&mut self, come: impl Fn(&Volume) -> bool) {
        until(&mut self.server, |server| come(server.registry.volume(self.id)));
    }

    /// A write that is under way.
    fn write(&mut self, source: Mac) -> u32 {
        let (slot, _) = self.server.data.slots.insert(request(self.id, source, Kind::Write)).unwrap();
        let volume = self.server.registry.volume_mut(self.id);
        assert_eq!(volume.order.enter(slot, Span::new(0, 1, true, 1)), Entered::UnderWay);
        slot
    }

    /// A request that has to wait.
    fn waiting(&mut self, source: Mac, kind: Kind) -> u32 {
        let (slot, _) = self.server.data.slots.insert(request(self.id, source, kind)).unwrap();
        let volume = self.server.registry.volume_mut(self.id);
        assert_eq!(volume.order.enter(slot, Span::new(0, 1, kind == Kind::Write, 1)), Entered::Waiting);
        slot
    }

    /// A request has ended.
    fn complete(&mut self, slot: u32, result: io::Result<()>) {
        let Server { registry, ports, data, .. } = &mut self.server;
        data.complete(registry, ports, Completion { id: slot, result });
        self.server.check_drains(self.id);
    }

    fn set_access(&mut self, access: Access) -> oneshot::Receiver<Result<VolumeState, Error>> {
        let (reply, answer) = oneshot::channel();
        self.server.change(self.id, Change::SetAccess { access, reply });
        answer
    }

    fn export(&mut self, path: usize) -> oneshot::Receiver<Result<VolumeState, Error>> {
        let (reply, answer) = oneshot::channel();
        let definition = Box::new(saved(self.paths[path].to_str().unwrap()).definition);
        self.server.change(self.id, Change::Export { definition, reply });
        answer
    }
}

/// Opening this disk takes two seconds, or until this is dropped: another process has locked it.
fn locked(path: &PathBuf) -> std::fs::File {
    let file = std::fs::File::open(path).unwrap();
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::flock(std::os::fd::AsRawFd::as_raw_fd(&file), libc::LOCK_EX) }, 0);
    file
}

fn only(mac: Mac) -> Access {
    Access { macs: vec![mac], ..Access::default() }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for path in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[test]
fn an_export_waits_until_the_disk_of_the_one_before_is_in_use() {
    let mut rig = Rig::new("back");
    let before = rig.volume().state.disk().unwrap().identity();
    let slot = rig.write(A);
    let mut away = rig.export(1);
    rig.until(|volume| volume.state.is_swapping());
    let mut back = rig.export(0);
    rig.until(|volume| volume.state.is_idle());
    assert!(away.try_recv().is_err() && back.try_recv().is_err());
    rig.complete(slot, Ok(()));
    rig.until(|volume| volume.state.is_idle() && volume.changes.is_empty());
    assert!(away.try_recv().unwrap().is_ok() && back.try_recv().unwrap().is_ok());
    let volume = rig.volume();
    assert_eq!(volume.state.disk().unwrap().identity(), before, "the disk of the definition");
    assert!(!volume.state.is_swapping());
}

#[test]
fn access_changes_while_an_export_waits_and_is_not_undone_by_it() {
    let mut rig = Rig::new("access");
    let slot = rig.write(A);
    let _away = rig.export(1);
    rig.until(|volume| volume.state.is_swapping());
    let mut back = rig.export(0);
    let mut access = rig.set_access(only(A));
    rig.until(|volume| volume.saved.definition.access == only(A));
    assert!(access.try_recv().unwrap().is_ok(), "nothing is under way that is forbidden now");
    let (reply, mut removal) = oneshot::channel();
    rig.server.change(rig.id, Change::Unexport { reply });
    rig.server.turn(true);
    assert!(removal.try_recv().is_err() && back.try_recv().is_err());
    assert_eq!(rig.volume().changes.len(), 2, "it is not removed before it is exported");
    rig.complete(slot, Ok(()));
    rig.until(|volume| matches!(volume.state.step(), Step::Removing { .. }));
    assert!(back.try_recv().unwrap().is_ok());
    assert!(rig.volume().saved.definition.access == only(A));
}

#[test]
fn access_is_taken_away_while_the_disk_of_an_export_is_opened_and_is_not_undone_by_it() {
    let mut rig = Rig::new("opening");
    let lock = locked(&rig.paths[1]);
    let before = rig.volume().state.disk().unwrap().identity();
    let mut away = rig.export(1);
    let (reply, mut removal) = oneshot::channel();
    rig.server.change(rig.id, Change::Unexport { reply });
    let mut access = rig.set_access(only(B));
    rig.until(|volume| volume.saved.definition.access == only(B));
    assert!(matches!(rig.volume().state.opening(), Opening::Export { .. }) && away.try_recv().is_err());
    assert!(access.try_recv().unwrap().is_ok());
    let mut later = rig.set_access(only(A));
    rig.until(|volume| volume.saved.definition.access == only(A));
    assert!(matches!(rig.volume().state.opening(), Opening::Export { .. }) && removal.try_recv().is_err());
    assert!(later.try_recv().unwrap().is_ok());
    drop(lock);
    rig.until(|volume| matches!(volume.state.step(), Step::Removing { .. }));
    assert!(away.try_recv().unwrap().is_ok() && rig.volume().saved.definition.access == only(A));
    assert!(rig.volume().state.disk().unwrap().identity() != before);
}

#[test]
fn a_change_of_access_that_could_not_be_saved_is_not_made_by_the_exports_that_it_has_overtaken() {
    let mut rig = Rig::new("not-saved");
    let lock = locked(&rig.paths[1]);
    let (mut away, mut back) = (rig.export(1), rig.export(0));
    let mut access = rig.set_access(only(B));
    rig.server.done(Done::Saved { volume: rig.id, result: Err(io::ErrorKind::StorageFull.into()) });
    assert!(access.try_recv().unwrap().is_err());
    drop(lock);
    rig.until(|volume| volume.state.is_idle() && volume.changes.is_empty());
    assert!(away.try_recv().unwrap().is_ok() && back.try_recv().unwrap().is_ok());
    assert!(rig.volume().admits(A), "its caller was told that nothing has changed");
}

#[test]
fn an_export_that_comes_while_access_is_being_saved_says_who_has_access() {
    let mut rig = Rig::new("later");
    let (_away, _access) = (rig.export(1), rig.set_access(only(B)));
    let mut back = rig.export(0);
    rig.until(|volume| volume.state.is_idle() && volume.changes.is_empty());
    assert!(back.try_recv().unwrap().is_ok() && rig.volume().admits(A));
}

#[test]
fn an_export_whose_disk_opens_while_access_is_being_saved_is_saved_after_it() {
    let mut rig = Rig::new("opened");
    let mut away = rig.export(1);
    let mut access = rig.set_access(only(B));
    assert!(matches!(rig.volume().state.step(), Step::Saving(_)));
    let opened = open("/proc/self/exe", true, 0, None);
    rig.server.done(Done::Opened { volume: rig.id, result: opened });
    assert!(matches!(rig.volume().state.opening(), Opening::Opened { .. }) && !rig.volume().admits(A));
    rig.server.done(Done::Saved { volume: rig.id, result: Ok(()) });
    assert!(access.try_recv().unwrap().is_ok() && away.try_recv().is_err());
    rig.server.done(Done::Saved { volume: rig.id, result: Ok(()) });
    assert!(away.try_recv().unwrap().is_ok());
    assert!(rig.volume().saved.definition.access == only(B) && rig.volume().saved.definition.path == rig.paths[1].to_str().unwrap());
}

#[test]
fn access_is_taken_away_while_a_disk_is_opened_after_a_start() {
    let path = std::env::temp_dir().join(format!("aoe-change-loading-{}", std::process::id()));
    std::fs::write(&path, [0; 4096]).unwrap();
    let lock = locked(&path);
    let mut server = server();
    server.restore(Loaded { volumes: vec![saved(path.to_str().unwrap())], ..Loaded::default() });
    let id = server.registry.find("v").unwrap();
    let mut rig = Rig { server, id, paths: [path.clone(), path] };
    let mut access = rig.set_access(only(B));
    rig.until(|volume| volume.saved.definition.access == only(B));
    assert!(matches!(rig.volume().state.life(), Life::Loading) && access.try_recv().unwrap().is_ok());
    drop(lock);
    rig.until(|volume| volume.state.is_served());
    assert!(rig.volume().state.is_idle() && rig.volume().saved.definition.access == only(B));
}

#[test]
fn a_disk_that_is_gone_while_another_replaces_it_does_not_fail_the_volume() {
    let mut rig = Rig::new("gone");
    let slot = rig.write(A);
    let mut away = rig.export(1);
    rig.until(|volume| volume.state.is_swapping());
    rig.server.ports.add_unserved("none0", 0);
    rig.complete(slot, Err(io::Error::from_raw_os_error(libc::ENODEV)));
    assert!(away.try_recv().unwrap().is_ok());
    assert!(rig.volume().state.is_served() && !rig.volume().state.is_swapping());
}

#[test]
fn what_is_active_is_saved_again_after_a_change_that_could_not_be_saved() {
    let mut rig = Rig::new("unsure");
    let active = rig.volume().saved.definition.access.clone();
    let mut refused = rig.set_access(only(B));
    rig.server.done(Done::Saved { volume: rig.id, result: Err(io::ErrorKind::StorageFull.into()) });
    assert!(refused.try_recv().unwrap().is_err());
    let mut back = rig.set_access(active);
    assert!(back.try_recv().is_err(), "the file may have the other one");
    rig.until(|volume| volume.state.is_idle());
    assert!(back.try_recv().unwrap().is_ok() && !rig.volume().is_unsure);
}

#[test]
fn parts_of_a_failed_write_are_not_done_once_their_host_has_lost_the_volume() {
    let mut rig = Rig::new("parts");
    let slot = rig.write(A);
    let (next, _) = rig.server.data.slots.insert(request(rig.id, A, Kind::Write)).unwrap();
    rig.server.data.slots.link(slot, next);
    rig.server.data.hold(&mut rig.server.registry, rig.id);
    let mut access = rig.set_access(only(B));
    rig.until(|volume| volume.saved.definition.access == only(B));
    assert!(access.try_recv().is_err(), "a write is under way that is forbidden now");
    rig.server.ports.add_unserved("none0", 0);
    rig.complete(slot, Err(io::Error::from_raw_os_error(libc::EIO)));
    assert!(access.try_recv().unwrap().is_ok());
    assert!(rig.volume().order.is_empty(), "nothing waits for the end of the hold");
}

#[test]
fn a_write_that_waits_is_not_done_once_the_lock_is_cleared() {
    let mut rig = Rig::new("lock");
    rig.server.ports.add_unserved("none0", 0);
    let saved = &mut rig.server.registry.volume_mut(rig.id).saved;
    (saved.definition.access.writes_need_lock, saved.config) = (true, b"a's".to_vec());
    let slot = rig.write(A);
    rig.waiting(A, Kind::Write);
    let (reply, mut cleared) = oneshot::channel();
    let (expected, replacement) = (b"a's".to_vec(), Vec::new());
    rig.server.change(rig.id, Change::ReplaceConfigString { expected, replacement, reply });
    rig.until(|volume| volume.saved.config.is_empty());
    assert!(cleared.try_recv().is_err(), "a write is under way that is forbidden now");
    rig.complete(slot, Ok(()));
    assert!(cleared.try_recv().unwrap().is_ok());
    assert!(rig.volume().order.is_empty() && rig.server.is_quiet(), "the other write is not done");
    let volumes = rig.server.registry.counted(Instant::now());
    let refused: Vec<_> = volumes[0].1.refused.iter().collect();
    assert_eq!(refused, [(Refused::NoLock.name(), 1)]);
}

#[test]
fn a_read_is_done_when_the_write_that_it_waited_for_is_forbidden() {
    let mut rig = Rig::new("behind");
    rig.server.ports.add_unserved("none0", 0);
    rig.server.data.hold(&mut rig.server.registry, rig.id);
    rig.waiting(A, Kind::Write);
    rig.waiting(B, Kind::Read);
    let _access = rig.set_access(only(B));
    rig.until(|volume| volume.order.is_empty());
    assert!(rig.server.is_quiet(), "nothing waits for the end of the hold");
}

#[test]
fn parts_of_a_write_to_a_disk_that_is_gone_are_not_tried() {
    let mut rig = Rig::new("parts-gone");
    rig.server.ports.add_unserved("none0", 0);
    let slot = rig.write(A);
    let (next, _) = rig.server.data.slots.insert(request(rig.id, A, Kind::Write)).unwrap();
    rig.server.data.slots.link(slot, next);
    rig.server.data.hold(&mut rig.server.registry, rig.id);
    rig.server.registry.device_gone(rig.id, &io::Error::from_raw_os_error(libc::ENODEV));
    rig.complete(slot, Err(io::Error::from_raw_os_error(libc::EIO)));
    assert!(rig.volume().order.is_empty() && rig.server.is_quiet(), "on the disk that comes back their blocks may be larger");
}

#[test]
fn a_disk_that_is_gone_is_closed_and_opened_again_while_a_hold_lasts() {
    let mut rig = Rig::new("held");
    let (reply, mut held) = oneshot::channel();
    rig.server.hold(rig.id, Duration::from_secs(60), reply);
    let number = held.try_recv().unwrap().unwrap();
    let disk = Arc::downgrade(rig.volume().state.disk().unwrap());
    rig.server.registry.device_gone(rig.id, &io::Error::from_raw_os_error(libc::ENODEV));
    assert!(disk.upgrade().is_none(), "nobody else can use it");
    rig.server.reopen(rig.id);
    rig.until(|volume| volume.state.is_idle());
    assert!(rig.volume().state.is_served() && rig.volume().hold.is_some());
    assert!(!rig.server.release(rig.id, number), "it is not the disk that was held");
}

#[test]
fn writes_that_wait_for_a_disk_whose_blocks_are_larger_when_it_comes_back_do_not_share_a_block_at_once() {
    let mut rig = Rig::new("blocks");
    rig.server.data.hold(&mut rig.server.registry, rig.id);
    let volume = rig.server.registry.volume_mut(rig.id);
    for slot in 0..2 {
        assert_eq!(volume.order.enter(slot, Span::new(slot.into(), 1, true, 1)), Entered::Waiting);
    }
    rig.server.registry.device_gone(rig.id, &io::Error::from_raw_os_error(libc::ENODEV));
    assert!(rig.server.registry.volume_mut(rig.id).state.reopen());
    let Ok(Opened::New(disk)) = open(rig.paths[0].to_str().unwrap(), false, 0, None) else { panic!("it cannot be opened") };
    let disk = Arc::new(Disk { grain: 4096, ..Arc::into_inner(disk).unwrap() });
    rig.server.done(Done::Opened { volume: rig.id, result: Ok(Opened::New(disk)) });
    rig.server.registry.volume_mut(rig.id).order.resume(&mut Vec::new());
    assert_eq!(rig.volume().order.under_way().count(), 1);
}

#[test]
fn an_export_is_refused_when_the_volume_is_removed_before_its_disk_is_in_use() {
    let mut rig = Rig::new("removed");
    let slot = rig.write(A);
    let mut away = rig.export(1);
    rig.until(|volume| volume.state.is_swapping());
    let (reply, mut removal) = oneshot::channel();
    rig.server.change(rig.id, Change::Unexport { reply });
    rig.until(|volume| !volume.state.is_exported());
    assert!(matches!(away.try_recv().unwrap(), Err(Error::Unexported(uid)) if uid == "v"));
    assert!(removal.try_recv().is_err(), "a request is under way");
    rig.complete(slot, Ok(()));
    assert!(removal.try_recv().unwrap().is_ok());
    assert!(rig.server.registry.find("v").is_none());
}

#[test]
fn changes_that_waited_for_a_removal_that_failed_are_done() {
    let mut server = server();
    let id = server.registry.insert(saved("/no/such"), State::loading());
    let state = &mut server.registry.volume_mut(id).state;
    state.reopened(Err("gone".into()));
    let (reply, mut removal) = oneshot::channel();
    assert!(state.begin(Step::Removing { reply }));
    let (reply, mut access) = oneshot::channel();
    server.change(id, Change::SetAccess { access: Access::default(), reply });
    assert!(access.try_recv().is_err());
    server.done(Done::Removed { volume: id, result: Err(io::ErrorKind::StorageFull.into()) });
    assert!(removal.try_recv().unwrap().is_err());
    server.turn(true);
    assert!(access.try_recv().unwrap().is_ok());
}
