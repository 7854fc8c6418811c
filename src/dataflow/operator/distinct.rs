//! Distinct: every row with a positive weight, once. Threshold: rows of positive weight, with that weight, or an error
//! if there is no such weight.

use super::counts::Counts;
use super::step::{Out, Slices, Steps};
use super::{Route, Specs};
use crate::dataflow::errors::RowErrors;
use arrow::datatypes::SchemaRef;
use weir_sql::Result;
use weir_storage::arrangement::Arrangement;
use weir_storage::{Delta, Epoch};

/// How often a row that is `count` times in the input is in the output.
pub(super) type Weight = fn(count: i128) -> i128;

pub(super) fn once(count: i128) -> i128 {
    i128::from(count > 0)
}

pub(super) fn threshold(count: i128) -> i128 {
    count.max(0)
}

pub(super) struct Distinct {
    weight: Weight,
    schema: SchemaRef,
    arrangements: Vec<Arrangement>,
    counts: Counts,
    input: Slices,
}

pub(super) fn specs(schema: &SchemaRef) -> Specs {
    vec![Counts::spec(schema.fields())]
}

impl Distinct {
    pub fn new(weight: Weight, schema: SchemaRef, arrangements: Vec<Arrangement>) -> Self {
        let counts = Counts::new(arrangements[0].clone());
        Self { weight, schema, arrangements, counts, input: Slices::default() }
    }
}

impl Steps for Distinct {
    fn routes(&self) -> Vec<Route> {
        vec![Route::Key((0..self.schema.fields().len()).collect())]
    }

    fn arrangements(&self) -> &[Arrangement] {
        &self.arrangements
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn begin(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()> {
        self.counts.begin(epoch);
        self.input = Slices::new(inputs.into_iter().flatten().collect());
        Ok(())
    }

    fn step(&mut self, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        if let Some(slice) = self.input.next(budget) {
            self.counts.add(slice.rows(), slice.weights())?;
            return Ok(Some(slice.len()));
        }
        let Some(changed) = self.counts.settle(budget.min(super::step::BATCH))? else { return Ok(None) };
        let mut failed = RowErrors::new("threshold");
        out.rows(changed.delta(self.weight, &mut failed)?);
        out.errors(failed);
        Ok(Some(changed.before.len()))
    }
}

#[cfg(test)]
mod tests {
    use crate::dataflow::operator::tests::{check, columns, scan};
    use weir_sql::plan::{Node, Operator};

    fn over(text: &str, operator: fn(Box<Node>) -> Operator) -> Node {
        let input = scan(columns(text));
        Node { columns: input.columns.clone(), operator: operator(input.into()) }
    }

    #[test]
    fn a_row_is_there_once_while_it_is_there_at_all() {
        check(
            &over("a int4, b text", |input| Operator::Distinct { input }),
            "+3 1 x; + null x  => + 1 x; + null x
             -2 1 x
             - 1 x; + 2 x      => - 1 x; + 2 x",
        );
    }

    #[test]
    fn of_equal_rows_the_first_stands_for_all() {
        check(
            &over("n numeric", |input| Operator::Distinct { input }),
            "+ 1.0   => + 1.0
             + 1.00
             - 1.0
             - 1.00  => - 1.0
             + 1.00  => + 1.00",
        );
    }

    #[test]
    fn below_zero_there_is_nothing() {
        check(
            &over("a int4", |input| Operator::Threshold { input }),
            "+2 1; - 2   => +2 1
             -3 1; + 2   => -2 1
             +3 1; +2 2  => +2 1; +2 2",
        );
        check(&over("a int4", |input| Operator::Distinct { input }), "- 1\n +3 1 => + 1");
    }

    #[test]
    fn more_rows_than_can_be_counted_are_an_error_until_they_can() {
        check(
            &over("a numeric", |input| Operator::Threshold { input }),
            "+9223372036854775807 1.0  => +9223372036854775807 1.0
             + 1.00                    => -9223372036854775807 1.0; ! + threshold numberofequalrows 22003
             +9223372036854775807 1.00
             -9223372036854775807 1.00
             - 1.0                     => +9223372036854775807 1.0; ! - threshold numberofequalrows 22003",
        );
        check(
            &over("a numeric", |input| Operator::Distinct { input }),
            "+9223372036854775807 1.0; +9223372036854775807 1.00  => + 1.0
             -9223372036854775807 1.0
             -9223372036854775807 1.00                            => - 1.0",
        );
    }
}
