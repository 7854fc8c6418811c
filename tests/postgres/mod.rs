//! The Postgres connector against real servers, without the rest of Weir.

mod checks;
mod following;
mod mirror;
mod resuming;
mod types;
