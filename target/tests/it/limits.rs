//! Volumes with limits.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use aoe_target::wire::ata::command::{READ_EXT, WRITE_EXT};
use aoe_target::wire::header;
use tonic::Code;

use crate::host::{Answer, Host, config, registers};
use crate::lab::{LIMIT, Lab, Rpc, TARGET, Target, volume};
use crate::order::Loop;
use crate::proto;

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
/// Tags of all hosts are alike, so that each load needs an address of its own.
const C: &str = "02:00:00:00:00:0c";
/// Sectors of 4 KiB.
const BLOCK: u64 = 8;

fn limited(disk: &str, limits: proto::Limits) -> proto::Volume {
    proto::Volume { limits: Some(limits), ..volume("v", disk, &[A, B]) }
}

fn iops(iops: u64) -> proto::Limits {
    proto::Limits { iops, ..Default::default() }
}

fn serve(lab: &Lab, limits: proto::Limits) -> (String, Target, Rpc) {
    let disk = lab.disk("disk", 16 << 20);
    let (target, rpc) = serve_disk(lab, &disk, limits);
    (disk, target, rpc)
}

fn serve_disk(lab: &Lab, disk: &str, limits: proto::Limits) -> (Target, Rpc) {
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(limited(disk, limits)).unwrap();
    (target, rpc)
}

/// Keeps to its window, as the Linux driver does, and asks for blocks here and there.
struct Load {
    host: Host,
    slot: u8,
    command: u8,
    window: usize,
    /// Sectors of a frame.
    sectors: u8,
    next: u64,
    under_way: HashMap<u32, Instant>,
    latencies: Vec<Duration>,
}

impl Load {
    fn new(mut host: Host, slot: u8, command: u8) -> Load {
        let told = host.ask_slot(slot, header::command::CONFIG, &config(0, "")).config();
        let sectors = told.sectors.min(BLOCK as u8);
        let (under_way, latencies) = (HashMap::new(), Vec::new());
        Load { host, slot, command, window: told.buffers.into(), sectors, next: 0, under_way, latencies }
    }

    /// Blocks that were done in this time.
    fn run(&mut self, time: Duration) -> f64 {
        let begun = Instant::now();
        let before = self.latencies.len();
        while begun.elapsed() < time {
            while self.under_way.len() < self.window {
                let frames = BLOCK / u64::from(self.sectors);
                let block = self.next / frames * 37 % 2000;
                let sector = block * BLOCK + self.next % frames * u64::from(self.sectors);
                let data = vec![7; if self.command == WRITE_EXT { usize::from(self.sectors) * 512 } else { 0 }];
                let tag = self.host.send(7, self.slot, header::command::ATA, &registers(self.command, sector, self.sectors, &data));
                self.under_way.insert(tag, Instant::now());
                self.next += 1;
            }
            let Some(answer) = self.host.receive(time.saturating_sub(begun.elapsed())) else { break };
            self.take(&answer);
        }
        let frames = self.latencies.len() - before;
        frames as f64 * f64::from(self.sectors) / BLOCK as f64
    }

    /// Forgets what is under way. All hosts on the cable get all answers: while this one did not look, its own may have been lost.
    fn begin_anew(&mut self) {
        while let Some(answer) = self.host.receive(Duration::ZERO) {
            self.take(&answer);
        }
        self.under_way.clear();
        self.latencies.clear();
    }

    /// Sends nothing until all is answered.
    fn wait_for_all(&mut self) {
        while !self.under_way.is_empty() {
            let answer = self.host.receive(LIMIT).expect("an answer");
            self.take(&answer);
        }
    }

    fn take(&mut self, answer: &Answer) {
        if let Some(sent) = self.under_way.remove(&answer.header.tag) {
            assert!(answer.good());
            self.latencies.push(sent.elapsed());
        } else if answer.header.tag == 0 && answer.header.slot == self.slot {
            self.window = answer.config().buffers.into();
        }
    }
}

