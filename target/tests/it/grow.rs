use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aoe_target::wire::ata::command::{IDENTIFY, WRITE_EXT};
use aoe_target::wire::header;
use aoe_target::wire::identify::Identity;

use crate::host::{Host, registers};
use crate::lab::{LIMIT, Lab, Rpc, TARGET, Target, volume};
use crate::proto;

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const MIB: u64 = 1 << 20;
/// Sectors of a MiB.
const S: u64 = MIB / 512;

fn served(lab: &Lab) -> (Target, Rpc) {
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    (target, rpc)
}

fn sized(disk: &str, sectors: u64) -> proto::Volume {
    proto::Volume { sectors, ..volume("v", disk, &[A, B]) }
}

fn resize(disk: &str, bytes: u64) {
    File::options().write(true).open(disk).unwrap().set_len(bytes).unwrap();
}

fn sectors(host: &mut Host) -> u64 {
    let answer = host.ata(IDENTIFY, 0xa000_0000, 1, &[]);
    Identity::parse(answer.data().try_into().unwrap()).sectors
}

#[test]
fn a_volume_grows_when_it_is_told_to_and_not_because_its_disk_has() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", MIB);
    let (mut target, mut rpc) = served(&lab);
    assert_eq!(rpc.export(sized(&disk, S)).unwrap().sectors, S);
    let (mut a, b) = (lab.host().named(A), lab.host().named(B));
    while a.announcement().is_some() || b.announcement().is_some() {}
    resize(&disk, 2 * MIB);
    assert_eq!(sectors(&mut a), S);
    assert_eq!(rpc.access("v", &[A, B]).unwrap().sectors, S);
    assert!(!a.write(S, &[1; 512]).good(), "what lies behind the end may be anybody's");
    target.kill();
    let mut target = lab.managed();
    target.wait_for("volume served", "volume not served");
    let mut rpc = target.rpc();
    while a.announcement().is_some() || b.announcement().is_some() {}
    assert_eq!(sectors(&mut a), S, "nor by a restart");

    let state = rpc.export(sized(&disk, 2 * S)).unwrap();
    assert_eq!((state.sectors, state.volume.unwrap().sectors), (2 * S, 2 * S));
    assert!(a.announced().is_some() && b.announced().is_some(), "each host is told");
    assert_eq!(sectors(&mut a), 2 * S);
    assert!(a.write(2 * S - 1, &[1; 512]).good());
    rpc.export(sized(&disk, 2 * S)).unwrap();
    assert!(a.announcement().is_none(), "it has grown before");
    target.kill();
    let mut target = lab.managed();
    target.wait_for("volume served", "volume not served");
    while a.announcement().is_some() {}
    assert_eq!(sectors(&mut a), 2 * S, "it was saved before it was answered");
}

#[test]
fn a_volume_is_never_made_smaller() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 2 * MIB);
    let (mut target, mut rpc) = served(&lab);
    rpc.export(sized(&disk, 2 * S)).unwrap();
    let refused = rpc.export(sized(&disk, S)).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("never made smaller"), "{refused}");
    assert_eq!(rpc.export(sized(&disk, 0)).unwrap().sectors, 2 * S, "an agent that knows no sizes changes none");
    let refused = rpc.export(sized(&disk, 3 * S)).unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
    let mut host = lab.host().named(A);
    assert_eq!(sectors(&mut host), 2 * S, "and it is served as before");
    target.kill();
    resize(&disk, MIB);
    let mut target = lab.managed();
    target.wait_for("volume not served", "volume served");
    assert!(target.log().contains("made smaller"), "{}", target.log());
    resize(&disk, 2 * MIB);
    target.wait_for("volume served", "cannot serve");
}

#[test]
fn a_volume_of_an_earlier_version_has_the_size_of_its_disk_until_it_gets_one_of_its_own() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", MIB);
    let (mut target, mut rpc) = served(&lab);
    rpc.export(sized(&disk, 0)).unwrap();
    let state = lab.folder.join("state/volumes/v.json");
    assert!(!std::fs::read_to_string(&state).unwrap().contains("sectors"), "as that version wrote it");
    target.kill();
    resize(&disk, 2 * MIB);
    let mut target = lab.managed();
    target.wait_for("volume served", "volume not served");
    let mut rpc = target.rpc();
    let mut host = lab.host().named(A);
    assert_eq!(sectors(&mut host), 2 * S);
    assert_eq!(rpc.export(sized(&disk, S)).unwrap_err().code(), tonic::Code::InvalidArgument);
    assert_eq!(rpc.export(sized(&disk, 2 * S)).unwrap().sectors, 2 * S);
    resize(&disk, 3 * MIB);
    assert_eq!(rpc.export(sized(&disk, 0)).unwrap().sectors, 2 * S);
}

#[test]
fn writes_go_on_while_a_volume_grows() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 4 * MIB);
    let (_target, mut rpc) = served(&lab);
    rpc.export(sized(&disk, 4 * S)).unwrap();
    let mut host = lab.host().named(A);
    let written = Arc::new(AtomicU64::new(0));
    let grower = std::thread::spawn({
        let (disk, written) = (disk.clone(), written.clone());
        move || {
            for mib in 5..25 {
                let before = written.load(Ordering::SeqCst);
                resize(&disk, mib * MIB);
                assert_eq!(rpc.export(sized(&disk, mib * S)).unwrap().sectors, mib * S);
                let limit = Instant::now() + LIMIT;
                while written.load(Ordering::SeqCst) == before {
                    assert!(Instant::now() < limit, "no write ends while the volume has {mib} MiB");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    });
    let mut longest = Duration::ZERO;
    while !grower.is_finished() {
        let sent = Instant::now();
        let block = written.load(Ordering::SeqCst) % 512;
        let tag = host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, block * 8, 8, &[7; 4096]));
        loop {
            let answer = host.receive(LIMIT).expect("each write is answered");
            if answer.header.tag == tag {
                assert!(answer.good());
                break;
            }
        }
        longest = longest.max(sent.elapsed());
        written.fetch_add(1, Ordering::SeqCst);
    }
    grower.join().unwrap();
    let written = written.load(Ordering::SeqCst);
    eprintln!("{written} writes during 20 resizes, the longest took {longest:?}");
    assert!(written >= 20);
    assert_eq!(sectors(&mut host), 24 * S);
}
