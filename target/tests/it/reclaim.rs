//! Zeros that take no space: see `disk/reclaim.rs`. `order.rs` has the same for any mix of requests.

use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use aoe_target::wire::SECTOR;

use crate::host::Host;
use crate::lab::{LIMIT, Lab};
use crate::order::Loop;
use crate::proto;

const BYTES: u64 = 1 << 20;
/// Sectors of a frame.
const FRAME: usize = 8;

/// Bytes that a file takes on its disk.
fn taken(path: &str) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

fn write_all(host: &mut Host, byte: u8) {
    for at in (0..BYTES / SECTOR as u64).step_by(FRAME) {
        assert!(host.write(at, &[byte; FRAME * SECTOR]).good());
    }
}

/// Waits until a file takes no more than this.
fn shrinks(path: &str, bytes: u64) {
    let limit = Instant::now() + LIMIT;
    while taken(path) > bytes {
        assert!(Instant::now() < limit, "{path} takes {} bytes", taken(path));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_file_takes_no_space_for_zeros_and_gives_back_what_they_overwrite() {
    for base in ["/tmp", "/dev/shm"] {
        let Some(lab) = Lab::on(base, 9000) else { return };
        let disk = lab.disk("disk", BYTES);
        let target = lab.serve(&["--export", &format!("7.3={disk},reclaim")]);
        let mut host = lab.host();
        write_all(&mut host, 0);
        assert_eq!(taken(&disk), 0, "a hole stays one");
        write_all(&mut host, 7);
        assert!(taken(&disk) >= BYTES);
        write_all(&mut host, 0);
        assert_eq!(taken(&disk), 0);
        assert!(std::fs::read(&disk).unwrap().iter().all(|byte| *byte == 0));
        target.stop();
    }
}

#[test]
fn data_beside_zeros_in_a_block_stays() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", BYTES);
    let _target = lab.serve(&["--export", &format!("7.3={disk},reclaim")]);
    let mut host = lab.host();
    assert!(host.write(0, &[7; 16 * SECTOR]).good());
    // From the middle of the first block to the middle of the second one, then a whole block less a sector.
    assert!(host.write(4, &[0; 8 * SECTOR]).good());
    let mut expected = [7u8; 16 * SECTOR];
    expected[4 * SECTOR..12 * SECTOR].fill(0);
    assert!(std::fs::read(&disk).unwrap()[..expected.len()] == expected);
    assert!(host.write(8, &[0; 7 * SECTOR]).good());
    expected[8 * SECTOR..15 * SECTOR].fill(0);
    assert!(std::fs::read(&disk).unwrap()[..expected.len()] == expected);
    assert!(host.read(0, 16).data()[..expected.len()] == expected);
}

#[test]
fn a_volume_without_it_keeps_its_space() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", BYTES);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    write_all(&mut lab.host(), 0);
    assert!(taken(&disk) >= BYTES);
}

#[test]
fn a_device_gives_back_chunks_whose_frames_came_one_by_one() {
    let Some(lab) = Lab::new(1500) else { return };
    let file = lab.disk("file", BYTES);
    let Some(device) = Loop::new(&file, &[]) else { return };
    let _target = lab.serve(&["--export", &format!("7.3={},reclaim", device.0)]);
    let mut host = lab.host();
    for at in (0..BYTES / SECTOR as u64).step_by(2) {
        assert!(host.write(at, &[7; 2 * SECTOR]).good());
    }
    assert!(taken(&file) >= BYTES);
    // All but the last sector.
    for at in 0..BYTES / SECTOR as u64 - 1 {
        assert!(host.write(at, &[0; SECTOR]).good());
    }
    shrinks(&file, 4096);
    let found = host.read(BYTES / SECTOR as u64 - 2, 2);
    assert!(found.data()[..SECTOR].iter().all(|byte| *byte == 0) && found.data()[SECTOR..2 * SECTOR].iter().all(|byte| *byte == 7));
}

#[test]
fn it_is_turned_on_and_off_while_the_volume_is_served_and_counted() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", BYTES);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[crate::lab::TARGET]).unwrap();
    let mut host = lab.host();
    let access = Some(proto::Access { anyone: true, ..Default::default() });
    let volume = proto::Volume { uid: "v".into(), shelf: 7, slot: 3, path: disk.clone(), serial: "S".into(), access, ..Default::default() };
    let mut export = |reclaim: bool| {
        let state = rpc.export(proto::Volume { reclaim, ..volume.clone() }).unwrap();
        assert_eq!(state.volume.unwrap().reclaim, reclaim);
        let stats = rpc.runtime.block_on(rpc.client.get_stats(proto::GetStatsRequest {})).unwrap().into_inner();
        stats.volumes.first().map_or(0, |volume| volume.reclaimed)
    };
    export(false);
    write_all(&mut host, 7);
    write_all(&mut host, 0);
    assert!(taken(&disk) >= BYTES);
    assert_eq!(export(true), 0);
    write_all(&mut host, 0);
    assert_eq!(taken(&disk), 0);
    assert_eq!(export(false), BYTES);
    write_all(&mut host, 0);
    assert!(taken(&disk) >= BYTES);
}
