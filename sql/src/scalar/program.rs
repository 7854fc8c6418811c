//! Compiled expressions, and their evaluation row-error by row-error.
//!
//! A batch on which nothing fails is one vectorised pass without copies. Otherwise each expression that fails is evaluated on
//! halves, and halves of the failing halves, until every failing row is alone: for f failures among n rows that is
//! O(f log n) evaluations, and never more than 2n.

use super::compile::{Physical, compile, shaped};
use super::expression::Scalar;
use super::stack::{is_deep, on_stack};
use crate::error::datafusion::from_datafusion;
use crate::error::{Error, Result};
use crate::function::bounded;
use crate::room;
use crate::types::{Column, Type};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, SchemaRef};
use std::collections::BTreeMap;
use std::ops::Range;

/// Compiled expressions over one input shape.
#[derive(Debug)]
pub struct Program {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    physical: Physical,
    kind: DataType,
    text: String,
    /// Run on a stack of its own: workers' stacks are small.
    deep: bool,
}

/// One row that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct RowError {
    pub row: usize,
    /// As EXPLAIN prints it.
    pub expression: String,
    pub sqlstate: &'static str,
    pub message: String,
}

pub struct Evaluated {
    /// One array per expression, over the rows that did not fail, in order.
    pub columns: Vec<ArrayRef>,
    /// The rows that are in `columns`; `None` means all of them.
    pub rows: Option<Vec<u32>>,
    /// At most one failure per row: the first expression that failed.
    pub failures: Vec<RowError>,
}

impl Program {
    pub fn compile(expressions: &[Scalar], input: &SchemaRef) -> Result<Self> {
        let names: Vec<Column> = input
            .fields()
            .iter()
            .map(|field| {
                Ok(Column { name: field.name().clone(), kind: Type::of(field)?, nullable: field.is_nullable() })
            })
            .collect::<Result<_>>()?;
        let steps = expressions.iter().map(|scalar| {
            let deep = is_deep(scalar);
            let step = || {
                let kind = scalar.kind().arrow();
                let physical = shaped(compile(scalar, input)?, &kind, input)?;
                Ok(Step { physical, kind, text: scalar.named(&names).to_string(), deep })
            };
            on_stack(deep, step)
        });
        Ok(Self { steps: steps.collect::<Result<_>>()? })
    }

    /// Evaluates all expressions on all rows. A batch that fails is halved until the failing rows are alone.
    pub fn evaluate(&self, rows: &RecordBatch) -> Evaluated {
        self.try_evaluate(rows, None).expect("it takes as much as it takes")
    }

    /// The same of so many rows at a time that no expression makes more than `bytes` of them, or of one: `each` is told of which rows,
    /// and what became of them.
    pub fn evaluate_in_pieces(
        &self,
        rows: &RecordBatch,
        bytes: usize,
        mut each: impl FnMut(Range<usize>, Evaluated) -> Result<()>,
    ) -> Result<()> {
        let mut open = Vec::from_iter([(0, rows.num_rows())]);
        while let Some((start, end)) = open.pop().filter(|(start, end)| start < end) {
            let (len, middle) = (end - start, start.midpoint(end));
            match self.try_evaluate(&rows.slice(start, len), (len > 1).then_some(bytes)) {
                Some(evaluated) => each(start..end, evaluated)?,
                None => open.extend([(middle, end), (start, middle)]),
            }
        }
        Ok(())
    }

    /// `None`: some expression makes more than `most` bytes.
    fn try_evaluate(&self, rows: &RecordBatch, most: Option<usize>) -> Option<Evaluated> {
        let whole: Vec<_> = self.steps.iter().map(|step| step.run(rows, most)).collect();
        if whole.iter().all(std::result::Result::is_ok) {
            let columns = whole.into_iter().flatten().collect();
            return Some(Evaluated { columns, rows: None, failures: vec![] });
        }
        let mut failures = BTreeMap::new();
        let mut columns = vec![];
        for (step, whole) in self.steps.iter().zip(whole) {
            let mut pieces = Pieces { step, most, arrays: vec![], failed: vec![] };
            match whole {
                Ok(array) => pieces.arrays.push(array),
                Err(error) => pieces.halve(rows, 0, error)?,
            }
            for (row, error) in &pieces.failed {
                failures.entry(*row).or_insert_with(|| RowError {
                    row: *row,
                    expression: step.text.clone(),
                    sqlstate: error.sqlstate,
                    message: error.message.clone(),
                });
            }
            columns.push(pieces);
        }
        let good: Vec<u32> =
            (0..rows.num_rows()).filter(|row| !failures.contains_key(row)).map(|row| row as u32).collect();
        let columns = columns.iter().map(|pieces| pieces.keep(rows.num_rows(), &failures)).collect();
        Some(Evaluated { columns, rows: Some(good), failures: failures.into_values().collect() })
    }
}

impl Step {
    /// Whatever `most` is, one row may make as much as a column can hold.
    fn run(&self, rows: &RecordBatch, most: Option<usize>) -> Result<ArrayRef> {
        let run = || -> Result<ArrayRef> {
            let made = self.physical.evaluate(rows)?.into_array(rows.num_rows()).map_err(from_datafusion)?;
            bounded(&made)?;
            Ok(made)
        };
        match most.filter(|_| rows.num_rows() > 1) {
            Some(most) => room::within(most, || on_stack(self.deep, run)),
            None => on_stack(self.deep, run),
        }
    }
}

/// One expression's results on a batch it fails on.
struct Pieces<'a> {
    step: &'a Step,
    /// Bytes that they may have.
    most: Option<usize>,
    /// In the order of rows, without those that failed.
    arrays: Vec<ArrayRef>,
    failed: Vec<(usize, Error)>,
}

impl Pieces<'_> {
    /// Both halves of `rows`, which failed with `error` as a whole and begin at row `start`. `None`: their results are more than they
    /// may be.
    fn halve(&mut self, rows: &RecordBatch, start: usize, error: Error) -> Option<()> {
        if rows.num_rows() <= 1 {
            self.failed.push((start, error));
            return Some(());
        }
        if self.most.is_some() && room::is_exceeded(&error) {
            return None;
        }
        let middle = rows.num_rows() / 2;
        for (offset, length) in [(0, middle), (middle, rows.num_rows() - middle)] {
            let half = rows.slice(offset, length);
            match self.step.run(&half, self.most) {
                Ok(array) => self.arrays.push(array),
                Err(error) => self.halve(&half, start + offset, error)?,
            }
        }
        let bytes: usize = self.arrays.iter().map(|array| array.get_buffer_memory_size()).sum();
        self.most.is_none_or(|most| bytes <= most).then_some(())
    }

    /// The results of the rows on which no expression failed.
    fn keep(&self, rows: usize, failures: &BTreeMap<usize, RowError>) -> ArrayRef {
        let pieces: Vec<&dyn Array> = self.arrays.iter().map(|array| array.as_ref()).collect();
        let joined = match pieces[..] {
            [] => arrow::array::new_empty_array(&self.step.kind),
            _ => concat(&pieces).expect("pieces of one expression have one type"),
        };
        if failures.len() == self.failed.len() {
            return joined;
        }
        let mut own = self.failed.iter().map(|(row, _)| *row).peekable();
        let mask: BooleanArray = (0..rows)
            .filter(|row| own.next_if_eq(row).is_none())
            .map(|row| Some(!failures.contains_key(&row)))
            .collect();
        filter(&joined, &mask).expect("one verdict per result")
    }
}
