//! The least coordinator there can be: takes what a source hands over and keeps the tables as maps.

use crate::kit::{Client, Postgres, TIMEOUT};
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::Notify;
use weir::connector::buffer::Buffers;
use weir::connector::{
    Bag, Batch, Changes, Connector, Connectors, Definition, Event, Fold, Position, RowError, Source, Start, State,
    Subscription, Wanted,
};
use weir_sql::catalog::RelationId;
use weir_storage::Env;
use weir_storage::publish::{Durable, Publisher};

/// NULL as `None`.
pub type Row = Vec<Option<String>>;

#[derive(Default)]
pub struct Table {
    key: Option<Vec<usize>>,
    /// By key.
    keyed: BTreeMap<Row, Result<Row, RowError>>,
    /// By row.
    bag: BTreeMap<Row, i64>,
    pub failed: Vec<(RowError, i64)>,
}

/// A source that is being read, and what it has handed over.
pub struct Mirror {
    pub definition: Definition,
    pub source: Arc<dyn Source>,
    pub position: Position,
    pub tables: HashMap<RelationId, Table>,
    pub consistent: HashSet<RelationId>,
    pub stopped: HashMap<RelationId, RowError>,
    pub notices: Vec<String>,
    subscriptions: Vec<Subscription>,
    wake: Arc<Notify>,
    spill: TempDir,
    limit: usize,
}

pub fn connector() -> &'static dyn Connector {
    Connectors::default().find("postgres-cdc").expect("the connector is known")
}

pub fn definition(port: u16, extra: &[(&str, &str)]) -> Definition {
    let port = port.to_string();
    let mut options: BTreeMap<String, String> = [
        ("connector", "postgres-cdc"),
        ("hostname", "127.0.0.1"),
        ("port", &port),
        ("username", "postgres"),
        ("password", crate::kit::PASSWORD),
        ("database.name", "postgres"),
        ("slot.name", "weir_test"),
        ("publication.name", "weir_test"),
    ]
    .map(|(k, v)| (k.to_string(), v.to_string()))
    .into();
    options.extend(extra.iter().map(|(k, v)| (k.to_string(), v.to_string())));
    Definition { id: 1, name: "shop".into(), identity: Default::default(), options, details: serde_json::Value::Null }
}

pub fn environment() -> Env {
    Env::real(weir_storage::store::open("memory://").expect("a store in memory"))
}

/// A proof that something is durable, whatever it is.
pub async fn durable() -> Durable {
    let (publisher, _) = Publisher::take_over(&environment(), None).await.expect("an empty store is taken over");
    publisher.confirm().await.expect("nobody else publishes")
}

impl Mirror {
    /// Checks, creates and starts a source.
    pub async fn create(postgres: &Postgres) -> Self {
        Self::create_through(postgres.port()).await
    }

    pub async fn create_through(port: u16) -> Self {
        let mut definition = definition(port, &[]);
        definition.details = connector().check(&definition).await.expect("the server passes the checks");
        let created = connector().create(&definition).await.expect("the source is created");
        definition.details = created.details;
        Self::start(definition, created.position, vec![]).await
    }

    pub async fn start(definition: Definition, position: Position, subscriptions: Vec<Subscription>) -> Self {
        let spill = tempfile::tempdir().expect("a folder to spill to");
        let limit = 16 << 20;
        let wake = Arc::new(Notify::new());
        let start = Start {
            env: environment(),
            position: position.clone(),
            tables: subscriptions.clone(),
            wake: wake.clone(),
            buffer: Buffers::new(limit).part(),
            spill: spill.path().to_path_buf(),
        };
        let source = connector().start(&definition, start).await.expect("the source starts");
        let mut mirror = Self {
            definition,
            source,
            position,
            tables: HashMap::new(),
            consistent: HashSet::new(),
            stopped: HashMap::new(),
            notices: vec![],
            subscriptions: vec![],
            wake,
            spill,
            limit,
        };
        subscriptions.into_iter().for_each(|s| mirror.adopt(s));
        mirror
    }

    fn adopt(&mut self, subscription: Subscription) {
        let table = Table { key: subscription.key.clone(), ..Table::default() };
        self.tables.insert(subscription.table, table);
        self.subscriptions.push(subscription);
    }

    /// Begins to follow a table.
    pub async fn subscribe(&mut self, id: u32, upstream: &str) -> RelationId {
        let wanted = Wanted { table: RelationId(id), upstream: upstream.into(), columns: None };
        let found = connector().discover(&self.definition, &wanted).await.expect("the table passes the checks");
        self.adopt(found.subscription.clone());
        self.source.subscribe(found.subscription).await.expect("the table is subscribed");
        RelationId(id)
    }

    /// Follows a table, until it equals upstream.
    pub async fn copy(&mut self, id: u32, upstream: &str) -> RelationId {
        let table = self.subscribe(id, upstream).await;
        self.until("the table is consistent", |m| m.consistent.contains(&table)).await;
        table
    }

    /// A crash after a checkpoint of everything handed over: what the source had read is gone.
    pub async fn restart(self) -> Self {
        self.source.stop().await;
        let consistent = self.consistent.clone();
        let subscriptions =
            self.subscriptions.iter().map(|s| Subscription { copied: consistent.contains(&s.table), ..s.clone() });
        let mut next = Self::start(self.definition, self.position, subscriptions.collect()).await;
        next.tables = self.tables;
        next.consistent = consistent;
        next
    }

