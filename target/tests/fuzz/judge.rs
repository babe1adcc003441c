//! Whether a target did what it may, and all that it must.

use std::collections::HashMap;

use aoe_target::wire::header::{Failure, command};
use aoe_target::wire::{Ata, AtaView, Header, HeaderView, Mac, SECTOR, ata};

use crate::answer::{self, Answer};
use crate::model::Volume;

/// A frame that was handed to the target.
pub struct Asked {
    pub tag: u32,
    pub port: usize,
    /// That a frame may carry there, and bytes that it may have.
    pub sectors: u8,
    pub longest: usize,
    pub frame: Vec<u8>,
}

/// What happened since all was quiet.
#[derive(Default)]
pub struct Batch {
    pub asked: Vec<Asked>,
    /// By the request's tag, and the volume's address.
    answers: HashMap<(u32, u16, u8), Answer>,
    /// Volumes as they were at some time.
    states: Vec<(usize, bool, bool, Vec<Mac>)>,
}

impl Batch {
    pub fn note(&mut self, volume: usize, state: &Volume) {
        self.states.push((volume, state.read_only, state.anyone, state.hosts.clone()));
    }

    pub fn answer(&mut self, port: usize, answer: Answer) {
        let Header { tag, shelf, slot, .. } = answer.header;
        let asked = self.asked.iter().find(|asked| asked.tag == tag).unwrap_or_else(|| panic!("nobody asked for {:?}", answer.header));
        let request = Header::parse(&HeaderView::new_checked(&asked.frame).expect("a request has a header"));
        assert_eq!((answer.header.destination, answer.header.command, port), (request.source, request.command, asked.port));
        assert!(self.answers.insert((tag, shelf, slot), answer).is_none(), "answered twice: {request:?}");
    }

    fn allowed(&self, volume: usize, mac: Mac) -> bool {
        self.states.iter().any(|(of, _, anyone, hosts)| *of == volume && (*anyone || hosts.contains(&mac)))
    }

    fn writable(&self, volume: usize) -> bool {
        self.states.iter().any(|(of, read_only, ..)| *of == volume && !read_only)
    }
}

/// Nobody is told of a volume who may not use it.
pub fn announcements(found: &[Answer], volumes: &[Volume], batch: &Batch) {
    for answer in found {
        assert_eq!((answer.header.command, answer.header.error), (command::CONFIG, 0));
        let of = volumes.iter().position(|volume| (volume.shelf, volume.slot) == (answer.header.shelf, answer.header.slot));
        let to = answer.header.destination;
        let known = batch
            .states
            .iter()
            .any(|(volume, _, anyone, hosts)| Some(*volume) == of && if to == Mac::BROADCAST { *anyone } else { hosts.contains(&to) });
        assert!(known, "{:?} was announced to {to}", answer.header);
    }
}

/// When each thing was over before the next began, all is as in the model.
pub fn one_by_one(batch: &mut Batch, volumes: &mut [Volume]) {
    for asked in &batch.asked {
        for volume in volumes.iter_mut() {
            let expected = volume.take(&asked.frame, asked.sectors).filter(|expected| answer::length(expected) <= asked.longest);
            let answer = batch.answers.remove(&(asked.tag, volume.shelf, volume.slot));
            match (expected, answer) {
                (None, None) => {}
                (Some(expected), Some(answer)) => answer.check(&expected),
                (expected, answer) => panic!("{expected:?} expected, not {answer:?}, to {:02x?}", asked.frame),
            }
        }
    }
    assert!(batch.answers.is_empty(), "{:?} is of no volume", batch.answers);
}

/// When things happened at the same time: what must never be, in whatever order they did.
pub fn mixed(batch: &Batch, volumes: &[Volume], found: &[Vec<u8>]) {
    for (at, (volume, found)) in volumes.iter().zip(found).enumerate() {
        let writes: Vec<(u64, &[u8])> = batch.asked.iter().filter_map(|asked| write(batch, asked, at, volume)).collect();
        let before = |sector: usize| &volume.data[sector * SECTOR..][..SECTOR];
        let may_be = |sector: usize, data: &[u8]| {
            let mut written =
                writes.iter().filter_map(|(first, data)| data.get((sector as u64).checked_sub(*first)? as usize * SECTOR..)?.get(..SECTOR));
            data == before(sector) || written.any(|written| written == data)
        };
        for (sector, data) in found.chunks_exact(SECTOR).enumerate() {
            assert!(may_be(sector, data), "sector {sector} of e{}.{} holds what no admitted host wrote", volume.shelf, volume.slot);
        }
        for asked in &batch.asked {
            let Some(answer) = batch.answers.get(&(asked.tag, volume.shelf, volume.slot)) else { continue };
            assert!(answer.argument.len() <= asked.longest);
            let view = HeaderView::new_checked(&asked.frame).expect("a request has a header");
            assert!(volume.addressed(&view).is_some());
            if answer.header.command != command::ATA || answer.header.error != 0 {
                assert!(answer.header.command != command::ATA || answer.argument.len() == 36, "an AoE error carries no data");
                continue;
            }
            let request = Ata::parse(&AtaView::new_checked(view.argument()).expect("a request has registers"));
            let good = answer.ata().command & 0xa9 == 0;
            assert!(!good || batch.allowed(at, view.source()), "{} was never admitted", view.source());
            if good && matches!(request.command, ata::command::READ | ata::command::READ_EXT) {
                for (index, data) in answer.read(request.count).chunks_exact(SECTOR).enumerate() {
                    assert!(may_be(request.sector() as usize + index, data));
                }
            } else if good && request.command == ata::command::IDENTIFY {
                answer.read(1);
            } else {
                answer.read(0);
            }
        }
    }
    for ((tag, shelf, slot), answer) in &batch.answers {
        let known = volumes.iter().any(|volume| (volume.shelf, volume.slot) == (*shelf, *slot));
        assert!(known, "{tag:#x} was answered as e{shelf}.{slot}");
        assert!(answer.header.error <= Failure::TargetReserved as u8);
    }
}

/// First sector and data of a write that may have been done.
fn write<'a>(batch: &Batch, asked: &'a Asked, at: usize, volume: &Volume) -> Option<(u64, &'a [u8])> {
    let view = HeaderView::new_checked(&asked.frame).ok()?;
    if volume.addressed(&view) != Some(true) || !batch.allowed(at, view.source()) || !batch.writable(at) {
        return None;
    }
    let argument = AtaView::new_checked(view.argument()).ok()?;
    let request = Ata::parse(&argument);
    let is_write = matches!(request.command, ata::command::WRITE | ata::command::WRITE_EXT);
    let data = argument.data().get(..usize::from(request.count) * SECTOR)?;
    (is_write && request.count <= asked.sectors).then_some((request.sector(), data))
}
