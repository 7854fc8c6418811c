//! Columns to key bytes, column by column.
//!
//! Each column writes a marker (1 value, 2 NULL) and its value. Fixed-width values are big-endian, sign-flipped; a NULL of
//! theirs is padded with zeros, so that keys of fixed-width columns all have one width. Bytes escape 00 as 00 FF and end with
//! 00 00. A list writes 01 before each element and 00 after the last. No encoding is a prefix of another one's.

use super::packed::{Offsets, Packed};
use crate::error::{Error, Result};
use arrow::array::*;
use arrow::buffer::NullBuffer;
use arrow::datatypes::*;

const VALUE: u8 = 1;
const NULL: u8 = 2;
/// Ends a list, where an element would begin with [`VALUE`].
const END: u8 = 0;
const DAY_US: i128 = 86_400_000_000;
/// An unconstrained numeric: its first 19 bytes are the value, the last 2 only its display scale.
const NUMERIC: i32 = 21;
const NUMERIC_VALUE: usize = 19;

/// The key bytes of every row, and which rows have a NULL (none if `None`).
pub(super) fn columns(fields: &[FieldRef], arrays: &[ArrayRef]) -> Result<(Packed, Option<Vec<bool>>)> {
    assert_eq!(fields.len(), arrays.len(), "one field per column");
    let len = arrays.first().map_or(0, |a| a.len());
    assert!(arrays.iter().all(|a| a.len() == len), "columns of one length");
    let columns = fields.iter().zip(arrays).map(|(f, a)| Column::new(f, a)).collect::<Result<Vec<_>>>()?;
    let packed = match columns.iter().map(Column::width).sum::<Option<usize>>() {
        Some(stride) => {
            let mut bytes = vec![0; len * stride];
            let mut place = Place::Stride { stride, at: 0 };
            columns.iter().for_each(|column| column.write(&mut bytes, &mut place));
            Packed::fixed(len, stride, bytes)
        }
        None => {
            let mut lengths = vec![0u64; len];
            columns.iter().for_each(|column| column.measure(&mut lengths));
            let mut offsets = Offsets::new(len);
            lengths.into_iter().try_for_each(|length| offsets.push(length))?;
            let mut bytes = vec![0; offsets.total()];
            let mut place = Place::Rows(offsets.starts().to_vec());
            columns.iter().for_each(|column| column.write(&mut bytes, &mut place));
            Packed::variable(offsets.finish(), bytes)
        }
    };
    Ok((packed, nulls(arrays, len)))
}

fn nulls(arrays: &[ArrayRef], len: usize) -> Option<Vec<bool>> {
    let mut found: Option<Vec<bool>> = None;
    for nulls in arrays.iter().filter_map(|a| a.logical_nulls()).filter(|n| n.null_count() > 0) {
        let found = found.get_or_insert_with(|| vec![false; len]);
        found.iter_mut().zip(nulls.iter()).for_each(|(found, valid)| *found |= !valid);
    }
    found
}

/// Where the next byte of each row goes.
enum Place {
    /// Row `r` continues at `r * stride + at`.
    Stride {
        stride: usize,
        at: usize,
    },
    Rows(Vec<u32>),
}

/// A column and how it is written.
struct Column {
    array: ArrayRef,
    form: Form,
}

enum Form {
    /// Fixed width without the marker.
    Fixed(usize),
    Bytes {
        /// Trailing blanks do not count: char(n).
        trim: bool,
        /// Some value may hold a 00, which must be escaped.
        zeros: bool,
    },
    /// The elements' own encodings; the list's offsets point into them after subtracting `base`.
    List { elements: Packed, base: usize },
}

impl Column {
    fn new(field: &Field, array: &ArrayRef) -> Result<Self> {
        use DataType::*;
        let fixed = |width| Ok(Self { array: array.clone(), form: Form::Fixed(width) });
        match array.data_type() {
            Null => fixed(0),
            Boolean | Int8 | UInt8 => fixed(1),
            Int16 | UInt16 => fixed(2),
            Int32 | UInt32 | Float32 | Date32 | Time32(_) => fixed(4),
            Int64 | UInt64 | Float64 | Date64 | Time64(_) | Timestamp(..) | Duration(_) => fixed(8),
            Decimal128(..) | Interval(IntervalUnit::MonthDayNano) => fixed(16),
            Decimal256(..) => fixed(32),
            FixedSizeBinary(NUMERIC) => fixed(NUMERIC_VALUE),
            FixedSizeBinary(width) => fixed(*width as usize),
            Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => Ok(Self::bytes(field, array)),
            List(element) => Self::list(element, array.as_list::<i32>(), array),
            LargeList(element) => Self::list(element, array.as_list::<i64>(), array),
            Dictionary(_, value) => Self::new(field, &arrow::compute::cast(array, value)?),
            other => Err(Error::Invalid(format!("column \"{}\" of type {other} cannot be a key", field.name()))),
        }
    }

