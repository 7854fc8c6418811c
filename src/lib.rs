//! Weir: a streaming database in one binary. Folders in the order in which data flows.

pub mod allocator;
pub mod backup;
mod budget;
pub mod catalog;
pub mod connector;
pub mod coordinator;
pub mod dataflow;
pub mod inspect;
pub mod node;
pub mod serving;
mod spill;
