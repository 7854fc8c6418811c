//! pg_catalog.pg_namespace: the schemas.

use super::table::{Facts, Kind::*, OWNER, PUBLIC, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_namespace",
    columns: &[("oid", Oid), ("nspname", Name), ("nspowner", Oid), ("nspacl", Texts)],
    rows: |_: &Facts| SCHEMAS.iter().map(|(id, name)| row![*id, *name, OWNER, None::<i64>]).collect(),
};

pub(super) const SCHEMAS: [(i64, &str); 4] =
    [(11, "pg_catalog"), (PUBLIC, "public"), (13000, "information_schema"), (13001, "rw_catalog")];

pub(super) fn id(name: &str) -> i64 {
    SCHEMAS.iter().find(|(_, n)| *n == name).map_or(0, |(id, _)| *id)
}
