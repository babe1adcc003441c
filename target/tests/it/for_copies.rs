//! An export for copies is there for programs that copy it, and for nobody else.

use aoe_target::wire::config::command::{FORCE, READ, SET_IF_EMPTY};
use aoe_target::wire::header::{self, ANY_SHELF, ANY_SLOT, USER_TAG};
use tonic::Code;

use crate::host::{Host, registers};
use crate::lab::{Lab, TARGET, Target, volume};
use crate::proto;

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";

fn copied(path: &str) -> proto::Volume {
    proto::Volume { read_only: true, for_copies: true, ..volume("copy-of-v", path, &[A]) }
}

/// A frame as a kernel sends it: the same, but for bit 31 of the tag.
fn as_kernel(host: &mut Host, shelf: u16, slot: u8, command: u8, argument: &[u8]) {
    let (tag, mut frame) = host.frame(shelf, slot, command, argument);
    frame[20..24].copy_from_slice(&(tag & !USER_TAG).to_be_bytes());
    host.raw(&frame);
}

fn is_hidden(host: &mut Host) {
    let config = [0; 8];
    let read = registers(aoe_target::wire::ata::command::READ_EXT, 0, 1, &[]);
    let identify = registers(aoe_target::wire::ata::command::IDENTIFY, 0, 1, &[]);
    for (command, argument) in [(header::command::CONFIG, &config[..]), (header::command::ATA, &read), (header::command::ATA, &identify)] {
        as_kernel(host, 7, 3, command, argument);
        as_kernel(host, ANY_SHELF, ANY_SLOT, command, argument);
        host.send(ANY_SHELF, ANY_SLOT, command, argument);
    }
    assert!(host.silence(), "neither kernels nor searches find it");
}

fn serve(lab: &Lab, disk: &str) -> Target {
    let target = lab.managed();
    let mut rpc = target.rpc();
    rpc.interfaces(&[TARGET]).unwrap();
    rpc.export(copied(disk)).unwrap();
    target
}

#[test]
fn it_is_read_by_those_who_may_and_know_where_it_is() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    std::fs::write(&disk, vec![5; 1 << 20]).unwrap();
    let mut host = lab.host().named(A);
    let mut target = serve(&lab, &disk);
    assert!(host.announcement().is_none(), "it is not announced");
    is_hidden(&mut host);
    assert_eq!(host.config(READ, "").header.error, 0);
    assert_eq!(host.read(0, 1).data(), [5; 512]);
    assert!(!host.write(0, &[1; 512]).good());
    let mut other = lab.host().named(B);
    assert!(!other.read(0, 1).good(), "only to the hosts that are named");
    assert_eq!(other.config(READ, "").header.error, 0, "so that others can see that the address is taken");
    target.kill();

    let target = lab.managed();
    assert!(host.announcement().is_none(), "nor is it after a restart");
    is_hidden(&mut host);
    assert_eq!(host.read(0, 1).data(), [5; 512]);
    target.stop();
}

#[test]
fn nobody_on_the_segment_changes_it() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = serve(&lab, &disk);
    let mut host = lab.host().named(A);
    for command in [SET_IF_EMPTY, FORCE] {
        assert_eq!(host.config(command, "mine").header.error, 1);
    }
    assert_eq!(host.config(READ, "").string(), "");
    // An edit of the mask list that would lock all others out, and a reservation.
    for (command, argument) in [(header::command::MASK, vec![0, 1, 0, 0]), (header::command::RESERVE, vec![1, 0])] {
        let tag = host.send(7, 3, command, &argument);
        assert_eq!(host.answer(tag).header.error, 1);
    }
    target.stop();
}

#[test]
fn it_must_be_read_only_and_name_its_hosts() {
    let Some(lab) = Lab::new(9000) else { return };
    let disk = lab.disk("disk", 1 << 20);
    let target = lab.managed();
    let mut rpc = target.rpc();
    let anyone = Some(proto::Access { anyone: true, ..Default::default() });
    for wrong in [proto::Volume { read_only: false, ..copied(&disk) }, proto::Volume { access: anyone, ..copied(&disk) }] {
        assert_eq!(rpc.export(wrong).unwrap_err().code(), Code::InvalidArgument);
    }
    let info = rpc.runtime.block_on(rpc.client.get_info(proto::GetInfoRequest {})).unwrap().into_inner();
    assert!(info.features.contains(&"for_copies".into()));
}
