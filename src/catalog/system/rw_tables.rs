//! rw_catalog.rw_tables: RisingWave's columns, then how each table is.

use super::table::{Cell, Facts, Kind::*, OWNER, PUBLIC, Table, acl, row};
use crate::catalog::Body;

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_tables",
    columns: &[
        ("id", Int4),
        ("name", Text),
        ("schema_id", Int4),
        ("owner", Int4),
        ("definition", Text),
        ("append_only", Bool),
        ("refreshable", Bool),
        ("acl", Texts),
        ("initialized_at", Timestamptz),
        ("created_at", Timestamptz),
        ("initialized_at_cluster_version", Text),
        ("created_at_cluster_version", Text),
        ("status", Text),
        ("source_id", Int4),
        ("epoch", Int8),
        ("rows", Int8),
        ("state_bytes", Int8),
        ("errors", Int8),
        ("last_error", Text),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for object in facts.objects() {
        let Body::Table(table) = &object.body else { continue };
        let known = facts.relation(object.id);
        let status = known.map_or("creating".to_string(), |r| r.status.clone());
        let none = None::<i64>;
        rows.push(row![
            object.id,
            object.name.clone(),
            PUBLIC,
            OWNER,
            object.definition.clone(),
            false,
            false,
            acl(),
            object.created_at,
            object.created_at,
            none,
            none,
            status,
            table.upstream.as_ref().map(|(id, _)| *id),
            known.map(|r| r.epoch.as_u64() as i64),
            known.map(|r| r.rows),
            known.map(|r| r.state_bytes() as i64),
            known.map(|r| r.errors),
            known.and_then(|r| r.error.clone()),
        ]);
    }
    rows
}
