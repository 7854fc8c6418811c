//! Sessions end to end: real clients (tokio-postgres, psql) against a server whose coordinator is a few lines that apply writes at
//! once.

use super::auth::{Auth, Passwords};
use super::doors::Room;
use super::ordeal::broken;
use super::pool::Pool;
use super::{Config, connection, serve};
use crate::catalog::{Body, Catalog, Life, Object, TableBody};
use crate::connector::spilled::Spilled;
use crate::connector::{Changes, Fold};
use crate::coordinator::request::{Checkpoint, Done, Handle, Inspection, Lock, Progress, RelationFacts, Request};
use crate::dataflow::errors;
use crate::dataflow::relations::{Readable, Relations};
use arrow::array::{FixedSizeBinaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::Schema;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::types::Type as Wire;
use tokio_postgres::{NoTls, SimpleQueryMessage};
use weir_sql::Error;
use weir_sql::catalog::RelationId;
use weir_sql::session::shared::Sessions;
use weir_sql::statement::{ObjectKind, Statement};
use weir_sql::types::Column;
use weir_storage::arrangement::{Arrangement, Kind, Spec};
use weir_storage::env::SystemRandom;
use weir_storage::history::History;
use weir_storage::key::{Keys, owner};
use weir_storage::{Delta, Env, Epoch, Limits};

const WORKERS: usize = 2;
const SEATS: usize = 12;

/// The coordinator of these tests: every write is an epoch, applied and durable at once.
struct Coordinator {
    catalog: watch::Sender<Arc<Catalog>>,
    progress: watch::Sender<Progress>,
    relations: Relations,
    locks: HashMap<RelationId, Arc<tokio::sync::Mutex<()>>>,
    /// CREATE MATERIALIZED VIEW never ends here: who waits for one.
    building: Vec<oneshot::Sender<weir_sql::Result<Done>>>,
    /// While there is a list, writes get their answers when it goes.
    held: Option<Vec<(oneshot::Sender<weir_sql::Result<Done>>, Done)>>,
}

impl Coordinator {
    fn start() -> (Handle, Arc<Mutex<Self>>) {
        let (requests, mut received) = mpsc::channel(16);
        let (catalog, catalog_seen) = watch::channel(Arc::new(Catalog::default()));
        let (progress, progress_seen) = watch::channel(Progress { closed: Epoch::from_u64(1), ..Progress::default() });
        let relations = Relations::default();
        let handle = Handle {
            requests,
            catalog: catalog_seen,
            progress: progress_seen,
            relations: relations.clone(),
            history: History::default(),
            sessions: Sessions::default(),
            restoring: watch::channel(None).1,
        };
        let coordinator = Self { catalog, progress, relations, locks: HashMap::new(), building: vec![], held: None };
        let coordinator = Arc::new(Mutex::new(coordinator));
        let shared = coordinator.clone();
        tokio::spawn(async move {
            while let Some(request) = received.recv().await {
                Self::answer(&shared, request);
            }
        });
        (handle, coordinator)
    }

    fn answer(shared: &Arc<Mutex<Self>>, request: Request) {
        let mut this = shared.lock().expect("coordinator");
        match request {
            Request::Ddl { statement, text, reply, .. } => match statement {
                Statement::CreateMaterializedView { .. } => this.building.push(reply),
                statement => drop(reply.send(this.ddl(statement, text))),
            },
            Request::Write { changes, reply, .. } => {
                let done = this.write(changes);
                match &mut this.held {
                    Some(held) => held.push((reply, done)),
                    None => drop(reply.send(Ok(done))),
                }
            }
            Request::Lock { tables, reply } => {
                let lock = this.locks.entry(tables[0]).or_default().clone();
                let shared = shared.clone();
                tokio::spawn(async move {
                    let guard = lock.lock_owned().await;
                    let epoch = shared.lock().expect("coordinator").progress.borrow().closed;
                    let _ = reply.send(Ok((Lock(vec![guard]), epoch)));
                });
            }
            Request::Flush { reply } => {
                drop(reply.send(Ok(Done { notices: vec!["flushed".into()], ..Done::default() })))
            }
            Request::Inspect { reply } => drop(reply.send(this.inspect())),
        }
    }

    fn ddl(&mut self, statement: Statement, definition: String) -> weir_sql::Result<Done> {
        let mut catalog = self.catalog.borrow().as_ref().clone();
        match statement {
            Statement::CreateTable { name, columns, key, .. } => {
                if catalog.by_name(&name).is_some() {
                    return Err(Error::new("42P07", format!("relation \"{name}\" already exists")));
                }
                let id = catalog.next_object();
                let key = (!key.is_empty()).then_some(key);
                let body = TableBody { columns, key, arrangements: vec![], upstream: None, stopped: None };
                let object = Object { id, name, life: Life::Live, definition, created_at: 0, body: Body::Table(body) };
                self.relations.insert(readable(&object)).set_live();
                catalog.objects.insert(id, object.into());
            }
            Statement::Drop { kind: ObjectKind::Table, names, .. } => {
                let id =
                    catalog.by_name(&names[0]).map(|o| o.id).ok_or_else(|| Error::undefined_relation(&names[0]))?;
                catalog.objects.remove(&id);
                self.relations.remove(RelationId(id));
            }
            other => return Err(Error::unsupported(format!("{other:?}"))),
        }
        self.catalog.send_replace(Arc::new(catalog));
        self.close();
        Ok(Done::default())
    }

    fn write(&mut self, changes: Vec<(RelationId, Changes)>) -> Done {
        let epoch = self.progress.borrow().closed.next();
        for (id, changes) in changes {
            let relation = self.relations.get(id).expect("a relation");
            match changes {
                Changes::Keyed(fold) => apply(&relation, fold, epoch),
                Changes::Bag(bag) => {
                    let there = |(spilled, weight): &(Spilled, i64)| Delta::uniform(read(spilled), *weight);
                    for delta in bag.rows.iter().cloned().chain(bag.spilled.iter().map(there)) {
                        relation.rows[0].apply(epoch, &delta).expect("applies");
                    }
                }
            }
        }
        Done { epoch: self.close(), ..Done::default() }
    }

    /// Everything reaches the next epoch.
    fn close(&mut self) -> Epoch {
        let epoch = self.progress.borrow().closed.next();
        for relation in self.relations.all() {
            relation.rows.iter().chain(&relation.errors).for_each(|a| a.advance(epoch));
            (0..WORKERS).for_each(|worker| relation.reach(worker, epoch));
        }
        self.progress.send_modify(|p| (p.closed, p.durable) = (epoch, epoch));
        epoch
    }

    fn inspect(&self) -> Inspection {
        let facts = |r: &Arc<Readable>| RelationFacts {
            id: r.id.0,
            status: "live".into(),
            epoch: r.upper(),
            rows: r.rows.iter().map(|a| a.stats().rows).sum(),
            ..RelationFacts::default()
        };
        Inspection {
            relations: self.relations.all().iter().map(facts).collect(),
            checkpoints: vec![Checkpoint {
                generation: 1,
                positions: serde_json::json!({"a": "0/1"}),
                ..Checkpoint::default()
            }],
            ..Inspection::default()
        }
    }
}

fn readable(object: &Object) -> Readable {
    let columns = object.columns().expect("columns").to_vec();
    let schema = Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()));
    let key = object.key().unwrap_or_default().to_vec();
    let kind = if key.is_empty() { Kind::Bag } else { Kind::Keyed };
    let rows = || Arrangement::new(Spec { kind, schema: schema.clone(), key: key.clone() }, Limits::TINY);
    let bad = || Arrangement::new(Spec { kind: Kind::Bag, schema: errors::SCHEMA.clone(), key: vec![] }, Limits::TINY);
    let each = |make: &dyn Fn() -> Arrangement| (0..WORKERS).map(|_| make()).collect::<Vec<_>>();
    Readable::new(RelationId(object.id), columns, key.clone(), each(&rows), each(&bad))
}

