//! What the ledger is told of relations.

use std::collections::BTreeMap;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

/// How far a checkpoint holds relations.
pub type Sealed = BTreeMap<RelationId, Epoch>;

/// What workers have come to. They go on meanwhile: two answers may differ.
pub trait Seen {
    /// What a relation has reached.
    fn upper(&self, id: RelationId) -> Epoch;
    /// The first epoch as of which it is what it is.
    fn readable_since(&self, id: RelationId) -> Epoch;
    /// Whether it stops at a checkpoint epoch that it has reached.
    fn stops_at(&self, id: RelationId, candidate: Epoch) -> bool;
    /// The newest checkpoint epoch in `after < candidate <= to` that is `fit`.
    fn newest(&self, after: Epoch, to: Epoch, fit: impl Fn(Epoch) -> bool) -> Option<Epoch>;
}
