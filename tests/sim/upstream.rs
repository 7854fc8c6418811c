//! A scripted Postgres: transactions that commit in one order, a log, one slot with its publication, and everything that goes wrong
//! between a server and its reader.
//!
//! It speaks pgoutput in real bytes. What it may do to a reader, a real one may: send again what was confirmed, say in the middle of a
//! transaction how far its log is, break off anywhere, crash and forget what the slot confirmed lately, lose the slot or move it on.
//! Every commit also counts [`TICKS`] up by one, so that whoever reads that table knows which transactions he should see.

use super::disk::Disk;
use super::time::Dice;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use weir::connector::Position;
use weir::connector::postgres::control::Slot;
use weir::connector::postgres::error::{Response, Result, UpstreamError};
use weir::connector::postgres::lsn::{Lsn, Place};

/// Keyed; replica identity is the key, so what is stored out of line is not sent again.
pub const ORDERS: u32 = 1;
/// Keyed; replica identity full.
pub const ITEMS: u32 = 2;
/// Without a key.
pub const VISITS: u32 = 3;
/// One row that counts commits.
pub const TICKS: u32 = 4;
pub const TABLES: [u32; 4] = [ORDERS, ITEMS, VISITS, TICKS];

/// Keys there are at most, so that rows meet.
const KEYS: i64 = 12;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub id: i64,
    pub g: i64,
    pub v: Option<i64>,
    /// Stored out of line.
    pub big: String,
}

impl Row {
    /// As text, by column.
    pub fn values(&self) -> Vec<Option<String>> {
        vec![Some(self.id.to_string()), Some(self.g.to_string()), self.v.map(|v| v.to_string()), Some(self.big.clone())]
    }
}

/// The rows of each table, by key; those of a table without one by where they lie.
pub type Contents = BTreeMap<u32, BTreeMap<i64, Row>>;

#[derive(Clone, Debug)]
enum Effect {
    Insert(Row),
    Update(Row, Row),
    Delete(Row),
    Truncate,
}

#[derive(Clone, Debug)]
struct Change {
    table: u32,
    at: i64,
    effect: Effect,
    /// The publication had the table when the change was made.
    published: bool,
}

struct Transaction {
    id: u64,
    changes: Vec<Change>,
}

struct Commit {
    begin: Lsn,
    end: Lsn,
    changes: Vec<Change>,
}

struct SlotState {
    confirmed: Lsn,
    /// What a crash leaves of it.
    saved: Lsn,
    /// The connection that reads it.
    reader: Option<u64>,
}

/// One reader's stream.
struct Stream {
    next: usize,
    /// Whole log up to here has been looked at.
    sent: Lsn,
    frames: VecDeque<Vec<u8>>,
    open: bool,
    described: BTreeSet<u32>,
    start: Lsn,
}

pub struct Upstream {
    state: Mutex<State>,
    dice: Arc<Dice>,
}

struct State {
    up: bool,
    end: Lsn,
    log: Vec<Commit>,
    /// After so many commits.
    history: Vec<Contents>,
    open: Vec<Transaction>,
    next: u64,
    slot: Option<SlotState>,
    published: BTreeSet<u32>,
    streams: BTreeMap<u64, Stream>,
    /// How often all connections broke.
    breaks: u64,
    /// Copies that read a table.
    locks: BTreeMap<u32, usize>,
    broken: Option<String>,
    /// The store of whoever may read here.
    disk: Arc<Disk>,
    /// As whom stores spoke that another has taken the place of.
    left: BTreeSet<u64>,
    /// The source, once it is known in manifests.
    source: Option<u32>,
}

/// A copy's lock and snapshot, as of one place in commit order.
pub struct Snapshot {
    pub consistent: Lsn,
    pub rows: Vec<Row>,
}

