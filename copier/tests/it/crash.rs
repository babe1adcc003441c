//! Crashes of the copier.

use std::time::Duration;

use aoe_copier::proto::Phase;

use crate::copier::Copier;
use crate::lab::{Lab, assert_same};

const MIB: u64 = 1 << 20;

#[test]
fn a_copier_that_is_killed_at_any_point_goes_on_where_it_was() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 160 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let _target = lab.serve(&source, "SERIAL7");
    let mut job = lab.remote("a", bytes, &destination);
    job.bytes_per_second = 200 * MIB;
    let mut before = (0, 0);
    let mut kills = 0;
    // A slow machine needs longer for a copier to start and to save any progress, which it does every two seconds at the latest.
    let (mut slowness, mut in_vain) = (1, 0);
    for round in 0u64.. {
        let mut copier = Copier::start(&lab);
        copier.begin(&job);
        // At another place each time: in discovery, while it copies, flushes, saves, and compares.
        std::thread::sleep(Duration::from_millis((round * 37 % 450) * slowness));
        let state = copier.get("a").unwrap();
        if state.phase() == Phase::Verified {
            break;
        }
        copier.kill();
        kills += 1;
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(lab.path("state/jobs/a.state.json")).unwrap()).unwrap();
        let now = (saved["copied"].as_u64().unwrap(), saved["verified"].as_u64().unwrap());
        assert!(now >= before && now.0 <= bytes, "progress is never lost: {now:?} after {before:?}");
        assert_same(&source, &destination, now.0);
        assert!(now.1 == 0 || now.0 == bytes);
        if now > before {
            (slowness, in_vain) = ((slowness / 2).max(1), 0);
        } else if in_vain < 3 {
            in_vain += 1;
        } else {
            (slowness, in_vain) = ((slowness * 2).min(16), 0);
        }
        before = now;
        assert!(kills < 200, "{now:?}");
    }
    assert!(kills >= 8, "killed {kills} times");
    assert_same(&source, &destination, bytes);
}

#[test]
fn a_stopped_job_stays_stopped_after_a_restart_and_a_removed_one_is_forgotten() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 32 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let _target = lab.serve(&source, "SERIAL7");
    let mut job = lab.remote("a", bytes, &destination);
    job.bytes_per_second = 4 * MIB;
    let mut copier = Copier::start(&lab);
    copier.begin(&job);
    copier.until("a", "some of it is copied", |state| state.copied > 0);
    let stopped = copier.pause("a").unwrap();
    // Both are closed: another program can have them.
    assert!(std::process::Command::new("flock").args(["-n", &destination, "true"]).status().unwrap().success());
    copier.terminate();
    let mut copier = Copier::start(&lab);
    let state = copier.get("a").unwrap();
    assert_eq!((state.phase(), state.copied), (Phase::Stopped, stopped.copied));
    job.bytes_per_second = 0;
    copier.begin(&job);
    copier.until_verified("a");
    copier.remove("a").unwrap();
    copier.remove("a").unwrap();
    assert_eq!(copier.get("a").unwrap_err().code(), tonic::Code::NotFound);
    copier.terminate();
    assert_eq!(Copier::start(&lab).list(), []);
    assert_same(&source, &destination, bytes);
}

#[test]
fn a_job_that_is_removed_in_the_middle_ends_at_once() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 32 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let _target = lab.serve(&source, "SERIAL7");
    let mut job = lab.remote("a", bytes, &destination);
    job.bytes_per_second = 64 << 10;
    let mut copier = Copier::start(&lab);
    copier.begin(&job);
    copier.until("a", "it reads", |state| state.read > 0);
    let begin = std::time::Instant::now();
    copier.remove("a").unwrap();
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}: the throttle would take 16 seconds for a piece");
    assert_eq!(copier.list(), []);
}
