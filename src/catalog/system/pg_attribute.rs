//! pg_catalog.pg_attribute: columns of everything in pg_class.

use super::pg_index::Index;
use super::pg_type;
use super::table::{Cell, Facts, Kind::*, Table, row};
use weir_sql::types::Type;

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_attribute",
    columns: &[
        ("attrelid", Oid),
        ("attname", Name),
        ("atttypid", Oid),
        ("attstattarget", Int4),
        ("attlen", Int2),
        ("attnum", Int2),
        ("attndims", Int4),
        ("attcacheoff", Int4),
        ("atttypmod", Int4),
        ("attbyval", Bool),
        ("attalign", Letter),
        ("attstorage", Letter),
        ("attcompression", Letter),
        ("attnotnull", Bool),
        ("atthasdef", Bool),
        ("atthasmissing", Bool),
        ("attidentity", Letter),
        ("attgenerated", Letter),
        ("attisdropped", Bool),
        ("attislocal", Bool),
        ("attinhcount", Int4),
        ("attcollation", Oid),
        ("attacl", Texts),
        ("attoptions", Texts),
        ("attfdwoptions", Texts),
        ("attmissingval", Text),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for object in facts.objects() {
        let columns = object.columns().unwrap_or_default();
        for (index, column) in columns.iter().enumerate() {
            rows.push(attribute(object.id as i64, index as i64 + 1, &column.name, &column.kind, column.nullable));
        }
        if let Some(index) = Index::of(object) {
            for (position, number) in (1..).zip(&index.columns) {
                let column = &columns[*number as usize - 1];
                rows.push(attribute(index.id, position, &column.name, &column.kind, false));
            }
        }
    }
    for (id, table) in facts.system() {
        for (position, field) in (1..).zip(table.schema().fields()) {
            // Oids and names are shown as what holds them.
            let kind = Type::of(field).unwrap_or(Type::Text);
            rows.push(attribute(id, position, field.name(), &kind, true));
        }
    }
    rows
}

fn attribute(relation: i64, number: i64, name: &str, kind: &Type, nullable: bool) -> Vec<Cell> {
    let oid = pg_type::oid(kind);
    let length = pg_type::length(oid) as i32;
    let none = None::<i64>;
    row![
        relation,
        name,
        oid,
        -1,
        length,
        number,
        i32::from(matches!(kind, Type::Array(_))),
        -1,
        pg_type::modifier(kind),
        (1..=8).contains(&length),
        "i",
        pg_type::storage(oid),
        "",
        !nullable,
        false,
        false,
        "",
        "",
        false,
        true,
        0,
        0,
        none,
        none,
        none,
        none,
    ]
}
