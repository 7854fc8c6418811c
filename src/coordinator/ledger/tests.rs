//! The ledger by tables of cases: a table, two views over it, and one over both.

use super::*;
use crate::dataflow::relations::Failure;
use std::collections::BTreeSet;
use weir_sql::Error;
use weir_sql::catalog::RelationId;
use weir_storage::Epoch;
use weir_storage::key::Portion;

/// Table 1, views 2 and 3 over it, view 4 over 2 and 3.
const TABLE: RelationId = RelationId(1);
const LEFT: RelationId = RelationId(2);
const RIGHT: RelationId = RelationId(3);
const TOP: RelationId = RelationId(4);
const SOURCE: u32 = 9;

fn epoch(raw: u64) -> Epoch {
    Epoch::from_u64(raw)
}

fn failure(of: RelationId) -> Failure {
    Failure { of, cause: Error::internal("an operator panicked") }
}

fn held(to: &[(RelationId, u64)]) -> Sealed {
    to.iter().map(|(id, to)| (*id, epoch(*to))).collect()
}

/// Everything live and built as of epoch 1.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    for (id, reads) in [(TABLE, vec![]), (LEFT, vec![TABLE]), (RIGHT, vec![TABLE]), (TOP, vec![LEFT, RIGHT])] {
        let kind = if id == TABLE { Kind::Table { source: Some(SOURCE) } } else { Kind::View };
        ledger.enter(id, Entry::new(kind, reads, epoch(1)).found(Life::Live, Epoch::ZERO, false));
    }
    ledger
}

/// Workers that have come so far; every tenth epoch is one of a checkpoint.
#[derive(Default)]
struct Workers {
    uppers: Sealed,
    readable_since: Sealed,
    /// Passed over in a jump.
    passed: Vec<(RelationId, Epoch)>,
}

impl Workers {
    fn at(uppers: &[(RelationId, u64)]) -> Self {
        Self { uppers: held(uppers), ..Self::default() }
    }
}

impl Seen for Workers {
    fn upper(&self, id: RelationId) -> Epoch {
        self.uppers.get(&id).copied().unwrap_or(Epoch::ZERO)
    }

    fn readable_since(&self, id: RelationId) -> Epoch {
        self.readable_since.get(&id).copied().unwrap_or(Epoch::ZERO)
    }

    fn stops_at(&self, id: RelationId, candidate: Epoch) -> bool {
        !self.passed.contains(&(id, candidate))
    }

    fn newest(&self, after: Epoch, to: Epoch, fit: impl Fn(Epoch) -> bool) -> Option<Epoch> {
        let checkpoint_epochs = (0..10).rev().map(|ten| epoch(ten * 10));
        checkpoint_epochs.filter(|candidate| *candidate > after && *candidate <= to).find(|candidate| fit(*candidate))
    }
}

const ALL: [RelationId; 4] = [TABLE, LEFT, RIGHT, TOP];

/// A checkpoint of `at` is published over a ledger whose relations have come so far; returns how far it holds them.
fn checkpoint(ledger: &mut Ledger, at: u64, workers: &Workers) -> Sealed {
    let sealed = ledger.seal(&ledger.included().0, epoch(at), workers);
    assert_eq!(ledger.published(epoch(at), &sealed), []);
    sealed
}

#[test]
fn a_checkpoint_holds_views_where_they_and_their_parents_stopped() {
    let mut ledger = ledger();
    let level = Workers::at(&ALL.map(|id| (id, 10)));
    assert_eq!(checkpoint(&mut ledger, 10, &level), held(&ALL.map(|id| (id, 10))));
    // The left one is behind: no further than to the checkpoint epoch it has passed, and nor what reads it.
    let behind = Workers::at(&[(TABLE, 35), (LEFT, 25), (RIGHT, 35), (TOP, 25)]);
    let sealed = checkpoint(&mut ledger, 20, &behind);
    assert_eq!(sealed, held(&ALL.map(|id| (id, 20))));
    let sealed = checkpoint(&mut ledger, 30, &behind);
    assert_eq!(sealed, held(&[(TABLE, 30), (RIGHT, 30)]));
    assert!(ledger.is_cut(RIGHT, epoch(30)) && ledger.is_cut(RIGHT, epoch(20)) && !ledger.is_cut(LEFT, epoch(30)));
}

