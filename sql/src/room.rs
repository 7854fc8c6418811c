//! How much memory statements may take that nobody counts while they take it.
//!
//! *Functions*: what they make of the rows of one batch is in memory as a whole before whoever counts bytes comes to see it. A thread that
//! runs queries has a room of its own for that, a share of the memory there is, and less while little of it is left; other threads have
//! the 2 GB of a column's offsets. *Long statements* ask before they are taken in and read whether there is
//! room for them ([`check_left`]).
//!
//! What is left is told from outside ([`tell`]); nobody who tells means that there is enough.

use crate::error::{Error, Result};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all values of a column of a batch, at most.
const LARGEST: usize = i32::MAX as usize;
/// What functions may make of a batch however little is left: rows of a kilobyte are nothing special.
const LEAST: usize = 8 << 20;

/// What statements may take beside state however small the limit is.
const GIVEN: usize = 64 << 20;
/// What is in memory for a moment however small the limit is: batches on their way, pieces of the past, an epoch that is being sealed.
const BRIEFLY: usize = 128 << 20;

thread_local! {
    static ROOM: Cell<usize> = const { Cell::new(LARGEST) };
}

/// Bytes of memory that are left of the limit, and those that may be taken beyond it.
static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);
static BEYOND: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Bytes that no statement has taken.
static STATE: AtomicUsize = AtomicUsize::new(0);

/// From now on functions called on this thread make at most so many bytes of a batch.
pub fn keep_within(bytes: usize) {
    ROOM.set(bytes.min(LARGEST));
}

/// Whether something was too much, and less of it may not be.
pub fn is_exceeded(error: &Error) -> bool {
    matches!(error.sqlstate, "53200" | "54000")
}

/// Functions that `work` calls make at most so many bytes of a batch.
pub fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    struct Back(usize);
    impl Drop for Back {
        fn drop(&mut self) {
            ROOM.set(self.0);
        }
    }
    let back = Back(ROOM.get());
    ROOM.set(bytes.min(back.0));
    work()
}

/// `taken` bytes of memory are in use, of `limit`. However much of that state takes, a quarter of the limit and [`GIVEN`] are left to
/// statements; and for a moment they may take an eighth or [`BRIEFLY`] more.
pub fn tell(taken: usize, limit: usize) {
    let all = limit.max(STATE.load(Ordering::Relaxed).saturating_add(GIVEN.max(limit / 4)));
    LEFT.store(all.saturating_sub(taken), Ordering::Relaxed);
    let most = all.saturating_add(BRIEFLY.max(limit / 8));
    BEYOND.store(most.saturating_sub(taken), Ordering::Relaxed);
}

/// State of tables and views takes so many bytes.
pub fn tell_state(bytes: usize) {
    STATE.store(bytes, Ordering::Relaxed);
}

/// 53200 if `more` bytes are more than is left.
pub fn check_left(more: usize) -> Result<()> {
    let beyond = BEYOND.load(Ordering::Relaxed);
    if beyond > more {
        return Ok(());
    }
    Err(Error::new("53200", "out of memory")
        .detail(format!("{} MB are wanted, and {} MB of --memory-limit are left.", more >> 20, beyond >> 20))
        .hint("Ask for less at once, or again when less is going on, or raise --memory-limit."))
}

/// The same on a thread that runs queries; elsewhere nothing ends for want of memory.
pub(crate) fn check_here(more: usize) -> Result<()> {
    if ROOM.get() == LARGEST { Ok(()) } else { check_left(more) }
}

/// 53200 if `bytes` are more than a function may make of a batch on this thread.
pub(crate) fn check(bytes: usize) -> Result<()> {
    let own = ROOM.get();
    // Where rows are kept up to date, what is in memory at the moment must not decide what they are.
    let room = if own == LARGEST { own } else { own.min(LEFT.load(Ordering::Relaxed).max(LEAST)) };
    if bytes <= room {
        return Ok(());
    }
    let most = match room {
        LARGEST => "2 GB".to_string(),
        _ if room < own => format!("the {} MB that are left of --memory-limit", room >> 20),
        _ => format!("{} MB, a query's share of memory", room >> 20),
    };
    Err(Error::new("53200", "out of memory")
        .detail(format!("The results of a function on the rows of one batch take more than {most}."))
        .hint("Make shorter values, or values of fewer rows at a time, or raise --memory-limit."))
}
