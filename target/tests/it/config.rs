use std::time::Duration;

use aoe_target::wire::config::command::*;
use aoe_target::wire::header::{self, ANY_SHELF, ANY_SLOT, ERROR, RESPONSE};
use aoe_target::wire::{Directive, Mac, Mask, Reserve, mask, reserve};

use crate::host::{Host, config};
use crate::lab::{LIMIT, Lab};

fn edit(host: &mut Host, directives: &[(u8, Mac)]) -> crate::host::Answer {
    let directives = directives.iter().map(|(command, mac)| Directive { reserved: 0, command: *command, mac: *mac }).collect();
    let request = Mask { reserved: 0, command: mask::command::EDIT, error: 0, directives };
    let mut bytes = vec![0; request.emitted()];
    request.emit(&mut bytes);
    host.ask(header::command::MASK, &bytes)
}

fn claim(host: &mut Host, command: u8, macs: &[Mac]) -> crate::host::Answer {
    let request = Reserve { command, macs: macs.to_vec() };
    let mut bytes = vec![0; request.emitted()];
    request.emit(&mut bytes);
    host.ask(header::command::RESERVE, &bytes)
}

#[test]
fn config_commands_keep_a_string_across_a_crash() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let arguments = ["--export", &format!("7.3={disk}"), "--state", &lab.state()];
    let mut target = lab.serve(&arguments);
    let mut host = lab.host();
    let answer = host.config(READ, "");
    assert_eq!((answer.string().as_str(), answer.config().sectors, answer.config().buffers), ("", 16, 64));
    assert_eq!(host.config(SET_IF_EMPTY, "first").string(), "first");
    let answer = host.config(SET_IF_EMPTY, "second");
    assert_eq!((answer.header.flags, answer.header.error), (RESPONSE | ERROR, 4));
    assert_eq!(answer.string(), "first", "the answer shows what is there");
    assert_eq!(host.config(TEST_EXACT, "first").string(), "first");
    assert_eq!(host.config(TEST_PREFIX, "fi").string(), "first");
    for (command, string) in [(TEST_EXACT, "fi"), (TEST_PREFIX, "second")] {
        host.send(7, 3, header::command::CONFIG, &config(command, string));
        assert!(host.silence());
    }
    let exchange = |old: &str, new: &str| {
        let mut argument = config(TEST_AND_REPLACE, old);
        argument.extend((new.len() as u16).to_be_bytes());
        argument.extend(new.as_bytes());
        argument
    };
    let answer = host.ask(header::command::CONFIG, &exchange("other", "third"));
    assert_eq!((answer.header.error, answer.string().as_str()), (4, "first"));
    assert_eq!(host.ask(header::command::CONFIG, &exchange("first", "third")).string(), "third");
    target.kill();
    drop(target);
    let _target = lab.serve(&arguments);
    assert_eq!(host.config(READ, "").string(), "third");
    assert_eq!(host.config(FORCE, "").string(), "");
    let long = "x".repeat(1024);
    assert_eq!(host.config(FORCE, &long).string(), long);
    let mut junk = config(READ, "");
    junk[6..8].copy_from_slice(&1024u16.to_be_bytes());
    assert_eq!(host.ask(header::command::CONFIG, &junk).string(), long, "as aoeping asks");
    junk[5] = 0x13;
    assert_eq!(host.ask(header::command::CONFIG, &junk).header.error, 2);
    junk[5] = 0x1f;
    assert_eq!(host.ask(header::command::CONFIG, &junk).header.error, 2);
}

#[test]
fn broadcast_queries_find_every_volume() {
    let Some(lab) = Lab::new(1500) else { return };
    let exports: Vec<String> = (0..3).map(|slot| format!("7.{slot}={}", lab.disk(&format!("disk{slot}"), 1 << 20))).collect();
    let _target = lab.serve_all(&["--export", &exports[0], "--export", &exports[1], "--export", &exports[2]], 3);
    let mut host = lab.host();
    for (shelf, slot, expected) in
        [(ANY_SHELF, ANY_SLOT, &[0, 1, 2][..]), (7, ANY_SLOT, &[0, 1, 2]), (ANY_SHELF, 1, &[1]), (8, ANY_SLOT, &[])]
    {
        let tag = host.send(shelf, slot, header::command::CONFIG, &config(READ, ""));
        let mut found = Vec::new();
        // Patient for those that must come, short for those that must not.
        while let Some(answer) = host.receive(if found.len() < expected.len() { LIMIT } else { Duration::from_millis(100) }) {
            if answer.header.tag == tag {
                assert_eq!(answer.header.shelf, 7);
                found.push(answer.header.slot);
            }
        }
        found.sort_unstable();
        assert_eq!(found, expected);
    }
}

#[test]
fn masks_silence_others_and_reserves_keep_them_from_the_data() {
    let Some(lab) = Lab::new(1500) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut a = lab.host();
    let mut b = lab.host().named("02:00:00:00:00:0b");
    // The other host's answers come by the same cable.
    let (mac_a, mac_b) = (a.mac, b.mac);
    assert_eq!(claim(&mut a, reserve::command::SET, &[mac_a]).reserve().macs, [mac_a]);
    assert_eq!(claim(&mut b, reserve::command::SET, &[mac_b]).header.error, 6);
    let answer = b.read(0, 1);
    assert_eq!((answer.header.flags, answer.header.error), (RESPONSE | ERROR, 6));
    assert!(a.read(0, 1).good());
    assert_eq!(claim(&mut b, reserve::command::FORCE, &[mac_b]).reserve().macs, [mac_b]);
    assert!(b.read(0, 1).good());
    assert_eq!(claim(&mut b, reserve::command::SET, &[]).reserve().macs, []);
    assert!(a.read(0, 1).good());

    let listed: Vec<Mac> = edit(&mut a, &[(1, mac_a)]).mask().directives.iter().map(|entry| entry.mac).collect();
    assert_eq!(listed, [mac_a]);
    b.send(7, 3, header::command::CONFIG, &config(READ, ""));
    assert!(b.silence());
    assert_eq!(edit(&mut a, &[(1, mac_b), (9, mac_b)]).mask().error, mask::error::BAD_DIRECTIVE);
    edit(&mut a, &[(2, mac_a)]);
    assert!(b.read(0, 1).good());
}

#[test]
fn versions_and_commands_that_are_not_known_are_refused() {
    let Some(lab) = Lab::new(1500) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let _target = lab.serve(&["--export", &format!("7.3={disk}")]);
    let mut host = lab.host();
    assert_eq!(host.ask(0x42, &[0; 40]).header.error, 1);
    assert_eq!(host.ask(0xf0, &[]).header.error, 1);
    let (tag, mut frame) = host.frame(7, 3, header::command::CONFIG, &config(READ, ""));
    frame[14] = 0x20;
    host.raw(&frame);
    assert_eq!(host.answer(tag).header.error, 5);
    frame[14] = 0x10 | RESPONSE;
    host.raw(&frame);
    assert!(host.silence(), "an answer is not answered");
}
