//! pg_catalog.pg_database: the one database.

use super::table::{Facts, Kind::*, OWNER, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_database",
    columns: &[
        ("oid", Oid),
        ("datname", Name),
        ("datdba", Oid),
        ("encoding", Int4),
        ("datlocprovider", Letter),
        ("datistemplate", Bool),
        ("datallowconn", Bool),
        ("datconnlimit", Int4),
        ("datfrozenxid", Int8),
        ("datminmxid", Int8),
        ("dattablespace", Oid),
        ("datcollate", Text),
        ("datctype", Text),
        ("daticulocale", Text),
        ("datcollversion", Text),
        ("datacl", Texts),
    ],
    rows: |facts: &Facts| {
        let none = None::<i64>;
        vec![row![
            1,
            facts.database,
            OWNER,
            6,
            "c",
            false,
            true,
            -1,
            0,
            0,
            1663,
            "C.UTF-8",
            "C.UTF-8",
            none,
            none,
            none
        ]]
    },
};
