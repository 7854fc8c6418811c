//! What a Reduce has to keep: its aggregates taken apart into totals that several aggregates may share.
//!
//! Pure planning, from the node alone: the layout of the state depends on it and is stored.

use crate::dataflow::operator::counts::Counts;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use std::sync::Arc;
use weir_sql::plan::Aggregate;
use weir_sql::total::{self, Keep, Total};
use weir_sql::types::{Type, is_numeric};
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

/// The state of a group: its columns, then one column per entry of `columns`, the first of which counts the group's rows.
pub(super) struct Layout {
    pub input: SchemaRef,
    pub group: Vec<usize>,
    pub columns: Vec<(Input, Keep)>,
}

const ROWS: Input = Input { argument: None, filter: None, distinct: false };

impl Input {
    fn of(aggregate: &Aggregate) -> Self {
        let distinct = aggregate.distinct && aggregate.argument.is_some() && aggregate.function.counts;
        Self { argument: aggregate.argument, filter: aggregate.filter, distinct }
    }
}

impl Layout {
    pub fn new(input: SchemaRef, group: &[usize], aggregates: &[Aggregate]) -> Self {
        let mut columns = vec![(ROWS, Keep::Count)];
        for aggregate in aggregates {
            for &keep in aggregate.function.keeps {
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
            if total::state_type(*keep, field.data_type()).is_none() {
                return Err(Error::unsupported(format!("an aggregate of {}", Type::of(field)?)));
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

    fn kind(&self, input: &Input) -> DataType {
        input.argument.map_or(DataType::Null, |argument| self.input.field(argument).data_type().clone())
    }

    fn state_field(&self, (input, keep): &(Input, Keep)) -> FieldRef {
        match keep {
            // Keeps what the field says of the type, but NULL stands for no value.
            Keep::Min | Keep::Max => Arc::new(self.argument(input).as_ref().clone().with_nullable(true)),
            _ => {
                let kind = total::state_type(*keep, &self.kind(input)).unwrap_or(DataType::Null);
                Arc::new(Field::new(format!("{keep:?}").to_lowercase(), kind, false))
            }
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
        self.inputs(|(_, keep)| is_ordered(*keep))
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

    /// The totals of the columns that are added up, with the column's place in `columns`.
    pub fn totals(&self) -> Result<Vec<(usize, Box<dyn Total>)>> {
        let added = self.columns.iter().enumerate().filter(|(_, (_, keep))| !is_ordered(*keep));
        added.map(|(place, (input, keep))| Ok((place, total::total(*keep, &self.kind(input))?))).collect()
    }
}

/// Whether values are kept in order instead of being added up.
pub(super) fn is_ordered(keep: Keep) -> bool {
    matches!(keep, Keep::Min | Keep::Max)
}
