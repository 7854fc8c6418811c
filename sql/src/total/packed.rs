//! Totals that are no plain number, whose state is bytes.

use super::keep::Total;
use crate::Result;
use crate::function::interval_sum::IntervalSum;
use crate::numeric::Sum;
use arrow::array::{ArrayRef, AsArray, BinaryBuilder};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// A sum that can be added to and written down. Adding commutes and is exact.
pub trait Written: Clone + Debug + Default + Send + Sync {
    fn merge(&mut self, other: &Self) -> Result<()>;

    /// Equal sums have equal bytes.
    fn encode(&self, bytes: &mut Vec<u8>);

    fn decode(bytes: &[u8]) -> Result<Self>;

    /// Memory held beside itself, in bytes, about.
    fn bytes(&self) -> usize;
}

/// Numerics of any scale.
impl Written for Sum {
    fn merge(&mut self, other: &Self) -> Result<()> {
        Sum::merge(self, other)
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(Sum::encode(self));
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        Sum::decode(bytes)
    }

    /// A tree node for each of its two maps.
    fn bytes(&self) -> usize {
        1024
    }
}

impl Written for IntervalSum {
    fn merge(&mut self, other: &Self) -> Result<()> {
        IntervalSum::merge(self, other);
        Ok(())
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(IntervalSum::encode(self));
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        IntervalSum::decode(bytes)
    }

    fn bytes(&self) -> usize {
        0
    }
}

/// Adds to the totals of groups their rows' values by their weights; may find a value it cannot read.
type Adding<T> = fn(&mut [T], &[u32], &ArrayRef, &[i64]) -> Result<()>;

#[derive(Debug)]
pub struct Packed<T> {
    totals: Vec<T>,
    add: Adding<T>,
}

impl<T> Packed<T> {
    pub fn new(add: Adding<T>) -> Self {
        Self { totals: vec![], add }
    }
}

impl<T: Written> Total for Packed<T> {
    fn grow(&mut self, groups: usize) {
        self.totals.resize_with(groups, T::default);
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<()> {
        (self.add)(&mut self.totals, groups, values, weights)
    }

    fn absorb(&mut self, groups: &[u32], states: &ArrayRef) -> Result<()> {
        let states = states.as_binary::<i32>();
        groups
            .iter()
            .enumerate()
            .try_for_each(|(row, &group)| self.totals[group as usize].merge(&T::decode(states.value(row))?))
    }

    fn state(&self, groups: Range<usize>) -> Result<ArrayRef> {
        let mut states = BinaryBuilder::with_capacity(groups.len(), 0);
        let mut bytes = vec![];
        for total in &self.totals[groups] {
            bytes.clear();
            total.encode(&mut bytes);
            states.append_value(&bytes);
        }
        Ok(Arc::new(states.finish()))
    }

    fn forget(&mut self, groups: usize) {
        self.totals.drain(..groups);
    }

    fn bytes(&self) -> usize {
        // The first few stand for all: this is asked after every batch.
        const SOME: usize = 64;
        let some = self.totals.iter().take(SOME).map(T::bytes).sum::<usize>();
        self.totals.capacity() * size_of::<T>() + some * self.totals.len().div_ceil(SOME)
    }
}
