//! Checkpoints: what the next one is wanted for, which one is under way, and what the last one holds; and when the store is asked whether
//! it is still ours.
//!
//! A value: it is told what happens, and says what is to be done. One checkpoint is under way at a time: what it says is frozen when it
//! begins ([`Checkpoints::begin`]), it is made (`checkpoint`, beside the loop) once everything it waits for is there
//! ([`Checkpoints::ready`]), and it counts when its manifest is published ([`Checkpoints::published`]).

use super::checkpoint::Draft;
use super::ledger::{Awaited, Ledger, Sealed, Seen};
use super::pace::{Close, Wanted};
use super::replacement::Replacement;
use super::request;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::manifest::Manifest;

/// How often an owner with nothing to publish looks whether it still owns the store, microseconds.
pub const CONFIRM_US: u64 = 3_000_000;

/// How long a checkpoint waits for views that kept up until the last one, once the base tables are there. Then they count as behind:
/// it holds them where they stopped last, and continues.
const PATIENCE_US: u64 = 100_000;

/// Checkpoints remembered for rw_checkpoints.
const REMEMBERED: usize = 100;

/// Times are monotonic microseconds.
pub struct Checkpoints {
    /// The last one's epoch.
    durable: Epoch,
    /// Changes of the catalog so far, and how many of them the last one holds.
    edits: u64,
    durable_edit: u64,
    /// Something has changed since the last one began.
    changed: bool,
    /// A position has moved since the last one began.
    moved: bool,
    /// Runs merged since the last one began.
    merged: Vec<Replacement>,
    under_way: Option<Stage>,
    /// The store is being asked whether it is still ours.
    confirming: bool,
    confirmed_at: u64,
    /// The newest first.
    remembered: VecDeque<request::Checkpoint>,
}

/// How far the one under way has come.
enum Stage {
    /// Its epoch is closed, and not reached by every base table yet.
    Sealing(Box<Sealing>),
    /// It is being uploaded.
    Publishing { edit: u64, sealed: Sealed },
}

struct Sealing {
    draft: Draft,
    relations: Vec<RelationId>,
    edit: u64,
    /// For them no change log is kept.
    failed_views: BTreeSet<RelationId>,
    /// A table that had not reached it when somebody looked last.
    table: Option<RelationId>,
    /// Views are waited for until then.
    patience: Option<u64>,
}

/// What a checkpoint is going to say of relations.
pub struct Content {
    pub draft: Draft,
    /// How far it holds each of them.
    pub sealed: Sealed,
    /// Those of which it says what the last one did.
    pub kept: Vec<RelationId>,
    /// From where on change logs are needed.
    pub needed: BTreeMap<RelationId, Epoch>,
}

impl Checkpoints {
    /// `durable` is the epoch of the one that a start found, at `now`.
    pub fn new(durable: Epoch, now: u64) -> Self {
        Self {
            durable,
            edits: 0,
            durable_edit: 0,
            changed: false,
            moved: false,
            merged: vec![],
            under_way: None,
            confirming: false,
            confirmed_at: now,
            remembered: VecDeque::new(),
        }
    }

    pub fn durable(&self) -> Epoch {
        self.durable
    }

    /// Of the catalog's changes, the last one that is durable.
    pub fn durable_edit(&self) -> u64 {
        self.durable_edit
    }

    /// The number of the catalog's last change.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    /// The catalog has changed.
    pub fn edited(&mut self) {
        self.edits += 1;
        self.changed = true;
    }

    /// Something has, of which the next one has to tell.
    pub fn change(&mut self) {
        self.changed = true;
    }

    /// A position has moved.
    pub fn move_on(&mut self) {
        self.moved = true;
    }

    /// Runs were merged. What they replace is garbage only when a manifest says so, also at rest.
    pub fn merged(&mut self, replacements: Vec<Replacement>) {
        self.changed |= !replacements.is_empty();
        self.merged.extend(replacements);
    }

    /// Whether everything that was merged is told of by the one under way or one before.
    pub fn all_told(&self) -> bool {
        self.merged.is_empty()
    }

    /// Whether there is something that neither the last one nor the one under way holds.
    pub fn is_behind(&self) -> bool {
        self.changed || self.moved
    }

    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    fn is_publishing(&self) -> bool {
        matches!(self.under_way, Some(Stage::Publishing { .. }))
    }

    /// Why another one could be wanted. `asked`: somebody waits for it.
    pub fn wanted(&self, asked: bool) -> Wanted {
        Wanted { changed: self.changed, moved: self.moved, asked }
    }

