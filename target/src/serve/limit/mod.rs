//! Limits of volumes: how many requests and bytes a second all hosts of a volume together may have.
//!
//! A limit is a token bucket ([`bucket`]). A request is done at once, and its answer waits until the buckets have enough for it
//! ([`pacer`], `serve::data::pace`). A host has a number of requests under way, its window: it sends the next one when it gets an
//! answer, so that pacing answers paces requests. Answers wait no longer than the host waits before it sends again ([`rto`]), and
//! the window that is told to the host is small enough for that.

pub mod bucket;
pub mod pacer;
pub mod rto;
#[cfg(test)]
mod simulation;
mod stream;

pub use pacer::{Pacer, Path, path};
