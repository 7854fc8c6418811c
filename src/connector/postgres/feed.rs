//! What has been read and not yet been taken: the log's messages in, whole transactions out.
//!
//! The rules of resuming (ARCHITECTURE.md, *Sources*) live here: a transaction that committed before the position is
//! skipped (R3), the position moves only at commits and, between transactions, by keepalives (R4, R9), what
//! follows the last commit is dropped when the connection breaks. So do those of a table's copy: what the stream says
//! of a table meanwhile is kept, what committed before the copy's consistent point is dropped, and the table is
//! consistent once the stream has reached that point.
//!
//! A table that is copied once more continues as it is, with a *shadow* beside it: the new copy, and what the stream says since. When the
//! stream has reached the shadow's consistent point, all of the shadow takes the place of what the table held, at once.

use super::decode::{self, Message, Old, Tuple, Value};
use super::error::{Result, UpstreamError};
use super::log::Log;
use super::lsn::{Lsn, Place};
use super::table_schema::{Details, Mapping, TableSchema};
use crate::connector::backlog::{Backlog, Stored};
use crate::connector::fold;
use crate::connector::segment::Op;
use crate::connector::{Bag, Batch, Changes, Event, RowError, Subscription, Waiting};
use std::collections::{HashMap, HashSet};
use std::iter::empty;
use std::sync::Arc;
use weir_sql::catalog::RelationId;
use weir_storage::Limits;

/// Microseconds from 1970-01-01 to 2000-01-01, where Postgres counts from.
const EPOCH: i64 = 946_684_800_000_000;

pub struct Feed {
    /// Everything that committed with an end at or before it is in the tables' logs, or has been taken.
    place: Place,
    limits: Limits,
    /// Furthest place upstream has told of.
    upstream: Lsn,
    open: Option<Open>,
    tables: Vec<Table>,
    /// Upstream's table id -> places in `tables`.
    index: HashMap<u32, Vec<usize>>,
    /// As sent on this connection: a table may be subscribed after its message has passed.
    relations: HashMap<u32, decode::Relation>,
    events: Vec<Event>,
    committed_at: Option<i64>,
    /// The place moved, or a table has something to say that is no row, since the last take.
    moved: bool,
    /// No less than the bytes that wait of whole transactions and those that cannot be taken yet together: what comes is added, and
    /// [`Feed::is_over`] counts once it seems too much.
    waits: usize,
}

/// The transaction being read.
struct Open {
    /// Start of its commit record: its place in commit order.
    commit: Lsn,
    /// It is in the position already.
    skip: bool,
    /// Places in `tables` of those it changed or stopped.
    touched: Vec<usize>,
}

struct Table {
    subscription: Subscription,
    details: Details,
    table_schema: Arc<TableSchema>,
    /// For this connection.
    mapping: Option<Mapping>,
    phase: Phase,
    /// Live: changes to take. In a copy: what the stream said meanwhile.
    log: Log,
    /// A new copy of a table that is here too, before this one.
    shadow: bool,
    /// The open transaction changed or stops the table.
    touched: bool,
    stopping: Option<RowError>,
    /// New columns upstream that have been told.
    told: HashSet<String>,
}

/// The life of a table. Nothing of it is durable: after a restart a table is `Live` if its copy is durably complete, else it
/// begins anew.
enum Phase {
    Copying(Copying),
    /// The copy has been handed over; consistent when the stream has reached this place.
    Joining(Lsn),
    Live,
    /// Upstream changed so that it cannot go on, at a transaction whose end has been passed.
    Stopped,
}

/// One try of a table's copy.
struct Copying {
    attempt: u64,
    /// Where the copy's snapshot stands in commit order, once known.
    consistent: Option<Lsn>,
    /// Until it is known: after each transaction that changed the table, its place and the number of changes so far.
    marks: Vec<(Lsn, usize)>,
    rows: Backlog,
    bytes: usize,
    /// The table was told to forget what it had.
    begun: bool,
    complete: bool,
    copied: u64,
    estimate: u64,
}

impl Copying {
    fn new(attempt: u64) -> Self {
        Self {
            attempt,
            consistent: None,
            marks: vec![],
            rows: Backlog::default(),
            bytes: 0,
            begun: false,
            complete: false,
            copied: 0,
            estimate: 0,
        }
    }
}

