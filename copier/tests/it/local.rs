//! Copies of local files and devices.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use aoe_copier::proto::Phase;

use crate::copier::Copier;
use crate::lab::{Lab, assert_same, program};

const MIB: u64 = 1 << 20;

struct Loop(String);

impl Loop {
    fn new(file: &str, arguments: &[&str]) -> Option<Loop> {
        program("losetup", &[&["--find", "--show"], arguments, &[file]].concat()).map(Loop)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = program("losetup", &["--detach", &self.0]);
    }
}

#[test]
fn a_sparse_tebibyte_is_copied_without_reading_its_holes() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 1 << 40;
    let (source, destination) = (lab.empty("source", bytes), lab.empty("destination", bytes));
    let file = std::fs::File::options().write(true).open(&source).unwrap();
    for place in [0, 77 * MIB, (1 << 39) + 4096, bytes - 512] {
        file.write_all_at(&[7; 512], place).unwrap();
    }
    let mut job = lab.local("a", &source, bytes, &destination);
    let mut copier = Copier::start(&lab);
    job.volume = String::new();
    copier.begin(&job);
    let state = copier.until_verified("a");
    assert!(state.read < 64 * MIB, "{}", state.read);
    let copied = std::fs::File::open(&destination).unwrap();
    for place in [0, 77 * MIB, (1 << 39) + 4096, bytes - 512] {
        let mut found = [0; 512];
        copied.read_exact_at(&mut found, place).unwrap();
        assert_eq!(found, [7; 512]);
    }
    assert!(std::fs::metadata(&destination).unwrap().blocks() * 512 < 8 * MIB);
}

#[test]
fn devices_of_small_and_large_blocks_are_copied_to_each_other() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 12 * MIB;
    for (source_blocks, destination_blocks) in [("512", "4096"), ("4096", "512")] {
        let (source, destination) = (lab.data("source", bytes), lab.path("destination"));
        std::fs::write(&destination, vec![0x55; bytes as usize + (4 << 20)]).unwrap();
        let Some(from) = Loop::new(&source, &["--sector-size", source_blocks]) else { return };
        let Some(to) = Loop::new(&destination, &["--sector-size", destination_blocks]) else { return };
        let id = format!("a{source_blocks}");
        let mut job = lab.local(&id, &from.0, bytes, &to.0);
        job.destination.as_mut().unwrap().zeroed = false;
        let mut copier = Copier::start(&lab);
        copier.begin(&job);
        copier.until_verified(&id);
        copier.terminate();
        drop((from, to));
        assert_same(&source, &destination, bytes);
        assert!(std::fs::read(&destination).unwrap()[bytes as usize..].iter().all(|byte| *byte == 0x55));
    }
}

#[test]
fn what_differs_is_found_and_written_again() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 16 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let mut copier = Copier::start(&lab);
    let mut job = lab.local("a", &source, bytes, &destination);
    job.bytes_per_second = 4 * MIB;
    // A busy machine may be further than the damage when it is seen that it compares: then it begins again.
    for attempt in 1.. {
        copier.begin(&job);
        copier.until("a", "it compares", |state| matches!(state.phase(), Phase::Verifying | Phase::Verified));
        let state = copier.pause("a").unwrap();
        if state.phase() == Phase::Stopped && state.verified < 10 * MIB {
            break;
        }
        assert!(attempt < 3, "{state:?}");
        copier.remove("a").unwrap();
        lab.empty("destination", bytes);
    }
    // A program that does not honour locks writes into the copy: into data, and into a hole.
    let file = std::fs::File::options().write(true).open(&destination).unwrap();
    file.write_all_at(&[0x66; 100], 10 * MIB + 5).unwrap();
    file.write_all_at(&[0x66; 100], 15 * MIB + 5).unwrap();
    file.sync_all().unwrap();
    job.bytes_per_second = 0;
    copier.begin(&job);
    let state = copier.until_verified("a");
    assert_eq!(state.repaired, 2);
    assert_same(&source, &destination, bytes);
}

#[test]
fn many_jobs_wait_for_one_another_and_need_little_memory() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 16 * MIB;
    let source = lab.data("source", bytes);
    let mut copier = Copier::start(&lab);
    let jobs: Vec<_> =
        (0..6).map(|number| lab.local(&format!("j{number}"), &source, bytes, &lab.empty(&format!("d{number}"), bytes))).collect();
    for job in &jobs {
        copier.begin(job);
    }
    let running = copier.list().iter().filter(|state| matches!(state.phase(), Phase::Copying | Phase::Verifying)).count();
    assert!(running <= 2, "{running} run");
    for job in &jobs {
        copier.until_verified(&job.id);
        assert_same(&source, &job.destination.as_ref().unwrap().path, bytes);
    }
    assert!(copier.peak_kib() <= 32 << 10, "{} KiB", copier.peak_kib());
}

#[test]
fn jobs_share_the_limit_of_all_and_what_ends_gives_its_share_back() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 64 * MIB;
    let source = lab.data("source", bytes);
    let mut copier = Copier::start(&lab);
    let limit = 8 * MIB;
    copier.limit(limit);
    for id in ["a", "b"] {
        copier.begin(&lab.local(id, &source, bytes, &lab.empty(id, bytes)));
    }
    for id in ["a", "b"] {
        copier.until(id, "it reads", |state| state.read > 0);
    }
    let read = |copier: &mut Copier| copier.list().iter().map(|state| state.read).sum::<u64>();
    let allowed = |start: Instant, jobs: u64| start.elapsed().as_secs_f64() * limit as f64 * 1.1 + (jobs * MIB) as f64;
    let (before, start) = (read(&mut copier), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    let both = read(&mut copier) - before;
    assert!(both as f64 <= allowed(start, 2), "{both}");
    // A busy machine may do less than it is allowed to.
    copier.pause("b").unwrap();
    copier.until("a", "it has the whole limit", {
        let mut last = (0, Instant::now());
        move |state| {
            let speed = (state.read - last.0) as f64 / last.1.elapsed().as_secs_f64();
            let is_enough = last.1.elapsed() >= Duration::from_secs(1) && speed > limit as f64 * 0.7;
            if last.0 == 0 || last.1.elapsed() >= Duration::from_secs(1) {
                last = (state.read, Instant::now());
            }
            is_enough
        }
    });
    copier.limit(0);
    copier.until_verified("a");
}
