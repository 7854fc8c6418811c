//! Totals: what is kept of groups of values, so that values are added and taken back exactly. Views, SELECT and windows
//! share them.
//!
//! A total is columnar: it holds many groups, takes rows by the number of their group, and gives its state as a column.
//! No order of adding, taking back and absorbing states makes a difference. It is wide enough for any number of
//! different rows that fits a machine, each with any weight; only what is made of it may be out of range
//! ([`aggregate`](crate::aggregate)).

mod exact;
mod keep;
mod min_max;
mod moments;
mod packed;
mod plain;
mod wide;

pub use self::exact::Exact;
pub use self::keep::{Keep, Total};
pub use self::moments::Moments;
pub use self::packed::Written;
pub use self::wide::Wide;

use self::keep::each;
use self::packed::Packed;
use crate::function::interval_sum::IntervalSum;
use crate::numeric::{Numbers, Sum};
use crate::types::is_numeric;
use crate::{Error, Result};
use arrow::array::{ArrowPrimitiveType, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal256Type, Float32Type, Float64Type, IntervalMonthDayNanoType};

/// The type of the state of what is kept of values of a type, if it can be kept of them.
pub fn state_type(keep: Keep, argument: &DataType) -> Option<DataType> {
    match (keep, argument) {
        (Keep::Count, _) | (Keep::Trues, DataType::Boolean) => Some(plain::NARROW),
        (Keep::Min | Keep::Max, kind) => Some(kind.clone()),
        (Keep::Sum, DataType::Int16 | DataType::Int32) => Some(plain::NARROW),
        (Keep::Sum, DataType::Int64) => Some(plain::wide(0)),
        (Keep::Sum, DataType::Decimal128(_, scale)) => Some(plain::wide(*scale)),
        (Keep::Sum, DataType::Interval(_)) => Some(DataType::Binary),
        (Keep::Sum | Keep::Moments, kind) if is_number(kind) => Some(DataType::Binary),
        _ => None,
    }
}

fn is_number(kind: &DataType) -> bool {
    use DataType::*;
    matches!(kind, Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(..) | Decimal256(..)) || is_numeric(kind)
}

/// A total of values of a type that [`state_type`] knows; of a minimum or maximum, one whose values are never taken
/// back.
pub fn total(keep: Keep, argument: &DataType) -> Result<Box<dyn Total>> {
    Ok(match keep {
        Keep::Count => Box::new(plain::count()),
        Keep::Trues => Box::new(plain::trues()),
        Keep::Sum => sum(argument)?,
        Keep::Moments => moments(argument)?,
        Keep::Min | Keep::Max => min_max::once(keep == Keep::Max, argument)?,
    })
}

/// The same of a minimum or maximum whose values can be taken back.
pub fn retractable(keep: Keep, argument: &DataType) -> Result<Box<dyn Total>> {
    match keep {
        Keep::Min | Keep::Max => min_max::sorted(keep == Keep::Max, argument),
        _ => total(keep, argument),
    }
}

fn sum(argument: &DataType) -> Result<Box<dyn Total>> {
    Ok(match argument {
        DataType::Int16 => Box::new(plain::small::<arrow::datatypes::Int16Type>()),
        DataType::Int32 => Box::new(plain::small::<arrow::datatypes::Int32Type>()),
        DataType::Int64 => Box::new(plain::large()),
        DataType::Decimal128(_, scale) => Box::new(plain::decimals(*scale)),
        DataType::Decimal256(..) => Box::new(Packed::<Wide>::new(|totals, groups, values, weights| {
            let values = values.as_primitive::<Decimal256Type>().values();
            each(groups, weights, |row, group, weight| totals[group].add_value(values[row], weight));
            Ok(())
        })),
        DataType::Float32 => floats::<Float32Type>(),
        DataType::Float64 => floats::<Float64Type>(),
        DataType::Interval(_) => Box::new(Packed::<IntervalSum>::new(|totals, groups, values, weights| {
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
        other => return Err(Error::internal(format!("no sum of {other}"))),
    })
}

fn moments(argument: &DataType) -> Result<Box<dyn Total>> {
    Ok(match argument {
        DataType::Float32 | DataType::Float64 => {
            Box::new(Packed::<Moments<2>>::new(|totals, groups, values, weights| {
                let values = cast(values, &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>().values();
                each(groups, weights, |row, group, weight| totals[group].add_float(values[row], weight));
                Ok(())
            }))
        }
        _ => Box::new(Packed::<Moments<10>>::new(|totals, groups, values, weights| {
            let values = Numbers::of(values)?;
            for (row, (&group, &weight)) in groups.iter().zip(weights).enumerate() {
                if weight != 0 {
                    totals[group as usize].add_number(&values.get(row)?, weight);
                }
            }
            Ok(())
        })),
    })
}

fn floats<T: ArrowPrimitiveType<Native: Into<f64>>>() -> Box<dyn Total> {
    Box::new(Packed::<Exact>::new(|totals, groups, values, weights| {
        let values = values.as_primitive::<T>().values();
        each(groups, weights, |row, group, weight| totals[group].add_value(values[row].into(), weight));
        Ok(())
    }))
}
