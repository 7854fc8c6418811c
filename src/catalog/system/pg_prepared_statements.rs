//! pg_catalog.pg_prepared_statements: the session's named statements.

use super::table::{Facts, Kind::*, Table, row};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_prepared_statements",
    columns: &[("name", Text), ("statement", Text), ("parameter_types", Texts)],
    rows: |facts: &Facts| {
        let types = |kinds: &[weir_sql::types::Type]| kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>();
        facts.prepared.iter().map(|p| row![p.name.clone(), p.statement.clone(), types(&p.parameters)]).collect()
    },
};
