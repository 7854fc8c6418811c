//! pg_catalog.pg_matviews.

use super::table::{Facts, Kind::*, Table, row};
use crate::catalog::Body;

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_matviews",
    columns: &[
        ("schemaname", Name),
        ("matviewname", Name),
        ("matviewowner", Name),
        ("tablespace", Name),
        ("hasindexes", Bool),
        ("ispopulated", Bool),
        ("definition", Text),
    ],
    rows: |facts: &Facts| {
        let views = facts.objects().filter(|o| matches!(o.body, Body::View(_)));
        views.map(|o| row!["public", o.name.clone(), "root", None::<i64>, false, true, o.query()]).collect()
    },
};
