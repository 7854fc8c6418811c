//! What sqlparser reads and DataFusion passes over in silence: refused by name, since the answer would be another.

use crate::error::Error;
use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visit, Visitor};
use std::ops::ControlFlow;

/// The first such construct in `read`.
pub fn find<T: Visit>(read: &T) -> Option<Error> {
    match read.visit(&mut Finder) {
        ControlFlow::Break(what) => Some(Error::unsupported(what)),
        ControlFlow::Continue(()) => None,
    }
}

struct Finder;

impl Visitor for Finder {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        match &query.fetch {
            Some(fetch) if fetch.with_ties => ControlFlow::Break("FETCH … WITH TIES"),
            Some(fetch) if fetch.percent => ControlFlow::Break("FETCH … PERCENT"),
            _ => ControlFlow::Continue(()),
        }
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
