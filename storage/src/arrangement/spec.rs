//! What an arrangement is, as its maker says it once.

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

/// How an arrangement is indexed; chosen by the planner, fixed for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Append-only chunks without an index. A retraction is a bug of the caller (asserted).
    Log,
    /// At most one live row, of weight 1, per key (anything else is `Error::Invalid`).
    Keyed,
    /// Any number of rows per key, any weight. Key -> linked slots, and row hash -> slot.
    Bag,
    /// A bag whose rows can also be read in order of their key bytes: see [`Snapshot::range`].
    Ordered,
}

/// What an arrangement holds and how it is found; fixed for life.
#[derive(Clone, Debug)]
pub struct Spec {
    /// How it is indexed.
    pub kind: Kind,
    /// Shape of the rows.
    pub schema: SchemaRef,
    /// Indices of the key columns, in key order. Empty: one key for all rows.
    pub key: Vec<usize>,
}
