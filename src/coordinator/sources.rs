//! The sources: those that run, and where each of them stands.

use crate::connector::{Changes, Event, Position, Source, State, Status, Waiting};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_sql::Error;
use weir_sql::catalog::RelationId;
use weir_storage::publish::Durable;

/// A source that runs.
struct Attached {
    source: Arc<dyn Source>,
    /// What has been handed over up to the last closed epoch.
    position: Position,
}

/// What all sources hand over when an epoch closes.
#[derive(Default)]
pub struct Taken {
    pub changes: Vec<(RelationId, Changes)>,
    pub events: Vec<Event>,
    /// Some position did.
    pub moved: bool,
}

/// By the id of their object.
pub struct Sources {
    attached: BTreeMap<u32, Attached>,
    /// Of those that do not run (yet).
    positions: BTreeMap<u32, Position>,
}

impl Sources {
    /// None runs yet; `positions` are a manifest's.
    pub fn new(positions: &BTreeMap<u32, serde_json::Value>) -> Self {
        let positions = positions.iter().map(|(id, position)| (*id, Position(position.clone()))).collect();
        Self { attached: BTreeMap::new(), positions }
    }

    /// A source runs from `position` on.
    pub fn attach(&mut self, id: u32, source: Arc<dyn Source>, position: Position) {
        self.positions.remove(&id);
        self.attached.insert(id, Attached { source, position });
    }

    /// Where a source is going to begin.
    pub fn place(&mut self, id: u32, position: Position) {
        self.positions.insert(id, position);
    }

    /// Of one that does not run.
    pub fn position(&self, id: u32) -> Option<Position> {
        self.positions.get(&id).cloned()
    }

    /// It does not run any more, and stays where it is.
    pub fn pause(&mut self, id: u32) -> Option<Arc<dyn Source>> {
        let attached = self.attached.remove(&id)?;
        self.positions.insert(id, attached.position);
        Some(attached.source)
    }

    /// It is gone, and its position with it.
    pub fn detach(&mut self, id: u32) -> Option<Arc<dyn Source>> {
        self.positions.remove(&id);
        self.attached.remove(&id).map(|attached| attached.source)
    }

    pub fn running(&self, id: u32) -> Option<Arc<dyn Source>> {
        self.attached.get(&id).map(|attached| attached.source.clone())
    }

    pub fn waiting(&self) -> Waiting {
        let waiting = self.attached.values().map(|attached| attached.source.waiting());
        waiting.fold(Waiting::default(), |all, one| Waiting {
            rows: all.rows + one.rows,
            bytes: all.bytes + one.bytes,
            moved: all.moved | one.moved,
        })
    }

    /// Begins to fold beside the loop what takes long. Whether less waits by that.
    pub fn set_aside(&self) -> bool {
        self.attached.values().fold(false, |any, attached| attached.source.set_aside() | any)
    }

    /// Everything whole that waits (I1).
    pub fn take(&mut self) -> Taken {
        let mut taken = Taken::default();
        for attached in self.attached.values_mut() {
            let Some(batch) = attached.source.take() else { continue };
            taken.moved |= attached.position != batch.position;
            attached.position = batch.position;
            taken.changes.extend(batch.tables);
            taken.events.extend(batch.events);
        }
        taken
    }

    /// Of all of them, as a manifest says it.
    pub fn positions(&self) -> BTreeMap<u32, serde_json::Value> {
        let running = self.attached.iter().map(|(id, attached)| (*id, &attached.position));
        self.positions
            .iter()
            .map(|(id, position)| (*id, position))
            .chain(running)
            .map(|(id, p)| (id, p.0.clone()))
            .collect()
    }

    /// Upstream may forget what came before the `positions` of the manifest that `proof` stands for, of sources whose tables it holds
    /// `whole` (I7).
    pub fn acknowledge(
        &self,
        proof: &Durable,
        positions: &BTreeMap<u32, serde_json::Value>,
        whole: impl Fn(u32) -> bool,
    ) {
        for (id, attached) in &self.attached {
            if let Some(position) = positions.get(id)
                && whole(*id)
            {
                attached.source.acknowledge(proof, &Position(position.clone()));
            }
        }
    }

    /// Of those that run.
    pub fn statuses(&self) -> impl Iterator<Item = (u32, Status)> {
        self.attached.iter().map(|(id, attached)| (*id, attached.source.status()))
    }

