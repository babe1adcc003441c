use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use aoe_target::wire::ata::command::{READ_EXT, WRITE_EXT};
use aoe_target::wire::config::command::{FORCE, READ};
use aoe_target::wire::header::{self, ANY_SHELF, ANY_SLOT};

use crate::host::{Host, config, registers};
use crate::lab::{LIMIT, Lab};

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
        // An admitted host could rightly lock itself out with a frame that happens to be an edit of a list.
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
        answered += usize::from(read_again(&mut host, 100).is_some());
    }
    assert_eq!(answered, 20);
}

/// Reads a sector. Frames may be lost where the flood fills the ring; then they are sent again, as by any initiator, and an answer
/// to any of them counts. Gives how often it was sent.
fn read_again(host: &mut Host, sector: u64) -> Option<usize> {
    let limit = Instant::now() + LIMIT;
    let mut tags = Vec::new();
    while Instant::now() < limit {
        tags.push(host.send(7, 3, header::command::ATA, &registers(READ_EXT, sector, 1, &[])));
        let end = Instant::now() + Duration::from_millis(20);
        let left = || end.saturating_duration_since(Instant::now());
        if std::iter::from_fn(|| host.receive(left())).any(|answer| tags.contains(&answer.header.tag)) {
            return Some(tags.len());
        }
    }
    None
}

#[test]
fn all_reads_of_one_host_are_answered_while_another_sends_all_it_can() {
    /// From so many frames on it is a flood.
    const FLOOD: usize = 1000;
    const LONGEST: Duration = Duration::from_secs(300);
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let (mut flood, mut host) = (lab.host().named("02:00:00:00:00:0f"), lab.host());
    let enough = AtomicBool::new(false);
    let (begin, begun) = mpsc::channel();
    let (tries, lasted) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let (mut sent, limit) = (0, Instant::now() + LONGEST);
            while !enough.load(Ordering::Relaxed) && Instant::now() < limit {
                if sent == FLOOD {
                    begin.send(()).unwrap();
                }
                flood.send(7, 3, header::command::ATA, &registers(READ_EXT, 0, 1, &[]));
                flood.send(7, 3, header::command::ATA, &registers(WRITE_EXT, sent as u64 % 2000, 8, &[1; 4096]));
                flood.send(ANY_SHELF, ANY_SLOT, header::command::CONFIG, &config(READ, ""));
                flood.send(7, 3, header::command::CONFIG, &config(FORCE, if sent.is_multiple_of(2) { "a" } else { "b" }));
                sent += 4;
            }
            enough.load(Ordering::Relaxed)
        });
        begun.recv_timeout(LIMIT).expect("the flood has begun");
        let tries: Vec<Option<usize>> = (0..100).map(|sector| read_again(&mut host, sector)).collect();
        enough.store(true, Ordering::Relaxed);
        (tries, flooding.join().unwrap())
    });
    assert_eq!(tries.iter().position(Option::is_none), None);
    assert!(lasted, "the flood ended too early: {tries:?}");
    assert!(target.log().contains("more frames than the buffer counts allow"), "{}", target.log());
}
