//! What a worker holds of a relation beside its dataflow.

use super::backfill::Backfill;
use super::relation::Relation;
use super::tap::Queue;
use std::rc::Rc;
use weir_sql::catalog::RelationId;

/// A relation that runs, with all that feeds it.
pub struct Running {
    pub relation: Rc<Relation>,
    pub feeds: Vec<Feed>,
}

/// What one of a relation's sources reads.
pub struct Feed {
    /// A parent; the relation itself, if it has none.
    pub of: RelationId,
    pub queue: Rc<Queue>,
    pub backfill: Rc<Backfill>,
}

impl Feed {
    /// What a relation without parents is fed with.
    pub fn of(id: RelationId, queue: Rc<Queue>) -> Self {
        Self { of: id, queue, backfill: Rc::new(Backfill::none()) }
    }
}
