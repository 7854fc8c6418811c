//! pg_catalog.pg_settings: the session's variables.

use super::table::{Facts, Kind::*, Setting, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_settings",
    columns: &[
        ("name", Text),
        ("setting", Text),
        ("unit", Text),
        ("category", Text),
        ("short_desc", Text),
        ("extra_desc", Text),
        ("context", Text),
        ("vartype", Text),
        ("source", Text),
        ("min_val", Text),
        ("max_val", Text),
        ("enumvals", Texts),
        ("boot_val", Text),
        ("reset_val", Text),
        ("sourcefile", Text),
        ("sourceline", Int4),
        ("pending_restart", Bool),
    ],
    rows: |facts: &Facts| {
        let none = None::<i64>;
        let one = |setting: &Setting| {
            row![
                setting.name,
                setting.value.clone(),
                none,
                "Weir",
                setting.about,
                none,
                if setting.fixed { "internal" } else { "user" },
                "string",
                if setting.value == setting.default { "default" } else { "session" },
                none,
                none,
                none,
                setting.default,
                setting.default,
                none,
                none,
                false,
            ]
        };
        facts.settings.iter().map(one).collect()
    },
};