    /// Those that run no further without an operator, with what whoever waits for them is told.
    pub fn stopped(&self) -> Vec<(u32, Error)> {
        let stopped = |(id, status): (u32, Status)| match status.state {
            State::Stopped { name, reason, remedy } => {
                let error = Error::new("55000", format!("the source has stopped ({name}): {reason}"));
                Some((id, error.hint(&remedy)))
            }
            State::Connecting | State::Running { .. } | State::Retrying { .. } => None,
        };
        self.statuses().filter_map(stopped).collect()
    }

    /// Positions stay; what is not acknowledged is sent again to the next start.
    pub async fn stop(&self) {
        for attached in self.attached.values() {
            attached.source.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::{Batch, Subscription};
    use async_trait::async_trait;
    use serde_json::json;
    use std::sync::Mutex;
    use weir_sql::Result;

    /// Hands over what it is given.
    #[derive(Default)]
    struct Given(Mutex<Option<Batch>>);

    impl Given {
        fn give(&self, position: u64, events: Vec<Event>) {
            let position = Position(json!(position));
            let batch = Batch { position, tables: vec![], events, committed_at: None };
            *self.0.lock().expect("nobody panics") = Some(batch);
        }
    }

    #[async_trait]
    impl Source for Given {
        fn waiting(&self) -> Waiting {
            let is_there = self.0.lock().expect("nobody panics").is_some();
            Waiting { rows: usize::from(is_there), bytes: 10 * usize::from(is_there), moved: is_there }
        }

        fn take(&self) -> Option<Batch> {
            self.0.lock().expect("nobody panics").take()
        }

        fn acknowledge(&self, _: &Durable, _: &Position) {}

        fn status(&self) -> Status {
            Status::displaced("it was moved".into(), "move it back")
        }

        async fn subscribe(&self, _: Subscription) -> Result<()> {
            Ok(())
        }

        async fn resnapshot(&self, _: RelationId) -> Result<()> {
            Ok(())
        }

        async fn unsubscribe(&self, _: RelationId) {}

        async fn stop(&self) {}
    }

    #[test]
    fn a_manifest_has_the_position_of_every_source_as_of_what_was_taken() {
        let mut sources = Sources::new(&BTreeMap::from([(1, json!(10)), (2, json!(20))]));
        let (one, other) = (Arc::new(Given::default()), Arc::new(Given::default()));
        let positions = |sources: &Sources| sources.positions().into_values().collect::<Vec<_>>();
        sources.attach(1, one.clone(), Position(json!(10)));
        assert_eq!(sources.waiting(), Waiting::default());
        assert!(!sources.take().moved);
        one.give(11, vec![Event::Consistent(RelationId(5))]);
        assert_eq!(sources.waiting(), Waiting { rows: 1, bytes: 10, moved: true });
        assert_eq!(positions(&sources), [10, 20], "not taken yet");
        let taken = sources.take();
        assert!(taken.moved && taken.events.len() == 1);
        assert_eq!(positions(&sources), [11, 20]);
        sources.attach(2, other.clone(), Position(json!(20)));
        one.give(11, vec![]);
        other.give(20, vec![Event::Consistent(RelationId(6))]);
        let taken = sources.take();
        assert!(!taken.moved && taken.events.len() == 1, "something happened where they stand");
    }

    #[test]
    fn a_source_that_is_paused_keeps_its_position_and_one_that_is_detached_does_not() {
        let mut sources = Sources::new(&BTreeMap::from([(1, json!(10))]));
        let source = Arc::new(Given::default());
        assert!(sources.pause(1).is_none() && sources.running(1).is_none());
        sources.attach(1, source.clone(), Position(json!(10)));
        assert_eq!(sources.position(1), None, "it runs");
        assert!(sources.running(1).is_some());
        source.give(12, vec![]);
        sources.take();
        assert!(sources.pause(1).is_some());
        assert_eq!(sources.position(1), Some(Position(json!(12))));
        assert_eq!(sources.positions(), BTreeMap::from([(1, json!(12))]));
        sources.attach(1, source, Position(json!(12)));
        assert!(sources.detach(1).is_some());
        assert_eq!((sources.position(1), sources.positions().len()), (None, 0));
    }

    #[test]
    fn whoever_waits_for_a_source_that_has_stopped_is_told_why() {
        let mut sources = Sources::new(&BTreeMap::new());
        assert_eq!(sources.stopped(), []);
        sources.attach(1, Arc::new(Given::default()), Position(json!(1)));
        let [(1, error)] = &sources.stopped()[..] else { panic!("one has stopped") };
        assert_eq!(error.message, "the source has stopped (other_place): it was moved");
        assert_eq!(error.hint.as_deref(), Some("move it back"));
    }
}
