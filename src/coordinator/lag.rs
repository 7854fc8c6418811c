//! Views that are far behind: how far each has been given the history that the store has for it.
//!
//! What a view has not taken yet waits in its queues. When that passes the limit, the view is *detached*: its queues keep what leads
//! to one checkpoint epoch and nothing later, since the runs of its parents have it anyway. Once the view has come there, the next
//! range is read from the store, and so on, until a range ends where its parents' memory begins: then it is attached again.
//!
//! What the store keeps for it has a limit as well. Beyond that the view is *suspended*, with all views that read it: its history is
//! released, it is rebuilt from its parents like a new view, and until it is there it is read as of where it was suspended. A
//! start does the same to a view whose history is gone, and so is one whose history turns out to be damaged.
//!
//! A value that says what is to be done; `log_range` does it. Nothing of this touches sources, checkpoints or other views.

use super::ledger::Ledger;
use crate::catalog::{Catalog, Object};
use crate::dataflow::relations::{Readable, Relations};
use crate::dataflow::steps::readable_at_or_after;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::manifest::Manifest;
use weir_storage::run::Run;

/// Bytes in memory of a byte in a run, roughly.
const UNPACKED: u64 = 4;

/// What is known of relations, in memory and in the store.
pub struct Facts<'a> {
    pub relations: &'a Relations,
    pub ledger: &'a Ledger,
    /// The last one.
    pub manifest: &'a Manifest,
    pub catalog: &'a Catalog,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// A view that has failed takes nothing any more: nothing is kept for it.
    LetGo { id: RelationId },
    /// Nothing is kept for a view that comes after this epoch. It goes no further by itself.
    Detach { id: RelationId, after: Epoch },
    /// What `parents` changed by in `(after, to]` is to be read for a view.
    Read { id: RelationId, parents: Vec<RelationId>, after: Epoch, to: Epoch },
}

/// A view whose history after `at` is in the store.
struct Detached {
    at: Epoch,
    /// The end of the range that is being read.
    reading: Option<Epoch>,
}

pub struct Lagging {
    /// Bytes of changes kept in memory for one view.
    history_limit: usize,
    /// Bytes of changes kept in the store for one view.
    lag_limit: u64,
    detached: BTreeMap<RelationId, Detached>,
}

impl Lagging {
    pub fn new(history_limit: usize, lag_limit: u64) -> Self {
        Self { history_limit, lag_limit, detached: BTreeMap::new() }
    }

    pub fn is_detached(&self, id: RelationId) -> bool {
        self.detached.contains_key(&id)
    }

    /// Its dataflow ends.
    pub fn forget(&mut self, id: RelationId) {
        self.detached.remove(&id);
    }

    /// Detaches views whose history has grown too large, and reads on for those that are detached. Where a view is cut it stops, by its
    /// steps, from here on: workers choose them meanwhile.
    pub fn tend(&mut self, facts: &Facts<'_>) -> Vec<Action> {
        let mut actions = self.let_go(facts);
        for relation in facts.relations.over(self.history_limit) {
            let id = relation.id;
            if relation.has_failed() || self.detached.contains_key(&id) {
                continue;
            }
            // What comes after it is going to be read from the store, which does not tell apart what was before a portion and after it.
            let backfilled_at = facts.ledger.backfilled_at(id);
            let cut = relation.steps.limit(&relation.parents, &facts.relations.checkpoint_epochs, |candidate| {
                candidate >= backfilled_at && are_cut(facts.ledger, &relation.parents, candidate)
            });
            let Some(cut) = cut else { continue };
            self.detached.insert(id, Detached { at: cut, reading: None });
            actions.push(Action::Detach { id, after: cut });
        }
        let ids: Vec<RelationId> = self.detached.keys().copied().collect();
        actions.extend(ids.into_iter().filter_map(|id| self.read_on(id, facts)));
        actions
    }

    /// Views that have failed and for which something is kept in memory or would be read: for them checkpoints keep no change log.
    fn let_go(&mut self, facts: &Facts<'_>) -> Vec<Action> {
        let detached = self.detached.keys().filter_map(|id| facts.relations.get(*id));
        let with_much = facts.relations.over(self.history_limit);
        let failed: BTreeSet<RelationId> =
            with_much.into_iter().chain(detached).filter(|relation| relation.has_failed()).map(|it| it.id).collect();
        let is_new = |id: &RelationId| self.detached.get(id).is_none_or(|detached| detached.at != Epoch::NEVER);
        let failed: Vec<RelationId> = failed.into_iter().filter(is_new).collect();
        for id in &failed {
            self.detached.insert(*id, Detached { at: Epoch::NEVER, reading: None });
        }
        failed.into_iter().map(|id| Action::LetGo { id }).collect()
    }

