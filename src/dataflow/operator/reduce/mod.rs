//! Reduce: one row per group, its columns and then one value per aggregate; without group columns always one row.
//!
//! A group's state is one row of a keyed arrangement: group columns, how many rows it has, and what its aggregates keep
//! ([`input`]). An epoch goes through three stages, each in bounded pieces: its rows are numbered by group and added up column by
//! column ([`Stage::Rows`]); values of distinct aggregates that came or went are added up as if they were rows
//! ([`Stage::Distinct`]); then every group that was touched is written once, and its row is replaced in the output
//! ([`Stage::Groups`]). Minimum and maximum are the first and last of an ordered arrangement of (group, value).
//!
//! A group whose result is out of range has an error instead of a row, until it fits again.

mod finish;
mod input;
#[cfg(test)]
mod tests;

use self::finish::Finish;
use self::input::{Input, Layout};
use super::counts::Counts;
use super::group::{Groups, Stored, keys};
use super::step::{BATCH, Out, Slices, Steps, batch, internal, take};
use super::{Place, Route, Specs};
use crate::dataflow::errors::RowErrors;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, NullArray, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Decimal128Type, IntervalMonthDayNano, IntervalMonthDayNanoType, SchemaRef};
use std::ops::Range;
use std::sync::Arc;
use weir_sql::plan::{Aggregate, Node};
use weir_sql::total::{Keep, Total};
use weir_sql::{Error, Result};
use weir_storage::arrangement::Arrangement;
use weir_storage::key::{Keys, owner, row_hashes};
use weir_storage::{Delta, Epoch};

/// What a Reduce is, as the plan says it.
pub(super) struct ReduceSpec<'a> {
    pub input: &'a Node,
    pub group: &'a [usize],
    pub aggregates: &'a [Aggregate],
    pub output: SchemaRef,
}

pub(super) struct Reduce {
    layout: Layout,
    finishes: Vec<Finish>,
    output: SchemaRef,
    /// Whether the one row of a Reduce without group columns is made here.
    owner: bool,
    arrangements: Vec<Arrangement>,
    /// With the place of their state column.
    totals: Vec<(usize, Box<dyn Total>)>,
    distinct: Vec<(Input, Counts)>,
    /// With the arrangement of their values.
    ordered: Vec<(Input, Arrangement)>,
    epoch: Epoch,
    groups: Groups,
    stage: Stage,
}

enum Stage {
    Rows(Slices),
    /// The distinct input whose values are being settled.
    Distinct(usize),
    /// Groups from this one on are to be written.
    Groups(usize),
}

impl ReduceSpec<'_> {
    fn layout(&self) -> Layout {
        Layout::new(self.input.schema(), self.group, self.aggregates)
    }

    pub fn specs(&self) -> Specs {
        self.layout().specs()
    }

    /// By which columns each of the arrangements is placed: the group's, which lead all of them.
    pub fn placed(&self) -> Vec<Vec<usize>> {
        self.specs().iter().map(|_| (0..self.group.len()).collect()).collect()
    }

    pub fn check(&self) -> Result<()> {
        self.layout().check()
    }
}

impl Reduce {
    pub fn new(spec: ReduceSpec, place: Place, arrangements: Vec<Arrangement>) -> Self {
        let layout = spec.layout();
        let columns = &spec.input.columns;
        let finishes = spec.aggregates.iter().map(|aggregate| Finish::new(&layout, aggregate, columns));
        let (distinct, ordered) = (layout.distinct(), layout.ordered());
        let counts = arrangements[1..].iter().map(|arrangement| Counts::new(arrangement.clone()));
        let values = arrangements[1 + distinct.len()..].iter().cloned();
        Self {
            finishes: finishes.collect(),
            output: spec.output,
            owner: spec.group.is_empty() && owner(Keys::unit(1).vnode(0), place.workers) == place.worker,
            totals: vec![],
            distinct: distinct.into_iter().zip(counts).collect(),
            ordered: ordered.into_iter().zip(values).collect(),
            arrangements,
            epoch: Epoch::ZERO,
            groups: Groups::new(layout.group_schema()),
            stage: Stage::Groups(0),
            layout,
        }
    }