/// Whether something is so in one of five attempts: a busy machine may be slow for a while. The error says what was found instead.
fn in_one_of_five(mut attempt: impl FnMut() -> Result<(), String>) {
    let mut found = Vec::new();
    for _ in 0..5 {
        match attempt() {
            Ok(()) => return,
            Err(instead) => found.push(instead),
        }
    }
    panic!("in none of five attempts: {found:?}");
}

fn when(is_so: bool, otherwise: impl Debug) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(format!("{otherwise:?}")) }
}

/// Pairs of what is done and what a limit allows: more than that is never done, and not always less.
fn assert_about<const N: usize>(mut measure: impl FnMut() -> [(f64, f64); N]) {
    in_one_of_five(|| {
        let pairs = measure();
        assert!(pairs.iter().all(|(found, allowed)| *found < allowed * 1.1), "(found, allowed): {pairs:?}");
        when(pairs.iter().all(|(found, allowed)| *found >= allowed * 0.75), pairs)
    });
}

#[test]
fn a_limit_holds_for_reads_and_writes_at_every_mtu() {
    // A file in memory is written at once, a device by the kernel.
    for (mtu, on_device, command) in [(9000, false, WRITE_EXT), (1500, false, READ_EXT), (1500, true, WRITE_EXT)] {
        let Some(lab) = Lab::on("/dev/shm", mtu) else { return };
        let file = lab.disk("disk", 16 << 20);
        let device = if on_device { Loop::new(&file, &[]) } else { None };
        let (target, _) = serve_disk(&lab, device.as_ref().map_or(&file, |device| &device.0), iops(200));
        let mut load = Load::new(lab.host().named(A), 3, command);
        assert!(load.window < 64, "{}", load.window);
        assert_about(|| [(load.run(Duration::from_secs(3)), 600.0)]);
        target.stop();
    }
}

#[test]
fn bytes_are_limited_and_reads_and_writes_apart_and_what_is_saved_up_comes_first() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let limits = proto::Limits { read_bytes_per_second: 1 << 20, write_iops: 100, ..Default::default() };
    let (disk, target, mut rpc) = serve(&lab, limits);
    let mut reads = Load::new(lab.host().named(A), 3, READ_EXT);
    let mut writes = Load::new(lab.host().named(B), 3, WRITE_EXT);
    assert_about(|| {
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| reads.run(Duration::from_secs(3)));
            let written = writes.run(Duration::from_secs(3));
            [(written, 300.0), (reader.join().unwrap(), 3.0 * 256.0)]
        })
    });
    rpc.export(limited(&disk, proto::Limits { burst_seconds: 2, ..iops(100) })).unwrap();
    in_one_of_five(|| {
        std::thread::sleep(Duration::from_secs(2));
        let begun = Instant::now();
        let (burst, then) = (writes.run(Duration::from_secs(1)), writes.run(Duration::from_secs(2)));
        let allowed = 200.0 + 100.0 * begun.elapsed().as_secs_f64();
        assert!(burst < 330.0, "{burst}: what was saved up in two seconds, and one more");
        assert!(burst + then < allowed * 1.1, "{burst} and {then} where {allowed} are allowed");
        // Less of a burst leaves more for later.
        when(burst >= 240.0 && (150.0..220.0).contains(&then), (burst, then))
    });
    target.stop();
}

