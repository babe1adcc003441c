//! What can be seen from outside: counters, and traces that tcpdump reads.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aoe_target::wire::ata::command::{READ_EXT, WRITE_EXT};
use aoe_target::wire::header::{self, RESPONSE};
use aoe_target::wire::{Header, HeaderView};
use tonic::Code;

use crate::host::registers;
use crate::lab::{LIMIT, Lab, Rpc, TARGET, Target, program, volume};
use crate::order::at_once;
use crate::proto;

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";

impl Rpc {
    fn stats(&mut self) -> proto::GetStatsResponse {
        self.runtime.block_on(self.client.get_stats(proto::GetStatsRequest {})).unwrap().into_inner()
    }

    /// The counts of volume `v`.
    fn volume_stats(&mut self) -> proto::VolumeStats {
        let volumes = self.stats().volumes;
        volumes.into_iter().find(|volume| volume.uid == "v").unwrap_or_default()
    }
}

fn refused(frames: &[proto::RefusedFrames]) -> Vec<(&str, u64)> {
    frames.iter().map(|each| (each.reason.as_str(), each.frames)).collect()
}

/// A target with volume `v` at e7.3, for A.
fn target(lab: &Lab) -> (Target, Rpc) {
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(volume("v", &disk, &[A])).unwrap();
    (target, rpc)
}

#[test]
fn requests_are_counted_by_volume_initiator_and_kind() {
    for base in ["/tmp", "/dev/shm"] {
        let Some(lab) = Lab::on(base, 9000) else { return };
        let (_target, mut rpc) = target(&lab);
        assert!(rpc.stats().volumes.is_empty(), "nothing happened yet");
        let mut a = lab.host().named(A);
        for block in 0..3 {
            assert!(a.write(block * 8, &[1; 4096]).good());
        }
        assert!(a.read(0, 2).good());
        let stats = rpc.stats();
        let volume = rpc.volume_stats();
        let [initiator] = &volume.initiators[..] else { panic!("{volume:?}") };
        assert_eq!((initiator.mac.as_str(), initiator.repeats, initiator.dropped), (A, 0, 0));
        let (read, write) = (initiator.read.as_ref().unwrap(), initiator.write.as_ref().unwrap());
        assert_eq!((read.bytes, read.errors, read.latency.iter().sum::<u64>()), (1024, 0, 1));
        assert_eq!((write.bytes, write.errors, write.latency.iter().sum::<u64>()), (3 * 4096, 0, 3));
        assert!(initiator.flush.is_none());
        assert_eq!(write.latency.len(), stats.latency_bounds_us.len() + 1);
        let slowest = write.latency.iter().rposition(|count| *count > 0).unwrap();
        assert!(write.latency_sum_ns > 0 && slowest < stats.latency_bounds_us.len(), "{write:?}");
        let [interface] = &stats.interfaces[..] else { panic!() };
        assert_eq!((interface.name.as_str(), interface.received), (TARGET, 4));
        assert!(interface.sent >= 4);
        rpc.unexport("v").unwrap();
        assert!(rpc.stats().volumes.is_empty(), "nothing is left of a volume that is gone");
    }
}

#[test]
fn refused_frames_are_counted_by_reason() {
    let Some(lab) = Lab::new(9000) else { return };
    let (_target, mut rpc) = target(&lab);
    let (mut a, mut b) = (lab.host().named(A), lab.host().named(B));
    b.read(0, 1);
    b.config(4, "b's");
    a.config(4, "a's");
    a.config(3, "other");
    a.read(2048, 1);
    a.read(0, 0);
    a.ata(0x06, 0, 1, &[]);
    a.ask(0xf0, &[0; 36]);
    let (tag, mut frame) = a.frame(7, 3, header::command::ATA, &registers(READ_EXT, 0, 1, &[]));
    frame[14] = 0x20;
    a.raw(&frame);
    a.answer(tag);
    frame[6] = 0xff; // a group cannot ask
    a.raw(&frame);
    a.read(0, 1);
    let expected = [
        ("not_in_force", 2),
        ("lock_held", 1),
        ("version", 1),
        ("unknown_command", 1),
        ("unknown_ata_command", 1),
        ("bad_argument", 1),
        ("beyond_end", 1),
    ];
    assert_eq!(refused(&rpc.volume_stats().refused), expected);
    assert_eq!(refused(&rpc.stats().refused), [("malformed", 1)]);
    assert_eq!(rpc.volume_stats().initiators.len(), 1, "a host that is not admitted is not kept");
}

