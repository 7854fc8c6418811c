//! Postgres' text form of a value, straight into an Arrow column.
//!
//! The one decoder of the snapshot and of the stream, so that both paths give the same bits. A text that cannot be held is
//! a [`ValueError`] and never a NULL; nothing panics and nothing is allocated per value but in the column itself.

mod array;
mod error;
mod number;
mod time;

pub use error::ValueError;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use error::utf8;
use std::sync::Arc;
use weir_sql::function::LONGEST;
use weir_sql::numeric::Numeric;
use weir_sql::types::{NUMERIC_WIDTH, Type};

/// A column under construction.
pub enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal128 {
        values: Decimal128Builder,
        precision: u8,
        scale: u8,
    },
    Decimal256 {
        values: Decimal256Builder,
        precision: u8,
        scale: u8,
    },
    Numeric(FixedSizeBinaryBuilder),
    Text(StringBuilder),
    /// char(n): without the blanks at its end.
    Char(StringBuilder),
    Bytea {
        values: BinaryBuilder,
        scratch: Vec<u8>,
    },
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    /// Also timestamptz: the data type of `values` tells.
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Array(Box<array::Builder<Builder>>),
}

impl Builder {
    pub fn new(kind: &Type) -> Self {
        match kind {
            Type::Bool => Self::Bool(BooleanBuilder::new()),
            Type::Int2 => Self::Int2(Int16Builder::new()),
            Type::Int4 => Self::Int4(Int32Builder::new()),
            Type::Int8 => Self::Int8(Int64Builder::new()),
            Type::Float4 => Self::Float4(Float32Builder::new()),
            Type::Float8 => Self::Float8(Float64Builder::new()),
            Type::Numeric(None) => Self::Numeric(FixedSizeBinaryBuilder::new(NUMERIC_WIDTH)),
            Type::Numeric(Some((precision, scale))) => {
                let (precision, digits) = (*precision, u8::try_from(*scale).unwrap_or(0));
                if precision <= 38 {
                    let values = Decimal128Builder::new().with_data_type(kind.arrow());
                    Self::Decimal128 { values, precision, scale: digits }
                } else {
                    let values = Decimal256Builder::new().with_data_type(kind.arrow());
                    Self::Decimal256 { values, precision, scale: digits }
                }
            }
            Type::Char(1..) => Self::Char(StringBuilder::new()),
            Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Uuid | Type::Json | Type::Jsonb => {
                Self::Text(StringBuilder::new())
            }
            Type::Bytea => Self::Bytea { values: BinaryBuilder::new(), scratch: vec![] },
            Type::Date => Self::Date(Date32Builder::new()),
            Type::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Type::Timestamp | Type::Timestamptz => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(kind.arrow()))
            }
            Type::Interval => Self::Interval(IntervalMonthDayNanoBuilder::new()),
            Type::Array(element) => Self::Array(Box::new(array::Builder::new(element, Builder::new(element)))),
        }
    }

    /// Appends the value of `text`; on `Err` nothing has been appended.
    #[inline]
    pub fn append(&mut self, text: &[u8]) -> Result<(), ValueError> {
        short(text.len())?;
        match self {
            Self::Int4(b) => b.append_value(number::int4(text)?),
            Self::Int8(b) => b.append_value(number::int8(text)?),
            Self::Text(b) => b.append_value(utf8(text)?),
            Self::Char(b) => b.append_value(utf8(text)?.trim_end_matches(' ')),
            Self::Bool(b) => b.append_value(boolean(text)?),
            Self::Int2(b) => b.append_value(number::int2(text)?),
            Self::Float4(b) => b.append_value(number::float4(text)?),
            Self::Float8(b) => b.append_value(number::float8(text)?),
            Self::Decimal128 { values, precision, scale } => {
                values.append_value(number::decimal128(text, *precision, *scale)?)
            }
            Self::Decimal256 { values, precision, scale } => {
                values.append_value(number::decimal256(text, *precision, *scale)?)
            }
            Self::Numeric(b) => b.append_value(numeric(text)?).expect("a numeric has its width"),
            Self::Bytea { values, scratch } => {
                bytea(text, scratch)?;
                values.append_value(&scratch[..]);
            }
            Self::Date(b) => b.append_value(time::date(text)?),
            Self::Time(b) => b.append_value(time::time(text)?),
            Self::Timestamp(b) => b.append_value(time::timestamp(text)?),
            Self::Interval(b) => b.append_value(time::interval(text)?),
            Self::Array(b) => b.append(text)?,
        }
        Ok(())
    }

    pub fn append_null(&mut self) {
        match self {
            Self::Bool(b) => b.append_null(),
            Self::Int2(b) => b.append_null(),
            Self::Int4(b) => b.append_null(),
            Self::Int8(b) => b.append_null(),
            Self::Float4(b) => b.append_null(),
            Self::Float8(b) => b.append_null(),
            Self::Decimal128 { values, .. } => values.append_null(),
            Self::Decimal256 { values, .. } => values.append_null(),
            Self::Numeric(b) => b.append_null(),
            Self::Text(b) | Self::Char(b) => b.append_null(),
            Self::Bytea { values, .. } => values.append_null(),
            Self::Date(b) => b.append_null(),
            Self::Time(b) => b.append_null(),
            Self::Timestamp(b) => b.append_null(),
            Self::Interval(b) => b.append_null(),
            Self::Array(b) => b.append_null(),
        }
    }

    /// The column so far; the builder is empty afterwards.
    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Int2(b) => Arc::new(b.finish()),
            Self::Int4(b) => Arc::new(b.finish()),
            Self::Int8(b) => Arc::new(b.finish()),
            Self::Float4(b) => Arc::new(b.finish()),
            Self::Float8(b) => Arc::new(b.finish()),
            Self::Decimal128 { values, .. } => Arc::new(values.finish()),
            Self::Decimal256 { values, .. } => Arc::new(values.finish()),
            Self::Numeric(b) => Arc::new(b.finish()),
            Self::Text(b) | Self::Char(b) => Arc::new(b.finish()),
            Self::Bytea { values, .. } => Arc::new(values.finish()),
            Self::Date(b) => Arc::new(b.finish()),
            Self::Time(b) => Arc::new(b.finish()),
            Self::Timestamp(b) => Arc::new(b.finish()),
            Self::Interval(b) => Arc::new(b.finish()),
            Self::Array(b) => Arc::new(b.finish()),
        }
    }
}