fn read(spilled: &Spilled) -> RecordBatch {
    spilled.read().expect("it is still there")
}

fn apply(relation: &Readable, mut fold: Fold, epoch: Epoch) {
    for (spilled, weight) in &fold.spilled {
        let to = if *weight > 0 { &mut fold.upserts } else { &mut fold.deletes };
        to.push(read(spilled));
    }
    for (worker, rows) in relation.rows.iter().enumerate() {
        if fold.truncated {
            for delta in rows.latest().scan(None).collect::<Vec<_>>() {
                rows.apply(epoch, &delta.expect("reads").negate()).expect("applies");
            }
        }
        let mine = |batch: &RecordBatch, columns: &[usize]| {
            let keys = Keys::of(batch, columns).expect("keys");
            let indices: Vec<u32> =
                (0..keys.len()).filter(|k| owner(keys.vnode(*k), WORKERS) == worker).map(|k| k as u32).collect();
            arrow::compute::take_record_batch(batch, &UInt32Array::from(indices)).expect("takes")
        };
        let forget = |keys: &RecordBatch, columns: &[usize]| {
            let latest = rows.latest();
            let (matches, _) = latest.probe(&Keys::of(keys, columns).expect("keys"), 0, usize::MAX);
            let old = latest.gather(&matches, None).expect("gathers");
            rows.apply(epoch, &Delta::uniform(old, -1)).expect("applies");
        };
        let leading: Vec<usize> = (0..relation.key.len()).collect();
        for batch in &fold.deletes {
            forget(&mine(batch, &leading), &leading);
        }
        for batch in &fold.upserts {
            let batch = mine(batch, &relation.key);
            forget(&batch, &relation.key);
            rows.apply(epoch, &Delta::uniform(batch, 1)).expect("applies");
        }
    }
}

struct World {
    port: u16,
    coordinator: Arc<Mutex<Coordinator>>,
    /// Ends the server when it is dropped.
    end: Option<oneshot::Sender<()>>,
}

impl World {
    async fn start() -> Self {
        Self::with_auth(Auth::Trust).await
    }

    async fn with_auth(auth: Auth) -> Self {
        let (handle, coordinator) = Coordinator::start();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let env = Env::real(weir_storage::store::open("memory://").expect("a store"));
        let config = Config {
            env,
            auth,
            pool: Pool::of(tokio::runtime::Handle::current()),
            query_memory: 64 << 20,
            commit_memory: 8 << 20,
            spill_dir: None,
            kept_memory: 1 << 20,
            room: Room { sessions: SEATS, waiting: 4 },
            functions: vec![broken()],
        };
        let (end, ended) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, handle, config, async move { drop(ended.await) }));
        Self { port, coordinator, end: Some(end) }
    }

    async fn client(&self) -> Client {
        self.connect("user=root dbname=dev").await.expect("connects")
    }

    async fn connect(&self, options: &str) -> Result<Client, tokio_postgres::Error> {
        let options = format!("host=127.0.0.1 port={} {options}", self.port);
        let (client, mut connection) = tokio_postgres::connect(&options, NoTls).await?;
        let notices = Arc::new(Mutex::new(vec![]));
        let heard = notices.clone();
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = futures::StreamExt::next(&mut messages).await {
                if let tokio_postgres::AsyncMessage::Notice(notice) = message {
                    heard.lock().expect("notices").push(format!("{}: {}", notice.severity(), notice.message()));
                }
            }
        });
        Ok(Client { client, notices })
    }

    /// What psql prints for `commands`, one `-c` each.
    async fn psql(&self, commands: &[&str]) -> String {
        let mut psql = tokio::process::Command::new("psql");
        psql.args([
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            "root",
            "dev",
        ]);
        for command in commands {
            psql.args(["-c", command]);
        }
        let output = psql.output().await.expect("psql is installed");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        assert!(output.stderr.is_empty(), "psql {commands:?}: {}", text(output.stderr));
        text(output.stdout)
    }
}

struct Client {
    client: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<String>>>,
}

impl std::ops::Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl Client {
    /// Rows as `a|b`, one a line, NULL as `-`; command tags as their count; errors as their code.
    async fn ask(&self, sql: &str) -> String {
        match self.client.simple_query(sql).await {
            Err(error) => {
                let error = error.as_db_error().expect("an error of the server's");
                format!("{}: {}", error.code().code(), error.message())
            }
            Ok(messages) => {
                let line = |message: SimpleQueryMessage| match message {
                    SimpleQueryMessage::Row(row) => {
                        Some((0..row.len()).map(|c| row.get(c).unwrap_or("-")).collect::<Vec<_>>().join("|"))
                    }
                    SimpleQueryMessage::CommandComplete(count) => Some(format!("({count})")),
                    _ => None,
                };
                messages.into_iter().filter_map(line).collect::<Vec<_>>().join("\n")
            }
        }
    }

    async fn check(&self, sql: &str, expected: &str) {
        assert_eq!(self.ask(sql).await, expected, "{sql}");
    }
}

