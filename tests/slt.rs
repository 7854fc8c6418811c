//! One script, many schedules: every file of `slt/` in several modes against the same expected text.
//!
//! A file makes its tables first; then sections marked by comments: `# views`, `# data` and `# check`, the latter two as often as
//! needed. A first line `# modes: live restart` limits a file to those modes. The letters after `query` are the columns' types,
//! see [`Letter`]; an error is known by its SQLSTATE, `(42703)`, or by all that is said, `^42703 column …$`. What is expected is
//! PostgreSQL's truth: mode `postgres` runs the same files on a real one (views as plain views).
//!
//! `SLT=name` runs only files whose path contains it; `SLT_REWRITE=1` writes what PostgreSQL answers into the files.

mod database;
mod script;

use crate::kit::{Client, Postgres, Weir};
use database::{Database, Engine};
use script::{Script, Step};
use sqllogictest::{Runner, strict_column_validator};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// On PostgreSQL.
    Postgres,
    /// Views first, data after.
    Live,
    /// Data first, views after.
    Backfill,
    /// Each view is compared with its query, asked ad hoc.
    Batch,
    /// The server is killed between data and check; in some files after every statement.
    Restart,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Postgres => "postgres",
            Mode::Live => "live",
            Mode::Backfill => "backfill",
            Mode::Batch => "batch",
            Mode::Restart => "restart",
        }
    }
}

/// Files so short that mode `restart` kills the server after each of their statements.
const KILLED_OFTEN: &[&str] = &["distinct", "view_on_view", "union"];

