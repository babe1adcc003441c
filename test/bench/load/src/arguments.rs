use std::time::Duration;

use aoe_target::definition::Address;

use crate::load::MAX_WINDOW;
use crate::plan::Order;

pub const HELP: &str = "\
aoe-load: puts a load on ATA over Ethernet volumes, checks every answer, prints what it measured as JSON

  aoe-load --interface IF --volume SHELF.SLOT --operation fill|read|write [OPTION VALUE]...

  fill   writes every block once; what is read later is checked against it
  read   reads what fill or write left there
  write  writes, then reads all of it back (which is not measured) and checks that it is the newest

Options:
  --volumes N         how many volumes, from --volume on (default 1); a shelf has 255 slots
  --order O           random or sequential (default random)
  --sectors N         sectors in a frame (default 8)
  --span N            sectors of each volume to use (default: all, 131072 at most)
  --window N          requests under way at once, of all volumes together (default 64)
  --seconds S         how long (default 2)
  --count N           ends after so many answers instead
  --poll yes          looks for answers without sleeping
  --again MS          time after which a request is sent again (default 250)
  --give-up S         time after which it has failed (default 10)
  --pids P[,P...]     processes whose CPU time and memory are told, too
  --each yes          percentiles of each volume
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Fill,
    Read,
    Write,
}

#[derive(Debug, PartialEq)]
pub struct Arguments {
    pub interface: String,
    pub first: Address,
    pub volumes: usize,
    pub operation: Operation,
    pub order: Order,
    pub sectors: u8,
    pub span: Option<u64>,
    pub window: usize,
    pub time: Duration,
    pub count: Option<u64>,
    pub poll: bool,
    pub again: Duration,
    pub give_up: Duration,
    pub pids: Vec<u32>,
    pub each: bool,
}

/// Reads the arguments after the program's name; the error says what is wrong.
pub fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut interface, mut first, mut operation) = (None, None, None);
    let mut arguments = Arguments {
        interface: String::new(),
        first: Address { shelf: 0, slot: 0 },
        volumes: 1,
        operation: Operation::Read,
        order: Order::Random,
        sectors: 8,
        span: None,
        window: 64,
        time: Duration::from_secs(2),
        count: None,
        poll: false,
        again: Duration::from_millis(250),
        give_up: Duration::from_secs(10),
        pids: Vec::new(),
        each: false,
    };
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        let wrong = || format!("{name} {value}: not understood; --help shows all");
        match name.as_str() {
            "--interface" => interface = Some(value),
            "--volume" => first = Some(address(&value).ok_or_else(wrong)?),
            "--operation" => {
                operation = Some(match value.as_str() {
                    "fill" => Operation::Fill,
                    "read" => Operation::Read,
                    "write" => Operation::Write,
                    _ => return Err(wrong()),
                });
            }
            "--order" => {
                arguments.order = match value.as_str() {
                    "random" => Order::Random,
                    "sequential" => Order::Sequential,
                    _ => return Err(wrong()),
                }
            }
            "--volumes" => arguments.volumes = number(&value, 1, 65_000).ok_or_else(wrong)? as usize,
            "--sectors" => arguments.sectors = number(&value, 1, 255).ok_or_else(wrong)? as u8,
            "--span" => arguments.span = Some(number(&value, 1, 1 << 48).ok_or_else(wrong)?),
            "--window" => arguments.window = number(&value, 1, MAX_WINDOW as u64).ok_or_else(wrong)? as usize,
            "--seconds" => arguments.time = seconds(&value).ok_or_else(wrong)?,
            "--count" => arguments.count = Some(number(&value, 1, u64::MAX).ok_or_else(wrong)?),
            "--again" => arguments.again = Duration::from_millis(number(&value, 1, 60_000).ok_or_else(wrong)?),
            "--give-up" => arguments.give_up = seconds(&value).ok_or_else(wrong)?,
            "--poll" => arguments.poll = yes(&value).ok_or_else(wrong)?,
            "--each" => arguments.each = yes(&value).ok_or_else(wrong)?,
            "--pids" => arguments.pids = value.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?,
            _ => return Err(wrong()),
        }
    }
    arguments.interface = interface.ok_or("--interface is missing; --help shows all")?;
    arguments.first = first.ok_or("--volume is missing; --help shows all")?;
    arguments.operation = operation.ok_or("--operation is missing; --help shows all")?;
    Ok(arguments)
}

fn address(text: &str) -> Option<Address> {
    let (shelf, slot) = text.trim_start_matches('e').split_once('.')?;
    Address::checked(shelf.parse().ok()?, slot.parse().ok()?).ok()
}

fn number(text: &str, least: u64, most: u64) -> Option<u64> {
    text.parse().ok().filter(|number| (least..=most).contains(number))
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn yes(text: &str) -> Option<bool> {
    match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Arguments, String> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_load_is_described_in_words() {
        let load = parsed("--interface h0 --volume 7.3 --operation write --order sequential --window 16 --seconds 0.5 --pids 3,4").unwrap();
        assert_eq!((load.interface.as_str(), load.first), ("h0", Address { shelf: 7, slot: 3 }));
        assert_eq!((load.operation, load.order, load.window), (Operation::Write, Order::Sequential, 16));
        assert_eq!((load.time, load.pids), (Duration::from_millis(500), vec![3, 4]));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let cases = [
            ("--volume 7.3 --operation read", "--interface"),
            ("--interface h0 --operation read", "--volume"),
            ("--interface h0 --volume 7.3", "--operation"),
            ("--window 0", "--window 0"),
            ("--window 5000", "--window 5000"),
            ("--volume 65535.0", "--volume 65535.0"),
            ("--poll maybe", "--poll maybe"),
            ("--seconds -1", "--seconds -1"),
            ("--seconds", "needs a value"),
            ("--bogus 1", "--bogus 1"),
        ];
        for (text, expected) in cases {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
