//! The command line.

use std::path::PathBuf;

pub const HELP: &str = "\
aoe-copier: copies block devices, files and ATA over Ethernet disks to local devices and files, and verifies what it copied

  aoe-copier --state DIR --socket PATH
      Does jobs as gRPC calls on a unix socket say, and goes on with those that it did before.

Options:
  --state DIR      keeps jobs and their progress across restarts
  --socket PATH    unix socket for gRPC
  --parallel N     jobs that run at once, 1 to 16 (default 2)
  --with-parent    ends when the process does that has started it
  --help, --version
";

const PARALLEL: usize = 2;

#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    pub state: PathBuf,
    pub socket: PathBuf,
    pub parallel: usize,
    pub with_parent: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    Run(Arguments),
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
    #[error("--parallel: 1 to 16")]
    Parallel,
    #[error("{0} is needed; --help shows all")]
    Missing(&'static str),
}

/// Reads the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Parsed, Misuse> {
    let (mut state, mut socket, mut parallel, mut with_parent) = (None, None, PARALLEL, false);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        match (name.as_str(), &given) {
            ("--help" | "-h", None) => return Ok(Parsed::Help),
            ("--version" | "-V", None) => return Ok(Parsed::Version),
            ("--with-parent", None) => {
                with_parent = true;
                continue;
            }
            ("--state" | "--socket" | "--parallel", _) => {}
            _ => return Err(Misuse::Unknown(name)),
        }
        let value = given.or_else(|| arguments.next()).ok_or_else(|| Misuse::NoValue(name.clone()))?;
        match name.as_str() {
            "--state" => state = Some(PathBuf::from(value)),
            "--socket" => socket = Some(PathBuf::from(value)),
            _ => parallel = value.parse().ok().filter(|number| (1..=16).contains(number)).ok_or(Misuse::Parallel)?,
        }
    }
    let state = state.ok_or(Misuse::Missing("--state"))?;
    let socket = socket.ok_or(Misuse::Missing("--socket"))?;
    Ok(Parsed::Run(Arguments { state, socket, parallel, with_parent }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Parsed, Misuse> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_read_in_both_forms() {
        let expected =
            |parallel, with_parent| Ok(Parsed::Run(Arguments { state: "/s".into(), socket: "/k".into(), parallel, with_parent }));
        assert_eq!(parsed("--state /s --socket=/k"), expected(2, false));
        assert_eq!(parsed("--parallel 1 --state=/s --socket /k"), expected(1, false));
        assert_eq!(parsed("--state /s --with-parent --socket /k"), expected(2, true));
        assert_eq!(parsed("--help"), Ok(Parsed::Help));
        assert_eq!(parsed("--state /s -V"), Ok(Parsed::Version));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("", "--state is needed"),
            ("--state /s", "--socket is needed"),
            ("--state", "needs a value"),
            ("--state /s --socket /k --parallel 0", "1 to 16"),
            ("--with-parent=x --state /s --socket /k", "unknown argument"),
            ("--bogus", "unknown argument"),
        ];
        for (text, expected) in cases {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
