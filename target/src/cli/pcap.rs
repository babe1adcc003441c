//! `aoe-target trace`: writes the frames of a running target as a pcap file.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use tonic::Status;

use super::Misuse;
use crate::proto::target_client::TargetClient;
use crate::proto::{TraceRequest, TracedFrame};

#[derive(Debug, Default, PartialEq)]
pub struct Arguments {
    pub socket: PathBuf,
    pub request: TraceRequest,
}

/// Reads the arguments after `trace`. None: help is wanted.
pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Arguments>, Misuse> {
    let mut parsed = Arguments::default();
    while let Some(argument) = arguments.next() {
        let (name, given) = super::split(argument);
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        if !matches!(name.as_str(), "--socket" | "--volume" | "--mac" | "--frames" | "--seconds" | "--snap") {
            return Err(Misuse::Unknown(name));
        }
        let value = given.or_else(|| arguments.next()).ok_or_else(|| Misuse::NoValue(name.clone()))?;
        let number = || value.parse::<u32>().ok().filter(|number| *number > 0).ok_or_else(|| Misuse::Number(name.clone()));
        match name.as_str() {
            "--socket" => parsed.socket = value.into(),
            "--volume" => parsed.request.uid = value,
            "--mac" => parsed.request.mac = value,
            "--frames" => parsed.request.frames = number()?,
            "--seconds" => parsed.request.seconds = number()?,
            _ => parsed.request.snap = number()?,
        }
    }
    if parsed.socket.as_os_str().is_empty() {
        return Err(Misuse::TraceNeedsSocket);
    }
    Ok(Some(parsed))
}

/// Why there is no trace, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("a trace is not text: write it to a file, or into tcpdump -r -")]
    Terminal,
    #[error("no target answers on {}: {cause}", .socket.display())]
    NoTarget { socket: PathBuf, cause: String },
    /// The message of the target.
    #[error("{0}")]
    Refused(String),
    #[error("the trace cannot be written: {0}")]
    NotWritten(#[from] io::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Failure {
        Failure::Refused(status.message().to_owned())
    }
}

/// Writes frames to standard output until the trace ends; reports how many on standard error.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let out = io::stdout();
    if out.is_terminal() {
        return Err(Failure::Terminal);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (frames, skipped) = runtime.block_on(write(arguments, &mut out.lock()))?;
    eprintln!("{frames} frames, {skipped} skipped because they could not be written fast enough");
    Ok(())
}

async fn write(Arguments { socket, request }: Arguments, out: &mut impl Write) -> Result<(u64, u64), Failure> {
    let mut client = connect(&socket).await?;
    let mut stream = client.trace(request).await?.into_inner();
    out.write_all(&header()).and_then(|()| out.flush())?;
    let (mut frames, mut skipped) = (0, 0);
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await? {
        bytes.clear();
        for frame in &message.frames {
            record(frame, &mut bytes);
        }
        out.write_all(&bytes).and_then(|()| out.flush())?;
        frames += message.frames.len() as u64;
        skipped = message.skipped;
    }
    Ok((frames, skipped))
}

async fn connect(socket: &Path) -> Result<TargetClient<tonic::transport::Channel>, Failure> {
    let uri = format!("unix://{}", socket.display());
    TargetClient::connect(uri).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        Failure::NoTarget { socket: socket.to_owned(), cause }
    })
}

/// The start of a pcap file with times in nanoseconds and whole Ethernet frames (draft-ietf-opsawg-pcap).
fn header() -> [u8; 24] {
    const NANOSECONDS: u32 = 0xa1b2_3c4d;
    const VERSION: u32 = 2 | 4 << 16;
    const ETHERNET: u32 = 1;
    let mut bytes = [0; 24];
    for (field, value) in bytes.chunks_exact_mut(4).zip([NANOSECONDS, VERSION, 0, 0, crate::rpc::trace_stream::SNAP.1, ETHERNET]) {
        field.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

fn record(frame: &TracedFrame, bytes: &mut Vec<u8>) {
    const SECOND: u64 = 1_000_000_000;
    let (seconds, nanos) = ((frame.time_ns / SECOND) as u32, (frame.time_ns % SECOND) as u32);
    for value in [seconds, nanos, frame.data.len() as u32, frame.length] {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(&frame.data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Arguments>, Misuse> {
        parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_become_a_request() {
        let request = TraceRequest { uid: "u".into(), mac: "m".into(), snap: 60, frames: 5, seconds: 7 };
        let expected = Arguments { socket: "/s".into(), request };
        assert_eq!(parsed("--socket /s --volume=u --mac m --frames 5 --seconds 7 --snap 60"), Ok(Some(expected)));
        assert_eq!(parsed("--socket /s --help"), Ok(None));
        for (text, problem) in
            [("", "--socket"), ("--socket", "value"), ("--frames 0", "above 0"), ("--snap x", "above 0"), ("-x", "unknown")]
        {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn records_have_the_layout_of_pcap() {
        assert_eq!(header(), *b"\x4d\x3c\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0");
        let mut bytes = Vec::new();
        record(&TracedFrame { time_ns: 2_000_000_003, length: 60, data: vec![9; 2] }, &mut bytes);
        assert_eq!(bytes, b"\x02\0\0\0\x03\0\0\0\x02\0\0\0\x3c\0\0\0\x09\x09");
    }
}