/// What is handed over, not yet folded.
pub struct Taken {
    pub place: Place,
    pub committed_at: Option<i64>,
    pub events: Vec<Event>,
    pub tables: Vec<(RelationId, Arc<TableSchema>, Piece)>,
}

impl Taken {
    /// How much there is to fold.
    pub fn waiting(&self) -> Waiting {
        let sum = |sum: Waiting, stored: &Stored| Waiting {
            rows: sum.rows + stored.count(),
            bytes: sum.bytes + stored.bytes(),
            moved: true,
        };
        self.stored().fold(Waiting { moved: true, ..Waiting::default() }, sum)
    }

    /// Whether some of it is in files.
    pub fn is_elsewhere(&self) -> bool {
        self.stored().any(|stored| !stored.is_here())
    }

    fn stored(&self) -> impl Iterator<Item = &Stored> {
        self.tables.iter().flat_map(|(_, _, piece)| match piece {
            Piece::Changes(stored) | Piece::Copy { rows: stored, .. } => stored,
        })
    }

    /// Each table's part folded, to batches of at most `most` bytes or one row. `Error::Retry`: what was in files cannot be read,
    /// so nothing is to be handed over. Of anything else that goes wrong only a bug is the cause, and the table's rows are not to
    /// be guessed at: it stops, and `stop` is told.
    pub fn fold(mut self, most: usize, stop: impl Fn(RelationId)) -> weir_storage::Result<Batch> {
        let mut tables = vec![];
        for (table, table_schema, piece) in self.tables {
            match piece.fold(&table_schema, most) {
                Ok(folded) => tables.push((table, folded)),
                Err(error @ weir_storage::Error::Retry(_)) => return Err(error),
                Err(reason) => {
                    let message = format!("changes could not be folded: {reason}");
                    let cause = RowError { sqlstate: "XX000".into(), message, expression: "table".into() };
                    self.events.push(Event::Stopped { table, cause });
                    stop(table);
                }
            }
        }
        let Self { place, events, committed_at, .. } = self;
        Ok(Batch { position: place.position(), tables, events, committed_at })
    }
}

pub enum Piece {
    Changes(Vec<Stored>),
    /// Rows of a copy; `begins`: what the table held before is gone.
    Copy {
        begins: bool,
        rows: Vec<Stored>,
    },
}

impl Piece {
    fn fold(self, table_schema: &TableSchema, most: usize) -> weir_storage::Result<Changes> {
        Ok(match (self, table_schema.keyed) {
            (Piece::Changes(segments), true) => {
                Changes::Keyed(fold::keyed(&table_schema.schema, &table_schema.key, segments, most)?)
            }
            (Piece::Changes(segments), false) => Changes::Bag(fold::bag(segments)?),
            (Piece::Copy { begins, rows }, true) => {
                Changes::Keyed(fold::copied(&table_schema.key_schema, &table_schema.key, begins, rows)?)
            }
            (Piece::Copy { begins, rows }, false) => Changes::Bag(Bag { truncated: begins, ..fold::bag(rows)? }),
        })
    }
}

/// A copy that must begin (again).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    pub table: RelationId,
    pub number: u64,
}

