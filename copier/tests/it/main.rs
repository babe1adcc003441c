//! The copier as a process, with our own target as the source, on a cable of its own for each test.

mod cable;
mod copier;
mod crash;
#[path = "../../../target/tests/it/frozen.rs"]
mod frozen;
mod hung;
mod lab;
mod local;
mod refused;
mod remote;
mod speed;
