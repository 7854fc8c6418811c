//! A client's connection from its first byte on: startup, login, and whatever is sent after it, with statements that run.
//!
//! The first byte says whether the server asks for a password and whether the client is in already, the second how many bytes a read
//! brings. The one table is never changed: nobody answers what is asked of the coordinator, so that an input always meets the same.

use crate::Target;
use crate::memory::Bound;
use arrow::array::{Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf, sink};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use weir::catalog::{Body, Catalog, Life, Object, TableBody};
use weir::coordinator::request::{Handle, Progress};
use weir::dataflow::errors;
use weir::dataflow::relations::{Readable, Relations};
use weir::serving::auth::{Auth, Passwords};
use weir::serving::doors::Room;
use weir::serving::pool::Pool;
use weir::serving::{Config, Server, connection};
use weir_sql::catalog::RelationId;
use weir_sql::types::{Column, Type};
use weir_storage::arrangement::{Arrangement, Kind, Spec};
use weir_storage::env::Random;
use weir_storage::{Delta, Env, Epoch, Limits};

/// A session and its planner take megabytes; a statement's tree as the parser's own target has it.
pub const TARGET: Target = Target { name: "wire", bound: Bound { constant: 64 << 20, factor: 16 << 10 }, seeds, run };

/// How often a client that has sent everything is looked for before it is gone: time for statements to end.
const TURNS: usize = 200;

fn run(bytes: &[u8]) {
    let Some((&[how, piece], sent)) = bytes.split_first_chunk() else { return };
    let world = WORLD.get_or_init(World::new);
    let start: &[u8] = if how & 2 == 0 { b"" } else { b"\0\0\0\x13\0\x03\0\0user\0root\0\0" };
    let client = Client { sent: [start, sent].concat(), at: 0, piece: usize::from(piece) + 1, turns: TURNS };
    let server = world.servers[usize::from(how & 1)].clone();
    let waiting = server.doors.enter();
    world.runtime.block_on(connection::talk(server, client, sink(), "fuzz", waiting));
}

