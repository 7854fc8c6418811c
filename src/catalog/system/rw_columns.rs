//! rw_catalog.rw_columns: the columns of tables and materialized views.

use super::pg_type;
use super::table::{Cell, Facts, Kind::*, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_columns",
    columns: &[
        ("relation_id", Int4),
        ("name", Text),
        ("position", Int4),
        ("is_hidden", Bool),
        ("is_primary_key", Bool),
        ("is_distribution_key", Bool),
        ("is_generated", Bool),
        ("is_nullable", Bool),
        ("generation_expression", Text),
        ("data_type", Text),
        ("type_oid", Int4),
        ("type_len", Int2),
        ("udt_type", Text),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for object in facts.objects() {
        let key = object.key().unwrap_or_default();
        for (index, column) in object.columns().unwrap_or_default().iter().enumerate() {
            let oid = pg_type::oid(&column.kind);
            let in_key = key.contains(&index);
            let (position, length) = (index as i64 + 1, pg_type::length(oid) as i32);
            rows.push(row![
                object.id,
                column.name.clone(),
                position,
                false,
                in_key,
                in_key,
                false,
                column.nullable,
                None::<i64>,
                column.kind.to_string(),
                oid,
                length,
                pg_type::name(oid),
            ]);
        }
    }
    rows
}
