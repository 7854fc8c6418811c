//! rw_catalog.rw_schemas.

use super::pg_namespace;
use super::table::{Facts, Kind::*, OWNER, Table, acl, row};

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_schemas",
    columns: &[("id", Int4), ("name", Text), ("owner", Int4), ("acl", Texts)],
    rows: |_: &Facts| pg_namespace::SCHEMAS.iter().map(|(id, name)| row![*id, *name, OWNER, acl()]).collect(),
};
