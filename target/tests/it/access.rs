use std::os::unix::fs::PermissionsExt;

use aoe_target::wire::ata::command::{FLUSH_CACHE, IDENTIFY, WRITE_EXT};
use aoe_target::wire::config::command::*;
use aoe_target::wire::header::{self, ANY_SHELF, ANY_SLOT, ERROR, RESPONSE};
use aoe_target::wire::mask;
use tonic::Code;

use crate::host::{config, registers};
use crate::lab::{Lab, TARGET, volume};
use crate::proto;
use crate::proto::watch_response::Event;

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";

#[test]
fn only_initiators_in_force_read_write_change_and_discover() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    assert!(rpc.interfaces(&[TARGET]).unwrap()[0].serving);
    let state = rpc.export(volume("v", &disk, &[A])).unwrap();
    assert_eq!((state.sectors, state.error.as_str()), (2048, ""));
    let (mut a, mut b) = (lab.host().named(A), lab.host().named(B));
    assert!(a.write(0, &[1; 512]).good());
    assert_eq!(a.config(FORCE, "a's").string(), "a's");
    for answer in [b.read(0, 1), b.write(0, &[2; 512]), b.ata(IDENTIFY, 0, 1, &[]), b.ata(FLUSH_CACHE, 0, 0, &[])] {
        assert_eq!((answer.header.flags, answer.ata().command, answer.ata().feature), (RESPONSE, 0x41, 0x04));
        assert_eq!(answer.length, 60);
    }
    assert_eq!(b.config(READ, "").string(), "a's", "a lock can be seen by all");
    for command in [SET_IF_EMPTY, FORCE, TEST_AND_REPLACE] {
        let answer = b.config(command, "b's");
        assert_eq!((answer.header.flags, answer.header.error, answer.string().as_str()), (RESPONSE | ERROR, 6, "a's"));
    }
    let edit = [0, mask::command::EDIT, 0, 1, 0, 1, 2, 0, 0, 0, 0, 0x0b];
    assert_eq!(b.ask(header::command::MASK, &edit).header.error, 6);
    assert_eq!(b.ask(header::command::RESERVE, &[2, 0]).header.error, 6);
    b.send(ANY_SHELF, ANY_SLOT, header::command::CONFIG, &config(READ, ""));
    b.send(ANY_SHELF, ANY_SLOT, header::command::ATA, &registers(IDENTIFY, 0, 1, &[]));
    assert!(b.silence(), "it is not there for those who ask for all");
    let tag = a.send(ANY_SHELF, ANY_SLOT, header::command::CONFIG, &config(READ, ""));
    assert_eq!(a.answer(tag).header.slot, 3);
    let tag = a.send(ANY_SHELF, ANY_SLOT, header::command::ATA, &registers(IDENTIFY, 0, 1, &[]));
    assert!(a.answer(tag).good());
    a.send(ANY_SHELF, ANY_SLOT, header::command::ATA, &registers(WRITE_EXT, 0, 1, &[9; 512]));
    assert!(a.silence(), "nobody writes to all disks at once");
    assert_eq!(a.read(0, 1).data(), [1; 512]);
}

#[test]
fn whoever_loses_access_cannot_write_and_whoever_gains_it_is_told() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    let (mut a, mut b) = (lab.host().named(A), lab.host().named(B));
    a.ask(header::command::MASK, &[0, mask::command::EDIT, 0, 1, 0, 1, 2, 0, 0, 0, 0, 0x0a]);
    a.ask(header::command::RESERVE, &[1, 1, 2, 0, 0, 0, 0, 0x0a]);
    for round in 0..20u8 {
        for index in 0..40 {
            a.send(7, 3, header::command::ATA, &registers(WRITE_EXT, index % 4 * 8, 8, &[round; 4096]));
        }
        rpc.access("v", &[B]).unwrap();
        // Nobody but the target writes now: what is in the file stays there.
        let before = std::fs::read(&disk).unwrap();
        let announcement = b.announced().expect("the new initiator is told");
        assert_eq!((announcement.header.shelf, announcement.header.slot), (7, 3));
        assert!(!a.write(0, &[0xee; 512]).good());
        assert!(b.read(0, 1).good(), "mask and reserve lists do not shut it out");
        assert_eq!(std::fs::read(&disk).unwrap(), before);
        rpc.access("v", &[A]).unwrap();
        assert!(a.write(0, &[1; 512]).good());
        while b.receive(std::time::Duration::ZERO).is_some() {}
    }
    assert_eq!(rpc.access("w", &[A]).unwrap_err().code(), Code::NotFound);
    assert_eq!(rpc.access("v", &["x"]).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn where_writes_need_the_lock_nothing_is_written_before_it_is_taken() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    let mut exclusive = volume("v", &disk, &[A]);
    exclusive.access.as_mut().unwrap().writes_need_lock = true;
    rpc.export(exclusive).unwrap();
    let mut a = lab.host().named(A);
    let refused = |answer: crate::host::Answer| (answer.ata().command, answer.ata().feature) == (0x41, 0x04);
    assert!(refused(a.write(0, &[1; 512])));
    assert!(a.read(0, 1).good() && a.ata(FLUSH_CACHE, 0, 0, &[]).good());
    assert_eq!(a.config(SET_IF_EMPTY, "a's").string(), "a's");
    assert!(a.write(0, &[2; 512]).good());
    // It was cut off and its lock was cleared, then it is admitted again: what it still has to write is stale.
    rpc.replace("v", b"a's", b"").unwrap();
    assert!(refused(a.write(0, &[3; 512])));
    assert_eq!(a.config(FORCE, "a's, again").string(), "a's, again");
    assert_eq!(a.read(0, 1).data(), [2; 512]);
    assert!(a.write(0, &[4; 512]).good());
    // Not so for hosts that have no lock.
    rpc.access("v", &[A]).unwrap();
    rpc.replace("v", b"a's, again", b"").unwrap();
    assert!(a.write(0, &[5; 512]).good());
}

