//! Jobs that cannot be done, or not now, and what they say.

use aoe_copier::proto::Phase;
use aoe_copier::proto::job::Source;
use tonic::Code;

use crate::copier::Copier;
use crate::lab::{Lab, assert_same, program};

const MIB: u64 = 1 << 20;

#[test]
fn a_disk_with_another_serial_number_or_size_is_not_read() {
    let Some(lab) = Lab::new(9000) else { return };
    let (source, destination) = (lab.data("source", 4 * MIB), lab.empty("destination", 8 * MIB));
    let _target = lab.serve(&source, "OTHER");
    let mut copier = Copier::start(&lab);
    copier.begin(&lab.remote("serial", 4 * MIB, &destination));
    let state = copier.until_phase("serial", Phase::Failed);
    assert!(state.problem.starts_with("copy serial (volume v): the disk at e7.3"), "{}", state.problem);
    assert!(state.ended > 0 && state.copied == 0);
    let mut job = lab.remote("size", 8 * MIB, &destination);
    let Some(Source::Aoe(source)) = &mut job.source else { unreachable!() };
    source.serial = "OTHER".into();
    copier.begin(&job);
    let state = copier.until_phase("size", Phase::Failed);
    assert!(state.problem.contains("has 4194304 bytes, and the job says 8388608: it was made smaller"), "{}", state.problem);
    assert!(std::fs::read(&destination).unwrap().iter().all(|byte| *byte == 0), "nothing was written");
}

#[test]
fn a_source_that_shrinks_in_the_middle_fails_the_job() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 32 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let mut copier = Copier::start(&lab);
    let mut job = lab.local("a", &source, bytes, &destination);
    job.bytes_per_second = 2 * MIB;
    copier.begin(&job);
    copier.until("a", "some of it is copied", |state| state.copied > 0);
    std::fs::File::options().write(true).open(&source).unwrap().set_len(MIB).unwrap();
    let state = copier.until_phase("a", Phase::Failed);
    assert!(state.problem.contains("it was made smaller"), "{}", state.problem);
}

#[test]
fn a_destination_that_is_full_is_waited_for() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 24 * MIB;
    let source = lab.data("source", bytes);
    let folder = lab.path("small");
    std::fs::create_dir(&folder).unwrap();
    if program("mount", &["-t", "tmpfs", "-o", "size=12m", "none", &folder]).is_none() {
        eprintln!("skipped: no mount");
        return;
    }
    let _unmount = Unmount(folder.clone());
    let destination = lab.empty("small/destination", bytes);
    let _target = lab.serve(&source, "SERIAL7");
    let mut copier = Copier::start(&lab);
    copier.begin(&lab.remote("a", bytes, &destination));
    let state = copier.until_problem("a", "no room is left there; the job goes on when there is");
    assert!(
        state.problem.contains("writing to the destination at byte ") && state.problem.contains("of 25165824 bytes are copied"),
        "{}",
        state.problem
    );
    assert_eq!(state.phase(), Phase::Copying);
    program("mount", &["-o", "remount,size=64m", &folder]).unwrap();
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
}

struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = program("umount", &["-l", &self.0]);
    }
}

#[test]
fn a_destination_that_another_program_has_is_waited_for_and_nobody_gets_it_before_it_is_whole() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 16 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let mut holder = std::process::Command::new("flock").args(["--no-fork", &destination, "sleep", "60"]).spawn().unwrap();
    crate::lab::wait_until("the lock is held", || {
        let free = std::process::Command::new("flock").args(["-n", &destination, "true"]).status().unwrap().success();
        (!free).then_some(())
    });
    let mut copier = Copier::start(&lab);
    let mut job = lab.local("a", &source, bytes, &destination);
    job.bytes_per_second = MIB;
    copier.begin(&job);
    copier.until_problem("a", "opening the destination");
    holder.kill().unwrap();
    holder.wait().unwrap();
    copier.until("a", "some of it is copied", |state| state.copied > 0);
    // What our target does when it is asked to serve the destination, and what it says.
    let export = format!("7.4={destination}");
    let log = lab.folder.join("second.log");
    let mut target = crate::lab::start("aoe-target", &["--interface", "t0", "--export", &export], &log);
    crate::lab::wait_until("it is refused", || {
        std::fs::read_to_string(&log).unwrap().contains("in use by another volume or program").then_some(())
    });
    let _ = target.kill();
    let _ = target.wait();
    job.bytes_per_second = 0;
    copier.begin(&job);
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
}

#[test]
fn a_job_that_is_wrong_or_another_is_refused_at_once() {
    let Some(lab) = Lab::new(9000) else { return };
    let destination = lab.empty("destination", MIB);
    let mut copier = Copier::start(&lab);
    let job = lab.local("a", "/no/such/source", MIB, &destination);
    copier.begin(&job);
    let state = copier.until_phase("a", Phase::Failed);
    assert!(state.problem.contains("opening the source /no/such/source: No such file"), "{}", state.problem);
    let other = lab.local("a", "/other/source", MIB, &destination);
    let error = copier.try_begin(&other).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists, "{error}");
    let error = copier.try_begin(&lab.local("b", "relative", MIB, &destination)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("absolute"), "{error}");
    assert_eq!(copier.pause("none").unwrap_err().code(), Code::NotFound);
    assert_eq!(copier.list().len(), 1);
}

#[test]
fn a_host_that_the_target_does_not_admit_waits_until_it_does() {
    let Some(lab) = Lab::new(9000) else { return };
    let bytes = 4 * MIB;
    let (source, destination) = (lab.data("source", bytes), lab.empty("destination", bytes));
    let log = lab.folder.join("target.log");
    let export = format!("7.3={source},ro,serial=SERIAL7,mac=02:00:00:00:00:99");
    let mut target = crate::lab::start("aoe-target", &["--interface", "t0", "--export", &export], &log);
    crate::lab::wait_until("the target serves", || std::fs::read_to_string(&log).unwrap().contains("volume served").then_some(()));
    let mut copier = Copier::start(&lab);
    copier.begin(&lab.remote("a", bytes, &destination));
    copier.until_problem("a", "the target of e7.3 does not admit this host");
    let _ = target.kill();
    let _ = target.wait();
    let _target = lab.serve(&source, "SERIAL7");
    copier.until_verified("a");
    assert_same(&source, &destination, bytes);
}
