//! Chaos: every kind of table and row under random transactions, while both servers are killed, the store's disk is full, views, tables and
//! queries panic, views are rebuilt, dropped and made, and sources are paused. At the end everything equals what PostgreSQL says.
//!
//! `make soak` plays many rounds; `SEED=n` plays the same events again (when they meet a server is up to the machine).

use crate::kit::{Disk, Pair, Stop, eventually, number};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

/// What happens after some transactions.
#[derive(Clone, Copy, Debug)]
enum Event {
    Kill,
    KillTwice,
    StopPostgres,
    StopBoth,
    Pause,
    FillDisk,
    Refresh,
    MakeAnew,
    PanicInView,
    PanicInTable,
    PanicInQueries,
}

const EVENTS: [Event; 11] = [
    Event::Kill,
    Event::KillTwice,
    Event::StopPostgres,
    Event::StopBoth,
    Event::Pause,
    Event::FillDisk,
    Event::Refresh,
    Event::MakeAnew,
    Event::PanicInView,
    Event::PanicInTable,
    Event::PanicInQueries,
];

/// Unless ROUNDS says otherwise. One round has one event, and each comes once before any comes again.
const ROUNDS: usize = EVENTS.len();

/// More than the store comes to hold. It takes memory as it is used.
const DISK: &str = "4g";

/// One for each way in which an old row can be told, with values that lie outside of their rows and are not sent when they stay.
const TABLES: &str = "
    CREATE TABLE by_key (id int PRIMARY KEY, g int, v numeric, note text);
    CREATE TABLE by_index (a int NOT NULL, b text NOT NULL, g int, note text, spare text);
    CREATE UNIQUE INDEX by_index_key ON by_index (a, b);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_key;
    CREATE TABLE full_key (id bigint PRIMARY KEY, g int, note text, tags text[]);
    ALTER TABLE full_key REPLICA IDENTITY FULL;
    CREATE TABLE no_key (g int, v double precision, note text);
    ALTER TABLE no_key REPLICA IDENTITY FULL;
    ALTER TABLE by_key ALTER note SET STORAGE EXTERNAL;
    ALTER TABLE by_index ALTER note SET STORAGE EXTERNAL;
    ALTER TABLE full_key ALTER note SET STORAGE EXTERNAL";
const NAMES: [&str; 4] = ["by_key", "by_index", "full_key", "no_key"];

const VIEWS: [(&str, &str); 5] = [
    ("sums", "SELECT g, count(*) AS n, sum(v) AS v, max(length(note)) AS longest FROM by_key GROUP BY g"),
    (
        "pairs",
        "SELECT k.id, i.b, k.g, i.note FROM by_key AS k JOIN by_index AS i ON i.a = k.id LEFT JOIN full_key AS f ON f.id = k.id \
         WHERE f.g IS NULL OR f.g <> k.g",
    ),
    (
        "all_groups",
        "SELECT g, note FROM by_key UNION ALL SELECT g, note FROM by_index UNION ALL SELECT g, note FROM no_key",
    ),
    ("counted", "SELECT g, count(*) AS n, count(DISTINCT note) AS notes FROM all_groups GROUP BY g"),
    ("firsts", "SELECT g, min(id) AS id, max(cardinality(tags)) AS tags FROM full_key GROUP BY g"),
];

/// Queries in which a function panics as soon as there are rows.
const BROKEN: [&str; 3] = [
    "SELECT broken(g) FROM all_groups",
    "SELECT k.id FROM by_key AS k JOIN full_key AS f ON broken(k.g) = f.g",
    "SELECT g, count(*) FROM no_key GROUP BY g ORDER BY broken(g)",
];

