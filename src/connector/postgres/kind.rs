//! Postgres' types to ours: by the catalog's type ids, domains by their base type, enums as text.

use super::control::Kind;
use std::collections::HashMap;
use weir_sql::types::Type;

/// The types some columns are made of.
pub struct Kinds(HashMap<u32, Kind>);

impl Kinds {
    pub fn new(kinds: Vec<Kind>) -> Self {
        Self(kinds.into_iter().map(|kind| (kind.oid, kind)).collect())
    }

    /// Our type of a column; or the name of a type that we do not have.
    pub fn resolve(&self, oid: u32, modifier: i32) -> Result<Type, String> {
        // A domain over a domain over …: Postgres allows no cycle, a damaged catalog may show one.
        self.of(oid, modifier, 16)
    }

    fn of(&self, oid: u32, modifier: i32, depth: u8) -> Result<Type, String> {
        if let Some(known) = builtin(oid, modifier) {
            return Ok(known);
        }
        let kind = self.0.get(&oid).ok_or_else(|| format!("{oid}"))?;
        let unsupported = || Err(kind.name.clone());
        match kind.class.as_str() {
            _ if depth == 0 => unsupported(),
            "e" => Ok(Type::Text),
            "d" => self.of(kind.base, if modifier >= 0 { modifier } else { kind.base_modifier }, depth - 1),
            "b" if kind.element != 0 => match self.of(kind.element, modifier, depth - 1) {
                // An array of a domain over an array has no text that says where one ends.
                Ok(Type::Array(_)) | Err(_) => unsupported(),
                Ok(element) => Ok(Type::Array(Box::new(element))),
            },
            _ => unsupported(),
        }
    }
}

/// By the numbers that Postgres has had for them always.
fn builtin(oid: u32, modifier: i32) -> Option<Type> {
    let length = u32::try_from(modifier - 4).ok().filter(|_| modifier >= 4);
    Some(match oid {
        16 => Type::Bool,
        21 => Type::Int2,
        23 => Type::Int4,
        20 => Type::Int8,
        // oid is unsigned.
        26 => Type::Int8,
        700 => Type::Float4,
        701 => Type::Float8,
        1700 => numeric(modifier),
        // text, and name, which is a short one.
        25 | 19 => Type::Text,
        1043 => Type::Varchar(length),
        1042 => Type::Char(length.unwrap_or(0)),
        17 => Type::Bytea,
        1082 => Type::Date,
        1083 => Type::Time,
        1114 => Type::Timestamp,
        1184 => Type::Timestamptz,
        1186 => Type::Interval,
        2950 => Type::Uuid,
        114 => Type::Json,
        3802 => Type::Jsonb,
        _ => return None,
    })
}

/// What Decimal256 cannot have (more than 76 digits, a scale outside 0..=precision) is held as an unconstrained numeric.
fn numeric(modifier: i32) -> Type {
    if modifier < 4 {
        return Type::Numeric(None);
    }
    let precision = (modifier - 4) >> 16 & 0xFFFF;
    let scale = (((modifier - 4) & 0x7FF) ^ 1024) - 1024;
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=76), Ok(scale)) if scale >= 0 && scale <= precision as i8 => {
            Type::Numeric(Some((precision, scale)))
        }
        _ => Type::Numeric(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Kinds {
        let kind = |oid, name: &str, class: &str, base, base_modifier, element| Kind {
            oid,
            name: name.into(),
            builtin: false,
            class: class.into(),
            base,
            base_modifier,
            element,
        };
        Kinds::new(vec![
            kind(1007, "integer[]", "b", 0, -1, 23),
            kind(1231, "numeric[]", "b", 0, -1, 1700),
            kind(600, "point", "b", 0, -1, 0),
            kind(90001, "mood", "e", 0, -1, 0),
            kind(90002, "mood[]", "b", 0, -1, 90001),
            kind(90003, "price", "d", 1700, modifier(10, 2), 0),
            kind(90004, "discount", "d", 90003, -1, 0),
            kind(90005, "numbers", "d", 1007, -1, 0),
            kind(90006, "numbers[]", "b", 0, -1, 90005),
            kind(90007, "pair", "c", 0, -1, 0),
        ])
    }

    fn modifier(precision: i32, scale: i32) -> i32 {
        (precision << 16 | scale & 0x7FF) + 4
    }

    #[test]
    fn types_resolve_to_ours() {
        let array = |t| Ok(Type::Array(Box::new(t)));
        for (oid, modifier, expected) in [
            (23, -1, Ok(Type::Int4)),
            (1043, 14, Ok(Type::Varchar(Some(10)))),
            (1043, -1, Ok(Type::Varchar(None))),
            (1042, 7, Ok(Type::Char(3))),
            (1042, -1, Ok(Type::Char(0))),
            (1700, -1, Ok(Type::Numeric(None))),
            (1700, modifier(12, 4), Ok(Type::Numeric(Some((12, 4))))),
            (1700, modifier(100, 2), Ok(Type::Numeric(None))),
            (1700, modifier(5, -2), Ok(Type::Numeric(None))),
            (1700, modifier(2, 5), Ok(Type::Numeric(None))),
            (1007, -1, array(Type::Int4)),
            (1231, modifier(5, 1), array(Type::Numeric(Some((5, 1))))),
            (90001, -1, Ok(Type::Text)),
            (90002, -1, array(Type::Text)),
            (90004, -1, Ok(Type::Numeric(Some((10, 2))))),
            (90005, -1, array(Type::Int4)),
            (90006, -1, Err("numbers[]".into())),
            (90007, -1, Err("pair".into())),
            (600, -1, Err("point".into())),
        ] {
            assert_eq!(kinds().resolve(oid, modifier), expected, "{oid}");
        }
    }
}