const NOTES: &str = "CREATE TABLE notes (id INT PRIMARY KEY, body VARCHAR(10))";

fn threads(test: impl Future<Output = ()>) {
    // As large as the server's: planning recurses, in large frames when it is not optimised.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_stack_size(16 << 20).enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

#[test]
fn a_client_creates_writes_and_reads_a_table() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        client.check("INSERT INTO notes VALUES (1, 'one'), (2, NULL), (3, 'three')", "(3)").await;
        client.check("SELECT id, body FROM notes ORDER BY id", "1|one\n2|-\n3|three\n(3)").await;
        client.check("SELECT body FROM public.notes WHERE id = 3", "three\n(1)").await;
        client.check("SELECT body FROM notes WHERE id IN (1, 3, 9) ORDER BY 1", "one\nthree\n(2)").await;
        client.check("SELECT count(*) FROM notes", "3\n(1)").await;
        client.check("UPDATE notes SET body = 'two' WHERE body IS NULL", "(1)").await;
        client.check("DELETE FROM notes WHERE id = 1", "(1)").await;
        client.check("INSERT INTO notes (body, id) VALUES ('III', 3)", "(1)").await;
        client.check("SELECT * FROM notes ORDER BY id", "2|two\n3|III\n(2)").await;
        client.check("UPDATE notes SET id = id + 1 WHERE id = 2", "(1)").await;
        client.check("SELECT * FROM notes ORDER BY id", "3|two\n(1)").await;
        client.check("TRUNCATE notes", "(0)").await;
        client.check("SELECT * FROM notes", "(0)").await;
        client.check("DROP TABLE notes", "(0)").await;
        client.check("SELECT * FROM notes", "42P01: relation \"notes\" does not exist").await;
    });
}

#[test]
fn what_does_not_fit_a_table_is_refused_by_code() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        for (sql, code) in [
            ("INSERT INTO notes VALUES (NULL, 'x')", "23502"),
            ("INSERT INTO notes VALUES (1, '12345678901')", "22001"),
            ("INSERT INTO notes (nope) VALUES (1)", "42703"),
            ("INSERT INTO notes VALUES (1, 'x', 2)", "42601"),
            ("INSERT INTO notes (id, body) VALUES (1)", "42601"),
            ("INSERT INTO notes VALUES ('one', 'x')", "22P02"),
            ("INSERT INTO nope VALUES (1)", "42P01"),
            ("UPDATE notes SET nope = 1", "42703"),
            ("SELECT nope FROM notes", "42703"),
            ("SELECT nope(id) FROM notes", "42883"),
            ("SELECT FROM WHERE", "42601"),
            ("SELECT 1 / 0", "22012"),
            ("SELECT * FROM other.notes", "3F000"),
            ("INSERT INTO pg_catalog.pg_class VALUES (1)", "42809"),
            ("ROLLBACK TO x", "25P01"),
            ("SET nope = 1", "42704"),
        ] {
            let answer = client.ask(sql).await;
            assert!(answer.starts_with(code), "{sql}: {answer}");
        }
        client.check("SELECT count(*) FROM notes", "0\n(1)").await;
    });
}

#[test]
fn an_error_points_at_its_place() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        let error = client.simple_query("SELECT 1; SELECT nope").await.expect_err("no such column");
        let error = error.as_db_error().expect("an error of the server's").clone();
        assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(18)), "{error:?}");
    });
}

#[test]
fn conflicts_do_what_the_statement_says() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        client.check("INSERT INTO notes VALUES (1, 'a')", "(1)").await;
        client.check("INSERT INTO notes VALUES (1, 'b'), (2, 'c'), (2, 'd') ON CONFLICT DO NOTHING", "(1)").await;
        client.check("SELECT * FROM notes ORDER BY id", "1|a\n2|c\n(2)").await;
        let update = "INSERT INTO notes VALUES (1, 'x'), (3, 'y') ON CONFLICT (id) DO UPDATE SET body = notes.body || excluded.body";
        client.check(update, "(2)").await;
        client.check("SELECT * FROM notes ORDER BY id", "1|ax\n2|c\n3|y\n(3)").await;
        let twice = "INSERT INTO notes VALUES (1, 'x'), (1, 'y') ON CONFLICT (id) DO UPDATE SET body = 'z'";
        assert!(client.ask(twice).await.starts_with("21000"));
    });
}

#[test]
fn returning_yields_what_was_written() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        client.check("INSERT INTO notes VALUES (1, 'a') RETURNING id + 1, body", "2|a\n(1)").await;
        client.check("UPDATE notes n SET body = 'b' RETURNING n.body", "b\n(1)").await;
        client.check("DELETE FROM notes RETURNING *", "1|b\n(1)").await;
    });
}

#[test]
fn a_block_reads_one_epoch_and_writes_at_commit() {
    threads(async {
        let world = World::start().await;
        let (one, two) = (world.client().await, world.client().await);
        one.check(NOTES, "(0)").await;
        one.check("INSERT INTO notes VALUES (1, 'a')", "(1)").await;
        one.check("BEGIN", "(0)").await;
        one.check("SELECT count(*) FROM notes", "1\n(1)").await;
        two.check("INSERT INTO notes VALUES (2, 'b')", "(1)").await;
        two.check("SELECT count(*) FROM notes", "2\n(1)").await;
        one.check("SELECT count(*) FROM notes", "1\n(1)").await;
        one.check("INSERT INTO notes VALUES (3, 'c')", "(1)").await;
        assert!(one.ask("SELECT * FROM notes").await.starts_with("0A000"));
        assert!(one.ask("SELECT 1").await.starts_with("25P02"));
        one.check("COMMIT", "(0)").await;
        two.check("SELECT count(*) FROM notes", "2\n(1)").await;
        one.check(
            "BEGIN; INSERT INTO notes VALUES (3, 'c'); INSERT INTO notes VALUES (3, 'd'); COMMIT",
            "(0)\n(1)\n(1)\n(0)",
        )
        .await;
        two.check("SELECT body FROM notes WHERE id = 3", "d\n(1)").await;
        one.check("BEGIN; DELETE FROM notes; ROLLBACK", "(0)\n(3)\n(0)").await;
        two.check("SELECT count(*) FROM notes", "3\n(1)").await;
        assert!(one.ask("BEGIN; CREATE TABLE x (a INT)").await.starts_with("25001"));
        one.check("ROLLBACK", "(0)").await;
        assert!(one.ask("BEGIN READ ONLY; DELETE FROM notes").await.starts_with("25006"));
        one.check("ROLLBACK", "(0)").await;
    });
}