    /// The groups' numbers of `rows`, which hold the group columns only.
    fn number(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let numbers = self.groups.number(rows)?;
        self.totals.iter_mut().for_each(|(_, total)| total.grow(self.groups.len()));
        Ok(numbers)
    }

    /// [`Stage::Rows`]: adds up one slice.
    fn add(&mut self, slice: &Delta) -> Result<()> {
        let rows = slice.rows();
        let group = project(rows, &self.layout.group)?;
        let numbers = self.number(&group)?;
        let layout = &self.layout;
        let no_values: ArrayRef = Arc::new(NullArray::new(rows.num_rows()));
        for (input, weights) in layout.inputs(|_| true).iter().map(|input| (input, counted(input, slice))) {
            for (_, counts) in self.distinct.iter_mut().filter(|(other, _)| other == input) {
                let values = values(input, &layout.group, rows, &weights)?;
                counts.add(values.rows(), values.weights())?;
            }
            for (_, arrangement) in self.ordered.iter().filter(|(other, _)| other == input) {
                let mut values = values(input, &layout.group, rows, &weights)?;
                if layout.tie(input).is_some() {
                    values = tied(&values, &arrangement.spec().schema)?;
                }
                arrangement.apply(self.epoch, &values).map_err(crate::dataflow::internal)?;
            }
            let own = |(place, _): &&mut (usize, _)| layout.columns[*place].0 == *input && !input.distinct;
            let values = input.argument.map_or(&no_values, |argument| rows.column(argument));
            for (_, total) in self.totals.iter_mut().filter(own) {
                total.add(&numbers, values, &weights)?;
            }
        }
        Ok(())
    }

    /// [`Stage::Distinct`]: adds up some values that came or went; `None` when the input has no more.
    fn settle(&mut self, index: usize, budget: usize) -> Result<Option<usize>> {
        let (input, counts) = &mut self.distinct[index];
        let input = *input;
        let Some(changed) = counts.settle(budget)? else { return Ok(None) };
        let work = changed.before.len();
        // Once is never too often.
        let flips = changed.delta(super::distinct::once, &mut RowErrors::new("reduce"))?;
        let width = self.layout.group.len();
        let group = project(flips.rows(), &(0..width).collect::<Vec<_>>())?;
        let numbers = self.number(&group)?;
        for (_, total) in self.totals.iter_mut().filter(|(place, _)| self.layout.columns[*place].0 == input) {
            total.add(&numbers, flips.rows().column(width), flips.weights())?;
        }
        Ok(Some(work))
    }

    /// [`Stage::Groups`]: writes the groups in `range`, and replaces their rows.
    fn write(&mut self, range: Range<usize>, out: &mut Out) -> Result<()> {
        let fresh = self.groups.rows(range.clone())?;
        let keys = keys(&fresh)?;
        let stored = Stored::read(&self.arrangements[0], &keys)?;
        let states = self.states(range, &fresh, &keys, &stored)?;
        let counts = states.column(self.layout.rows()).as_primitive::<Decimal128Type>();
        let lives = |&row: &u32| counts.value(row as usize) != 0 || self.layout.group.is_empty();
        let living: Vec<u32> = (0..states.num_rows() as u32).filter(lives).collect();
        let states = if living.len() == states.num_rows() { states } else { take(&states, &living)? };
        for (states, weight) in [(&stored.rows, -1), (&states, 1)] {
            self.arrangements[0].apply(self.epoch, &Delta::uniform(states.clone(), weight)).map_err(internal)?;
            self.emit(states, weight, out)?;
        }
        Ok(())
    }

    /// The new states of the groups in `range`.
    fn states(
        &mut self,
        range: Range<usize>,
        fresh: &RecordBatch,
        keys: &Keys,
        stored: &Stored,
    ) -> Result<RecordBatch> {
        let width = self.layout.group.len();
        let len = range.len();
        let mut columns: Vec<Option<ArrayRef>> = vec![None; width + self.layout.columns.len()];
        for (column, fresh) in fresh.columns().iter().enumerate() {
            columns[column] = Some(stored.or(column, fresh)?);
        }
        let mut owners = vec![0; stored.rows.num_rows()];
        for (group, at) in range.clone().zip(&stored.at) {
            at.iter().for_each(|&row| owners[row as usize] = group as u32);
        }
        for (place, total) in &mut self.totals {
            let column = width + *place;
            total.absorb(&owners, stored.rows.column(column))?;
            columns[column] = Some(total.state(range.clone())?);
        }
        for (place, (input, keep)) in self.layout.columns.iter().enumerate() {
            if input::is_ordered(*keep) {
                let values = self.ordered.iter().find(|(other, _)| other == input);
                let (_, values) = values.expect("an arrangement for each ordered input");
                columns[width + place] = Some(extreme(values, keys, width, *keep == Keep::Max)?);
            }
        }
        let columns = columns.into_iter().map(|column| column.expect("every state column is made")).collect();
        batch(&self.arrangements[0].spec().schema, columns, len)
    }

