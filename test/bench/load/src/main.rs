//! Load generator for ATA over Ethernet targets: `disk` what volumes there are, `plan` what is read or
//! written when, `request` one frame and its answer, `pattern` what a sector holds, `load` the window of requests.

mod arguments;
mod disk;
mod histogram;
mod load;
mod pattern;
mod plan;
mod process;
mod report;
mod request;

use std::process::ExitCode;

use aoe_target::definition::Address;
use aoe_target::net::initiator::InitiatorSocket;
use arguments::{Arguments, Operation};
use disk::Disk;
use load::{Load, Measured, Settings, Until};
use plan::Order;
use report::Around;

/// Sectors of a volume that are used unless told otherwise: 64 MiB.
const SPAN: u64 = 131_072;
/// Answers that the receive ring holds, at least: those to questions, too.
const RING: usize = 64;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        print!("{}", arguments::HELP);
        return ExitCode::SUCCESS;
    }
    let result = arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments));
    match result {
        Ok((line, good)) => {
            println!("{line}");
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("aoe-load: {message}");
            ExitCode::from(2)
        }
    }
}

/// The line to print, and whether all went well.
fn run(arguments: &Arguments) -> Result<(String, bool), String> {
    let told = |error: std::io::Error| format!("{}: {error}", arguments.interface);
    let mut socket = InitiatorSocket::open(&arguments.interface, RING.max(arguments.window * 2)).map_err(told)?;
    let addresses = disk::addresses(arguments.first, arguments.volumes).map_err(|invalid| invalid.to_string())?;
    let disks = disk::discover(&mut socket, &addresses).map_err(told)?;
    let settings = settings(arguments, &disks)?;
    let (order, write, until) = match arguments.operation {
        Operation::Fill => (Order::Once, true, None),
        operation => {
            let until = arguments.count.map_or(Until::Elapsed(arguments.time), Until::Answered);
            (arguments.order, operation == Operation::Write, Some(until))
        }
    };
    let mut load = Load::new(&mut socket, &disks, settings.clone());
    let me = [std::process::id()];
    let before = (process::cpu(&arguments.pids), process::cpu(&me));
    let measured = load.run(order, write, until).map_err(told)?;
    let after = (process::cpu(&arguments.pids), process::cpu(&me));
    let watched = !arguments.pids.is_empty();
    let resident = watched.then(|| process::resident(&arguments.pids));
    let check = match arguments.operation {
        Operation::Write => load.run(Order::Written, false, None).map_err(told)?,
        _ => Measured::default(),
    };
    let around = Around {
        bytes_per_request: u64::from(settings.sectors) * 512,
        target_cpu: watched.then(|| after.0.saturating_sub(before.0)),
        own_cpu: after.1 - before.1,
        resident,
        dropped: socket.dropped(),
        compared: check.latency.total(),
    };
    let bad = [&measured, &check].iter().map(|part| part.counts.wrong + part.counts.unanswered).sum::<u64>();
    let mut measured = measured;
    measured.counts.wrong += check.counts.wrong;
    measured.counts.unanswered += check.counts.unanswered;
    let each: Option<&[Address]> = arguments.each.then_some(&addresses);
    Ok((report::json(&measured, &around, each), bad == 0))
}

/// How to put the load on, if the volumes allow it.
fn settings(arguments: &Arguments, disks: &[Disk]) -> Result<Settings, String> {
    let smallest = disks.iter().map(|disk| disk.sectors).min().unwrap_or(0);
    let blocks = arguments.span.unwrap_or(smallest.min(SPAN)) / u64::from(arguments.sectors);
    let share = arguments.window.div_ceil(arguments.volumes);
    for disk in disks {
        if arguments.sectors > disk.max_sectors {
            return Err(format!("{} takes at most {} sectors in a frame", disk.address, disk.max_sectors));
        }
        if share > usize::from(disk.buffers) {
            return Err(format!("{} takes at most {} frames at once", disk.address, disk.buffers));
        }
        if blocks * u64::from(arguments.sectors) > disk.sectors {
            return Err(format!("{} has {} sectors only", disk.address, disk.sectors));
        }
    }
    if blocks <= arguments.window as u64 {
        return Err(format!("{blocks} blocks of a volume are too few for {} requests at once", arguments.window));
    }
    let Arguments { sectors, window, poll, again, give_up, .. } = *arguments;
    Ok(Settings { sectors, blocks, window, poll, again, give_up })
}
