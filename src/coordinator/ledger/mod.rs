//! The ledger: who is held how far, who reads from where, what becomes of each relation, and so what a checkpoint may say.
//!
//! A value: nothing in it does anything, waits or is locked. It is told what happened and answers what follows; what workers have come to
//! is asked of [`Seen`] where a decision needs it. `entry` is what is known of a relation, `life` the life of a relation, `reader` who
//! needs change logs, `checkpoint` what a manifest may say.

mod checkpoint;
mod entry;
mod life;
mod reader;
mod seen;

pub use checkpoint::Awaited;
pub use entry::{Backfilled, Entry, Ledger};
pub use life::{Effect, Event, Kind, Life, status};
pub use seen::{Sealed, Seen};

#[cfg(test)]
mod tests;