#[test]
fn all_hosts_share_one_limit_and_a_neighbour_does_not_feel_it() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (_, target, mut rpc) = serve(&lab, iops(300));
    let other = lab.disk("other", 16 << 20);
    rpc.export(proto::Volume { slot: 4, serial: "S4".into(), ..volume("w", &other, &[C]) }).unwrap();
    let mut neighbour = Load::new(lab.host().named(C), 4, WRITE_EXT);
    neighbour.window = 1;
    let time = Duration::from_secs(3);
    // As fast as this machine is.
    let alone = neighbour.run(time);
    let mut hosts = [A, B].map(|mac| Load::new(lab.host().named(mac), 3, WRITE_EXT));
    in_one_of_five(|| {
        hosts.iter_mut().chain([&mut neighbour]).for_each(Load::begin_anew);
        let [a, b] = &mut hosts;
        let begun = Instant::now();
        let (a, b, free) = std::thread::scope(|scope| {
            let a = scope.spawn(|| a.run(time));
            let b = scope.spawn(|| b.run(time));
            let free = neighbour.run(time);
            (a.join().unwrap(), b.join().unwrap(), free)
        });
        let allowed = 300.0 * begun.elapsed().as_secs_f64(); // one may begin later than the other
        assert!(a + b < allowed * 1.1, "{a} and {b} where {allowed} are allowed");
        neighbour.latencies.sort();
        let late = neighbour.latencies[neighbour.latencies.len() * 99 / 100];
        let shared = a + b >= 900.0 * 0.75 && a / b > 0.5 && b / a > 0.5;
        // The limit would leave it less than both have, and much less than it has alone, however unsteady the machine is.
        let unfelt = free >= alone / 10.0 && free > 2.0 * (a + b) && late < Duration::from_millis(50);
        when(shared && unfelt, (a, b, free, alone, late))
    });
    target.stop();
}

#[test]
fn limits_are_changed_while_a_host_writes_and_outlive_a_restart() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (disk, mut target, mut rpc) = serve(&lab, iops(100));
    let mut load = Load::new(lab.host().named(A), 3, WRITE_EXT);
    let second = Duration::from_secs(1);
    load.run(second / 2);
    let state = rpc.export(limited(&disk, iops(400))).unwrap();
    assert_eq!(state.volume.unwrap().limits, Some(iops(400)));
    load.run(second / 2);
    assert_about(|| [(load.run(2 * second), 800.0)]);
    let state = rpc.export(volume("v", &disk, &[A, B])).unwrap();
    assert_eq!(state.volume.unwrap().limits, Some(iops(400)), "an agent that knows no limits changes none");
    target.kill();
    let mut target = lab.managed();
    target.wait_for("volume served", "volume not served");
    load.under_way.clear();
    load.run(second / 2);
    assert_about(|| [(load.run(2 * second), 800.0)]);
    let mut rpc = target.rpc();
    assert_eq!(rpc.access("v", &[A]).unwrap().volume.unwrap().limits, Some(iops(400)));
    let state = rpc.export(limited(&disk, proto::Limits::default())).unwrap();
    assert_eq!(state.volume.unwrap().limits, Some(proto::Limits::default()));
    in_one_of_five(|| {
        let free = load.run(second);
        when(free > 2.0 * 400.0, free)
    });
    assert_eq!(load.window, 64, "the host is told");
    target.stop();
}

#[test]
fn a_host_whose_answers_wait_when_the_limits_are_taken_away_is_told_at_once() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (disk, target, mut rpc) = serve(&lab, iops(10));
    let mut load = Load::new(lab.host().named(A), 3, WRITE_EXT);
    in_one_of_five(|| {
        load.run(Duration::from_secs(1));
        assert_eq!(load.window, 2);
        // On a busy machine all answers may have left before. From here on the host sends nothing.
        rpc.export(limited(&disk, proto::Limits::default())).unwrap();
        load.wait_for_all();
        while load.window != 64
            && let Some(told) = load.host.announcement()
        {
            load.take(&told);
        }
        let told = load.window;
        rpc.export(limited(&disk, iops(10))).unwrap();
        when(told == 64, told)
    });
    target.stop();
}

#[test]
fn a_host_that_was_idle_when_the_limits_were_taken_away_is_told_with_its_next_request() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (disk, target, mut rpc) = serve(&lab, iops(400));
    let mut load = Load::new(lab.host().named(A), 3, WRITE_EXT);
    load.run(Duration::from_secs(1));
    load.wait_for_all();
    assert_eq!(load.window, 16);
    rpc.export(limited(&disk, proto::Limits::default())).unwrap();
    load.run(Duration::from_secs(1));
    // It has asked; on a machine that stood still it is told later.
    while load.window != 64 {
        let told = load.host.announced().expect("it is told");
        load.take(&told);
    }
    target.stop();
}

