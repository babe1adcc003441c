//! A target made for one script: its server, disks in memory, two interfaces in memory.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use aoe_target::definition::{Access, Address, Definition};
use aoe_target::net::sectors_for;
use aoe_target::serve::{Change, Command, Options, Reply, Server};
use aoe_target::wake::Waker;
use aoe_target::wire::{Mac, SECTOR};
use tokio::sync::oneshot;

use crate::answer::Answer;
use crate::disk::Disk;
use crate::judge::{self, Asked, Batch};
use crate::model::{VOLUMES, Volume};
use crate::script::{self, HOSTS, Setup, Step};
use crate::segment::{self, ETHERNET, MemorySocket};

const PORTS: usize = 2;
/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs the script in these bytes; panics when the target does what it must not.
pub fn serve(bytes: &[u8]) {
    let (setup, steps) = script::read(bytes);
    let mut rig = Rig::new(setup);
    for step in steps {
        rig.step(step);
    }
    rig.settle();
}

struct Rig {
    setup: Setup,
    server: Server<MemorySocket>,
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    disks: Vec<Disk>,
    volumes: Vec<Volume>,
    batch: Batch,
    tag: u32,
    /// Replies that have not come yet; each tells whether it has.
    waiting: Vec<Box<dyn FnMut() -> bool>>,
    /// Volumes, by number, as changes of access that were accepted have made them. A change overtakes a removal that waits for a disk,
    /// and is accepted then, though the model has removed the volume before.
    accepted: Rc<RefCell<Vec<(usize, Volume)>>>,
}

impl Rig {
    fn new(setup: Setup) -> Rig {
        aoe_target::log::silence();
        segment::reset(&[9000, 1500]);
        let (commands, receiver) = mpsc::channel();
        let waker = Arc::new(Waker::new().expect("a waker"));
        let options = Options { poll: Duration::ZERO, uring: false, inline_memory: setup.inline_memory };
        let server = Server::new(options, None, waker.clone(), receiver).expect("a server");
        let volume = |shelf, slot, sectors: usize, hosts: &[Mac]| Volume {
            shelf,
            slot,
            exported: true,
            read_only: hosts.is_empty(),
            anyone: hosts.is_empty(),
            hosts: hosts.to_vec(),
            config: Vec::new(),
            mask: Vec::new(),
            reserve: Vec::new(),
            data: (0..sectors * SECTOR).map(|at| (at / SECTOR) as u8 ^ slot).collect(),
            has_grown: false,
        };
        let volumes = vec![volume(7, 3, 40, &HOSTS[..2]), volume(7, 4, 9, &[]), volume(9, 3, 33, &HOSTS[1..2])];
        let disks = volumes.iter().map(|volume| Disk::new(&volume.data)).collect();
        let mut rig = Rig {
            setup,
            server,
            commands,
            waker,
            disks,
            volumes,
            batch: Batch::default(),
            tag: 0x8000_0000,
            waiting: Vec::new(),
            accepted: Rc::default(),
        };
        rig.set_interfaces();
        for at in 0..VOLUMES {
            rig.export(at);
        }
        rig.settle();
        rig
    }

    fn step(&mut self, step: Step) {
        let apart = match &step {
            // Frames of commands 1 to 3 change what those after them come to.
            Step::Frame { bytes, .. } => bytes.get(19).is_some_and(|command| (1..4).contains(command)),
            Step::Turn | Step::Settle => false,
            _ => true,
        } && !self.setup.mixed;
        if apart {
            self.settle();
        }
        match step {
            Step::Frame { port, bytes } => self.frame(port, bytes),
            Step::Access { volume, hosts, anyone } => self.access(volume, hosts, anyone),
            Step::Replace { volume, right, string } => self.replace(volume, right, string),
            Step::Export { volume, read_only, growth } => {
                self.volumes[volume].read_only = read_only;
                if growth > 0 {
                    self.volumes[volume].grow(growth);
                    self.disks[volume].grow(growth * SECTOR);
                }
                self.export(volume);
            }
            Step::Unexport { volume } => {
                let uid = uid(volume);
                self.volumes[volume].unexport();
                self.command(|reply| Command::Unexport { uid, reply }, |result| result.expect("it can go"));
            }
            Step::Link { port, mtu, up } => {
                segment::with(port, |interface| {
                    (interface.link.mtu, interface.link.up) = (mtu, up);
                    interface.clear();
                });
                self.set_interfaces();
            }
            Step::Turn => drop(self.server.turn(true)),
            Step::Settle => self.settle(),
        }
        if apart {
            self.settle();
        }
    }

    fn frame(&mut self, port: usize, mut bytes: Vec<u8>) {
        let link = segment::with(port, |interface| interface.link);
        if !link.up || sectors_for(link.mtu) == 0 {
            return;
        }
        bytes.truncate(link.mtu as usize + ETHERNET);
        self.tag += 1;
        if let Some(tag) = bytes.get_mut(20..24) {
            tag.copy_from_slice(&self.tag.to_be_bytes());
        }
        self.batch.asked.push(Asked {
            tag: self.tag,
            port,
            sectors: sectors_for(link.mtu),
            longest: link.mtu as usize + ETHERNET,
            frame: bytes.clone(),
        });
        segment::send(port, bytes);
    }

