//! The thread that serves: frames in, disks, frames out. It owns all state; other threads send it commands.
//!
//! [`Server`] is the loop. It has three parts, which do not know it: the registry (`volume::registry`) of all volumes, the
//! data path (`data`) from requests to disks, and the ports (`ports`) that frames come and go by. What a frame is for is
//! decided in `dispatch`; how a volume changes, in `volume`. Nothing here knows gRPC: `rpc` translates.

mod command;
mod data;
mod dispatch;
mod error;
mod event;
mod limit;
pub mod observe;
mod polling;
mod ports;
mod retry;
mod server;
#[cfg(test)]
mod testing;
mod volume;

pub use command::{Command, Counted, Reply};
pub use error::Error;
pub use event::{Event, InterfaceState, VolumeState, WATCH_QUEUE};
pub use ports::heard::Silences;
pub use server::{Options, Server};
pub use volume::change::Change;