impl Feed {
    pub fn new(place: Place, limits: Limits) -> Self {
        Self {
            upstream: place.lsn,
            place,
            limits,
            open: None,
            tables: vec![],
            index: HashMap::new(),
            relations: HashMap::new(),
            events: vec![],
            committed_at: None,
            moved: false,
            waits: 0,
        }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn upstream(&self) -> Lsn {
        self.upstream
    }

    /// Commit time of the newest transaction, microseconds since 1970-01-01 UTC.
    pub fn committed_at(&self) -> Option<i64> {
        self.committed_at
    }

    /// After a failover the same log continues under another number.
    pub fn timeline(&mut self, timeline: u32) {
        self.place.timeline = timeline;
    }

    // --- tables

    /// Begins to feed a table; the copy it needs, if it needs one.
    pub fn subscribe(&mut self, subscription: Subscription) -> weir_sql::Result<Option<Attempt>> {
        let details = Details::of(&subscription)?;
        let table_schema = Arc::new(TableSchema::new(&subscription));
        let attempt = Attempt { table: subscription.table, number: 1 };
        let phase = if subscription.copied { Phase::Live } else { Phase::Copying(Copying::new(attempt.number)) };
        let copy = if subscription.copied { None } else { Some(attempt) };
        self.add(Table::new(subscription, details, self.log(table_schema), phase, false));
        Ok(copy)
    }

    /// Begins a shadow of a table.
    pub fn resnapshot(&mut self, id: RelationId) -> weir_sql::Result<Attempt> {
        let refused = |why: &str| weir_sql::Error::new("55000", format!("the table cannot be copied again: {why}"));
        if self.tables.iter().any(|t| t.shadow && t.subscription.table == id) {
            return Err(refused("it is being copied already"));
        }
        let table =
            self.tables.iter().find(|t| t.subscription.table == id).ok_or_else(|| refused("it is not followed"))?;
        match table.phase {
            Phase::Live => {}
            Phase::Stopped => return Err(refused("it has stopped; drop it and create it again")),
            Phase::Copying(_) | Phase::Joining(_) => return Err(refused("its first copy is not complete")),
        }
        let (subscription, table_schema) = (table.subscription.clone(), table.table_schema.clone());
        let details = Details::of(&subscription)?;
        let attempt = Attempt { table: id, number: 1 };
        let phase = Phase::Copying(Copying::new(attempt.number));
        self.add(Table::new(subscription, details, self.log(table_schema), phase, true));
        Ok(attempt)
    }

    fn log(&self, table_schema: Arc<TableSchema>) -> Log {
        Log::new(table_schema, self.limits)
    }

    fn add(&mut self, table: Table) {
        let oid = table.subscription.identity as u32;
        self.tables.push(table);
        let place = self.tables.len() - 1;
        self.index.entry(oid).or_default().push(place);
        if let Some(relation) = self.relations.get(&oid).cloned() {
            self.map(place, &relation);
        }
    }

    pub fn unsubscribe(&mut self, table: RelationId) -> Option<Subscription> {
        let mut removed = None;
        while let Some(place) = self.tables.iter().position(|t| t.subscription.table == table) {
            removed = Some(self.remove(place).subscription);
        }
        removed
    }

    fn remove(&mut self, place: usize) -> Table {
        let removed = self.tables.remove(place);
        self.index.clear();
        for (i, table) in self.tables.iter().enumerate() {
            self.index.entry(table.subscription.identity as u32).or_default().push(i);
        }
        if let Some(open) = &mut self.open {
            open.touched.retain(|&i| i != place);
            open.touched.iter_mut().filter(|i| **i > place).for_each(|i| *i -= 1);
        }
        removed
    }

    /// Every table that is not stopped.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.tables.iter().filter(|t| !t.shadow && !matches!(t.phase, Phase::Stopped)).map(|t| &t.subscription)
    }

    /// Stops a table where the last transaction has ended.
    pub fn stop(&mut self, table: RelationId, cause: RowError) {
        if self.halt(table) {
            self.events.push(Event::Stopped { table, cause });
            self.moved = true;
        }
    }

    /// The same, for whoever says so himself. False: there is no such table, or it has stopped.
    pub fn halt(&mut self, table: RelationId) -> bool {
        let mut own = self.tables.iter_mut().filter(|t| t.subscription.table == table && !t.shadow);
        let Some(table) = own.find(|t| !matches!(t.phase, Phase::Stopped)) else { return false };
        table.log.rollback();
        (table.phase, table.stopping) = (Phase::Stopped, None);
        true
    }

    pub fn notice(&mut self, table: RelationId, message: String) {
        self.events.push(Event::Notice { table, message });
        self.moved = true;
    }

    // --- the stream

