//! CAST with Postgres' conversions: from any type we hold to any other that Postgres converts, column-wise.
//!
//! Text is read by [`super::read`] and printed by [`super::print`]; numbers are rounded and checked (22003), never wrapped.

use super::calendar::{MICROS_PER_DAY, split};
use super::long::{Texts, fits};
use super::print;
use super::read;
use super::temporal::{infinite_date, infinite_timestamp, timestamp_range};
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::numeric::{self, Numeric};
use crate::types::Type;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanArray, ListArray, PrimitiveArray, StringArray,
    StringBuilder,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, try_unary};
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// CAST to a type, as a function of DataFusion's. Moments and wall clocks convert in `zone`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Cast {
    from: Type,
    to: Type,
    zone: String,
    signature: Signature,
}

impl Cast {
    pub fn udf(from: Type, to: Type, zone: &str) -> Arc<ScalarUDF> {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Cast { from, to, zone: zone.to_string(), signature }))
    }

    pub fn to(&self) -> &Type {
        &self.to
    }

    pub fn zone(&self) -> &str {
        &self.zone
    }
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        "cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String, DataFusionError> {
        let argument = args.first().map(|arg| arg.schema_name().to_string()).unwrap_or_default();
        Ok(format!("{argument}::{}", self.to))
    }

    fn display_name(&self, args: &[Expr]) -> Result<String, DataFusionError> {
        let argument = args.first().map(Expr::to_string).unwrap_or_default();
        Ok(format!("{argument}::{}", self.to))
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.to.arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef, DataFusionError> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(self.to.field("cast", nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let zone = Zone::parse(&self.zone)?;
        match &args.args[..] {
            [ColumnarValue::Array(array)] => Ok(ColumnarValue::Array(column(array, &self.from, &self.to, zone)?)),
            [ColumnarValue::Scalar(value)] => {
                let array = column(&value.to_array()?, &self.from, &self.to, zone)?;
                // Made of an array, a value forgets what its elements are marked as.
                Ok(ColumnarValue::Scalar(match array.as_list_opt::<i32>() {
                    Some(list) => ScalarValue::List(Arc::new(list.clone())),
                    None => ScalarValue::try_from_array(&array, 0)?,
                }))
            }
            _ => Err(Error::internal("cast of not one argument").into()),
        }
    }
}

/// Whether Postgres has a conversion at all; the error is 42846.
pub fn check(from: &Type, to: &Type) -> Result<()> {
    use Type::*;
    let known = match (from, to) {
        _ if from.is_text() || matches!(to, Text | Varchar(_) | Char(_)) => true,
        (Array(from), Array(to)) => return check(from, to),
        (Bool, Bool | Int4) | (Int4, Bool) => true,
        (Int2 | Int4 | Int8 | Float4 | Float8 | Numeric(_), Int2 | Int4 | Int8 | Float4 | Float8 | Numeric(_)) => true,
        (Date | Timestamp | Timestamptz, Date | Timestamp | Timestamptz) => true,
        (Timestamp | Timestamptz | Interval, Time) | (Time, Interval) => true,
        (Json | Jsonb, Json | Jsonb) => true,
        _ => from == to,
    };
    if known { Ok(()) } else { Err(Error::new("42846", format!("cannot cast type {from} to {to}"))) }
}

/// Whether a conversion can fail on a row.
pub fn fallible(from: &Type, to: &Type) -> bool {
    use Type::*;
    match (from, to) {
        (_, Text | Varchar(_) | Char(_)) => false,
        (Int2, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric(None)) => false,
        (Int4, Int4 | Int8 | Float4 | Float8 | Numeric(None)) => false,
        (Int8, Int8 | Float4 | Float8 | Numeric(None)) => false,
        (Float4, Float8) | (Bool, Int4) | (Int4, Bool) => false,
        (Array(from), Array(to)) => fallible(from, to),
        (from, to) => from != to,
    }
}

/// `array`, holding values of type `from`, as `to`.
pub fn column(array: &ArrayRef, from: &Type, to: &Type, zone: Zone) -> Result<ArrayRef> {
    let array = &plain(array)?;
    check(from, to)?;
    if array.data_type() == &DataType::Null {
        return Ok(arrow::array::new_null_array(&to.arrow(), array.len()));
    }
    if from == to && !matches!(to, Type::Numeric(Some(_))) {
        return Ok(array.clone());
    }
    match to {
        Type::Text => text(array, from, zone),
        Type::Varchar(limit) => limited(&text(array, from, zone)?, *limit),
        Type::Char(0) => match from {
            Type::Char(length) => padded(array, *length as usize),
            _ => text(array, from, zone),
        },
        Type::Char(length) => Ok(trimmed(&limited(&text(array, from, zone)?, Some(*length))?)),
        _ if from.is_text() => parsed(array, to, zone),
        Type::Array(element) => elements(array, from, element, zone),
        Type::Bool => Ok(cast(array, &DataType::Boolean)?),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 | Type::Numeric(_) => number(array, to),
        Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz => moments(array, from, to, zone),
        Type::Interval => {
            let times = array.as_primitive::<Time64MicrosecondType>();
            let interval = |time| arrow::datatypes::IntervalMonthDayNano::new(0, 0, time * 1000);
            Ok(Arc::new(times.unary::<_, IntervalMonthDayNanoType>(interval)))
        }
        Type::Json | Type::Bytea | Type::Uuid | Type::Jsonb => parsed(array, to, zone),
    }
}

/// Strings and numbers in the widths we hold.
fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    let to = match array.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        _ => return Ok(array.clone()),
    };
    Ok(cast(array, &to)?)
}

