//! Types as they are written, to PostgreSQL's.

use super::position;
use crate::bound::{Bound, Kind, Unbound, not_yet};
use crate::error::Error;
use crate::postgres::types;
use crate::session::names::folded;
use crate::statement;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, DataType, ObjectName};

/// `written`, with its length or precision, as Weir holds values of it. Errors: 42704 of what is no type; NotYet of those that are not held
/// here.
pub fn of(written: &DataType) -> Bound<Kind> {
    match written {
        DataType::Custom(name, modifiers) => named(name, modifiers),
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            let element = of(element)?;
            match element.oid.array() {
                Some(oid) => held(Kind { oid, ..element }),
                // The written number of dimensions says nothing.
                None => held(element),
            }
        }
        // No type of PostgreSQL's.
        DataType::String(_) => not_yet("type string"),
        _ => match statement::kind::of(written) {
            Ok(held) => Ok(Kind::of(&held)),
            Err(_) => not_yet(format!("type {}", written.to_string().to_lowercase())),
        },
    }
}

/// `kind`, if there are values of it.
pub fn held(kind: Kind) -> Bound<Kind> {
    match kind.held() {
        Some(_) => Ok(kind),
        None => not_yet(format!("type {kind}")),
    }
}

/// A type by a name without words of its own in SQL.
fn named(name: &ObjectName, modifiers: &[String]) -> Bound<Kind> {
    let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident().map(folded)).collect();
    let plain = match &parts[..] {
        [plain] => plain,
        [schema, plain] if schema == "pg_catalog" => plain,
        _ => return not_yet(format!("type {name}")),
    };
    match types::named(plain) {
        Some(listed) if modifiers.is_empty() => held(listed.oid.into()),
        None if parts.len() == 1 => {
            let error = Error::new("42704", format!("type \"{plain}\" does not exist"));
            Err(Unbound::Wrong(position::placed(error, position::of_name(name))))
        }
        _ => not_yet(format!("type {name}")),
    }
}
