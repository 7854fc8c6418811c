//! pg_catalog.pg_depend: which views read which relations, which tables come from which source.

use super::table::{Cell, Facts, Kind::*, Table, row};
use std::collections::BTreeSet;

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_depend",
    columns: &[
        ("classid", Oid),
        ("objid", Oid),
        ("objsubid", Int4),
        ("refclassid", Oid),
        ("refobjid", Oid),
        ("refobjsubid", Int4),
        ("deptype", Letter),
    ],
    rows,
};

/// pg_class' own oid in Postgres, by which others know it.
const PG_CLASS: i64 = 1259;

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let there: BTreeSet<u32> = facts.objects().map(|object| object.id).collect();
    let children = facts.catalog.objects.values();
    let edges = children.flat_map(|child| child.reads().into_iter().map(move |parent| (child.id, parent)));
    let edges: BTreeSet<(u32, u32)> = edges.filter(|(_, parent)| there.contains(parent)).collect();
    edges.into_iter().map(|(child, parent)| row![PG_CLASS, child, 0, PG_CLASS, parent, 0, "n"]).collect()
}
