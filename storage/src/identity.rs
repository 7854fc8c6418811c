//! Whose an object is: which store, and which of the processes that owned it.

use crate::epoch::Generation;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which store it is, wherever it lies: drawn when it is made, shared by its copies. Zero: made before stores had one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StoreId(pub u64);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who made an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maker {
    pub store: StoreId,
    pub generation: Generation,
}