    /// What the output has for `states`, `weight` times.
    fn emit(&self, states: &RecordBatch, weight: i64, out: &mut Out) -> Result<()> {
        let mut failures: Vec<(usize, &str, Error)> = vec![];
        let mut columns = states.columns()[..self.layout.group.len()].to_vec();
        for finish in &self.finishes {
            let finished = finish.values(states)?;
            columns.push(finished.values);
            let named = |(row, error)| (row, finish.expression.as_str(), error);
            failures.extend(finished.failures.into_iter().map(named));
        }
        // One error a group, of its first aggregate that has one; the sort is stable.
        failures.sort_by_key(|failure| failure.0);
        failures.dedup_by_key(|failure| failure.0);
        let failing: Vec<usize> = failures.iter().map(|failure| failure.0).collect();
        self.report(states, &failures, weight, out)?;
        // Below zero is a group in a difference that is not taken yet; it has no row.
        let counts = states.column(self.layout.rows()).as_primitive::<Decimal128Type>();
        let shown = |&row: &u32| {
            let exists = counts.value(row as usize) > 0 || self.layout.group.is_empty();
            exists && failing.binary_search(&(row as usize)).is_err()
        };
        let rows: Vec<u32> = (0..states.num_rows() as u32).filter(shown).collect();
        if rows.len() < states.num_rows() {
            // A failing group's NULL may stand in a column that has none.
            let rows = UInt32Array::from(rows.clone());
            columns = arrow::compute::take_arrays(&columns, &rows, None).map_err(internal)?;
        }
        out.rows(Delta::uniform(batch(&self.output, columns, rows.len())?, weight));
        Ok(())
    }

    fn report(
        &self,
        states: &RecordBatch,
        failures: &[(usize, &str, Error)],
        weight: i64,
        out: &mut Out,
    ) -> Result<()> {
        if failures.is_empty() {
            return Ok(());
        }
        let rows: Vec<u32> = failures.iter().map(|failure| failure.0 as u32).collect();
        let groups = project(&take(states, &rows)?, &(0..self.layout.group.len()).collect::<Vec<_>>())?;
        let mut failed = RowErrors::new("reduce");
        for ((_, expression, error), hash) in failures.iter().zip(row_hashes(&groups).map_err(internal)?) {
            failed.push(expression, error.sqlstate, &error.message, hash, weight);
        }
        out.errors(failed);
        Ok(())
    }
}

impl Steps for Reduce {
    fn routes(&self) -> Vec<Route> {
        vec![Route::Key(self.layout.group.clone())]
    }

    fn arrangements(&self) -> &[Arrangement] {
        &self.arrangements
    }

    fn schema(&self) -> &SchemaRef {
        &self.output
    }

    fn begin(&mut self, epoch: Epoch, inputs: Vec<Vec<Delta>>) -> Result<()> {
        self.epoch = epoch;
        self.groups.clear();
        self.totals = self.layout.totals()?;
        self.distinct.iter_mut().for_each(|(_, counts)| counts.begin(epoch));
        self.stage = Stage::Rows(Slices::new(inputs.into_iter().flatten().collect()));
        if self.owner && !self.arrangements[0].latest().contains(&Keys::unit(1))[0] {
            // The one group of all rows is there before any row is.
            let nothing = batch(&self.layout.group_schema(), vec![], 1)?;
            self.number(&nothing)?;
        }
        Ok(())
    }

