//! pg_catalog.pg_constraint: the primary keys of tables.

use super::pg_index::Index;
use super::table::{Cell, Facts, Kind::*, PUBLIC, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_constraint",
    columns: &[
        ("oid", Oid),
        ("conname", Name),
        ("connamespace", Oid),
        ("contype", Letter),
        ("condeferrable", Bool),
        ("condeferred", Bool),
        ("convalidated", Bool),
        ("conrelid", Oid),
        ("contypid", Oid),
        ("conindid", Oid),
        ("conparentid", Oid),
        ("confrelid", Oid),
        ("confupdtype", Letter),
        ("confdeltype", Letter),
        ("confmatchtype", Letter),
        ("conislocal", Bool),
        ("coninhcount", Int4),
        ("connoinherit", Bool),
        ("conkey", Int2s),
        ("confkey", Int2s),
        ("conbin", Text),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let one = |index: Index| {
        row![
            index.id,
            index.name,
            PUBLIC,
            "p",
            false,
            false,
            true,
            index.table,
            0,
            index.id,
            0,
            0,
            " ",
            " ",
            " ",
            true,
            0,
            true,
            index.columns,
            None::<i64>,
            None::<i64>,
        ]
    };
    facts.objects().filter_map(Index::of).map(one).collect()
}