#[test]
fn a_checkpoint_holds_no_view_where_it_was_not() {
    for (workers, why) in [
        (Workers { passed: vec![(LEFT, epoch(10))], ..Workers::at(&ALL.map(|id| (id, 10))) }, "it jumped over it"),
        (Workers { readable_since: held(&[(LEFT, 11)]), ..Workers::at(&ALL.map(|id| (id, 10))) }, "it was not whole"),
        (
            Workers::at(&[(TABLE, 10), (LEFT, 9), (RIGHT, 10), (TOP, 10)]),
            "it is not there, and its child is seen later",
        ),
    ] {
        assert_eq!(ledger().seal(&ALL, epoch(10), &workers), held(&[(TABLE, 10), (RIGHT, 10)]), "{why}");
    }
    // A parent that has passed an epoch at which it was not sealed cannot be cut there.
    let mut ledger = ledger();
    let right_is_slow = Workers::at(&[(TABLE, 10), (LEFT, 10), (RIGHT, 5), (TOP, 5)]);
    checkpoint(&mut ledger, 10, &right_is_slow);
    let then = Workers::at(&[(TABLE, 20), (LEFT, 20), (RIGHT, 15), (TOP, 15)]);
    assert_eq!(checkpoint(&mut ledger, 20, &then), held(&[(TABLE, 20), (LEFT, 20), (RIGHT, 10), (TOP, 10)]));
}

/// Who is behind, by how much -> whom a checkpoint of epoch 20 waits for.
#[test]
fn a_checkpoint_waits_for_tables_and_a_moment_for_views_that_kept_up() {
    let mut ledger = ledger();
    checkpoint(&mut ledger, 10, &Workers::at(&[(TABLE, 10), (LEFT, 10), (RIGHT, 9), (TOP, 9)]));
    for (uppers, awaited) in [
        ([(TABLE, 20), (LEFT, 20), (RIGHT, 20), (TOP, 20)], Awaited::Nobody),
        ([(TABLE, 19), (LEFT, 20), (RIGHT, 20), (TOP, 20)], Awaited::Table(TABLE)),
        ([(TABLE, 19), (LEFT, 19), (RIGHT, 19), (TOP, 19)], Awaited::Table(TABLE)),
        ([(TABLE, 20), (LEFT, 19), (RIGHT, 20), (TOP, 20)], Awaited::View),
        ([(TABLE, 20), (LEFT, 20), (RIGHT, 19), (TOP, 19)], Awaited::Nobody),
        ([(TABLE, 20), (LEFT, 19), (RIGHT, 19), (TOP, 19)], Awaited::View),
    ] {
        assert_eq!(ledger.awaited(&ALL, epoch(20), epoch(10), &Workers::at(&uppers)), awaited, "{uppers:?}");
    }
    let none = Workers::default();
    for id in [TABLE, LEFT] {
        ledger.step(id, Event::Failed(failure(id)));
    }
    assert_eq!(ledger.awaited(&ALL, epoch(20), epoch(10), &none), Awaited::Nobody, "what has failed is waited for");
}

/// Life, and whether it is a table -> whether a checkpoint is about it.
#[test]
fn a_checkpoint_is_about_what_is_made_or_there() {
    let failed = |made| Life::Failed { failure: failure(TABLE), made };
    for (life, is_included) in [
        (Life::Creating, true),
        (Life::Live, true),
        (Life::Suspended, false),
        (failed(false), false),
        (failed(true), false),
    ] {
        for kind in [Kind::Table { source: None }, Kind::View] {
            let mut ledger = Ledger::default();
            ledger.enter(TABLE, Entry::new(kind, vec![], epoch(1)).found(life.clone(), Epoch::ZERO, false));
            let (included, kept) = ledger.included();
            assert_eq!((included.len(), kept.len()), if is_included { (1, 0) } else { (0, 1) }, "{life:?} {kind:?}");
        }
    }
}

