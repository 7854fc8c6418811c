//! pg_catalog.pg_type, and what the protocol tells about types: oid, length, modifier.

use super::table::{Cell, Facts, Kind::*, OWNER, Table, row};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use weir_sql::bound::Kind;
use weir_sql::postgres::types;
use weir_sql::types::Type;

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_type",
    columns: &[
        ("oid", Oid),
        ("typname", Name),
        ("typnamespace", Oid),
        ("typowner", Oid),
        ("typlen", Int2),
        ("typbyval", Bool),
        ("typtype", Letter),
        ("typcategory", Letter),
        ("typispreferred", Bool),
        ("typisdefined", Bool),
        ("typdelim", Letter),
        ("typrelid", Oid),
        ("typsubscript", Regproc),
        ("typelem", Oid),
        ("typarray", Oid),
        ("typinput", Regproc),
        ("typoutput", Regproc),
        ("typreceive", Regproc),
        ("typsend", Regproc),
        ("typmodin", Regproc),
        ("typmodout", Regproc),
        ("typanalyze", Regproc),
        ("typalign", Letter),
        ("typstorage", Letter),
        ("typnotnull", Bool),
        ("typbasetype", Oid),
        ("typtypmod", Int4),
        ("typndims", Int4),
        ("typcollation", Oid),
        ("typdefaultbin", Text),
        ("typdefault", Text),
        ("typacl", Texts),
    ],
    rows,
};

/// Types of which there are values, and arrays of them: those of columns, and those that only catalogs have.
const HELD: [&str; 23] = [
    "bool",
    "bytea",
    "char",
    "name",
    "int8",
    "int2",
    "int4",
    "regproc",
    "text",
    "oid",
    "json",
    "float4",
    "float8",
    "bpchar",
    "varchar",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "numeric",
    "uuid",
    "jsonb",
];

/// Only of arguments and results of functions.
const NAMED: [&str; 13] = [
    "unknown",
    "_cstring",
    "record",
    "cstring",
    "any",
    "anyarray",
    "void",
    "internal",
    "anyelement",
    "anynonarray",
    "anycompatible",
    "anycompatiblearray",
    "anycompatiblenonarray",
];

static SHOWN: LazyLock<BTreeSet<types::Oid>> = LazyLock::new(|| {
    let named = |name| types::named(name).expect("a name of the list");
    let held = HELD.into_iter().map(named).flat_map(|kind| [kind.oid].into_iter().chain(kind.array));
    held.chain(NAMED.into_iter().map(|name| named(name).oid)).collect()
});

pub(super) fn is_shown(oid: types::Oid) -> bool {
    SHOWN.contains(&oid)
}

/// What there are values of or what functions name, by number.
pub(super) fn shown() -> impl Iterator<Item = &'static types::Type> {
    types::all().iter().filter(|kind| is_shown(kind.oid))
}

fn rows(_: &Facts) -> Vec<Vec<Cell>> {
    shown().map(one).collect()
}

fn one(kind: &types::Type) -> Vec<Cell> {
    let number = |of: Option<types::Oid>| of.filter(|of| is_shown(*of)).map_or(0, |of| of.0);
    let function = |of: Option<u32>| of.unwrap_or(0);
    let functions = &kind.functions;
    row![
        kind.oid.0,
        kind.name,
        11,
        OWNER,
        i32::from(kind.length),
        matches!(kind.length, 1 | 2 | 4 | 8),
        if kind.kind == types::Kind::Pseudo { "p" } else { "b" },
        kind.category,
        kind.is_preferred,
        true,
        ",",
        0,
        function(functions.subscript),
        number(kind.element),
        number(kind.array),
        function(functions.input),
        function(functions.output),
        function(functions.receive),
        function(functions.send),
        function(functions.modifier_input),
        function(functions.modifier_output),
        function(functions.analyze),
        kind.alignment,
        kind.storage,
        false,
        0,
        -1,
        0,
        function(kind.collation),
        None::<i64>,
        None::<i64>,
        None::<i64>,
    ]
}

