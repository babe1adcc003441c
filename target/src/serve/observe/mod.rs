//! What can be seen from outside.

pub mod stats;
pub mod trace;
