//! pg_catalog.pg_settings: the session's variables.

use super::{Facts, Kind::*, Table, row};

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
        let one = |(name, value, about): &(&str, String, &str)| {
            row![
                *name,
                value.clone(),
                none,
                "Weir",
                *about,
                none,
                "user",
                "string",
                "session",
                none,
                none,
                none,
                none,
                none,
                none,
                none,
                false,
            ]
        };
        facts.settings.iter().map(one).collect()
    },
};
