use std::time::Duration;

use aoe_target::wire::ata::command::WRITE_EXT;
use aoe_target::wire::config::command::*;
use aoe_target::wire::header;

use crate::host::{config, registers};
use crate::lab::{LIMIT, Lab, TARGET, Watchdog, volume};
use crate::order::Loop;
use crate::proto;

const A: &str = "02:00:00:00:00:0a";

#[test]
fn everything_is_served_again_after_a_crash_without_anyone_saying_so() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let mut target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    let mut host = lab.host().named(A);
    assert_eq!(host.config(SET_IF_EMPTY, "holder").string(), "holder");
    target.kill();
    let volumes = lab.folder.join("state/volumes");
    std::fs::write(volumes.join("torn.json"), "{\"uid\": \"torn\"").unwrap();
    std::fs::write(volumes.join(".v.json.tmp"), "{").unwrap();
    let mut target = lab.managed();
    target.wait_for("volume served", "volume not served");
    assert!(target.log().contains("torn.json"));
    assert_eq!(host.announced().expect("it announces itself").header.slot, 3);
    assert_eq!(host.config(READ, "").string(), "holder");
    assert!(host.read(0, 1).good());
    target.stop();
}

#[test]
fn acknowledged_writes_survive_a_crash_in_the_middle_of_writing() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 4 << 20);
    let arguments = ["--export", &format!("7.3={disk}")];
    let mut host = lab.host();
    let mut expected = vec![0u8; 1024];
    for round in 1..=5u8 {
        let mut target = lab.serve(&arguments);
        let sent: Vec<(u32, u64)> = (0..256u64)
            .map(|block| (host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, block * 8, 8, &[round; 4096])), block))
            .collect();
        let mut acknowledged = 0;
        while acknowledged < usize::from(round) * 10 {
            let answer = host.receive(LIMIT).expect("writes are answered");
            if answer.header.tag != 0 {
                acknowledge(&sent, &answer, &mut expected, round);
                acknowledged += 1;
            }
        }
        target.kill();
        while let Some(answer) = host.receive(Duration::from_millis(20)) {
            if answer.header.tag != 0 {
                acknowledge(&sent, &answer, &mut expected, round);
            }
        }
        let found = std::fs::read(&disk).unwrap();
        for (block, round) in expected.iter().enumerate() {
            // A write without an answer may be there, too: then the block is newer, never older, and never mixed.
            let bytes = &found[block * 4096..][..4096];
            assert!(bytes.iter().all(|byte| *byte == bytes[0]) && bytes[0] >= *round, "block {block}");
        }
    }
}

fn acknowledge(sent: &[(u32, u64)], answer: &crate::host::Answer, expected: &mut [u8], round: u8) {
    assert!(answer.good());
    if let Some((_, block)) = sent.iter().find(|(tag, _)| *tag == answer.header.tag) {
        expected[*block as usize] = round;
    }
}

#[test]
fn a_disk_that_is_missing_at_the_start_is_served_when_it_appears() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let moved = format!("{disk}.away");
    let mut target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    target.kill();
    std::fs::rename(&disk, &moved).unwrap();
    let mut target = lab.managed();
    target.wait_for("volume not served", "volume served");
    let mut host = lab.host().named(A);
    assert_eq!(host.read(0, 1).header.error, 3);
    assert_eq!(host.config(READ, "").header.error, 0, "the address is still its own");
    std::fs::rename(&moved, &disk).unwrap();
    target.wait_for("volume served", "cannot serve");
    assert!(host.read(0, 1).good());
}

#[test]
fn a_second_target_with_the_same_state_or_disk_is_refused() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let export = format!("7.3={disk}");
    let _first = lab.serve(&["--export", &export, "--state", &lab.state()]);
    let before = std::time::Instant::now();
    let mut second = lab.start(&["--interface", TARGET, "--export", &export, "--state", &lab.state()]);
    assert!(!second.child.wait().unwrap().success());
    assert!(second.log().contains("another aoe-target"), "{}", second.log());
    assert!(before.elapsed() < LIMIT);
    let mut third = lab.start(&["--interface", TARGET, "--export", &format!("7.4={disk}")]);
    third.wait_for("volume not served", "volume served");
    assert!(third.log().contains("in use"));
}

#[test]
fn a_stop_answers_what_is_under_way() {
    // A device in memory: a slow disk may need longer for the writes than a target has for its end.
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let Some(device) = Loop::new(&lab.disk("disk", 4 << 20), &[]) else { return };
    let target = lab.serve(&["--export", &format!("7.3={}", device.0)]);
    let mut host = lab.host();
    for block in 0..100u64 {
        host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, block * 8, 8, &[3; 4096]));
    }
    target.stop();
    let found = std::fs::read(&device.0).unwrap();
    let written = (0..100).filter(|block| found[block * 4096] == 3).count();
    let mut answered = 0;
    while let Some(answer) = host.receive(Duration::from_millis(20)) {
        answered += usize::from(answer.header.tag != 0 && answer.good());
    }
    assert_eq!(answered, written);
}

#[test]
fn a_stop_takes_less_than_a_second_whatever_the_answers_wait_for() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    let limits = Some(proto::Limits { iops: 10, ..Default::default() });
    rpc.export(proto::Volume { limits, ..volume("limited", &lab.disk("limited", 1 << 20), &[A]) }).unwrap();
    rpc.export(proto::Volume { slot: 4, serial: "SERIAL8".into(), ..volume("held", &lab.disk("held", 1 << 20), &[A]) }).unwrap();
    rpc.hold("held", 0).unwrap();
    let mut host = lab.host().named(A);
    let mut tags = Vec::new();
    for slot in [3, 4] {
        for block in 0..20 {
            tags.push(host.send(7, slot, header::command::ATA, &registers(WRITE_EXT, block * 8, 8, &[5; 4096])));
        }
        // Its answer shows that all before it was taken.
        let tag = host.send(7, slot, header::command::CONFIG, &config(READ, ""));
        host.answer_kept(tag);
    }
    let watchdog = Watchdog::start();
    let took = target.terminate().saturating_sub(watchdog.late());
    assert!(took < Duration::from_secs(1), "{took:?}");
    for tag in tags {
        assert!(host.answer_kept(tag).good());
    }
}
