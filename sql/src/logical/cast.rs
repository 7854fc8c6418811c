//! Casts, those that are written and those that nobody writes.

use super::value::{Value, alike, held};
use crate::bound::{Bound, How, Kind, not_yet};
use crate::types::Type;

/// `value` as `kind`. What holds it already stays as it is.
pub fn cast(value: Value, kind: Kind, how: How, zone: &str) -> Bound<Value> {
    let to = held(kind)?;
    match (&value.kind, &to) {
        (from, to) if from == to => Ok(value),
        // Without a length or a precision nothing becomes of it.
        (Type::Text | Type::Varchar(_), Type::Text | Type::Varchar(None)) => Ok(value),
        (Type::Numeric(_), Type::Numeric(None)) | (Type::Char(_), Type::Char(0)) => Ok(value),
        (Type::Int2 | Type::Int4 | Type::Int8, Type::Numeric(None)) if how == How::Implicit => value.exact(zone),
        // Whose length is too small is an error there, and not cut.
        (_, Type::Varchar(Some(_)) | Type::Char(1..)) if how == How::Implicit => {
            not_yet(format!("an implicit cast to {to}"))
        }
        (from @ Type::Array(_), to @ Type::Array(_)) if alike(from, to) && kind.modifier < 0 => Ok(value),
        _ => value.converted(&to, zone),
    }
}