#[test]
fn only_hosts_with_requests_under_way_are_told_their_window_unasked() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (disk, target, mut rpc) = serve(&lab, proto::Limits::default());
    let (mut a, mut b) = (lab.host().named(A), lab.host().named(B));
    while a.announcement().is_some() || b.announcement().is_some() {}
    rpc.export(limited(&disk, iops(100))).unwrap();
    assert!(a.announcement().is_none() && b.announcement().is_none());
    a.send(7, 3, header::command::ATA, &registers(READ_EXT, 0, 8, &[]));
    assert_eq!(a.announced().expect("it has a request under way").config().buffers, 4);
    assert!(b.announcement().is_none());
    assert_eq!(b.config(0, "").config().buffers, 4, "but whoever asks is told");
    target.stop();
}

#[test]
fn a_repeated_request_costs_nothing_and_requests_that_are_no_data_do_not_wait() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (_, target, mut rpc) = serve(&lab, iops(10));
    let mut host = lab.host().named(A);
    let write = |host: &mut Host, block: u64| host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, block * BLOCK, 8, &[1; 4096]));
    let begun = Instant::now();
    // Slower and slower, as a host with one request at a time sees it.
    let (mut tags, mut at_once) = (Vec::new(), 0);
    for block in 0..6 {
        tags.push(write(&mut host, block * 3));
        for _ in 0..20 {
            tags.push(write(&mut host, block * 3));
        }
        let asked = Instant::now();
        let tag = host.send(7, 3, header::command::CONFIG, &config(0, ""));
        assert!(host.answer_kept(tag).header.flags == header::RESPONSE);
        at_once += usize::from(asked.elapsed() < Duration::from_millis(100));
    }
    assert!(at_once >= 3, "{at_once} of six");
    for tag in tags {
        assert!(host.answer_kept(tag).good());
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "126 requests at ten a second would take longer: {:?}", begun.elapsed());
    let stats = rpc.runtime.block_on(rpc.client.get_stats(proto::GetStatsRequest {})).unwrap().into_inner();
    let initiator = &stats.volumes[0].initiators[0];
    assert!(initiator.repeats > 0);
    assert!(initiator.throttled_ns > 0 && initiator.throttled_ns < begun.elapsed().as_nanos() as u64, "{initiator:?}");
    target.stop();
}

#[test]
fn nothing_waits_for_answers_that_are_kept_back() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (disk, target, mut rpc) = serve(&lab, iops(10));
    let mut load = Load::new(lab.host().named(A), 3, WRITE_EXT);
    load.run(Duration::from_secs(1));
    // Six seconds of answers, and later two more.
    load.window = 60;
    load.run(Duration::from_millis(100));
    let begun = Instant::now();
    rpc.access("v", &[B]).unwrap();
    // What was done is answered when its host is cut off.
    load.wait_for_all();
    rpc.access("v", &[A]).unwrap();
    load.window = 20;
    load.run(Duration::from_millis(50));
    rpc.unexport("v").unwrap();
    rpc.export(limited(&disk, iops(10))).unwrap();
    load.under_way.clear();
    load.run(Duration::from_millis(50));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    target.stop();
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (disk, target, mut rpc) = serve(&lab, proto::Limits::default());
    let bad = [
        (iops(1), "requests per second"),
        (proto::Limits { write_bytes_per_second: 4096, ..Default::default() }, "bytes per second"),
        (proto::Limits { burst_seconds: 3601, ..iops(10) }, "burst"),
    ];
    for (limits, word) in bad {
        let refused = rpc.export(limited(&disk, limits)).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(word), "{refused}");
    }
    let most = proto::Limits { iops: u64::MAX, bytes_per_second: u64::MAX, ..Default::default() };
    assert_eq!(rpc.export(limited(&disk, most)).unwrap().volume.unwrap().limits, Some(most));
    let mut load = Load::new(lab.host().named(A), 3, WRITE_EXT);
    in_one_of_five(|| {
        let mut under = |limits| {
            rpc.export(limited(&disk, limits)).unwrap();
            load.run(Duration::from_millis(500))
        };
        let (free, found) = (under(proto::Limits::default()), under(most));
        when(found >= free / 2.0, (free, found))
    });
    target.stop();
}
