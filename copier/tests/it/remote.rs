//! Copies of disks on the segment.

use std::time::{Duration, Instant};

use aoe_copier::proto::Phase;
use aoe_copier::proto::job::Source;

use crate::copier::Copier;
use crate::lab::{HOST, Lab, assert_same, ip, wait_until};

const MIB: u64 = 1 << 20;
/// Not of whole pieces, nor of whole 4 KiB.
const ODD: u64 = 24 * MIB + 512;

#[test]
fn a_disk_is_copied_and_verified_at_any_mtu() {
    for mtu in [1500, 9000] {
        let Some(lab) = Lab::new(mtu) else { return };
        let (source, destination) = (lab.data("source", ODD), lab.empty("destination", ODD));
        let _target = lab.serve(&source, "SERIAL7");
        let mut copier = Copier::start(&lab);
        copier.begin(&lab.remote("a", ODD, &destination));
        let state = copier.until_verified("a");
        assert_eq!((state.copied, state.verified, state.repaired, state.problem.as_str()), (ODD, ODD, 0, ""));
        assert_same(&source, &destination, ODD);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&destination).unwrap()) * 512;
        assert!(blocks < ODD * 3 / 4, "zeros are not written where there are zeros: {blocks}");
        copier.terminate();
    }
}

#[test]
fn a_destination_that_is_not_zeroed_is_zeroed_where_the_source_is() {
    let Some(lab) = Lab::new(9000) else { return };
    let (source, destination) = (lab.data("source", ODD), lab.path("destination"));
    std::fs::write(&destination, vec![0x55; ODD as usize + 4096]).unwrap();
    let _target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    let mut job = lab.remote("a", ODD, &destination);
    job.destination.as_mut().unwrap().zeroed = false;
    copier.begin(&job);
    copier.until_verified("a");
    assert_same(&source, &destination, ODD);
    let after = std::fs::read(&destination).unwrap();
    assert!(after[ODD as usize..].iter().all(|byte| *byte == 0x55), "what lies behind the copy is left alone");
}

#[test]
fn a_cable_that_loses_repeats_and_delays_frames_costs_time_only() {
    for (mtu, per_mille) in [(1500, 10), (9000, 50)] {
        let Some(lab) = Lab::lossy(mtu, per_mille) else { return };
        let bytes = 8 * MIB;
        let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
        let _target = lab.serve(&source, "SERIAL7");
        let mut copier = Copier::start(&lab);
        copier.begin(&lab.remote("a", bytes, &destination));
        let state = copier.until_verified("a");
        assert_eq!(state.repaired, 0);
        assert_same(&source, &destination, bytes);
    }
}

#[test]
fn a_segment_that_carries_only_short_packets_is_used_with_short_ones() {
    let Some(lab) = Lab::lossy(9000, 0) else { return };
    // In the middle, as in a switch, where neither end sees it.
    ip(&["link", "set", "h1", "mtu", "1500"]);
    ip(&["link", "set", "t1", "mtu", "1500"]);
    let bytes = 4 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let _target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    copier.begin(&lab.remote("a", bytes, &destination));
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
}

#[test]
fn a_target_that_is_killed_in_the_middle_is_waited_for() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 32 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let mut target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    let mut job = lab.remote("a", bytes, &destination);
    job.bytes_per_second = 2 * MIB;
    copier.begin(&job);
    copier.until("a", "some of it is copied", |state| state.copied > 0);
    target.kill();
    let state = copier.until_problem("a", "e7.3 does not answer on h0; the job goes on when it does");
    assert_eq!(state.phase(), Phase::Copying);
    assert!(state.problem.starts_with("copy a (volume v): ") && state.problem_since > 0, "{}", state.problem);
    let copied = state.copied;
    let _target = lab.serve(&source, "SERIAL7");
    copier.until("a", "it goes on", |state| state.copied > copied && state.problem.is_empty());
    job.bytes_per_second = 0;
    copier.begin(&job);
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
}

#[test]
fn another_disk_that_takes_the_address_in_the_middle_is_not_copied() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 32 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let mut target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    let mut job = lab.remote("a", bytes, &destination);
    job.bytes_per_second = 2 * MIB;
    copier.begin(&job);
    copier.until("a", "some of it is copied", |state| state.copied > 0);
    target.kill();
    let other = lab.path("other");
    std::fs::write(&other, vec![0x77; bytes as usize]).unwrap();
    // At once: requests that were not answered go to it.
    let mut target = lab.serve(&other, "SERIAL8");
    let state = copier.until_phase("a", Phase::Failed);
    assert!(state.problem.contains("has the serial number \"SERIAL8\", and the job means the one with \"SERIAL7\""), "{}", state.problem);
    assert_same(&source, &destination, state.copied);
    target.kill();
    let _target = lab.serve(&source, "SERIAL7");
    job.bytes_per_second = 0;
    copier.begin(&job);
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
}

