//! Linux hosts at a volume with limits, on a clock of its own: whether limits hold, and whether a host ever sends a request again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::Pacer;
use super::rto::Rto;
use crate::definition::Limits;
use crate::disk::engine::Kind;
use crate::serve::data::slots::Request;
use crate::serve::testing::{A, request};
use crate::wire::{Mac, SECTOR};

const MS: Duration = Duration::from_millis(1);
/// How often the driver looks for what it has to send again (TIMERTICK in aoe.h).
const TICK: Duration = Duration::from_millis(100);
const NORMAL_WINDOW: u16 = 64;
const BLOCK: u64 = 4096;

#[derive(Debug, Clone, Copy)]
struct Load {
    limits: Limits,
    hosts: usize,
    /// Sectors of a frame.
    sectors: u8,
    /// From taking a frame to the end of its work on the disk.
    service: Duration,
    seconds: u64,
}

#[derive(Debug, Default)]
struct Outcome {
    /// When each block was answered whole.
    blocks: Vec<Duration>,
    /// When a host would have sent a request again.
    repeats: Vec<Duration>,
}

struct Host {
    rto: Rto,
    window: u16,
    /// Offset and time of each frame that is not answered.
    under_way: Vec<(u64, Instant)>,
    next: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer { host: usize, offset: u64 },
    Tick,
}

fn run(load: &Load) -> Outcome {
    let start = Instant::now();
    let mut pacer = Pacer::new(Some(load.limits), start).unwrap();
    let mut events = BinaryHeap::from([Reverse((start + TICK, Event::Tick))]);
    let mut requests = std::collections::HashMap::new();
    let mut outcome = Outcome::default();
    let length = u64::from(load.sectors) * SECTOR as u64;
    let mut hosts: Vec<Host> =
        (0..load.hosts).map(|_| Host { rto: Rto::default(), window: NORMAL_WINDOW, under_way: Vec::new(), next: 0 }).collect();
    for host in &mut hosts {
        (0..2000).for_each(|_| host.rto.learn(load.service));
    }
    let send = |host: usize,
                hosts: &mut Vec<Host>,
                pacer: &mut Pacer,
                events: &mut BinaryHeap<_>,
                requests: &mut std::collections::HashMap<_, _>,
                now: Instant| {
        while hosts[host].under_way.len() < usize::from(hosts[host].window) {
            let frames = BLOCK / length;
            let number = hosts[host].next;
            // Blocks here and there, no two of them adjacent.
            let offset = (number / frames * 7919 + host as u64 * 1_000_003) * 2 * BLOCK + number % frames * length;
            hosts[host].next += 1;
            hosts[host].under_way.push((offset, now));
            let mac = Mac([2, 0, 0, 0, 1, host as u8]);
            let asked = Request { offset, length: length as usize, arrived: now, ..request(0, mac, Kind::Write) };
            let window = pacer.window(NORMAL_WINDOW, load.sectors);
            if pacer.must_tell(&asked, window, now) {
                hosts[host].window = window;
            }
            let Some(due) = pacer.admit(&asked, false, now) else { continue };
            requests.insert((host, offset), (asked, due));
            events.push(Reverse((now + load.service, Event::Answer { host, offset })));
        }
    };
    (0..load.hosts).for_each(|host| send(host, &mut hosts, &mut pacer, &mut events, &mut requests, start));
    while let Some(Reverse((now, event))) = events.pop() {
        if now >= start + Duration::from_secs(load.seconds) {
            break;
        }
        match event {
            Event::Tick => {
                for host in &hosts {
                    let late = host.under_way.iter().filter(|(_, sent)| now - *sent > host.rto.get());
                    outcome.repeats.extend(late.map(|_| now - start));
                }
                events.push(Reverse((now + TICK, Event::Tick)));
            }
            Event::Answer { host, offset } => {
                let (asked, due) = requests[&(host, offset)];
                let leaves = pacer.leaves(&asked, due);
                if leaves > now {
                    events.push(Reverse((leaves, Event::Answer { host, offset })));
                    continue;
                }
                pacer.answered(&asked, now);
                requests.remove(&(host, offset));
                hosts[host].under_way.retain(|(other, _)| *other != offset);
                hosts[host].rto.learn(now - asked.arrived);
                if (offset + length).is_multiple_of(BLOCK) {
                    outcome.blocks.push(now - start);
                }
                send(host, &mut hosts, &mut pacer, &mut events, &mut requests, now);
            }
        }
    }
    outcome
}

impl Outcome {
    fn between(&self, from: u64, to: u64) -> f64 {
        let span = Duration::from_secs(from)..Duration::from_secs(to);
        self.blocks.iter().filter(|at| span.contains(at)).count() as f64
    }
}

fn iops(iops: u64) -> Limits {
    Limits { iops, ..Limits::default() }
}

#[test]
fn limits_hold_and_nothing_is_sent_again() {
    for sectors in [2, 8] {
        for (hosts, service) in [(1, MS / 10), (1, 5 * MS), (8, MS / 5)] {
            for limit in [50, 100, 1000, 5000] {
                // What all eight have under way when the limit is new would take seconds.
                if hosts > 1 && limit < 1000 {
                    continue;
                }
                if limit as f64 > 32.0 * f64::from(sectors) / 8.0 / service.as_secs_f64() {
                    continue; // more than half of what the disk can
                }
                let load = Load { limits: iops(limit), hosts, sectors, service, seconds: 12 };
                let outcome = run(&load);
                let found = outcome.between(1, 11) / 10.0 / limit as f64;
                assert!((0.9..1.1).contains(&found), "{load:?}: {found}");
                let late = outcome.repeats.iter().filter(|at| **at > Duration::from_secs(1)).count();
                assert_eq!(late, 0, "{load:?}: {:?}", outcome.repeats);
                assert!(outcome.repeats.len() <= 64, "{load:?}: {:?}", outcome.repeats);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_limit_it_holds_and_every_host_gets_its_part(
        limit in 20u64..20_000,
        hosts in 1usize..3,
        sectors in prop::sample::select(vec![1u8, 2, 4, 8]),
        micros in 50u64..2000,
    ) {
        let load = Load { limits: iops(limit), hosts, sectors, service: Duration::from_micros(micros), seconds: 6 };
        let most = 64.0 * hosts as f64 * f64::from(sectors) / 8.0 / load.service.as_secs_f64();
        let expected = (limit as f64).min(most);
        let found = run(&load).between(1, 6) / 5.0;
        prop_assert!(found < limit as f64 * 1.1 + 1.0, "{} of {}", found, limit);
        prop_assert!(found > expected * 0.4, "{} of {}", found, expected);
    }
}

#[test]
fn a_request_that_waits_too_long_is_dropped_and_repeats_are_not_charged() {
    let start = Instant::now();
    let mut pacer = Pacer::new(Some(iops(10)), start).unwrap();
    let asked = |block: u64| Request { offset: block * 2 * BLOCK, length: BLOCK as usize, arrived: start, ..request(0, A, Kind::Write) };
    let due = pacer.admit(&asked(0), false, start).unwrap();
    assert_eq!(due, start);
    for _ in 0..1000 {
        pacer.admit(&asked(0), true, start).unwrap();
    }
    let taken = (1..1000).take_while(|block| pacer.admit(&asked(*block), false, start).is_some()).count();
    assert_eq!(taken, 100, "ten seconds at ten a second");
    assert!(pacer.admit(&asked(2000), false, start + 101 * MS).is_some(), "later ones are taken");
}
