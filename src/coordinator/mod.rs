//! The coordinator: the one event loop that closes epochs, makes checkpoints, runs DDL and acknowledges upstream.
//!
//! `pace` decides when epochs close and checkpoints begin, `checkpoint` makes one, `recover` reads one back, `past` says where an earlier one has a relation, `backfill` gives views that are
//! made the rows of their parents, `lag` keeps the history of views that are behind, `failure` is what becomes of relations that cannot go on, `housekeeping` keeps the store small, `ddl` runs statements that change the catalog as jobs beside the loop, and the loop itself (`run`) is the only one to touch the engine, the
//! catalog and the sources. Promises I1 (a transaction is taken whole into one epoch), I7 (acknowledgements carry the proof of
//! the manifest that holds their position) and I9 (a fenced coordinator ends at once).

mod backfill;
pub mod checkpoint;
mod ddl;
pub mod failure;
mod housekeeping;
mod lag;
mod message;
pub mod pace;
pub mod past;
mod recover;
pub mod request;
mod run;
mod start;
mod waiters;

pub use backfill::PORTION_ROWS;
pub use run::Coordinator;
pub use start::{Config, Workers, start};
