//! Frames that come in one batch: what overlaps is done in the order in which it came, and what is adjacent together.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use aoe_target::wire::ata::command::{READ_EXT, WRITE_EXT};
use aoe_target::wire::header;

use crate::host::{Host, registers};
use crate::lab::{Lab, Target, ip, program};

const SECTORS: u64 = 64;

/// Has all frames received before the first is looked at.
pub fn at_once(target: &Target, send: impl FnOnce()) {
    let signal = |signal| {
        // SAFETY: no memory is passed; the child is not yet reaped.
        assert_eq!(unsafe { libc::kill(target.child.id() as i32, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    send();
    signal(libc::SIGCONT);
}

fn write(host: &mut Host, sector: u64, data: &[u8]) -> u32 {
    host.send(7, 3, header::command::ATA, &registers(WRITE_EXT, sector, (data.len() / 512) as u8, data))
}

#[test]
fn any_mix_of_requests_in_a_batch_ends_as_if_done_one_by_one() {
    for base in ["/tmp", "/dev/shm"] {
        // With many volumes, frames with data are kept by the socket.
        for (mtu, others) in [(1500, 0), (9000, 0), (9000, 16)] {
            let Some(lab) = Lab::on(base, mtu) else { return };
            let disk = lab.disk("disk", 512 * SECTORS);
            mix(&lab, mtu, others, &disk);
        }
    }
}

#[test]
fn so_it_does_on_a_disk_of_larger_blocks() {
    let Some(lab) = Lab::new(1500) else { return };
    let file = lab.disk("disk", 512 * SECTORS);
    let Some(loops) = Loop::new(&file, &["--sector-size", "4096"]) else { return };
    mix(&lab, 1500, 0, &loops.0);
}

#[test]
fn so_it_does_on_a_sparse_file_on_a_disk_of_larger_blocks() {
    let Some(lab) = Lab::new(1500) else { return };
    let Some(loops) = Loop::new(&lab.disk("large", 64 << 20), &["--sector-size", "4096"]) else { return };
    let folder = lab.folder.join("mounted");
    std::fs::create_dir_all(&folder).unwrap();
    program("mkfs.ext4", &["-q", &loops.0]).unwrap();
    let Some(_mount) = Mount::new(&loops.0, folder.to_str().unwrap()) else { return };
    let file = folder.join("disk");
    std::fs::File::create(&file).unwrap().set_len(512 * SECTORS).unwrap();
    mix(&lab, 1500, 0, file.to_str().unwrap());
}

struct Mount(String);

impl Mount {
    fn new(device: &str, folder: &str) -> Option<Mount> {
        program("mount", &[device, folder])?;
        Some(Mount(folder.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = program("umount", &[&self.0]);
    }
}

/// A file as a block device.
pub struct Loop(pub String);

impl Loop {
    pub fn new(file: &str, arguments: &[&str]) -> Option<Loop> {
        let device = program("losetup", &[&["--find", "--show"], arguments, &[file]].concat())?;
        Some(Loop(device.trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = program("losetup", &["--detach", &self.0]);
    }
}

fn mix(lab: &Lab, mtu: u32, others: u8, disk: &str) {
    let mut exports = vec![format!("7.3={disk},reclaim")];
    exports.extend((0..others).map(|slot| format!("8.{slot}={}", lab.disk(&format!("other{slot}"), 512 * SECTORS))));
    let arguments: Vec<&str> = exports.iter().flat_map(|export| ["--export", export]).collect();
    let target = lab.serve_all(&arguments, exports.len());
    let most = if mtu == 1500 { 2u8 } else { 16 };
    // Small steps make runs of adjacent requests likely, and jumps overlaps.
    let request = (any::<bool>(), any::<bool>(), any::<bool>(), 0..SECTORS, 1..=most);
    let batch = prop::collection::vec(request, 1..80);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let mut model = vec![0u8; 512 * SECTORS as usize];
    let mut hosts = [lab.host(), lab.host().named("02:00:00:00:00:0b")];
    for round in 0..25u64 {
        let batch = batch.new_tree(&mut runner).unwrap().current();
        let mut expected = Vec::new();
        at_once(&target, || {
            let mut end = 0;
            for (step, (goes_on, is_write, zeros, sector, count)) in batch.iter().enumerate() {
                let count = u64::from(*count);
                let sector = if *goes_on && end + count <= SECTORS { end } else { (*sector).min(SECTORS - count) };
                end = sector + count;
                let range = 512 * sector as usize..512 * end as usize;
                let sender = &mut hosts[usize::from(step % 16 == 15)];
                if *is_write {
                    let byte = |at: usize| if *zeros { 0 } else { (round * 31 + step as u64 * 7 + at as u64 / 512) as u8 };
                    let data: Vec<u8> = (0..range.len()).map(byte).collect();
                    model[range].copy_from_slice(&data);
                    expected.push((write(sender, sector, &data), None));
                } else {
                    let tag = sender.send(7, 3, header::command::ATA, &registers(READ_EXT, sector, count as u8, &[]));
                    expected.push((tag, Some(model[range].to_vec())));
                }
            }
        });
        for (index, (tag, data)) in expected.iter().enumerate() {
            let answer = find(&hosts, index, *tag);
            assert!(answer.good(), "{answer:?}");
            if let Some(data) = data {
                assert!(answer.data()[..data.len()] == data[..], "round {round}, request {index} of {batch:?}");
            }
        }
        assert!(std::fs::read(disk).unwrap() == model, "round {round}");
    }
}

/// The answer to the request of this index. Answers come in any order.
fn find(hosts: &[Host; 2], index: usize, tag: u32) -> crate::host::Answer {
    hosts[usize::from(index % 16 == 15)].answer_kept(tag)
}

#[test]
fn a_late_repetition_does_not_undo_a_newer_write() {
    let Some(lab) = Lab::new(1500) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.serve(&["--export", &format!("7.3={disk},reclaim")]);
    let mut host = lab.host();
    for round in 0..50u8 {
        // Zeros, too: what comes late must make no holes in what is newer.
        let before = if round % 2 == 0 { 2 * round } else { 0 };
        let (old, new) = ([before; 1024], [2 * round + 1; 1024]);
        let mut tags = Vec::new();
        // Four frames of a block, all of them again with new tags, and a newer write to a part while these are worked on.
        at_once(&target, || {
            for frame in (0..4).chain(0..4) {
                tags.push(write(&mut host, 8 + 2 * frame, &old));
            }
            tags.push(write(&mut host, 11, &new));
        });
        for tag in tags {
            assert!(host.answer_kept(tag).good());
        }
        let found = std::fs::read(&disk).unwrap();
        assert!(found[8 * 512..11 * 512].iter().chain(&found[13 * 512..16 * 512]).all(|byte| *byte == before));
        assert!(found[11 * 512..13 * 512].iter().all(|byte| *byte == 2 * round + 1), "round {round}");
    }
}

#[test]
fn frames_of_two_interfaces_are_taken_in_the_order_in_which_they_came() {
    const BEFORE: u64 = 100; // more than one turn takes of an interface, and less than fills the ring
    for base in ["/tmp", "/dev/shm"] {
        let Some(lab) = Lab::on(base, 1500) else { return };
        ip(&["link", "add", "h1", "mtu", "1500", "type", "veth", "peer", "name", "t1", "mtu", "1500"]);
        ip(&["link", "set", "h1", "up"]);
        ip(&["link", "set", "t1", "up"]);
        let disk = lab.disk("disk", 1 << 20);
        let target = lab.serve(&["--interface", "t1", "--export", &format!("7.3={disk}")]);
        let mut ways = [lab.host(), Host::open("h1")];
        let (old, new) = ([1; 1024], [2; 1024]);
        for round in 0..4u64 {
            let (first, second) = (round as usize % 2, 1 - round as usize % 2);
            let mut tags = Vec::new();
            at_once(&target, || {
                for _ in 0..BEFORE {
                    tags.push((first, ways[first].send(7, 3, header::command::ATA, &registers(READ_EXT, 1024, 2, &[]))));
                }
                // A write, its repetition by the other way, and a newer one.
                tags.push((first, write(&mut ways[first], 8 * round, &old)));
                std::thread::sleep(std::time::Duration::from_millis(5));
                tags.push((second, write(&mut ways[second], 8 * round, &old)));
                tags.push((second, write(&mut ways[second], 8 * round, &new)));
            });
            for (way, tag) in tags {
                assert!(ways[way].answer_kept(tag).good());
            }
            let found = std::fs::read(&disk).unwrap();
            assert!(found[8 * 512 * round as usize..][..1024] == new, "round {round}: an old write undid a newer one");
        }
    }
}
