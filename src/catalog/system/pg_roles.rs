//! pg_catalog.pg_roles and pg_user: who may log in; everybody may do everything.

use super::table::{Facts, Kind::*, OWNER, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_roles",
    columns: &[
        ("oid", Oid),
        ("rolname", Name),
        ("rolsuper", Bool),
        ("rolinherit", Bool),
        ("rolcreaterole", Bool),
        ("rolcreatedb", Bool),
        ("rolcanlogin", Bool),
        ("rolreplication", Bool),
        ("rolconnlimit", Int4),
        ("rolpassword", Text),
        ("rolvaliduntil", Timestamptz),
        ("rolbypassrls", Bool),
        ("rolconfig", Texts),
    ],
    rows: |facts: &Facts| {
        let none = None::<i64>;
        let one = |(id, name): (i64, &String)| {
            row![id, name.clone(), true, true, true, true, true, false, -1, "********", none, true, none]
        };
        (OWNER..).zip(&facts.users).map(one).collect()
    },
};

pub(super) const USERS: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_user",
    columns: &[
        ("usename", Name),
        ("usesysid", Oid),
        ("usecreatedb", Bool),
        ("usesuper", Bool),
        ("userepl", Bool),
        ("usebypassrls", Bool),
        ("passwd", Text),
        ("valuntil", Timestamptz),
        ("useconfig", Texts),
    ],
    rows: |facts: &Facts| {
        let none = None::<i64>;
        let one = |(id, name): (i64, &String)| row![name.clone(), id, true, true, false, true, "********", none, none];
        (OWNER..).zip(&facts.users).map(one).collect()
    },
};
