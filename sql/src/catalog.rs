//! What the planner asks about relations. Implemented by the catalog of the server and by tests.

use crate::types::Column;
use serde::{Deserialize, Serialize};

/// A table's or view's identity: never reused, survives renames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationId(pub u32);

impl std::fmt::Display for RelationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    pub id: RelationId,
    pub name: String,
    pub columns: Vec<Column>,
    /// Indices of a unique key that the engine enforces, if there is one.
    pub key: Option<Vec<usize>>,
}

pub trait Catalog: Send + Sync {
    /// By unqualified name (schema `public`).
    fn relation(&self, name: &str) -> Option<Relation>;
    fn by_id(&self, id: RelationId) -> Option<Relation>;
    /// Every readable relation's name.
    fn names(&self) -> Vec<String>;
}
