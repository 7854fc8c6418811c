//! What can be added up per group and taken back exactly: counts and sums.
//!
//! Integers add up in 128 bits and decimals in 256, where no number of rows that fits a machine overflows; numerics, decimals of
//! more than 38 digits, floats and intervals in totals of their own ([`packed`](super::packed)).

use super::exact::Exact;
use super::input::is_numeric;
use super::packed::{self, Total};
use super::wide::Wide;
use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, i256,
};
use std::ops::Range;
use std::sync::Arc;
use weir_sql::Result;
use weir_sql::function::span::Span;
use weir_sql::numeric::{Numbers, Sum};

/// One state column: what an epoch adds to it, per group.
pub(super) trait Accumulator {
    /// Forgets what was added.
    fn clear(&mut self);

    /// There are `groups` groups now.
    fn grow(&mut self, groups: usize);

    /// Adds row `i` to group `groups[i]`, `weights[i]` times. A row of weight 0 is skipped: it is filtered out, or NULL.
    fn add(&mut self, groups: &[u32], values: Option<&ArrayRef>, weights: &[i64]) -> Result<()>;

    /// The state of the groups in `range`: what `stored` has (for group i of the range in row `at[i]`) plus what was added.
    fn merge(&self, range: Range<usize>, stored: &ArrayRef, at: &[Option<u32>]) -> Result<ArrayRef>;
}

/// The type of a sum's state, if sums of `kind` can be kept.
pub(super) fn summable(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(DataType::Decimal128(38, 0)),
        DataType::Decimal128(_, scale) => Some(DataType::Decimal256(76, *scale)),
        DataType::Decimal256(..) | DataType::Float32 | DataType::Float64 | DataType::Interval(_) => {
            Some(DataType::Binary)
        }
        kind if is_numeric(kind) => Some(DataType::Binary),
        _ => None,
    }
}

pub(super) fn count() -> Box<dyn Accumulator> {
    Box::new(Plain::<Int64Type>::new(DataType::Int64, |totals, groups, _, weights| {
        for (&group, weight) in groups.iter().zip(weights) {
            totals[group as usize] += weight;
        }
    }))
}

pub(super) fn trues() -> Box<dyn Accumulator> {
    Box::new(Plain::<Int64Type>::new(DataType::Int64, |totals, groups, values, weights| {
        let values = values.expect("booleans").as_boolean().values();
        for (row, (&group, weight)) in groups.iter().zip(weights).enumerate() {
            totals[group as usize] += weight * i64::from(values.value(row));
        }
    }))
}

/// Panics if `kind` is not [`summable`].
pub(super) fn sum(kind: &DataType) -> Box<dyn Accumulator> {
    match kind {
        DataType::Int16 => integers::<Int16Type>(),
        DataType::Int32 => integers::<Int32Type>(),
        DataType::Int64 => integers::<Int64Type>(),
        DataType::Decimal128(_, scale) => decimals(*scale),
        DataType::Decimal256(..) => Box::new(Packed::<Wide>::new(|totals, groups, values, weights| {
            let values = values.as_primitive::<Decimal256Type>().values();
            each(groups, weights, |row, group, weight| totals[group].add_value(values[row], weight));
            Ok(())
        })),
        DataType::Float32 => floats::<Float32Type>(),
        DataType::Float64 => floats::<Float64Type>(),
        DataType::Interval(_) => Box::new(Packed::<Span>::new(|totals, groups, values, weights| {
            let values = values.as_primitive::<IntervalMonthDayNanoType>().values();
            each(groups, weights, |row, group, weight| totals[group].add(values[row], weight));
            Ok(())
        })),
        kind if is_numeric(kind) => Box::new(Packed::<Sum>::new(|totals, groups, values, weights| {
            let values = Numbers::of(values)?;
            for (row, (&group, &weight)) in groups.iter().zip(weights).enumerate() {
                if weight != 0 {
                    totals[group as usize].add(&values.get(row)?, weight)?;
                }
            }
            Ok(())
        })),
        other => unreachable!("no sum of {other}: refused when the plan was checked"),
    }
}

