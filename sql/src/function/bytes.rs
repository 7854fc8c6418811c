//! Functions of bytea. Most are what a function of text with another name is for bytes: which one is said in `session/overload.rs`.

use super::definition::{Call, Definition, Resolved, undefined};
use super::long::{Texts, fits};
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int32Array};
use arrow::datatypes::Int32Type;
use std::fmt::Write;
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    Definition {
        name: "byteacat",
        aliases: &[],
        resolve: |given| resolve("byteacat", given, &[Type::Bytea, Type::Bytea], Type::Bytea),
        call: |call| {
            let (left, right) = (call.column(0)?, call.column(1)?);
            let (mut out, mut bytes) = (BinaryBuilder::new(), 0);
            for (left, right) in left.as_binary::<i32>().iter().zip(right.as_binary::<i32>()) {
                let length = left.map_or(0, <[u8]>::len) + right.map_or(0, <[u8]>::len);
                bytes += length;
                fits(length, bytes)?;
                out.append_option(left.zip(right).map(|(left, right)| [left, right].concat()));
            }
            Ok(Arc::new(out.finish()))
        },
        strict: true,
        fallible: true,
    },
    Definition {
        name: "bytealength",
        aliases: &[],
        resolve: |given| resolve("bytealength", given, &[Type::Bytea], Type::Int4),
        call: |call| {
            let values = call.column(0)?;
            let lengths = values.as_binary::<i32>().iter().map(|value| value.map(|value| value.len() as i32));
            Ok(Arc::new(lengths.collect::<Int32Array>()))
        },
        strict: true,
        fallible: false,
    },
    Definition {
        name: "byteabits",
        aliases: &[],
        resolve: |given| resolve("byteabits", given, &[Type::Bytea], Type::Int4),
        call: |call| {
            let out_of_range = |_| Error::new("22003", "integer out of range");
            let bits = |value: &[u8]| i32::try_from(value.len().saturating_mul(8)).map_err(out_of_range);
            let values = call.column(0)?;
            let bits = values.as_binary::<i32>().iter().map(|value| value.map(bits).transpose());
            Ok(Arc::new(bits.collect::<Result<Int32Array>>()?))
        },
        strict: true,
        fallible: true,
    },
    Definition {
        name: "byteasubstr",
        aliases: &[],
        resolve: |given| {
            let wanted = [Type::Bytea, Type::Int4, Type::Int4];
            resolve("byteasubstr", given, &wanted[..given.len().clamp(2, 3)], Type::Bytea)
        },
        call: substr,
        strict: true,
        fallible: true,
    },
    Definition {
        name: "byteapos",
        aliases: &[],
        resolve: |given| resolve("byteapos", given, &[Type::Bytea, Type::Bytea], Type::Int4),
        call: |call| {
            let (values, sought) = (call.column(0)?, call.column(1)?);
            let pairs = values.as_binary::<i32>().iter().zip(sought.as_binary::<i32>());
            let places = pairs.map(|(value, sought)| value.zip(sought).map(|(value, sought)| place(value, sought)));
            Ok(Arc::new(places.collect::<Int32Array>()))
        },
        strict: true,
        fallible: false,
    },
    trim(
        "byteatrim",
        |given| resolve("byteatrim", given, &[Type::Bytea, Type::Bytea], Type::Bytea),
        |call| trimmed(call, |value, set| end(start(value, set), set)),
    ),
    trim(
        "bytealtrim",
        |given| resolve("bytealtrim", given, &[Type::Bytea, Type::Bytea], Type::Bytea),
        |call| trimmed(call, start),
    ),
    trim(
        "byteartrim",
        |given| resolve("byteartrim", given, &[Type::Bytea, Type::Bytea], Type::Bytea),
        |call| trimmed(call, end),
    ),
    Definition {
        name: ESCAPE,
        aliases: &[],
        resolve: |given| resolve(ESCAPE, given, &[Type::Bytea], Type::Text),
        call: |call| {
            let values = call.column(0)?;
            let mut out = Texts::default();
            for value in values.as_binary::<i32>() {
                out.add(value.map(escaped).as_deref())?;
            }
            Ok(out.finish())
        },
        strict: true,
        fallible: true,
    },
];

/// The function of [`escaped`].
pub const ESCAPE: &str = "byteaescape";

const fn trim(
    name: &'static str,
    resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    call: fn(&Call) -> Result<ArrayRef>,
) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict: true, fallible: false }
}

