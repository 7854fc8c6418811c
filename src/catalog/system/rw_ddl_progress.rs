//! rw_catalog.rw_ddl_progress: DDL that goes on.

use super::table::{Facts, Kind::*, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_ddl_progress",
    columns: &[
        ("ddl_id", Int8),
        ("ddl_statement", Text),
        ("create_type", Text),
        ("progress", Text),
        ("initialized_at", Timestamptz),
        ("is_serverless_backfill", Bool),
        ("backfill_type", Text),
    ],
    rows: |facts: &Facts| {
        let one = |(statement, id, progress, started): &(String, u32, String, i64)| {
            row![*id, statement.clone(), "FOREGROUND", progress.clone(), *started, false, "SNAPSHOT_BACKFILL"]
        };
        facts.inspection.iter().flat_map(|known| &known.ddl).map(one).collect()
    },
};