    fn access(&mut self, volume: usize, hosts: u8, anyone: bool) {
        let macs: Vec<Mac> = (0..3).filter(|at| hosts >> at & 1 == 1).map(|at| HOSTS[at]).collect();
        let access = Access { anyone, macs: macs.clone(), ..Access::default() };
        let mut changed = self.volumes[volume].clone();
        changed.set_access(anyone, macs);
        if changed.exported {
            self.volumes[volume] = changed.clone();
        }
        let (exported, accepted) = (changed.exported, self.accepted.clone());
        let note = move || accepted.borrow_mut().push((volume, changed));
        self.change(volume, |reply| Change::SetAccess { access, reply }, exported, note);
    }

    fn replace(&mut self, volume: usize, right: bool, string: Vec<u8>) {
        let model = &mut self.volumes[volume];
        let expected = if right { model.config.clone() } else { b"another".to_vec() };
        let done = model.exported && model.config == expected;
        if done {
            model.config.clone_from(&string);
        }
        self.change(volume, |reply| Change::ReplaceConfigString { expected, replacement: string, reply }, done, || {});
    }

    /// `then`: what to do when it was accepted.
    fn change<T: 'static>(&mut self, volume: usize, change: impl FnOnce(Reply<T>) -> Change, good: bool, then: impl FnOnce() + 'static) {
        let (uid, mixed) = (uid(volume), self.setup.mixed);
        self.command(
            |reply| Command::Change { uid, change: change(reply) },
            move |result| {
                assert!(mixed || result.is_ok() == good);
                if result.is_ok() {
                    then();
                }
            },
        );
    }

    fn export(&mut self, at: usize) {
        let model = &mut self.volumes[at];
        model.exported = true;
        model.set_access(model.anyone, model.hosts.clone());
        let definition = Definition {
            uid: uid(at),
            address: Address { shelf: model.shelf, slot: model.slot },
            path: self.disks[at].path(),
            serial: uid(at),
            read_only: model.read_only,
            access: Access { anyone: model.anyone, macs: model.hosts.clone(), ..Access::default() },
            sectors: if model.has_grown { model.sectors() } else { 0 },
            for_copies: false,
            limits: None,
            reclaim: at.is_multiple_of(2),
        };
        self.batch.note(at, model);
        let mixed = self.setup.mixed;
        self.command(
            |reply| Command::Export { definition: Box::new(definition), reply },
            move |result| {
                if let Err(error) = result {
                    assert!(mixed, "{error}");
                }
            },
        );
    }

    fn set_interfaces(&mut self) {
        let names = (0..PORTS).map(segment::name).collect();
        self.command(|reply| Command::SetInterfaces { names, reply }, |result| assert_eq!(result.expect("they are set").len(), PORTS));
    }

    fn command<T: 'static>(
        &mut self,
        command: impl FnOnce(Reply<T>) -> Command,
        check: impl FnOnce(Result<T, aoe_target::serve::Error>) + 'static,
    ) {
        let (reply, mut answer) = oneshot::channel();
        self.commands.send(command(reply)).expect("the server lives");
        self.waker.wake();
        let mut check = Some(check);
        self.waiting.push(Box::new(move || match answer.try_recv() {
            Ok(result) => {
                check.take().expect("one reply")(result);
                true
            }
            Err(oneshot::error::TryRecvError::Empty) => false,
            Err(oneshot::error::TryRecvError::Closed) => panic!("a command was forgotten"),
        }));
    }

    /// Lets all be done that there is to do, and looks at what became of it.
    fn settle(&mut self) {
        let limit = Instant::now() + LIMIT;
        loop {
            let busy = self.server.turn(true);
            self.waiting.retain_mut(|come| !come());
            if !busy && self.waiting.is_empty() {
                break;
            }
            if !busy {
                assert!(Instant::now() < limit, "it hangs");
                std::thread::yield_now(); // a disk is being opened
            }
        }
        assert!(self.server.is_quiet(), "a request was forgotten");
        let mut batch = std::mem::take(&mut self.batch);
        for (volume, state) in self.accepted.take() {
            batch.note(volume, &state);
        }
        let mut announced = Vec::new();
        for port in 0..PORTS {
            for frame in segment::with(port, |interface| std::mem::take(&mut interface.sent)) {
                let answer = Answer::new(&frame);
                assert_eq!(answer.header.source, segment::mac(port));
                if answer.header.tag == 0 {
                    announced.push(answer);
                } else {
                    batch.answer(port, answer);
                }
            }
        }
        judge::announcements(&announced, &self.volumes, &batch);
        let found: Vec<Vec<u8>> = self.disks.iter().map(Disk::content).collect();
        if self.setup.mixed {
            judge::mixed(&batch, &self.volumes, &found);
            for (volume, found) in self.volumes.iter_mut().zip(found) {
                volume.data = found;
            }
        } else {
            judge::one_by_one(&mut batch, &mut self.volumes);
            for (volume, found) in self.volumes.iter().zip(&found) {
                assert!(volume.data == *found, "the disk of e{}.{} is not as the model's", volume.shelf, volume.slot);
            }
        }
        for (at, volume) in self.volumes.iter().enumerate() {
            self.batch.note(at, volume);
        }
    }
}

fn uid(volume: usize) -> String {
    format!("v{volume}")
}
