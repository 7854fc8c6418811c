//! Integration tests: Weir from outside, beside real servers.

mod kit;
mod servers;
mod slt;