impl Upstream {
    pub fn new(dice: Arc<Dice>, disk: Arc<Disk>) -> Self {
        let mut contents: Contents = TABLES.map(|table| (table, BTreeMap::new())).into();
        let row = |id, g, v, big: &str| Row { id, g, v, big: big.into() };
        contents.get_mut(&TICKS).unwrap().insert(1, row(1, 0, None, ""));
        for id in 0..KEYS / 2 {
            contents.get_mut(&ORDERS).unwrap().insert(id, row(id, id % 3, Some(id), &format!("first {id}")));
            contents.get_mut(&ITEMS).unwrap().insert(id, row(id, id % 2, Some(1), "x"));
        }
        let state = State {
            up: true,
            end: Lsn(1000),
            log: vec![],
            history: vec![contents],
            open: vec![],
            next: 1,
            slot: None,
            published: BTreeSet::new(),
            streams: BTreeMap::new(),
            breaks: 0,
            locks: BTreeMap::new(),
            broken: None,
            disk,
            left: BTreeSet::new(),
            source: None,
        };
        Self { state: Mutex::new(state), dice }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap())
    }

    pub fn broken(&self) -> Option<String> {
        self.with(|state| state.broken.clone())
    }

    /// Commits so far.
    pub fn commits(&self) -> usize {
        self.with(|state| state.log.len())
    }

    /// For people: where everything is.
    pub fn state(&self) -> String {
        self.with(|state| {
            let streams: Vec<String> = state.streams.iter().map(|(id, s)| format!("{id} sent {}", s.sent)).collect();
            let slot = state.slot.as_ref().map(|slot| (slot.confirmed, slot.reader));
            let (end, open, locks) = (state.end, state.open.len(), &state.locks);
            format!(
                "upstream up {}, end {end}, {open} open, slot {slot:?}, streams {streams:?}, locks {locks:?}",
                state.up
            )
        })
    }

    /// What the tables hold after so many commits.
    pub fn contents(&self, commits: usize) -> Option<Contents> {
        self.with(|state| state.history.get(commits).cloned())
    }

    /// How many commits a position covers.
    pub fn covered(&self, position: Lsn) -> usize {
        self.with(|state| state.log.partition_point(|commit| commit.end <= position))
    }

    // --- what its users do

    /// A few steps of concurrent transactions.
    pub fn work(&self, steps: u64) {
        for _ in 0..steps {
            let choice = self.dice.below(10);
            self.with(|state| {
                if !state.up {
                    return;
                }
                match choice {
                    0 if state.open.len() < 3 => state.begin(),
                    0..=5 => state.change(&self.dice),
                    6..=8 => state.commit(&self.dice),
                    _ => state.end.0 += 8 + self.dice.below(64),
                }
            });
        }
    }

    /// Ends all open transactions.
    pub fn rest(&self) {
        self.with(|state| {
            while !state.open.is_empty() {
                state.commit(&self.dice);
            }
        });
    }

    // --- what goes wrong

    /// Every connection breaks.
    pub fn cut(&self) {
        self.with(|state| state.disconnect());
    }

    /// The server crashes: what was not committed is gone, and so is what the slot confirmed lately.
    pub fn crash(&self) {
        self.with(|state| {
            state.up = false;
            state.open.clear();
            state.disconnect();
            if let Some(slot) = &mut state.slot {
                slot.confirmed = slot.saved;
            }
        });
    }

    pub fn start(&self) {
        self.with(|state| state.up = true);
    }

    pub fn lose_slot(&self) {
        self.with(|state| {
            state.disconnect();
            state.slot = None;
        });
    }

    /// Somebody moves the slot on, to the end of the log.
    pub fn advance_slot(&self) {
        self.with(|state| {
            state.disconnect();
            let end = state.end;
            if let Some(slot) = &mut state.slot {
                (slot.confirmed, slot.saved) = (end, end);
            }
        });
    }

    // --- what a connector asks

    pub fn identify(&self) -> Result<Place> {
        self.with(|state| {
            state.reach()?;
            Ok(Place { system_id: "simulated".into(), timeline: 1, lsn: state.end })
        })
    }

    /// Made where the log ends, if it is not there.
    pub fn create_slot(&self) -> Result<Lsn> {
        self.with(|state| {
            state.reach()?;
            let end = state.end;
            Ok(state.slot.get_or_insert(SlotState { confirmed: end, saved: end, reader: None }).confirmed)
        })
    }

    pub fn drop_slot(&self) -> Result<()> {
        self.with(|state| {
            state.reach()?;
            state.slot = None;
            Ok(())
        })
    }

    pub fn slot(&self) -> Result<Option<Slot>> {
        self.with(|state| {
            state.reach()?;
            Ok(state.slot.as_ref().map(|slot| Slot {
                plugin: "pgoutput".into(),
                database: Some("simulated".into()),
                here: true,
                temporary: false,
                active: slot.reader.map(|reader| reader as i32),
                reader: None,
                confirmed: Some(slot.confirmed),
                status: None,
                invalidation: None,
                two_phase: false,
            }))
        })
    }

    /// A stream from `position` on; from further back if the server so pleases. A position behind what is confirmed counts for nothing.
    pub fn start_replication(&self, position: Lsn) -> Result<u64> {
        let again = self.dice.once_in(2);
        self.with(|state| {
            state.reach()?;
            let id = state.next;
            state.next += 1;
            let Some(slot) = &mut state.slot else {
                return Err(refused("42704", "replication slot \"s\" does not exist"));
            };
            if slot.reader.is_some() {
                return Err(refused("55006", "replication slot \"s\" is active for PID 1"));
            }
            slot.reader = Some(id);
            let start = if again { slot.confirmed } else { slot.confirmed.max(position) };
            let next = state.log.partition_point(|commit| commit.begin < start);
            let (frames, described) = (VecDeque::new(), BTreeSet::new());
            state.streams.insert(id, Stream { next, sent: start, frames, open: false, described, start });
            Ok(id)
        })
    }

    /// Ends whoever reads the slot.
    pub fn terminate_reader(&self) {
        self.with(|state| {
            if let Some(reader) = state.slot.as_mut().and_then(|slot| slot.reader.take()) {
                state.streams.remove(&reader);
            }
        });
    }

    pub fn close(&self, stream: u64) {
        self.with(|state| {
            state.streams.remove(&stream);
            if let Some(slot) = state.slot.as_mut().filter(|slot| slot.reader == Some(stream)) {
                slot.reader = None;
            }
        });
    }

    /// The next few frames; none if there is nothing new.
    pub fn frames(&self, stream: u64) -> Result<Vec<Vec<u8>>> {
        let (few, talk) = (1 + self.dice.below(6) as usize, self.dice.once_in(3));
        self.with(|state| {
            let (log, end) = (&state.log, state.end);
            let stream = state.streams.get_mut(&stream).ok_or_else(broken_off)?;
            let mut frames = vec![];
            while frames.len() < few {
                match stream.frames.pop_front() {
                    Some(frame) => frames.push(frame),
                    None => match log.get(stream.next) {
                        Some(commit) => {
                            stream.next += 1;
                            stream.encode(commit);
                            stream.sent = commit.end;
                        }
                        None => {
                            stream.sent = end;
                            break;
                        }
                    },
                }
            }
            stream.open = !stream.frames.is_empty();
            if talk {
                // In the middle of a transaction it tells of all its log; between two, of what it has sent.
                frames.push(keepalive(if stream.open { end } else { stream.sent }));
            }
            Ok(frames)
        })
    }

    /// The reader says what it will never ask for again (I7).
    pub fn acknowledge(&self, stream: u64, position: Lsn) {
        let save = self.dice.once_in(3);
        self.with(|state| {
            let durable = state.disk.newest();
            let known = durable.as_ref().and_then(|manifest| {
                let position = manifest.positions.get(&state.source?)?;
                Place::of(&Position(position.clone())).ok()
            });
            if known.as_ref().is_none_or(|known| known.lsn < position) {
                let known = known.map_or("nothing".into(), |known| known.lsn.to_string());
                state.broken.get_or_insert(format!("I7: {position} was acknowledged, {known} is durable"));
            }
            let Some(slot) = state.slot.as_mut().filter(|slot| slot.reader == Some(stream)) else { return };
            slot.confirmed = slot.confirmed.max(position);
            if save {
                slot.saved = slot.confirmed;
            }
        });
    }

    pub fn set_source(&self, source: u32) {
        self.with(|state| state.source = Some(source));
    }

    /// What the reader will never ask for again.
    pub fn confirmed(&self) -> Option<Lsn> {
        self.with(|state| state.slot.as_ref().map(|slot| slot.confirmed))
    }

    /// From now on the store is at another place, and whoever spoke as `token` may not touch anything here.
    pub fn moves(&self, disk: &Arc<Disk>, token: u64) {
        self.with(|state| {
            state.disk = disk.clone();
            state.left.insert(token);
        });
    }

    /// Somebody who speaks as `token` touches what is here; `is_aside`: from a store that lies beside the one that may.
    pub fn touched(&self, token: u64, is_aside: bool, what: &str) {
        self.with(|state| {
            if is_aside || state.left.contains(&token) {
                state.broken.get_or_insert(format!("a copy of the store {what} upstream, and did not take it over"));
            }
        });
    }

    pub fn publish(&self, table: u32) -> Result<()> {
        self.with(|state| {
            state.reach()?;
            state.published.insert(table);
            Ok(())
        })
    }

    /// A copy's lock, unless somebody is emptying the table; the session that holds it.
    pub fn lock(&self, table: u32) -> Result<Option<u64>> {
        self.with(|state| {
            state.reach()?;
            let free = !state.is_being_emptied(table);
            *state.locks.entry(table).or_default() += usize::from(free);
            Ok(free.then_some(state.breaks))
        })
    }

    /// The session has not been broken off.
    pub fn goes_on(&self, session: u64) -> Result<()> {
        self.with(|state| if state.breaks == session { state.reach() } else { Err(broken_off()) })
    }

    pub fn unlock(&self, table: u32) {
        self.with(|state| {
            let held = state.locks.entry(table).or_default();
            *held = held.saturating_sub(1);
        });
    }

    /// The transactions that run.
    pub fn running(&self) -> Result<BTreeSet<u64>> {
        self.with(|state| {
            state.reach()?;
            Ok(state.open.iter().map(|open| open.id).collect())
        })
    }

    /// Of a table as of now; none while one of `running` still runs.
    pub fn snapshot(&self, session: u64, table: u32, running: &BTreeSet<u64>) -> Result<Option<Snapshot>> {
        self.goes_on(session)?;
        self.with(|state| {
            state.reach()?;
            if state.open.iter().any(|open| running.contains(&open.id)) {
                return Ok(None);
            }
            let rows = state.contents()[&table].values().cloned().collect();
            Ok(Some(Snapshot { consistent: state.end, rows }))
        })
    }
}

