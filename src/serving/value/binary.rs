//! Values in binary format, as Postgres' send functions write them.

use super::{EPOCH_DAYS, EPOCH_MICROS, WireType};
use crate::catalog::system::Tag;
use arrow::array::*;
use arrow::datatypes::*;
use bytes::{BufMut, BytesMut};
use weir_sql::function::print::printer;
use weir_sql::function::zone::Zone;
use weir_sql::types::Type;
use weir_sql::{Error, Result};

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Appends the value at `row`, which is not NULL, of an array in the wire type's Arrow type.
pub fn write(out: &mut BytesMut, wire_type: &WireType, array: &dyn Array, row: usize) -> Result<()> {
    match &wire_type.kind {
        Type::Bool => out.put_u8(array.as_boolean().value(row) as u8),
        Type::Int2 => out.put_i16(array.as_primitive::<Int16Type>().value(row)),
        Type::Int4 => out.put_i32(array.as_primitive::<Int32Type>().value(row)),
        Type::Int8 => {
            let value = array.as_primitive::<Int64Type>().value(row);
            match wire_type.is(Tag::Oid) || wire_type.is(Tag::Regproc) {
                true => out.put_u32(value as u32),
                false => out.put_i64(value),
            }
        }
        Type::Float4 => out.put_f32(array.as_primitive::<Float32Type>().value(row)),
        Type::Float8 => out.put_f64(array.as_primitive::<Float64Type>().value(row)),
        Type::Numeric(_) => {
            let mut shown = String::new();
            printer(array, Zone::UTC)?(row, &mut shown)?;
            numeric(out, &shown);
        }
        Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Json => {
            out.put_slice(array.as_string::<i32>().value(row).as_bytes());
        }
        Type::Jsonb => {
            out.put_u8(1);
            out.put_slice(array.as_string::<i32>().value(row).as_bytes());
        }
        Type::Uuid => out.put_u128(uuid(array.as_string::<i32>().value(row))?),
        Type::Bytea => out.put_slice(array.as_binary::<i32>().value(row)),
        Type::Date => out.put_i32(match array.as_primitive::<Date32Type>().value(row) {
            infinite @ (i32::MAX | i32::MIN) => infinite,
            days => days - EPOCH_DAYS,
        }),
        Type::Time => out.put_i64(array.as_primitive::<Time64MicrosecondType>().value(row)),
        Type::Timestamp | Type::Timestamptz => {
            out.put_i64(match array.as_primitive::<TimestampMicrosecondType>().value(row) {
                infinite @ (i64::MAX | i64::MIN) => infinite,
                micros => micros - EPOCH_MICROS,
            });
        }
        Type::Interval => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            out.put_i64(value.nanoseconds / 1000);
            out.put_i32(value.days);
            out.put_i32(value.months);
        }
        Type::Array(_) => list(out, wire_type, array.as_list::<i32>().value(row).as_ref())?,
    }
    Ok(())
}

fn uuid(text: &str) -> Result<u128> {
    u128::from_str_radix(&text.replace('-', ""), 16).map_err(|_| Error::internal("damaged uuid"))
}

fn list(out: &mut BytesMut, wire_type: &WireType, values: &dyn Array) -> Result<()> {
    let element = wire_type.element().ok_or_else(|| Error::internal("array without an element type"))?;
    out.put_i32(i32::from(!values.is_empty()));
    out.put_i32(i32::from(values.null_count() > 0));
    out.put_u32(element.oid());
    if values.is_empty() {
        return Ok(());
    }
    out.put_i32(values.len() as i32);
    out.put_i32(1);
    for row in 0..values.len() {
        if values.is_null(row) {
            out.put_i32(-1);
            continue;
        }
        let start = out.len();
        out.put_i32(0);
        write(out, &element, values, row)?;
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// From the text format: base-10000 digits around the decimal point.
fn numeric(out: &mut BytesMut, shown: &str) {
    let special = match shown {
        "NaN" => Some(NAN),
        "Infinity" => Some(INFINITY),
        "-Infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        out.put_slice(&[0, 0, 0, 0, (sign >> 8) as u8, sign as u8, 0, 0]);
        return;
    }
    let (sign, magnitude) = shown.strip_prefix('-').map_or((0, shown), |m| (NEGATIVE, m));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let whole = whole.trim_start_matches('0');
    let mut digits = vec![b'0'; (4 - whole.len() % 4) % 4];
    digits.extend_from_slice(whole.as_bytes());
    let mut weight = (digits.len() / 4) as i16 - 1;
    digits.extend_from_slice(fraction.as_bytes());
    digits.resize(digits.len().next_multiple_of(4), b'0');
    let groups: Vec<u16> =
        digits.chunks(4).map(|group| group.iter().fold(0, |n, d| n * 10 + (d - b'0') as u16)).collect();
    let leading = groups.iter().take_while(|g| **g == 0).count();
    let trailing = groups[leading..].iter().rev().take_while(|g| **g == 0).count();
    let groups = &groups[leading..groups.len() - trailing];
    weight = if groups.is_empty() { 0 } else { weight - leading as i16 };
    out.put_u16(groups.len() as u16);
    out.put_i16(weight);
    out.put_u16(if groups.is_empty() { 0 } else { sign });
    out.put_u16(fraction.len() as u16);
    groups.iter().for_each(|group| out.put_u16(*group));
}

/// A numeric in binary format as text; `None` if it is malformed.
pub fn numeric_text(mut bytes: &[u8]) -> Option<String> {
    let mut next = || {
        let (head, rest) = bytes.split_at_checked(2)?;
        bytes = rest;
        Some(u16::from_be_bytes([head[0], head[1]]))
    };
    let (count, weight, sign, scale) = (next()?, next()? as i16, next()?, next()? as usize);
    match sign {
        NAN => return Some("NaN".into()),
        INFINITY => return Some("Infinity".into()),
        NEGATIVE_INFINITY => return Some("-Infinity".into()),
        0 | NEGATIVE => {}
        _ => return None,
    }
    let mut groups = vec![];
    for _ in 0..count {
        groups.push(next().filter(|group| *group < 10_000)?);
    }
    let group = |position: i32| usize::try_from(position).ok().and_then(|i| groups.get(i)).copied().unwrap_or(0);
    let mut shown = String::from(if sign == NEGATIVE { "-" } else { "" });
    let whole: String = (0..=weight as i32).map(|i| format!("{:04}", group(i))).collect();
    let whole = whole.trim_start_matches('0');
    shown.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let first = weight as i32 + 1;
        let groups = scale.div_ceil(4) as i32;
        let fraction: String = (first..first + groups).map(|i| format!("{:04}", group(i))).collect();
        shown.push('.');
        shown.push_str(&fraction[..scale]);
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_read_back_what_they_wrote() {
        for shown in [
            "0",
            "0.00",
            "1",
            "-1.5",
            "10000",
            "123456789.000100",
            "0.0001",
            "0.00000001",
            "-99999999.9",
            "NaN",
            "-Infinity",
        ] {
            let mut out = BytesMut::new();
            numeric(&mut out, shown);
            assert_eq!(numeric_text(&out).as_deref(), Some(shown));
        }
    }

    #[test]
    fn a_numeric_is_laid_out_as_in_postgres() {
        let mut out = BytesMut::new();
        numeric(&mut out, "-12345.678");
        assert_eq!(&out[..], [0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]);
    }

    #[test]
    fn a_damaged_numeric_is_refused() {
        assert_eq!(numeric_text(&[0, 1, 0, 0]), None);
        assert_eq!(numeric_text(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10]), None);
    }
}
