//! Values: constant rows, once, at the first epoch of a new dataflow. A restored dataflow has them already, downstream: without
//! inputs it is never begun again, so there is nothing to keep.

use super::step::{Out, Steps, batch, internal};
use super::{Place, Route};
use crate::dataflow::errors::RowErrors;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use std::sync::Arc;
use weir_sql::Result;
use weir_sql::scalar::{Program, Scalar};
use weir_storage::arrangement::Arrangement;
use weir_storage::delta::size;
use weir_storage::key::row_hashes;
use weir_storage::{Delta, Epoch};

pub(super) struct Values {
    programs: Vec<Program>,
    place: Place,
    output: SchemaRef,
    /// Of a batch, at most, unless it has one row.
    bytes: usize,
    due: bool,
}

impl Values {
    pub fn new(rows: &[Vec<Scalar>], output: SchemaRef, place: Place, bytes: usize) -> Result<Self> {
        let nothing = Arc::new(Schema::empty());
        let programs = rows.iter().map(|row| Program::compile(row, &nothing)).collect::<Result<_>>()?;
        Ok(Self { programs, place, output, bytes, due: false })
    }
}

impl Steps for Values {
    fn routes(&self) -> Vec<Route> {
        vec![]
    }

    fn arrangements(&self) -> &[Arrangement] {
        &[]
    }

    fn schema(&self) -> &SchemaRef {
        &self.output
    }

    fn begin(&mut self, _: Epoch, _: Vec<Vec<Delta>>) -> Result<()> {
        self.due = self.place.worker == 0;
        Ok(())
    }

    fn step(&mut self, _: usize, out: &mut Out) -> Result<Option<usize>> {
        if !std::mem::take(&mut self.due) {
            return Ok(None);
        }
        let one = batch(&Arc::new(Schema::empty()), vec![], 1)?;
        let hash = row_hashes(&one).map_err(internal)?[0];
        let mut failed = RowErrors::new("values");
        let mut rows: Vec<RecordBatch> = vec![];
        for program in &self.programs {
            let row = program.evaluate(&one);
            match row.failures.first() {
                Some(failure) => failed.push(&failure.expression, failure.sqlstate, &failure.message, hash, 1),
                None => rows.push(batch(&self.output, row.columns, 1)?),
            }
        }
        if rows.iter().map(size).sum::<usize>() <= self.bytes {
            rows = vec![concat_batches(&self.output, &rows).map_err(internal)?];
        }
        rows.into_iter().for_each(|rows| out.rows(Delta::uniform(rows, 1)));
        out.errors(failed);
        Ok(Some(self.programs.len()))
    }
}
