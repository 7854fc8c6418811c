//! One simulation: a world with its store, its upstream and its nodes, and what is done to them.
//!
//! All of it runs in one thread. What must hold is checked at every read and every write: visible relations equal their definition over
//! the commits that the read says it has seen (I1, I3, I11), what was answered stays true after any crash, and in the end, when nothing
//! goes wrong any more, everything has arrived.

mod aside;
mod damage;
mod limits;
mod memory;
mod query;
mod time_travel;
mod unsealed;

use super::ASKED_FOR;
use super::disk::{Damage, Disk, Gated};
use super::model::{self, Rows};
use super::source::{self, ASIDE, HOME};
use super::time::{Dice, Gate, Hurried, Inline, NodeClock, Time};
use super::upstream::{self, ITEMS, ORDERS, TABLES, TICKS, Upstream, VISITS};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use weir::catalog::secret::Keeper;
use weir::catalog::{Catalog, Life};
use weir::connector::postgres::lsn::{Lsn, Place};
use weir::connector::{Connectors, Position, State};
use weir::coordinator::request::{Done, Handle, Request};
use weir::coordinator::{self, Config, Workers};
use weir::dataflow::engine::{Commands, Engine, Ordeal, Stepped, World as Shared};
use weir::dataflow::relations::{Failure, Pinned, Readable, Unreadable, Wanted};
use weir_sql::catalog::RelationId;
use weir_sql::session::Settings;
use weir_storage::env::Objects;
use weir_storage::fault::{Faults, Faulty};
use weir_storage::{Delta, Env, Epoch};

pub type Result<T, E = String> = std::result::Result<T, E>;

/// Whatever epoch there is.
const ANY: Wanted = Wanted { at_least: Epoch::ZERO, at_most: Epoch::NEVER, failed: false };

/// Bytes that the state of a few relations takes.
const STATE: u64 = 40_000;

/// Microseconds within which everything has arrived once nothing goes wrong any more.
const SETTLED_WITHIN: u64 = 120_000_000;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Action {
    /// Steps of concurrent transactions upstream.
    Work(u64),
    /// Time passes, microseconds.
    Wait(u64),
    /// The same, with work upstream all the while.
    Busy(u64),
    /// So many commits, one soon after the other: slow views fall behind.
    Burst(u64),
    Read,
    /// Somebody asks for a relation; the task of his query panics after so many rows, if that is said.
    Query(u64, Option<usize>),
    Create(usize),
    CreateAndCancel(usize),
    Drop(usize),
    /// A view is rebuilt.
    Refresh(usize),
    Follow(u32),
    Unfollow(u32),
    Insert,
    Flush,
    Pause,
    Resume,
    Resnapshot,
    /// The node dies before so many more effects, maybe since its machine loses power, and another starts on its store.
    Crash(u64),
    Shutdown,
    /// The node hangs while another takes its store over, and continues after so many microseconds.
    Hang(u64),
    Takeover,
    Cut,
    CrashUpstream(u64),
    StoreAway(u64),
    LoseSlot,
    AdvanceSlot,
    /// So many views at once.
    Many(usize),
    /// Somebody reads as of so many microseconds ago.
    Past(u64),
    /// The store is copied, and the copy is opened beside it.
    Copy,
    /// The node dies, and another starts on a copy of its store.
    Move,
    /// An object is damaged, nobody knows which.
    Damage(u64, Damage),
    /// The same between the death of a node and the start of another.
    DamageAtRest(u64, Damage),
    /// What the next read but so many asks for is damaged.
    DamageAtRead(u64, Damage),
}

struct Node {
    id: u64,
    /// When it was started.
    began: u64,
    env: Env,
    handle: Handle,
    gate: Arc<Gate>,
    run: JoinHandle<weir_sql::Result<()>>,
    worker: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    /// Somebody took its store over, or it was told to end.
    may_end: bool,
}

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    /// A statement about it was not answered.
    Maybe,
    There,
    Gone,
}

/// What an engine hands to who steps it.
type Handed = (Commands, Arc<Notify>);

enum Meaning {
    Creates(String),
    Drops(Vec<String>),
    Inserts(i64),
    Nothing,
}

struct Asked {
    /// Of whom.
    node: u64,
    text: String,
    meaning: Meaning,
    answer: oneshot::Receiver<weir_sql::Result<Done>>,
}

pub struct World {
    time: Arc<Time>,
    dice: Arc<Dice>,
    pub disk: Arc<Disk>,
    faults: Faults,
    faulty: Arc<Faulty>,
    upstream: Arc<Upstream>,
    spill: tempfile::TempDir,
    nodes: Vec<Node>,
    hung: Vec<(Node, u64)>,
    /// Servers that have had the store so far.
    owners: usize,
    /// It is a copy that lies beside the store whose source may read.
    is_aside: bool,
    asked: Vec<Asked>,
    readers: Vec<time_travel::Reader>,
    queries: Vec<query::Query>,
    known: BTreeMap<String, Known>,
    /// Views that were being made while something else was dropped with all that depends on it.
    doubtful: BTreeSet<String>,
    /// Views by name, with their kind.
    views: BTreeMap<String, usize>,
    ordeals: Vec<(String, Ordeal)>,
    /// Bytes that all state may take.
    state_limit: u64,
    next: i64,
    /// Rows of the plain table as it is now: surely there, and maybe.
    inserted: BTreeSet<i64>,
    maybe_inserted: BTreeSet<i64>,
    /// The catalog when it was last looked at, and what was live by it.
    catalog: Option<Arc<Catalog>>,
    live: BTreeSet<String>,
    /// Commits a reader has seen on the node that runs now.
    seen: usize,
    /// Commits seen at each epoch: an epoch never names two contents, also after a crash.
    at: BTreeMap<Epoch, usize>,
    slot_lost: bool,
    /// What had been confirmed when a table was first seen to have failed on a node.
    held: Option<(u64, Option<Lsn>)>,
    /// For comparing runs.
    pub trace: Vec<String>,
    pub reads: u64,
}