impl State {
    fn reach(&self) -> Result<()> {
        if self.up { Ok(()) } else { Err(broken_off()) }
    }

    fn disconnect(&mut self) {
        self.streams.clear();
        self.locks.clear();
        self.breaks += 1;
        if let Some(slot) = &mut self.slot {
            slot.reader = None;
        }
    }

    fn contents(&self) -> &Contents {
        self.history.last().expect("there is a beginning")
    }

    /// Some open transaction has locked all of it.
    fn is_being_emptied(&self, table: u32) -> bool {
        let emptied = |change: &Change| change.table == table && matches!(change.effect, Effect::Truncate);
        self.open.iter().any(|open| open.changes.iter().any(emptied))
    }

    fn begin(&mut self) {
        self.open.push(Transaction { id: self.next, changes: vec![] });
        self.next += 1;
    }

    /// Places of a table that some open transaction has changed.
    fn changed(&self, table: u32) -> BTreeSet<i64> {
        let changes = self.open.iter().flat_map(|open| &open.changes).filter(|change| change.table == table);
        changes
            .flat_map(|change| match &change.effect {
                Effect::Update(old, new) if table != VISITS => vec![old.id, new.id],
                _ => vec![change.at],
            })
            .collect()
    }

    /// One more change of some open transaction, to a row that no open one has changed.
    fn change(&mut self, dice: &Dice) {
        if self.open.is_empty() {
            self.begin();
        }
        let table = TABLES[dice.below(3) as usize];
        if self.is_being_emptied(table) {
            return;
        }
        let (changed, of) = (self.changed(table), dice.below(self.open.len() as u64) as usize);
        let stored = &self.contents()[&table];
        let row = |id| Row {
            id,
            g: dice.below(4) as i64,
            v: (!dice.once_in(6)).then(|| dice.below(20) as i64),
            big: format!("value {}", dice.below(1000)),
        };
        if dice.once_in(25) && changed.is_empty() && self.locks.get(&table).is_none_or(|held| *held == 0) {
            return self.push(of, table, 0, Effect::Truncate);
        }
        if table == VISITS {
            let free: Vec<i64> = stored.keys().copied().filter(|at| !changed.contains(at)).collect();
            let at = free.get(dice.below(free.len() as u64 + 2) as usize).copied();
            let next = self.next as i64 + 1000;
            self.next += 1;
            let (at, effect) = match at.map(|at| (at, self.contents()[&table][&at].clone())) {
                // Few different rows, so that some stand there twice.
                None => (next, Effect::Insert(Row { id: dice.below(3) as i64, big: "b".into(), ..row(0) })),
                Some((at, old)) if dice.once_in(2) => (at, Effect::Update(old.clone(), Row { g: old.g + 1, ..old })),
                Some((at, old)) => (at, Effect::Delete(old)),
            };
            return self.push(of, table, at, effect);
        }
        let id = dice.below(KEYS as u64) as i64;
        if changed.contains(&id) {
            return;
        }
        let Some(old) = stored.get(&id).cloned() else { return self.push(of, table, id, Effect::Insert(row(id))) };
        let effect = match dice.below(10) {
            0..=2 => Effect::Delete(old),
            3 | 4 => {
                let to = dice.below(KEYS as u64) as i64;
                if to == id || changed.contains(&to) || stored.contains_key(&to) {
                    return;
                }
                // The key moves, and what is stored out of line goes along unsent.
                Effect::Update(old.clone(), Row { id: to, big: old.big, ..row(to) })
            }
            5..=7 => Effect::Update(old.clone(), Row { big: old.big, ..row(id) }),
            _ => Effect::Update(old, row(id)),
        };
        self.push(of, table, id, effect);
    }

