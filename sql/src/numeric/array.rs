//! Columns of numerics: reading any exact number column as numerics, and writing numerics as any number column.

use super::arithmetic::{absolute, wide_power};
use super::value::{Numeric, POWERS, WIDTH};
use crate::error::{Error, Result};
use crate::types::NUMERIC_WIDTH;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Decimal256Array, FixedSizeBinaryArray,
    PrimitiveArray,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};
use std::sync::Arc;

/// A column whose values can be read as numerics, one row at a time and without conversion of the whole.
pub enum Numbers<'a> {
    Numeric(&'a FixedSizeBinaryArray),
    Decimal128(&'a Decimal128Array, i32),
    Decimal256(&'a Decimal256Array, i32),
    Int2(&'a PrimitiveArray<Int16Type>),
    Int4(&'a PrimitiveArray<Int32Type>),
    Int8(&'a PrimitiveArray<Int64Type>),
    Float4(&'a PrimitiveArray<Float32Type>),
    Float8(&'a PrimitiveArray<Float64Type>),
}

impl<'a> Numbers<'a> {
    pub fn of(array: &'a dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::FixedSizeBinary(NUMERIC_WIDTH) => Numbers::Numeric(array.as_fixed_size_binary()),
            DataType::Decimal128(_, scale) => {
                Numbers::Decimal128(array.as_primitive::<Decimal128Type>(), *scale as i32)
            }
            DataType::Decimal256(_, scale) => {
                Numbers::Decimal256(array.as_primitive::<Decimal256Type>(), *scale as i32)
            }
            DataType::Int16 => Numbers::Int2(array.as_primitive()),
            DataType::Int32 => Numbers::Int4(array.as_primitive()),
            DataType::Int64 => Numbers::Int8(array.as_primitive()),
            DataType::Float32 => Numbers::Float4(array.as_primitive()),
            DataType::Float64 => Numbers::Float8(array.as_primitive()),
            other => return Err(Error::internal(format!("{other} read as numeric"))),
        })
    }

    /// The value of a row that is not null.
    pub fn get(&self, row: usize) -> Result<Numeric> {
        match self {
            Numbers::Numeric(array) => Numeric::decode(array.value(row)),
            Numbers::Decimal128(array, scale) => Numeric::finite(array.value(row), -scale, (*scale).max(0) as u32),
            Numbers::Decimal256(array, scale) => Numeric::narrowed(array.value(row), -scale, (*scale).max(0) as u32),
            Numbers::Int2(array) => Ok(Numeric::from_i64(array.value(row) as i64)),
            Numbers::Int4(array) => Ok(Numeric::from_i64(array.value(row) as i64)),
            Numbers::Int8(array) => Ok(Numeric::from_i64(array.value(row))),
            // Postgres converts floats by way of their FLT_DIG or DBL_DIG digits.
            Numbers::Float4(array) => Numeric::from_float(array.value(row) as f64, 6),
            Numbers::Float8(array) => Numeric::from_float(array.value(row), 15),
        }
    }
}

impl Numeric {
    /// `value` to `digits` significant digits, as C's `%.{digits}g` prints it.
    pub(crate) fn from_float(value: f64, digits: usize) -> Result<Self> {
        if value.is_nan() {
            return Ok(Self::NAN);
        }
        if value.is_infinite() {
            return Ok(if value > 0.0 { Self::INFINITY } else { Self::NEGATIVE_INFINITY });
        }
        let text = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        format!("{mantissa}e{exponent}").parse()
    }

    /// The nearest float8; out of its range is 22003.
    pub fn to_f64(&self) -> Result<f64> {
        if self.is_nan() {
            return Ok(f64::NAN);
        }
        if !self.is_finite() {
            return Ok(if self.is_negative() { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        // Both exact: one correctly rounded division or product is the nearest float.
        const EXACT: u128 = 1 << 53;
        if self.coefficient.unsigned_abs() <= EXACT && (-22..=22).contains(&self.exponent) {
            let power = 10f64.powi(self.exponent.abs());
            let coefficient = self.coefficient as f64;
            return Ok(if self.exponent < 0 { coefficient / power } else { coefficient * power });
        }
        let value: f64 = format!("{}e{}", self.coefficient, self.exponent)
            .parse()
            .map_err(|_| Error::internal("numeric to double precision"))?;
        if value.is_infinite() || value == 0.0 && !self.is_zero() {
            return Err(Error::new("22003", "value out of range: numeric as double precision"));
        }
        Ok(value)
    }
}

/// A numeric column of `rows`; the first error ends it.
pub fn build(rows: impl ExactSizeIterator<Item = Result<Option<Numeric>>>) -> Result<FixedSizeBinaryArray> {
    let mut bytes = Vec::with_capacity(rows.len() * WIDTH);
    let mut valid = Vec::with_capacity(rows.len());
    for row in rows {
        let row = row?;
        valid.push(row.is_some());
        bytes.extend_from_slice(&row.map_or([0; WIDTH], |value| value.encode()));
    }
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
    Ok(FixedSizeBinaryArray::new(NUMERIC_WIDTH, Buffer::from_vec(bytes), nulls))
}

/// Any number column as numeric.
pub fn from_column(array: &dyn Array) -> Result<FixedSizeBinaryArray> {
    let numbers = Numbers::of(array)?;
    build((0..array.len()).map(|row| if array.is_null(row) { Ok(None) } else { numbers.get(row).map(Some) }))
}

/// The same values with the least display scale they can have: equal values are equal bytes.
pub fn key(array: &FixedSizeBinaryArray) -> Result<FixedSizeBinaryArray> {
    build((0..array.len()).map(|row| {
        let value = array.is_valid(row).then(|| Numeric::decode(array.value(row)));
        Ok(value.transpose()?.map(|value| value.with_least_scale()))
    }))
}

/// Any number column as an exact number column of another type, as Postgres' assignment casts do: rounded half away from
/// zero (floats to integers: half to even), 22003 where it does not fit.
pub fn to_column(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    let numbers = Numbers::of(array)?;
    let read = |row| if array.is_null(row) { Ok(None) } else { numbers.get(row).map(Some) };
    Ok(match to {
        DataType::FixedSizeBinary(NUMERIC_WIDTH) => Arc::new(build((0..array.len()).map(read))?),
        DataType::Int16 => integers::<Int16Type>(array.len(), read, "smallint")?,
        DataType::Int32 => integers::<Int32Type>(array.len(), read, "integer")?,
        DataType::Int64 => integers::<Int64Type>(array.len(), read, "bigint")?,
        DataType::Decimal128(precision, scale) => {
            let values = collect::<Decimal128Type>(array.len(), read, |value| {
                let unscaled = finite_for(&value)?.unscaled(*scale as i32).ok_or_else(field_overflow)?;
                if unscaled.unsigned_abs() >= POWERS[*precision as usize] {
                    return Err(field_overflow());
                }
                Ok(unscaled)
            })?;
            Arc::new(values.with_data_type(to.clone()))
        }
        DataType::Decimal256(precision, scale) => {
            let limit = wide_power(*precision as i32).ok_or_else(field_overflow)?;
            let values = collect::<Decimal256Type>(array.len(), read, |value| {
                let value = finite_for(&value)?.round(*scale as i32)?;
                let power = value.exponent + *scale as i32;
                let unscaled = match value.coefficient {
                    0 => i256::ZERO,
                    coefficient => wide_power(power)
                        .and_then(|power| i256::from_i128(coefficient).checked_mul(power))
                        .ok_or_else(field_overflow)?,
                };
                if absolute(unscaled) >= limit {
                    return Err(field_overflow());
                }
                Ok(unscaled)
            })?;
            Arc::new(values.with_data_type(to.clone()))
        }
        DataType::Float64 => Arc::new(collect::<Float64Type>(array.len(), read, |value| value.to_f64())?),
        DataType::Float32 => Arc::new(collect::<Float32Type>(array.len(), read, |value| {
            let wide = value.to_f64()?;
            let narrow = wide as f32;
            if narrow.is_infinite() && wide.is_finite() || narrow == 0.0 && wide != 0.0 {
                return Err(Error::new("22003", "value out of range: numeric as real"));
            }
            Ok(narrow)
        })?),
        other => return Err(Error::internal(format!("numeric written as {other}"))),
    })
}

fn integers<T: ArrowPrimitiveType>(
    rows: usize,
    read: impl Fn(usize) -> Result<Option<Numeric>>,
    name: &str,
) -> Result<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let array = collect::<T>(rows, read, |value| {
        if !value.is_finite() {
            let what = if value.is_nan() { "NaN" } else { "infinity" };
            return Err(Error::new("0A000", format!("cannot convert {what} to {name}")));
        }
        value
            .unscaled(0)
            .and_then(|integer| T::Native::try_from(integer).ok())
            .ok_or_else(|| Error::new("22003", format!("{name} out of range")))
    })?;
    Ok(Arc::new(array))
}

fn collect<T: ArrowPrimitiveType>(
    rows: usize,
    read: impl Fn(usize) -> Result<Option<Numeric>>,
    convert: impl Fn(Numeric) -> Result<T::Native>,
) -> Result<PrimitiveArray<T>> {
    (0..rows).map(|row| read(row)?.map(&convert).transpose()).collect()
}

/// numeric(p,s) columns are decimals: NaN fits Postgres' but not them, infinity fits neither.
fn finite_for(value: &Numeric) -> Result<&Numeric> {
    if value.is_finite() { Ok(value) } else { Err(field_overflow()) }
}

fn field_overflow() -> Error {
    Error::new("22003", "numeric field overflow")
}
