//! Weir's SQL: statements, types, Postgres' functions, and the planner from SQL to incremental plans.
//!
//! In reading order: [`types`] (Postgres types and their Arrow shapes), [`numeric`] (exact decimals of varying scale), [`statement`] (what
//! a client can say), [`catalog`] (what the planner asks about relations), [`postgres`] (what PostgreSQL has: lists, and the rules of
//! choosing from them), [`bound`] (a query whose names and types are settled), [`bind`] (syntax trees to that), [`unnest`] (bound queries
//! without the queries in their expressions), [`function`] (Postgres' scalar functions for DataFusion), [`total`] (what is kept of groups of values), [`aggregate`] (what is made of it), [`logical`] (bound
//! queries to DataFusion's logical plans), [`session`] (a DataFusion session with our semantics, and the way of queries that are not
//! bound), [`scalar`] (stored expressions and their evaluation row-error by row-error), [`plan`] (the incremental plan), [`planner`] (SQL
//! to plan), `stack` (for what is nested), [`stop`] (of planning that nobody waits for), [`room`] (how much a function may make at
//! once).
//!
//! No I/O, no clock, no async. Knows nothing of storage.

pub mod aggregate;
pub mod bind;
pub mod bound;
pub mod catalog;
pub mod error;
pub mod function;
pub mod logical;
pub mod numeric;
pub mod plan;
pub mod planner;
pub mod postgres;
pub mod room;
pub mod scalar;
pub mod session;
mod stack;
pub mod statement;
pub mod stop;
pub mod total;
pub mod types;
pub mod unnest;

pub use error::{Error, Result};