#[test]
fn change_logs_are_kept_for_the_reader_furthest_behind() {
    let mut ledger = ledger();
    let none = BTreeSet::new();
    assert_eq!(ledger.needed(&Sealed::new(), &none), held(&[(TABLE, 1), (LEFT, 1), (RIGHT, 1)]), "as they were built");
    checkpoint(&mut ledger, 10, &Workers::at(&ALL.map(|id| (id, 10))));
    let next = held(&[(TABLE, 20), (RIGHT, 20)]);
    assert_eq!(ledger.needed(&next, &none), held(&[(TABLE, 10), (LEFT, 10), (RIGHT, 10)]));
    assert_eq!(ledger.lowest(epoch(20)), epoch(10));
    // For a view that has failed nothing is kept, once the catalog says so; what only it kept is released.
    for id in ledger.with_dependants(&[LEFT]) {
        ledger.step(id, Event::Failed(failure(LEFT)));
    }
    assert_eq!(ledger.failed_views(), BTreeSet::from([LEFT, TOP]));
    assert_eq!(ledger.needed(&next, &none), held(&[(TABLE, 10), (LEFT, 10), (RIGHT, 10)]));
    assert_eq!(ledger.needed(&next, &ledger.failed_views()), held(&[(TABLE, 20)]));
    ledger.published(epoch(20), &next);
    assert_eq!(ledger.lowest(epoch(20)), epoch(20));
}

#[test]
fn a_source_is_acknowledged_where_all_of_its_tables_are_sealed() {
    let mut ledger = ledger();
    ledger.enter(RelationId(5), Entry::new(Kind::Table { source: Some(SOURCE) }, vec![], epoch(1)));
    ledger.enter(RelationId(6), Entry::new(Kind::Table { source: None }, vec![], epoch(1)));
    let all = held(&[(TABLE, 10), (RelationId(5), 10)]);
    assert!(ledger.is_sealed_whole(SOURCE, epoch(10), &all));
    assert!(!ledger.is_sealed_whole(SOURCE, epoch(11), &all));
    assert!(!ledger.is_sealed_whole(SOURCE, epoch(10), &held(&[(TABLE, 10)])));
    assert!(!ledger.is_sealed_whole(SOURCE, epoch(10), &held(&[(TABLE, 10), (RelationId(5), 9)])));
    ledger.forget(RelationId(5));
    assert!(ledger.is_sealed_whole(SOURCE, epoch(10), &held(&[(TABLE, 10)])));
    assert!(ledger.is_sealed_whole(SOURCE + 1, epoch(10), &Sealed::new()), "a source without tables");
}

#[test]
fn another_checkpoint_is_due_when_a_view_has_caught_up() {
    let mut ledger = ledger();
    checkpoint(&mut ledger, 10, &Workers::at(&[(TABLE, 10), (LEFT, 10), (RIGHT, 9), (TOP, 8)]));
    assert!(!ledger.followed_up(epoch(10), &Workers::at(&[(RIGHT, 9), (TOP, 9)])));
    assert!(ledger.followed_up(epoch(10), &Workers::at(&[(RIGHT, 10), (TOP, 9)])));
    assert!(!ledger.followed_up(epoch(10), &Workers::at(&[(RIGHT, 11), (TOP, 9)])), "said once");
    assert!(ledger.followed_up(epoch(10), &Workers::at(&[(RIGHT, 11), (TOP, 11)])));
}

/// What a view that is made has been given, where it and its parent are, what is sealed of it -> whether it becomes live.
#[test]
fn a_view_is_live_when_it_and_its_parents_have_everything() {
    let part = Backfilled::up_to(Portion::new(0, 4), epoch(10));
    let all = Backfilled::up_to(Portion::new(4, 8), epoch(20));
    assert_eq!((part.at(), all), (epoch(10), Backfilled::All { at: epoch(20) }));
    let whole = |backfilled: &[Backfilled], upper: u64, sealed: u64, readable_since: u64, parent: Life| {
        let mut ledger = Ledger::default();
        let found = |kind, reads, life| Entry::new(kind, reads, epoch(1)).found(life, epoch(sealed), false);
        ledger.enter(TABLE, found(Kind::Table { source: None }, vec![], parent));
        ledger.enter(LEFT, found(Kind::View, vec![TABLE], Life::Creating));
        backfilled.iter().for_each(|backfilled| ledger.give(LEFT, *backfilled));
        let workers = Workers { readable_since: held(&[(TABLE, readable_since)]), ..Workers::at(&[(LEFT, upper)]) };
        ledger.is_whole(LEFT, &workers)
    };
    for (backfilled, upper, sealed, readable_since, parent, expected) in [
        (vec![], 20, 20, 1, Life::Live, false),
        (vec![part], 20, 20, 1, Life::Live, false),
        (vec![all], 19, 0, 1, Life::Live, false),
        (vec![all], 20, 0, 1, Life::Live, true),
        (vec![all], 20, 0, 20, Life::Live, true),
        (vec![all], 20, 0, 21, Life::Live, false),
        (vec![all], 20, 0, 1, Life::Creating, false),
        (vec![all], 20, 0, 1, Life::Suspended, false),
        (vec![part, all], 20, 0, 1, Life::Live, false),
        (vec![part, all], 20, 19, 1, Life::Live, false),
        (vec![part, all], 20, 20, 1, Life::Live, true),
    ] {
        let case = format!("{backfilled:?} upper {upper} sealed {sealed} began {readable_since} parent {parent:?}");
        assert_eq!(whole(&backfilled, upper, sealed, readable_since, parent), expected, "{case}");
    }
}

