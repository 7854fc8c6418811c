//! Weir's storage: the clock, Z-sets, indexed Z-sets, and the one atomic commit that makes them durable.
//!
//! In reading order: an [`Epoch`] is a place in the one global order; a [`Delta`] is a batch of weighted rows;
//! [`key`] turns key columns into canonical bytes, hashes and vnodes; an [`arrangement::Arrangement`] is an indexed,
//! versioned Z-set in memory; a [`run`] is an immutable sorted piece of one in object storage; a [`manifest::Manifest`]
//! lists the runs of every arrangement with the position of every source; [`publish`] makes a manifest real. [`merge`]
//! keeps runs few, [`gc`] deletes what no manifest names ([`identity`] says whose it is), [`history`] finds an earlier one,
//! [`backup`] copies one with all it names, [`store`] is where it all lies, [`retry`] asks it again.
//!
//! This crate knows nothing of SQL, of upstream databases or of dataflow. Rows are Arrow columns, the catalog and the
//! positions are opaque bytes.

pub mod arrangement;
pub mod backup;
pub mod delta;
pub mod env;
pub mod epoch;
pub mod error;
pub mod fault;
pub mod gc;
pub mod history;
pub mod identity;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod merge;
pub mod publish;
pub mod retry;
pub mod run;
pub mod store;

pub use delta::Delta;
pub use env::Env;
pub use epoch::{Epoch, Generation};
pub use error::{Error, Result};
pub use limits::Limits;