    fn push(&mut self, of: usize, table: u32, at: i64, effect: Effect) {
        let published = self.published.contains(&table);
        self.open[of].changes.push(Change { table, at, effect, published });
        self.end.0 += 8;
    }

    fn commit(&mut self, dice: &Dice) {
        if self.open.is_empty() {
            return;
        }
        let mut changes = self.open.remove(dice.below(self.open.len() as u64) as usize).changes;
        let tick = self.contents()[&TICKS][&1].clone();
        let effect = Effect::Update(tick.clone(), Row { g: tick.g + 1, ..tick });
        changes.push(Change { table: TICKS, at: 1, effect, published: self.published.contains(&TICKS) });
        let mut contents = self.contents().clone();
        for Change { table, at, effect, .. } in &changes {
            let rows = contents.get_mut(table).unwrap();
            match effect {
                Effect::Insert(row) => drop(rows.insert(*at, row.clone())),
                Effect::Update(old, new) => {
                    rows.remove(at);
                    rows.insert(if *table == VISITS || old.id == new.id { *at } else { new.id }, new.clone());
                }
                Effect::Delete(_) => drop(rows.remove(at)),
                Effect::Truncate => rows.clear(),
            }
        }
        self.history.push(contents);
        let begin = self.end;
        self.end.0 += 8 + dice.below(32);
        self.log.push(Commit { begin, end: self.end, changes });
        // Other records follow, or none.
        self.end.0 += dice.below(2) * 8;
    }
}

