//! Stored scalar expressions, and their evaluation that turns a failing row into an error instead of failing the batch.
//!
//! In reading order: [`Scalar`], [`flat`] (its stored form), `lower` (from DataFusion's logical expressions), `show` (as EXPLAIN
//! prints them), `compile` (to DataFusion's physical expressions), [`Program`] (compiled and run), [`chain`] (long chains of
//! operators; compiled: `chained`), [`part`] (large expressions and values that are named more than once; compiled: `body`),
//! `guard` (AND, OR and COALESCE that evaluate their later operands only where the earlier ones leave the result open), `stack` (of
//! deep expressions).

mod body;
pub mod chain;
mod chained;
mod compile;
mod expression;
pub mod flat;
mod guard;
mod lower;
pub mod part;
mod program;
mod show;
mod stack;
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;

pub use expression::{Link, Operator, Scalar, Test};
pub use lower::{connected, from_logical};
pub use program::{Evaluated, Program, RowError};
pub use show::Named;
