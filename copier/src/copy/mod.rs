//! The two passes of a job: `write` copies, `verify` compares. In each, one thread reads the source while another handles what was
//! read.

#[cfg(test)]
mod model_tests;
pub mod verify;
pub mod write;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};

use crate::control::{Control, Place};
use crate::disk::{Device, open};
use crate::failure::Failure;
use crate::job::state::{Course, Progress};
use crate::job::{Job, Source as From};
use crate::plan::Plan;
use crate::plan::feed::{Chunk, Feed, Item};
use crate::plan::map::Map;
use crate::source::Source;
use crate::source::aoe::AoeSource;
use crate::source::local::LocalSource;

/// Memory of a job: so many pieces of data, and one more for what is compared.
const CHUNKS: usize = 6;
const STACK: usize = 256 << 10;

/// Keeps progress. It is on stable storage when `save` returns.
pub trait Keeper: Sync {
    fn progress(&self) -> Progress;
    fn save(&self, progress: Progress) -> Result<(), Failure>;
}

/// Handles what was read from the source, in order.
pub trait Handler: Send {
    fn take(&mut self, item: &mut Item) -> Result<(), Failure>;
}

/// Goes on with a job, until it is verified or something stands in the way.
pub fn attempt(job: &Job, keeper: &impl Keeper, control: &Arc<Control>) -> Result<(), Failure> {
    // First, so that nobody opens a destination that may be half a copy, whatever the source does.
    let waits = control.begin(Place::Destination);
    let destination = open::destination(&job.destination.path, job.bytes)?;
    drop(waits);
    if keeper.progress().copied < job.bytes {
        let from = keeper.progress().copied;
        let zeroed = job.destination.zeroed;
        pass(job, &destination, from, !zeroed, control, write::Writer::new(&destination, zeroed, keeper, control))?;
    }
    let from = keeper.progress().verified;
    // What is read at the destination only is a load, too, unless it is known to be a hole.
    let charge_zeros = destination.is_block();
    pass(job, &destination, from, charge_zeros, control, verify::Verifier::new(&destination, keeper, control))?;
    keeper.save(Progress { course: Course::Verified, ended: crate::job::state::now(), ..keeper.progress() })
}

/// Reads the source from a place on, and has all of it handled.
fn pass(
    job: &Job,
    destination: &Device,
    from: u64,
    charge_zeros: bool,
    control: &Arc<Control>,
    handler: impl Handler,
) -> Result<(), Failure> {
    let plan = |map: Map| Plan::new(map, from, job.bytes);
    match &job.source {
        From::Local { path } => {
            let waits = control.begin(Place::Source);
            let source = LocalSource::open(path, job.bytes)?;
            drop(waits);
            if source.device().is_same(destination) {
                return Err(Failure::fatal(format_args!("source {path} and destination {} are the same", destination.path)));
            }
            let map = source.map(&job.ranges)?;
            run(source, plan(map), from, charge_zeros, control, handler)
        }
        From::Aoe { address, serial, interfaces } => {
            let source = AoeSource::open(*address, serial, interfaces, job.bytes, control)?;
            let map = if job.ranges.is_empty() { Map::Whole } else { Map::Ranges(job.ranges.clone()) };
            run(source, plan(map), from, charge_zeros, control, handler)
        }
    }
}

/// Reads in this thread, and handles in another.
pub fn run(
    mut source: impl Source,
    plan: Plan,
    from: u64,
    charge_zeros: bool,
    control: &Arc<Control>,
    mut handler: impl Handler,
) -> Result<(), Failure> {
    let (free, returned) = channel();
    for _ in 0..CHUNKS {
        let _ = free.send(Chunk::new());
    }
    let mut feed = Feed::new(plan, from, charge_zeros, control.clone(), returned);
    let (sender, items) = sync_channel::<Item>(CHUNKS);
    std::thread::scope(|scope| {
        let work = move || {
            for mut item in items {
                let _waits = control.begin(Place::Destination);
                handler.take(&mut item)?;
                give_back(item, &free);
            }
            Ok(())
        };
        let builder = std::thread::Builder::new().name("disk".into()).stack_size(STACK);
        let handling = builder.spawn_scoped(scope, work).map_err(|error| Failure::wait(format_args!("starting a thread: {error}")))?;
        let read = loop {
            match source.next(&mut feed) {
                Ok(Some(item)) => {
                    // An error here: the other thread has ended, and says why.
                    if sender.send(item).is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        drop(sender);
        let handled = handling.join().expect("a thread that panics ends the process");
        // What stands in the way of the destination is nearer than what the source says.
        handled.and(read)
    })
}

fn give_back(item: Item, free: &Sender<Chunk>) {
    if let Item::Data(chunk) = item {
        // An error: the pass has ended.
        let _ = free.send(chunk);
    }
}
