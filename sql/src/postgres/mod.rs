//! What PostgreSQL has: its types, functions, operators and casts, and its rules for choosing among them.
//!
//! The lists beside this file are facts of PostgreSQL 18's own catalogs, one entry a line, names instead of numbers where they are
//! unique: what takes or gives `internal` or `cstring` is left out, since no statement can call it, or a list of its own. Whether Weir can
//! run an entry is another question; what an expression *means* depends on all of them.
//!
//! [`types`], [`functions`], [`operators`] and [`casts`] are the lists; [`coerce`] says which value can stand for which type,
//! [`polymorphic`] what `anyelement` and its like are in a call, [`resolve`] which entry a name and its arguments mean.

pub mod casts;
pub mod coerce;
pub mod functions;
mod list;
pub mod operators;
pub mod polymorphic;
pub mod resolve;
pub mod types;

pub use types::Oid;
