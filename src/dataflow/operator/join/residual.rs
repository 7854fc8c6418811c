//! The condition of a join beyond equal keys, over (left columns ++ right columns). A pair for which it fails is no match; the
//! failure is an error with the pair's weight, so that it goes when either row goes.

use crate::dataflow::errors::RowErrors;
use crate::dataflow::operator::map::report;
use arrow::array::{Array, AsArray};
use arrow::datatypes::SchemaRef;
use weir_sql::Result;
use weir_sql::scalar::{Program, Scalar};
use weir_storage::Delta;

pub(super) struct Residual {
    program: Program,
}

impl Residual {
    pub fn new(condition: &Scalar, pairs: &SchemaRef) -> Result<Self> {
        Ok(Self { program: Program::compile(std::slice::from_ref(condition), pairs)? })
    }

    /// The pairs, by index, for which the condition is true.
    pub fn matching(&self, pairs: &Delta, failed: &mut RowErrors) -> Result<Vec<u32>> {
        let truth = self.program.evaluate(pairs.rows());
        report(&truth.failures, pairs, failed)?;
        let condition = truth.columns[0].as_boolean();
        let is_true = |&row: &usize| condition.is_valid(row) && condition.value(row);
        let rows = (0..condition.len()).filter(is_true);
        Ok(match &truth.rows {
            Some(kept) => rows.map(|row| kept[row]).collect(),
            None => rows.map(|row| row as u32).collect(),
        })
    }
}
