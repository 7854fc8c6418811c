//! The engine: pure operators, the timely host that runs them, and the relations that anybody can read.
//!
//! One timely dataflow per relation; taps between them. `engine` is what the coordinator talks to, `worker` the loop of
//! one thread, `relation` a relation there, `build` turns its `blueprint` into a dataflow of `source` (with its `backfill`) -> operators in
//! their `host` -> `output`, `steps` says at which epochs a view stops.

mod backfill;
mod bell;
pub mod blueprint;
mod build;
pub mod engine;
pub mod errors;
mod host;
pub mod operator;
mod output;
pub mod packet;
mod parts;
pub mod placement;
mod relation;
pub mod relations;
mod running;
mod scheduler;
mod slice;
mod source;
pub mod steps;
mod table;
mod tap;
#[cfg(test)]
mod tests;
mod worker;
mod world;

/// A broken invariant or damaged memory: XX000, with what storage says; or a row that is there too often.
fn internal(error: weir_storage::Error) -> weir_sql::Error {
    match error {
        weir_storage::Error::Range => weir_sql::Error::new("22003", error.to_string()),
        error => weir_sql::Error::internal(error.to_string()),
    }
}