    fn step(&mut self, budget: usize, out: &mut Out) -> Result<Option<usize>> {
        let budget = budget.min(BATCH);
        match &mut self.stage {
            Stage::Rows(slices) => match slices.next(budget) {
                Some(slice) => {
                    self.add(&slice)?;
                    return Ok(Some(slice.len()));
                }
                None => self.stage = Stage::Distinct(0),
            },
            Stage::Distinct(index) if *index < self.distinct.len() => {
                let index = *index;
                if let Some(work) = self.settle(index, budget)? {
                    return Ok(Some(work));
                }
                self.stage = Stage::Distinct(index + 1);
            }
            Stage::Distinct(_) => self.stage = Stage::Groups(0),
            Stage::Groups(from) => {
                let range = *from..self.groups.len().min(*from + budget);
                if range.is_empty() {
                    return Ok(None);
                }
                *from = range.end;
                let work = range.len();
                self.write(range, out)?;
                return Ok(Some(work));
            }
        }
        Ok(Some(0))
    }
}

/// The weights of the rows that `input` looks at, 0 for the others: filtered out, or NULL.
fn counted(input: &Input, slice: &Delta) -> ScalarBuffer<i64> {
    let rows = slice.rows();
    let filter = input.filter.map(|filter| rows.column(filter).as_boolean());
    let values = input.argument.and_then(|argument| rows.column(argument).nulls());
    if filter.is_none() && values.is_none() {
        return slice.weights().clone();
    }
    let passes = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
    let counts = |row: usize| values.is_none_or(|values| values.is_valid(row)) && passes(row);
    slice.weights().iter().enumerate().map(|(row, &weight)| if counts(row) { weight } else { 0 }).collect()
}

/// (group, value) of the rows that `input` looks at.
fn values(input: &Input, group: &[usize], rows: &RecordBatch, weights: &[i64]) -> Result<Delta> {
    let argument = input.argument.expect("an input with values");
    let columns: Vec<usize> = group.iter().copied().chain([argument]).collect();
    let values = project(rows, &columns)?;
    let kept: Vec<u32> = (0..weights.len() as u32).filter(|&row| weights[row as usize] != 0).collect();
    if kept.len() == weights.len() {
        return Ok(Delta::new(values, weights.to_vec()));
    }
    let weights: Vec<i64> = weights.iter().copied().filter(|&weight| weight != 0).collect();
    Ok(Delta::new(take(&values, &kept)?, weights))
}

/// `values` with the bytes of the last column, in the order of its values.
fn tied(values: &Delta, schema: &SchemaRef) -> Result<Delta> {
    let mut columns = values.rows().columns().to_vec();
    let argument = columns.last().expect("an input with values").clone();
    let bytes: BinaryArray = match argument.as_fixed_size_binary_opt() {
        Some(numerics) => numerics.iter().collect(),
        None => {
            // Sign bits turned around sort negative parts first.
            let parts = |v: IntervalMonthDayNano| {
                let whole = (v.months ^ i32::MIN, v.days ^ i32::MIN, v.nanoseconds ^ i64::MIN);
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&whole.0.to_be_bytes());
                bytes[4..8].copy_from_slice(&whole.1.to_be_bytes());
                bytes[8..].copy_from_slice(&whole.2.to_be_bytes());
                bytes
            };
            argument.as_primitive::<IntervalMonthDayNanoType>().iter().map(|value| value.map(parts)).collect()
        }
    };
    columns.push(Arc::new(bytes));
    Ok(Delta::new(batch(schema, columns, values.len())?, values.weights().clone()))
}

/// The lowest or highest value of each group; NULL where it has none.
fn extreme(values: &Arrangement, groups: &Keys, column: usize, highest: bool) -> Result<ArrayRef> {
    let snapshot = values.latest();
    let found = snapshot.range(groups, highest);
    let values = snapshot.gather(&found, Some(&[column])).map_err(internal)?;
    let mut at: Vec<Option<u32>> = vec![None; groups.len()];
    found.probes.iter().enumerate().for_each(|(row, &probe)| at[probe as usize] = Some(row as u32));
    arrow::compute::take(values.column(0), &UInt32Array::from(at), None).map_err(internal)
}

fn project(rows: &RecordBatch, columns: &[usize]) -> Result<RecordBatch> {
    let schema = rows.schema_ref().project(columns).map_err(internal)?;
    let arrays = columns.iter().map(|&column| rows.column(column).clone()).collect();
    batch(&schema.into(), arrays, rows.num_rows())
}