#[test]
fn exports_say_what_is_wrong_with_them() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let other = lab.disk("other", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    let mut refused = |volume: proto::Volume| {
        let status = rpc.export(volume).unwrap_err();
        assert!(!status.message().is_empty());
        status.code()
    };
    let good = volume("v", &disk, &[A]);
    assert_eq!(refused(proto::Volume { path: "/no/such".into(), ..good.clone() }), Code::NotFound);
    assert_eq!(refused(proto::Volume { path: "/tmp".into(), ..good.clone() }), Code::FailedPrecondition);
    assert_eq!(refused(proto::Volume { uid: "a/b".into(), ..good.clone() }), Code::InvalidArgument);
    assert_eq!(refused(proto::Volume { uid: String::new(), ..good.clone() }), Code::InvalidArgument);
    assert_eq!(refused(proto::Volume { shelf: 65535, ..good.clone() }), Code::InvalidArgument);
    assert_eq!(refused(proto::Volume { slot: 255, ..good.clone() }), Code::InvalidArgument);
    assert_eq!(refused(proto::Volume { serial: "x".repeat(21), ..good.clone() }), Code::InvalidArgument);
    rpc.export(good.clone()).unwrap();
    rpc.export(good.clone()).expect("it is idempotent");
    let mut refused = |volume: proto::Volume| rpc.export(volume).unwrap_err().code();
    assert_eq!(refused(proto::Volume { uid: "w".into(), path: other.clone(), ..good.clone() }), Code::AlreadyExists);
    assert_eq!(refused(proto::Volume { slot: 4, ..good.clone() }), Code::AlreadyExists);
    assert_eq!(refused(proto::Volume { uid: "w".into(), slot: 4, ..good.clone() }), Code::FailedPrecondition);
    std::fs::File::options().write(true).open(&disk).unwrap().set_len(2 << 20).unwrap();
    assert_eq!(rpc.export(good.clone()).unwrap().sectors, 4096, "it grew");
    std::fs::write(&other, vec![5; 1 << 20]).unwrap();
    assert_eq!(rpc.export(proto::Volume { path: other, ..good.clone() }).unwrap().sectors, 2048);
    rpc.interfaces(&[TARGET]).unwrap();
    assert_eq!(lab.host().named(A).read(0, 1).data(), [5; 512], "another path");
    let present = rpc_state(&mut rpc, "v");
    rpc.export(proto::Volume { read_only: true, ..present }).unwrap();
    assert!(!lab.host().named(A).write(0, &[1; 512]).good());
    rpc.unexport("v").unwrap();
    rpc.unexport("v").expect("it is idempotent");
    rpc.export(proto::Volume { uid: "w".into(), ..good }).expect("the address is free again");
}

/// The definition of a volume, as a new watcher is told.
fn rpc_state(rpc: &mut crate::lab::Rpc, uid: &str) -> proto::Volume {
    let client = &mut rpc.client;
    rpc.runtime.block_on(async {
        let mut events = client.watch(proto::WatchRequest {}).await.unwrap().into_inner();
        loop {
            if let Some(Event::Changed(state)) = events.message().await.unwrap().unwrap().event
                && state.volume.as_ref().unwrap().uid == uid
            {
                return state.volume.unwrap();
            }
        }
    })
}

#[test]
fn watchers_are_told_of_each_change() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    let mut watcher = target.rpc();
    let mut events = watcher.runtime.block_on(watcher.client.watch(proto::WatchRequest {})).unwrap().into_inner();
    let mut next = || watcher.runtime.block_on(events.message()).unwrap().unwrap().event.unwrap();
    assert!(matches!(next(), Event::Changed(state) if state.config_string.is_empty()));
    assert!(matches!(next(), Event::Synced(true)));
    lab.host().named(A).config(FORCE, "lock");
    assert!(matches!(next(), Event::Changed(state) if state.config_string == b"lock"));
    assert_eq!(rpc.replace("v", b"other", b"").unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(rpc.replace("w", b"", b"").unwrap_err().code(), Code::NotFound);
    rpc.replace("v", b"lock", b"").unwrap();
    assert!(matches!(next(), Event::Changed(state) if state.config_string.is_empty()));
    rpc.unexport("v").unwrap();
    assert!(matches!(next(), Event::Removed(uid) if uid == "v"));
    rpc.interfaces(&["none0"]).unwrap();
    assert!(matches!(next(), Event::Interface(interface) if !interface.serving && interface.name == "none0"));
    let mode = std::fs::metadata(lab.folder.join("target.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