    /// One message of the stream, in order.
    #[inline]
    pub fn apply(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Insert { relation, new } => self.each(relation, |table| table.image(Op::Insert, new)),
            Message::Update { relation, old, new } => self.each(relation, |table| table.update(old, new)),
            Message::Delete { relation, old } => self.each(relation, |table| table.delete(old)),
            Message::Begin { commit } => self.begin(commit),
            Message::Commit { end, at, .. } => self.commit(end, at),
            Message::Relation(relation) => self.relation(relation),
            Message::Truncate { relations } => {
                relations.into_iter().try_for_each(|relation| self.each(relation, Table::truncate))
            }
            Message::Other => Ok(()),
        }
    }

    /// One frame of the stream; whether upstream wants an answer at once.
    pub fn frame(&mut self, frame: &[u8]) -> Result<bool> {
        match frame.first() {
            // Where it starts, where the log ends, when it was sent: 24 bytes.
            Some(b'w') if frame.len() >= 25 => self.apply(decode::decode(&frame[25..])?).map(|()| false),
            Some(b'k') if frame.len() == 18 => {
                let end = frame[1..9].try_into().expect("eight bytes");
                self.keepalive(Lsn(u64::from_be_bytes(end)));
                Ok(frame[17] != 0)
            }
            _ => Err(UpstreamError::Protocol("an unknown frame in the stream".into())),
        }
    }

    /// Upstream has sent everything up to `at`.
    pub fn keepalive(&mut self, at: Lsn) {
        self.upstream = self.upstream.max(at);
        if self.open.is_none() && at > self.place.lsn {
            self.place.lsn = at;
            self.moved = true;
        }
    }

    /// The connection is gone: what it sent of an open transaction comes again. Copies whose consistent point was not
    /// reached begin again, since a server that crashed may have written another log from here on.
    pub fn abandon(&mut self) -> Vec<Attempt> {
        self.open = None;
        self.relations.clear();
        let (mut again, reached) = (vec![], self.place.lsn);
        for table in &mut self.tables {
            table.mapping = None;
            (table.touched, table.stopping) = (false, None);
            table.log.rollback();
            let (point, number) = match &table.phase {
                Phase::Copying(copying) => (copying.consistent, copying.attempt),
                Phase::Joining(point) => (Some(*point), 0),
                Phase::Live | Phase::Stopped => (None, 0),
            };
            if point.is_some_and(|point| point > reached) {
                again.push(table.copy_again(number));
            }
        }
        again
    }

    fn begin(&mut self, commit: Lsn) -> Result<()> {
        if self.open.is_some() {
            return Err(UpstreamError::Protocol("a transaction inside a transaction".into()));
        }
        // The position is the end of a record, so what starts before it ends at or before it.
        let skip = commit < self.place.lsn;
        self.open = Some(Open { commit, skip, touched: vec![] });
        Ok(())
    }

    fn commit(&mut self, end: Lsn, at: i64) -> Result<()> {
        let open = self.open.take().ok_or_else(|| UpstreamError::Protocol("a commit without a transaction".into()))?;
        if open.skip {
            // Only descriptions of tables have been read.
            open.touched.into_iter().for_each(|place| self.finish(place, open.commit));
            return Ok(());
        }
        if end <= open.commit {
            return Err(UpstreamError::Protocol("a commit that ends before it starts".into()));
        }
        open.touched.into_iter().for_each(|place| self.finish(place, open.commit));
        self.place.lsn = end;
        self.upstream = self.upstream.max(end);
        self.committed_at = Some(at.saturating_add(EPOCH));
        self.moved = true;
        Ok(())
    }

    /// A table's part of a transaction is whole, or stops the table.
    fn finish(&mut self, place: usize, commit: Lsn) {
        let table = &mut self.tables[place];
        table.touched = false;
        match table.stopping.take() {
            // The table itself stops for the same reason, and says so.
            Some(_) if table.shadow => table.phase = Phase::Stopped,
            Some(cause) => {
                table.log.rollback();
                table.phase = Phase::Stopped;
                self.events.push(Event::Stopped { table: table.subscription.table, cause });
            }
            None => {
                // What was spilled of it has been counted as gone, and of a table that joins it counts twice.
                let before = table.waits();
                table.commit(commit);
                self.waits += table.waits().saturating_sub(before);
            }
        }
    }

    fn relation(&mut self, relation: decode::Relation) -> Result<()> {
        let places = self.index.get(&relation.id).cloned().unwrap_or_default();
        for place in places {
            self.map(place, &relation);
        }
        self.replaced(&relation);
        self.relations.insert(relation.id, relation);
        Ok(())
    }

    fn map(&mut self, place: usize, relation: &decode::Relation) {
        let table = &mut self.tables[place];
        match Mapping::new(relation, &table.subscription, &table.details) {
            Ok(mapping) => {
                for name in &mapping.added {
                    if table.told.insert(name.clone()) {
                        let message = format!("column \"{name}\" was added upstream and is ignored");
                        self.events.push(Event::Notice { table: table.subscription.table, message });
                    }
                }
                table.mapping = Some(mapping);
            }
            Err(cause) => {
                let table = table.subscription.table;
                self.stop(table, cause);
            }
        }
    }

    /// Another table has the name of one of ours: ours was dropped, or renamed out of the way.
    fn replaced(&mut self, relation: &decode::Relation) {
        let replaced = self.tables.iter().filter(|t| {
            let s = &t.subscription;
            let running = !matches!(t.phase, Phase::Stopped) && t.stopping.is_none();
            running && s.schema == relation.schema && s.name == relation.name && s.identity != u64::from(relation.id)
        });
        for table in replaced.map(|t| t.subscription.table).collect::<Vec<_>>() {
            let expression = format!("table \"{}\".\"{}\"", relation.schema, relation.name);
            let message = "the table was dropped upstream and another has its name".into();
            self.stop(table, RowError { sqlstate: "55000".into(), message, expression });
        }
    }

    /// A row's change, for each table that follows its relation.
    #[inline]
    fn each(&mut self, relation: u32, change: impl Fn(&mut Table) -> Result<()>) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Err(UpstreamError::Protocol("a change outside a transaction".into()));
        };
        if open.skip {
            return Ok(());
        }
        let Some(places) = self.index.get(&relation) else { return Ok(()) };
        for &place in places {
            let table = &mut self.tables[place];
            if table.wants(open.commit) {
                if !std::mem::replace(&mut table.touched, true) {
                    open.touched.push(place);
                }
                let before = table.log.total().bytes;
                change(table)?;
                self.waits += table.log.total().bytes - before;
            }
        }
        Ok(())
    }

    // --- copies

    /// The copy's snapshot shows exactly what committed before `consistent`. False: this attempt is over.
    pub fn copy_begins(&mut self, attempt: Attempt, consistent: Lsn, estimate: u64) -> bool {
        let covers = |commit: Lsn| commit < consistent;
        let covers_open = self.open.as_ref().is_some_and(|open| covers(open.commit));
        let Some((log, copying)) = self.copying(attempt) else { return false };
        copying.estimate = estimate;
        copying.consistent = Some(consistent);
        let marks = std::mem::take(&mut copying.marks);
        let covered = marks.iter().take_while(|(commit, _)| covers(*commit)).last();
        if covers_open {
            // Nothing more of it is wanted either.
            log.rollback();
        }
        log.discard(covered.map_or(0, |(_, changes)| *changes));
        true
    }

    /// Rows of the copy. False: this attempt is over.
    pub fn copy_rows(&mut self, attempt: Attempt, rows: Stored, bytes: usize) -> bool {
        let Some((_, copying)) = self.copying(attempt) else { return false };
        copying.copied += rows.count() as u64;
        copying.bytes += bytes;
        copying.rows.push(rows);
        self.waits += bytes;
        true
    }

    /// All rows have been given.
    pub fn copy_ends(&mut self, attempt: Attempt) -> bool {
        let Some((_, copying)) = self.copying(attempt) else { return false };
        copying.complete = true;
        self.moved = true;
        true
    }

    /// The attempt is over; the next one.
    pub fn copy_fails(&mut self, attempt: Attempt) -> Option<Attempt> {
        self.copying(attempt)?;
        let table = self.tables.iter_mut().find(|t| t.is_copying(attempt))?;
        Some(table.copy_again(attempt.number))
    }

    pub fn subscription(&self, attempt: Attempt) -> Option<(&Subscription, &Arc<TableSchema>)> {
        let table = self.tables.iter().find(|t| t.subscription.table == attempt.table)?;
        Some((&table.subscription, &table.table_schema))
    }

    fn copying(&mut self, attempt: Attempt) -> Option<(&mut Log, &mut Copying)> {
        let table = self.tables.iter_mut().find(|t| t.is_copying(attempt))?;
        match &mut table.phase {
            Phase::Copying(copying) => Some((&mut table.log, copying)),
            _ => None,
        }
    }

    /// Bytes of copied rows that wait to be taken. A shadow's wait for its end, whatever room there is.
    pub fn copied_bytes(&self) -> usize {
        let waiting = self.tables.iter().filter(|t| !t.shadow);
        waiting.map(|t| if let Phase::Copying(c) = &t.phase { c.bytes } else { 0 }).sum()
    }

    /// Whether some table waits for the stream to reach its consistent point.
    pub fn awaited(&self) -> bool {
        self.tables.iter().any(|t| match &t.phase {
            Phase::Copying(copying) => copying.consistent.is_some_and(|point| point > self.place.lsn),
            Phase::Joining(point) => *point > self.place.lsn,
            Phase::Live | Phase::Stopped => false,
        })
    }

    /// Tables in their copy: rows so far and estimated in total.
    pub fn copies(&self) -> Vec<(RelationId, u64, u64)> {
        let copy = |t: &Table| match &t.phase {
            Phase::Copying(c) => Some((t.subscription.table, c.copied, c.estimate.max(c.copied))),
            Phase::Joining(_) => Some((t.subscription.table, 0, 0)),
            Phase::Live | Phase::Stopped => None,
        };
        self.tables.iter().filter_map(copy).collect()
    }

    // --- taking

    /// What waits to be taken; the logs of tables in their copy are not ready.
    pub fn waiting(&self) -> Waiting {
        let mut waiting = Waiting { moved: self.moved || !self.events.is_empty(), ..Waiting::default() };
        for table in self.tables.iter().filter(|t| !t.shadow) {
            if let Phase::Copying(copying) = &table.phase {
                waiting.rows += copying.rows.changes();
                waiting.bytes += copying.bytes;
            } else {
                let size = table.log.committed();
                waiting.rows += size.changes;
                waiting.bytes += size.bytes;
            }
        }
        waiting
    }

    /// Bytes of whole transactions of the stream that wait, of tables that have not stopped.
    pub fn streamed_bytes(&self) -> usize {
        self.tables.iter().map(Table::streamed_bytes).sum()
    }

    /// Bytes in memory that cannot be taken yet.
    fn early_bytes(&mut self) -> usize {
        self.tables.iter_mut().map(Table::early_bytes).sum()
    }

    /// Whether more than `most` bytes wait of whole transactions of the stream, or of what cannot be taken yet. Looks at each table only
    /// where that may be.
    pub fn is_over(&mut self, most: usize) -> bool {
        if self.waits <= most {
            return false;
        }
        let (streamed, early) = (self.streamed_bytes(), self.early_bytes());
        self.waits = streamed + early;
        streamed.max(early) > most
    }

    /// What is in memory and cannot be taken yet, if all of it is more than `most` bytes: of a transaction that has not committed,
    /// of tables that are being copied, and of shadows.
    pub fn too_much(&mut self, most: usize) -> Vec<Stored> {
        if self.early_bytes() <= most {
            return vec![];
        }
        let mut all = vec![];
        let least = most / self.tables.len();
        for table in &mut self.tables {
            if table.early_bytes() > 0 {
                all.extend(table.log.here(least).cloned());
                all.extend(table.copied().into_iter().flat_map(Backlog::here).cloned());
            }
        }
        all
    }

    pub fn take(&mut self) -> Option<Taken> {
        let waiting = self.waiting();
        if !waiting.moved && waiting.rows == 0 {
            return None;
        }
        self.moved = false;
        let mut tables = self.take_shadows();
        for table in self.tables.iter_mut().filter(|t| !t.shadow) {
            let id = table.subscription.table;
            let reached = |phase: &Phase| matches!(phase, Phase::Joining(point) if self.place.lsn >= *point);
            let joined = reached(&table.phase);
            if let Some(piece) = table.take() {
                tables.push((id, table.table_schema.clone(), piece));
            }
            if joined {
                table.phase = Phase::Live;
                self.events.push(Event::Consistent(id));
            }
            // The last rows of a copy have just gone: what the stream said meanwhile follows with the next take.
            self.moved |= reached(&table.phase);
            if let Phase::Joining(_) = table.phase {
                self.waits += table.log.committed().bytes;
            }
        }
        Some(Taken {
            place: self.place.clone(),
            committed_at: self.committed_at,
            events: std::mem::take(&mut self.events),
            tables,
        })
    }
}

