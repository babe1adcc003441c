//! A target that is never idle: there always is another frame.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use aoe_target::definition::{Access, Address, Definition};
use aoe_target::serve::{Command, Event, Options, Server, WATCH_QUEUE};
use aoe_target::store::{Loaded, Saved};
use aoe_target::wake::Waker;
use aoe_target::wire::{Mac, header};

use crate::script::HOSTS;
use crate::segment::{self, MemorySocket};

static STOP: AtomicBool = AtomicBool::new(false);

/// A volume for these hosts.
pub fn volume(path: &str, macs: Vec<Mac>) -> Saved {
    let access = Access { macs, ..Access::default() };
    let address = Address { shelf: 7, slot: 3 };
    Saved::new(Definition {
        uid: "v".into(),
        address,
        path: path.into(),
        serial: "v".into(),
        read_only: false,
        access,
        sectors: 0,
        for_copies: false,
        limits: None,
        reclaim: false,
    })
}

/// Serves on if0, by which frames come without end, and if1, which cannot be opened at first.
fn serve(path: &str, waker: Arc<Waker>, commands: mpsc::Receiver<Command>) {
    aoe_target::log::silence();
    segment::reset(&[1500, 1500]);
    segment::send(0, vec![0xff; header::LENGTH]);
    segment::with(0, |interface| interface.endless = true);
    segment::with(1, |interface| interface.failures = 3); // for longer than the disk
    let options = Options { poll: Duration::ZERO, uring: false, inline_memory: true };
    let mut server: Server<MemorySocket> = Server::new(options, None, waker, commands).expect("a server");
    server.restore(Loaded {
        volumes: vec![volume(path, vec![HOSTS[0]])],
        interfaces: vec![segment::name(0), segment::name(1)],
        problems: Vec::new(),
    });
    server.run(&STOP);
}

#[test]
fn what_failed_is_tried_again_however_much_there_is_to_do() {
    let path = std::env::temp_dir().join(format!("aoe-busy-{}", std::process::id()));
    let (commands, receiver) = mpsc::channel();
    let waker = Arc::new(Waker::new().unwrap());
    let target = std::thread::spawn({
        let (path, waker) = (path.clone(), waker.clone());
        move || serve(path.to_str().unwrap(), waker, receiver)
    });
    let (watcher, mut events) = tokio::sync::mpsc::channel(WATCH_QUEUE);
    commands.send(Command::Watch { watcher }).unwrap();
    waker.wake();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut until = |what: &str, wanted: &dyn Fn(&Event) -> bool| {
        runtime.block_on(async {
            while let Ok(event) = tokio::time::timeout(Duration::from_secs(60), events.recv()).await {
                if wanted(&event.expect("the target lives")) {
                    return;
                }
            }
            panic!("not {what}");
        });
    };
    until("failed", &|event| matches!(event, Event::Changed(state) if !state.error.is_empty()));
    std::fs::write(&path, [0; 4096]).unwrap();
    until("served", &|event| matches!(event, Event::Changed(state) if state.error.is_empty() && state.sectors == 8));
    let served = |interface: &aoe_target::serve::InterfaceState| interface.name == "if1" && interface.serving;
    until("open", &|event| matches!(event, Event::Interface(interface) if served(interface)));
    STOP.store(true, Ordering::Relaxed);
    waker.wake();
    target.join().unwrap();
    std::fs::remove_file(&path).unwrap();
}
