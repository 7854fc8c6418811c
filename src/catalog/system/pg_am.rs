//! pg_catalog.pg_am: access methods.

use super::table::{Facts, Kind::*, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_am",
    columns: &[("oid", Oid), ("amname", Name), ("amhandler", Text), ("amtype", Letter)],
    rows: |_: &Facts| {
        vec![
            row![2, "heap", "heap_tableam_handler", "t"],
            row![403, "btree", "bthandler", "i"],
            row![405, "hash", "hashhandler", "i"],
        ]
    },
};
