//! What FROM reads, for what errors say of it, whether it can be named at a place or not.

use crate::bound::ColumnId;

/// A relation, by the name that errors call it.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    /// Its own name, if it is a relation or a query of WITH.
    pub relation: Option<String>,
    /// Of a part of a UNION they have no identity.
    pub columns: Vec<(String, Option<ColumnId>)>,
    /// It may be named from within, by LATERAL. A part of a UNION may not.
    pub is_around: bool,
    /// The columns of a unique key without NULLs; none if there is no such key.
    pub key: Vec<ColumnId>,
}

impl Entry {
    /// By the query or by itself.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.relation.as_deref() == Some(name)
    }
}