#[tokio::test(flavor = "multi_thread")]
async fn expectations_are_what_postgres_answers() {
    run(Mode::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_follow_data() {
    run(Mode::Live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_over_existing_data() {
    run(Mode::Backfill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_equal_their_queries() {
    run(Mode::Batch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_survive_kills() {
    run(Mode::Restart).await;
}

/// Runs every file and reports all that failed, each in the first place where it did.
async fn run(mode: Mode) {
    let mut failures = vec![];
    let mut server = Server::start(mode).await;
    let mut count = 0;
    for path in files() {
        let script = Script::read(&path).unwrap_or_else(|e| panic!("{e}"));
        if !script.runs_in(mode) {
            continue;
        }
        count += 1;
        if mode == Mode::Postgres && std::env::var_os("SLT_REWRITE").is_some() {
            rewrite(&server, &path).await;
        } else if let Err(error) = play(&mut server, &script, mode).await {
            eprintln!("{} {}: {error}", mode.name(), path.display());
            failures.push(format!("{}: {error}", path.display()));
            // What the file left behind may be the next one's trouble.
            server = Server::start(mode).await;
        }
        server.clean().await;
    }
    assert!(count > 0, "no script was run");
    assert!(
        failures.is_empty(),
        "{} of {count} scripts failed in mode {}:\n\n{}",
        failures.len(),
        mode.name(),
        failures.join("\n")
    );
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("slt");
    let wanted = std::env::var("SLT").unwrap_or_default();
    let entries = std::fs::read_dir(folder).expect("read slt/").map(|entry| entry.expect("read slt/").path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "slt")).collect();
    files.retain(|path| path.to_string_lossy().contains(&wanted));
    files.sort();
    files
}

async fn play(server: &mut Server, script: &Script, mode: Mode) -> Result<(), String> {
    let mut views = BTreeMap::new();
    let often = KILLED_OFTEN.contains(&script.name.as_str());
    let mut runner = server.runner(mode);
    for step in script.steps(mode) {
        match step {
            Step::Record(record) => {
                script::note_views(&record, &mut views);
                let changes = script::changes(&record);
                runner.run_async(*record).await.map_err(|e| e.to_string())?;
                if mode == Mode::Restart && often && changes {
                    server.crash().await;
                    runner = server.runner(mode);
                }
            }
            Step::DataDone => {
                server.settle(mode).await;
                if mode == Mode::Restart {
                    runner = server.runner(mode);
                }
            }
            Step::CheckDone if mode == Mode::Batch => server.compare(&views).await?,
            Step::CheckDone => {}
        }
    }
    Ok(())
}

async fn rewrite(server: &Server, path: &Path) {
    let mut runner = server.runner(Mode::Postgres);
    let validator = sqllogictest::default_validator;
    let normalizer = sqllogictest::default_normalizer;
    runner.update_test_file(path, " ", validator, normalizer, strict_column_validator).await.expect("rewrite the file");
    // Most messages are each engine's own; the SQLSTATE is what both promise. Where the script has a pattern of the whole, it stays.
    let text = std::fs::read_to_string(path).expect("read what was rewritten");
    let lines = text.lines().map(|line| match line.split_once(" error ") {
        Some((head @ ("statement" | "query"), rest)) if !rest.starts_with(['(', '^']) => {
            format!("{head} error ({})\n", &rest[..5])
        }
        _ => format!("{line}\n"),
    });
    std::fs::write(path, lines.collect::<String>()).expect("rewrite the file");
}

/// How many errors a view holds.
async fn errors(client: &Client, view: &str) -> Result<u64, String> {
    let rows =
        client.rows(&format!("SELECT errors FROM rw_catalog.rw_materialized_views WHERE name = '{view}'")).await?;
    rows[0][0].as_deref().and_then(|count| count.parse().ok()).ok_or_else(|| format!("view {view} tells no errors"))
}

enum Server {
    Postgres(Postgres),
    Weir(Weir),
}

impl Server {
    async fn start(mode: Mode) -> Self {
        match mode {
            Mode::Postgres => Self::Postgres(Postgres::start(&[]).await),
            _ => Self::Weir(Weir::start().await),
        }
    }

    fn runner(&self, mode: Mode) -> Runner<Database, impl sqllogictest::MakeConnection<Conn = Database> + use<>> {
        let (engine, config) = match self {
            Server::Postgres(server) => (Engine::Postgres, server.config()),
            Server::Weir(server) => (Engine::Weir, server.config()),
        };
        let mut runner = Runner::new(move || Database::connect(engine, config.clone()));
        runner.add_label(mode.name());
        runner.with_column_validator(strict_column_validator);
        runner
    }

    /// Makes all that was written visible in every view; in mode `restart` by way of a crash.
    async fn settle(&mut self, mode: Mode) {
        if let Server::Weir(server) = self {
            server.client().await.run("FLUSH").await;
            if mode == Mode::Restart {
                server.kill();
                server.restart().await;
            }
        }
    }

    async fn crash(&mut self) {
        if let Server::Weir(server) = self {
            server.kill();
            server.restart().await;
        }
    }

    /// Every view holds what its query gives now.
    async fn compare(&self, views: &BTreeMap<String, String>) -> Result<(), String> {
        let Server::Weir(server) = self else { return Ok(()) };
        let client = server.client().await;
        for (name, query) in views {
            let view = client.sorted(&format!("SELECT * FROM {name}")).await;
            let asked = client.sorted(query).await;
            let state = |error: &String| error.split(' ').next().unwrap_or_default().to_string();
            let same = match (&view, &asked) {
                (Ok(view), Ok(asked)) => view == asked,
                (Err(view), Err(asked)) if state(view) == state(asked) => true,
                // Of several errors either may report any.
                (Err(_), Err(_)) => errors(&client, name).await? > 1,
                _ => false,
            };
            if !same {
                return Err(format!("view {name} is {view:?}\nbut its query gives {asked:?}\n[SQL] {query}"));
            }
        }
        Ok(())
    }

    /// Drops all that the last file made.
    async fn clean(&self) {
        match self {
            Server::Postgres(server) => {
                server.client().await.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await
            }
            Server::Weir(server) => {
                let client = server.client().await;
                for (kind, show) in
                    [("MATERIALIZED VIEW", "MATERIALIZED VIEWS"), ("TABLE", "TABLES"), ("SOURCE", "SOURCES")]
                {
                    let names =
                        client.rows(&format!("SHOW {show}")).await.unwrap_or_else(|e| panic!("SHOW {show}: {e}"));
                    for name in names.iter().filter_map(|row| row[0].as_deref()) {
                        client.run(&format!("DROP {kind} IF EXISTS \"{name}\" CASCADE")).await;
                    }
                }
            }
        }
    }
}
