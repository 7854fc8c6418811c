//! rw_catalog.rw_relations: everything with a name, the system's included.

use super::pg_namespace;
use super::table::{Cell, Facts, Kind::*, OWNER, PUBLIC, Table, acl, row};

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_relations",
    columns: &[
        ("id", Int4),
        ("name", Text),
        ("relation_type", Text),
        ("schema_id", Int4),
        ("owner", Int4),
        ("definition", Text),
        ("acl", Texts),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let system = facts.system().map(|(id, table)| {
        row![id, table.name, "system table", pg_namespace::id(table.schema_name), OWNER, None::<i64>, acl()]
    });
    let own = facts.objects().map(|o| row![o.id, o.name.clone(), o.kind(), PUBLIC, OWNER, o.definition.clone(), acl()]);
    own.chain(system).collect()
}
