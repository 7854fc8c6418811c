//! What tables change by in an epoch, as a source hands it over.

use super::spilled::Spilled;
use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};
use weir_storage::Delta;

/// What one table changes by in one epoch.
#[derive(Clone, Debug)]
pub enum Changes {
    Keyed(Fold),
    Bag(Bag),
}

impl Changes {
    /// Rows in files, and what becomes of them.
    pub fn spilled(&self) -> &[(Spilled, i64)] {
        match self {
            Changes::Keyed(fold) => &fold.spilled,
            Changes::Bag(bag) => &bag.spilled,
        }
    }
}

/// The folded changes of a table with a key: at most one entry per key over all parts.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    /// Every row stored before this epoch is gone; what follows comes after.
    pub truncated: bool,
    /// Complete rows, in the table's schema.
    pub upserts: Vec<RecordBatch>,
    /// The key columns, in key order, of rows that are gone.
    pub deletes: Vec<RecordBatch>,
    /// Rows of which some columns were not sent because they did not change.
    pub partial: Vec<Partial>,
    /// Rows that cannot be held.
    pub failed: Vec<FailedRows>,
    /// With 1, more complete rows; with -1, more key columns of rows that are gone.
    pub spilled: Vec<(Spilled, i64)>,
}

/// Rows with unknown columns, to be filled from the row stored *before this epoch* under `origins`.
#[derive(Clone, Debug)]
pub struct Partial {
    /// In the table's schema; NULL where unknown.
    pub rows: RecordBatch,
    /// Per column of the table: set where the value is unknown. `None`: known in every row.
    pub unknown: Vec<Option<BooleanBuffer>>,
    /// The key columns, in key order, under which the unknown values are stored.
    pub origins: RecordBatch,
}

/// Rows whose values cannot be held, as errors to be reported by readers until the row changes.
#[derive(Clone, Debug)]
pub struct FailedRows {
    /// The key columns, in key order.
    pub keys: RecordBatch,
    /// One per row of `keys`.
    pub causes: Vec<RowError>,
}

/// Why a row cannot be held. No row values in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowError {
    pub sqlstate: String,
    pub message: String,
    /// What failed: `column "price"`.
    pub expression: String,
}

/// The changes of a table without a key: full row images with weights.
#[derive(Clone, Debug, Default)]
pub struct Bag {
    pub truncated: bool,
    pub rows: Vec<Delta>,
    /// Rows that cannot be held: cause and weight. Cleared by a truncate.
    pub failed: Vec<(RowError, i64)>,
    /// More rows, with the weight of each. They are applied in any order: none goes that is not stored from before the epoch.
    pub spilled: Vec<(Spilled, i64)>,
}
