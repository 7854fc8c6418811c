//! State that takes more memory than it may: nothing more is taken in, and views fail by name.

use super::{Result, World};
use weir::catalog::Body;
use weir::coordinator::request::Request;
use weir::dataflow::relations::Failure;
use weir_sql::catalog::RelationId;

/// Between two counts, and a little more.
const COUNTED_AFTER: u64 = 3_000_000;

impl World {
    /// Whether a relation may have failed like this: only views fail for want of memory, and what reads them with them.
    pub(super) fn is_too_much(&self, failure: &Failure) -> bool {
        let catalog = self.catalog();
        let of_view = catalog.get(failure.of.0).is_none_or(|object| matches!(object.body, Body::View(_)));
        of_view && self.state_limit < u64::MAX && failure.cause.sqlstate == "53200"
    }

    /// At rest: what is full takes no rows, and where views fail one has failed.
    pub(super) async fn check_memory(&mut self) -> Result<()> {
        if self.state_limit == u64::MAX || self.write().is_none() {
            return Ok(());
        }
        // That it is counted once more an epoch has to close: the row's, if it is taken.
        self.pass(COUNTED_AFTER).await?;
        let states = self.states().await?;
        let total: u64 = states.iter().map(|(_, bytes)| bytes).sum();
        let Some(mut answer) = self.write() else { return Ok(()) };
        let mut taken = None;
        let limit = self.time.now() + super::SETTLED_WITHIN;
        while taken.is_none() && self.time.now() < limit {
            self.pass(10_000).await?;
            taken = answer.try_recv().ok();
        }
        match taken {
            None => return Err("a write is not answered".into()),
            Some(Ok(_)) if total > self.state_limit => {
                return Err(format!("a row was taken, {total} bytes are there, {} may be", self.state_limit));
            }
            _ => {}
        }
        let relations = self.node().handle.relations.clone();
        let readable = |id: &RelationId| relations.get(*id);
        let goes_on = |id: &RelationId| readable(id).is_some_and(|r| !r.has_failed() && !r.parents.is_empty());
        let has_failed = states.iter().any(|(id, _)| readable(id).is_some_and(|r| r.has_failed()));
        let large = states.iter().find(|(id, bytes)| goes_on(id) && *bytes > self.state_limit / 32);
        match large.filter(|_| !has_failed && total > self.state_limit + self.state_limit / 8) {
            Some(large) => Err(format!("{total} bytes are there, {} may be; {large:?} goes on", self.state_limit)),
            None => Ok(()),
        }
    }

    /// Bytes of each relation.
    async fn states(&mut self) -> Result<Vec<(RelationId, u64)>> {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        self.tell(Request::Inspect { reply });
        let limit = self.time.now() + super::SETTLED_WITHIN;
        while self.time.now() < limit {
            self.pass(10_000).await?;
            if let Ok(inspection) = answer.try_recv() {
                let bytes = |facts: &weir::coordinator::request::RelationFacts| {
                    (RelationId(facts.id), facts.state.iter().map(|state| state.stats().bytes as u64).sum())
                };
                return Ok(inspection.relations.iter().map(bytes).collect());
            }
        }
        Err("nobody says what there is".into())
    }
}