impl array::Elements for Builder {
    fn append(&mut self, text: &[u8]) -> Result<(), ValueError> {
        Builder::append(self, text)
    }

    fn append_null(&mut self) {
        Builder::append_null(self);
    }

    fn finish(&mut self) -> ArrayRef {
        Builder::finish(self)
    }
}

/// Text and bytes are no longer than what is sent for them; of an array that is, its server could not hold it.
#[inline]
fn short(length: usize) -> Result<(), ValueError> {
    if length > LONGEST { Err(ValueError::new("54000", "value has more than 1 GB")) } else { Ok(()) }
}

fn boolean(text: &[u8]) -> Result<bool, ValueError> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(ValueError::invalid("boolean")),
    }
}

fn numeric(text: &[u8]) -> Result<[u8; NUMERIC_WIDTH as usize], ValueError> {
    let number = utf8(text)?
        .parse::<Numeric>()
        .map_err(|error| ValueError { sqlstate: error.sqlstate, message: error.message.into() })?;
    Ok(number.encode())
}

/// `\x` and two hex digits a byte.
fn bytea(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let invalid = || ValueError::invalid("bytea");
    let hex = text.strip_prefix(b"\\x").ok_or_else(invalid)?;
    if hex.len() % 2 != 0 {
        return Err(invalid());
    }
    out.clear();
    for pair in hex.chunks_exact(2) {
        let (high, low) = (nibble(pair[0]).ok_or_else(invalid)?, nibble(pair[1]).ok_or_else(invalid)?);
        out.push(high << 4 | low);
    }
    Ok(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use proptest::prelude::*;

    /// The value as Arrow prints it, or the reason why it cannot be held.
    fn read(kind: &Type, text: &str) -> Result<String, String> {
        let mut builder = Builder::new(kind);
        builder.append(text.as_bytes()).map_err(|r| format!("{} {}", r.sqlstate, r.message))?;
        let column = builder.finish();
        assert_eq!(column.data_type(), &kind.arrow(), "{kind}");
        let format = FormatOptions::default().with_null("NULL");
        let text = ArrayFormatter::try_new(&column, &format).unwrap().value(0).to_string();
        Ok(text)
    }

    #[test]
    fn each_type_reads_its_text() {
        let array = |t: Type| Type::Array(Box::new(t));
        for (kind, text, expected) in [
            (Type::Bool, "t", "true"),
            (Type::Int2, "-32768", "-32768"),
            (Type::Int4, "2147483647", "2147483647"),
            (Type::Int8, "-9223372036854775808", "-9223372036854775808"),
            (Type::Float4, "1.5", "1.5"),
            (Type::Float8, "-Infinity", "-inf"),
            (Type::Float8, "-0", "-0.0"),
            (Type::Numeric(Some((10, 2))), "-12.30", "-12.30"),
            (
                Type::Numeric(Some((40, 2))),
                "123456789012345678901234567890123456.78",
                "123456789012345678901234567890123456.78",
            ),
            (Type::Text, "", ""),
            (Type::Text, "a  ", "a  "),
            (Type::Char(3), "a  ", "a"),
            (Type::Bytea, "\\x00ff", "00ff"),
            (Type::Date, "0044-03-15 BC", "-0043-03-15"),
            (Type::Time, "23:59:59.999999", "23:59:59.999999"),
            (Type::Timestamp, "2024-02-29 12:00:00.5", "2024-02-29T12:00:00.500"),
            (Type::Timestamptz, "1999-12-31 23:59:59+00", "1999-12-31T23:59:59Z"),
            (Type::Interval, "P1Y2M3DT4H5M6.5S", "14 mons 3 days 4 hours 5 mins 6.500000000 secs"),
            (array(Type::Int4), "{1,NULL,3}", "[1, NULL, 3]"),
            (array(Type::Text), "{}", "[]"),
            (array(Type::Text), r#"{a,"b,c","NULL",NULL,"q\"\\"}"#, r#"[a, b,c, NULL, NULL, q"\]"#),
        ] {
            assert_eq!(read(&kind, text).as_deref(), Ok(expected), "{kind} {text}");
        }
    }

    #[test]
    fn what_cannot_be_held_is_rejected_with_a_reason() {
        let array = Type::Array(Box::new(Type::Int4));
        for (kind, text, expected) in [
            (Type::Int4, "2147483648", "22003"),
            (Type::Int4, "", "22P02"),
            (Type::Int4, "12a", "22P02"),
            (Type::Numeric(Some((5, 2))), "NaN", "22003"),
            (Type::Numeric(Some((5, 2))), "1000.00", "22003"),
            (Type::Numeric(Some((5, 2))), "1.005", "22003"),
            (Type::Timestamp, "294276-12-31 00:00:00", "22008"),
            (Type::Timestamp, "yesterday", "22P02"),
            (Type::Bytea, "abc", "22P02"),
            (array.clone(), "{{1,2},{3,4}}", "0A000"),
            (array.clone(), "[0:1]={1,2}", "0A000"),
            (array.clone(), "{1,2", "22P02"),
            (array, "{1,x}", "22P02"),
        ] {
            let reason = read(&kind, text).expect_err(text);
            assert!(reason.starts_with(expected), "{kind} {text}: {reason}");
        }
    }

    #[test]
    fn a_value_longer_than_any_may_be_is_rejected() {
        assert!(short(LONGEST).is_ok());
        assert_eq!(short(LONGEST + 1).expect_err("it is too long").sqlstate, "54000");
    }

    #[test]
    fn a_rejected_value_leaves_the_column_as_it_was() {
        let mut builder = Builder::new(&Type::Array(Box::new(Type::Int4)));
        builder.append(b"{1}").unwrap();
        builder.append(b"{2,x}").unwrap_err();
        builder.append_null();
        builder.append(b"{3}").unwrap();
        let column = builder.finish();
        assert_eq!(column.len(), 3);
        let format = FormatOptions::default().with_null("NULL");
        let shown = ArrayFormatter::try_new(&column, &format).unwrap();
        assert_eq!((0..3).map(|i| shown.value(i).to_string()).collect::<Vec<_>>(), ["[1]", "NULL", "[3]"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_column_panic(text in proptest::collection::vec(any::<u8>(), 0..40), which in 0usize..16) {
            let kinds = [
                Type::Bool, Type::Int2, Type::Int4, Type::Int8, Type::Float4, Type::Float8, Type::Numeric(None),
                Type::Numeric(Some((38, 10))), Type::Numeric(Some((76, 0))), Type::Text, Type::Bytea, Type::Date, Type::Time,
                Type::Timestamptz, Type::Interval, Type::Array(Box::new(Type::Text)),
            ];
            let mut builder = Builder::new(&kinds[which]);
            let held = builder.append(&text).is_ok();
            prop_assert_eq!(builder.finish().len(), usize::from(held));
        }

        #[test]
        fn likely_texts_make_no_column_panic(text in "[-+0-9:. {}\",\\\\PYMDTHSBCN]{0,30}", which in 0usize..6) {
            let kinds = [
                Type::Numeric(Some((20, 5))), Type::Date, Type::Time, Type::Timestamptz, Type::Interval,
                Type::Array(Box::new(Type::Int8)),
            ];
            let mut builder = Builder::new(&kinds[which]);
            let held = builder.append(text.as_bytes()).is_ok();
            prop_assert_eq!(builder.finish().len(), usize::from(held));
        }
    }
}