    /// The next range, if the view has come to the end of the last and there is one.
    fn read_on(&mut self, id: RelationId, facts: &Facts<'_>) -> Option<Action> {
        let Some(relation) = facts.relations.get(id) else {
            self.detached.remove(&id);
            return None;
        };
        let detached = self.detached.get_mut(&id).filter(|d| d.reading.is_none())?;
        if relation.upper() < detached.at {
            return None;
        }
        let sealed = relation.parents.iter().filter_map(|p| facts.ledger.get(p.id)).map(|parent| parent.sealed());
        let newest = sealed.min()?;
        let parents: Vec<RelationId> = relation.parents.iter().map(|parent| parent.id).collect();
        let objects = parents.iter().filter_map(|id| facts.catalog.get(id.0));
        let runs: Vec<&Run> = objects.flat_map(|object| log_runs(facts.manifest, object)).collect();
        let (after, checkpoint_epochs) = (detached.at, &facts.relations.checkpoint_epochs);
        let stops = |candidate| {
            readable_at_or_after(candidate, &relation.parents) == candidate
                && are_cut(facts.ledger, &relation.parents, candidate)
        };
        let fits = |candidate| {
            let within = runs.iter().filter(|run| run.to > after && run.after < candidate);
            within.map(|run| run.length * UNPACKED).sum::<u64>() <= self.history_limit as u64
        };
        let to = checkpoint_epochs.newest(after, newest, |candidate| stops(candidate) && fits(candidate));
        let next = || checkpoint_epochs.oldest(after.next(), stops).filter(|candidate| *candidate <= newest);
        let to = to.or_else(next)?;
        detached.reading = Some(to);
        Some(Action::Read { id, parents, after, to })
    }

    /// Whether the range up to `to` is being read for a view as it is now, and not for it before it was rebuilt.
    pub fn awaits(&self, id: RelationId, to: Epoch) -> bool {
        self.detached.get(&id).is_some_and(|detached| detached.reading == Some(to))
    }

    /// The range could not be read: once more.
    pub fn again(&mut self, id: RelationId) {
        if let Some(detached) = self.detached.get_mut(&id) {
            detached.reading = None;
        }
    }

    /// The range that was awaited is there, up to `to`. Whether the view is attached with it.
    pub fn came(&mut self, view: &Readable, to: Epoch, ledger: &Ledger) -> bool {
        // Memory holds what came after the last checkpoint.
        let attach = view.parents.iter().all(|p| ledger.get(p.id).is_some_and(|p| p.sealed() == to));
        if attach {
            self.detached.remove(&view.id);
        } else {
            self.detached.insert(view.id, Detached { at: to, reading: None });
        }
        attach
    }

    /// Views for which the store keeps too much.
    pub fn too_far(&self, facts: &Facts<'_>) -> Vec<RelationId> {
        let too_much = |id: &&RelationId| {
            let Some(view) = facts.ledger.get(**id).filter(|view| view.is_live()) else { return false };
            let parents = view.reads().iter().filter_map(|parent| facts.catalog.get(parent.0));
            let kept = parents
                .flat_map(|parent| log_runs(facts.manifest, parent))
                .filter(|run| run.to > view.resumable_from());
            kept.map(|run| run.length).sum::<u64>() > self.lag_limit
        };
        self.detached.keys().filter(too_much).copied().collect()
    }
}

/// Runs of a relation's change log.
fn log_runs<'a>(manifest: &'a Manifest, object: &'a Object) -> impl Iterator<Item = &'a Run> {
    let log = object.roles().map(|roles| roles.log().map(|id| *id));
    let states = log.into_iter().flatten().filter_map(|id| manifest.arrangements.get(&id));
    states.flat_map(|state| &state.runs)
}