/// A type of ours whose values can stand for those of a type that functions name.
pub(super) fn stand_in(named: types::Oid) -> Option<Type> {
    Some(match named.entry()?.name {
        "any" | "anyelement" | "anynonarray" | "anycompatible" | "anycompatiblenonarray" => Type::Int4,
        "anyarray" | "anycompatiblearray" => Type::Array(Box::new(Type::Int4)),
        _ => return kind(named.0),
    })
}

pub fn oid(kind: &Type) -> u32 {
    Kind::of(kind).oid.0
}

/// The type a client means by `oid`; `None` for those without a type of ours (0 and 705 leave it to the server). Those that only catalogs
/// have are numbers and text.
pub fn kind(oid: u32) -> Option<Type> {
    let oid = types::Oid(oid);
    if let Some(element) = oid.element() {
        return Some(Type::Array(Box::new(kind(element.0)?)));
    }
    match oid.0 {
        24 | 26 => Some(Type::Int8),
        18 | 19 => Some(Type::Text),
        _ => Kind::from(oid).held(),
    }
}

/// pg_type.typname
pub fn name(oid: u32) -> &'static str {
    types::Oid(oid).entry().map_or("unknown", |kind| kind.name)
}

/// The type of either name, an array's with `[]` after it.
pub fn by_name(written: &str) -> Option<u32> {
    let written = written.trim().to_ascii_lowercase();
    let element = written.strip_suffix("[]");
    let wanted = element.unwrap_or(&written).trim_start_matches("pg_catalog.");
    let kind = shown().find(|kind| kind.name == wanted || kind.oid.to_string() == wanted)?;
    let found = if element.is_some() { kind.array? } else { kind.oid };
    is_shown(found).then_some(found.0)
}

/// pg_type.typlen
pub fn length(oid: u32) -> i16 {
    types::Oid(oid).entry().map_or(-1, |kind| kind.length)
}

/// pg_type.typstorage: how Postgres would store values, which psql shows.
pub fn storage(oid: u32) -> char {
    types::Oid(oid).entry().map_or('x', |kind| kind.storage)
}

/// pg_attribute.atttypmod
pub fn modifier(kind: &Type) -> i32 {
    Kind::of(kind).modifier
}

/// `format_type(oid, modifier)`.
pub fn format(oid: i64, modifier: Option<i64>) -> String {
    let Some(kind) = u32::try_from(oid).ok().and_then(|oid| types::Oid(oid).entry()) else {
        return if oid == 0 { "-".into() } else { "???".into() };
    };
    let element = kind.oid.element();
    let scalar = element.unwrap_or(kind.oid);
    let length = match (scalar.0, modifier) {
        (1042 | 1043, Some(modifier)) if modifier >= 4 => format!("({})", modifier - 4),
        (1700, Some(modifier)) if modifier >= 4 => format!("({},{})", (modifier - 4) >> 16, (modifier - 4) & 0x7ff),
        _ => String::new(),
    };
    format!("{scalar}{length}{}", if element.is_some() { "[]" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_keep_their_oid_there_and_back() {
        for name in HELD {
            let listed = types::named(name).expect(name);
            if !["char", "name", "regproc", "oid"].contains(&name) {
                for number in [listed.oid, listed.array.expect(name)] {
                    assert_eq!(oid(&kind(number.0).expect(name)), number.0, "{number}");
                }
            }
        }
    }

    #[test]
    fn types_are_found_by_the_names_that_they_are_shown_with() {
        for kind in shown().filter(|kind| kind.oid.element().is_none()) {
            let written = format(kind.oid.0.into(), None);
            assert_eq!(by_name(&written), Some(kind.oid.0), "{written}");
        }
        assert_eq!((by_name("pg_catalog.int4[]"), by_name("void[]"), by_name("point")), (Some(1007), None, None));
    }

    #[test]
    fn a_type_prints_as_it_is_declared() {
        let kinds = [
            Type::Varchar(Some(10)),
            Type::Char(3),
            Type::Numeric(Some((10, 2))),
            Type::Numeric(None),
            Type::Array(Box::new(Type::Numeric(Some((76, 30))))),
            Type::Timestamptz,
        ];
        for kind in kinds {
            assert_eq!(format(oid(&kind) as i64, Some(modifier(&kind) as i64)), kind.to_string());
        }
    }
}
