//! The command line.

pub mod pcap;

use std::path::PathBuf;
use std::time::Duration;

use crate::definition::{Access, Address, Definition};
use crate::wire::mac::BadMac;

pub const HELP: &str = "\
aoe-target: serves block devices and files over ATA over Ethernet

  aoe-target --state DIR --socket PATH
      Serves volumes as gRPC calls on a unix socket say, and those that it served before.

  aoe-target --interface IF[,IF...] --export SHELF.SLOT=PATH[,ro][,reclaim][,serial=S][,mac=MAC]... [--state DIR]
      Serves these volumes on these interfaces. Without mac=, every host on the segment may use a volume.

  aoe-target trace --socket PATH [--volume UID] [--mac MAC] [--frames N] [--seconds S] [--snap BYTES] > FILE.pcap
      Writes the frames that a running target receives and sends: all, or those of a volume or of an initiator. At most
      N frames (10000) in S seconds (60), and BYTES (256) of each.

Options:
  --state DIR           keeps exports, config strings, and mask and reserve lists across restarts
  --socket PATH         unix socket for gRPC
  --interface IF        interface to serve on; may be given more than once
  --export ...          a volume to serve; may be given more than once. With `reclaim`, zeros give back what they overwrite: for a
                        file, or a thin volume of LVM whose pool zeroes new blocks and passes no discards down, and nothing else
  --poll MICROSECONDS   how long to poll for the next frame before sleeping (default 50; 0 on a single CPU)
  --no-uring            uses threads instead of io_uring
  --help, --version
";

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    pub state: Option<PathBuf>,
    pub socket: Option<PathBuf>,
    pub interfaces: Vec<String>,
    pub exports: Vec<Definition>,
    pub poll: Option<Duration>,
    pub no_uring: bool,
}

#[derive(Debug, PartialEq)]
pub enum Parsed {
    Run(Arguments),
    Trace(pcap::Arguments),
    Help,
    Version,
}

/// What is wrong with the command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    #[error("unknown argument {0:?}; --help shows all")]
    Unknown(String),
    #[error("{0} needs a value")]
    NoValue(String),
    #[error("--poll: 0 to 100000 microseconds")]
    Poll,
    #[error("{0}: must be a whole number above 0")]
    Number(String),
    #[error("trace needs --socket, where the target listens; --help shows all")]
    TraceNeedsSocket,
    #[error("nothing to serve: give --socket and --state, or --interface and --export; --help shows all")]
    NothingToServe,
    #[error("--socket needs --state: what is exported by gRPC must outlive a restart")]
    SocketNeedsState,
    #[error("--export needs --interface")]
    ExportNeedsInterface,
    #[error("{0} is exported twice")]
    Twice(Address),
    #[error("--export {text:?}: {problem}")]
    Export { text: String, problem: String },
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Parsed, Misuse> {
    let mut parsed = Arguments::default();
    let mut arguments = arguments.into_iter().peekable();
    if arguments.next_if(|first| first == "trace").is_some() {
        return Ok(pcap::parse(arguments)?.map_or(Parsed::Help, Parsed::Trace));
    }
    while let Some(argument) = arguments.next() {
        let (name, given) = split(argument);
        match (name.as_str(), &given) {
            ("--help" | "-h", None) => return Ok(Parsed::Help),
            ("--version" | "-V", None) => return Ok(Parsed::Version),
            ("--no-uring", None) => {
                parsed.no_uring = true;
                continue;
            }
            ("--state" | "--socket" | "--interface" | "--export" | "--poll", _) => {}
            _ => return Err(Misuse::Unknown(name)),
        }
        let value = given.or_else(|| arguments.next()).ok_or_else(|| Misuse::NoValue(name.clone()))?;
        match name.as_str() {
            "--state" => parsed.state = Some(value.into()),
            "--socket" => parsed.socket = Some(value.into()),
            "--interface" => parsed.interfaces.extend(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned)),
            "--export" => parsed.exports.push(export(&value)?),
            _ => {
                let micros: u64 = value.parse().ok().filter(|micros| *micros <= 100_000).ok_or(Misuse::Poll)?;
                parsed.poll = Some(Duration::from_micros(micros));
            }
        }
    }
    check(&parsed)?;
    Ok(Parsed::Run(parsed))
}

/// `--name=value` in two; the value of `--name value` is the next argument.
fn split(argument: String) -> (String, Option<String>) {
    match argument.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
        _ => (argument, None),
    }
}

