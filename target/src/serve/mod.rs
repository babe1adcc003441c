//! The thread that serves: frames in, disks, frames out. It owns all state; other threads send it commands.

mod command;
mod data;
pub mod observe;
mod polling;
mod ports;
mod server;
mod volume;

pub use command::{Command, Counted, Event, WATCH_QUEUE};
pub use server::{Options, Server};
pub use volume::change::{Change, Reply};