fn integers<T: ArrowPrimitiveType<Native: Into<i128>>>() -> Box<dyn Accumulator> {
    let kind = DataType::Decimal128(38, 0);
    Box::new(Plain::<Decimal128Type>::new(kind, |totals, groups, values, weights| {
        let values = values.expect("integers").as_primitive::<T>().values();
        for ((&group, &value), &weight) in groups.iter().zip(values).zip(weights) {
            totals[group as usize] += value.into() * i128::from(weight);
        }
    }))
}

fn decimals(scale: i8) -> Box<dyn Accumulator> {
    let kind = DataType::Decimal256(76, scale);
    Box::new(Plain::<Decimal256Type>::new(kind, |totals, groups, values, weights| {
        let values = values.expect("decimals").as_primitive::<Decimal128Type>().values();
        each(groups, weights, |row, group, weight| {
            let value = i256::from_i128(values[row]);
            let product = if weight == 1 { value } else { value.wrapping_mul(i256::from_i128(weight.into())) };
            totals[group] = totals[group].wrapping_add(product);
        });
    }))
}

fn floats<T: ArrowPrimitiveType<Native: Into<f64>>>() -> Box<dyn Accumulator> {
    Box::new(Packed::<Exact>::new(|totals, groups, values, weights| {
        let values = values.as_primitive::<T>().values();
        each(groups, weights, |row, group, weight| totals[group].add_value(values[row].into(), weight));
        Ok(())
    }))
}

fn each(groups: &[u32], weights: &[i64], mut add: impl FnMut(usize, usize, i64)) {
    for (row, (&group, &weight)) in groups.iter().zip(weights).enumerate() {
        if weight != 0 {
            add(row, group as usize, weight);
        }
    }
}

/// Adds to the totals of `groups` their rows' values (none: a count of rows) by their weights.
type Adding<T> = fn(&mut [<T as ArrowPrimitiveType>::Native], &[u32], Option<&ArrayRef>, &[i64]);

/// Totals that are numbers of one width.
struct Plain<T: ArrowPrimitiveType> {
    kind: DataType,
    totals: Vec<T::Native>,
    add: Adding<T>,
}

impl<T: ArrowPrimitiveType> Plain<T> {
    fn new(kind: DataType, add: Adding<T>) -> Self {
        Self { kind, totals: vec![], add }
    }
}

impl<T: ArrowPrimitiveType<Native: ArrowNativeTypeOp>> Accumulator for Plain<T> {
    fn clear(&mut self) {
        self.totals.clear();
    }

    fn grow(&mut self, groups: usize) {
        self.totals.resize(groups, T::Native::ZERO);
    }

    fn add(&mut self, groups: &[u32], values: Option<&ArrayRef>, weights: &[i64]) -> Result<()> {
        (self.add)(&mut self.totals, groups, values, weights);
        Ok(())
    }

    fn merge(&self, range: Range<usize>, stored: &ArrayRef, at: &[Option<u32>]) -> Result<ArrayRef> {
        let stored = stored.as_primitive::<T>();
        let merged = self.totals[range].iter().zip(at).map(|(&added, at)| match at {
            Some(row) => added.add_wrapping(stored.value(*row as usize)),
            None => added,
        });
        let merged = PrimitiveArray::<T>::from_iter_values(merged);
        Ok(Arc::new(merged.with_data_type(self.kind.clone())))
    }
}

/// As [`Adding`], and may find a value it cannot read.
type AddingBytes<T> = fn(&mut [T], &[u32], &ArrayRef, &[i64]) -> Result<()>;

/// Totals stored as bytes.
struct Packed<T> {
    totals: Vec<T>,
    add: AddingBytes<T>,
}

impl<T> Packed<T> {
    fn new(add: AddingBytes<T>) -> Self {
        Self { totals: vec![], add }
    }
}

impl<T: Total> Accumulator for Packed<T> {
    fn clear(&mut self) {
        self.totals.clear();
    }

    fn grow(&mut self, groups: usize) {
        self.totals.resize_with(groups, T::default);
    }

    fn add(&mut self, groups: &[u32], values: Option<&ArrayRef>, weights: &[i64]) -> Result<()> {
        (self.add)(&mut self.totals, groups, values.expect("numbers"), weights)
    }

    fn merge(&self, range: Range<usize>, stored: &ArrayRef, at: &[Option<u32>]) -> Result<ArrayRef> {
        packed::merge(&self.totals, range, stored, at)
    }
}