impl Stream {
    fn encode(&mut self, commit: &Commit) {
        let mut begin = vec![b'B'];
        begin.extend(commit.begin.0.to_be_bytes());
        begin.extend([0; 12]);
        self.wrap(begin);
        for change in commit.changes.iter().filter(|change| change.published) {
            if self.described.insert(change.table) {
                self.wrap(description(change.table));
            }
            self.wrap(message(change));
        }
        let mut end = vec![b'C', 0];
        end.extend(commit.begin.0.to_be_bytes());
        end.extend(commit.end.0.to_be_bytes());
        end.extend([0; 8]);
        self.wrap(end);
    }

    fn wrap(&mut self, message: Vec<u8>) {
        let mut frame = vec![b'w'];
        frame.extend(self.start.0.to_be_bytes());
        frame.extend(self.sent.0.to_be_bytes());
        frame.extend([0; 8]);
        frame.extend(message);
        self.frames.push_back(frame);
    }
}

fn keepalive(end: Lsn) -> Vec<u8> {
    let mut frame = vec![b'k'];
    frame.extend(end.0.to_be_bytes());
    frame.extend([0; 9]);
    frame
}

/// Postgres' type ids of a table's columns.
pub const COLUMNS: [(&str, u32); 4] = [("id", 20), ("g", 20), ("v", 20), ("big", 25)];

