//! Totals that are no plain number, stored as bytes.

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use std::ops::Range;
use std::sync::Arc;
use weir_sql::Result;
use weir_sql::function::span::Span;
use weir_sql::numeric::Sum;

/// A sum that can be added to and written down. Adding commutes and is exact.
pub(super) trait Total: Default {
    fn merge(&mut self, other: &Self) -> Result<()>;

    /// Equal totals have equal bytes.
    fn encode(&self, bytes: &mut Vec<u8>);

    fn decode(bytes: &[u8]) -> Result<Self>;
}

/// Numerics of any scale.
impl Total for Sum {
    fn merge(&mut self, other: &Self) -> Result<()> {
        Sum::merge(self, other)
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(Sum::encode(self));
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Sum::decode(bytes)
    }
}

impl Total for Span {
    fn merge(&mut self, other: &Self) -> Result<()> {
        Span::merge(self, other);
        Ok(())
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(Span::encode(self));
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Span::decode(bytes)
    }
}

/// The stored totals (`at` in `stored`) plus what was added to the groups in `range`.
pub(super) fn merge<T: Total>(
    added: &[T],
    range: Range<usize>,
    stored: &ArrayRef,
    at: &[Option<u32>],
) -> Result<ArrayRef> {
    let stored = stored.as_binary::<i32>();
    let mut merged = BinaryBuilder::with_capacity(range.len(), stored.value_data().len());
    let mut bytes = vec![];
    for (added, at) in added[range].iter().zip(at) {
        let mut total = match at {
            Some(row) => T::decode(stored.value(*row as usize))?,
            None => T::default(),
        };
        total.merge(added)?;
        bytes.clear();
        total.encode(&mut bytes);
        merged.append_value(&bytes);
    }
    debug_assert!(stored.null_count() == 0, "totals are never NULL");
    Ok(Arc::new(merged.finish()))
}