fn text(array: &ArrayRef, from: &Type, zone: Zone) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Utf8 if matches!(from, Type::Char(_)) => Ok(trimmed(array)),
        DataType::Utf8 => Ok(array.clone()),
        _ => Ok(Arc::new(print::column(&shown(array, from)?, zone)?)),
    }
}

/// `array` of type `kind` as it is shown: char(n) with its blanks.
pub fn shown(array: &ArrayRef, kind: &Type) -> Result<ArrayRef> {
    Ok(match kind {
        Type::Char(length @ 1..) => padded(array, *length as usize)?,
        Type::Array(element) if matches!(element.as_ref(), Type::Char(1..)) => {
            let lists = array.as_list::<i32>();
            let values = shown(lists.values(), element)?;
            let field = Arc::new(element.field("item", true));
            Arc::new(ListArray::try_new(field, lists.offsets().clone(), values, lists.nulls().cloned())?)
        }
        _ => array.clone(),
    })
}

/// Without the blanks at the end of values.
pub fn trimmed(array: &ArrayRef) -> ArrayRef {
    let strings = array.as_string::<i32>();
    if !strings.iter().flatten().any(|value| value.ends_with(' ')) {
        return array.clone();
    }
    let trimmed = strings.iter().map(|value| value.map(|value| value.trim_end_matches(' ')));
    Arc::new(trimmed.collect::<StringArray>())
}

/// The first `limit` characters.
fn limited(array: &ArrayRef, limit: Option<u32>) -> Result<ArrayRef> {
    let Some(limit) = limit else { return Ok(array.clone()) };
    let strings = array.as_string::<i32>();
    let cut = |value: &str| value.char_indices().nth(limit as usize).map_or(value.len(), |(at, _)| at);
    if strings.iter().flatten().all(|value| cut(value) == value.len()) {
        return Ok(array.clone());
    }
    Ok(Arc::new(strings.iter().map(|value| value.map(|value| &value[..cut(value)])).collect::<StringArray>()))
}

/// With blanks up to `length` characters.
pub(super) fn padded(array: &ArrayRef, length: usize) -> Result<ArrayRef> {
    const BLANKS: &str = "                                                                ";
    let strings = array.as_string::<i32>();
    let missing = |value: &str| length.saturating_sub(value.chars().count());
    fits(0, strings.iter().flatten().map(|value| value.len() + missing(value)).fold(0, usize::saturating_add))?;
    let mut out = Texts::default();
    for value in strings {
        let Some(value) = value else {
            out.null();
            continue;
        };
        let missing = missing(value);
        let whole = std::iter::repeat_n(BLANKS, missing / BLANKS.len());
        let pieces = [value].into_iter().chain(whole).chain([&BLANKS[..missing % BLANKS.len()]]);
        out.push(value.len() + missing, pieces)?;
    }
    Ok(out.finish())
}