#[test]
fn a_write_after_another_writer_in_a_block_is_a_serialization_failure() {
    threads(async {
        let world = World::start().await;
        let (one, two) = (world.client().await, world.client().await);
        one.check(NOTES, "(0)").await;
        one.check("BEGIN; SELECT count(*) FROM notes", "(0)\n0\n(1)").await;
        two.check("INSERT INTO notes VALUES (1, 'a')", "(1)").await;
        assert!(one.ask("UPDATE notes SET body = 'x'").await.starts_with("40001"));
    });
}

#[test]
fn several_statements_are_one_transaction_unless_they_read_each_other() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        let answer = client.ask("INSERT INTO notes VALUES (1, 'a'); INSERT INTO notes VALUES (NULL, 'b')").await;
        assert!(answer.starts_with("23502"), "{answer}");
        client.check("SELECT count(*) FROM notes", "0\n(1)").await;
        client.check("INSERT INTO notes VALUES (1, 'a'); SELECT * FROM notes", "(1)\n1|a\n(1)").await;
    });
}

#[test]
fn parameters_take_their_types_from_where_they_stand() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client
            .check("CREATE TABLE t (id BIGINT PRIMARY KEY, price NUMERIC(10,2), at TIMESTAMP, tag TEXT)", "(0)")
            .await;
        let insert = client.prepare("INSERT INTO t VALUES ($1, $2::text::numeric, $3, $4)").await.expect("prepares");
        assert_eq!(insert.params(), [Wire::INT8, Wire::TEXT, Wire::TIMESTAMP, Wire::TEXT]);
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_500_000);
        assert_eq!(client.execute(&insert, &[&7i64, &"12.5", &at, &"x"]).await.expect("inserts"), 1);
        let select = client
            .prepare("SELECT id, at, tag, price::text FROM t WHERE id = $1 AND tag LIKE $2")
            .await
            .expect("prepares");
        assert_eq!(select.params(), [Wire::INT8, Wire::TEXT]);
        let rows = client.query(&select, &[&7i64, &"x%"]).await.expect("selects");
        assert_eq!(rows[0].get::<_, i64>(0), 7);
        assert_eq!(rows[0].get::<_, std::time::SystemTime>(1), at);
        assert_eq!(rows[0].get::<_, &str>(2), "x");
        assert_eq!(rows[0].get::<_, &str>(3), "12.50");
        let rows = client.query("SELECT $1", &[&"just text"]).await.expect("selects");
        assert_eq!(rows[0].get::<_, &str>(0), "just text");
        let none = client.query("SELECT id FROM t WHERE id = $1", &[&None::<i64>]).await.expect("selects");
        assert!(none.is_empty());
        let limited =
            client.query("SELECT g.value FROM generate_series(1, 5) g LIMIT $1", &[&2i64]).await.expect("selects");
        assert_eq!(limited.len(), 2);
    });
}

#[test]
fn every_statement_with_rows_yields_what_was_described() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        client.check("INSERT INTO notes VALUES (1, 'a')", "(1)").await;
        for sql in [
            "SHOW TABLES",
            "SHOW ALL",
            "SHOW timezone",
            "SHOW CREATE TABLE notes",
            "DESCRIBE notes",
            "EXPLAIN SELECT * FROM notes",
            "EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT id FROM notes",
            "SELECT * FROM pg_catalog.pg_class",
            "SELECT * FROM pg_catalog.pg_attribute",
            "SELECT * FROM pg_catalog.pg_type",
            "SELECT * FROM pg_catalog.pg_settings",
            "SELECT * FROM information_schema.columns",
            "SELECT * FROM rw_catalog.rw_tables",
            "SELECT id * 1.5, id / 3.0, sum(id), avg(id), 1.0::numeric(10, 2) FROM notes GROUP BY id",
            "SELECT rank() OVER (ORDER BY id), row_number() OVER () FROM notes",
            "SELECT 1 UNION ALL SELECT 2.5",
            "VALUES (1, 'a'), (2, NULL)",
            "SELECT now(), current_date, NULL, '{1}'::int[], '{}'::jsonb",
            "UPDATE notes SET body = 'b' RETURNING id, body",
        ] {
            let rows = client.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            assert!(!rows.is_empty(), "{sql}");
        }
    });
}

#[test]
fn columns_are_named_as_postgres_names_them() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        let sql = "SELECT 1, 1, count(*), max(x), x::text, current_database(), x + 1 AS y, NULL FROM (VALUES (1)) AS v (x) GROUP BY x \
             ORDER BY count(*), max(x)";
        let statement = client.prepare(sql).await.expect("prepares");
        let names: Vec<&str> = statement.columns().iter().map(|c| c.name()).collect();
        assert_eq!(names, ["?column?", "?column?", "count", "max", "x", "current_database", "y", "?column?"]);
        client.check(sql, "1|1|1|1|1|dev|2|-\n(1)").await;
        let counted = "SELECT x, count(*) FROM (VALUES (1), (2), (2)) AS v (x) GROUP BY x ORDER BY count DESC";
        client.check(counted, "2|2\n1|1\n(2)").await;
        client.check("SELECT x::text FROM (VALUES (2), (10)) AS v (x) ORDER BY x + 1 DESC", "10\n2\n(2)").await;
    });
}

#[test]
fn a_prepared_statement_whose_columns_changed_is_refused() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        let statement = client.prepare("SELECT * FROM notes").await.expect("prepares");
        client.query(&statement, &[]).await.expect("as described");
        client.check("DROP TABLE notes", "(0)").await;
        client.check("CREATE TABLE notes (id BIGINT PRIMARY KEY)", "(0)").await;
        let error = client.query(&statement, &[]).await.expect_err("other columns");
        assert_eq!(error.code().map(|c| c.code()), Some("0A000"));
    });
}

