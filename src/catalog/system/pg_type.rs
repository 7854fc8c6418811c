//! pg_catalog.pg_type, and what the protocol tells about types: oid, length, modifier.

use super::table::{Cell, Facts, Kind::*, OWNER, Table, row};
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
        ("typsubscript", Text),
        ("typelem", Oid),
        ("typarray", Oid),
        ("typinput", Text),
        ("typoutput", Text),
        ("typreceive", Text),
        ("typsend", Text),
        ("typmodin", Text),
        ("typmodout", Text),
        ("typanalyze", Text),
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

/// (oid, name, name in SQL, oid of the array type, category)
pub const TYPES: &[(u32, &str, &str, u32, &str)] = &[
    (16, "bool", "boolean", 1000, "B"),
    (17, "bytea", "bytea", 1001, "U"),
    (18, "char", "\"char\"", 1002, "Z"),
    (19, "name", "name", 1003, "S"),
    (20, "int8", "bigint", 1016, "N"),
    (21, "int2", "smallint", 1005, "N"),
    (23, "int4", "integer", 1007, "N"),
    (25, "text", "text", 1009, "S"),
    (26, "oid", "oid", 1028, "N"),
    (114, "json", "json", 199, "U"),
    (700, "float4", "real", 1021, "N"),
    (701, "float8", "double precision", 1022, "N"),
    (1042, "bpchar", "character", 1014, "S"),
    (1043, "varchar", "character varying", 1015, "S"),
    (1082, "date", "date", 1182, "D"),
    (1083, "time", "time without time zone", 1183, "D"),
    (1114, "timestamp", "timestamp without time zone", 1115, "D"),
    (1184, "timestamptz", "timestamp with time zone", 1185, "D"),
    (1186, "interval", "interval", 1187, "T"),
    (1700, "numeric", "numeric", 1231, "N"),
    (2950, "uuid", "uuid", 2951, "U"),
    (3802, "jsonb", "jsonb", 3807, "U"),
];

fn rows(_: &Facts) -> Vec<Vec<Cell>> {
    let one = |oid: u32, name: String, category: &str, element: u32, array: u32| {
        let (length, io) = (length(oid) as i32, name.clone());
        row![
            oid,
            name,
            11,
            OWNER,
            length,
            (1..=8).contains(&length),
            "b",
            category,
            false,
            true,
            ",",
            0,
            "-",
            element,
            array,
            format!("{io}in"),
            format!("{io}out"),
            format!("{io}recv"),
            format!("{io}send"),
            "-",
            "-",
            "-",
            "i",
            storage(oid),
            false,
            0,
            -1,
            0,
            if category == "S" { 100 } else { 0 },
            None::<i64>,
            None::<i64>,
            None::<i64>,
        ]
    };
    let scalars = TYPES.iter().map(|(oid, name, _, array, category)| one(*oid, name.to_string(), category, 0, *array));
    let arrays = TYPES.iter().map(|(oid, name, _, array, _)| one(*array, format!("_{name}"), "A", *oid, 0));
    scalars.chain(arrays).collect()
}

pub fn oid(kind: &Type) -> u32 {
    match kind {
        Type::Bool => 16,
        Type::Bytea => 17,
        Type::Int8 => 20,
        Type::Int2 => 21,
        Type::Int4 => 23,
        Type::Text => 25,
        Type::Json => 114,
        Type::Float4 => 700,
        Type::Float8 => 701,
        Type::Char(_) => 1042,
        Type::Varchar(_) => 1043,
        Type::Date => 1082,
        Type::Time => 1083,
        Type::Timestamp => 1114,
        Type::Timestamptz => 1184,
        Type::Interval => 1186,
        Type::Numeric(_) => 1700,
        Type::Uuid => 2950,
        Type::Jsonb => 3802,
        Type::Array(element) => array(oid(element)),
    }
}

/// The oid of the array type over `element`.
pub fn array(element: u32) -> u32 {
    TYPES.iter().find(|(oid, ..)| *oid == element).map_or(1009, |(.., array, _)| *array)
}