fn number(array: &ArrayRef, to: &Type) -> Result<ArrayRef> {
    use DataType::{Float32, Float64, Int16, Int32, Int64};
    Ok(match (array.data_type(), to) {
        (DataType::Boolean, _) | (Int16 | Int32 | Int64, Type::Float4 | Type::Float8) => cast(array, &to.arrow())?,
        (Int16, Type::Int4 | Type::Int8) | (Int32, Type::Int8) | (Float32, Type::Float8) => cast(array, &to.arrow())?,
        (Int16 | Int32 | Int64, Type::Int2) => narrow::<Int16Type>(&cast(array, &Int64)?, "smallint")?,
        (Int64, Type::Int4) => narrow::<Int32Type>(array, "integer")?,
        (Float32 | Float64, Type::Int2) => from_float::<Int16Type>(&cast(array, &Float64)?, "smallint")?,
        (Float32 | Float64, Type::Int4) => from_float::<Int32Type>(&cast(array, &Float64)?, "integer")?,
        (Float32 | Float64, Type::Int8) => from_float::<Int64Type>(&cast(array, &Float64)?, "bigint")?,
        (Float64, Type::Float4) => narrow_float(array)?,
        (Int16 | Int32 | Int64, Type::Numeric(Some((precision, scale)))) => {
            integers_to_decimal(array, *precision, *scale, to)?
        }
        _ => numeric::to_column(array, &to.arrow())?,
    })
}

fn narrow<T: ArrowPrimitiveType>(array: &ArrayRef, name: &str) -> Result<ArrayRef>
where
    T::Native: TryFrom<i64>,
{
    let range = |_| ArrowError::from(Error::new("22003", format!("{name} out of range")));
    let values = array.as_primitive::<Int64Type>();
    Ok(Arc::new(try_unary::<_, _, T>(values, |value| T::Native::try_from(value).map_err(range))?))
}

/// Half to even.
fn from_float<T: ArrowPrimitiveType>(array: &ArrayRef, name: &str) -> Result<ArrayRef>
where
    T::Native: TryFrom<i64>,
{
    let range = || ArrowError::from(Error::new("22003", format!("{name} out of range")));
    let values = array.as_primitive::<Float64Type>();
    let convert = |value: f64| {
        let rounded = value.round_ties_even();
        // 2^63 itself is a float and too large; NaN is in no range.
        if !(i64::MIN as f64..-(i64::MIN as f64)).contains(&rounded) {
            return Err(range());
        }
        T::Native::try_from(rounded as i64).map_err(|_| range())
    };
    Ok(Arc::new(try_unary::<_, _, T>(values, convert)?))
}

fn narrow_float(array: &ArrayRef) -> Result<ArrayRef> {
    let values = array.as_primitive::<Float64Type>();
    let convert = |value: f64| {
        let narrow = value as f32;
        let what = match () {
            _ if narrow.is_infinite() && value.is_finite() => "overflow",
            _ if narrow == 0.0 && value != 0.0 => "underflow",
            _ => return Ok(narrow),
        };
        Err(ArrowError::from(Error::new("22003", format!("value out of range: {what}"))))
    };
    Ok(Arc::new(try_unary::<_, _, Float32Type>(values, convert)?))
}

fn integers_to_decimal(array: &ArrayRef, precision: u8, scale: i8, to: &Type) -> Result<ArrayRef> {
    let fits = precision as i32 - scale as i32 >= 19 && scale >= 0;
    if fits && precision <= 38 {
        return Ok(cast(array, &to.arrow())?);
    }
    numeric::to_column(array, &to.arrow())
}

fn moments(array: &ArrayRef, from: &Type, to: &Type, zone: Zone) -> Result<ArrayRef> {
    if let Type::Interval = from {
        let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
        let time =
            |value: arrow::datatypes::IntervalMonthDayNano| (value.nanoseconds / 1000).rem_euclid(MICROS_PER_DAY);
        return Ok(Arc::new(intervals.unary::<_, Time64MicrosecondType>(time)));
    }
    // Everything by way of the wall clock, then to what is asked for.
    let local: PrimitiveArray<TimestampMicrosecondType> = match from {
        Type::Date => try_unary(array.as_primitive::<Date32Type>(), start_of)?,
        Type::Timestamptz => array.as_primitive::<TimestampMicrosecondType>().unary(|at| wall(at, zone)),
        _ => array.as_primitive().clone(),
    };
    Ok(match to {
        Type::Date => Arc::new(try_unary::<_, _, Date32Type>(&local, day_of)?),
        Type::Time => Arc::new(local.unary::<_, Time64MicrosecondType>(|at| split(at).1)),
        Type::Timestamp => Arc::new(local.with_data_type(to.arrow())),
        _ => {
            let moments: PrimitiveArray<TimestampMicrosecondType> =
                local.unary(|at| if infinite_timestamp(at) { at } else { zone.moment(at) });
            Arc::new(moments.with_data_type(to.arrow()))
        }
    })
}

fn wall(at: i64, zone: Zone) -> i64 {
    if infinite_timestamp(at) { at } else { zone.local(at) }
}

