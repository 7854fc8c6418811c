//! Functions of text: upper, lower and initcap of collation `C`, where letters beyond ASCII have no case, format, quote_literal
//! and like_escape.

use super::cast;
use super::definition::{Call, Definition, Resolved, is_text, undefined};
use super::long::{Texts, fits};
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::Int32Type;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    plain("upper", |given| resolve("upper", given), |call| each(call, str::to_ascii_uppercase)),
    plain("lower", |given| resolve("lower", given), |call| each(call, str::to_ascii_lowercase)),
    plain("initcap", |given| resolve("initcap", given), |call| each(call, capitals)),
    plain("quote_literal", resolve_quoted, |call| each(call, literal)),
    // char(n) as it is shown; the length is one for all rows.
    Definition {
        name: "padded",
        aliases: &[],
        resolve: |given| match given {
            [Some(text), Some(Type::Int4)] if is_text(&Some(text.clone())) => {
                Ok(Resolved { arguments: vec![text.clone(), Type::Int4], result: Type::Text })
            }
            _ => Err(undefined("padded", given)),
        },
        call: |call| {
            let (lengths, _) = call.operand(1)?;
            let length = lengths.as_primitive::<Int32Type>().iter().flatten().next().unwrap_or_default();
            cast::padded(&call.column(0)?, length as usize)
        },
        strict: true,
        fallible: false,
    },
    Definition {
        name: "like_escape",
        aliases: &[],
        resolve: |given| match given {
            [pattern, escape] if is_text(pattern) && is_text(escape) => {
                Ok(Resolved { arguments: vec![Type::Text, Type::Text], result: Type::Text })
            }
            _ => Err(undefined("like_escape", given)),
        },
        call: |call| {
            let (patterns, escapes) = (call.column(0)?, call.column(1)?);
            let pairs = patterns.as_string::<i32>().iter().zip(escapes.as_string::<i32>());
            let escaped = pairs.map(|(pattern, escape)| pattern.zip(escape).map(|(p, e)| escaped(p, e)).transpose());
            Ok(Arc::new(escaped.collect::<Result<StringArray>>()?))
        },
        strict: true,
        fallible: true,
    },
    Definition {
        name: "format",
        aliases: &[],
        resolve: resolve_format,
        call: format,
        // NULL is shown as nothing.
        strict: false,
        fallible: true,
    },
];

const fn plain(
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

/// Any value, as text.
fn resolve_quoted(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [_] => Ok(Resolved { arguments: vec![Type::Text], result: Type::Text }),
        _ => Err(undefined("quote_literal", given)),
    }
}

fn each(call: &Call, f: fn(&str) -> String) -> Result<ArrayRef> {
    let texts = call.column(0)?;
    let mut out = Texts::default();
    for text in texts.as_string::<i32>() {
        out.add(text.map(f).as_deref())?;
    }
    Ok(out.finish())
}

/// A pattern of LIKE with `escape` as its escape character, as one with a backslash.
fn escaped(pattern: &str, escape: &str) -> Result<String> {
    let mut characters = escape.chars();
    let escape = match (characters.next(), characters.next()) {
        (Some('\\'), None) => return Ok(pattern.to_string()),
        (escape, None) => escape,
        _ => {
            return Err(
                Error::new("22025", "invalid escape string").hint("Escape string must be empty or one character.")
            );
        }
    };
    let mut out = String::with_capacity(pattern.len());
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            character if Some(character) == escape => {
                let message = "LIKE pattern must not end with escape character";
                out.extend(['\\', characters.next().ok_or_else(|| Error::new("22025", message))?]);
            }
            '\\' => out.push_str("\\\\"),
            character => out.push(character),
        }
    }
    Ok(out)
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

fn resolve_format(given: &[Option<Type>]) -> Result<Resolved> {
    match given {
        [template, ..] if is_text(template) => {
            Ok(Resolved { arguments: vec![Type::Text; given.len()], result: Type::Text })
        }
        _ => Err(undefined("format", given)),
    }
}

fn format(call: &Call) -> Result<ArrayRef> {
    let columns = (0..call.arguments.len()).map(|index| call.column(index)).collect::<Result<Vec<_>>>()?;
    let columns: Vec<&StringArray> = columns.iter().map(|column| column.as_string::<i32>()).collect();
    let value = |column: usize, row: usize| columns[column].is_valid(row).then(|| columns[column].value(row));
    let mut out = Texts::default();
    for row in 0..call.rows {
        let values: Vec<_> = (1..columns.len()).map(|column| value(column, row)).collect();
        out.add(value(0, row).map(|template| filled(template, &values)).transpose()?.as_deref())?;
    }
    Ok(out.finish())
}

/// `template` with what `%s`, `%I` and `%L`, with a position (`%2$s`) and a width (`%-8s`), stand for.
fn filled(template: &str, values: &[Option<&str>]) -> Result<String> {
    let mut out = String::new();
    let mut characters = template.chars().peekable();
    let mut next = 0;
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        if characters.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut width = number(&mut characters)?;
        if width.is_some() && characters.next_if_eq(&'$').is_some() {
            let position = width.take().filter(|&position| position > 0);
            next = position
                .ok_or_else(|| Error::new("22023", "format specifies argument 0, but arguments are numbered from 1"))?
                - 1;
        }
        let left = characters.next_if_eq(&'-').is_some();
        width = width.or(number(&mut characters)?);
        let kind = characters.next().ok_or_else(|| Error::new("22023", "unterminated format() type specifier"))?;
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(Error::new("22023", format!("unrecognized format() type specifier \"{kind}\"")));
        }
        let value = *values.get(next).ok_or_else(|| Error::new("22023", "too few arguments for format()"))?;
        next += 1;
        let shown = match (kind, value) {
            ('I', None) => return Err(Error::new("22004", "null values cannot be formatted as an SQL identifier")),
            ('I', Some(name)) => identifier(name),
            ('L', None) => "NULL".into(),
            ('L', Some(text)) => literal(text),
            (_, text) => text.unwrap_or_default().to_string(),
        };
        let width = width.unwrap_or_default();
        fits(out.len() + shown.len().max(width), 0)?;
        out.push_str(&if left { format!("{shown:<width$}") } else { format!("{shown:>width$}") });
    }
    Ok(out)
}

fn number(characters: &mut Peekable<Chars>) -> Result<Option<usize>> {
    let mut digits = String::new();
    while let Some(digit) = characters.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    let number =
        (!digits.is_empty()).then(|| digits.parse().ok().filter(|&number: &usize| number <= u16::MAX as usize));
    number.map(|number| number.ok_or_else(|| Error::new("22003", "number is out of range"))).transpose()
}

/// Postgres' key words that are not names everywhere.
const KEY_WORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case \
    cast char character check coalesce collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec \
    decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign \
    freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect \
    interval into is isnull join lateral leading least left like limit localtime localtimestamp national natural \
    nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay \
    placing position precision primary real references returning right row select session_user setof similar \
    smallint some substring symmetric table tablesample then time timestamp to trailing treat trim true union \
    unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement \
    xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// Quoted where it has to be.
pub fn identifier(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !KEY_WORDS.split(' ').any(|word| word == name) {
        name.to_string()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}
