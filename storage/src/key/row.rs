//! Hashes of whole rows: which rows are the same row.
//!
//! Columns are mixed one after the other into 128 bits per row. Each step is a permutation of the state, and a value is spread
//! over all 128 bits before it is mixed in, so that two rows collide by chance only (2^-128 a pair). Not made to withstand
//! somebody who looks for collisions.

use crate::error::{Error, Result};
use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;
use xxhash_rust::xxh3::xxh3_128;

const SEED: u128 = 0x243f_6a88_85a3_08d3_1319_8a2e_0370_7344;
const ROUND: u128 = 0xa409_3822_299f_31d0_082e_fa98_ec4e_6c89;
const FLIP: u64 = 0x4528_21e6_38d0_1377;
const SPREAD: u64 = 0xbe54_66cf_34e9_0c6d;
/// No value spreads to it: it is no multiple of [`SPREAD`].
const NULL: u128 = 1;

/// A 128-bit hash of every row's exact bits over all columns; two rows are the same row when it is equal. NULL is equal
/// to NULL only; Utf8, LargeUtf8 and Utf8View of the same text are equal.
///
/// Error sets and joins keep it across restarts, so it is part of the run format.
pub fn row_hashes(rows: &RecordBatch) -> Result<Vec<u128>> {
    let mut states = vec![SEED; rows.num_rows()];
    let schema = rows.schema();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        mix_column(field, column, &mut states)?;
    }
    states.iter_mut().for_each(|state| round(state, 0));
    Ok(states)
}

#[inline]
fn round(state: &mut u128, input: u128) {
    let mixed = (*state ^ input).wrapping_mul(ROUND);
    *state = mixed ^ mixed >> 67;
}

#[inline]
fn spread(value: u64) -> u128 {
    u128::from(value ^ FLIP) * u128::from(SPREAD)
}

fn mix_column(field: &Field, array: &ArrayRef, states: &mut [u128]) -> Result<()> {
    use DataType::*;
    let nulls = array.logical_nulls();
    let nulls = nulls.as_ref().filter(|n| n.null_count() > 0);
    macro_rules! primitive {
        ($type:ty, $bits:expr) => {{
            let values = array.as_primitive::<$type>().values();
            let bits = $bits;
            mix(states, nulls, |state, row| round(state, spread(bits(values[row]))))
        }};
    }
    macro_rules! bytes {
        ($array:expr) => {{
            let values = $array;
            mix(states, nulls, |state, row| round(state, xxh3_128(values.value(row).as_ref())))
        }};
    }
    match array.data_type() {
        Null => states.iter_mut().for_each(|state| round(state, NULL)),
        Boolean => {
            let values = array.as_boolean().values();
            mix(states, nulls, |state, row| round(state, spread(values.value(row) as u64)))
        }
        Int8 => primitive!(Int8Type, |v| v as u64),
        Int16 => primitive!(Int16Type, |v| v as u64),
        Int32 => primitive!(Int32Type, |v| v as u64),
        Int64 => primitive!(Int64Type, |v| v as u64),
        UInt8 => primitive!(UInt8Type, u64::from),
        UInt16 => primitive!(UInt16Type, u64::from),
        UInt32 => primitive!(UInt32Type, u64::from),
        UInt64 => primitive!(UInt64Type, |v| v),
        Float32 => primitive!(Float32Type, |v: f32| u64::from(v.to_bits())),
        Float64 => primitive!(Float64Type, f64::to_bits),
        Date32 => primitive!(Date32Type, |v| v as u64),
        Date64 => primitive!(Date64Type, |v| v as u64),
        Time32(TimeUnit::Second) => primitive!(Time32SecondType, |v| v as u64),
        Time32(_) => primitive!(Time32MillisecondType, |v| v as u64),
        Time64(TimeUnit::Microsecond) => primitive!(Time64MicrosecondType, |v| v as u64),
        Time64(_) => primitive!(Time64NanosecondType, |v| v as u64),
        Timestamp(TimeUnit::Second, _) => primitive!(TimestampSecondType, |v| v as u64),
        Timestamp(TimeUnit::Millisecond, _) => primitive!(TimestampMillisecondType, |v| v as u64),
        Timestamp(TimeUnit::Microsecond, _) => primitive!(TimestampMicrosecondType, |v| v as u64),
        Timestamp(TimeUnit::Nanosecond, _) => primitive!(TimestampNanosecondType, |v| v as u64),
        Duration(TimeUnit::Second) => primitive!(DurationSecondType, |v| v as u64),
        Duration(TimeUnit::Millisecond) => primitive!(DurationMillisecondType, |v| v as u64),
        Duration(TimeUnit::Microsecond) => primitive!(DurationMicrosecondType, |v| v as u64),
        Duration(TimeUnit::Nanosecond) => primitive!(DurationNanosecondType, |v| v as u64),
        Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            mix(states, nulls, |state, row| wide(state, values[row]))
        }
        Decimal256(..) => {
            let values = array.as_primitive::<Decimal256Type>().values();
            mix(states, nulls, |state, row| {
                let (low, high) = values[row].to_parts();
                wide(state, low as i128);
                wide(state, high);
            })
        }
        Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>().values();
            mix(states, nulls, |state, row| {
                let value = values[row];
                round(state, spread((value.months as u32 as u64) << 32 | value.days as u32 as u64));
                round(state, spread(value.nanoseconds as u64));
            })
        }
        FixedSizeBinary(_) => bytes!(array.as_fixed_size_binary()),
        Utf8 => bytes!(array.as_string::<i32>()),
        LargeUtf8 => bytes!(array.as_string::<i64>()),
        Utf8View => bytes!(array.as_string_view()),
        Binary => bytes!(array.as_binary::<i32>()),
        LargeBinary => bytes!(array.as_binary::<i64>()),
        BinaryView => bytes!(array.as_binary_view()),
        List(element) => mix_list(element, array.as_list::<i32>(), nulls, states)?,
        LargeList(element) => mix_list(element, array.as_list::<i64>(), nulls, states)?,
        Dictionary(_, value) => mix_column(field, &arrow::compute::cast(array, value)?, states)?,
        other => {
            return Err(Error::Invalid(format!("column \"{}\" has type {other}, which has no hash", field.name())));
        }
    }
    Ok(())
}

#[inline]
fn mix(states: &mut [u128], nulls: Option<&NullBuffer>, value: impl Fn(&mut u128, usize)) {
    match nulls {
        None => states.iter_mut().enumerate().for_each(|(row, state)| value(state, row)),
        Some(nulls) => states.iter_mut().enumerate().for_each(|(row, state)| match nulls.is_valid(row) {
            true => value(state, row),
            false => round(state, NULL),
        }),
    }
}

#[inline]
fn wide(state: &mut u128, value: i128) {
    round(state, spread(value as u64));
    round(state, spread((value >> 64) as u64));
}

/// The number of elements, then each element's own hash.
fn mix_list<O: OffsetSizeTrait>(
    element: &Field,
    list: &GenericListArray<O>,
    nulls: Option<&NullBuffer>,
    states: &mut [u128],
) -> Result<()> {
    let offsets = list.value_offsets();
    let (base, end) = (offsets[0].as_usize(), offsets[list.len()].as_usize());
    let mut elements = vec![SEED; end - base];
    mix_column(element, &list.values().slice(base, end - base), &mut elements)?;
    mix(states, nulls, |state, row| {
        let range = offsets[row].as_usize() - base..offsets[row + 1].as_usize() - base;
        round(state, spread(range.len() as u64));
        elements[range].iter().for_each(|&element| round(state, element));
    });
    Ok(())
}
