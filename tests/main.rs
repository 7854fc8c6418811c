//! Integration tests: Weir from outside, beside real servers.

#![allow(clippy::disallowed_methods, reason = "tests run in real time")]

mod bank;
mod cdc;
mod copy;
mod drivers;
mod first;
mod growth;
mod inspect;
mod kit;
mod lag;
mod observe;
mod past;
mod postgres;
mod servers;
mod sessions;
mod sim;
mod slt;
mod snapshot;
mod store;
mod stream;
mod types;
mod upstream;
mod validation;
