//! Weights are computed in 128 bits and said in 64. What is beyond is an error of the row instead of the row, until it
//! fits again.

use super::step::{internal, take};
use crate::dataflow::errors::RowErrors;
use arrow::array::RecordBatch;
use weir_sql::Result;
use weir_storage::key::row_hashes;

const LARGEST: i128 = i64::MAX as i128;

/// What an output has of a row that was there `before` times and is there `after` times: its change as a row, and as an
/// error. At most one of the two is there before, and after.
pub(super) fn change(before: i128, after: i128) -> (i64, i64) {
    let rows = |count: i128| if is_beyond(count) { 0 } else { count as i64 };
    let errors = |count: i128| i64::from(is_beyond(count));
    // Counts of both signs come from differences that are not taken yet: those are never as large.
    (rows(after).saturating_sub(rows(before)), errors(after) - errors(before))
}

fn is_beyond(count: i128) -> bool {
    !(-LARGEST..=LARGEST).contains(&count)
}

/// Adds the errors of `rows`, `changes[i]` of row i.
pub(super) fn report(rows: &RecordBatch, changes: &[i64], failed: &mut RowErrors) -> Result<()> {
    let beyond: Vec<u32> = (0..changes.len() as u32).filter(|&row| changes[row as usize] != 0).collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let hashes = row_hashes(&take(rows, &beyond)?).map_err(internal)?;
    for (row, hash) in beyond.into_iter().zip(hashes) {
        let message = "bigint out of range: there are more equal rows than can be counted";
        failed.push("number of equal rows", "22003", message, hash, changes[row as usize]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_row_or_an_error() {
        assert_eq!(change(2, 5), (3, 0));
        assert_eq!(change(LARGEST, 0), (-i64::MAX, 0));
        assert_eq!(change(7, LARGEST + 1), (-7, 1));
        assert_eq!(change(LARGEST + 1, i128::MAX), (0, 0));
        assert_eq!(change(i128::MAX, LARGEST), (i64::MAX, -1));
    }
}
