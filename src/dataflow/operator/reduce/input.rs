//! What a Reduce has to keep: its aggregates taken apart into accumulators that several aggregates may share.
//!
//! Pure planning, from the node alone: the layout of the state depends on it and is stored.

use super::accumulator::{self, Accumulator};
use crate::dataflow::operator::counts::Counts;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use std::sync::Arc;
use weir_sql::plan::{Aggregate, AggregateFunction as F};
use weir_sql::types::{NUMERIC_WIDTH, Type};
use weir_sql::{Error, Result};
use weir_storage::arrangement::{Kind, Spec};

/// The values that some aggregates look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// `None`: whole rows.
    pub argument: Option<usize>,
    pub filter: Option<usize>,
    /// Equal values of a group count once.
    pub distinct: bool,
}

/// What is kept of an input in one state column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// How many values there are.
    Count,
    Sum,
    /// How many are true.
    Trues,
    Min,
    Max,
}

/// The state of a group: its columns, then one column per entry of `columns`, the first of which counts the group's rows.
pub(super) struct Layout {
    pub input: SchemaRef,
    pub group: Vec<usize>,
    pub columns: Vec<(Input, Keep)>,
}

const ROWS: Input = Input { argument: None, filter: None, distinct: false };

impl Input {
    fn of(aggregate: &Aggregate) -> Self {
        let matters = matches!(aggregate.function, F::Count | F::Sum | F::Avg);
        let distinct = aggregate.distinct && aggregate.argument.is_some() && matters;
        Self { argument: aggregate.argument, filter: aggregate.filter, distinct }
    }
}

fn keeps(function: F) -> &'static [Keep] {
    match function {
        F::Count => &[Keep::Count],
        F::Sum | F::Avg => &[Keep::Count, Keep::Sum],
        F::BoolAnd | F::BoolOr => &[Keep::Count, Keep::Trues],
        F::Min => &[Keep::Min],
        F::Max => &[Keep::Max],
    }
}

impl Layout {
    pub fn new(input: SchemaRef, group: &[usize], aggregates: &[Aggregate]) -> Self {
        let mut columns = vec![(ROWS, Keep::Count)];
        for aggregate in aggregates {
            for &keep in keeps(aggregate.function) {
                let column = (Input::of(aggregate), keep);
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
        }
        Self { input, group: group.to_vec(), columns }
    }

    /// Refuses aggregates over types that they are not made for.
    pub fn check(&self) -> Result<()> {
        for (input, keep) in &self.columns {
            let Some(argument) = input.argument else { continue };
            let field = self.input.field(argument);
            if *keep == Keep::Sum && accumulator::summable(field.data_type()).is_none() {
                return Err(Error::unsupported(format!("sum or avg of {}", Type::of(field)?)));
            }
        }
        Ok(())
    }

    /// The state column of what an aggregate keeps.
    pub fn column(&self, aggregate: &Aggregate, keep: Keep) -> usize {
        let wanted = (Input::of(aggregate), keep);
        let found = self.columns.iter().position(|column| *column == wanted);
        self.group.len() + found.expect("every aggregate's columns are in the layout")
    }

    /// The column that counts the group's rows.
    pub fn rows(&self) -> usize {
        self.group.len()
    }

    fn group_fields(&self) -> impl Iterator<Item = FieldRef> {
        self.group.iter().map(|&column| self.input.fields()[column].clone())
    }

    pub fn group_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.group_fields().collect::<Vec<_>>()))
    }

    fn argument(&self, input: &Input) -> FieldRef {
        self.input.fields()[input.argument.expect("an input with values")].clone()
    }

    fn state_field(&self, (input, keep): &(Input, Keep)) -> FieldRef {
        let whole = |kind| Arc::new(Field::new("count", kind, false));
        match keep {
            Keep::Count | Keep::Trues => whole(DataType::Int64),
            Keep::Sum => {
                let kind = accumulator::summable(self.argument(input).data_type()).unwrap_or(DataType::Binary);
                Arc::new(Field::new("sum", kind, false))
            }
            // Keeps what the field says of the type, but NULL stands for no value.
            Keep::Min | Keep::Max => Arc::new(self.argument(input).as_ref().clone().with_nullable(true)),
        }
    }

    /// What decides between equal values, where those can differ (1.0 and 1.00): the least and the greatest are one of them, and
    /// always the same.
    pub fn tie(&self, input: &Input) -> Option<FieldRef> {
        let kind = self.argument(input).data_type().clone();
        let differ = is_numeric(&kind) || matches!(kind, DataType::Interval(_));
        differ.then(|| Arc::new(Field::new("tie", DataType::Binary, true)))
    }

    /// Distinct inputs, in the order of their arrangements.
    pub fn distinct(&self) -> Vec<Input> {
        self.inputs(|(input, _)| input.distinct)
    }

    /// Inputs whose values are kept in order, in the order of their arrangements.
    pub fn ordered(&self) -> Vec<Input> {
        self.inputs(|(_, keep)| matches!(keep, Keep::Min | Keep::Max))
    }

    pub fn inputs(&self, wanted: impl Fn(&(Input, Keep)) -> bool) -> Vec<Input> {
        let mut inputs = vec![];
        for column in self.columns.iter().filter(|column| wanted(column)) {
            if !inputs.contains(&column.0) {
                inputs.push(column.0);
            }
        }
        inputs
    }

    /// The groups, then distinct inputs, then ordered inputs.
    pub fn specs(&self) -> Vec<Spec> {
        let states = self.columns.iter().map(|column| self.state_field(column));
        let schema = Arc::new(Schema::new(self.group_fields().chain(states).collect::<Vec<_>>()));
        let mut specs = vec![Spec { kind: Kind::Keyed, schema, key: (0..self.group.len()).collect() }];
        let values = |input: &Input| self.group_fields().chain([self.argument(input)]).collect::<Vec<_>>();
        specs.extend(self.distinct().iter().map(|input| Counts::spec(&values(input).into())));
        specs.extend(self.ordered().iter().map(|input| {
            let mut fields = values(input);
            fields.extend(self.tie(input));
            Spec { kind: Kind::Ordered, key: (0..fields.len()).collect(), schema: Arc::new(Schema::new(fields)) }
        }));
        specs
    }

    /// The accumulators of the columns that have one, with the column's place in `columns`.
    pub fn accumulators(&self) -> Vec<(usize, Box<dyn Accumulator>)> {
        let accumulator = |(place, (input, keep)): (usize, &(Input, Keep))| {
            let accumulator = match keep {
                Keep::Count => accumulator::count(),
                Keep::Trues => accumulator::trues(),
                Keep::Sum => accumulator::sum(self.argument(input).data_type()),
                Keep::Min | Keep::Max => return None,
            };
            Some((place, accumulator))
        };
        self.columns.iter().enumerate().filter_map(accumulator).collect()
    }
}

/// Whether `kind` is an unconstrained numeric.
pub(super) fn is_numeric(kind: &DataType) -> bool {
    *kind == DataType::FixedSizeBinary(NUMERIC_WIDTH)
}
