//! upper, lower and initcap of collation `C`: letters beyond ASCII have no case.

use super::moment::is_text;
use super::{Call, Definition, Resolved, undefined};
use crate::error::Result;
use crate::types::Type;
use arrow::array::{ArrayRef, AsArray, StringArray};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    function("upper", |given| resolve("upper", given), |call| each(call, str::to_ascii_uppercase)),
    function("lower", |given| resolve("lower", given), |call| each(call, str::to_ascii_lowercase)),
    function("initcap", |given| resolve("initcap", given), |call| each(call, capitals)),
];

const fn function(
    name: &'static str,
    resolve: fn(&[Option<Type>]) -> Result<Resolved>,
    call: fn(&Call) -> Result<ArrayRef>,
) -> Definition {
    Definition { name, aliases: &[], resolve, call, strict: true, fallible: false }
}

fn resolve(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [text] if is_text(text) => Ok(Resolved { arguments: vec![Type::Text], result: Type::Text }),
        _ => Err(undefined(name, given)),
    }
}

fn each(call: &Call, f: fn(&str) -> String) -> Result<ArrayRef> {
    let texts = call.column(0)?;
    Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text.map(f)).collect::<StringArray>()))
}

/// The first letter of every word in upper case, the others in lower case.
fn capitals(text: &str) -> String {
    let mut inside = false;
    let letter = |letter: char| {
        let cased = if inside { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() };
        inside = letter.is_ascii_alphanumeric();
        cased
    };
    text.chars().map(letter).collect()
}
