//! rw_catalog.rw_databases: the one database.

use super::table::{Facts, Kind::*, OWNER, Table, acl, row};

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_databases",
    columns: &[("id", Int4), ("name", Text), ("owner", Int4), ("acl", Texts)],
    rows: |facts: &Facts| vec![row![1, facts.database, OWNER, acl()]],
};
