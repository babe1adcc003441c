//! Jobs whose disk hangs, and others.

use std::time::{Duration, Instant};

use aoe_copier::proto::Phase;
use tonic::Code;

use crate::copier::Copier;
use crate::frozen::Mounted;
use crate::lab::{Lab, assert_same, wait_until};

const MIB: u64 = 1 << 20;
/// Much less than the 10 seconds that the copier waits for the end of a job.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn a_call_that_waits_for_a_disk_that_hangs_holds_up_no_call_for_another_job() {
    let Some(lab) = Lab::new(9000) else { return };
    let Some(mounted) = Mounted::new(&lab) else { return };
    let bytes = 8 * MIB;
    let source = lab.data("source", bytes);
    let (hung, fine) = (lab.empty("frozen/disk", bytes), lab.empty("fine", bytes));
    let mut copier = Copier::start(&lab);
    let frozen = mounted.freeze();
    copier.begin(&lab.local("hung", &source, bytes, &hung));
    copier.until_it_hangs(1);
    let removal = copier.remove_meanwhile("hung");
    // Until the copier has it.
    std::thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    let job = lab.local("fine", &source, bytes, &fine);
    copier.begin(&job);
    copier.pause("fine").unwrap();
    copier.begin(&job);
    assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
    copier.until_verified("fine");
    copier.remove("fine").unwrap();
    assert!(!removal.is_finished(), "it came too late to be held up");
    let error = removal.join().unwrap().unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(error.message(), format!("job hung does not end: the destination {hung} hangs"));
    let begin = Instant::now();
    assert_eq!(copier.remove("hung").unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(copier.pause("hung").unwrap_err().code(), Code::DeadlineExceeded);
    assert!(begin.elapsed() < AT_ONCE, "that it hangs is known: {:?}", begin.elapsed());
    drop(frozen);
    wait_until("it is removed", || copier.remove("hung").ok());
    assert_eq!(copier.list(), []);
}

#[test]
fn jobs_whose_disks_hang_say_so_and_leave_room_for_others() {
    let Some(lab) = Lab::new(9000) else { return };
    let Some(mounted) = Mounted::new(&lab) else { return };
    let bytes = 8 * MIB;
    let source = lab.data("source", bytes);
    let hung: Vec<String> = (0..2).map(|number| lab.empty(&format!("frozen/disk{number}"), bytes)).collect();
    let mut copier = Copier::start(&lab);
    let frozen = mounted.freeze();
    for (number, path) in hung.iter().enumerate() {
        copier.begin(&lab.local(&format!("hung{number}"), &source, bytes, path));
    }
    copier.until_it_hangs(2);
    let fine = lab.empty("fine", bytes);
    copier.begin(&lab.local("fine", &source, bytes, &fine));
    assert_eq!(copier.get("fine").unwrap().phase(), Phase::Queued);
    copier.until_verified("fine");
    assert_same(&source, &fine, bytes);
    for (number, path) in hung.iter().enumerate() {
        let state = copier.get(&format!("hung{number}")).unwrap();
        let expected = format!(
            "copy hung{number} (volume v): the destination {path} hangs: it has not ended a request for 30 seconds (0 of 8388608 bytes are copied)"
        );
        assert_eq!((state.phase(), state.problem), (Phase::Copying, expected));
        assert!(state.problem_since > 0);
    }
    drop(frozen);
    for (number, path) in hung.iter().enumerate() {
        let state = copier.until_verified(&format!("hung{number}"));
        assert_eq!((state.problem.as_str(), state.problem_since), ("", 0));
        assert_same(&source, path, bytes);
    }
}
