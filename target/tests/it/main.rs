//! The real program on a real (virtual) cable. Needs root; without it the tests are passed over.

mod access;
mod ata;
mod config;
mod for_copies;
mod frozen;
mod grow;
mod hold;
mod host;
mod hostile;
mod hung;
mod lab;
mod limits;
mod links;
mod observe;
mod order;
mod privileges;
mod reclaim;
mod restart;
mod ring;
mod tools;

pub use aoe_target::proto;