#[test]
fn a_prepared_query_means_what_it_means_when_it_runs() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        let statement = client.prepare("SELECT id FROM notes WHERE id >= $1 ORDER BY id").await.expect("prepares");
        let moment = client.prepare("SELECT '2020-01-01 00:00'::timestamptz::text").await.expect("prepares");
        let found = async |least: i32| {
            let rows = client.query(&statement, &[&least]).await;
            let code =
                |error: tokio_postgres::Error| error.code().expect("an error of the server's").code().to_string();
            rows.map(|rows| rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>()).map_err(code)
        };
        assert_eq!(found(0).await, Ok(vec![]));
        client.check("INSERT INTO notes VALUES (1, 'a'), (2, 'b')", "(2)").await;
        assert_eq!(found(2).await, Ok(vec![2]), "rows and arguments of this execution");
        client.check("SET search_path = elsewhere", "(0)").await;
        assert_eq!(found(0).await, Err("42P01".into()), "no relation of that name is found");
        client.check("RESET search_path", "(0)").await;
        client.check("CREATE TABLE other (id INT PRIMARY KEY)", "(0)").await;
        assert_eq!(found(0).await, Ok(vec![1, 2]), "the catalog is another one");
        client.check("DROP TABLE notes", "(0)").await;
        assert_eq!(found(0).await, Err("42P01".into()));
        client.check(NOTES, "(0)").await;
        assert_eq!(found(0).await, Ok(vec![]), "another table of that name");
        for (zone, shown) in [("UTC", "2020-01-01 00:00:00+00"), ("Asia/Tokyo", "2020-01-01 00:00:00+09")] {
            client.check(&format!("SET timezone = '{zone}'"), "(0)").await;
            assert_eq!(client.query_one(&moment, &[]).await.expect("a row").get::<_, String>(0), shown);
        }
    });
}

#[test]
fn a_portal_gives_as_many_rows_as_asked() {
    threads(async {
        let world = World::start().await;
        let mut client = world.client().await;
        let transaction = client.client.transaction().await.expect("begins");
        let statement = transaction.prepare("SELECT value FROM generate_series(1, 7) g").await.expect("prepares");
        let portal = transaction.bind(&statement, &[]).await.expect("binds");
        let mut counts = vec![];
        for _ in 0..4 {
            counts.push(transaction.query_portal(&portal, 3).await.expect("rows").len());
        }
        assert_eq!(counts, [3, 3, 1, 0]);
        let statement = transaction.prepare("SELECT broken(value::int) FROM generate_series(1, 7) g").await;
        let portal = transaction.bind(&statement.expect("prepares"), &[]).await.expect("binds");
        for code in ["XX000", "25P02"] {
            let error = transaction.query_portal(&portal, 3).await.expect_err("no rows, and no end of rows");
            assert_eq!(error.code().map(|found| found.code()), Some(code));
        }
    });
}

#[test]
fn a_failed_message_is_skipped_up_to_sync() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        let error = client.query("SELECT 1 / $1::int", &[&0i32]).await.expect_err("division by zero");
        assert_eq!(error.code().map(|c| c.code()), Some("22012"));
        assert_eq!(client.query_one("SELECT 1", &[]).await.expect("goes on").get::<_, i32>(0), 1);
    });
}

#[test]
fn ctrl_c_ends_a_query_and_a_create() {
    threads(async {
        let world = World::start().await;
        let building = || world.coordinator.lock().expect("coordinator").building.len();
        for (sql, views) in [
            ("SELECT count(*) FROM generate_series(1, 10000000000)", 0),
            ("CREATE MATERIALIZED VIEW v AS SELECT 1 AS a", 1),
        ] {
            // A client each: the last call to end may come when its statement has ended.
            let client = world.client().await;
            let token = client.cancel_token();
            let cancel = async {
                while building() < views {
                    tokio::task::yield_now().await;
                }
                loop {
                    token.cancel_query(NoTls).await.expect("asks");
                }
            };
            let answer = tokio::select! {
                answer = client.ask(sql) => answer,
                () = cancel => unreachable!("asks for ever"),
            };
            assert_eq!(answer, "57014: canceling statement due to user request", "{sql}");
        }
        let building = world.coordinator.lock().expect("coordinator").building.pop().expect("a view");
        assert!(building.is_closed(), "the coordinator sees that nobody waits for the view");
        world.client().await.check("SELECT 1", "1\n(1)").await;
    });
}

#[test]
fn a_statement_that_takes_too_long_ends() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check("SET statement_timeout = '200ms'", "(0)").await;
        client
            .check(
                "SELECT count(*) FROM generate_series(1, 10000000000)",
                "57014: canceling statement due to statement timeout",
            )
            .await;
        client.check("SET statement_timeout = 0", "(0)").await;
        client.check("SHOW statement_timeout", "0\n(0)").await;
    });
}

#[test]
fn a_relation_with_errors_reports_them_and_nothing_else() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        client.check("INSERT INTO notes VALUES (1, 'a')", "(1)").await;
        let error = |weight| {
            let text = |t: &str| Arc::new(StringArray::from(vec![t])) as arrow::array::ArrayRef;
            let key = Arc::new(FixedSizeBinaryArray::try_from_iter([[0u8; 16]].into_iter()).expect("a key"));
            let columns = vec![text("Map"), text("1 / id"), text("22012"), text("division by zero"), key];
            let rows = RecordBatch::try_new(errors::SCHEMA.clone(), columns).expect("an error");
            let mut coordinator = world.coordinator.lock().expect("coordinator");
            let epoch = coordinator.progress.borrow().closed.next();
            coordinator.relations.all()[0].errors[1].apply(epoch, &Delta::uniform(rows, weight)).expect("applies");
            coordinator.close();
        };
        error(1);
        let failed = client.query("SELECT * FROM notes", &[]).await.expect_err("has errors");
        let failed = failed.as_db_error().expect("an error of the server's").clone();
        assert_eq!(failed.code().code(), "22012");
        assert!(failed.detail().is_some_and(|d| d.contains("\"notes\"") && d.contains("1 / id")), "{failed:?}");
        assert!(failed.hint().is_some());
        client.check("SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'notes'", "1\n(1)").await;
        error(-1);
        client.check("SELECT * FROM notes", "1|a\n(1)").await;
    });
}

#[test]
fn a_process_that_may_not_go_on_says_so_to_every_statement() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        let stopped = Error::new("57P01", "another process took over the store");
        world.coordinator.lock().expect("coordinator").progress.send_modify(|p| p.stopped = Some(stopped));
        client.check("SELECT 1", "57P01: another process took over the store").await;
        client.check("SHOW ALL", "57P01: another process took over the store").await;
    });
}

