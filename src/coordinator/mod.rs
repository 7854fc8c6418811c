//! The coordinator: the one event loop that closes epochs, makes checkpoints, runs DDL and acknowledges upstream.
//!
//! The `ledger` knows who is held how far, who reads from where and what becomes of each relation, `pace` when epochs close and
//! checkpoints begin, `checkpoints` which checkpoint is under way and what the last one holds, `backfill` which rows of their parents views
//! that are made get next, and `lag` which views are far behind and what is to be read for them: they decide and do nothing. `life` acts
//! out what the ledger says, `close` closes epochs, `checkpoint` makes a checkpoint, `recover` reads one back, `past` says where an earlier
//! one has a relation, `build` builds relations, gives them their rows and takes them down, `log_range` reads the history of views that are
//! far behind, `sources`, `writes`, `waiters` and `epochs` hold what comes in, who waits and when, `failure` is what becomes of relations
//! that cannot go on (`told`: what is said of them), `memory` bounds what all state takes (`counting`), `housekeeping` keeps the store
//! small, `ddl` runs statements that change the catalog as jobs beside the loop, and the loop itself (`run`, over what it holds: `held`)
//! is the only one to touch the engine, the catalog and the sources. Promises I1 (a transaction is taken whole into one epoch), I7
//! (acknowledgements carry the proof of the manifest that holds their position) and I9 (a fenced coordinator ends at once).

mod backfill;
mod build;
pub mod checkpoint;
mod checkpoints;
mod close;
mod counting;
mod ddl;
mod epochs;
mod failure;
mod housekeeping;
mod lag;
mod ledger;
mod life;
mod log_range;
mod memory;
mod message;
mod object;
pub mod pace;
pub mod past;
mod recover;
mod replacement;
pub mod request;
#[cfg(test)]
mod rig;
mod run;
mod sources;
mod start;
mod state;
pub mod told;
mod upload;
mod waiters;
mod writes;

pub use backfill::PORTION_ROWS;
pub use start::{Config, Workers, start};
pub use state::Coordinator;