fn check(parsed: &Arguments) -> Result<(), Misuse> {
    if parsed.exports.is_empty() && parsed.socket.is_none() {
        return Err(Misuse::NothingToServe);
    }
    if parsed.socket.is_some() && parsed.state.is_none() {
        return Err(Misuse::SocketNeedsState);
    }
    if !parsed.exports.is_empty() && parsed.interfaces.is_empty() {
        return Err(Misuse::ExportNeedsInterface);
    }
    for (index, export) in parsed.exports.iter().enumerate() {
        if parsed.exports[..index].iter().any(|other| other.address == export.address) {
            return Err(Misuse::Twice(export.address));
        }
    }
    Ok(())
}

/// `SHELF.SLOT=PATH[,ro][,serial=S][,mac=MAC]...`
fn export(text: &str) -> Result<Definition, Misuse> {
    let problem = |problem: &dyn std::fmt::Display| Misuse::Export { text: text.to_owned(), problem: problem.to_string() };
    let (address, rest) = text.split_once('=').ok_or_else(|| problem(&"must be SHELF.SLOT=PATH"))?;
    let (shelf, slot) = address.trim_start_matches('e').split_once('.').ok_or_else(|| problem(&"the address must be SHELF.SLOT"))?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| problem(&"shelf and slot must be numbers"));
    let address = Address::checked(number(shelf)?, number(slot)?).map_err(|what| problem(&what))?;
    let mut parts = rest.split(',');
    let path = parts.next().unwrap_or_default();
    let path = std::path::absolute(path).map_err(|_| problem(&"no path"))?;
    let mut definition = Definition {
        uid: address.to_string(),
        address,
        path: path.to_str().ok_or_else(|| problem(&"the path is not UTF-8"))?.to_owned(),
        serial: address.to_string(),
        read_only: false,
        access: Access::default(),
        sectors: 0,
        for_copies: false,
        limits: None,
        reclaim: false,
    };
    for part in parts {
        match part.split_once('=') {
            None if part == "ro" => definition.read_only = true,
            None if part == "reclaim" => definition.reclaim = true,
            Some(("serial", serial)) => definition.serial = serial.to_owned(),
            Some(("mac", mac)) => definition.access.macs.push(mac.parse().map_err(|what: BadMac| problem(&what))?),
            _ => return Err(problem(&format_args!("unknown setting {part:?}; there are ro, reclaim, serial= and mac="))),
        }
    }
    definition.access.anyone = definition.access.macs.is_empty();
    definition.check().map_err(|what| problem(&what))?;
    Ok(definition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Parsed, Misuse> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_target_alone_is_described_by_its_arguments() {
        let Ok(Parsed::Run(arguments)) =
            parsed("--interface a,b --interface=c --export 7.3=/dev/x,ro,serial=S1,mac=02:00:00:00:00:01 --export e7.4=/y --poll 0")
        else {
            panic!()
        };
        assert_eq!(arguments.interfaces, ["a", "b", "c"]);
        let [first, second] = &arguments.exports[..] else { panic!() };
        assert_eq!((first.uid.as_str(), first.path.as_str(), first.serial.as_str()), ("e7.3", "/dev/x", "S1"));
        assert!(first.read_only && !first.access.anyone && first.access.macs.len() == 1);
        assert!(!second.read_only && second.access.anyone);
        assert_eq!(arguments.poll, Some(Duration::ZERO));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("", "nothing to serve"),
            ("--socket /s", "needs --state"),
            ("--export 1.1=/x", "needs --interface"),
            ("--interface a --export 1.1=/x --export 1.1=/y", "twice"),
            ("--interface a --export 1.1", "SHELF.SLOT=PATH"),
            ("--interface a --export x=/x", "SHELF.SLOT"),
            ("--interface a --export 65535.1=/x", "shelf"),
            ("--interface a --export 1.1=/x,rw", "unknown setting"),
            ("--interface a --export 1.1=/x,mac=1", "MAC"),
            ("--state", "needs a value"),
            ("--poll x", "microseconds"),
            ("--bogus", "unknown argument"),
            ("--no-uring=1", "unknown argument"),
        ];
        for (text, expected) in cases {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn help_and_version_are_asked_for() {
        assert_eq!(parsed("--help"), Ok(Parsed::Help));
        assert_eq!(parsed("trace --help"), Ok(Parsed::Help));
        assert!(matches!(parsed("trace --socket /s"), Ok(Parsed::Trace(_))));
        assert_eq!(parsed("--state /x -V"), Ok(Parsed::Version));
    }
}
