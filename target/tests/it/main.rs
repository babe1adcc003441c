//! The real program on a real (virtual) cable. Needs root; without it the tests are passed over.

mod access;
mod ata;
mod config;
mod host;
mod hostile;
mod hung;
mod lab;
mod links;
mod order;
mod restart;
mod ring;
mod tools;

pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/client/aoe.target.v1.rs"));
}