struct Client {
    sent: Vec<u8>,
    at: usize,
    piece: usize,
    turns: usize,
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf) -> Poll<io::Result<()>> {
        let length = self.piece.min(into.remaining()).min(self.sent.len() - self.at);
        if length == 0 && self.turns > 0 {
            self.turns -= 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        into.put_slice(&self.sent[self.at..self.at + length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

static WORLD: OnceLock<World> = OnceLock::new();

struct World {
    runtime: Runtime,
    /// One that trusts everybody, one that does not.
    servers: [Arc<Server>; 2],
}

struct Always;

impl Random for Always {
    fn next(&self) -> u64 {
        7
    }
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let objects = weir_storage::store::open("memory://").expect("a store");
        let env = Env { random: Arc::new(Always), ..Env::real(objects) };
        let folder = std::env::temp_dir().join(format!("weir-fuzz-{}", std::process::id()));
        std::fs::write(&folder, "root:secret\n").expect("a password file");
        let passwords = Passwords::read(&folder, Arc::new(Always)).expect("passwords");
        let _ = std::fs::remove_file(&folder);
        let handle = handle();
        let servers = [Auth::Trust, Auth::Passwords(passwords)].map(|auth| {
            let pool = Pool::of(runtime.handle().clone());
            let room = Room { sessions: 4, waiting: 4 };
            let config = Config {
                env: env.clone(),
                auth,
                pool,
                query_memory: 8 << 20,
                commit_memory: 1 << 20,
                spill_dir: None,
                kept_memory: 1 << 20,
                room,
                functions: vec![],
            };
            Arc::new(Server::new(handle.clone(), config).expect("a server"))
        });
        Self { runtime, servers }
    }
}

/// A catalog with the table `t`, which has two rows.
fn handle() -> Handle {
    let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
    let columns = vec![column("id", Type::Int4, false), column("body", Type::Text, true)];
    let key = Some(vec![0]);
    let body = TableBody { columns: columns.clone(), key, arrangements: vec![], upstream: None, stopped: None };
    let definition = "CREATE TABLE t (id INT PRIMARY KEY, body TEXT)".into();
    let mut catalog = Catalog::default();
    let id = catalog.next_object();
    let object = Object { id, name: "t".into(), life: Life::Live, definition, created_at: 0, body: Body::Table(body) };
    catalog.objects.insert(id, object.into());

    let schema = Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()));
    let rows = Arrangement::new(Spec { kind: Kind::Keyed, schema: schema.clone(), key: vec![0] }, Limits::default());
    let errors =
        Arrangement::new(Spec { kind: Kind::Bag, schema: errors::SCHEMA.clone(), key: vec![] }, Limits::default());
    let (ids, bodies) = (Int32Array::from(vec![1, 2]), StringArray::from(vec![Some("one"), None]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(bodies)]).expect("two rows");
    let epoch = Epoch::from_u64(2);
    rows.apply(epoch, &Delta::uniform(batch, 1)).expect("applies");
    [&rows, &errors].iter().for_each(|arrangement| arrangement.advance(epoch));
    let readable = Readable::new(RelationId(id), columns, vec![0], vec![rows], vec![errors]);
    readable.reach(0, epoch);
    let relations = Relations::default();
    relations.insert(readable).set_live();

    let progress = Progress { closed: epoch, durable: epoch, ..Progress::default() };
    let (requests, _) = mpsc::channel(1);
    let (catalog, progress) = (watch::channel(Arc::new(catalog)).1, watch::channel(progress).1);
    let (history, sessions, restoring) = (Default::default(), Default::default(), watch::channel(None).1);
    Handle { requests, catalog, progress, relations, history, sessions, restoring }
}

fn seeds() -> Vec<Vec<u8>> {
    let message = |tag: u8, body: &[u8]| [&[tag], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    let query = |sql: &str| message(b'Q', format!("{sql}\0").as_bytes());
    let parse = |name: &str, sql: &str, oids: &[u32]| {
        let count = (oids.len() as u16).to_be_bytes();
        let oids: Vec<u8> = oids.iter().flat_map(|oid| oid.to_be_bytes()).collect();
        message(b'P', &[format!("{name}\0{sql}\0").as_bytes(), &count, &oids].concat())
    };
    let bind = |portal: &str, name: &str, format: u8, values: &[&[u8]]| {
        let values: Vec<u8> = values.iter().flat_map(|v| [&(v.len() as u32).to_be_bytes()[..], v].concat()).collect();
        let counted = |count: usize, rest: &[u8]| [&(count as u16).to_be_bytes()[..], rest].concat();
        let head = format!("{portal}\0{name}\0").into_bytes();
        let formats = counted(1, &[0, format]);
        let count = if values.is_empty() { 0 } else { 1 };
        message(b'B', &[head, formats.clone(), counted(count, &values), formats].concat())
    };
    let execute =
        |portal: &str, rows: u32| message(b'E', &[format!("{portal}\0").as_bytes(), &rows.to_be_bytes()].concat());
    let describe = |name: &str| message(b'D', format!("{name}\0").as_bytes());
    let close = |name: &str| message(b'C', format!("{name}\0").as_bytes());
    let (sync, flush, end) = (message(b'S', b""), message(b'H', b""), message(b'X', b""));
    let opening = |body: &[u8]| [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    let start = opening(b"\0\x03\0\x02user\0root\0database\0dev\0options\0-c timezone=UTC --x=y\0_pq_.a\0b\0\0");
    let sasl = message(b'p', b"SCRAM-SHA-256\0\0\0\0\x11n,,n=,r=abcdefghi");
    let proof = message(b'p', b"c=biws,r=abcdefghi,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let data = |text: &str| message(b'd', text.as_bytes());
    let copy = |sql: &str, lines: &[&str]| {
        [query(sql), lines.iter().flat_map(|text| data(text)).collect(), message(b'c', b"")].concat()
    };
    let one = b"\0\0\0\x01";
    [
        (
            0,
            [opening(b"\x04\xd2\x16\x2f"), opening(b"\x04\xd2\x16\x30"), start.clone(), query("SELECT 1"), end.clone()]
                .concat(),
        ),
        (0, opening(b"\x04\xd2\x16\x2e\0\0\0\x01secret")),
        (0, opening(b"\0\x02\0\0user\0x\0\0")),
        (4, start.clone()),
        (1, [start, sasl, proof].concat()),
        (2, [query(""), query("SELECT id, body FROM t ORDER BY id; SELECT 1 + 'x'"), end].concat()),
        (2, [query("BEGIN"), query("SELECT * FROM nothing"), query("SELECT 1"), query("ROLLBACK")].concat()),
        (
            2,
            [query("SET timezone = 'Europe/Paris'"), query("SHOW timezone"), query("SHOW TABLES"), query("RESET ALL")]
                .concat(),
        ),
        (
            2,
            [
                parse("s", "SELECT body FROM t WHERE id = $1", &[23]),
                describe("Ss"),
                bind("", "s", 0, &[b"1"]),
                describe("P"),
                execute("", 0),
                sync.clone(),
            ]
            .concat(),
        ),
        (
            2,
            [
                parse("", "SELECT $1", &[20]),
                bind("p", "", 1, &[&[0, 0, 0, 0, 0, 0, 0, 9]]),
                execute("p", 1),
                flush,
                execute("p", 0),
                close("Pp"),
                close("Ss"),
                sync.clone(),
            ]
            .concat(),
        ),
        (
            2,
            [
                parse("", "SELECT $1::numeric, $1::text[]", &[1700]),
                bind("", "", 1, &[b"\0\x02\0\0\0\0\0\x02\0\x01\x13\x88"]),
                sync.clone(),
            ]
            .concat(),
        ),
        (
            2,
            [
                parse("", "SELECT $1", &[1007]),
                bind("", "", 1, &[&[&one[..], one, b"\0\0\0\x17", one, one, b"\0\0\0\x04", one].concat()]),
                execute("", 0),
                sync.clone(),
            ]
            .concat(),
        ),
        (
            2,
            [parse("", "SELECT id FROM t", &[]), bind("", "", 1, &[]), execute("", 1), execute("", 1), sync.clone()]
                .concat(),
        ),
        (2, [parse("", "FAIL", &[]), parse("x", "SELECT 1", &[]), sync].concat()),
        (2, copy("COPY t FROM STDIN", &["1\tone\n2\t\\N\n", "3\tt\\x41\\101\\nb", "\n\\.\n"])),
        (
            2,
            copy(
                "COPY t (body, id) FROM STDIN (FORMAT csv, HEADER, QUOTE '\"', ESCAPE '\\')",
                &["body,id\n\"a\\\"", "b\"\"\",1\n,2\n"],
            ),
        ),
        (
            2,
            [query("COPY t FROM STDIN"), data("1\n"), message(b'f', b"no\0"), query("COPY t TO STDOUT (FORMAT csv)")]
                .concat(),
        ),
        (2, query("COPY (SELECT 1, 'x', NULL) TO STDOUT (FORMAT binary)")),
        (
            2,
            [
                query("INSERT INTO t VALUES (3, 'x')"),
                query("DELETE FROM t"),
                query("FLUSH"),
                query("CREATE TABLE u (a INT)"),
            ]
            .concat(),
        ),
        (
            2,
            query(
                "SELECT relname, attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE relname = 't'",
            ),
        ),
    ]
    .into_iter()
    .map(|(how, sent)| [vec![how, 255], sent].concat())
    .collect()
}