    /// Freezes what the next one says: `draft`, of `relations`. For `failed_views` it keeps no change log.
    pub fn begin(&mut self, draft: Draft, relations: Vec<RelationId>, failed_views: BTreeSet<RelationId>) {
        let draft = Draft { merged: std::mem::take(&mut self.merged), ..draft };
        let sealing = Sealing { draft, relations, edit: self.edits, failed_views, table: None, patience: None };
        self.under_way = Some(Stage::Sealing(Box::new(sealing)));
        (self.changed, self.moved) = (false, false);
    }

    /// Whether every base table has reached the epoch of the one that has begun, and views that kept up so far have had their moment to
    /// reach it too. [`Close::At`]: only time is missing.
    pub fn ready(&mut self, now: u64, ledger: &Ledger, seen: &impl Seen) -> Close {
        let Some(Stage::Sealing(sealing)) = &mut self.under_way else { return Close::Wait };
        let epoch = sealing.draft.epoch;
        // There may be thousands, and this is asked at every turn.
        if sealing.table.is_some_and(|id| ledger.is_late(id, epoch, seen)) {
            return Close::Wait;
        }
        match ledger.awaited(&sealing.relations, epoch, self.durable, seen) {
            Awaited::Table(id) => {
                sealing.table = Some(id);
                Close::Wait
            }
            Awaited::View => {
                let until = *sealing.patience.get_or_insert(now + PATIENCE_US);
                if now < until { Close::At(until) } else { Close::Now }
            }
            Awaited::Nobody => Close::Now,
        }
    }

    /// The one that has begun waits for nobody any more: what it says. From here on it is being published.
    pub fn seal(&mut self, ledger: &Ledger, seen: &impl Seen) -> Option<Content> {
        let stage = self.under_way.take_if(|stage| matches!(stage, Stage::Sealing(_)));
        let Some(Stage::Sealing(sealing)) = stage else { return None };
        let Sealing { draft, relations, edit, failed_views, .. } = *sealing;
        let sealed = ledger.seal(&relations, draft.epoch, seen);
        let needed = ledger.needed(&sealed, &failed_views);
        let kept = relations.into_iter().filter(|id| !sealed.contains_key(id)).collect();
        self.under_way = Some(Stage::Publishing { edit, sealed: sealed.clone() });
        Some(Content { draft, sealed, kept, needed })
    }

    /// The one under way was not made, and nothing was written: what it was going to say, with what had been merged, is still to be said.
    pub fn unmade(&mut self, merged: Vec<Replacement>) {
        self.under_way = None;
        self.merged.splice(..0, merged);
        (self.changed, self.moved) = (true, true);
    }

    /// `manifest` is durable: how far it holds relations.
    pub fn published(&mut self, manifest: &Manifest, now: u64) -> Option<Sealed> {
        let stage = self.under_way.take_if(|stage| matches!(stage, Stage::Publishing { .. }));
        let Some(Stage::Publishing { edit, sealed }) = stage else { return None };
        (self.durable, self.durable_edit, self.confirmed_at) = (manifest.epoch, edit, now);
        self.remember(manifest);
        Some(sealed)
    }

    /// Relations that were behind and have come to the last one's epoch are to be durable there.
    pub fn follow_up(&mut self, ledger: &mut Ledger, seen: &impl Seen) {
        if !self.is_publishing() {
            self.changed |= ledger.followed_up(self.durable, seen);
        }
    }

    /// Whether to ask the store now if it still is ours (I9): also when idle, and not while a manifest asks.
    pub fn confirm(&mut self, now: u64) -> bool {
        let due = now >= self.confirmed_at + CONFIRM_US && !self.confirming && !self.is_publishing();
        if due {
            (self.confirming, self.confirmed_at) = (true, now);
        }
        due
    }

    /// It has answered.
    pub fn confirmed(&mut self) {
        self.confirming = false;
    }

    fn remember(&mut self, manifest: &Manifest) {
        self.remembered.truncate(REMEMBERED - 1);
        self.remembered.push_front(request::Checkpoint {
            epoch: manifest.epoch,
            generation: manifest.generation.0,
            committed_at: manifest.committed_at,
            duration_ms: manifest.duration_us as f64 / 1e3,
            bytes: manifest.uploaded_bytes,
            positions: serde_json::to_value(&manifest.positions).expect("positions are JSON"),
        });
    }