/// The type a client means by `oid`; `None` for those without a type of ours (0 and 705 leave it to the server).
pub fn kind(oid: u32) -> Option<Type> {
    Some(match oid {
        16 => Type::Bool,
        17 => Type::Bytea,
        20 | 26 => Type::Int8,
        21 => Type::Int2,
        23 => Type::Int4,
        18 | 19 | 25 => Type::Text,
        114 => Type::Json,
        700 => Type::Float4,
        701 => Type::Float8,
        1042 => Type::Char(0),
        1043 => Type::Varchar(None),
        1082 => Type::Date,
        1083 => Type::Time,
        1114 => Type::Timestamp,
        1184 => Type::Timestamptz,
        1186 => Type::Interval,
        1700 => Type::Numeric(None),
        2950 => Type::Uuid,
        3802 => Type::Jsonb,
        array => Type::Array(Box::new(kind(TYPES.iter().find(|(.., a, _)| *a == array)?.0)?)),
    })
}

/// pg_type.typname
pub fn name(oid: u32) -> String {
    let known = |(scalar, name, _, array, _): &(u32, &str, &str, u32, &str)| {
        (*scalar == oid).then(|| name.to_string()).or_else(|| (*array == oid).then(|| format!("_{name}")))
    };
    TYPES.iter().find_map(known).unwrap_or_else(|| "unknown".into())
}

/// The type of either name, an array's with `[]` after it.
pub fn by_name(written: &str) -> Option<u32> {
    let written = written.trim().to_ascii_lowercase();
    let element = written.strip_suffix("[]");
    let wanted = element.unwrap_or(&written).trim_start_matches("pg_catalog.");
    let (oid, .., array, _) = TYPES.iter().find(|(_, name, sql, ..)| *name == wanted || *sql == wanted)?;
    Some(if element.is_some() { *array } else { *oid })
}

/// pg_type.typlen
pub fn length(oid: u32) -> i16 {
    match oid {
        16 | 18 => 1,
        21 => 2,
        23 | 26 | 700 | 1082 => 4,
        20 | 701 | 1083 | 1114 | 1184 => 8,
        1186 | 2950 => 16,
        19 => 64,
        _ => -1,
    }
}

/// pg_type.typstorage: how Postgres would store values, which psql shows.
pub fn storage(oid: u32) -> &'static str {
    match oid {
        1700 => "m",
        _ if length(oid) > 0 => "p",
        _ => "x",
    }
}

/// pg_attribute.atttypmod
pub fn modifier(kind: &Type) -> i32 {
    match kind {
        Type::Varchar(Some(n)) | Type::Char(n) => *n as i32 + 4,
        Type::Numeric(Some((precision, scale))) => ((*precision as i32) << 16 | *scale as i32 & 0x7ff) + 4,
        Type::Array(element) => modifier(element),
        _ => -1,
    }
}

/// `format_type(oid, modifier)`.
pub fn format(oid: i64, modifier: Option<i64>) -> String {
    let known = |(scalar, _, sql, array, _): &(u32, &str, &'static str, u32, &str)| {
        (*scalar as i64 == oid)
            .then_some((*sql, *scalar, ""))
            .or((*array as i64 == oid).then_some((*sql, *scalar, "[]")))
    };
    let Some((sql, scalar, brackets)) = TYPES.iter().find_map(known) else {
        return if oid == 0 { "-".into() } else { "???".into() };
    };
    let length = match (scalar, modifier) {
        (1042 | 1043, Some(modifier)) if modifier >= 4 => format!("({})", modifier - 4),
        (1700, Some(modifier)) if modifier >= 4 => format!("({},{})", (modifier - 4) >> 16, (modifier - 4) & 0x7ff),
        _ => String::new(),
    };
    format!("{sql}{length}{brackets}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_keep_their_oid_there_and_back() {
        for (scalar, name, _, array_oid, _) in TYPES {
            assert_eq!(array(*scalar), *array_oid, "{name}");
            if ![18, 19, 26].contains(scalar) {
                assert_eq!(oid(&kind(*scalar).expect(name)), *scalar, "{name}");
                assert_eq!(oid(&kind(*array_oid).expect(name)), *array_oid, "{name}[]");
            }
        }
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
