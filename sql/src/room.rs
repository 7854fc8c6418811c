//! How much text a function may make of the rows of one batch. A thread that runs queries has a room of its own, a share of the memory
//! there is, since a batch is in memory as a whole before whoever counts bytes comes to see it; other threads have the 2 GB of a
//! column's offsets.

use crate::error::{Error, Result};
use std::cell::Cell;

/// Bytes of all values of a column of a batch, at most.
const LARGEST: usize = i32::MAX as usize;

thread_local! {
    static ROOM: Cell<usize> = const { Cell::new(LARGEST) };
}

/// From now on functions called on this thread make at most so many bytes of a batch.
pub fn keep_within(bytes: usize) {
    ROOM.set(bytes.min(LARGEST));
}

/// 53200 if `bytes` are more than there is room for.
pub(crate) fn check(bytes: usize) -> Result<()> {
    let room = ROOM.get();
    if bytes <= room {
        return Ok(());
    }
    let most = match room {
        LARGEST => "2 GB".to_string(),
        _ => format!("{} MB, a query's share of memory", room >> 20),
    };
    Err(Error::new("53200", "out of memory")
        .detail(format!("The results of a function on the rows of one batch take more than {most}."))
        .hint("Make shorter values, or values of fewer rows at a time, or raise --memory-limit."))
}
