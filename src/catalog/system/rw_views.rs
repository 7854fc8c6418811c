//! Tables of rw_catalog about things there are none of: sinks, indexes, plain views. Clients list them.

use super::table::{
    Cell, Facts,
    Kind::{self, *},
    Table,
};

pub(super) const TABLES: &[Table] = &[
    Table { schema_name: "rw_catalog", name: "rw_views", columns: COLUMNS, rows: none },
    Table { schema_name: "rw_catalog", name: "rw_sinks", columns: COLUMNS, rows: none },
    Table { schema_name: "rw_catalog", name: "rw_indexes", columns: COLUMNS, rows: none },
];

const COLUMNS: &[(&str, Kind)] = &[
    ("id", Int4),
    ("name", Text),
    ("schema_id", Int4),
    ("owner", Int4),
    ("definition", Text),
    ("acl", Texts),
    ("created_at", Timestamptz),
];

fn none(_: &Facts) -> Vec<Vec<Cell>> {
    vec![]
}