struct Chaos {
    /// Where Weir's store is.
    disk: Disk,
    pair: Pair,
    random: StdRng,
    /// Events to come.
    events: Vec<Event>,
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_equals_upstream_after_anything() {
    let seed = number("SEED").unwrap_or_else(rand::random);
    let rounds = number("ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    println!("SEED={seed}");
    let disk = Disk::new(DISK).await;
    let pair = Pair::run_by(disk.runner(), &disk.below("store"), &[]).await;
    pair.follow(TABLES, &NAMES).await;
    let mut chaos = Chaos { disk, pair, random: StdRng::seed_from_u64(seed), events: vec![] };
    for (name, query) in VIEWS {
        chaos.pair.sql.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
        chaos.pair.up.run(&format!("CREATE VIEW {name} AS {query}")).await;
    }
    for round in 0..rounds {
        chaos.transactions().await;
        chaos.event().await;
        if round % 10 == 9 {
            chaos.check().await;
        }
    }
    chaos.check().await;
}

impl Chaos {
    fn below(&mut self, n: u32) -> u32 {
        self.random.random_range(0..n)
    }

    async fn transactions(&mut self) {
        for _ in 0..self.random.random_range(1..20) {
            let transaction = self.transaction();
            self.pair.up.run(&transaction).await;
        }
    }

    fn transaction(&mut self) -> String {
        let statements: Vec<String> = (0..1 + self.below(4)).map(|_| self.statement()).collect();
        let mut text = statements.join("; ");
        if self.below(4) == 0 {
            text = format!("{text}; SAVEPOINT s; {}; ROLLBACK TO s; {}", self.statement(), self.statement());
        }
        format!("BEGIN; {text}; {}", if self.below(8) == 0 { "ROLLBACK" } else { "COMMIT" })
    }

    fn statement(&mut self) -> String {
        let (id, to, g) = (self.below(300), self.below(300), self.below(7));
        // From a few bytes to what PostgreSQL stores apart, sends rarely, and no block of a run holds.
        let (note, most) = match self.below(12) {
            0 => ("NULL".into(), 3000),
            1 => (format!("repeat('wide {id} ', 200000)"), 2),
            2..5 => (format!("repeat('{id}-', 3000)"), 10),
            _ => (format!("'note {}'", id % 9), 3000),
        };
        let many = if self.below(10) == 0 { most } else { 1 + self.below(most.min(5)) };
        let series = format!("generate_series({id}, {id} + {many}) AS i");
        match self.below(13) {
            0 => format!("INSERT INTO by_key SELECT i, {g}, i / 3.0, {note} FROM {series} ON CONFLICT DO NOTHING"),
            1 => format!("UPDATE by_key SET v = v + 1.5, g = {g} WHERE id BETWEEN {id} AND {id} + {many}"),
            2 => format!(
                "UPDATE by_key SET id = 1000000 + id WHERE id = {id} AND NOT EXISTS (SELECT 1 FROM by_key WHERE id = 1000000 + {id})"
            ),
            3 => format!("DELETE FROM by_key WHERE id BETWEEN {to} AND {to} + {many}"),
            4 => format!(
                "INSERT INTO by_index SELECT i, 'b' || {g}, {g}, {note}, 's' FROM {series} ON CONFLICT DO NOTHING"
            ),
            5 => format!("UPDATE by_index SET spare = spare || {g} WHERE a % 10 = {g}"),
            6 => format!("DELETE FROM by_index WHERE a = {id} OR a = {to}"),
            7 => format!(
                "INSERT INTO full_key SELECT i, {g}, {note}, ARRAY['x', NULL, '{g}'] FROM {series} ON CONFLICT (id) DO UPDATE SET g = {g}"
            ),
            8 => format!(
                "UPDATE full_key SET tags = tags || '{g}'::text WHERE id BETWEEN {id} AND {id} + 20 AND cardinality(tags) < 20"
            ),
            9 => format!("DELETE FROM full_key WHERE g = {g} AND id % 3 = 0"),
            10 => format!("INSERT INTO no_key SELECT {g}, i / 7.0, {note} FROM {series}"),
            11 => format!("UPDATE no_key SET v = -v WHERE g = {g}"),
            _ => match self.below(5) {
                0 => "TRUNCATE no_key".into(),
                _ => format!("DELETE FROM no_key WHERE g = {g} OR v > 100"),
            },
        }
    }

    async fn event(&mut self) {
        if self.events.is_empty() {
            self.events = EVENTS.to_vec();
            self.events.shuffle(&mut self.random);
        }
        let event = self.events.pop().expect("there are some");
        let (name, query) = *VIEWS.choose(&mut self.random).expect("some");
        println!("{event:?}");
        match event {
            Event::Kill => self.restart_weir(&[]).await,
            Event::KillTwice => {
                // A second start before the first has everything back.
                self.pair.weir.kill();
                self.pair.weir.spawn();
                self.restart_weir(&[]).await;
            }
            Event::StopPostgres => self.restart_postgres().await,
            Event::StopBoth => {
                self.pair.weir.kill();
                self.restart_postgres().await;
                self.pair.revive().await;
            }
            Event::Pause => {
                self.pair.sql.run("ALTER SOURCE src PAUSE").await;
                let transaction = self.transaction();
                self.pair.up.run(&transaction).await;
                self.pair.sql.run("ALTER SOURCE src RESUME").await;
            }
            Event::FillDisk => self.fill_disk().await,
            Event::Refresh => self.refresh(name).await,
            // Another view reads that one.
            Event::MakeAnew if name == "all_groups" => self.make_anew("counted", VIEWS[3].1).await,
            Event::MakeAnew => self.make_anew(name, query).await,
            Event::PanicInView => self.panic_in(name).await,
            Event::PanicInTable => {
                let name = *NAMES.choose(&mut self.random).expect("some");
                self.panic_in(name).await;
                self.transactions().await;
                self.restart_weir(&[]).await;
                self.mend().await;
            }
            Event::PanicInQueries => self.panic_in_queries().await,
        }
    }

    /// Sooner or later.
    async fn panic_in(&mut self, name: &str) {
        let at = self.below(300);
        self.restart_weir(&["--panics", &format!("{name}={at}")]).await;
    }

    async fn restart_weir(&mut self, flags: &[&str]) {
        self.pair.weir.kill();
        self.pair.weir.set_flags(flags.iter().map(|flag| flag.to_string()).collect());
        self.pair.revive().await;
    }

    /// Tables that have failed are copied again, and what read them is made again.
    async fn mend(&self) {
        let sql = &self.pair.sql;
        // Answered once everything has been brought back.
        sql.run("FLUSH").await;
        let failed = sql.rows("SELECT name FROM rw_catalog.rw_tables WHERE status = 'failed'").await;
        for name in failed.expect("the tables").into_iter().flatten().flatten() {
            sql.run(&format!("DROP TABLE {name} CASCADE")).await;
            self.pair.table(&name).await;
        }
        for (name, query) in VIEWS {
            sql.run(&format!("CREATE MATERIALIZED VIEW IF NOT EXISTS {name} AS {query}")).await;
        }
    }

    /// A server whose disk is full says so and answers queries. Once there is room it continues, or starts again.
    async fn fill_disk(&mut self) {
        let Self { disk, pair, .. } = &*self;
        eventually("a server whose disk is full says so", async || {
            // What is collected meanwhile makes room.
            disk.fill().await;
            pair.up.run("INSERT INTO no_key VALUES (0, 0, 'there is no room for it')").await;
            match pair.weir.get("/health").await.map_err(|error| error.to_string())? {
                (503, told) if told.contains("No space left on device (os error 28) (53100)") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        pair.sql.rows("SELECT count(*) FROM by_key").await.expect("a full disk is no reason not to answer");
        let is_killed = self.below(3) == 0;
        if is_killed {
            self.pair.weir.kill();
        }
        self.disk.grow(DISK);
        if is_killed {
            self.pair.revive().await;
        }
        let weir = &self.pair.weir;
        eventually("there is room again", async || {
            match weir.get("/health").await.map_err(|error| error.to_string())? {
                (200, _) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    /// Each is that statement's error and nobody else's.
    async fn panic_in_queries(&mut self) {
        self.restart_weir(&["--broken-function"]).await;
        for query in BROKEN {
            let transaction = self.transaction();
            let (_, answer) = tokio::join!(self.pair.up.run(&transaction), self.pair.sql.rows(query));
            let is_expected =
                |error: &String| error.starts_with("XX000 the query failed") || error.starts_with("55000");
            assert!(answer.as_ref().err().is_none_or(is_expected), "{query}: {answer:?}");
            assert_eq!(self.pair.sql.one("SELECT 1").await, "1", "the session goes on");
        }
    }

    /// Dropped and made. One that panics again and again is made after a start.
    async fn make_anew(&mut self, name: &str, query: &str) {
        self.pair.sql.run(&format!("DROP MATERIALIZED VIEW {name}")).await;
        let create = format!("CREATE MATERIALIZED VIEW {name} AS {query}");
        if let Err(error) = self.pair.sql.rows(&create).await {
            assert!(error.contains("a panic was asked for"), "{error}");
            self.restart_weir(&[]).await;
            self.pair.sql.run(&create).await;
        }
    }

    async fn restart_postgres(&mut self) {
        let how = if self.random.random() { Stop::Immediate } else { Stop::Fast };
        self.pair.postgres.stop(how);
        self.pair.postgres.launch().await;
        self.pair.up = self.pair.postgres.client().await;
    }

    /// One that is being built already says so. One that panics again and again, or reads one that does, is right after a start.
    async fn refresh(&mut self, name: &str) {
        let sql = &self.pair.sql;
        let is_refreshed = eventually("a view is built anew", async || {
            match sql.rows(&format!("REFRESH MATERIALIZED VIEW {name}")).await {
                Err(error) if error.contains("a panic was asked for") => Ok(false),
                done => done.map(|_| true),
            }
        })
        .await;
        if !is_refreshed {
            self.restart_weir(&[]).await;
        }
    }

    /// Views that panicked are right again after a start, and everything is as it is upstream.
    async fn check(&mut self) {
        self.restart_weir(&[]).await;
        for relation in NAMES.into_iter().chain(VIEWS.map(|(name, _)| name)) {
            self.pair.same(&format!("SELECT {} FROM {relation}", text(relation))).await;
        }
    }
}

/// The columns of a relation, long ones by what tells them apart.
fn text(relation: &str) -> &'static str {
    match relation {
        "by_key" => "id, g, v, md5(note), length(note)",
        "by_index" => "a, b, g, md5(note), spare",
        "full_key" => "id, g, md5(note), tags",
        "no_key" => "g, v, md5(note)",
        "pairs" => "id, b, g, md5(note)",
        "all_groups" => "g, md5(note)",
        _ => "*",
    }
}