#[test]
fn a_view_that_is_built_anew_needs_no_manifest_to_be_live() {
    let mut ledger = ledger();
    assert_eq!(ledger.step(LEFT, Event::GivenUp), Some(Effect::Void(true)));
    ledger.enter(LEFT, Entry::new(Kind::View, vec![TABLE], epoch(10)));
    ledger.give(LEFT, Backfilled::Part { portion: Portion::new(0, 4), at: epoch(10) });
    ledger.give(LEFT, Backfilled::All { at: epoch(12) });
    assert_eq!(ledger.backfilled_at(LEFT), epoch(12));
    assert_eq!(ledger.backfilled_all().collect::<Vec<_>>(), [(LEFT, epoch(12))]);
    assert!(ledger.is_whole(LEFT, &Workers::at(&[(LEFT, 12)])));
}

#[test]
fn what_the_store_has_of_a_view_is_void_until_a_manifest_holds_the_new_one() {
    let mut ledger = ledger();
    let workers = Workers::at(&ALL.map(|id| (id, 20)));
    checkpoint(&mut ledger, 10, &workers);
    let all = ledger.with_dependants(&[LEFT]);
    assert_eq!(all, BTreeSet::from([LEFT, TOP]));
    for id in all {
        assert_eq!(ledger.step(id, Event::GivenUp), Some(Effect::Void(true)));
        let reads = ledger.get(id).expect("it is there").reads().to_vec();
        ledger.enter(id, Entry::new(Kind::View, reads, epoch(15)));
        assert_eq!(ledger.get(id).map(Entry::life), Some(&Life::Suspended), "its life goes on");
    }
    let sealed = checkpoint(&mut ledger, 20, &workers);
    assert_eq!(sealed, held(&[(TABLE, 20), (RIGHT, 20)]));
    for id in [LEFT, TOP] {
        assert_eq!(ledger.step(id, Event::Whole), Some(Effect::Show));
    }
    let sealed = ledger.seal(&ALL, epoch(20), &workers);
    // One of them fails while the manifest is on its way: nothing leads on from where it is, whatever is sealed.
    assert_eq!(ledger.step(TOP, Event::Failed(failure(TOP))), None, "void as it is");
    assert_eq!(ledger.published(epoch(20), &sealed), [(LEFT, Effect::Void(false))]);
}

#[test]
fn what_reads_two_failed_relations_waits_for_both() {
    let mut ledger = ledger();
    for id in [LEFT, RIGHT] {
        for failed in ledger.with_dependants(&[id]) {
            ledger.step(failed, Event::Failed(failure(id)));
        }
    }
    assert_eq!(ledger.get(TOP).and_then(Entry::failure), Some(&failure(LEFT)), "the first says most");
    // The left one is rebuilt, and what reads it cannot be.
    assert!(ledger.with_dependants(&[LEFT]).contains(&TOP));
    ledger.step(TOP, Event::GivenUp);
    ledger.step(TOP, Event::Failed(failure(RIGHT)));
    assert_eq!(ledger.get(TOP).and_then(Entry::failure), Some(&failure(RIGHT)));
    assert!(ledger.with_dependants(&[RIGHT]).contains(&TOP), "it is found when the right one is built");
    ledger.forget(TOP);
    assert_eq!(ledger.with_dependants(&[RIGHT]), BTreeSet::from([RIGHT]));
}