    fn bytes(field: &Field, array: &ArrayRef) -> Self {
        let trim = field.metadata().get("weir.type").is_some_and(|t| t.starts_with("char("));
        let zeros = match array.data_type() {
            // Searching the buffer once is cheaper than every value; what lies between values only costs a second look.
            DataType::Utf8 => array.as_string::<i32>().value_data().contains(&0),
            DataType::Binary => array.as_binary::<i32>().value_data().contains(&0),
            _ => true,
        };
        Self { array: array.clone(), form: Form::Bytes { trim, zeros } }
    }

    fn list<O: OffsetSizeTrait>(element: &FieldRef, list: &GenericListArray<O>, array: &ArrayRef) -> Result<Self> {
        let offsets = list.value_offsets();
        let (base, end) = (offsets[0].as_usize(), offsets[list.len()].as_usize());
        let (elements, _) = columns(std::slice::from_ref(element), &[list.values().slice(base, end - base)])?;
        Ok(Self { array: array.clone(), form: Form::List { elements, base } })
    }

    /// With the marker; `None` if rows differ.
    fn width(&self) -> Option<usize> {
        if let Form::Fixed(width) = self.form { Some(width + 1) } else { None }
    }

    /// Adds the length of each row.
    fn measure(&self, lengths: &mut [u64]) {
        match &self.form {
            Form::Fixed(width) => lengths.iter_mut().for_each(|length| *length += *width as u64 + 1),
            Form::Bytes { trim, zeros } => {
                let escapes = |v: &[u8]| if *zeros { v.iter().filter(|&&b| b == 0).count() } else { 0 };
                let measure = |v: &[u8]| (3 + v.len() + escapes(v)) as u64;
                each_bytes(&self.array, *trim, |row, value| lengths[row] += value.map_or(1, measure));
            }
            Form::List { elements, base } => {
                let element = |i: usize| 1 + elements.get(i).len() as u64;
                each_list(&self.array, *base, |row, range| {
                    lengths[row] += range.map_or(1, |range| 2 + range.map(element).sum::<u64>());
                });
            }
        }
    }

    /// Writes each row and moves its place on. `out` is zeroed.
    fn write(&self, out: &mut [u8], place: &mut Place) {
        match &self.form {
            Form::Fixed(_) => write_fixed(&self.array, out, place),
            Form::Bytes { trim, zeros } => {
                let Place::Rows(rows) = place else { unreachable!("variable columns have a place per row") };
                each_bytes(&self.array, *trim, |row, value| {
                    let at = rows[row] as usize;
                    rows[row] += put_bytes(&mut out[at..], value, *zeros) as u32;
                });
            }
            Form::List { elements, base } => {
                let Place::Rows(rows) = place else { unreachable!("variable columns have a place per row") };
                each_list(&self.array, *base, |row, range| {
                    let at = rows[row] as usize;
                    rows[row] += put_list(&mut out[at..], elements, range) as u32;
                });
            }
        }
    }
}

/// Calls `each` with every row's value.
fn each_bytes<'a>(array: &'a ArrayRef, trim: bool, mut each: impl FnMut(usize, Option<&'a [u8]>)) {
    let trimmed = |value: &'a [u8]| {
        let blanks = if trim { value.iter().rev().take_while(|&&b| b == b' ').count() } else { 0 };
        &value[..value.len() - blanks]
    };
    macro_rules! each {
        ($array:expr) => {{
            let array = $array;
            (0..array.len()).for_each(|row| {
                let value: Option<&'a [u8]> = array.is_valid(row).then(|| trimmed(array.value(row).as_ref()));
                each(row, value)
            })
        }};
    }
    match array.data_type() {
        DataType::Utf8 => each!(array.as_string::<i32>()),
        DataType::LargeUtf8 => each!(array.as_string::<i64>()),
        DataType::Utf8View => each!(array.as_string_view()),
        DataType::Binary => each!(array.as_binary::<i32>()),
        DataType::LargeBinary => each!(array.as_binary::<i64>()),
        DataType::BinaryView => each!(array.as_binary_view()),
        other => unreachable!("{other} is not bytes"),
    }
}

