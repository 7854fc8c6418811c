//! pg_catalog.pg_tablespace: where the one database is said to be.

use super::table::{Facts, Kind::*, OWNER, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_tablespace",
    columns: &[("oid", Oid), ("spcname", Name), ("spcowner", Oid), ("spcacl", Texts), ("spcoptions", Texts)],
    rows: |_: &Facts| {
        let none = None::<i64>;
        vec![row![1663, "pg_default", OWNER, none, none]]
    },
};
