//! What is copied from: a local disk, or one on the segment.

pub mod aoe;
pub mod local;

use crate::failure::Failure;
use crate::plan::feed::{Feed, Item};

/// Reads what a feed asks for.
pub trait Source {
    /// The next item of the feed, with its bytes, in the order of the feed. A checkpoint comes when it is known that all before it
    /// was read from what the job names. None at the end.
    fn next(&mut self, feed: &mut Feed) -> Result<Option<Item>, Failure>;
}