impl Feed {
    /// Shadows that are whole, in the place of their tables' own changes; those that stopped are gone.
    fn take_shadows(&mut self) -> Vec<(RelationId, Arc<TableSchema>, Piece)> {
        let mut taken = vec![];
        let over = |t: &Table, reached: Lsn| match &t.phase {
            Phase::Copying(c) => c.complete && c.consistent.is_some_and(|point| point <= reached),
            Phase::Stopped => true,
            Phase::Joining(_) | Phase::Live => false,
        };
        let at = |feed: &Self| feed.tables.iter().position(|t| t.shadow && over(t, feed.place.lsn) && !t.touched);
        while let Some(place) = at(self) {
            let shadow = self.remove(place);
            let id = shadow.subscription.table;
            let own = self.tables.iter_mut().find(|t| t.subscription.table == id);
            let whole = matches!(shadow.phase, Phase::Copying(_));
            if let Some(own) = own.filter(|t| whole && matches!(t.phase, Phase::Live)) {
                // The shadow has all of it.
                let _ = own.log.take();
                self.events.push(Event::Consistent(id));
                taken.push((id, shadow.table_schema.clone(), shadow.whole()));
            }
        }
        taken
    }
}

/// The values of a row, each with its column of ours.
#[inline]
fn row<'a>(tuple: Tuple<'a>, places: &[Option<u16>]) -> impl Iterator<Item = (u16, Value<'a>)> {
    tuple.values().zip(places).filter_map(|(value, place)| Some(((*place)?, value)))
}

