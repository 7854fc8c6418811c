//! The value of a subquery of which there must not be more than one row.

use super::definition::{Call, Definition, Resolved, undefined};
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;

/// Nothing that a client would call so.
pub const NAME: &str = "only row";

/// Of a number of rows, and a value, which it gives back. It fails where there are more rows than one.
pub const FUNCTIONS: &[Definition] =
    &[Definition { name: NAME, aliases: &[], resolve, call, strict: false, fallible: true }];

fn resolve(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [None | Some(Type::Int8), value] => {
            let value = value.clone().unwrap_or(Type::Text);
            Ok(Resolved { arguments: vec![Type::Int8, value.clone()], result: value })
        }
        _ => Err(undefined(NAME, given)),
    }
}

fn call(call: &Call) -> Result<ArrayRef> {
    let rows = call.column(0)?;
    match rows.as_primitive::<Int64Type>().iter().flatten().any(|rows| rows > 1) {
        true => Err(Error::new("21000", "more than one row returned by a subquery used as an expression")),
        false => call.column(1),
    }
}
