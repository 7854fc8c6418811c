//! GROUP BY and aggregates: keys, what is computed of each group, and what may be said of a group.

use crate::bound::{Aggregate, ColumnId};

/// The aggregates of one SELECT, each with the column that it is to those who name it.
#[derive(Debug, Default)]
pub struct Groups {
    pub aggregates: Vec<(ColumnId, Aggregate)>,
}

impl Groups {
    /// The column of `aggregate`: of an equal one, if it is there already, else `fresh`.
    pub fn add(&mut self, aggregate: Aggregate, fresh: ColumnId) -> ColumnId {
        self.aggregates.push((fresh, aggregate));
        fresh
    }
}
