//! Has the memory of state counted beside the loop, and does what follows ([`Memory`]).

#[cfg(doc)]
use super::memory::Memory;
use super::message::{Counted, Message};
use super::state::{Coordinator, RelationState};
use crate::dataflow::relations::Failure;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::arrangement::Arrangement;

impl Coordinator {
    pub(super) fn tend_memory(&mut self, now: u64) {
        let finished = self.pace.oldest().map_or(self.epochs.closed(), |oldest| Epoch::from_u64(oldest.as_u64() - 1));
        if !self.memory.due(now, finished) {
            return;
        }
        let state = |held: &RelationState| held.arrangements.iter().flatten().cloned().collect::<Vec<Arrangement>>();
        let all: Vec<(RelationId, Vec<Arrangement>)> = self.held.iter().map(|(id, held)| (*id, state(held))).collect();
        let (env, mailbox) = (self.env.clone(), self.mailbox.clone());
        tokio::spawn(async move {
            let bytes = |own: &[Arrangement]| own.iter().map(|arrangement| arrangement.stats().bytes as u64).sum();
            let count = move || all.iter().map(|(id, own)| (*id, bytes(own))).collect::<Counted>();
            // One that could not be made says nothing; another follows.
            mailbox.tell(Message::Counted(env.compute(count).await.unwrap_or_default()));
        });
    }

    pub(super) fn counted(&mut self, counted: &Counted) {
        let was_full = self.memory.refusal().is_some();
        let works = |id: RelationId| self.ledger.get(id).is_some_and(|entry| !entry.is_table() && !entry.has_failed());
        let victim = self.memory.counted(counted, works);
        self.memory.tell();
        if let (Some(error), false) = (self.memory.refusal(), was_full) {
            tracing::warn!(%error, "no view is made and no row is written by SQL until there is room");
        }
        if let Some(relation) = victim.and_then(|id| self.engine.relations().get(id)) {
            let mb = counted.get(&relation.id).unwrap_or(&0).div_ceil(1 << 20);
            let cause = self.memory.error(&format!("out of memory, of which its state takes {mb} MB"));
            relation.fail(Failure { of: relation.id, cause });
        }
    }
}
