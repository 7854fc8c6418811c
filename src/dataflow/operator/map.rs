//! Map: rows for which the filter is true, projected. A row whose filter or projection fails is not in the output; the failure is
//! an error with the row's weight, so that it goes when the row goes. Keeps nothing.

use super::Route;
use super::step::{Out, Slices, Steps, batch, internal, take, weights};
use crate::dataflow::errors::RowErrors;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{FilterBuilder, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use std::slice::from_ref;
use weir_sql::Result;
use weir_sql::scalar::{Evaluated, Program, RowError, Scalar};
use weir_storage::arrangement::Arrangement;
use weir_storage::key::row_hashes;
use weir_storage::{Delta, Epoch};

pub(super) struct Map {
    filter: Option<Program>,
    project: Program,
    output: SchemaRef,
    /// That an expression makes at once, at most, unless it is of one row.
    bytes: usize,
    rows: Slices,
}

impl Map {
    pub fn new(
        filter: Option<&Scalar>,
        project: &[Scalar],
        input: &SchemaRef,
        output: SchemaRef,
        bytes: usize,
    ) -> Result<Self> {
        let filter = filter.map(|filter| Program::compile(from_ref(filter), input)).transpose()?;
        Ok(Self { filter, project: Program::compile(project, input)?, output, bytes, rows: Slices::default() })
    }

    /// The rows for which the filter is true; the projection sees no others, so that a filter guards it.
    fn kept(&self, delta: Delta, failed: &mut RowErrors) -> Result<Delta> {
        let Some(filter) = &self.filter else { return Ok(delta) };
        let truth = filter.evaluate(delta.rows());
        report(&truth.failures, &delta, failed)?;
        let delta = survivors(&delta, &truth)?;
        select(&delta, truth.columns[0].as_boolean())
    }
}

impl Steps for Map {
    fn routes(&self) -> Vec<Route> {
        vec![Route::Stay]
    }

    fn arrangements(&self) -> &[Arrangement] {
        &[]
    }

    fn schema(&self) -> &SchemaRef {
        &self.output
    }

    fn begin(&mut self, _: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()> {
        self.rows = Slices::new(inputs.into_iter().flatten().collect());
        Ok(())
    }

    fn step(&mut self, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        let Some(slice) = self.rows.next(budget) else { return Ok(None) };
        let work = slice.len();
        let mut failed = RowErrors::new("map");
        let kept = self.kept(slice, &mut failed)?;
        self.project.evaluate_in_pieces(kept.rows(), self.bytes, |range, projected| {
            let kept = kept.slice(range.start, range.len());
            report(&projected.failures, &kept, &mut failed)?;
            let weights = match &projected.rows {
                Some(rows) => weights(&kept, rows).into(),
                None => kept.weights().clone(),
            };
            out.rows(Delta::new(batch(&self.output, projected.columns, weights.len())?, weights));
            Ok(())
        })?;
        out.errors(failed);
        Ok(Some(work))
    }
}

/// Adds `failures`, which are of rows of `delta`.
pub(super) fn report(failures: &[RowError], delta: &Delta, failed: &mut RowErrors) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let rows: Vec<u32> = failures.iter().map(|failure| failure.row as u32).collect();
    let hashes = row_hashes(&take(delta.rows(), &rows)?).map_err(internal)?;
    for (failure, hash) in failures.iter().zip(hashes) {
        let weight = delta.weights()[failure.row];
        failed.push(&failure.expression, failure.sqlstate, &failure.message, hash, weight);
    }
    Ok(())
}

/// The rows that did not fail.
pub(super) fn survivors(delta: &Delta, evaluated: &Evaluated) -> Result<Delta> {
    let Some(rows) = &evaluated.rows else { return Ok(delta.clone()) };
    Ok(Delta::new(take(delta.rows(), rows)?, weights(delta, rows)))
}

/// The rows for which `truth` is true (not NULL).
pub(super) fn select(delta: &Delta, truth: &BooleanArray) -> Result<Delta> {
    let truth = if truth.null_count() > 0 { prep_null_mask_filter(truth) } else { truth.clone() };
    let count = truth.true_count();
    if count == truth.len() {
        return Ok(delta.clone());
    }
    let filter = FilterBuilder::new(&truth).optimize().build();
    let columns: Result<Vec<ArrayRef>> =
        delta.rows().columns().iter().map(|column| filter.filter(column).map_err(internal)).collect();
    let rows: RecordBatch = batch(delta.rows().schema_ref(), columns?, count)?;
    let weights: Vec<i64> = truth.values().set_indices().map(|row| delta.weights()[row]).collect();
    Ok(Delta::new(rows, weights))
}

#[cfg(test)]
mod tests {
    use crate::dataflow::operator::tests::{check, column, columns, divide, less, scan};
    use weir_sql::plan::{Node, Operator};

    /// a / b where a < b.
    fn quotients() -> Node {
        let input = columns("a int4, b int4");
        let (a, b) = (column(0, &input), column(1, &input));
        let project = vec![divide(a.clone(), b.clone()), a.clone()];
        let operator = Operator::Map { input: scan(input).into(), filter: Some(less(a, b)), project };
        Node { operator, columns: columns("q int4, a int4") }
    }

    #[test]
    fn rows_are_filtered_and_projected_with_their_weights() {
        check(
            &quotients(),
            "+2 2 3; + 5 5; + null 1  => +2 0 2
             - 2 3; - 5 5             => - 0 2",
        );
    }

    #[test]
    fn a_row_that_fails_is_an_error_until_it_goes() {
        check(
            &quotients(),
            "+2 -1 0; + 0 0; + -4 2  => ! +2 map (a/b) 22012; + -2 -4
             - -1 0                  => ! - map (a/b) 22012",
        );
    }
}