/// Calls `each` with every row's range of elements.
fn each_list(array: &ArrayRef, base: usize, each: impl FnMut(usize, Option<std::ops::Range<usize>>)) {
    fn go<O: OffsetSizeTrait>(
        list: &GenericListArray<O>,
        base: usize,
        mut each: impl FnMut(usize, Option<std::ops::Range<usize>>),
    ) {
        let offsets = list.value_offsets();
        for row in 0..list.len() {
            let range = offsets[row].as_usize() - base..offsets[row + 1].as_usize() - base;
            each(row, list.is_valid(row).then_some(range));
        }
    }
    match array.data_type() {
        DataType::List(_) => go(array.as_list::<i32>(), base, each),
        _ => go(array.as_list::<i64>(), base, each),
    }
}

/// Returns the bytes written.
fn put_bytes(out: &mut [u8], value: Option<&[u8]>, zeros: bool) -> usize {
    let Some(value) = value else {
        out[0] = NULL;
        return 1;
    };
    out[0] = VALUE;
    let mut at = 1;
    if !zeros {
        out[1..=value.len()].copy_from_slice(value);
        return value.len() + 3;
    }
    for &byte in value {
        out[at] = byte;
        at += 1;
        if byte == 0 {
            out[at] = 0xFF;
            at += 1;
        }
    }
    at + 2
}

/// Returns the bytes written.
fn put_list(out: &mut [u8], elements: &Packed, range: Option<std::ops::Range<usize>>) -> usize {
    let Some(range) = range else {
        out[0] = NULL;
        return 1;
    };
    out[0] = VALUE;
    let mut at = 1;
    for element in range.map(|i| elements.get(i)) {
        out[at] = VALUE;
        out[at + 1..][..element.len()].copy_from_slice(element);
        at += 1 + element.len();
    }
    out[at] = END;
    at + 1
}

fn write_fixed(array: &ArrayRef, out: &mut [u8], place: &mut Place) {
    use DataType::*;
    let nulls = array.logical_nulls();
    let (nulls, len) = (nulls.as_ref(), array.len());
    macro_rules! signed {
        ($type:ty, $unsigned:ty) => {{
            let values = array.as_primitive::<$type>().values();
            let flip = 1 << (<$unsigned>::BITS - 1);
            fixed(len, nulls, out, place, |row| (values[row] as $unsigned ^ flip).to_be_bytes())
        }};
    }
    macro_rules! other {
        ($type:ty, $bytes:expr) => {{
            let values = array.as_primitive::<$type>().values();
            let bytes = $bytes;
            fixed(len, nulls, out, place, |row| bytes(values[row]))
        }};
    }
    match array.data_type() {
        Null => fixed(len, nulls, out, place, |_| []),
        Boolean => {
            let values = array.as_boolean().values();
            fixed(len, nulls, out, place, |row| [values.value(row) as u8])
        }
        Int8 => signed!(Int8Type, u8),
        Int16 => signed!(Int16Type, u16),
        Int32 => signed!(Int32Type, u32),
        Int64 => signed!(Int64Type, u64),
        UInt8 => other!(UInt8Type, u8::to_be_bytes),
        UInt16 => other!(UInt16Type, u16::to_be_bytes),
        UInt32 => other!(UInt32Type, u32::to_be_bytes),
        UInt64 => other!(UInt64Type, u64::to_be_bytes),
        Float32 => other!(Float32Type, float4),
        Float64 => other!(Float64Type, float8),
        Date32 => signed!(Date32Type, u32),
        Date64 => signed!(Date64Type, u64),
        Time32(TimeUnit::Second) => signed!(Time32SecondType, u32),
        Time32(_) => signed!(Time32MillisecondType, u32),
        Time64(TimeUnit::Microsecond) => signed!(Time64MicrosecondType, u64),
        Time64(_) => signed!(Time64NanosecondType, u64),
        Timestamp(TimeUnit::Second, _) => signed!(TimestampSecondType, u64),
        Timestamp(TimeUnit::Millisecond, _) => signed!(TimestampMillisecondType, u64),
        Timestamp(TimeUnit::Microsecond, _) => signed!(TimestampMicrosecondType, u64),
        Timestamp(TimeUnit::Nanosecond, _) => signed!(TimestampNanosecondType, u64),
        Duration(TimeUnit::Second) => signed!(DurationSecondType, u64),
        Duration(TimeUnit::Millisecond) => signed!(DurationMillisecondType, u64),
        Duration(TimeUnit::Microsecond) => signed!(DurationMicrosecondType, u64),
        Duration(TimeUnit::Nanosecond) => signed!(DurationNanosecondType, u64),
        Decimal128(..) => signed!(Decimal128Type, u128),
        Decimal256(..) => other!(Decimal256Type, decimal256),
        Interval(_) => other!(IntervalMonthDayNanoType, interval),
        FixedSizeBinary(width) => write_binary(array.as_fixed_size_binary(), *width, out, place),
        other => unreachable!("{other} is not fixed-width"),
    }
}

