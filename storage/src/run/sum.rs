//! What runs of one arrangement say together: its rows as of the end of the last one.
//!
//! Read in ranges of vnodes, so that what is unpacked at once is bounded whatever the arrangement's size.

use super::place::Run;
use super::read::Reader;
use super::rows::Rows;
use super::sort::Sorted;
use super::write::cut;
use crate::arrangement::Spec;
use crate::delta::Delta;
use crate::error::Result;
use crate::key::VNODES;
use crate::limits::Limits;
use bytes::Bytes;
use std::ops::Range;

/// Runs from an arrangement's first on, with their bytes.
pub struct Sum {
    spec: Spec,
    readers: Vec<Reader>,
    limits: Limits,
    /// Of an entry, on average and as it is stored.
    entry_bytes: u64,
}

impl Sum {
    pub fn open(spec: Spec, runs: Vec<(Run, Bytes)>, limits: Limits) -> Result<Self> {
        let sum = |of: fn(&Run) -> u64| runs.iter().map(|(run, _)| of(run)).sum::<u64>();
        let entry_bytes = sum(|run| run.length) / sum(|run| run.rows).max(1) + 1;
        let open = |(run, bytes): (Run, Bytes)| Reader::open(&run, &spec.schema, bytes);
        let readers = runs.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { spec, readers, limits, entry_bytes })
    }

    /// All vnodes, in ranges that are small enough to be read at once.
    pub fn pieces(&self) -> Vec<Range<u16>> {
        pieces(&self.readers, self.limits.piece_rows.min(self.limits.piece_bytes / self.entry_bytes))
    }

    /// The net rows of the vnodes `keep` says, `columns` of them, in order of (vnode, key), in batches that are no larger than a block.
    pub fn rows(&self, keep: &dyn Fn(u16) -> bool, columns: Option<&[usize]>) -> Result<Vec<Delta>> {
        let mut rows = vec![];
        for reader in &self.readers {
            rows.extend(reader.rows(keep)?.into_iter().map(timeless));
        }
        let sorted = Sorted::of(&self.spec, rows, &self.limits)?;
        let sorted = match columns {
            Some(columns) => sorted.project(columns)?,
            None => sorted,
        };
        let delta = |rows: Rows| Delta::new(rows.batch, rows.weights);
        cut(&sorted, &self.limits).map(|picks| sorted.rows(picks).map(delta)).collect()
    }
}

/// Of one epoch, so that all of them are added up.
fn timeless(rows: Rows) -> Rows {
    Rows { epochs: vec![0; rows.epochs.len()].into(), ..rows }
}

/// All vnodes, in ranges of about `most` rows.
pub(crate) fn pieces(readers: &[Reader], most: u64) -> Vec<Range<u16>> {
    let counts: Vec<_> = readers.iter().map(Reader::vnodes).collect();
    let mut pieces = vec![];
    let (mut start, mut rows) = (0, 0);
    for vnode in 0..VNODES {
        let more: u64 = counts.iter().map(|c| c[vnode as usize]).sum();
        if rows > 0 && rows + more > most {
            pieces.push(start..vnode);
            (start, rows) = (vnode, 0);
        }
        rows += more;
    }
    pieces.push(start..VNODES);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrangement::Kind;
    use crate::epoch::Epoch;
    use crate::run::Writer;
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn spec() -> Spec {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("n", DataType::Int64, false)];
        Spec { kind: Kind::Bag, schema: Arc::new(Schema::new(fields)), key: vec![0] }
    }

    fn run(rows: &[(i64, i64, i64)], to: u64) -> Option<(Run, Bytes)> {
        let column = |of: fn(&(i64, i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of)));
        let batch = RecordBatch::try_new(spec().schema, vec![column(|r| r.0), column(|r| r.1)]).unwrap();
        let delta = Delta::new(batch, rows.iter().map(|r| r.2).collect::<Vec<_>>());
        let mut writer = Writer::new(format!("data/{to}"), Limits::default());
        let run = writer.add(&spec(), Epoch::from_u64(to - 1), Epoch::from_u64(to), &[delta]).unwrap()?;
        Some((run, writer.finish().1))
    }

    fn story(deltas: &[Delta], columns: usize) -> Vec<(Vec<i64>, i64)> {
        let mut found = vec![];
        for delta in deltas {
            let value = |column: usize, row| delta.rows().column(column).as_primitive::<Int64Type>().value(row);
            let row = |row| ((0..columns).map(|c| value(c, row)).collect(), delta.weights()[row]);
            found.extend((0..delta.len()).map(row));
        }
        found.sort();
        found
    }

    #[test]
    fn one_column_of_rows_that_were_added_up_by_all_of_them() {
        let runs = [run(&[(1, 10, 1), (1, 11, 1), (2, 20, 2)], 1), run(&[(1, 10, -1), (2, 20, -1)], 2)];
        let sum = Sum::open(spec(), runs.into_iter().flatten().collect(), Limits::default()).unwrap();
        assert_eq!(story(&sum.rows(&|_| true, Some(&[1])).unwrap(), 1), [(vec![11], 1), (vec![20], 1)]);
        assert_eq!(story(&sum.rows(&|_| true, Some(&[])).unwrap(), 0), [(vec![], 1), (vec![], 1)]);
        assert!(sum.rows(&|_| false, None).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn pieces_together_are_what_was_written(
            parts in prop::collection::vec(prop::collection::vec((-3i64..3, -2i64..2, -2i64..3), 0..20), 0..6),
            most in 1usize..30,
            is_usual: bool,
        ) {
            let limits = if is_usual { Limits::default() } else { Limits { piece_bytes: 1 << 20, ..Limits::each(most) } };
            let runs: Vec<_> = parts.iter().zip(1u64..).filter_map(|(rows, to)| run(rows, to)).collect();
            let mut expected: BTreeMap<Vec<i64>, i64> = BTreeMap::new();
            for &(id, n, weight) in parts.iter().flatten() {
                *expected.entry(vec![id, n]).or_default() += weight;
            }
            expected.retain(|_, weight| *weight != 0);
            let sum = Sum::open(spec(), runs, limits).unwrap();
            let mut found = vec![];
            for piece in sum.pieces() {
                found.extend(sum.rows(&|vnode| piece.contains(&vnode), None).unwrap());
            }
            prop_assert_eq!(story(&found, 2), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
