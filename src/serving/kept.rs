//! Rows that a transaction has written and not committed yet: in memory up to a bound, beyond it in files of the spill folder, which go
//! with the rows.

use crate::connector::spilled::{self, Spilled};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use std::path::Path;
use weir_sql::{Error, Result};
use weir_storage::delta::size;

/// Bytes of a batch in memory beside its values, and of each of its columns: handles, and buffers with room for more.
const BATCH: usize = 512;
const COLUMN: usize = 512;

/// Small batches that are spilled are put together up to so many rows and bytes: what is read at once when they are committed.
const ROWS: usize = 8192;
const BYTES: usize = 1 << 20;

/// A batch of rows.
pub enum Kept {
    Here(RecordBatch),
    There(Spilled),
}

impl Kept {
    /// Reads what is in a file.
    pub fn rows(&self) -> Result<RecordBatch> {
        match self {
            Kept::Here(rows) => Ok(rows.clone()),
            Kept::There(spilled) => spilled.read(),
        }
    }

    /// Rows.
    pub fn count(&self) -> usize {
        match self {
            Kept::Here(rows) => rows.num_rows(),
            Kept::There(spilled) => spilled.rows(),
        }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Kept::Here(rows) => size(rows) + BATCH + rows.num_columns() * COLUMN,
            Kept::There(_) => 0,
        }
    }

    fn here(&self) -> Option<&RecordBatch> {
        match self {
            Kept::Here(rows) => Some(rows),
            Kept::There(_) => None,
        }
    }
}

/// Batches in memory that become one.
pub struct Group {
    batches: Vec<Kept>,
    rows: usize,
    bytes: usize,
}

impl Group {
    pub fn of(first: Kept) -> Self {
        let (rows, bytes) = (first.count(), first.bytes());
        Self { batches: vec![first], rows, bytes }
    }

    /// Takes in `next`, of the same schema, unless there is no room for it or one of them is in a file.
    pub fn push(&mut self, next: Kept) -> Option<Kept> {
        let (rows, bytes) = (self.rows + next.count(), self.bytes + next.bytes());
        if rows > ROWS || bytes > BYTES || next.here().is_none() || self.batches[0].here().is_none() {
            return Some(next);
        }
        (self.rows, self.bytes) = (rows, bytes);
        self.batches.push(next);
        None
    }

    pub fn put_together(mut self) -> Result<Kept> {
        if self.batches.len() == 1 {
            return Ok(self.batches.remove(0));
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().filter_map(Kept::here).collect();
        let rows = concat_batches(&batches[0].schema(), batches);
        rows.map(Kept::Here).map_err(|e| Error::internal(e.to_string()))
    }
}

/// Moves batches of one schema that are in memory to a file in `folder`.
pub fn spill<'a>(folder: &Path, kept: impl Iterator<Item = &'a mut Kept>) -> Result<()> {
    let mut here: Vec<&mut Kept> = kept.filter(|kept| kept.here().is_some()).collect();
    let rows = here.iter().map(|kept| kept.rows()).collect::<Result<Vec<_>>>()?;
    let spilled = spilled::spill(folder, &rows)?;
    here.iter_mut().zip(spilled).for_each(|(kept, spilled)| **kept = Kept::There(spilled));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;
    use std::sync::Arc;

    fn rows(values: std::ops::Range<i32>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from_iter_values(values)) as _)]).expect("a batch")
    }

    #[test]
    fn what_is_spilled_is_read_again_and_nobody_finds_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut kept: Vec<Kept> = (0..3).map(|n| Kept::Here(rows(0..n + 1))).collect();
        spill(folder.path(), kept.iter_mut()).expect("a file");
        assert!(kept.iter().all(|kept| kept.bytes() == 0));
        for (n, kept) in (0..).zip(&kept) {
            assert_eq!(kept.rows().expect("still there"), rows(0..n + 1));
        }
        let files = || std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(files(), 0, "it has no name");
    }

    #[test]
    fn batches_in_memory_are_put_together_until_there_are_enough_rows() {
        let mut group = Group::of(Kept::Here(rows(0..10)));
        assert!(group.push(Kept::Here(rows(10..11))).is_none());
        assert!(group.push(Kept::Here(rows(0..ROWS as i32))).is_some(), "too many rows");
        let folder = tempfile::tempdir().expect("a folder");
        let mut there = [Kept::Here(rows(0..1))];
        spill(folder.path(), there.iter_mut()).expect("a file");
        let [there] = there;
        let there = group.push(there).expect("it is in a file");
        assert_eq!(group.put_together().expect("one schema").rows().expect("here"), rows(0..11));
        assert!(Group::of(there).push(Kept::Here(rows(0..1))).is_some());
    }
}
