//! The least and the greatest, in Postgres' order: NaN is the greatest number, a month is thirty days, text is ordered
//! by its bytes.
//!
//! Of values that are equal but not the same (1.0 and 1.00) the least bytes count, so that it is always the same one.

use super::keep::Total;
use crate::function::key::justified;
use crate::{Error, Result};
use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, IntervalMonthDayNanoArray, PrimitiveArray,
    UInt32Array,
};
use arrow::datatypes::*;
use arrow::row::{RowConverter, SortField};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// Of values that are never taken back.
pub fn once(greatest: bool, kind: &DataType) -> Result<Box<dyn Total>> {
    use arrow::datatypes::TimeUnit::Microsecond;
    Ok(match kind {
        DataType::Int16 => native::<Int16Type>(greatest, kind),
        DataType::Int32 => native::<Int32Type>(greatest, kind),
        DataType::Int64 => native::<Int64Type>(greatest, kind),
        DataType::Float32 => native::<Float32Type>(greatest, kind),
        DataType::Float64 => native::<Float64Type>(greatest, kind),
        DataType::Decimal128(..) => native::<Decimal128Type>(greatest, kind),
        DataType::Decimal256(..) => native::<Decimal256Type>(greatest, kind),
        DataType::Date32 => native::<Date32Type>(greatest, kind),
        DataType::Time64(Microsecond) => native::<Time64MicrosecondType>(greatest, kind),
        DataType::Timestamp(Microsecond, _) => native::<TimestampMicrosecondType>(greatest, kind),
        _ => Box::new(Ordered::new(greatest, false, kind)?),
    })
}

/// Of values that can be taken back.
pub fn sorted(greatest: bool, kind: &DataType) -> Result<Box<dyn Total>> {
    Ok(Box::new(Ordered::new(greatest, true, kind)?))
}

fn native<T: ArrowPrimitiveType<Native: ArrowNativeTypeOp> + Debug>(greatest: bool, kind: &DataType) -> Box<dyn Total> {
    Box::new(Native::<T> { greatest, kind: kind.clone(), best: vec![] })
}

/// Values that compare as Arrow's do.
#[derive(Debug)]
struct Native<T: ArrowPrimitiveType> {
    greatest: bool,
    kind: DataType,
    best: Vec<Option<T::Native>>,
}

impl<T: ArrowPrimitiveType<Native: ArrowNativeTypeOp>> Native<T> {
    fn offer(&mut self, group: u32, value: T::Native) {
        let best = &mut self.best[group as usize];
        let better = |best: T::Native| if self.greatest { value.is_gt(best) } else { value.is_lt(best) };
        if best.is_none_or(better) {
            *best = Some(value);
        }
    }
}

impl<T: ArrowPrimitiveType<Native: ArrowNativeTypeOp> + Debug> Total for Native<T> {
    fn grow(&mut self, groups: usize) {
        self.best.resize(groups, None);
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<()> {
        let values = one_nan(values);
        let values = values.as_primitive::<T>().values();
        for ((&group, &value), &weight) in groups.iter().zip(values).zip(weights) {
            if weight != 0 {
                self.offer(group, value);
            }
        }
        Ok(())
    }

    fn absorb(&mut self, groups: &[u32], states: &ArrayRef) -> Result<()> {
        let states = states.as_primitive::<T>();
        groups.iter().zip(states).for_each(|(&group, state)| {
            if let Some(value) = state {
                self.offer(group, value);
            }
        });
        Ok(())
    }

    fn state(&self, groups: Range<usize>) -> Result<ArrayRef> {
        let best: PrimitiveArray<T> = self.best[groups].iter().copied().collect();
        Ok(Arc::new(best.with_data_type(self.kind.clone())))
    }

    fn forget(&mut self, groups: usize) {
        self.best.drain(..groups);
    }

    fn bytes(&self) -> usize {
        self.best.capacity() * size_of::<Option<T::Native>>()
    }
}

/// Floats with but one NaN, the greatest of them; anything else as it is.
fn one_nan(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => {
            let floats = values.as_primitive::<Float32Type>();
            Arc::new(floats.unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x }))
        }
        DataType::Float64 => {
            let floats = values.as_primitive::<Float64Type>();
            Arc::new(floats.unary::<_, Float64Type>(|x| if x.is_nan() { f64::NAN } else { x }))
        }
        _ => values.clone(),
    }
}

/// A value as bytes in the order of values.
type Bytes = Box<[u8]>;

