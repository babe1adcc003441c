//! Disks that hang: files on a frozen file system, whose writes wait until it thaws.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aoe_target::wire::ata::command::{READ_EXT, WRITE_EXT};
use aoe_target::wire::{Mac, Reserve, config, header, reserve};

use crate::frozen::Frozen;
use crate::host::registers;
use crate::lab::{LIMIT, Lab, program};

/// A file system on a disk in memory, of its own.
pub struct Mounted {
    device: String,
    folder: PathBuf,
}

impl Mounted {
    /// None where the kernel has no zram.
    pub fn new(lab: &Lab) -> Option<Mounted> {
        let number = fs::read_to_string("/sys/class/zram-control/hot_add").ok()?;
        let mounted = Mounted { device: format!("zram{}", number.trim()), folder: lab.folder.join("frozen") };
        fs::write(format!("/sys/block/{}/disksize", mounted.device), "64M").unwrap();
        fs::create_dir_all(&mounted.folder).unwrap();
        program("mkfs.ext4", &["-q", &format!("/dev/{}", mounted.device)])?;
        program("mount", &[&format!("/dev/{}", mounted.device), mounted.folder.to_str().unwrap()])?;
        Some(mounted)
    }

    pub fn freeze(&self) -> Frozen {
        Frozen::new(&self.folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = program("umount", &[self.folder.to_str().unwrap()]);
        // A process that another test is starting may have it open for a moment still.
        let limit = Instant::now() + LIMIT;
        while fs::write(format!("/sys/block/{}/reset", self.device), "1").is_err() && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = fs::write("/sys/class/zram-control/hot_remove", &self.device[4..]);
    }
}

#[test]
fn disks_that_hang_hold_up_no_other() {
    const HUNG: u8 = 4; // the ring holds the writes for all of them
    const WRITES: u64 = 100;
    let Some(lab) = Lab::new(9000) else { return };
    let Some(mounted) = Mounted::new(&lab) else { return eprintln!("skipped: no zram") };
    let fine = lab.disk("fine", 1 << 20);
    let mut exports = vec![format!("7.3={fine}")];
    exports.extend((0..HUNG).map(|slot| {
        let path = lab.disk(&format!("frozen/disk{slot}"), 1 << 20);
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        format!("8.{slot}={path}")
    }));
    let arguments: Vec<&str> = exports.iter().flat_map(|export| ["--export", export]).collect();
    let target = lab.serve_all(&arguments, exports.len());
    // Two, so that each keeps to the buffer counts.
    let mut slow = [lab.host().named("02:00:00:00:00:0a"), lab.host().named("02:00:00:00:00:0b")];
    let mut fast = lab.host();
    let frozen = mounted.freeze();
    let mut waiting = Vec::new();
    for block in 0..WRITES {
        for slot in 0..HUNG {
            let argument = registers(WRITE_EXT, block * 8, 8, &[1; 4096]);
            let host = block as usize % slow.len();
            waiting.push((host, slow[host].send(8, slot, header::command::ATA, &argument)));
        }
    }
    for block in 0..100u64 {
        let data = [block as u8 + 1; 4096];
        let write = fast.send(7, 3, header::command::ATA, &registers(WRITE_EXT, block * 8, 8, &data));
        assert!(fast.answer(write).good());
        let read = fast.send(7, 3, header::command::ATA, &registers(READ_EXT, block * 8, 8, &[]));
        assert_eq!(fast.answer(read).data(), data);
    }
    for host in &slow {
        while let Some(answer) = host.receive(Duration::from_millis(50)) {
            assert_eq!(answer.header.tag, 0, "a write that is not on disk was answered");
        }
    }
    drop(frozen);
    for (host, tag) in waiting {
        assert!(slow[host].answer_kept(tag).good());
    }
    target.stop();
}

#[test]
fn a_reserve_list_is_answered_when_those_it_shuts_out_are_done() {
    let Some(lab) = Lab::new(9000) else { return };
    let Some(mounted) = Mounted::new(&lab) else { return eprintln!("skipped: no zram") };
    let disk = lab.disk("frozen/disk", 1 << 20);
    fs::write(&disk, vec![0; 1 << 20]).unwrap();
    let target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut a = lab.host().named("02:00:00:00:00:0a");
    let mut b = lab.host().named("02:00:00:00:00:0b");
    let frozen = mounted.freeze();
    let running = b.send(7, 3, header::command::ATA, &registers(WRITE_EXT, 0, 8, &[1; 4096]));
    // The answer shows that the write was taken: what comes after it does not become one request with it.
    b.config(config::command::READ, "");
    let waiting = b.send(7, 3, header::command::ATA, &registers(WRITE_EXT, 0, 8, &[2; 4096]));
    let claim = |mac: Mac| {
        let request = Reserve { command: reserve::command::FORCE, macs: vec![mac] };
        let mut bytes = vec![0; request.emitted()];
        request.emit(&mut bytes);
        bytes
    };
    // The second time it changes nothing.
    let claims = [0; 2].map(|_| a.send(7, 3, header::command::RESERVE, &claim(a.mac)));
    let answer = b.answer(waiting);
    assert_eq!(answer.header.error, header::Failure::TargetReserved as u8, "what waits is not done");
    assert!(a.silence(), "a write of another may still reach the disk");
    assert_eq!(a.config(config::command::FORCE, "lock").string(), "lock", "it shuts nobody out");
    drop(frozen);
    assert!(b.answer_kept(running).good());
    for tag in claims {
        assert_eq!(a.answer_kept(tag).reserve().macs, [a.mac]);
    }
    assert_eq!(a.read(0, 8).data(), [1; 4096]);
    target.stop();
}