/// A host counts as one that floods for ten milliseconds. A target that gets no processor for so long serves all that had waited.
const BURSTS: usize = 20;

#[test]
fn repetitions_and_what_is_too_much_are_counted() {
    for _ in 0..BURSTS {
        let Some(lab) = Lab::new(9000) else { return };
        if passed_over_of_a_burst(&lab) > 0 {
            return;
        }
    }
    panic!("nothing was passed over in {BURSTS} bursts");
}

/// Sends overlapping writes at once, more than a host may have outstanding. Each must be counted, once. Gives how many were passed over.
fn passed_over_of_a_burst(lab: &Lab) -> u64 {
    const WRITES: u64 = 400;
    let (target, mut rpc) = target(lab);
    let mut a = lab.host().named(A);
    let write = registers(WRITE_EXT, 8, 8, &[1; 4096]);
    at_once(&target, || {
        // With a new tag each, as Linux does.
        for _ in 0..WRITES {
            a.send(7, 3, header::command::ATA, &write);
        }
    });
    // All overlap: they are done one after the other.
    let limit = Instant::now() + LIMIT;
    loop {
        while a.receive(Duration::from_millis(20)).is_some_and(|answer| answer.header.tag == 0 || answer.good()) {}
        let initiator = &rpc.volume_stats().initiators[0];
        let writes: u64 = initiator.write.iter().flat_map(|write| &write.latency).sum();
        let passed_over: u64 = rpc.stats().refused.iter().filter(|refused| refused.reason == "flood").map(|refused| refused.frames).sum();
        if writes + initiator.dropped + passed_over == WRITES {
            assert_eq!(initiator.repeats, WRITES - passed_over - 1);
            return passed_over;
        }
        assert!(Instant::now() < limit, "{initiator:?}");
    }
}

#[test]
fn what_the_receive_ring_drops_is_counted() {
    const READS: u64 = 3000;
    let Some(lab) = Lab::new(9000) else { return };
    let (target, mut rpc) = target(&lab);
    let mut a = lab.host().named(A);
    at_once(&target, || {
        for _ in 0..READS {
            a.send(7, 3, header::command::ATA, &registers(READ_EXT, 0, 1, &[]));
        }
    });
    let limit = Instant::now() + LIMIT;
    let interface = loop {
        while a.receive(Duration::from_millis(20)).is_some() {}
        let interface = rpc.stats().interfaces.remove(0);
        if interface.received + interface.ring_dropped == READS {
            break interface;
        }
        assert!(Instant::now() < limit, "each of {READS} frames was received or dropped: {interface:?}");
    };
    assert!(interface.ring_dropped > 0, "{interface:?}");
    assert_eq!(rpc.stats().interfaces[0].ring_dropped, interface.ring_dropped, "asking changes nothing");
}

#[test]
fn forged_addresses_are_not_kept_apart_without_end() {
    const HOSTS: u8 = 200;
    let Some(lab) = Lab::new(9000) else { return };
    let (_target, mut rpc) = target(&lab);
    let disk = lab.folder.join("disk");
    let open = volume("v", disk.to_str().unwrap(), &[]);
    rpc.export(proto::Volume { access: Some(proto::Access { anyone: true, ..Default::default() }), ..open }).unwrap();
    for host in 0..HOSTS {
        assert!(lab.host().named(&format!("02:00:00:00:01:{host:02x}")).read(0, 1).good());
    }
    let volume = rpc.volume_stats();
    assert_eq!(volume.initiators.len(), 65);
    let (others, known): (Vec<_>, Vec<_>) = volume.initiators.iter().partition(|initiator| initiator.mac.is_empty());
    let bytes = |initiators: &[&proto::InitiatorStats]| initiators.iter().map(|each| each.read.as_ref().unwrap().bytes).sum::<u64>();
    assert_eq!((bytes(&known), bytes(&others)), (64 * 512, (u64::from(HOSTS) - 64) * 512));
}