fn resolve(name: &str, given: &[Option<Type>], wanted: &[Type], result: Type) -> Result<Resolved> {
    let fits = |(given, wanted): (&Option<Type>, &Type)| match (given, wanted) {
        (None, _) | (Some(Type::Int2), Type::Int4) => true,
        (Some(given), wanted) => given == wanted,
    };
    match given.len() == wanted.len() && given.iter().zip(wanted).all(fits) {
        true => Ok(Resolved { arguments: wanted.to_vec(), result }),
        false => Err(undefined(name, given)),
    }
}

/// Bytes as text that is read as bytea again: of two of them, one behind the other, the bytes of both come out.
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            1..=0x7f => out.push(byte as char),
            // Nothing is written that a text could not take.
            _ => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
    out
}

fn substr(call: &Call) -> Result<ArrayRef> {
    let (values, starts) = (call.column(0)?, call.column(1)?);
    let lengths = (call.arguments.len() > 2).then(|| call.column(2)).transpose()?;
    let number =
        |column: &ArrayRef, row: usize| column.is_valid(row).then(|| column.as_primitive::<Int32Type>().value(row));
    let mut out = BinaryBuilder::new();
    for (row, value) in values.as_binary::<i32>().iter().enumerate() {
        let length = lengths.as_ref().map(|lengths| number(lengths, row));
        match (value, number(&starts, row), length) {
            (Some(value), Some(start), None) => out.append_value(part(value, start, None)?),
            (Some(value), Some(start), Some(Some(length))) => out.append_value(part(value, start, Some(length))?),
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// From byte `start`, counted from 1, wherever that is; `None`: to the end.
fn part(value: &[u8], start: i32, length: Option<i32>) -> Result<&[u8]> {
    let end = match length {
        Some(length) if length < 0 => return Err(Error::new("22011", "negative substring length not allowed")),
        Some(length) => i64::from(start) + i64::from(length),
        None => i64::MAX,
    };
    let place = |place: i64| usize::try_from((place - 1).max(0)).map_or(value.len(), |place| place.min(value.len()));
    Ok(&value[place(start.into())..place(end)])
}

/// Where `sought` begins, counted from 1; 0: nowhere.
fn place(value: &[u8], sought: &[u8]) -> i32 {
    if sought.is_empty() {
        return 1;
    }
    value.windows(sought.len()).position(|part| part == sought).map_or(0, |at| at as i32 + 1)
}

fn trimmed(call: &Call, part: for<'a> fn(&'a [u8], &[u8]) -> &'a [u8]) -> Result<ArrayRef> {
    let (values, sets) = (call.column(0)?, call.column(1)?);
    let pairs = values.as_binary::<i32>().iter().zip(sets.as_binary::<i32>());
    Ok(Arc::new(pairs.map(|(value, set)| value.zip(set).map(|(value, set)| part(value, set))).collect::<BinaryArray>()))
}

/// Without the bytes of `set` at the beginning.
fn start<'a>(value: &'a [u8], set: &[u8]) -> &'a [u8] {
    &value[value.iter().position(|byte| !set.contains(byte)).unwrap_or(value.len())..]
}

/// Without the bytes of `set` at the end.
fn end<'a>(value: &'a [u8], set: &[u8]) -> &'a [u8] {
    &value[..value.iter().rposition(|byte| !set.contains(byte)).map_or(0, |at| at + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::read;

    #[test]
    fn what_is_escaped_is_read_again_alone_and_one_behind_the_other() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [&all[..], &b""[..], &b"\\"[..], &b"\\x41"[..], &b"x41"[..], &b"\xff\0\\\\"[..]] {
            assert_eq!(read::bytea(&escaped(bytes)).unwrap(), bytes);
            assert_eq!(read::bytea(&(escaped(b"\\") + &escaped(bytes))).unwrap(), [&b"\\"[..], bytes].concat());
        }
    }

    #[test]
    fn parts_begin_and_end_outside_of_what_is_there() {
        let part = |start, length| part(b"abc", start, length).map_err(|error| error.sqlstate);
        assert_eq!(part(2, None), Ok(&b"bc"[..]));
        assert_eq!(part(-1, Some(3)), Ok(&b"a"[..]));
        assert_eq!(part(0, Some(1)), Ok(&b""[..]));
        assert_eq!(part(i32::MIN, None), Ok(&b"abc"[..]));
        assert_eq!(part(2, Some(i32::MAX)), Ok(&b"bc"[..]));
        assert_eq!(part(9, Some(1)), Ok(&b""[..]));
        assert_eq!(part(1, Some(-1)), Err("22011"));
    }
}