    /// The last ones, the newest first.
    pub fn remembered(&self) -> impl Iterator<Item = &request::Checkpoint> {
        self.remembered.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::ledger::Event;
    use crate::coordinator::rig::{TABLE, VIEW, epoch, ledger};
    use crate::coordinator::upload::InUse;
    use crate::dataflow::relations::Failure;
    use std::sync::Arc;
    use weir_sql::Error;
    use weir_storage::manifest::ArrangementId;

    /// What relations have reached.
    struct Uppers([u64; 2]);

    impl Seen for Uppers {
        fn upper(&self, id: RelationId) -> Epoch {
            epoch(self.0[id.0 as usize - 1])
        }

        fn readable_since(&self, _: RelationId) -> Epoch {
            Epoch::ZERO
        }

        fn stops_at(&self, _: RelationId, _: Epoch) -> bool {
            true
        }

        fn newest(&self, after: Epoch, to: Epoch, fit: impl Fn(Epoch) -> bool) -> Option<Epoch> {
            let checkpoint_epochs = (1..10).rev().map(|ten| epoch(ten * 10));
            checkpoint_epochs
                .filter(|candidate| *candidate > after && *candidate <= to)
                .find(|candidate| fit(*candidate))
        }
    }

    fn draft(at: u64) -> Draft {
        Draft {
            epoch: epoch(at),
            now: 0,
            positions: BTreeMap::new(),
            catalog: Arc::default(),
            parts: vec![],
            kept: vec![],
            still: BTreeSet::new(),
            merged: vec![],
            in_use: InUse::default(),
            began: 0,
        }
    }

    fn begin(checkpoints: &mut Checkpoints, at: u64) {
        checkpoints.begin(draft(at), vec![TABLE, VIEW], BTreeSet::new());
    }

    fn manifest(at: u64) -> Manifest {
        Manifest { epoch: epoch(at), duration_us: 1500, ..Manifest::default() }
    }

    /// One that says everything is published as of `at`.
    fn make(checkpoints: &mut Checkpoints, at: u64) {
        begin(checkpoints, at);
        checkpoints.seal(&ledger(), &Uppers([at, at])).expect("it has begun");
        checkpoints.published(&manifest(at), 0).expect("it is being published");
    }

    #[test]
    fn it_waits_for_tables_and_then_a_moment_for_views_that_kept_up() {
        let (mut checkpoints, ledger) = (Checkpoints::new(epoch(1), 0), ledger());
        assert_eq!(checkpoints.ready(4, &ledger, &Uppers([10, 10])), Close::Wait, "none has begun");
        begin(&mut checkpoints, 10);
        let until = 6 + PATIENCE_US;
        for (now, uppers, expected) in [
            (4, [9, 9], Close::Wait),
            (5, [9, 9], Close::Wait),
            (6, [10, 9], Close::At(until)),
            (7, [10, 9], Close::At(until)),
            (8, [10, 10], Close::Now),
            (until, [10, 9], Close::Now),
        ] {
            assert_eq!(checkpoints.ready(now, &ledger, &Uppers(uppers)), expected, "at {now}: {uppers:?}");
        }
        let content = checkpoints.seal(&ledger, &Uppers([10, 9])).expect("it has begun");
        assert_eq!(content.sealed, Sealed::from([(TABLE, epoch(10))]));
        assert_eq!((content.kept, content.needed), (vec![VIEW], Sealed::from([(TABLE, epoch(1))])));
        assert_eq!(checkpoints.ready(until, &ledger, &Uppers([10, 10])), Close::Wait, "it is being published");
        assert!(checkpoints.seal(&ledger, &Uppers([10, 10])).is_none());
        assert_eq!(checkpoints.published(&manifest(10), 0), Some(Sealed::from([(TABLE, epoch(10))])));
        assert_eq!(checkpoints.published(&manifest(10), 0), None);
        assert_eq!(checkpoints.durable(), epoch(10));
    }

    #[test]
    fn a_table_that_fails_meanwhile_is_not_waited_for() {
        let (mut checkpoints, mut ledger) = (Checkpoints::new(epoch(1), 0), ledger());
        begin(&mut checkpoints, 10);
        let uppers = Uppers([9, 10]);
        assert_eq!(checkpoints.ready(0, &ledger, &uppers), Close::Wait);
        let failure = Failure { of: TABLE, cause: Error::internal("an operator panicked") };
        ledger.step(TABLE, Event::Failed(failure));
        assert_eq!(checkpoints.ready(0, &ledger, &uppers), Close::Now);
    }

    #[test]
    fn what_changes_while_one_is_under_way_is_the_next_ones() {
        let mut checkpoints = Checkpoints::new(epoch(1), 0);
        let nothing = Wanted::default();
        assert_eq!(checkpoints.wanted(false), nothing);
        checkpoints.move_on();
        assert_eq!(checkpoints.wanted(false), Wanted { moved: true, ..nothing });
        checkpoints.edited();
        assert_eq!(checkpoints.wanted(true), Wanted { changed: true, moved: true, asked: true });
        begin(&mut checkpoints, 10);
        assert_eq!(checkpoints.wanted(false), nothing);
        assert!(checkpoints.is_under_way() && !checkpoints.is_behind());
        checkpoints.edited();
        checkpoints.seal(&ledger(), &Uppers([10, 10])).expect("it has begun");
        assert_eq!((checkpoints.durable(), checkpoints.durable_edit(), checkpoints.edits()), (epoch(1), 0, 2));
        checkpoints.published(&manifest(10), 0);
        assert_eq!((checkpoints.durable(), checkpoints.durable_edit(), checkpoints.edits()), (epoch(10), 1, 2));
        assert!(!checkpoints.is_under_way() && checkpoints.is_behind());
        make(&mut checkpoints, 20);
        assert_eq!((checkpoints.durable_edit(), checkpoints.wanted(false)), (2, nothing));
    }

    #[test]
    fn runs_that_were_merged_are_told_of_by_the_next_one() {
        let mut checkpoints = Checkpoints::new(epoch(1), 0);
        checkpoints.merged(vec![]);
        assert!(checkpoints.all_told() && !checkpoints.is_behind(), "nothing was");
        let replacement = |id| Replacement { id: ArrangementId(id), old: vec![], new: None };
        checkpoints.merged(vec![replacement(1), replacement(2)]);
        assert!(!checkpoints.all_told() && checkpoints.is_behind());
        begin(&mut checkpoints, 10);
        assert!(checkpoints.all_told());
        checkpoints.merged(vec![replacement(3)]);
        let content = checkpoints.seal(&ledger(), &Uppers([10, 10])).expect("it has begun");
        let told: Vec<u64> = content.draft.merged.iter().map(|merged| merged.id.0).collect();
        assert_eq!(told, [1, 2]);
        checkpoints.published(&manifest(10), 0);
        assert!(!checkpoints.all_told() && checkpoints.is_behind());
    }

    #[test]
    fn a_view_that_has_caught_up_makes_another_one_due() {
        let (mut checkpoints, mut ledger) = (Checkpoints::new(epoch(1), 0), ledger());
        begin(&mut checkpoints, 10);
        checkpoints.seal(&ledger, &Uppers([10, 9])).expect("it has begun");
        let sealed = checkpoints.published(&manifest(10), 0).expect("it is being published");
        ledger.published(epoch(10), &sealed);
        checkpoints.follow_up(&mut ledger, &Uppers([10, 9]));
        assert!(!checkpoints.is_behind());
        checkpoints.follow_up(&mut ledger, &Uppers([10, 10]));
        assert!(checkpoints.is_behind());
    }

    #[test]
    fn the_store_is_asked_whose_it_is_when_nothing_was_published_for_a_while() {
        let mut checkpoints = Checkpoints::new(epoch(1), 5);
        assert!(!checkpoints.confirm(4 + CONFIRM_US));
        assert!(checkpoints.confirm(5 + CONFIRM_US));
        assert!(!checkpoints.confirm(5 + 9 * CONFIRM_US), "it is being asked");
        checkpoints.confirmed();
        assert!(!checkpoints.confirm(4 + 2 * CONFIRM_US));
        begin(&mut checkpoints, 10);
        assert!(checkpoints.confirm(5 + 2 * CONFIRM_US), "the epoch is not there yet");
        checkpoints.confirmed();
        checkpoints.seal(&ledger(), &Uppers([10, 10])).expect("it has begun");
        assert!(!checkpoints.confirm(9 * CONFIRM_US), "publishing tells");
        checkpoints.published(&manifest(10), 9 * CONFIRM_US);
        assert!(!checkpoints.confirm(10 * CONFIRM_US - 1));
        assert!(checkpoints.confirm(10 * CONFIRM_US));
    }

    #[test]
    fn the_last_hundred_are_remembered_the_newest_first() {
        let mut checkpoints = Checkpoints::new(epoch(1), 0);
        (1..=REMEMBERED as u64 + 5).for_each(|at| make(&mut checkpoints, at * 10));
        let remembered: Vec<_> = checkpoints.remembered().collect();
        assert_eq!(remembered.len(), REMEMBERED);
        assert_eq!((remembered[0].epoch, remembered[0].duration_ms), (epoch(1050), 1.5));
        assert_eq!(remembered[99].epoch, epoch(60));
    }
}