pub fn name(table: u32) -> &'static str {
    ["", "orders", "items", "visits", "ticks"][table as usize]
}

pub fn is_keyed(table: u32) -> bool {
    table != VISITS
}

fn is_full(table: u32) -> bool {
    matches!(table, ITEMS | VISITS)
}

fn description(table: u32) -> Vec<u8> {
    let mut message = vec![b'R'];
    message.extend(table.to_be_bytes());
    message.extend(b"public\0");
    message.extend(name(table).as_bytes());
    message.extend([0, if is_full(table) { b'f' } else { b'd' }]);
    message.extend((COLUMNS.len() as u16).to_be_bytes());
    for (column, kind) in COLUMNS {
        message.push(u8::from(is_full(table) || column == "id"));
        message.extend(column.as_bytes());
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend((-1i32).to_be_bytes());
    }
    message
}

fn message(change: &Change) -> Vec<u8> {
    let (table, full) = (change.table.to_be_bytes(), is_full(change.table));
    let mut message = vec![];
    match &change.effect {
        Effect::Insert(row) => {
            message.push(b'I');
            message.extend(table);
            message.push(b'N');
            tuple(&mut message, row, false, false);
        }
        Effect::Update(old, new) => {
            message.push(b'U');
            message.extend(table);
            if full || old.id != new.id {
                message.push(if full { b'O' } else { b'K' });
                tuple(&mut message, old, !full, false);
            }
            message.push(b'N');
            tuple(&mut message, new, false, old.big == new.big);
        }
        Effect::Delete(row) => {
            message.push(b'D');
            message.extend(table);
            message.push(if full { b'O' } else { b'K' });
            tuple(&mut message, row, !full, false);
        }
        Effect::Truncate => {
            message.push(b'T');
            message.extend(1u32.to_be_bytes());
            message.push(0);
            message.extend(table);
        }
    }
    message
}

fn tuple(message: &mut Vec<u8>, row: &Row, key_only: bool, unchanged: bool) {
    message.extend((COLUMNS.len() as u16).to_be_bytes());
    for (column, value) in row.values().into_iter().enumerate() {
        match value {
            Some(_) if key_only && column > 0 => message.push(b'n'),
            Some(_) if unchanged && column == 3 => message.push(b'u'),
            Some(text) => {
                message.push(b't');
                message.extend((text.len() as u32).to_be_bytes());
                message.extend(text.as_bytes());
            }
            None => message.push(b'n'),
        }
    }
}

fn broken_off() -> UpstreamError {
    UpstreamError::Io(io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke"))
}

fn refused(sqlstate: &str, message: &str) -> UpstreamError {
    UpstreamError::Server(Response { sqlstate: sqlstate.into(), message: message.into(), ..Response::default() })
}
