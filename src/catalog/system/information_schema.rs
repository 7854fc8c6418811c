//! information_schema: tables, columns, keys and schemata.

use super::pg_index::Index;
use super::pg_namespace;
use super::pg_type;
use super::table::{Cell, Facts, Kind::*, Table, row};
use crate::catalog::Body;
use weir_sql::types::Type;

pub(super) const TABLES: &[Table] = &[
    Table {
        schema_name: "information_schema",
        name: "tables",
        columns: &[
            ("table_catalog", Name),
            ("table_schema", Name),
            ("table_name", Name),
            ("table_type", Text),
            ("is_insertable_into", Text),
        ],
        rows: tables,
    },
    Table {
        schema_name: "information_schema",
        name: "columns",
        columns: &[
            ("table_catalog", Name),
            ("table_schema", Name),
            ("table_name", Name),
            ("column_name", Name),
            ("ordinal_position", Int4),
            ("column_default", Text),
            ("is_nullable", Text),
            ("data_type", Text),
            ("character_maximum_length", Int4),
            ("numeric_precision", Int4),
            ("numeric_scale", Int4),
            ("datetime_precision", Int4),
            ("udt_catalog", Name),
            ("udt_schema", Name),
            ("udt_name", Name),
            ("is_identity", Text),
            ("is_generated", Text),
            ("is_updatable", Text),
        ],
        rows: columns,
    },
    Table {
        schema_name: "information_schema",
        name: "schemata",
        columns: &[("catalog_name", Name), ("schema_name", Name), ("schema_owner", Name)],
        rows: |facts: &Facts| {
            pg_namespace::SCHEMAS.iter().map(|(_, name)| row![facts.database, *name, "root"]).collect()
        },
    },
    Table {
        schema_name: "information_schema",
        name: "table_constraints",
        columns: &[
            ("constraint_catalog", Name),
            ("constraint_schema", Name),
            ("constraint_name", Name),
            ("table_catalog", Name),
            ("table_schema", Name),
            ("table_name", Name),
            ("constraint_type", Text),
            ("is_deferrable", Text),
            ("initially_deferred", Text),
        ],
        rows: constraints,
    },
    Table {
        schema_name: "information_schema",
        name: "key_column_usage",
        columns: &[
            ("constraint_catalog", Name),
            ("constraint_schema", Name),
            ("constraint_name", Name),
            ("table_catalog", Name),
            ("table_schema", Name),
            ("table_name", Name),
            ("column_name", Name),
            ("ordinal_position", Int4),
        ],
        rows: key_columns,
    },
    Table {
        schema_name: "information_schema",
        name: "views",
        columns: &[("table_catalog", Name), ("table_schema", Name), ("table_name", Name), ("view_definition", Text)],
        rows: |_: &Facts| vec![],
    },
];

fn tables(facts: &Facts) -> Vec<Vec<Cell>> {
    let own = facts.objects().filter_map(|o| {
        let (kind, insertable) = match &o.body {
            Body::Source(_) => return None,
            Body::Table(t) => ("BASE TABLE", if t.upstream.is_none() { "YES" } else { "NO" }),
            Body::View(_) => ("MATERIALIZED VIEW", "NO"),
        };
        Some(row![facts.database, "public", o.name.clone(), kind, insertable])
    });
    let system = facts.system().map(|(_, t)| row![facts.database, t.schema_name, t.name, "SYSTEM TABLE", "NO"]);
    own.chain(system).collect()
}

fn columns(facts: &Facts) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for object in facts.objects() {
        let updatable = matches!(&object.body, Body::Table(t) if t.upstream.is_none());
        for (position, column) in (1..).zip(object.columns().unwrap_or_default()) {
            let place = (facts.database, "public", object.name.as_str());
            rows.push(self::column(place, position, &column.name, &column.kind, column.nullable, updatable));
        }
    }
    for (_, table) in facts.system() {
        for (position, field) in (1..).zip(table.schema().fields()) {
            let kind = Type::of(field).unwrap_or(Type::Text);
            let place = (facts.database, table.schema_name, table.name);
            rows.push(self::column(place, position, field.name(), &kind, true, false));
        }
    }
    rows
}

fn column(
    (database, schema, table): (&str, &str, &str),
    position: i64,
    name: &str,
    kind: &Type,
    nullable: bool,
    updatable: bool,
) -> Vec<Cell> {
    let yes = |b: bool| if b { "YES" } else { "NO" };
    let (data_type, length, precision, scale, time) = describe(kind);
    let none = None::<i64>;
    row![
        database,
        schema,
        table,
        name,
        position,
        none,
        yes(nullable),
        data_type,
        length,
        precision,
        scale,
        time,
        database,
        "pg_catalog",
        pg_type::name(pg_type::oid(kind)),
        "NO",
        "NEVER",
        yes(updatable),
    ]
}

/// data_type, character_maximum_length, numeric_precision, numeric_scale, datetime_precision
fn describe(kind: &Type) -> (String, Option<i64>, Option<i64>, Option<i64>, Option<i64>) {
    let plain = |kind: &Type| kind.to_string();
    match kind {
        Type::Varchar(n) => ("character varying".into(), n.map(i64::from), None, None, None),
        Type::Char(n) => ("character".into(), Some(i64::from(*n)).filter(|n| *n > 0), None, None, None),
        Type::Int2 => (plain(kind), None, Some(16), Some(0), None),
        Type::Int4 => (plain(kind), None, Some(32), Some(0), None),
        Type::Int8 => (plain(kind), None, Some(64), Some(0), None),
        Type::Float4 => (plain(kind), None, Some(24), None, None),
        Type::Float8 => (plain(kind), None, Some(53), None, None),
        Type::Numeric(p) => ("numeric".into(), None, p.map(|(p, _)| i64::from(p)), p.map(|(_, s)| i64::from(s)), None),
        Type::Date => (plain(kind), None, None, None, Some(0)),
        Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval => (plain(kind), None, None, None, Some(6)),
        Type::Array(_) => ("ARRAY".into(), None, None, None, None),
        _ => (plain(kind), None, None, None, None),
    }
}

fn constraints(facts: &Facts) -> Vec<Vec<Cell>> {
    let (database, schema) = (facts.database, "public");
    let keyed = facts.objects().filter_map(|o| Some((o, Index::of(o)?)));
    keyed
        .map(|(o, index)| {
            row![database, schema, index.name, database, schema, o.name.clone(), "PRIMARY KEY", "NO", "NO"]
        })
        .collect()
}

fn key_columns(facts: &Facts) -> Vec<Vec<Cell>> {
    let (database, schema) = (facts.database, "public");
    let mut rows = vec![];
    for (object, index) in facts.objects().filter_map(|o| Some((o, Index::of(o)?))) {
        for (position, number) in (1i64..).zip(&index.columns) {
            let column = object.columns().unwrap_or_default()[*number as usize - 1].name.clone();
            let table = object.name.clone();
            rows.push(row![database, schema, index.name.clone(), database, schema, table, column, position]);
        }
    }
    rows
}
