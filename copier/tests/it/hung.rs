//! Jobs whose disk hangs, and others. A disk that hangs is a file on a frozen file system.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aoe_copier::proto::{Job, Phase};
use tonic::Code;

use crate::copier::Copier;
use crate::frozen::Frozen;
use crate::lab::{Lab, assert_same, program, wait_until};

/// Of each disk.
const BYTES: u64 = 8 << 20;
/// Much less than the 10 seconds that the copier waits for the end of a job.
const AT_ONCE: Duration = Duration::from_secs(5);

/// A lab with a file system of its own in the folder "frozen".
struct Rig {
    folder: PathBuf,
    lab: Lab,
    source: String,
}

impl Rig {
    /// None, with a word about it, where it cannot be made.
    fn new() -> Option<Rig> {
        let lab = Lab::new(9000)?;
        let (image, folder) = (lab.empty("image", 128 << 20), lab.folder.join("frozen"));
        std::fs::create_dir_all(&folder).unwrap();
        let made = program("mkfs.ext4", &["-q", &image]).and_then(|_| program("mount", &["-o", "loop", &image, folder.to_str()?]));
        if made.is_none() {
            eprintln!("skipped: no file system on a loop device");
        }
        let source = lab.data("source", BYTES);
        made.map(|_| Rig { folder, lab, source })
    }

    fn job(&self, id: &str, destination: &str) -> Job {
        self.lab.local(id, &self.source, BYTES, destination)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = program("umount", &["-l", self.folder.to_str().unwrap()]);
    }
}

#[test]
fn a_call_that_waits_for_a_disk_that_hangs_holds_up_no_call_for_another_job() {
    let Some(rig) = Rig::new() else { return };
    let (hung, fine) = (rig.lab.empty("frozen/disk", BYTES), rig.lab.empty("fine", BYTES));
    let mut copier = Copier::start(&rig.lab);
    let frozen = Frozen::new(&rig.folder);
    copier.begin(&rig.job("hung", &hung));
    copier.until_it_hangs(1);
    let removal = copier.remove_meanwhile("hung");
    // Until the copier has it.
    std::thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    let job = rig.job("fine", &fine);
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
    let Some(rig) = Rig::new() else { return };
    let hung = [0, 1].map(|number| rig.lab.empty(&format!("frozen/disk{number}"), BYTES));
    let mut copier = Copier::start(&rig.lab);
    let frozen = Frozen::new(&rig.folder);
    for (number, path) in hung.iter().enumerate() {
        copier.begin(&rig.job(&format!("hung{number}"), path));
    }
    copier.until_it_hangs(2);
    let fine = rig.lab.empty("fine", BYTES);
    copier.begin(&rig.job("fine", &fine));
    assert_eq!(copier.get("fine").unwrap().phase(), Phase::Queued);
    copier.until_verified("fine");
    assert_same(&rig.source, &fine, BYTES);
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
        assert_same(&rig.source, path, BYTES);
    }
}