thread_local! {
    /// Panics of tasks, which their runtime would keep to itself.
    static PANICKED: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

pub fn note_panic(what: String) {
    PANICKED.with(|panicked| {
        panicked.borrow_mut().get_or_insert(what);
    });
}

pub fn take_panic() -> Option<String> {
    PANICKED.with(|panicked| panicked.borrow_mut().take())
}

impl World {
    /// `many`: relations by the hundred, of which a start asks with as many requests. So fewer fail.
    pub fn new(seed: u64, many: bool) -> Self {
        let (time, dice) = (Arc::new(Time::default()), Arc::new(Dice::new(seed)));
        let disk = Arc::new(Disk::new(dice.below(u64::MAX)));
        let faults = match dice.below(3) {
            0 => Faults::default(),
            1 => Faults { delay: 2_000, ..Faults::default() },
            _ if many => Faults { failed: 0.01, lost: 0.01, late: 0.02, delay: 20_000 },
            _ => Faults { failed: 0.03, lost: 0.03, late: 0.02, delay: 20_000 },
        };
        let faulty = aside::faulty(&disk, faults, &time, &dice);
        let upstream = Arc::new(Upstream::new(dice.clone(), disk.clone()));
        source::serve(&upstream, &dice);
        // Few or most views are slow, some so slow that their history goes to the store.
        let rest = |dice: &Dice| Duration::from_micros([2_000, 30_000, 150_000, 400_000][dice.below(4) as usize]);
        let one_in = [5, 5, 1][dice.below(3) as usize];
        let slow: Vec<u64> = (0..40).filter(|_| dice.once_in(one_in)).collect();
        // In every third run some views panic sooner or later, each time they are built.
        let one_in = [12, u64::MAX, u64::MAX][dice.below(3) as usize];
        let panics: Vec<u64> = (0..40).filter(|_| dice.once_in(one_in)).collect();
        // In every fourth run some views cannot be sealed for a while, or for ever.
        let one_in = [5, u64::MAX, u64::MAX, u64::MAX][dice.below(4) as usize];
        let unsealable: Vec<u64> = (0..40).filter(|_| dice.once_in(one_in)).collect();
        let period = |dice: &Dice| {
            let from = dice.below([1, 1_000_000, 10_000_000][dice.below(3) as usize]);
            let length = 1 + dice.below([500_000, 5_000_000, 30_000_000][dice.below(3) as usize]);
            (from, if dice.once_in(3) { u64::MAX } else { from + length })
        };
        let ordeal = |n: u64| Ordeal {
            rest: if slow.contains(&n) { rest(&dice) } else { Duration::ZERO },
            panics_at: panics.contains(&n).then(|| dice.below([20, 300, 3_000][dice.below(3) as usize])),
            unsealable: unsealable.contains(&n).then(|| period(&dice)),
        };
        let ordeals = (0..40).map(|n| (format!("v{n}"), ordeal(n))).collect();
        let state_limit = [u64::MAX, STATE + dice.below(9 * STATE)][usize::from(dice.once_in(6))];
        Self { faults, faulty, ordeals, state_limit, ..Self::on(disk, &time, &dice, &upstream) }
    }

    /// One where nothing has happened yet.
    fn on(disk: Arc<Disk>, time: &Arc<Time>, dice: &Arc<Dice>, upstream: &Arc<Upstream>) -> Self {
        let faults = Faults::default();
        Self {
            time: time.clone(),
            dice: dice.clone(),
            faulty: aside::faulty(&disk, faults, time, dice),
            disk,
            faults,
            upstream: upstream.clone(),
            spill: tempfile::tempdir().expect("a folder"),
            nodes: vec![],
            hung: vec![],
            owners: 0,
            is_aside: false,
            asked: vec![],
            readers: vec![],
            queries: vec![],
            known: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            views: BTreeMap::new(),
            ordeals: vec![],
            state_limit: u64::MAX,
            next: 0,
            inserted: BTreeSet::new(),
            maybe_inserted: BTreeSet::new(),
            catalog: None,
            live: BTreeSet::new(),
            seen: 0,
            at: BTreeMap::new(),
            slot_lost: false,
            held: None,
            trace: vec![],
            reads: 0,
        }
    }

    /// A server with the source and its first tables, then what happens to it, then the end.
    pub async fn run(&mut self, actions: &[Action]) -> Result<()> {
        self.start().await?;
        self.create_notes().await?;
        self.ask("CREATE SOURCE s WITH (connector = 'scripted')", Meaning::Creates("s".into())).await?;
        self.answered().await?;
        for table in [TICKS, ORDERS, ITEMS, VISITS] {
            self.follow(table).await?;
        }
        if self.dice.once_in(2) {
            // Views over views from the beginning.
            for kind in [1, 1, model::STACKED + self.dice.below((model::KINDS - model::STACKED) as u64) as usize] {
                self.act(&Action::Create(kind)).await?;
                self.answered().await?;
            }
        }
        for action in actions {
            self.trace.push(format!("{} {action:?}", self.time.now()));
            self.act(action).await.map_err(|error| format!("{action:?} at {} us: {error}", self.time.now()))?;
            let pause = self.dice.below(20_000);
            self.pass(pause).await?;
        }
        self.settle().await
    }

    fn node(&self) -> &Node {
        self.nodes.last().expect("a node runs")
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.node().handle.catalog.borrow().clone()
    }

    // --- time

    /// Lets everything run for so many microseconds.
    async fn pass(&mut self, micros: u64) -> Result<()> {
        let until = self.time.now() + micros;
        loop {
            for _ in 0..3 {
                yield_now().await;
            }
            self.check()?;
            self.thaw();
            if self.time.now() >= until {
                return Ok(());
            }
            self.time.pass(until);
        }
    }

    /// For people: where everything is.
    fn state(&self) -> String {
        let asked: Vec<&str> = self.asked.iter().map(|asked| asked.text.as_str()).collect();
        let Some(node) = self.nodes.last() else { return "no server runs".into() };
        let (progress, relations) = (node.handle.progress.borrow().clone(), &node.handle.relations);
        let relation = |object: &weir::catalog::Shared| {
            let found = relations.get(RelationId(object.id));
            let at = |r: Arc<Readable>| format!("{}, live {}, failure {:?}", r.upper(), r.is_live(), r.failure());
            let at = found.map_or("not there".into(), at);
            format!("{} {:?} at {at}", object.name, object.life)
        };
        let objects: Vec<String> = self.catalog().objects.values().map(relation).collect();
        let (closed, durable, commits) = (progress.closed, progress.durable, self.upstream.commits());
        format!(
            "asked {asked:?}; closed {closed}, durable {durable}; {commits} commits, {:?} seen; {}; {objects:#?}",
            self.ticks(),
            self.upstream.state(),
        )
    }

    /// How long anything may take. Hundreds of relations are read back one after the other, and each request may fail.
    fn patience(&self) -> u64 {
        let relations = self.nodes.last().map_or(0, |node| node.handle.catalog.borrow().objects.len() as u64);
        SETTLED_WITHIN * (1 + relations / 30)
    }

    /// Lets everything run until `over`.
    async fn until(&mut self, what: &str, over: impl Fn(&Self) -> bool) -> Result<()> {
        let limit = self.time.now() + self.patience();
        while !over(self) {
            if self.time.now() > limit {
                return Err(format!("waited in vain until {what}: {}", self.state()));
            }
            self.pass(1_000).await?;
        }
        Ok(())
    }

    fn thaw(&self) {
        let now = self.time.now();
        for (node, _) in self.hung.iter().filter(|(_, until)| *until <= now) {
            node.gate.freeze(false);
        }
    }

    /// Whatever promise was found broken, and what was answered meanwhile.
    fn check(&mut self) -> Result<()> {
        if let Some(panicked) = take_panic() {
            return Err(panicked);
        }
        if let Some(broken) = self.disk.broken().or_else(|| self.upstream.broken()) {
            return Err(broken);
        }
        for node in &self.nodes {
            let failed = node.handle.relations.all().into_iter().filter_map(|r| Some((r.failure()?.clone(), r)));
            let unasked = |(failure, relation): &(Failure, Arc<Readable>)| {
                let is_asked_for = failure.cause.message.contains(ASKED_FOR);
                let is_for_want = self.is_too_much(failure) || self.is_unsealed(node, relation, failure);
                !is_asked_for && !self.is_for_damage(failure) && !is_for_want
            };
            if let Some((failure, relation)) = failed.into_iter().find(unasked) {
                return Err(format!("relation {} has failed: {}", relation.id, failure.cause));
            }
            if !node.may_end && !node.gate.is_dead() && node.run.is_finished() {
                let why = node.handle.progress.borrow().stopped.clone();
                return Err(format!("the server ended though nobody took its store: {why:?}"));
            }
        }
        let mut waiting = vec![];
        for mut asked in std::mem::take(&mut self.asked) {
            match asked.answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => waiting.push(asked),
                // The server is gone, and with it the answer.
                Err(oneshot::error::TryRecvError::Closed) => {}
                Ok(answer) => self.answer(&asked, answer)?,
            }
        }
        self.asked = waiting;
        self.check_past()?;
        self.check_queries()?;
        self.check_confirmed()?;
        self.read_what_came()
    }

    /// Reads what has just become readable together with each of the others, which may be behind it.
    fn read_what_came(&mut self) -> Result<()> {
        let Some(node) = self.nodes.last() else { return Ok(()) };
        let catalog = node.handle.catalog.borrow().clone();
        if self.catalog.replace(catalog.clone()).is_some_and(|before| Arc::ptr_eq(&before, &catalog)) {
            return Ok(());
        }
        let live = self.live();
        let (others, came): (Vec<_>, Vec<_>) = live.into_iter().partition(|(name, _)| self.live.contains(name));
        self.live = others.iter().chain(&came).map(|(name, _)| name.clone()).collect();
        for one in &came {
            for other in &others {
                self.read_together(&[one.clone(), other.clone()], false)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, asked: &Asked, answer: weir_sql::Result<Done>) -> Result<()> {
        self.trace.push(format!("{} {}: {:?}", self.time.now(), asked.text, answer.as_ref().map(|_| ())));
        if answer.is_err() {
            return Ok(());
        }
        match &asked.meaning {
            Meaning::Creates(name) => {
                let known = if self.doubtful.contains(name) { Known::Maybe } else { Known::There };
                self.known.insert(name.clone(), known);
            }
            Meaning::Drops(names) => {
                for name in names {
                    self.known.insert(name.clone(), Known::Gone);
                }
            }
            // A server that hung may say late what it did to a table that is not there any more.
            Meaning::Inserts(id) if self.maybe_inserted.contains(id) => drop(self.inserted.insert(*id)),
            Meaning::Inserts(_) | Meaning::Nothing => {}
        }
        Ok(())
    }

    /// Waits until every statement has its answer.
    async fn answered(&mut self) -> Result<()> {
        self.until("all statements are answered", |world| world.asked.is_empty()).await
    }

    // --- nodes

    /// A server on the store. The one before it, if it runs, loses the store. One that does not get an answer of the store ends, and is
    /// started again.
    async fn start(&mut self) -> Result<()> {
        let limit = self.time.now() + self.patience();
        while !self.try_start().await? {
            if self.time.now() > limit {
                return Err("no server starts".into());
            }
            self.pass(1_000_000).await?;
        }
        Ok(())
    }

    async fn try_start(&mut self) -> Result<bool> {
        let began = self.time.now();
        let gate = Arc::new(Gate::default());
        let objects: Arc<dyn Objects> = Arc::new(Gated { objects: self.faulty.clone(), gate: gate.clone() });
        let clock = Arc::new(NodeClock { time: self.time.clone(), gate: gate.clone() });
        let limits = self.limits();
        let env = Env { clock, random: self.dice.clone(), threads: Arc::new(Inline), objects, limits };
        self.nodes.iter_mut().for_each(|node| node.may_end = true);
        let worker: Arc<Mutex<Option<Handed>>> = Arc::default();
        let given = worker.clone();
        let hurried = Hurried {
            clock: NodeClock { time: self.time.clone(), gate: gate.clone() },
            dice: self.dice.clone(),
            pace: [0, 1_000, 4_000][self.dice.below(3) as usize],
            passed: AtomicU64::default(),
        };
        let (part, limit) = ([1, 4, 100, 1_000][self.dice.below(4) as usize], 50 + self.dice.below(1_000) as usize);
        let start = move |mut shared: Shared| {
            shared.clock = Arc::new(hurried);
            shared.part.rows = part;
            shared.limit = limit;
            let alarm = Arc::new(Notify::new());
            let (engine, commands) = Engine::stepped(shared, alarm.clone());
            *given.lock().unwrap() = Some((commands, alarm));
            engine
        };
        let config = Config {
            workers: Workers::Given(Box::new(start)),
            limits: self.pace(),
            keeper: Keeper::open(None).expect("no key is needed"),
            spill: self.spill.path().into(),
            source_limit: 1 << 20,
            history_limit: [1_000, 100_000][self.dice.below(2) as usize] + self.dice.below(20_000) as usize,
            jump_after: [2, 6, 32][self.dice.below(3) as usize],
            lag_limit: [u64::MAX, self.dice.below(4_000)][self.dice.below(2) as usize],
            state_limit: self.state_limit,
            portion_rows: [2, 5, 1_000][self.dice.below(3) as usize],
            pool: tokio::runtime::Handle::current(),
            ordeals: self.ordeals.clone(),
            connectors: Connectors(if self.is_aside { ASIDE } else { HOME }),
            accept_data_loss: false,
        };
        let started = spawn_local(coordinator::start(env.clone(), config));
        self.until("a server has started", |_| started.is_finished()).await?;
        let (coordinator, handle) = match started.await.map_err(|e| e.to_string())? {
            Ok(started) => started,
            Err(error) if error.message.contains("injected") || error.message.contains("away") => return Ok(false),
            Err(error) if self.disk.put_back(&error.message).await => {
                self.trace.push(format!("{} refused and put back: {error}", self.time.now()));
                return Ok(false);
            }
            Err(error) => return Err(format!("a server does not start: {error}")),
        };
        let (commands, alarm) = worker.lock().unwrap().take().expect("the engine was started");
        let worker = spawn_local(work(commands, alarm, self.time.clone(), self.dice.clone(), gate.clone()));
        let (stop, stopped) = oneshot::channel();
        let run = spawn_local(coordinator.run(stopped));
        self.seen = self.durable();
        let id = self.dice.below(u64::MAX);
        self.owners += 1;
        self.nodes.push(Node { id, began, env, handle, gate, run, worker, stop: Some(stop), may_end: false });
        Ok(true)
    }

    /// Commits that are durable.
    fn durable(&self) -> usize {
        let position = self.disk.newest().and_then(|manifest| {
            let place = Place::of(&Position(manifest.positions.values().next()?.clone()));
            place.ok().map(|place| place.lsn)
        });
        position.map_or(0, |lsn| self.upstream.covered(lsn))
    }

    /// The node is gone, in the middle of whatever it did.
    fn bury(&mut self, node: Node) {
        node.gate.kill();
        node.run.abort();
        node.worker.abort();
        // What was asked of it stays unanswered.
        self.asked.retain(|asked| asked.node != node.id);
        self.readers.retain(|reader| reader.node != node.id);
        self.queries.retain(|query| query.node != node.id);
        if !self.is_aside {
            self.upstream.cut();
        }
    }

    async fn restart(&mut self) -> Result<()> {
        let node = self.nodes.pop().expect("a node runs");
        self.bury(node);
        let pause = self.dice.below(100_000);
        self.pass(pause).await?;
        self.start().await
    }

    // --- what is asked

    async fn ask(&mut self, text: &str, meaning: Meaning) -> Result<()> {
        let parsed = weir_sql::statement::parse(text).map_err(|e| e.to_string())?.remove(0);
        let (reply, answer) = oneshot::channel();
        let settings = Settings::default();
        self.forget(&meaning);
        self.tell(Request::Ddl { statement: parsed.statement, text: parsed.text, settings, reply });
        self.asked.push(Asked { node: self.node().id, text: text.into(), meaning, answer });
        Ok(())
    }

    /// Until it is answered, nothing is sure.
    fn forget(&mut self, meaning: &Meaning) {
        let names = match meaning {
            Meaning::Creates(name) => std::slice::from_ref(name),
            Meaning::Drops(names) => names,
            Meaning::Inserts(id) => {
                self.maybe_inserted.insert(*id);
                return;
            }
            Meaning::Nothing => return,
        };
        for name in names {
            self.known.insert(name.clone(), Known::Maybe);
        }
    }

    fn tell(&self, request: Request) {
        // A server that hangs may have a full queue; then nobody was asked.
        let _ = self.node().handle.requests.try_send(request);
    }

    async fn follow(&mut self, table: u32) -> Result<()> {
        let name = upstream::name(table);
        self.ask(&format!("CREATE TABLE {name} (*) FROM s TABLE 'public.{name}'"), Meaning::Creates(name.into())).await
    }

    /// Objects that are readable by name.
    fn live(&self) -> Vec<(String, RelationId)> {
        let catalog = self.catalog();
        let live = catalog.objects.values().filter(|o| o.life == Life::Live && o.columns().is_some());
        live.map(|o| (o.name.clone(), RelationId(o.id))).collect()
    }

    async fn act(&mut self, action: &Action) -> Result<()> {
        match *action {
            Action::Work(steps) => self.upstream.work(steps),
            Action::Wait(micros) => self.pass(micros).await?,
            Action::Burst(commits) => {
                for _ in 0..commits {
                    self.upstream.work(4);
                    self.pass(3_000).await?;
                    if self.dice.once_in(4) {
                        self.read(None)?;
                    }
                }
            }
            Action::Busy(micros) => {
                let until = self.time.now() + micros;
                while self.time.now() < until {
                    self.upstream.work(6);
                    self.pass(1_000_000).await?;
                }
            }
            Action::Read => self.read(None)?,
            Action::Query(which, panics_after) => {
                self.query(which, panics_after)?;
            }
            Action::Create(kind) | Action::CreateAndCancel(kind) => {
                let there = |name: &String| self.known[name] == Known::There;
                let below = self.views.iter().filter(|(name, kind)| **kind == 1 && there(name));
                let below: Vec<&str> = below.map(|(name, _)| name.as_str()).collect();
                if kind >= model::STACKED && below.is_empty() {
                    return Ok(());
                }
                let text = self.create_view(kind, &model::query(kind, &below)).await?;
                if matches!(action, Action::CreateAndCancel(_)) {
                    let micros = self.dice.below(60_000);
                    self.pass(micros).await?;
                    // Whoever asked goes away.
                    self.asked.retain(|asked| asked.text != text);
                }
            }
            Action::Drop(which) => {
                let Some(name) = self.view(which) else { return Ok(()) };
                self.drop_cascade("MATERIALIZED VIEW", &name).await?;
            }
            Action::Refresh(which) => {
                let Some(name) = self.view(which) else { return Ok(()) };
                // Refused if it is half made, or what it reads has failed.
                self.ask(&format!("REFRESH MATERIALIZED VIEW {name}"), Meaning::Nothing).await?;
            }
            Action::Follow(table) => {
                if self.known.get(upstream::name(table)) == Some(&Known::Gone) {
                    self.follow(table).await?;
                }
            }
            Action::Unfollow(table) => {
                if self.known.get(upstream::name(table)) == Some(&Known::There) {
                    self.drop_cascade("TABLE", upstream::name(table)).await?;
                }
            }
            Action::Insert => self.insert(),
            Action::Flush => self.flush(),
            Action::Pause => self.ask("ALTER SOURCE s PAUSE", Meaning::Nothing).await?,
            Action::Resume => self.ask("ALTER SOURCE s RESUME", Meaning::Nothing).await?,
            Action::Resnapshot => self.ask("ALTER SOURCE s RESNAPSHOT", Meaning::Nothing).await?,
            Action::Crash(effects) => {
                self.node().gate.doom(effects);
                let limit = self.time.now() + 300_000;
                while !self.node().gate.is_dead() && self.time.now() < limit {
                    self.pass(500).await?;
                }
                self.node().gate.kill();
                if self.hung.is_empty() && self.dice.once_in(2) {
                    self.disk.lose_power();
                }
                self.restart().await?;
            }
            Action::Shutdown => {
                let stop = self.nodes.last_mut().and_then(|node| {
                    node.may_end = true;
                    node.stop.take()
                });
                let _ = stop.map(|stop| stop.send(()));
                self.until("a server has ended", |world| world.node().run.is_finished()).await?;
                self.restart().await?;
            }
            Action::Hang(micros) => {
                // What it is asked now it does when it wakes up, and then it must know that it may not.
                self.insert();
                self.node().gate.freeze(true);
                self.take_over(micros).await?;
            }
            Action::Takeover => {
                self.insert();
                self.take_over(0).await?;
            }
            Action::Cut => self.upstream.cut(),
            Action::CrashUpstream(micros) => {
                self.upstream.crash();
                self.pass(micros).await?;
                self.upstream.start();
            }
            Action::StoreAway(micros) => {
                self.faulty.set_away(true);
                self.pass(micros).await?;
                self.faulty.set_away(false);
            }
            Action::LoseSlot => {
                self.upstream.lose_slot();
                self.slot_lost = true;
            }
            Action::AdvanceSlot => {
                self.upstream.advance_slot();
                self.slot_lost = true;
            }
            Action::Many(views) => {
                for n in 0..views {
                    let kind = n % model::STACKED;
                    self.create_view(kind, &model::query(kind, &[])).await?;
                    if n % 20 == 19 {
                        self.answered().await?;
                        self.upstream.work(5);
                    }
                }
            }
            Action::Past(ago) => self.read_past(ago),
            Action::Copy => self.open_copy().await?,
            Action::Move => self.move_store().await?,
            Action::Damage(of, damage) => self.damage(of, damage).await,
            Action::DamageAtRest(of, damage) => {
                let node = self.nodes.pop().expect("a node runs");
                self.bury(node);
                self.damage(of, damage).await;
                self.start().await?;
                if self.dice.once_in(2) {
                    self.mend().await?;
                }
            }
            Action::DamageAtRead(reads, damage) => self.disk.spoil_read(Some((reads, damage))),
        }
        Ok(())
    }

    /// One of the views there are, also of those that are only half made.
    fn view(&self, which: usize) -> Option<String> {
        let catalog = self.catalog();
        let there: Vec<&String> = self.views.keys().filter(|name| catalog.by_name(name).is_some()).collect();
        there.get(which % there.len().max(1)).map(|name| name.to_string())
    }

    /// Asks for a view; by which statement.
    async fn create_view(&mut self, kind: usize, query: &str) -> Result<String> {
        let name = format!("v{}", self.next);
        self.next += 1;
        self.views.insert(name.clone(), kind);
        let text = format!("CREATE MATERIALIZED VIEW {name} AS {query}");
        self.ask(&text, Meaning::Creates(name)).await?;
        Ok(text)
    }

    /// Another server starts on the store; the one before continues after so many microseconds.
    async fn take_over(&mut self, micros: u64) -> Result<()> {
        let before = self.nodes.pop().expect("a node runs");
        self.start().await?;
        let until = self.time.now() + micros;
        self.hung.push((Node { may_end: true, ..before }, until));
        Ok(())
    }

    async fn drop_cascade(&mut self, kind: &str, name: &str) -> Result<()> {
        let catalog = self.catalog();
        let Some(object) = catalog.by_name(name) else {
            return Err(format!("\"{name}\" was created and is not there"));
        };
        let mut names = vec![name.to_string()];
        let mut ids = vec![object.id];
        for object in catalog.objects.values() {
            if object.reads().iter().any(|id| ids.contains(id)) {
                ids.push(object.id);
                names.push(object.name.clone());
            }
        }
        for asked in &self.asked {
            if let Meaning::Creates(name) = &asked.meaning {
                self.doubtful.insert(name.clone());
            }
        }
        self.ask(&format!("DROP {kind} {name} CASCADE"), Meaning::Drops(names)).await
    }

    fn flush(&mut self) {
        let (reply, answer) = oneshot::channel();
        self.tell(Request::Flush { reply });
        self.asked.push(Asked { node: self.node().id, text: "FLUSH".into(), meaning: Meaning::Nothing, answer });
    }

    /// One row into the plain table, durably.
    fn insert(&mut self) {
        let id = self.next;
        let Some(answer) = self.write() else { return };
        self.asked.push(Asked {
            node: self.node().id,
            text: format!("INSERT {id}"),
            meaning: Meaning::Inserts(id),
            answer,
        });
    }

    /// The answer to it.
    fn write(&mut self) -> Option<oneshot::Receiver<weir_sql::Result<Done>>> {
        use arrow::array::{Int64Array, RecordBatch};
        let catalog = self.catalog();
        let table = catalog.by_name("notes").filter(|o| o.life == Life::Live)?;
        let id = self.next;
        self.next += 1;
        let schema = Arc::new(arrow::datatypes::Schema::new(
            table.columns().expect("a table").iter().map(weir_sql::types::Column::field).collect::<Vec<_>>(),
        ));
        let columns = [Int64Array::from(vec![id]), Int64Array::from(vec![id * 2])];
        let rows = RecordBatch::try_new(schema, columns.map(|c| Arc::new(c) as _).to_vec()).expect("two numbers");
        let fold = weir::connector::Fold { upserts: vec![rows], ..Default::default() };
        let (reply, answer) = oneshot::channel();
        let changes = vec![(RelationId(table.id), weir::connector::Changes::Keyed(fold))];
        self.forget(&Meaning::Inserts(id));
        self.tell(Request::Write { changes, persist: true, lock: None, reply });
        Some(answer)
    }

    // --- reading

    /// Reads some relations. `all`: each of them must be readable.
    fn read(&mut self, all: Option<&[String]>) -> Result<()> {
        let live = self.live();
        let wanted: Vec<(String, RelationId)> = match all {
            Some(names) => live.into_iter().filter(|(name, _)| names.contains(name)).collect(),
            None => live.into_iter().filter(|_| self.dice.once_in(2)).collect(),
        };
        self.read_together(&wanted, all.is_some())
    }

    /// Reads relations at one epoch and compares them with their definition. `all`: each of them must be readable.
    fn read_together(&mut self, wanted: &[(String, RelationId)], all: bool) -> Result<()> {
        let live = self.live();
        let Some(ticks) = live.iter().find(|(name, _)| name == "ticks") else { return self.read_all_of(all, "ticks") };
        let mut ids: Vec<RelationId> = wanted.iter().map(|(_, id)| *id).collect();
        ids.push(ticks.1);
        ids.sort_unstable();
        ids.dedup();
        let relations = self.node().handle.relations.clone();
        let pin = match relations.pin(&ids, ANY) {
            Ok(pin) => pin,
            Err(Unreadable::Building(_) | Unreadable::NoCommonEpoch) if !all => return Ok(()),
            // Without it nobody knows what is to be seen.
            Err(Unreadable::Failed(id, _)) if id == ticks.1 => return Ok(()),
            // What failed is left out, and was right where it stands.
            Err(Unreadable::Failed(id, _)) => {
                self.read_failed(id)?;
                let others: Vec<_> = wanted.iter().filter(|(_, other)| *other != id).cloned().collect();
                return self.read_together(&others, all);
            }
            Err(why) => return Err(format!("cannot be read: {why:?}")),
        };
        self.reads += 1;
        let held = |id: RelationId| contents(&pin.relations[&id]);
        let (tick, _) = held(ticks.1)?;
        let commits: usize = match tick.keys().next().and_then(|row| row[1].as_ref()) {
            Some(n) if tick.len() == 1 => n.parse().map_err(|_| "no number")?,
            _ => return Err(format!("ticks is {tick:?}")),
        };
        let Some(expected) = self.upstream.contents(commits) else {
            return Err(format!("{commits} commits seen, there were {}", self.upstream.commits()));
        };
        if let Some(before) = self.at.insert(pin.epoch, commits).filter(|before| *before != commits) {
            return Err(format!("{commits} commits seen at {}, and {before} at the same epoch before", pin.epoch));
        }
        if commits < self.seen {
            // A view that is behind is read where it is.
            let newest = relations.get(ticks.1).is_some_and(|ticks| ticks.upper() == pin.epoch);
            if newest {
                return Err(format!("{commits} commits seen at {}, {} before", pin.epoch, self.seen));
            }
        }
        for (name, id) in wanted {
            let (rows, errors) = held(*id)?;
            let (right, failed) = match TABLES.into_iter().find(|table| upstream::name(*table) == name) {
                Some(table) => (model::count(expected[&table].values().map(upstream::Row::values)), 0),
                None if name == "notes" => {
                    self.check_notes(&rows, pin.epoch)?;
                    continue;
                }
                None => model::evaluate(self.views[name], &expected),
            };
            if rows != right || errors != failed {
                let kind = self.views.get(name);
                return Err(format!(
                    "\"{name}\" (view {kind:?}) at {}, {commits} commits: {} errors, not {failed}; too much {:?}, missing {:?}",
                    pin.epoch,
                    errors,
                    less(&rows, &right),
                    less(&right, &rows),
                ));
            }
        }
        let names: Vec<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let line = format!("{} read {names:?} at {}, {commits} commits", self.time.now(), pin.epoch);
        if relations.get(ticks.1).is_some_and(|ticks| ticks.upper() == pin.epoch) {
            self.seen = self.seen.max(commits);
        }
        self.trace.push(line);
        Ok(())
    }

    /// Reads a relation that has failed, as of where it stands: if somebody has read others there, it is known what it has to be.
    fn read_failed(&mut self, id: RelationId) -> Result<()> {
        let Some(name) = self.catalog().get(id.0).map(|object| object.name.clone()) else { return Ok(()) };
        let Ok(pin) = self.node().handle.relations.pin(&[id], Wanted { failed: true, ..ANY }) else { return Ok(()) };
        let (Some(commits), Some(kind)) = (self.at.get(&pin.epoch), self.views.get(&name)) else { return Ok(()) };
        let Some(expected) = self.upstream.contents(*commits) else { return Ok(()) };
        let found = contents(&pin.relations[&id])?;
        let right = model::evaluate(*kind, &expected);
        if found != right {
            let at = pin.epoch;
            return Err(format!(
                "\"{name}\" (view {kind:?}) has failed, and was wrong at {at} before: {found:?}, not {right:?}"
            ));
        }
        self.reads += 1;
        Ok(())
    }

    fn read_all_of(&self, all: bool, missing: &str) -> Result<()> {
        match all && self.known.get(missing) == Some(&Known::There) {
            true => Err(format!("{missing} is not readable")),
            false => Ok(()),
        }
    }

    fn check_notes(&self, rows: &Rows, at: Epoch) -> Result<()> {
        let found: BTreeSet<i64> = rows.keys().filter_map(|row| row[0].as_ref()?.parse().ok()).collect();
        if let Some(alien) = found.difference(&self.maybe_inserted).next() {
            return Err(format!("notes has {alien}, which nobody inserted"));
        }
        // Another relation may hold the read back; what was answered is visible at the table's own epoch.
        let table = self.catalog().by_name("notes").map(|o| RelationId(o.id));
        let newest = table.and_then(|id| self.node().handle.relations.get(id)).is_some_and(|r| r.upper() == at);
        match self.inserted.difference(&found).next() {
            Some(lost) if newest => Err(format!("notes lost {lost}, which was answered")),
            _ => Ok(()),
        }
    }

    /// What was answered is there, and what is gone stays gone.
    fn check_catalog(&self) -> Result<()> {
        let catalog = self.catalog();
        for (name, known) in &self.known {
            let found = catalog.by_name(name);
            match known {
                Known::There if found.is_none_or(|o| o.life != Life::Live) => {
                    return Err(format!("\"{name}\" was created and is {:?}", found.map(|o| o.life)));
                }
                Known::Gone if found.is_some_and(|o| o.life != Life::Dropping) => {
                    return Err(format!("\"{name}\" was dropped and is there"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    // --- the end

    /// Nothing goes wrong any more: everything arrives, and everything is right, also after another start.
    async fn settle(&mut self) -> Result<()> {
        self.upstream.start();
        // Copies wait for transactions that run.
        self.upstream.rest();
        self.faulty.set_away(false);
        self.disk.spoil_read(None);
        while let Some((node, _)) = self.hung.first() {
            node.gate.freeze(false);
            let is_over = |world: &Self| world.hung[0].0.run.is_finished();
            self.until("a server that lost its store has ended", is_over).await?;
            let (node, _) = self.hung.remove(0);
            self.bury(node);
        }
        self.ask("ALTER SOURCE s RESUME", Meaning::Nothing).await?;
        self.outlast().await?;
        self.mend().await?;
        self.arrive().await?;
        self.renew().await?;
        self.wait_for_readers().await?;
        self.wait_for_queries().await?;
        self.restart().await?;
        self.mend().await?;
        self.upstream.work(20);
        self.upstream.rest();
        self.arrive().await?;
        self.check_let_go().await?;
        self.check_memory().await
    }

    async fn arrive(&mut self) -> Result<()> {
        self.answered().await?;
        if self.slot_lost {
            return self.stopped().await;
        }
        let complete = |world: &Self| {
            let catalog = world.catalog();
            let resting = catalog.objects.values().all(|object| object.life == Life::Live);
            let relations = &world.node().handle.relations;
            let closed = world.node().handle.progress.borrow().closed;
            let reached = relations.all().iter().all(|r| r.has_failed() || r.is_live() && r.upper() == closed);
            let has_all = catalog.by_name("ticks").is_none() || world.ticks() == Some(world.upstream.commits());
            resting && reached && has_all
        };
        self.until("everything has arrived", complete).await?;
        self.check_catalog()?;
        let names: Vec<String> = self.live().into_iter().map(|(name, _)| name).collect();
        self.read(Some(&names))
    }

    /// A source whose slot is lost says so, and goes nowhere; what was read before stays readable.
    async fn stopped(&mut self) -> Result<()> {
        let limit = self.time.now() + SETTLED_WITHIN;
        loop {
            let (reply, mut answer) = oneshot::channel();
            self.tell(Request::Inspect { reply });
            self.pass(50_000).await?;
            let sources = answer.try_recv().map(|inspection| inspection.sources).unwrap_or_default();
            let mut states = sources.into_iter().map(|(_, status)| status.state);
            match states.next() {
                Some(State::Stopped { name, .. }) if name == "slot_missing" || name == "slot_past_checkpoint" => break,
                // It had everything, or there is none.
                Some(State::Running { .. }) if self.ticks().is_none_or(|n| n == self.upstream.commits()) => break,
                None if self.known.get("s") != Some(&Known::There) => break,
                other if self.time.now() > limit => {
                    return Err(format!("the slot is lost and the source is {other:?}"));
                }
                _ => {}
            }
        }
        self.check_catalog()?;
        self.read(None)
    }

    fn ticks(&self) -> Option<usize> {
        let id = RelationId(self.catalog().by_name("ticks")?.id);
        let pin = self.node().handle.relations.pin(&[id], ANY).ok()?;
        let (rows, _) = contents(&pin.relations[&id]).ok()?;
        rows.keys().next()?[1].as_ref()?.parse().ok()
    }
}

/// The worker of a node: steps it whenever it was told something, and while something is behind.
async fn work(commands: Commands, alarm: Arc<Notify>, time: Arc<Time>, dice: Arc<Dice>, gate: Arc<Gate>) {
    let mut stepped = Stepped::begin(commands);
    let mut pause = 50;
    loop {
        gate_open(&gate).await;
        if !stepped.step() {
            return;
        }
        tokio::select! {
            biased;
            () = alarm.notified() => pause = 50,
            () = time.sleep(dice.below(pause)), if stepped.is_behind() => pause = (pause * 2).min(3_000),
        }
    }
}

/// Computing is no effect, but the dead do not compute.
async fn gate_open(gate: &Gate) {
    if gate.is_dead() {
        std::future::pending::<()>().await;
    }
}

/// Rows of `a` that `b` does not have so often.
fn less(a: &Rows, b: &Rows) -> Rows {
    let rest = a.iter().map(|(row, n)| (row.clone(), n - b.get(row).copied().unwrap_or(0)));
    rest.filter(|(_, n)| *n > 0).collect()
}

/// Rows, and the number of errors.
fn contents(pinned: &Pinned) -> Result<(Rows, i64)> {
    let mut rows = Rows::new();
    for delta in pinned.rows.iter().flat_map(|snapshot| snapshot.scan(None)) {
        add(&mut rows, &delta.map_err(|e| e.to_string())?)?;
    }
    rows.retain(|_, n| *n != 0);
    let errors = pinned.errors.iter().flat_map(|snapshot| snapshot.scan(None));
    let mut failed = 0;
    for delta in errors {
        let delta = delta.map_err(|e| e.to_string())?;
        failed += delta.weights().iter().sum::<i64>();
    }
    Ok((rows, failed))
}

fn add(rows: &mut Rows, delta: &Delta) -> Result<()> {
    let options = FormatOptions::default();
    let formatters = delta.rows().columns().iter().map(|c| ArrayFormatter::try_new(c, &options));
    let formatters: Vec<_> = formatters.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    for (row, weight) in delta.weights().iter().enumerate() {
        let value = |(column, text): (usize, &ArrayFormatter)| {
            (!delta.rows().column(column).is_null(row)).then(|| text.value(row).to_string())
        };
        *rows.entry(formatters.iter().enumerate().map(value).collect()).or_default() += weight;
    }
    Ok(())
}