#[test]
fn notices_and_variables_reach_the_client() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check("FLUSH", "(0)").await;
        client.check("COMMIT", "(0)").await;
        let heard = client.notices.lock().expect("notices").clone();
        assert_eq!(heard, ["NOTICE: flushed", "WARNING: there is no transaction in progress"]);
        client.check("SET TimeZone = 'Asia/Tokyo'", "(0)").await;
        client.check("SELECT '2024-01-01 00:00:00+00'::timestamptz", "2024-01-01 09:00:00+09\n(1)").await;
        client
            .check("BEGIN; SET LOCAL timezone = 'UTC'; COMMIT; SHOW timezone", "(0)\n(0)\n(0)\nAsia/Tokyo\n(0)")
            .await;
        client.check("BEGIN; SET timezone = 'UTC'; ROLLBACK; SHOW timezone", "(0)\n(0)\n(0)\nAsia/Tokyo\n(0)").await;
        client
            .check("SELECT current_setting('timezone'), current_user, current_database()", "Asia/Tokyo|root|dev\n(1)")
            .await;
    });
}

#[test]
fn prepared_statements_work_in_sql_too() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check("PREPARE p (int, text) AS SELECT $1 + 1, $2 || '!'", "(0)").await;
        client.check("EXECUTE p(41, 'a')", "42|a!\n(1)").await;
        assert!(client.ask("EXECUTE p(1)").await.starts_with("42601"));
        client.check("DEALLOCATE p", "(0)").await;
        assert!(client.ask("EXECUTE p(41, 'a')").await.starts_with("26000"));
    });
}

#[test]
fn passwords_are_asked_for_and_checked() {
    threads(async {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "ann:secret\n").expect("writes");
        let passwords = Passwords::read(file.path(), Arc::new(SystemRandom)).expect("reads");
        let world = World::with_auth(Auth::Passwords(passwords)).await;
        let client = world.connect("user=ann password=secret dbname=dev").await.expect("the right password");
        client.check("SELECT current_user", "ann\n(1)").await;
        for options in ["user=ann password=wrong dbname=dev", "user=bob password=secret dbname=dev"] {
            let refused = world.connect(options).await.err().expect("refused");
            assert_eq!(refused.code().map(|c| c.code()), Some("28P01"), "{options}");
        }
        let other = world.connect("user=ann password=secret dbname=other").await.err().expect("refused");
        assert_eq!(other.code().map(|c| c.code()), Some("3D000"));
    });
}

#[test]
fn a_statement_whose_task_panics_fails_and_does_nothing() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        client.check("INSERT INTO notes VALUES (1, 'a'), (2, 'b'), (3, 'c')", "(3)").await;
        let failed = "XX000: the query failed unexpectedly; the server's log says more";
        for sql in [
            "SELECT broken(id) FROM notes",
            "SELECT broken(id), count(*) FROM notes GROUP BY 1",
            "SELECT id FROM notes ORDER BY broken(id)",
            "SELECT a.id FROM notes a JOIN notes b ON broken(a.id) = b.id",
            "INSERT INTO notes SELECT broken(id), 'x' FROM notes",
            "INSERT INTO notes SELECT id + 10, 'x' FROM notes ON CONFLICT (id) DO UPDATE SET body = broken(notes.id)::varchar",
            "UPDATE notes SET body = 'x' WHERE broken(id) = 1",
            "DELETE FROM notes WHERE broken(id) = 1",
            "COPY (SELECT broken(id) FROM notes) TO STDOUT",
        ] {
            if sql.contains("CONFLICT") {
                // The conflicting row has to be there for the function to be called.
                client.check("INSERT INTO notes VALUES (11, 'k')", "(1)").await;
            }
            assert_eq!(client.ask(sql).await, failed, "{sql}");
        }
        client.check("SELECT count(*), count(distinct body) FROM notes", "4|4\n(1)").await;
        let error = client.query("SELECT broken(id) FROM notes WHERE id > $1", &[&0i32]).await.expect_err("a panic");
        assert_eq!(error.code().map(|code| code.code()), Some("XX000"));
    });
}

#[test]
fn a_copy_of_any_length_is_one_transaction_of_bounded_memory() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check("CREATE TABLE lines (id INT PRIMARY KEY, body VARCHAR)", "(0)").await;
        let copy = async |rows: std::ops::Range<i32>, last: &str| {
            let sink = client.copy_in("COPY lines FROM STDIN CSV").await.expect("begins");
            let mut sink = std::pin::pin!(sink);
            for from in rows.clone().step_by(1000) {
                let lines: String = (from..rows.end.min(from + 1000)).map(|n| format!("{n},{n:>100}\n")).collect();
                futures::SinkExt::send(&mut sink, bytes::Bytes::from(lines)).await?;
            }
            futures::SinkExt::send(&mut sink, bytes::Bytes::from(last.to_string())).await?;
            sink.finish().await
        };
        // Much more than a transaction keeps in memory.
        assert_eq!(copy(0..100_000, "").await.expect("fits"), 100_000);
        client.check("SELECT count(*), sum(length(body)) FROM lines", "100000|10000000\n(1)").await;
        let error = copy(100_000..200_000, "x,y\n").await.expect_err("the last line is no row");
        assert_eq!(error.code().map(|code| code.code()), Some("22P02"));
        client.check("SELECT count(*) FROM lines", "100000\n(1)").await;
        client.check("INSERT INTO lines SELECT id + 1000000, body FROM lines", "(100000)").await;
        client.check("SELECT count(*) FROM lines", "200000\n(1)").await;
        // More than all queries may hold.
        assert_eq!(copy(200_000..900_000, "").await.expect("fits"), 700_000);
        client.check("SELECT count(*) FROM lines", "900000\n(1)").await;
    });
}

#[test]
fn what_has_been_handed_over_is_not_reported_as_cancelled() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        const LIMIT: std::time::Duration = std::time::Duration::from_secs(2);
        for (id, limit) in [(1, LIMIT.as_millis()), (2, 0)] {
            client.check(&format!("SET statement_timeout = {limit}"), "(0)").await;
            world.coordinator.lock().expect("coordinator").held = Some(vec![]);
            let held = || world.coordinator.lock().expect("coordinator").held.as_ref().map_or(0, Vec::len);
            let sql = format!("INSERT INTO notes VALUES ({id}, 'x')");
            let mut insert = std::pin::pin!(client.ask(&sql));
            let cancelled = async {
                while held() == 0 {
                    tokio::task::yield_now().await;
                }
                for _ in 0..20 {
                    client.cancel_token().cancel_query(NoTls).await.expect("asks");
                }
                // Longer than the statement may take.
                let _ = tokio::time::timeout(LIMIT + LIMIT / 4, std::future::pending::<()>()).await;
            };
            tokio::select! {
                answer = &mut insert => panic!("answered before its commit was: {answer}"),
                () = cancelled => {}
            }
            let held = world.coordinator.lock().expect("coordinator").held.take().expect("held");
            held.into_iter().for_each(|(reply, done)| drop(reply.send(Ok(done))));
            assert_eq!(insert.await, "(1)", "limit {limit}");
        }
        client.check("SELECT count(*) FROM notes", "2\n(1)").await;
    });
}

