//! rw_catalog.rw_materialized_views: RisingWave's columns, then how each view is.

use super::table::{Cell, Facts, Kind::*, OWNER, PUBLIC, Table, acl, row};
use crate::catalog::Body;

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_materialized_views",
    columns: &[
        ("id", Int4),
        ("name", Text),
        ("schema_id", Int4),
        ("schema_name", Text),
        ("owner", Int4),
        ("definition", Text),
        ("append_only", Bool),
        ("acl", Texts),
        ("initialized_at", Timestamptz),
        ("created_at", Timestamptz),
        ("initialized_at_cluster_version", Text),
        ("created_at_cluster_version", Text),
        ("background_ddl", Bool),
        ("status", Text),
        ("epoch", Int8),
        ("freshness_ms", Float8),
        ("rows", Int8),
        ("state_bytes", Int8),
        ("errors", Int8),
        ("last_error", Text),
    ],
    rows,
};

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let mut rows = vec![];
    for object in facts.objects().filter(|o| matches!(o.body, Body::View(_))) {
        let known = facts.relation(object.id);
        let status = known.map_or("creating".to_string(), |r| r.status.clone());
        let none = None::<i64>;
        rows.push(row![
            object.id,
            object.name.clone(),
            PUBLIC,
            "public",
            OWNER,
            object.definition.clone(),
            false,
            acl(),
            object.created_at,
            object.created_at,
            none,
            none,
            false,
            status,
            known.map(|r| r.epoch.as_u64() as i64),
            known.map(|r| r.freshness_ms),
            known.map(|r| r.rows),
            known.map(|r| r.state_bytes() as i64),
            known.map(|r| r.errors),
            known.and_then(|r| r.error.clone()),
        ]);
    }
    rows
}