/// Whether the change logs of all `parents` in the store can be cut at `epoch`.
fn are_cut(ledger: &Ledger, parents: &[Arc<Readable>], epoch: Epoch) -> bool {
    parents.iter().all(|parent| ledger.is_cut(parent.id, epoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{self, Body, TableBody};
    use crate::coordinator::ledger::{Backfilled, Entry, Kind, Life, Sealed};
    use crate::coordinator::rig::{TABLE, VIEW, columns, epoch, ledger, relations};
    use crate::dataflow::relations::Failure;
    use weir_sql::Error;
    use weir_storage::key::Portion;
    use weir_storage::manifest::{ArrangementId, State};

    const ROWS: ArrangementId = ArrangementId(10);
    const ERRORS: ArrangementId = ArrangementId(11);

    /// Bytes in the store between the checkpoint epochs 0, 10, 20, 30, 40 and 50.
    type Lengths = [u64; 5];

    /// The table is sealed at every tenth epoch up to 50. The view stands at 12.
    struct World {
        relations: Relations,
        ledger: Ledger,
        manifest: Manifest,
        catalog: Catalog,
        view: Arc<Readable>,
    }

    impl World {
        fn new(lengths: Lengths) -> Self {
            let (relations, mut ledger) = (relations(55, 12), ledger());
            let view = relations.get(VIEW).expect("it is there");
            for candidate in (10..=50).step_by(10).map(epoch) {
                relations.checkpoint_epochs.push(candidate);
                ledger.published(candidate, &Sealed::from([(TABLE, candidate)]));
            }
            let mut state = State { upper: epoch(50), ..State::default() };
            state.runs.extend((0..).zip(lengths).map(|(at, length)| Run {
                object: "one".into(),
                offset: 0,
                length,
                after: epoch(at * 10),
                to: epoch(at * 10 + 10),
                rows: 1,
                vnodes: (0, 255),
            }));
            let mut manifest = Manifest { epoch: epoch(50), ..Manifest::default() };
            manifest.arrangements.insert(ROWS, state);
            let table = Object {
                id: TABLE.0,
                name: "t".into(),
                life: catalog::Life::Live,
                definition: String::new(),
                created_at: 0,
                body: Body::Table(TableBody {
                    columns: columns(),
                    key: None,
                    arrangements: vec![ROWS, ERRORS],
                    upstream: None,
                    stopped: None,
                }),
            };
            let mut catalog = Catalog::default();
            catalog.objects.insert(TABLE.0, table.into());
            Self { relations, ledger, manifest, catalog, view }
        }

        fn facts(&self) -> Facts<'_> {
            let Self { relations, ledger, manifest, catalog, .. } = self;
            Facts { relations, ledger, manifest, catalog }
        }
    }

    fn detach(after: u64) -> Vec<Action> {
        vec![Action::Detach { id: VIEW, after: epoch(after) }]
    }

    fn read(after: u64, to: u64) -> Vec<Action> {
        vec![Action::Read { id: VIEW, parents: vec![TABLE], after: epoch(after), to: epoch(to) }]
    }

    #[test]
    fn a_view_with_much_history_is_cut_and_given_it_in_pieces_that_fit_until_memory_has_the_rest() {
        let world = World::new([50, 50, 50, 150, 300]);
        let mut lagging = Lagging::new(1000, u64::MAX);
        world.view.history.add(1000);
        assert_eq!(lagging.tend(&world.facts()), [], "it is not too much");
        world.view.history.add(1);
        assert_eq!(lagging.tend(&world.facts()), detach(20), "where it can stop first");
        assert!(lagging.is_detached(VIEW) && !lagging.is_detached(TABLE));
        assert_eq!(lagging.tend(&world.facts()), [], "it has yet to come there");
        world.view.reach(0, epoch(20));
        assert_eq!(lagging.tend(&world.facts()), read(20, 40), "800 bytes in memory");
        assert_eq!(lagging.tend(&world.facts()), [], "it is being read");
        assert!(lagging.awaits(VIEW, epoch(40)) && !lagging.awaits(VIEW, epoch(30)));
        lagging.again(VIEW);
        assert!(!lagging.awaits(VIEW, epoch(40)));
        assert_eq!(lagging.tend(&world.facts()), read(20, 40));
        assert!(!lagging.came(&world.view, epoch(40), &world.ledger), "the table is sealed at 50");
        assert!(lagging.is_detached(VIEW) && !lagging.awaits(VIEW, epoch(40)));
        assert_eq!(lagging.tend(&world.facts()), []);
        world.view.reach(0, epoch(40));
        assert_eq!(lagging.tend(&world.facts()), read(40, 50), "too large, and there is no smaller piece");
        assert!(lagging.came(&world.view, epoch(50), &world.ledger));
        assert!(!lagging.is_detached(VIEW));
    }

    #[test]
    fn a_view_is_not_cut_before_what_it_has_been_given_counts() {
        let mut world = World::new([50; 5]);
        world.ledger.give(VIEW, Backfilled::up_to(Portion::new(0, 4), epoch(31)));
        world.view.history.add(2000);
        assert_eq!(Lagging::new(1000, u64::MAX).tend(&world.facts()), detach(40));
    }

    #[test]
    fn a_view_stays_as_it_is_while_its_parents_cannot_be_cut() {
        let mut world = World::new([50; 5]);
        world.ledger.forget(TABLE);
        world.view.history.add(2000);
        let mut lagging = Lagging::new(1000, u64::MAX);
        assert_eq!(lagging.tend(&world.facts()), []);
        assert!(!lagging.is_detached(VIEW));
    }

    #[test]
    fn for_a_view_that_has_failed_nothing_is_kept_and_nothing_read() {
        let world = World::new([50; 5]);
        world.view.fail(Failure { of: VIEW, cause: Error::internal("an operator panicked") });
        world.view.history.add(2000);
        let mut lagging = Lagging::new(1000, u64::MAX);
        assert_eq!(lagging.tend(&world.facts()), [Action::LetGo { id: VIEW }]);
        assert_eq!(lagging.tend(&world.facts()), []);
    }

    #[test]
    fn for_a_view_that_fails_between_two_ranges_no_other_is_read() {
        let world = World::new([50, 50, 50, 150, 300]);
        world.view.history.add(2000);
        let mut lagging = Lagging::new(1000, u64::MAX);
        assert_eq!(lagging.tend(&world.facts()), detach(20));
        world.view.reach(0, epoch(20));
        assert_eq!(lagging.tend(&world.facts()), read(20, 40));
        world.view.fail(Failure { of: VIEW, cause: Error::internal("it cannot be sealed") });
        assert_eq!(lagging.tend(&world.facts()), [Action::LetGo { id: VIEW }]);
        assert!(!lagging.awaits(VIEW, epoch(40)), "what is being read comes to nobody");
        world.view.reach(0, epoch(40));
        assert_eq!(lagging.tend(&world.facts()), []);
    }

    #[test]
    fn what_is_gone_or_built_anew_is_not_read_for() {
        let world = World::new([50; 5]);
        world.view.history.add(2000);
        let mut lagging = Lagging::new(1000, u64::MAX);
        assert_eq!(lagging.tend(&world.facts()), detach(20));
        world.view.reach(0, epoch(20));
        assert_eq!(lagging.tend(&world.facts()), read(20, 50));
        lagging.forget(VIEW);
        assert!(!lagging.awaits(VIEW, epoch(50)) && !lagging.is_detached(VIEW));
        lagging.again(VIEW);
        assert!(!lagging.is_detached(VIEW));
        let both: Vec<Action> = detach(20).into_iter().chain(read(20, 50)).collect();
        assert_eq!(lagging.tend(&world.facts()), both);
        world.relations.remove(VIEW);
        assert_eq!(lagging.tend(&world.facts()), []);
        assert!(!lagging.is_detached(VIEW));
    }

    /// Bytes in the store since the view was built, and its life -> whether it is given up.
    #[test]
    fn a_live_view_for_which_the_store_keeps_too_much_is_too_far_behind() {
        for (lengths, life, is_detached, too_far) in [
            ([50; 5], Life::Live, true, vec![]),
            ([51; 5], Life::Live, true, vec![VIEW]),
            ([51; 5], Life::Live, false, vec![]),
            ([51; 5], Life::Creating, true, vec![]),
            ([51; 5], Life::Suspended, true, vec![]),
        ] {
            let mut world = World::new(lengths);
            let mut lagging = Lagging::new(1000, 250);
            if is_detached {
                world.view.history.add(2000);
                assert_eq!(lagging.tend(&world.facts()), detach(20));
            }
            world.ledger.forget(VIEW);
            let entry = Entry::new(Kind::View, vec![TABLE], epoch(1)).found(life.clone(), Epoch::ZERO, false);
            world.ledger.enter(VIEW, entry);
            assert_eq!(lagging.too_far(&world.facts()), too_far, "{lengths:?} {life:?} detached {is_detached}");
        }
        // What came before it was built is not kept for it.
        let mut world = World::new([200, 200, 200, 125, 125]);
        world.view.history.add(2000);
        let mut lagging = Lagging::new(1000, 250);
        lagging.tend(&world.facts());
        assert_eq!(lagging.too_far(&world.facts()), [VIEW]);
        let entry = Entry::new(Kind::View, vec![TABLE], epoch(30)).found(Life::Live, Epoch::ZERO, false);
        world.ledger.forget(VIEW);
        world.ledger.enter(VIEW, entry);
        assert_eq!(lagging.too_far(&world.facts()), []);
    }
}