#[test]
fn a_read_only_transaction_writes_nothing() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        let refused = "25006: cannot execute INSERT in a read-only transaction";
        let insert = "INSERT INTO notes VALUES (1, 'x')";
        for begin in [
            "BEGIN READ ONLY",
            "BEGIN; SET TRANSACTION READ ONLY",
            "BEGIN; SET transaction_read_only = on",
            "SET default_transaction_read_only = on; BEGIN",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; BEGIN",
        ] {
            client.ask(begin).await;
            client.check("SHOW transaction_read_only", "on\n(0)").await;
            client.check(insert, refused).await;
            client.check("ROLLBACK", "(0)").await;
            client.check("RESET default_transaction_read_only", "(0)").await;
        }
        client.check("SET default_transaction_read_only = on", "(0)").await;
        client.check(insert, refused).await;
        client.check("CREATE TABLE u (a INT)", "25006: cannot execute CREATE TABLE in a read-only transaction").await;
        client.check("BEGIN READ WRITE", "(0)").await;
        client.check(insert, "(1)").await;
        client.check("COMMIT", "(0)").await;
        client.check("BEGIN; SELECT 1 FROM notes", "(0)\n1\n(1)").await;
        let late = "25001: transaction read-write mode must be set before any query";
        client.check("SET TRANSACTION READ WRITE", late).await;
        client.check("ROLLBACK", "(0)").await;
        client.check("DISCARD ALL", "(0)").await;
        client.check("UNLISTEN *", "(0)").await;
        client.check("LISTEN x", "0A000: LISTEN is not supported").await;
    });
}

#[test]
fn who_comes_when_all_seats_are_taken_is_told_so_instead_of_being_let_in() {
    threads(async {
        let world = World::start().await;
        let mut all = vec![];
        for _ in 0..SEATS {
            all.push(world.client().await);
        }
        let told = talk_from(&world, b"", b'\0').await;
        assert_eq!(told, "E53300");
        drop(all);
        loop {
            match world.connect("user=root dbname=dev").await {
                Ok(client) => break client.check("SELECT 1", "1\n(1)").await,
                Err(error) => assert_eq!(error.code().map(|code| code.code()), Some("53300")),
            }
        }
    });
}

#[test]
fn those_who_do_not_say_who_they_are_lock_nobody_out() {
    threads(async {
        use tokio::io::AsyncReadExt;
        let world = World::start().await;
        let mut silent = vec![];
        for _ in 0..20 {
            silent.push(tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.expect("connects"));
        }
        world.client().await.check("SELECT 1", "1\n(1)").await;
        // The first ones have made room.
        assert_eq!(silent[0].read(&mut [0; 1]).await.unwrap_or(0), 0);
    });
}

#[test]
fn a_connection_costs_little_before_login() {
    threads(async {
        let (handle, _) = Coordinator::start();
        let env = Env::real(weir_storage::store::open("memory://").expect("a store"));
        let config = Config {
            env,
            auth: Auth::Trust,
            pool: Pool::of(tokio::runtime::Handle::current()),
            query_memory: 1 << 20,
            commit_memory: 1 << 20,
            spill_dir: None,
            kept_memory: 1 << 20,
            room: Room { sessions: 1, waiting: 1 },
            functions: vec![],
        };
        let server = Arc::new(super::Server::new(handle, config).expect("a server"));
        let waiting = server.doors.enter();
        let task = connection::talk(server, tokio::io::empty(), tokio::io::sink(), "nobody", waiting);
        assert!(std::mem::size_of_val(&task) < 8 << 10, "{} bytes", std::mem::size_of_val(&task));
    });
}

#[test]
fn sessions_are_told_that_the_server_ends() {
    threads(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut world = World::start().await;
        let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.expect("connects");
        socket.write_all(START).await.expect("writes");
        let mut told = vec![];
        while !told.ends_with(b"Z\0\0\0\x05I") {
            told.push(socket.read_u8().await.expect("goes on"));
        }
        drop(world.end.take());
        let mut last = vec![];
        socket.read_to_end(&mut last).await.expect("reads");
        let last = String::from_utf8_lossy(&last);
        assert!(last.contains("SFATAL") && last.contains("C57P01"), "{last:?}");
    });
}

const START: &[u8] = b"\0\0\0\x13\0\x03\0\0user\0root\0\0";

/// What the server says to `sent` after login, until it closes the connection: each message's type, with its SQLSTATE if it has one.
async fn talk(world: &World, sent: &[u8]) -> String {
    talk_from(world, sent, b'Z').await
}

/// The same after a message of type `first`; after none if it is zero.
async fn talk_from(world: &World, sent: &[u8], first: u8) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", world.port)).await.expect("connects");
    socket.write_all(START).await.expect("writes");
    socket.write_all(sent).await.expect("writes");
    let (mut told, mut started) = (vec![], first == 0);
    while let Ok(tag) = socket.read_u8().await {
        let length = socket.read_u32().await.expect("a length") as usize;
        let mut body = vec![0; length - 4];
        socket.read_exact(&mut body).await.expect("a body");
        let state = body.split(|&c| c == 0).find_map(|field| field.strip_prefix(b"C")).filter(|_| tag == b'E');
        if started {
            told.push(format!("{}{}", tag as char, String::from_utf8_lossy(state.unwrap_or_default())));
        }
        started |= tag == first;
    }
    told.join(" ")
}

#[test]
fn a_message_that_makes_no_sense_costs_no_more_than_itself() {
    threads(async {
        let world = World::start().await;
        let (sync, query, end) = (b"S\0\0\0\x04", b"Q\0\0\0\x0dSELECT 1\0", b"X\0\0\0\x04");
        // Cut short within its types, its values, its name; then text that is none.
        let cut_parse = b"P\0\0\0\x08\0\0\0\x01";
        let cut_bind = b"B\0\0\0\x0c\0\0\0\0\0\x01\xff\xff";
        for bad in [&cut_parse[..], cut_bind, b"E\0\0\0\x04", b"D\0\0\0\x04"] {
            let told = talk(&world, &[bad, bad, sync, query, end].concat()).await;
            assert_eq!(told, "E08P01 Z T D C Z", "{bad:?}");
        }
        let told = talk(&world, &[b"Q\0\0\0\x06\xff\0", &query[..], end].concat()).await;
        assert_eq!(told, "E22021 Z T D C Z");
        // Where nobody knows where the next message begins, the connection ends, and says why.
        for bad in [&b"S\0\0\0\x03"[..], b"?\0\0\0\x04", b"d\0\0\0\0"] {
            assert_eq!(talk(&world, &[bad, query].concat()).await, "E08P01", "{bad:?}");
        }
    });
}