/// The same, values that were not sent taken from the old image.
fn filled<'a>(new: Tuple<'a>, old: Old<'a>, mapping: &Mapping) -> impl Iterator<Item = (u16, Value<'a>)> {
    // Of an old key only the key's values mean anything.
    let full = matches!(old, Old::Full(_));
    let both = new.values().zip(old.tuple().values()).zip(mapping.columns.iter().zip(&mapping.keys));
    both.filter_map(move |((new, old), (column, key))| {
        let value = if new == Value::Unchanged && (full || key.is_some()) { old } else { new };
        Some(((*column)?, value))
    })
}

fn moved(new: Tuple, old: Tuple, mapping: &Mapping) -> bool {
    let both = new.values().zip(old.values()).zip(&mapping.keys);
    both.filter(|(_, key)| key.is_some()).any(|((new, old), _)| new != Value::Unchanged && new != old)
}

impl Table {
    fn new(subscription: Subscription, details: Details, log: Log, phase: Phase, shadow: bool) -> Self {
        let table_schema = log.table_schema().clone();
        let (mapping, stopping, told) = (None, None, HashSet::new());
        Self { subscription, details, table_schema, mapping, phase, log, shadow, touched: false, stopping, told }
    }

    fn is_copying(&self, attempt: Attempt) -> bool {
        let number = match &self.phase {
            Phase::Copying(copying) => copying.attempt,
            Phase::Joining(_) | Phase::Live | Phase::Stopped => return false,
        };
        self.subscription.table == attempt.table && number == attempt.number
    }

