//! From a group's state to what the query shows: pure, so that the row to retract is made from the old state as the new
//! one is.

use super::input::Layout;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use weir_sql::Result;
use weir_sql::aggregate::{Finished, Function, Groups};
use weir_sql::plan::Aggregate;
use weir_sql::types::{Column, Type};

/// How one aggregate's value is made.
pub(super) struct Finish {
    function: Function,
    output: Type,
    /// The argument's type.
    argument: DataType,
    /// The state columns of what the function keeps.
    kept: Vec<usize>,
    /// As an error names it.
    pub expression: String,
}

impl Finish {
    /// `columns` are the input's.
    pub fn new(layout: &Layout, aggregate: &Aggregate, columns: &[Column]) -> Self {
        let argument = aggregate.argument.map(|argument| layout.input.field(argument));
        Self {
            function: aggregate.function,
            output: aggregate.output.kind.clone(),
            argument: argument.map_or(DataType::Null, |field| field.data_type().clone()),
            kept: aggregate.function.keeps.iter().map(|&keep| layout.column(aggregate, keep)).collect(),
            expression: aggregate.text(columns),
        }
    }

    /// The values of the groups in `states`.
    pub fn values(&self, states: &RecordBatch) -> Result<Finished> {
        let kept: Vec<ArrayRef> = self.kept.iter().map(|&column| states.column(column).clone()).collect();
        (self.function.finish)(&Groups { kept: &kept, argument: &self.argument, output: &self.output })
    }
}
