//! rw_catalog.rw_users: who may log in; everybody may do everything.

use super::table::{Facts, Kind::*, OWNER, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "rw_catalog",
    name: "rw_users",
    columns: &[
        ("id", Int4),
        ("name", Text),
        ("is_super", Bool),
        ("create_db", Bool),
        ("create_user", Bool),
        ("can_login", Bool),
        ("is_admin", Bool),
    ],
    rows: |facts: &Facts| {
        let ids = OWNER..;
        let one = |(id, name): (i64, &String)| row![id, name.clone(), true, true, true, true, false];
        ids.zip(&facts.users).map(one).collect()
    },
};
