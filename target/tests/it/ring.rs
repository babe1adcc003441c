//! Nothing is lost for want of room: the ring holds what initiators may have outstanding.

use std::collections::HashSet;

use aoe_target::wire::ata::command::WRITE_EXT;
use aoe_target::wire::header;

use crate::host::registers;
use crate::lab::{LIMIT, Lab};
use crate::order::at_once;

#[test]
fn all_frames_of_all_volumes_fit_the_ring() {
    // (volumes, outstanding writes of each): in slots of the ring, and kept by the socket.
    for (volumes, outstanding) in [(8, 64), (64, 32)] {
        fits(volumes, outstanding);
    }
}

fn fits(volumes: u8, outstanding: u64) {
    let Some(lab) = Lab::on("/dev/shm", 9000) else { return };
    let exports: Vec<String> = (0..volumes).map(|slot| format!("7.{slot}={}", lab.disk(&format!("disk{slot}"), 1 << 20))).collect();
    let arguments: Vec<&str> = exports.iter().flat_map(|export| ["--export", export]).collect();
    let target = lab.serve_all(&arguments, volumes.into());
    let mut host = lab.host();
    let buffers = u64::from(host.ask_slot(0, header::command::CONFIG, &crate::host::config(0, "")).config().buffers);
    assert!(buffers >= outstanding, "{buffers}");
    let mut tags = Vec::new();
    // As many writes as are allowed, while the target does nothing.
    at_once(&target, || {
        for round in 0..outstanding {
            for slot in 0..volumes {
                tags.push(host.send(7, slot, header::command::ATA, &registers(WRITE_EXT, round * 8, 8, &[round as u8; 4096])));
            }
        }
    });
    let mut answered = HashSet::new();
    while answered.len() < tags.len() {
        let answer = host.receive(LIMIT).unwrap_or_else(|| panic!("{} of {} writes are answered", answered.len(), tags.len()));
        assert!(answer.header.tag == 0 || answer.good());
        if answer.header.tag != 0 {
            answered.insert(answer.header.tag);
        }
    }
}