#[test]
fn an_interface_that_goes_away_is_waited_for() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 16 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let _target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    let mut job = lab.remote("a", bytes, &destination);
    job.bytes_per_second = MIB;
    copier.begin(&job);
    copier.until("a", "some of it is copied", |state| state.copied > 0);
    ip(&["link", "set", HOST, "down"]);
    copier.until_problem("a", "no interface to the source can be used (h0: it is down)");
    ip(&["link", "set", HOST, "up"]);
    job.bytes_per_second = 0;
    copier.begin(&job);
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
}

#[test]
fn two_interfaces_share_the_work_and_one_does_it_alone() {
    let Some(lab) = Lab::new(9000) else { return };
    ip(&["link", "add", "h2", "mtu", "9000", "type", "veth", "peer", "name", "t2", "mtu", "9000"]);
    ip(&["link", "set", "h2", "up"]);
    ip(&["link", "set", "t2", "up"]);
    let bytes = 32 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let log = lab.folder.join("target.log");
    let export = format!("7.3={source},ro,serial=SERIAL7");
    let mut target = crate::lab::start("aoe-target", &["--interface", "t0,t2", "--export", &export], &log);
    wait_until("the target serves", || std::fs::read_to_string(&log).unwrap().contains("volume served").then_some(()));
    let mut copier = Copier::start(&lab);
    let mut job = lab.remote("a", bytes, &destination);
    job.bytes_per_second = 3 * MIB;
    let Some(Source::Aoe(source_of)) = &mut job.source else { unreachable!() };
    source_of.interfaces = vec!["h0".into(), "missing".into(), "h2".into()];
    let sent = |name: &str| -> u64 {
        std::fs::read_to_string(format!("/proc/self/task/{}/net/dev", gettid()))
            .unwrap()
            .lines()
            .find_map(|line| {
                line.trim().strip_prefix(&format!("{name}:")).map(|rest| rest.split_whitespace().nth(9).unwrap().parse().unwrap())
            })
            .unwrap()
    };
    // An interface that answers late is left out until the next attempt: then it begins again.
    for attempt in 1.. {
        let before = (sent("h0"), sent("h2"));
        copier.begin(&job);
        copier.until("a", "some of it is copied", |state| state.copied > 0);
        let (one, other) = (sent("h0") - before.0, sent("h2") - before.1);
        if one > 20 && other > 20 {
            break;
        }
        assert!(attempt < 5, "both are used: {one} {other}");
        copier.remove("a").unwrap();
        lab.empty("destination", bytes);
    }
    ip(&["link", "set", "h2", "down"]);
    let before = copier.get("a").unwrap().copied;
    copier.until("a", "it goes on with one", |state| state.copied > before + 4 * MIB);
    job.bytes_per_second = 0;
    copier.begin(&job);
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
    let _ = target.kill();
    let _ = target.wait();
}

fn gettid() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::gettid() }
}

#[test]
fn only_the_ranges_of_the_job_are_read() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 64 * MIB;
    let source = lab.empty("source", bytes);
    let file = std::fs::File::options().write(true).open(&source).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[9; 8192], 40 * MIB).unwrap();
    let destination = lab.empty("destination", bytes);
    let _target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    let mut job = lab.remote("a", bytes, &destination);
    job.ranges = vec![aoe_copier::proto::Range { offset: 40 * MIB, bytes: 65536 }];
    copier.begin(&job);
    let state = copier.until_verified("a");
    assert_eq!(state.read, 2 * 65536);
    assert_same(&source, &destination, bytes);
}

/// Whether a job reads as fast as it may, and how many bytes it read in three seconds. It never reads faster. It reads a MiB at once.
fn reads_at(copier: &mut Copier, rate: u64) -> (bool, u64) {
    let start = Instant::now();
    let before = copier.get("a").unwrap().read;
    let shortest = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    let shortest = shortest.elapsed();
    let read = copier.get("a").unwrap().read - before;
    let allowed = |time: Duration| rate as f64 * time.as_secs_f64();
    let most = allowed(start.elapsed()) * 1.1 + MIB as f64;
    assert!(read as f64 <= most, "{read} bytes, and {most:.0} are allowed");
    (read as f64 >= allowed(shortest) * 0.9 - MIB as f64, read)
}

#[test]
fn the_throttle_holds_and_can_be_changed() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 192 * MIB;
    let source = lab.path("source");
    std::fs::write(&source, vec![1; bytes as usize]).unwrap();
    let destination = lab.empty("destination", bytes);
    let _target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    let mut job = lab.remote("a", bytes, &destination);
    for rate in [4 * MIB, 8 * MIB] {
        job.bytes_per_second = rate;
        copier.begin(&job);
        copier.until("a", "it reads", |state| state.read > 0);
        let mut found = Vec::new();
        // A busy machine may do less for a while.
        while !found.iter().any(|(least, _)| *least) {
            assert!(found.len() < 5, "{found:?}: {rate} bytes a second are allowed");
            found.push(reads_at(&mut copier, rate));
        }
    }
    let state = copier.pause("a").unwrap();
    assert_eq!(state.phase(), Phase::Stopped);
    assert!(copier.peak_kib() <= 32 << 10, "{} KiB", copier.peak_kib());
}