    /// Bytes in memory that cannot be taken yet: of the open transaction, in a copy of all that the stream says, and a shadow's rows.
    fn early_bytes(&mut self) -> usize {
        let here = self.log.bytes_here();
        let own = match self.phase {
            Phase::Live | Phase::Stopped if !self.shadow => {
                here.min(self.log.total().bytes - self.log.committed().bytes)
            }
            _ => here,
        };
        own + self.copied().map_or(0, Backlog::bytes_here)
    }

    /// Bytes of whole transactions of the stream, unless it has to wait for the copy.
    fn streamed_bytes(&self) -> usize {
        match self.phase {
            Phase::Joining(_) | Phase::Live => self.log.committed().bytes,
            Phase::Copying(_) | Phase::Stopped => 0,
        }
    }

    /// The table's part of [`Feed::waits`].
    fn waits(&mut self) -> usize {
        self.streamed_bytes() + self.early_bytes()
    }

    /// A shadow's rows.
    fn copied(&mut self) -> Option<&mut Backlog> {
        match &mut self.phase {
            Phase::Copying(copying) if self.shadow => Some(&mut copying.rows),
            _ => None,
        }
    }

    /// Everything a shadow has: what there was is gone, then come its rows, then what the stream said since.
    fn whole(mut self) -> Piece {
        let mut gone = self.log.anew();
        // Emptying a table has no value that could be refused.
        let _ = gone.push(Op::Truncate, empty(), empty());
        gone.commit();
        let mut segments = gone.take();
        if let Phase::Copying(mut copying) = self.phase {
            segments.extend(copying.rows.take_all());
        }
        segments.extend(self.log.take());
        Piece::Changes(segments)
    }