fn start_of(date: i32) -> Result<i64, ArrowError> {
    if infinite_date(date) {
        return Ok(if date > 0 { i64::MAX } else { i64::MIN });
    }
    (date as i64).checked_mul(MICROS_PER_DAY).ok_or_else(timestamp_range)
}

fn day_of(at: i64) -> Result<i32, ArrowError> {
    if infinite_timestamp(at) {
        return Ok(if at > 0 { i32::MAX } else { i32::MIN });
    }
    i32::try_from(split(at).0).map_err(|_| Error::new("22008", "date out of range").into())
}

fn elements(array: &ArrayRef, from: &Type, to: &Type, zone: Zone) -> Result<ArrayRef> {
    let Type::Array(from) = from else { return Err(Error::internal("elements of no array")) };
    let lists = array.as_list::<i32>();
    let values = column(lists.values(), from, to, zone)?;
    let field = Arc::new(to.field("item", true));
    Ok(Arc::new(ListArray::try_new(field, lists.offsets().clone(), values, lists.nulls().cloned())?))
}

/// Text to anything else.
fn parsed(array: &ArrayRef, to: &Type, zone: Zone) -> Result<ArrayRef> {
    let strings = array.as_string::<i32>();
    Ok(match to {
        Type::Bool => {
            let values: Result<BooleanArray> =
                strings.iter().map(|value| value.map(read::boolean).transpose()).collect();
            Arc::new(values?)
        }
        Type::Int2 => each::<Int16Type>(strings, to, |value| read::integer(value, "smallint"))?,
        Type::Int4 => each::<Int32Type>(strings, to, |value| read::integer(value, "integer"))?,
        Type::Int8 => each::<Int64Type>(strings, to, |value| read::integer(value, "bigint"))?,
        Type::Float4 => each::<Float32Type>(strings, to, |value| read::float(value, "real"))?,
        Type::Float8 => each::<Float64Type>(strings, to, |value| read::float(value, "double precision"))?,
        Type::Numeric(constraint) => {
            let numbers = numeric::build(
                (0..strings.len())
                    .map(|row| strings.is_valid(row).then(|| strings.value(row).parse::<Numeric>()).transpose()),
            )?;
            if constraint.is_some() { numeric::to_column(&numbers, &to.arrow())? } else { Arc::new(numbers) }
        }
        Type::Date => each::<Date32Type>(strings, to, read::date)?,
        Type::Time => each::<Time64MicrosecondType>(strings, to, read::time)?,
        Type::Timestamp => each::<TimestampMicrosecondType>(strings, to, read::timestamp)?,
        Type::Timestamptz => each::<TimestampMicrosecondType>(strings, to, |value| read::timestamptz(value, zone))?,
        Type::Interval => each::<IntervalMonthDayNanoType>(strings, to, read::interval)?,
        Type::Bytea => {
            let mut out = BinaryBuilder::new();
            for value in strings {
                out.append_option(value.map(read::bytea).transpose()?);
            }
            Arc::new(out.finish())
        }
        Type::Uuid => rewritten(strings, read::uuid)?,
        Type::Json => rewritten(strings, read::json)?,
        Type::Jsonb => rewritten(strings, read::jsonb)?,
        Type::Array(element) => lists(strings, element, zone)?,
        Type::Text | Type::Varchar(_) | Type::Char(_) => return Err(Error::internal("text is not read as text")),
    })
}

/// The elements of all arrays are read as one column.
fn lists(strings: &StringArray, element: &Type, zone: Zone) -> Result<ArrayRef> {
    let mut texts = StringBuilder::new();
    let mut lengths = Vec::with_capacity(strings.len());
    for value in strings {
        let elements = value.map(read::elements).transpose()?.unwrap_or_default();
        lengths.push(elements.len());
        elements.iter().for_each(|text| texts.append_option(text.as_deref()));
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    let values = column(&texts, &Type::Text, element, zone)?;
    let field = Arc::new(element.field("item", true));
    Ok(Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, strings.nulls().cloned())?))
}

fn each<T: ArrowPrimitiveType>(
    strings: &StringArray,
    to: &Type,
    read: impl Fn(&str) -> Result<T::Native>,
) -> Result<ArrayRef> {
    let values: Result<PrimitiveArray<T>> = strings.iter().map(|value| value.map(&read).transpose()).collect();
    Ok(Arc::new(values?.with_data_type(to.arrow())))
}

fn rewritten(strings: &StringArray, read: impl Fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let mut out = StringBuilder::with_capacity(strings.len(), strings.value_data().len());
    for value in strings {
        out.append_option(value.map(&read).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}