struct Record {
    time: f64,
    length: usize,
    data: Vec<u8>,
}

impl Record {
    fn header(&self) -> Header {
        Header::parse(&HeaderView::new_checked(&self.data).unwrap())
    }
}

fn records(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let kept = number(8) as usize;
        let time = f64::from(number(0)) + f64::from(number(4)) / 1e9;
        records.push(Record { time, length: number(12) as usize, data: bytes[16..16 + kept].to_vec() });
        bytes = &bytes[16 + kept..];
    }
    records
}

/// Runs `aoe-target trace` while `work` happens; the file's header, and what comes after it.
fn trace(lab: &Lab, arguments: &[&str], work: impl FnOnce()) -> (Vec<u8>, Vec<u8>) {
    let socket = lab.folder.join("target.sock");
    let mut command = Command::new(env!("CARGO_BIN_EXE_aoe-target"));
    command.args(["trace", "--socket", socket.to_str().unwrap()]).args(arguments);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut header = vec![0; 24];
    out.read_exact(&mut header).expect("the header comes as soon as frames are seen");
    work();
    let mut rest = Vec::new();
    out.read_to_end(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    (header, rest)
}

#[test]
fn a_trace_shows_questions_and_answers_of_a_volume_to_tcpdump() {
    let Some(lab) = Lab::new(9000) else { return };
    let (_target, mut rpc) = target(&lab);
    let other = lab.disk("other", 1 << 20);
    rpc.export(proto::Volume { slot: 4, ..volume("w", &other, &[A]) }).unwrap();
    let mut a = lab.host().named(A);
    let mut tags = Vec::new();
    let (header, frames) = trace(&lab, &["--volume", "v", "--frames", "4", "--snap", "60"], || {
        assert!(a.ask_slot(4, header::command::ATA, &registers(READ_EXT, 0, 1, &[])).good(), "not of this volume");
        tags.push(a.write(0, &[7; 4096]).header.tag);
        tags.push(a.read(0, 8).header.tag);
    });
    let records = records(&frames);
    let seen: Vec<_> = records.iter().map(|record| (record.header().tag, record.header().flags & RESPONSE != 0)).collect();
    assert_eq!(seen, [(tags[0], false), (tags[0], true), (tags[1], false), (tags[1], true)]);
    let lengths: Vec<_> = records.iter().map(|record| (record.length, record.data.len())).collect();
    assert_eq!(lengths, [(4132, 60), (60, 60), (36, 36), (4132, 60)]);
    assert!(records.windows(2).all(|pair| pair[0].time <= pair[1].time));
    let file = lab.folder.join("trace.pcap");
    std::fs::write(&file, [header, frames].concat()).unwrap();
    if let Some(text) = program("tcpdump", &["-nnr", file.to_str().unwrap()]) {
        assert_eq!(text.matches("AoE").count(), 4, "{text}");
    }
}

#[test]
fn a_trace_of_an_initiator_shows_no_other() {
    let Some(lab) = Lab::new(1500) else { return };
    let (_target, _rpc) = target(&lab);
    let (mut a, mut b) = (lab.host().named(A), lab.host().named(B));
    let (_, frames) = trace(&lab, &["--mac", B, "--frames", "2", "--snap", "9000"], || {
        a.read(0, 1);
        b.read(0, 1);
    });
    let records = records(&frames);
    assert_eq!(records[0].header().source, b.mac);
    assert_eq!(records[1].header().destination, b.mac);
    assert_eq!(records[1].data.len(), 60);
}

#[test]
fn nobody_waits_for_the_reader_of_a_trace() {
    const READS: u64 = 1000;
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let (target, _rpc) = target(&lab);
    let mut reader = target.rpc();
    let mut a = lab.host().named(A);
    // A longer one where a machine needs longer for the reads.
    for seconds in [3, 15, 60] {
        let begun = Instant::now();
        let request = proto::TraceRequest { snap: 65_535, seconds, ..proto::TraceRequest::default() };
        let mut stream = reader.runtime.block_on(reader.client.trace(request)).unwrap().into_inner();
        for _ in 0..READS {
            assert!(a.read(0, 16).good());
        }
        let in_time = begun.elapsed() < Duration::from_secs(seconds.into());
        let (mut seen, mut skipped) = (0, 0);
        while let Some(message) = reader.runtime.block_on(stream.message()).unwrap() {
            seen += message.frames.len() as u64;
            skipped = message.skipped;
        }
        if in_time {
            assert!(skipped > 0 && seen > 0);
            assert_eq!(seen + skipped, 2 * READS);
            return;
        }
    }
    panic!("{READS} reads take longer than a minute");
}

#[test]
fn a_trace_that_cannot_be_says_why() {
    let Some(lab) = Lab::new(1500) else { return };
    let (target, mut rpc) = target(&lab);
    let mut open = |request| rpc.runtime.block_on(rpc.client.trace(request)).map(|stream| stream.into_inner());
    let wrong = |status: tonic::Status| status.code();
    let unknown = proto::TraceRequest { uid: "x".into(), ..proto::TraceRequest::default() };
    assert_eq!(open(unknown).map_err(wrong).err(), Some(Code::NotFound));
    let none = proto::TraceRequest { snap: 1, ..proto::TraceRequest::default() };
    assert_eq!(open(none).map_err(wrong).err(), Some(Code::InvalidArgument));
    let mut running: Vec<_> = (0..4).map(|_| open(proto::TraceRequest::default()).unwrap()).collect();
    assert_eq!(open(proto::TraceRequest::default()).map_err(wrong).err(), Some(Code::ResourceExhausted));
    running.pop();
    let limit = Instant::now() + LIMIT;
    while open(proto::TraceRequest::default()).is_err() {
        assert!(Instant::now() < limit, "a reader that is gone makes room");
    }
    target.stop();
    let socket = lab.folder.join("none");
    let mut command = Command::new(env!("CARGO_BIN_EXE_aoe-target"));
    let output = command.args(["trace", "--socket", socket.to_str().unwrap()]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no target answers on"), "{output:?}");
}

#[test]
fn the_target_says_how_long_it_has_not_heard_a_host() {
    let Some(lab) = Lab::new(1500) else { return };
    let (target, mut rpc) = target(&lab);
    let mut heard = move || rpc.runtime.block_on(rpc.client.get_heard(proto::GetHeardRequest {})).unwrap().into_inner();
    let of = |heard: &proto::GetHeardResponse, mac: &str| heard.hosts.iter().find(|host| host.mac == mac).map(|host| host.silent_ms);
    assert_eq!(of(&heard(), B), None, "it never sent anything");
    /// So long a host may be heard again before that is noted.
    const GRAIN_MS: u64 = 250;
    let at_most = |sent: Instant| sent.elapsed().as_millis() as u64 + GRAIN_MS;
    let mut b = lab.host().named(B);
    let sent = Instant::now();
    // Nobody has this address, and nobody answers.
    b.send(200, 9, header::command::CONFIG, &[0; 8]);
    let limit = Instant::now() + LIMIT;
    while of(&heard(), B).is_none() {
        assert!(Instant::now() < limit, "not heard");
    }
    std::thread::sleep(Duration::from_millis(1_300));
    let silent = of(&heard(), B).unwrap();
    assert!((1_000..=at_most(sent)).contains(&silent), "{silent} ms");
    // What waits in the ring while the process is stopped was heard.
    let pid = target.child.id() as i32;
    // SAFETY: signals to a process that this test started.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    let sent = Instant::now();
    b.send(200, 9, header::command::CONFIG, &[0; 8]);
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    let silent = of(&heard(), B).unwrap();
    assert!(silent <= at_most(sent), "{silent} ms");
}
