//! What sqlparser reads and nobody after it heeds: refused by name, since what is done would be something else.

use crate::error::Error;
use datafusion::sql::sqlparser::ast::{Query, Select, Statement, TableFactor, Visit, Visitor};
use std::ops::ControlFlow;

/// The first such construct in `read`.
pub fn find<T: Visit>(read: &T) -> Option<Error> {
    match read.visit(&mut Finder) {
        ControlFlow::Break(what) => Some(Error::unsupported(what)),
        ControlFlow::Continue(()) => None,
    }
}

struct Finder;

fn first(found: &[(bool, &'static str)]) -> ControlFlow<&'static str> {
    match found.iter().find(|(is_there, _)| *is_there) {
        Some((_, what)) => ControlFlow::Break(what),
        None => ControlFlow::Continue(()),
    }
}

impl Visitor for Finder {
    type Break = &'static str;

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<Self::Break> {
        let Statement::Insert(insert) = statement else { return ControlFlow::Continue(()) };
        let found = [
            (insert.or.is_some(), "INSERT OR …"),
            (insert.ignore, "INSERT IGNORE"),
            (insert.overwrite, "INSERT OVERWRITE"),
            (insert.replace_into, "REPLACE INTO"),
            (insert.priority.is_some(), "INSERT with a priority"),
            (insert.partitioned.is_some() || !insert.after_columns.is_empty(), "PARTITION"),
            (!insert.assignments.is_empty(), "INSERT … SET"),
            (insert.output.is_some(), "OUTPUT"),
            (insert.settings.is_some(), "SETTINGS"),
            (insert.format_clause.is_some(), "FORMAT"),
        ];
        first(&found)
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let found = [
            (!query.locks.is_empty(), "FOR UPDATE or FOR SHARE"),
            (query.for_clause.is_some(), "FOR XML and FOR JSON"),
            (query.settings.is_some(), "SETTINGS"),
            (query.format_clause.is_some(), "FORMAT"),
        ];
        first(&found)?;
        match &query.fetch {
            Some(fetch) if fetch.with_ties => ControlFlow::Break("FETCH … WITH TIES"),
            Some(fetch) if fetch.percent => ControlFlow::Break("FETCH … PERCENT"),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let found = [
            (select.into.is_some(), "SELECT INTO"),
            (select.top.is_some(), "TOP"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (select.value_table_mode.is_some(), "SELECT AS"),
            (select.select_modifiers.is_some(), "a modifier of SELECT"),
        ];
        first(&found)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        match factor {
            TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. } => {
                ControlFlow::Break("TABLESAMPLE")
            }
            TableFactor::Table { with_ordinality: true, .. }
            | TableFactor::Function { with_ordinality: true, .. }
            | TableFactor::UNNEST { with_ordinality: true, .. } => ControlFlow::Break("WITH ORDINALITY"),
            TableFactor::Table { partitions, .. } if !partitions.is_empty() => ControlFlow::Break("PARTITION"),
            _ => ControlFlow::Continue(()),
        }
    }
}
