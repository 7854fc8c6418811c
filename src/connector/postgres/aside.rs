//! What has been taken from the feed and not yet been handed over: more than is folded while the coordinator waits is folded beside it.
//! Nothing that comes later is handed over before.

use super::feed::Taken;
use super::lsn::Lsn;
use crate::connector::{Batch, Waiting};
use std::sync::{Mutex, MutexGuard};

/// What is no more than this is folded when it is taken: about a millisecond, in which the coordinator does nothing else.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce {
    pub rows: usize,
    pub bytes: usize,
}

impl Default for AtOnce {
    fn default() -> Self {
        Self { rows: 8 * 1024, bytes: 2 << 20 }
    }
}

/// Of one source.
pub struct Aside {
    at_once: AtOnce,
    state: Mutex<State>,
}

enum State {
    Nothing,
    BeingFolded,
    Folded(Batch, Lsn, Waiting),
}

/// What becomes of a take.
pub enum Next {
    /// Nothing waits, or it is not folded yet.
    Nothing,
    /// To be folded and handed over.
    Now(Taken),
    /// To be folded elsewhere, and given to [`Aside::folded`].
    Later(Taken),
    /// To be handed over; up to where.
    Ready(Batch, Lsn),
}

impl Aside {
    pub fn new(at_once: AtOnce) -> Self {
        Self { at_once, state: Mutex::new(State::Nothing) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// What can be taken; `feed`: what waits there.
    pub fn waiting(&self, feed: impl FnOnce() -> Waiting) -> Waiting {
        match &*self.state() {
            State::Nothing => feed(),
            State::BeingFolded => Waiting::default(),
            State::Folded(_, _, waiting) => *waiting,
        }
    }

    /// What `waiting` says of the feed if it is to be folded elsewhere and given to [`Aside::folded`]. `feed`: takes it.
    pub fn begin(&self, waiting: impl FnOnce() -> Waiting, feed: impl FnOnce() -> Option<Taken>) -> Option<Taken> {
        let mut state = self.state();
        if !matches!(*state, State::Nothing) || self.is_little(waiting()) {
            return None;
        }
        let taken = feed()?;
        *state = State::BeingFolded;
        Some(taken)
    }

    fn is_little(&self, waiting: Waiting) -> bool {
        waiting.rows <= self.at_once.rows && waiting.bytes <= self.at_once.bytes
    }

    /// `feed`: takes what waits there.
    pub fn take(&self, feed: impl FnOnce() -> Option<Taken>) -> Next {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Nothing) {
            State::Nothing => {}
            State::BeingFolded => {
                *state = State::BeingFolded;
                return Next::Nothing;
            }
            State::Folded(batch, place, _) => return Next::Ready(batch, place),
        }
        let Some(taken) = feed() else { return Next::Nothing };
        if self.is_little(taken.waiting()) && !taken.is_elsewhere() {
            return Next::Now(taken);
        }
        *state = State::BeingFolded;
        Next::Later(taken)
    }

    /// `batch` is what was to be folded later, up to `place`; `waiting` as it was.
    pub fn folded(&self, batch: Batch, place: Lsn, waiting: Waiting) {
        *self.state() = State::Folded(batch, place, waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::backlog::Stored;
    use crate::connector::postgres::feed::Piece;
    use crate::connector::postgres::lsn::Place;
    use crate::connector::postgres::table_schema::TableSchema;
    use crate::connector::segment::{Op, Segment};
    use crate::connector::{Position, Subscription};
    use arrow::array::{RecordBatch, RecordBatchOptions};
    use arrow::datatypes::Schema;
    use std::sync::Arc;
    use weir_sql::catalog::RelationId;

    /// So many rows of a table without columns, up to `lsn`.
    fn taken(rows: usize, lsn: u64) -> Taken {
        let schema = Arc::new(Schema::empty());
        let batch = |rows| {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(schema.clone(), vec![], &options).expect("rows without columns")
        };
        let (rows, olds, ops) = (batch(rows), batch(0), vec![Op::Insert; rows]);
        let segment = Segment { ops, rows, olds, unknown: vec![], failed: vec![] };
        let table = Subscription {
            table: RelationId(1),
            schema: "public".into(),
            name: "t".into(),
            identity: 1,
            columns: vec![],
            key: None,
            copied: true,
            details: serde_json::Value::Null,
        };
        let piece = Piece::Changes(vec![Stored::new(segment, 10)]);
        let place = Place { system_id: "s".into(), timeline: 1, lsn: Lsn(lsn) };
        let tables = vec![(RelationId(1), Arc::new(TableSchema::new(&table)), piece)];
        Taken { place, committed_at: None, events: vec![], tables }
    }

    fn batch(lsn: u64) -> Batch {
        Batch { position: Position(lsn.into()), tables: vec![], events: vec![], committed_at: None }
    }

    #[test]
    fn what_is_folded_aside_is_handed_over_before_what_comes_later() {
        let aside = Aside::new(AtOnce { rows: 5, bytes: 1000 });
        assert!(matches!(aside.take(|| None), Next::Nothing));
        assert!(matches!(aside.take(|| Some(taken(5, 1))), Next::Now(taken) if taken.place.lsn == Lsn(1)));
        let Next::Later(much) = aside.take(|| Some(taken(6, 2))) else { panic!("six are folded aside") };
        let never = || -> Option<Taken> { panic!("the feed is not asked") };
        assert_eq!(aside.waiting(|| much.waiting()), Waiting::default());
        assert!(matches!(aside.take(never), Next::Nothing));
        aside.folded(batch(2), much.place.lsn, much.waiting());
        assert_eq!(aside.waiting(Waiting::default).rows, 6);
        assert!(matches!(aside.take(never), Next::Ready(batch, Lsn(2)) if batch.position == Position(2.into())));
        assert!(matches!(aside.take(|| Some(taken(1, 3))), Next::Now(_)));
        // The same before anybody takes it.
        let waits = |rows| move || Waiting { rows, ..Waiting::default() };
        assert!(aside.begin(waits(5), never).is_none(), "it is folded when it is taken");
        assert!(aside.begin(waits(6), || Some(taken(6, 4))).is_some_and(|much| much.place.lsn == Lsn(4)));
        assert!(aside.begin(waits(6), never).is_none() && matches!(aside.take(never), Next::Nothing));
        aside.folded(batch(4), Lsn(4), Waiting::default());
        assert!(aside.begin(waits(6), never).is_none(), "what comes later waits until it is handed over");
        assert!(matches!(aside.take(never), Next::Ready(_, Lsn(4))));
    }
}
