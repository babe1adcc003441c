//! Who is told of a volume.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use aoe_target::definition::Access;
use aoe_target::serve::{Change, Command, Options, Server};
use aoe_target::store::{Loaded, Store};
use aoe_target::wake::Waker;
use aoe_target::wire::{Header, HeaderView, Mac};
use tokio::sync::oneshot;

use crate::busy::volume;
use crate::disk::Disk;
use crate::script::HOSTS;
use crate::segment::{self, MemorySocket};

/// The hosts that were sent something by the interface since the last call.
fn told() -> Vec<Mac> {
    let sent = segment::with(0, |interface| std::mem::take(&mut interface.sent));
    sent.iter().map(|frame| Header::parse(&HeaderView::new_checked(frame).expect("a frame")).destination).collect()
}

#[test]
fn a_host_whose_loss_of_access_could_not_be_saved_is_told_of_the_volume_then() {
    aoe_target::log::silence();
    segment::reset(&[1500]);
    let folder = std::env::temp_dir().join(format!("aoe-told-{}", std::process::id()));
    let store = Store::open(&folder).unwrap();
    let (commands, receiver) = mpsc::channel();
    let waker = Arc::new(Waker::new().unwrap());
    let options = Options { poll: Duration::ZERO, uring: false, inline_memory: true };
    let mut server: Server<MemorySocket> = Server::new(options, Some(store), waker.clone(), receiver).expect("a server");
    let disk = Disk::new(&[0; 4096]);
    server.restore(Loaded {
        volumes: vec![volume(&disk.path(), HOSTS[..2].to_vec())],
        interfaces: vec![segment::name(0)],
        problems: Vec::new(),
    });
    let limit = Instant::now() + Duration::from_secs(20);
    let mut until = |come: &mut dyn FnMut() -> bool| {
        while !come() {
            assert!(Instant::now() < limit, "it does not happen");
            server.turn(true);
        }
    };
    let mut first = Vec::new();
    until(&mut || {
        first.extend(told());
        first.len() == 2
    });
    assert_eq!(first, HOSTS[..2]);
    std::fs::remove_dir_all(&folder).unwrap(); // nothing can be saved
    // The interface comes back while the loss of access is being saved.
    segment::with(0, |interface| interface.link.up = false);
    let (reply, mut down) = oneshot::channel();
    commands.send(Command::SetInterfaces { names: vec![segment::name(0)], reply }).unwrap();
    waker.wake();
    until(&mut || down.try_recv().is_ok_and(|result| result.is_err()));
    segment::with(0, |interface| interface.link.up = true);
    let (reply, mut access) = oneshot::channel();
    let change = Change::SetAccess { access: Access { macs: vec![HOSTS[0]], ..Access::default() }, reply };
    commands.send(Command::Change { uid: "v".into(), change }).unwrap();
    let (reply, _up) = oneshot::channel();
    commands.send(Command::SetInterfaces { names: vec![segment::name(0)], reply }).unwrap();
    waker.wake();
    until(&mut || access.try_recv().is_ok_and(|result| result.is_err()));
    let mut later = Vec::new();
    until(&mut || {
        later.extend(told());
        later.len() == 2
    });
    assert_eq!(later, HOSTS[..2]);
}