    /// Whether changes of a transaction are for this table's log: what committed before the consistent point is in the copy.
    #[inline]
    fn wants(&self, commit: Lsn) -> bool {
        let point = match &self.phase {
            Phase::Live => None,
            Phase::Joining(point) => Some(*point),
            Phase::Copying(copying) => copying.consistent,
            Phase::Stopped => return false,
        };
        self.stopping.is_none() && point.is_none_or(|point| commit >= point)
    }

    /// A row with all its values.
    fn image(&mut self, op: Op, new: Tuple) -> Result<()> {
        let mapping = mapping(&self.mapping, [new])?;
        let pushed = self.log.push(op, empty(), row(new, &mapping.columns));
        self.check(pushed)
    }

    fn update(&mut self, old: Option<Old>, new: Tuple) -> Result<()> {
        let Some(old) = old else { return self.insert_over(new) };
        let mapping = mapping(&self.mapping, [new, old.tuple()])?;
        let pushed = if !self.table_schema.keyed {
            let retracted = self.log.push(Op::Retract, empty(), row(old.tuple(), &mapping.columns));
            retracted.and_then(|()| self.log.push(Op::Insert, empty(), filled(new, old, mapping)))
        } else if moved(new, old.tuple(), mapping) {
            self.log.push(Op::Move, row(old.tuple(), &mapping.keys), filled(new, old, mapping))
        } else {
            self.log.push(Op::Upsert, empty(), filled(new, old, mapping))
        };
        self.check(pushed)
    }

    /// An update without an old image: the key is the same.
    fn insert_over(&mut self, new: Tuple) -> Result<()> {
        if self.table_schema.keyed { self.image(Op::Upsert, new) } else { Err(no_image()) }
    }

    fn delete(&mut self, old: Old) -> Result<()> {
        let mapping = mapping(&self.mapping, [old.tuple()])?;
        let pushed = match old {
            _ if self.table_schema.keyed => self.log.push(Op::Delete, row(old.tuple(), &mapping.keys), empty()),
            Old::Full(old) => self.log.push(Op::Retract, empty(), row(old, &mapping.columns)),
            Old::Key(_) => return Err(no_image()),
        };
        self.check(pushed)
    }

    fn truncate(&mut self) -> Result<()> {
        let pushed = self.log.push(Op::Truncate, empty(), empty());
        self.check(pushed)
    }

    /// A key that cannot be held names no row, so the table stops.
    #[inline]
    fn check(&mut self, pushed: Result<(), RowError>) -> Result<()> {
        if let Err(cause) = pushed {
            self.stopping = Some(cause);
        }
        Ok(())
    }

    fn commit(&mut self, commit: Lsn) {
        self.log.commit();
        if let Phase::Copying(copying) = &mut self.phase
            && copying.consistent.is_none()
        {
            copying.marks.push((commit, self.log.committed().changes));
        }
    }

    /// Everything of the attempt before is void, also what it handed over: the next one begins by emptying the table.
    fn copy_again(&mut self, number: u64) -> Attempt {
        self.log = self.log.anew();
        let next = number + 1;
        self.phase = Phase::Copying(Copying::new(next));
        Attempt { table: self.subscription.table, number: next }
    }

    fn take(&mut self) -> Option<Piece> {
        let Phase::Copying(copying) = &mut self.phase else {
            let segments = self.log.take();
            return if segments.is_empty() { None } else { Some(Piece::Changes(segments)) };
        };
        let begins =
            copying.consistent.is_some() && !std::mem::replace(&mut copying.begun, copying.consistent.is_some());
        let rows = copying.rows.take_all();
        copying.bytes = 0;
        if let (true, Some(point)) = (copying.complete, copying.consistent) {
            self.phase = Phase::Joining(point);
        }
        if begins || !rows.is_empty() { Some(Piece::Copy { begins, rows }) } else { None }
    }
}

/// This connection's mapping, which fits `tuples`.
#[inline]
fn mapping<'a, const N: usize>(mapping: &'a Option<Mapping>, tuples: [Tuple; N]) -> Result<&'a Mapping> {
    let mapping =
        mapping.as_ref().ok_or_else(|| UpstreamError::Protocol("a row before its table's description".into()))?;
    match tuples.iter().all(|t| t.width() == mapping.columns.len()) {
        true => Ok(mapping),
        false => Err(UpstreamError::Protocol("a row that does not fit its table's description".into())),
    }
}

fn no_image() -> UpstreamError {
    UpstreamError::Protocol("a change without an old image of a table without a key".into())
}

#[cfg(test)]
mod tests;
