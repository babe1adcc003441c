//! Volumes that are held still for a snapshot.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aoe_target::wire::ata::command::WRITE_EXT;
use aoe_target::wire::header;
use tonic::Code;

use crate::host::{Host, registers};
use crate::hung::Mounted;
use crate::lab::{LIMIT, Lab, Rpc, TARGET, Target, volume};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";

/// Volume `v` on a disk in this folder, for A and B.
fn serve(lab: &Lab) -> (String, Target, Rpc) {
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(volume("v", &disk, &[A, B])).unwrap();
    (disk, target, rpc)
}

fn write(host: &mut Host, sector: u64, byte: u8) -> u32 {
    host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, sector, 2, &[byte; 1024]))
}

#[test]
fn writes_wait_for_the_release_and_reads_do_not() {
    for base in ["/tmp", "/dev/shm"] {
        let Some(lab) = Lab::on(base, 9000) else { return };
        let (disk, target, mut rpc) = serve(&lab);
        let mut host = lab.host().named(A);
        assert!(host.write(0, &[1; 1024]).good());
        let before = fs::read(&disk).unwrap();
        assert_eq!(before[..1024], [1; 1024]);
        let number = rpc.hold("v", 0).unwrap();
        let tags = [write(&mut host, 0, 2), write(&mut host, 0, 3), write(&mut host, 8, 4)];
        assert!(host.silence());
        assert!(host.read(64, 2).good());
        assert_eq!(fs::read(&disk).unwrap(), before);
        assert!(rpc.release("v", number).unwrap());
        for tag in tags {
            assert!(host.answer_kept(tag).good());
        }
        assert_eq!(host.read(0, 2).data(), [3; 1024], "in the order in which they came");
        assert!(!rpc.release("v", number).unwrap(), "it was released");
        target.stop();
    }
}

#[test]
fn a_disk_does_not_change_while_its_volume_is_held_under_load() {
    let Some(lab) = Lab::new(1500) else { return };
    let (disk, target, mut rpc) = serve(&lab);
    let mut host = lab.host().named(A);
    for round in 0..20 {
        let tags: Vec<u32> = (0..64).map(|block| write(&mut host, block * 2, round + block as u8)).collect();
        let number = rpc.hold("v", 0).unwrap();
        let held = fs::read(&disk).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert!(held == fs::read(&disk).unwrap());
        assert!(rpc.release("v", number).unwrap());
        for tag in tags {
            assert!(host.answer_kept(tag).good());
        }
    }
    target.stop();
}

#[test]
fn a_hold_ends_by_itself_and_its_release_says_so() {
    // A machine may stand still for some seconds between two calls.
    const LIMIT_MS: u32 = 6_000;
    let Some(lab) = Lab::new(9000) else { return };
    let (_, target, mut rpc) = serve(&lab);
    let mut host = lab.host().named(A);
    let begun = Instant::now();
    let number = rpc.hold("v", LIMIT_MS).unwrap();
    let refused = rpc.hold("v", LIMIT_MS).unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
    let tag = write(&mut host, 0, 1);
    assert!(host.answer_kept(tag).good());
    assert!(begun.elapsed() >= Duration::from_millis(LIMIT_MS.into()));
    assert!(!rpc.release("v", number).unwrap());
    assert_eq!(rpc.hold("v", 60_001).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(rpc.hold("w", 0).unwrap_err().code(), Code::NotFound);
    assert!(!rpc.release("w", number).unwrap());
    target.stop();
}

#[test]
fn a_restart_ends_a_hold_and_no_later_one_has_its_number() {
    let Some(lab) = Lab::new(9000) else { return };
    let (_, mut target, mut rpc) = serve(&lab);
    let mut host = lab.host().named(A);
    let number = rpc.hold("v", 0).unwrap();
    target.kill();
    let mut target = lab.managed();
    target.wait_for("volume served", "volume not served");
    let mut rpc = target.rpc();
    assert!(host.write(0, &[1; 1024]).good());
    let later = rpc.hold("v", 0).unwrap();
    assert!(!rpc.release("v", number).unwrap());
    let tag = write(&mut host, 0, 2);
    assert!(host.silence(), "the release of another hold does not end this one");
    assert!(rpc.release("v", later).unwrap());
    assert!(host.answer_kept(tag).good());
    target.stop();
}

#[test]
fn a_host_that_is_cut_off_during_a_hold_writes_nothing_after_it() {
    let Some(lab) = Lab::new(9000) else { return };
    let (_, target, mut rpc) = serve(&lab);
    let (mut a, mut b) = (lab.host().named(A), lab.host().named(B));
    let number = rpc.hold("v", 0).unwrap();
    let (cut, kept) = (write(&mut a, 0, 1), write(&mut b, 8, 2));
    assert!(b.silence());
    rpc.access("v", &[B]).unwrap();
    assert!(!a.answer_kept(cut).good());
    assert!(rpc.release("v", number).unwrap());
    assert!(b.answer_kept(kept).good());
    assert_eq!(b.read(0, 2).data(), [0; 1024]);
    target.stop();
}

#[test]
fn a_hold_does_not_outlast_the_disk_or_the_export() {
    let Some(lab) = Lab::new(9000) else { return };
    let (_, target, mut rpc) = serve(&lab);
    let mut host = lab.host().named(A);
    let number = rpc.hold("v", 0).unwrap();
    let tag = write(&mut host, 0, 1);
    assert!(host.silence());
    rpc.export(volume("v", &lab.disk("other", 1 << 20), &[A])).unwrap();
    assert!(host.answer_kept(tag).good());
    assert!(!rpc.release("v", number).unwrap());
    let number = rpc.hold("v", 0).unwrap();
    write(&mut host, 0, 2);
    rpc.unexport("v").unwrap();
    assert!(!rpc.release("v", number).unwrap());
    target.stop();
}

#[test]
fn a_hold_waits_for_the_writes_that_are_under_way_and_gives_up_at_its_limit() {
    let Some(lab) = Lab::new(9000) else { return };
    let Some(mounted) = Mounted::new(&lab) else { return };
    let disk = lab.disk("frozen/disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    let mut host = lab.host().named(A);
    // Whole blocks of the disk below.
    let write = |host: &mut Host| host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, 0, 8, &[1; 4096]));
    let tag = write(&mut host);
    assert!(host.answer_kept(tag).good());
    let frozen = mounted.freeze();
    let tag = write(&mut host);
    assert!(host.silence());
    let refused = rpc.hold("v", 200).unwrap_err();
    assert_eq!(refused.code(), Code::Aborted, "{refused}");
    let thaws = Arc::new(AtomicBool::new(false));
    let thaw = std::thread::spawn({
        let thaws = thaws.clone();
        move || {
            std::thread::sleep(Duration::from_millis(200));
            thaws.store(true, Ordering::SeqCst);
            drop(frozen);
        }
    });
    let number = rpc.hold("v", LIMIT.as_millis() as u32).unwrap();
    assert!(thaws.load(Ordering::SeqCst), "the write is under way");
    thaw.join().unwrap();
    assert!(host.answer_kept(tag).good());
    assert!(rpc.release("v", number).unwrap());
    target.stop();
}
