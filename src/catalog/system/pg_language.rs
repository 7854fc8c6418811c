//! pg_catalog.pg_language: what functions are written in. There are none but Weir's own.

use super::table::{Cell, Facts, Kind::*, OWNER, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_language",
    columns: &[
        ("tableoid", Oid),
        ("oid", Oid),
        ("lanname", Name),
        ("lanowner", Oid),
        ("lanispl", Bool),
        ("lanpltrusted", Bool),
        ("lanplcallfoid", Oid),
        ("laninline", Oid),
        ("lanvalidator", Oid),
        ("lanacl", Texts),
    ],
    rows,
};

pub(super) const INTERNAL: i64 = 12;

fn rows(facts: &Facts) -> Vec<Vec<Cell>> {
    let own = facts.system().find(|(_, table)| table.name == TABLE.name).map(|(id, _)| id);
    vec![row![own, INTERNAL, "internal", OWNER, false, false, 0, 0, 0, None::<i64>]]
}