/// Like [`fixed`], for a width known only now.
fn write_binary(array: &FixedSizeBinaryArray, width: i32, out: &mut [u8], place: &mut Place) {
    let keep = if width == NUMERIC { NUMERIC_VALUE } else { width as usize };
    let mut put = |row: usize, at: usize| {
        out[at] = if array.is_valid(row) { VALUE } else { NULL };
        if array.is_valid(row) {
            out[at + 1..][..keep].copy_from_slice(&array.value(row)[..keep]);
        }
    };
    each_place(array.len(), keep + 1, place, &mut put);
}

/// Writes marker and value of every row; NULL leaves the zeros that are there.
#[inline]
fn fixed<const N: usize>(
    len: usize,
    nulls: Option<&NullBuffer>,
    out: &mut [u8],
    place: &mut Place,
    value: impl Fn(usize) -> [u8; N],
) {
    match nulls.filter(|n| n.null_count() > 0) {
        None => each_place(len, N + 1, place, &mut |row, at| {
            let out = &mut out[at..at + N + 1];
            out[0] = VALUE;
            out[1..].copy_from_slice(&value(row));
        }),
        Some(nulls) => each_place(len, N + 1, place, &mut |row, at| {
            let out = &mut out[at..at + N + 1];
            out[0] = if nulls.is_valid(row) { VALUE } else { NULL };
            if nulls.is_valid(row) {
                out[1..].copy_from_slice(&value(row));
            }
        }),
    }
}

/// Calls `put(row, at)` for every row and moves its place on by `width`.
#[inline]
fn each_place(len: usize, width: usize, place: &mut Place, put: &mut impl FnMut(usize, usize)) {
    match place {
        Place::Stride { stride, at } => {
            (0..len).for_each(|row| put(row, row * *stride + *at));
            *at += width;
        }
        Place::Rows(rows) => rows.iter_mut().enumerate().for_each(|(row, at)| {
            put(row, *at as usize);
            *at += width as u32;
        }),
    }
}

/// Total order: -0.0 is 0.0, every NaN is one and after infinity.
fn float4(value: f32) -> [u8; 4] {
    let canonical = if value.is_nan() { f32::NAN.abs() } else { value + 0.0 };
    let bits = canonical.to_bits();
    (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }).to_be_bytes()
}

/// As [`float4`].
fn float8(value: f64) -> [u8; 8] {
    let canonical = if value.is_nan() { f64::NAN.abs() } else { value + 0.0 };
    let bits = canonical.to_bits();
    (if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }).to_be_bytes()
}

fn decimal256(value: i256) -> [u8; 32] {
    let mut bytes = value.to_be_bytes();
    bytes[0] ^= 0x80;
    bytes
}

/// Microseconds, with months of 30 days and days of 24 hours, as Postgres compares intervals.
fn interval(value: IntervalMonthDayNano) -> [u8; 16] {
    let days = i128::from(value.months) * 30 + i128::from(value.days);
    let total = days * DAY_US + i128::from(value.nanoseconds.div_euclid(1000));
    (total as u128 ^ 1 << 127).to_be_bytes()
}
