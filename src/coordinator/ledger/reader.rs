//! Readers: whoever needs the change logs of relations. A view is one; what comes to need change logs beside (an index, a sink, a
//! subscription) is another [`Name`], and one more line in [`Ledger::readers`].

use super::{Ledger, Sealed};
use std::collections::{BTreeMap, BTreeSet};
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    View(RelationId),
}

/// Whoever reads change logs, as a checkpoint has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    pub name: Name,
    /// Whose change logs it needs.
    pub reads: &'a [RelationId],
    /// After this epoch it needs all of them.
    pub resumable_from: Epoch,
}

impl Ledger {
    /// Everybody for whom a change log is kept, once a checkpoint holds relations as far as `sealed`. For a view that has failed none is:
    /// nothing leads on from where it is. `failed` are those of which the catalog of that checkpoint says so.
    fn readers<'a>(&'a self, sealed: &'a Sealed, failed: &'a BTreeSet<RelationId>) -> impl Iterator<Item = Reader<'a>> {
        let views = self.entries.iter().filter(|(id, entry)| !entry.reads.is_empty() && !failed.contains(id));
        views.map(|(id, entry)| {
            let resumable_from = sealed.get(id).copied().unwrap_or(entry.resumable_from());
            Reader { name: Name::View(*id), reads: &entry.reads, resumable_from }
        })
    }

    /// After which epoch the change log of each relation that is read is needed: where the reader furthest behind stands.
    pub fn needed(&self, sealed: &Sealed, failed: &BTreeSet<RelationId>) -> BTreeMap<RelationId, Epoch> {
        let mut needed: BTreeMap<RelationId, Epoch> = BTreeMap::new();
        for reader in self.readers(sealed, failed) {
            for read in reader.reads {
                let lowest = needed.entry(*read).or_insert(reader.resumable_from);
                *lowest = reader.resumable_from.min(*lowest);
            }
        }
        needed
    }
}
