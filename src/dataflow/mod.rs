//! The engine: pure operators, the timely host that runs them, and the relations that anybody can read.

pub mod errors;
pub mod operator;
pub mod relations;