/// Any values, as bytes.
#[derive(Debug)]
struct Ordered {
    greatest: bool,
    retractable: bool,
    converter: RowConverter,
    /// Columns before the value that decide first.
    leading: usize,
    groups: Vec<Kept>,
    bytes: usize,
}

#[derive(Debug)]
enum Kept {
    Best(Option<Bytes>),
    /// All of them, and how often each is there.
    All(BTreeMap<Bytes, i128>),
}

impl Ordered {
    fn new(greatest: bool, retractable: bool, kind: &DataType) -> Result<Self> {
        let leading = usize::from(matches!(kind, DataType::Interval(_)));
        let fields = vec![SortField::new(kind.clone()); leading + 1];
        let converter = RowConverter::new(fields)?;
        Ok(Self { greatest, retractable, converter, leading, groups: vec![], bytes: 0 })
    }

    fn columns(&self, values: &ArrayRef) -> Vec<ArrayRef> {
        let mut columns = vec![];
        if self.leading > 0 {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
            let keys: IntervalMonthDayNanoArray = intervals.unary(justified);
            columns.push(Arc::new(keys) as ArrayRef);
        }
        columns.push(one_nan(values));
        columns
    }
}

impl Total for Ordered {
    fn grow(&mut self, groups: usize) {
        let retractable = self.retractable;
        self.groups.resize_with(groups, || match retractable {
            true => Kept::All(BTreeMap::new()),
            false => Kept::Best(None),
        });
    }

    fn add(&mut self, groups: &[u32], values: &ArrayRef, weights: &[i64]) -> Result<()> {
        let rows = self.converter.convert_columns(&self.columns(values))?;
        for (row, (&group, &weight)) in groups.iter().zip(weights).enumerate().filter(|(_, (_, weight))| **weight != 0)
        {
            let value = rows.row(row).data();
            match &mut self.groups[group as usize] {
                Kept::Best(best) => {
                    let better = |best: &Bytes| if self.greatest { value > &best[..] } else { value < &best[..] };
                    if best.as_ref().is_none_or(better) {
                        self.bytes += value.len();
                        self.bytes -= best.replace(value.into()).map_or(0, |old| old.len());
                    }
                }
                Kept::All(counts) => match counts.get_mut(value) {
                    None => {
                        self.bytes += value.len() + size_of::<(Bytes, i128)>();
                        counts.insert(value.into(), weight.into());
                    }
                    Some(count) => {
                        *count += i128::from(weight);
                        if *count == 0 {
                            self.bytes -= value.len() + size_of::<(Bytes, i128)>();
                            counts.remove(value);
                        }
                    }
                },
            }
        }
        Ok(())
    }

    fn absorb(&mut self, groups: &[u32], states: &ArrayRef) -> Result<()> {
        if self.retractable {
            return Err(Error::internal("only the least value is left of a state"));
        }
        let weights: Vec<i64> = (0..states.len()).map(|row| i64::from(states.is_valid(row))).collect();
        self.add(groups, states, &weights)
    }

    fn state(&self, groups: Range<usize>) -> Result<ArrayRef> {
        let best = |kept: &Kept| match kept {
            Kept::Best(best) => best.clone(),
            Kept::All(counts) if self.greatest => counts.last_key_value().map(|(value, _)| value.clone()),
            Kept::All(counts) => counts.first_key_value().map(|(value, _)| value.clone()),
        };
        let best: Vec<Option<Bytes>> = self.groups[groups].iter().map(best).collect();
        let parser = self.converter.parser();
        let found = self.converter.convert_rows(best.iter().flatten().map(|bytes| parser.parse(bytes)))?;
        let mut next = 0u32;
        let place = |value: &Option<Bytes>| {
            next += u32::from(value.is_some());
            value.as_ref().map(|_| next - 1)
        };
        let places: UInt32Array = best.iter().map(place).collect();
        Ok(arrow::compute::take(&found[self.leading], &places, None)?)
    }

    fn forget(&mut self, groups: usize) {
        for kept in self.groups.drain(..groups) {
            self.bytes -= match kept {
                Kept::Best(best) => best.map_or(0, |best| best.len()),
                Kept::All(counts) => counts.keys().map(|value| value.len() + size_of::<(Bytes, i128)>()).sum(),
            };
        }
    }

    fn bytes(&self) -> usize {
        self.bytes + self.groups.capacity() * size_of::<Kept>()
    }
}
