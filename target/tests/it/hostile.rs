use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use aoe_target::wire::ata::command::{READ_EXT, WRITE_EXT};
use aoe_target::wire::header::{self, ANY_SHELF};

use crate::host::registers;
use crate::lab::Lab;

#[test]
fn garbage_neither_stops_the_target_nor_changes_the_disk() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let mut host = lab.host();
    let mut target = lab.serve(&["--export", &format!("7.3={disk},ro,mac={}", host.mac)]);
    let mut stranger = lab.host().named("02:00:00:00:00:0f");
    let frame = (
        prop::sample::select(vec![7u16, 7, 7, ANY_SHELF, 0]),
        prop::sample::select(vec![3u8, 3, 3, 0xff, 0]),
        prop::sample::select(vec![0u8, 0, 1, 2, 3, 4, 0xf0]),
        prop::collection::vec(any::<u8>(), 0..80),
        any::<prop::sample::Index>(),
    );
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    for _ in 0..3000 {
        let (shelf, slot, command, argument, cut) = frame.new_tree(&mut runner).unwrap().current();
        // Who is in force could lock itself out, rightly, with what happens to be an edit of a list.
        let lists = matches!(command, header::command::MASK | header::command::RESERVE);
        let sender = if lists { &mut stranger } else { &mut host };
        let (_, mut frame) = sender.frame(shelf, slot, command, &argument);
        if cut.index(4) == 0 {
            frame.truncate(14 + cut.index(frame.len() - 14));
        }
        host.raw(&frame);
    }
    while host.receive(Duration::from_millis(50)).is_some() {}
    assert!(host.read(0, 1).good());
    assert!(target.child.try_wait().unwrap().is_none(), "{}", target.log());
    assert_eq!(std::fs::read(&disk).unwrap(), vec![0; 1 << 20]);
}

#[test]
fn a_flood_from_one_host_does_not_shut_others_out() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut flood = lab.host().named("02:00:00:00:00:0f");
    let mut host = lab.host();
    let mut answered = 0;
    for _ in 0..20 {
        for _ in 0..500 {
            // All overlap: only one at a time can be done.
            flood.send(7, 3, header::command::ATA, &registers(WRITE_EXT, 0, 8, &[1; 4096]));
        }
        // Frames may be lost on the way; then they are sent again.
        for _ in 0..10 {
            let tag = host.send(7, 3, header::command::ATA, &registers(READ_EXT, 100, 1, &[]));
            let end = Instant::now() + Duration::from_millis(100);
            let left = || end.saturating_duration_since(Instant::now());
            if std::iter::from_fn(|| host.receive(left())).any(|answer| answer.header.tag == tag) {
                answered += 1;
                break;
            }
        }
    }
    assert_eq!(answered, 20);
}
