//! The coordinator: the one event loop that closes epochs, makes checkpoints, runs DDL and acknowledges upstream.

pub mod request;
