//! Requests for data: from a frame to the disk, and back.

mod ata;
pub mod gather;
pub mod order;
mod repeats;
pub mod slots;
