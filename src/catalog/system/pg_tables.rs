//! pg_catalog.pg_tables.

use super::table::{Facts, Kind::*, Table, row};
use crate::catalog::Body;

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_tables",
    columns: &[
        ("schemaname", Name),
        ("tablename", Name),
        ("tableowner", Name),
        ("tablespace", Name),
        ("hasindexes", Bool),
        ("hasrules", Bool),
        ("hastriggers", Bool),
        ("rowsecurity", Bool),
    ],
    rows: |facts: &Facts| {
        let tables = facts.objects().filter(|o| matches!(o.body, Body::Table(_)));
        tables
            .map(|o| row!["public", o.name.clone(), "root", None::<i64>, o.key().is_some(), false, false, false])
            .collect()
    },
};