#[test]
fn every_type_is_the_same_in_text_and_binary() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client
            .check(
                "CREATE TABLE t (id INT PRIMARY KEY, b BOOL, i2 INT2, i8 INT8, f4 FLOAT4, f8 FLOAT8, n NUMERIC, d NUMERIC(50,3), \
                 v VARCHAR(5), c CHAR(3), y BYTEA, da DATE, ti TIME, ts TIMESTAMP, tz TIMESTAMPTZ, iv INTERVAL, u UUID, \
                 j JSON, jb JSONB, a INT[], ta TEXT[])",
                "(0)",
            )
            .await;
        let values = "1, true, -2, 9000000000, 1.5, -0.1, 123.450, 12345678901234567890123456789.125, 'ab', 'x', '\\x00ff', \
             '2024-02-29', '12:34:56.5', '2024-02-29 01:02:03', '2024-02-29 01:02:03+02', '1 mon 2 days 03:04:05', \
             'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{\"a\": 1}', '{\"b\":[1,2]}', '{1,NULL,3}', '{\"a b\",c}'";
        client.check(&format!("INSERT INTO t VALUES ({values})"), "(1)").await;
        let text = "1|t|-2|9000000000|1.5|-0.1|123.450|12345678901234567890123456789.125|ab|x  |\\x00ff|2024-02-29|12:34:56.5|\
             2024-02-29 01:02:03|2024-02-28 23:02:03+00|1 mon 2 days 03:04:05|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|{\"a\": 1}|\
             {\"b\": [1, 2]}|{1,NULL,3}|{\"a b\",c}\n(1)";
        client.check("SELECT * FROM t", text).await;
        let row = client.query_one("SELECT * FROM t", &[]).await.expect("binary");
        let kinds: Vec<&str> = row.columns().iter().map(|c| c.type_().name()).collect();
        assert_eq!(
            kinds.join(" "),
            "int4 bool int2 int8 float4 float8 numeric numeric varchar bpchar bytea date time timestamp timestamptz interval \
             uuid json jsonb _int4 _text"
        );
        assert!(row.get::<_, bool>(1));
        assert_eq!(row.get::<_, i16>(2), -2);
        assert_eq!(row.get::<_, f64>(5), -0.1);
        assert_eq!(row.get::<_, Vec<u8>>(10), [0, 255]);
        assert_eq!(row.get::<_, Vec<Option<i32>>>(19), [Some(1), None, Some(3)]);
        assert_eq!(row.get::<_, Vec<String>>(20), ["a b", "c"]);
    });
}

#[test]
fn psql_describes_what_is_there() {
    threads(async {
        let world = World::start().await;
        world.psql(&[NOTES]).await;
        let tables = world.psql(&["\\dt"]).await;
        assert!(tables.contains("public | notes | table | root"), "{tables}");
        let notes = world.psql(&["\\d notes"]).await;
        assert!(notes.contains("id     | integer               |           | not null |"), "{notes}");
        assert!(notes.contains("body   | character varying(10) |           |          |"), "{notes}");
        assert!(notes.contains("\"notes_pkey\" PRIMARY KEY, btree (id)"), "{notes}");
        for (command, expected) in [
            ("\\d", "notes"),
            ("\\d+ notes", "notes_pkey"),
            ("\\dv", ""),
            ("\\dm", ""),
            ("\\di", "notes_pkey"),
            ("\\ds", ""),
            ("\\l", "dev"),
            ("\\l+", "pg_default"),
            ("\\dn", "public"),
            ("\\du", "Superuser"),
            ("\\df", "0 rows"),
            ("\\dT", "0 rows"),
            ("\\dp", "notes"),
            ("\\dx", "0 rows"),
            ("\\conninfo", "dev"),
        ] {
            let shown = world.psql(&[command]).await;
            assert!(shown.contains(expected), "{command}: {shown}");
        }
    });
}

#[test]
fn system_tables_tell_what_the_coordinator_knows() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        client.check(NOTES, "(0)").await;
        client.check("INSERT INTO notes VALUES (1, 'a')", "(1)").await;
        client.check("SELECT name, rows, status FROM rw_catalog.rw_tables", "notes|1|live\n(1)").await;
        client.check("SELECT generation, positions FROM rw_catalog.rw_checkpoints", "1|{\"a\":\"0/1\"}\n(1)").await;
        client.check("SELECT count(*) FROM rw_catalog.rw_sources", "0\n(1)").await;
        client.check("SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = 'notes' ORDER BY ordinal_position", "id|integer|NO\nbody|character varying|YES\n(2)").await;
        client.check("SHOW TABLES", "notes\n(0)").await;
        client.check("SHOW CREATE TABLE notes", &format!("public.notes|{NOTES}\n(0)")).await;
        client.check("DESCRIBE notes", "id|integer|false|-\nbody|character varying(10)|false|-\nprimary key|id|-|-\ndistribution key|id|-|-\ntable description|notes|-|-\n(0)").await;
        client.check("SELECT 'notes'::regclass = oid FROM pg_class WHERE relname = 'notes'", "t\n(1)").await;
    });
}

#[test]
fn numbers_of_every_kind_have_a_type() {
    threads(async {
        let world = World::start().await;
        let client = world.client().await;
        for (sql, kind, text) in [
            ("1", "int4", "1"),
            ("3000000000", "int8", "3000000000"),
            ("1.5", "numeric", "1.5"),
            ("avg(x)", "numeric", "2.0000000000000000"),
            ("sum(x)", "int8", "6"),
            ("count(*)", "int8", "3"),
            ("max(x) / 2", "int4", "1"),
            ("1.0::float8", "float8", "1"),
        ] {
            let sql = format!("SELECT {sql} FROM (VALUES (1), (2), (3)) AS v(x) LIMIT 1");
            client.check(&sql, &format!("{text}\n(1)")).await;
            let statement = client.prepare(&sql).await.expect("prepares");
            assert_eq!(statement.columns()[0].type_().name(), kind, "{sql}");
        }
    });
}