    /// Takes what waits.
    pub fn pull(&mut self) -> bool {
        let Some(batch) = self.source.take() else { return false };
        self.apply(batch);
        true
    }

    pub fn apply(&mut self, batch: Batch) {
        for (id, changes) in batch.tables {
            let table = self.tables.get_mut(&id).expect("only subscribed tables");
            match changes {
                Changes::Keyed(fold) => table.fold(&fold),
                Changes::Bag(bag) => table.add(bag),
            }
        }
        for event in batch.events {
            match event {
                Event::Consistent(table) => assert!(self.consistent.insert(table), "{table} is consistent once"),
                Event::Stopped { table, cause } => assert!(self.stopped.insert(table, cause).is_none()),
                Event::Notice { message, .. } => self.notices.push(message),
            }
        }
        self.position = batch.position;
    }

    pub async fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}: not within {TIMEOUT:?}; {:?}", self.source.status());
            if !self.pull() {
                let _ = tokio::time::timeout(Duration::from_millis(100), self.wake.notified()).await;
            }
        }
    }

    pub async fn until_state(&mut self, what: &str, done: impl Fn(&State) -> bool) {
        self.until(what, |m| done(&m.source.status().state)).await;
    }

    /// Waits until a table equals upstream's.
    pub async fn equals(&mut self, table: RelationId, client: &Client, sql: &str) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            while self.pull() {}
            let (ours, theirs) = (self.tables[&table].rows(), client.sorted(sql).await.expect(sql));
            if ours == theirs {
                return;
            }
            let difference = crate::kit::difference(&ours, &theirs);
            assert!(Instant::now() < deadline, "{sql}: {difference}; {:?}", self.source.status());
            let _ = tokio::time::timeout(Duration::from_millis(50), self.wake.notified()).await;
        }
    }

    pub fn subscription(&self, table: RelationId) -> &Subscription {
        self.subscriptions.iter().find(|s| s.table == table).expect("subscribed")
    }

    /// Bytes that may wait.
    pub fn limit(&self) -> usize {
        assert!(self.spill.path().exists());
        self.limit
    }
}

impl Table {
    /// All rows, sorted.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.keyed.values().filter_map(|row| row.clone().ok()).collect();
        for (row, weight) in &self.bag {
            assert!(*weight >= 0, "I4: {row:?} has weight {weight}");
            rows.extend(std::iter::repeat_n(row.clone(), *weight as usize));
        }
        rows.sort();
        rows
    }

    /// Why rows cannot be held.
    pub fn causes(&self) -> Vec<&RowError> {
        let bag = self.failed.iter().filter(|(_, weight)| *weight > 0).map(|(cause, _)| cause);
        self.keyed.values().filter_map(|row| row.as_ref().err()).chain(bag).collect()
    }

    fn fold(&mut self, fold: &Fold) {
        let before = self.keyed.clone();
        let mut seen = HashSet::new();
        if fold.truncated {
            self.keyed.clear();
        }
        let key_columns = self.key.clone().expect("a table with a key");
        let key = |row: &Row| -> Row { key_columns.iter().map(|&c| row[c].clone()).collect() };
        for key in fold.deletes.iter().flat_map(texts) {
            assert!(seen.insert(key.clone()));
            self.keyed.remove(&key);
        }
        for row in fold.upserts.iter().flat_map(texts) {
            assert!(seen.insert(key(&row)));
            self.keyed.insert(key(&row), Ok(row));
        }
        for partial in &fold.partial {
            for (i, (mut row, origin)) in texts(&partial.rows).into_iter().zip(texts(&partial.origins)).enumerate() {
                assert!(seen.insert(key(&row)));
                let stored = before.get(&origin).unwrap_or_else(|| panic!("origin {origin:?} is stored")).clone();
                let filled = stored.map(|stored| {
                    for (c, unknown) in partial.unknown.iter().enumerate() {
                        if unknown.as_ref().is_some_and(|bits| bits.value(i)) {
                            row[c] = stored[c].clone();
                        }
                    }
                    row.clone()
                });
                self.keyed.insert(key(&row), filled);
            }
        }
        for failed in &fold.failed {
            for (key, cause) in texts(&failed.keys).into_iter().zip(&failed.causes) {
                assert!(seen.insert(key.clone()));
                self.keyed.insert(key, Err(cause.clone()));
            }
        }
    }

    fn add(&mut self, bag: Bag) {
        if bag.truncated {
            self.bag.clear();
            self.failed.clear();
        }
        for delta in bag.rows {
            for (row, weight) in texts(delta.rows()).into_iter().zip(delta.weights().iter()) {
                *self.bag.entry(row).or_default() += weight;
            }
        }
        for (cause, weight) in bag.failed {
            match self.failed.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, sum)) => *sum += weight,
                None => self.failed.push((cause, weight)),
            }
        }
        self.bag.retain(|_, weight| *weight != 0);
    }
}

/// The rows of a batch, as Arrow prints them.
fn texts(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|c| (c, ArrayFormatter::try_new(c, &options).expect("printable"))).collect();
    let value = |row: usize, (column, text): &(&arrow::array::ArrayRef, ArrayFormatter)| {
        if column.is_null(row) { None } else { Some(text.value(row).to_string()) }
    };
    (0..batch.num_rows()).map(|row| columns.iter().map(|c| value(row, c)).collect()).collect()
}
