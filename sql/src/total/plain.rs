//! Totals that are integers of one width.
//!
//! 128 bits hold any number of weighted rows, and sums of integers of up to 32 bits; 256 bits hold sums of what has up
//! to 128.

use super::keep::{Total, each};
use crate::Result;
use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Int64Type, i256};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

pub const NARROW: DataType = DataType::Decimal128(38, 0);

pub const fn wide(scale: i8) -> DataType {
    DataType::Decimal256(76, scale)
}

/// Adds to the totals of groups their rows' values by their weights.
type Adding<T> = fn(&mut [T], &[u32], &ArrayRef, &[i64]);

#[derive(Debug)]
pub struct Plain<T: ArrowPrimitiveType> {
    kind: DataType,
    totals: Vec<T::Native>,
    add: Adding<T::Native>,
}

impl<T: ArrowPrimitiveType> Plain<T> {
    fn new(kind: DataType, add: Adding<T::Native>) -> Self {
        Self { kind, totals: vec![], add }
    }
}

pub fn count() -> Plain<Decimal128Type> {
    Plain::new(NARROW, |totals, groups, _, weights| {
        for (&group, &weight) in groups.iter().zip(weights) {
            totals[group as usize] += i128::from(weight);
        }
    })
}

pub fn trues() -> Plain<Decimal128Type> {
    Plain::new(NARROW, |totals, groups, values, weights| {
        let values = values.as_boolean().values();
        for (row, (&group, &weight)) in groups.iter().zip(weights).enumerate() {
            totals[group as usize] += i128::from(weight) * i128::from(values.value(row));
        }
    })
}

/// Of integers of up to 32 bits.
pub fn small<T: ArrowPrimitiveType<Native: Into<i128>>>() -> Plain<Decimal128Type> {
    Plain::new(NARROW, |totals, groups, values, weights| {
        let values = values.as_primitive::<T>().values();
        for ((&group, &value), &weight) in groups.iter().zip(values).zip(weights) {
            totals[group as usize] += value.into() * i128::from(weight);
        }
    })
}

/// Of integers of 64 bits.
pub fn large() -> Plain<Decimal256Type> {
    Plain::new(wide(0), |totals: &mut [i256], groups, values, weights| {
        let values = values.as_primitive::<Int64Type>().values();
        for ((&group, &value), &weight) in groups.iter().zip(values).zip(weights) {
            let product = i256::from_i128(i128::from(value) * i128::from(weight));
            let total = &mut totals[group as usize];
            *total = total.wrapping_add(product);
        }
    })
}

pub fn decimals(scale: i8) -> Plain<Decimal256Type> {
    Plain::new(wide(scale), |totals: &mut [i256], groups, values, weights| {
        let values = values.as_primitive::<Decimal128Type>().values();
        each(groups, weights, |row, group, weight| {
            let value = i256::from_i128(values[row]);
            let product = if weight == 1 { value } else { value.wrapping_mul(i256::from_i128(weight.into())) };
            totals[group] = totals[group].wrapping_add(product);
        });
    })
}

impl<T: ArrowPrimitiveType<Native: ArrowNativeTypeOp> + Debug> Total for Plain<T> {
    fn grow(&mut self, groups: usize) {
        self.totals.resize(groups, T::Native::ZERO);
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<()> {
        (self.add)(&mut self.totals, groups, values, weights);
        Ok(())
    }

    fn absorb(&mut self, groups: &[u32], states: &ArrayRef) -> Result<()> {
        for (&group, &state) in groups.iter().zip(states.as_primitive::<T>().values()) {
            let total = &mut self.totals[group as usize];
            *total = total.add_wrapping(state);
        }
        Ok(())
    }

    fn state(&self, groups: Range<usize>) -> Result<ArrayRef> {
        let states = PrimitiveArray::<T>::from_iter_values(self.totals[groups].iter().copied());
        Ok(Arc::new(states.with_data_type(self.kind.clone())))
    }

    fn forget(&mut self, groups: usize) {
        self.totals.drain(..groups);
    }

    fn bytes(&self) -> usize {
        self.totals.capacity() * size_of::<T::Native>()
    }
}
