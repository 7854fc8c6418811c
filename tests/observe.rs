//! What can be seen from outside: catalog tables, metrics, health, and `weir inspect`.

use crate::kit::{Pair, eventually, output};
use std::process::Command;

async fn pair() -> Pair {
    let pair = Pair::start().await;
    pair.follow(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 1000) AS i",
        &["t"],
    )
    .await;
    pair.sql.run("CREATE TABLE notes (id INT PRIMARY KEY)").await;
    pair.sql.run("CREATE MATERIALIZED VIEW v AS SELECT v % 10 AS g, 1000 / (v - 5000) AS q FROM t").await;
    pair.same("SELECT * FROM t").await;
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_show_where_they_are_and_how_far_behind() {
    let pair = pair().await;
    let query = "SELECT name, connector, state, position, upstream_position, lag_bytes, lag_ms, last_error FROM rw_catalog.rw_sources";
    eventually("the source has read all", async || {
        let rows = pair.sql.rows(query).await?;
        let text = |at: usize| rows[0][at].clone().unwrap_or_default();
        assert_eq!((text(0).as_str(), text(1).as_str()), ("src", "postgres-cdc"));
        let near = text(5).parse::<i64>().is_ok_and(|lag| lag < 10_000);
        if text(2).eq_ignore_ascii_case("running") && near && !text(3).is_empty() {
            Ok(())
        } else {
            Err(format!("{rows:?}"))
        }
    })
    .await;
    let shown = pair.sql.one("SELECT definition FROM rw_catalog.rw_sources").await;
    assert!(shown.to_uppercase().contains("CREATE SOURCE"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_show_their_epoch_size_and_errors() {
    let pair = pair().await;
    let tables = pair.sql.sorted("SELECT name FROM rw_catalog.rw_tables").await.expect("rw_tables");
    assert_eq!(tables, [[Some("notes".to_string())], [Some("t".to_string())]]);
    let query =
        "SELECT name, status, epoch, freshness_ms, rows, state_bytes, errors FROM rw_catalog.rw_materialized_views";
    eventually("the view is up to date", async || {
        let rows = pair.sql.rows(query).await?;
        let text = |at: usize| rows[0][at].clone().unwrap_or_default();
        assert_eq!(text(0), "v");
        if text(4) == "1000" && text(6) == "0" { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    pair.up.run("UPDATE t SET v = 5000 WHERE id IN (1, 2)").await;
    eventually("two rows fail", async || {
        let rows = pair.sql.rows(query).await?;
        if rows[0][6].as_deref() == Some("2") { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
    let error = pair.sql.error("SELECT * FROM v").await;
    assert_eq!(error.code().code(), "22012");
    let said = format!("{error:?}");
    assert!(said.contains('v') && said.contains("1000 /"), "relation and expression are named: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_listed_with_their_positions() {
    let pair = pair().await;
    pair.sql.run("INSERT INTO notes VALUES (1)").await;
    let query = "SELECT epoch, generation, committed_at, duration_ms, bytes, positions FROM rw_catalog.rw_checkpoints ORDER BY epoch DESC LIMIT 1";
    let rows = pair.sql.rows(query).await.expect("rw_checkpoints");
    assert!(rows[0].iter().all(Option::is_some), "{rows:?}");
    assert_eq!(pair.sql.rows("SELECT * FROM rw_catalog.rw_ddl_progress").await, Ok(vec![]), "nothing is being built");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_health_speak_http() {
    let pair = pair().await;
    assert_eq!(pair.weir.get("/health").await.expect("health").0, 200);
    let (status, text) = pair.weir.get("/metrics").await.expect("metrics");
    assert_eq!(status, 200);
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let value = line.rsplit(' ').next().unwrap_or_default();
        assert!(line.starts_with("weir_") && (value.parse::<f64>().is_ok()), "not a metric: {line}");
    }
    for word in ["source=\"src\"", "\"v\"", "lag_bytes", "freshness", "checkpoint"] {
        assert!(text.contains(word), "{word} is not in the metrics:\n{text}");
    }
    assert_eq!(pair.weir.get("/nothing").await.expect("an answer").0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_prints_what_a_store_holds_while_it_is_in_use() {
    let pair = pair().await;
    pair.sql.run("FLUSH").await;
    let output = output(Command::new(env!("CARGO_BIN_EXE_weir")).args(["inspect", pair.weir.store()]), "");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for word in ["src", "notes", "generation", "/"] {
        assert!(text.contains(word), "{word:?} is not in:\n{text}");
    }
}

#[test]
fn help_names_every_flag_and_its_variable() {
    let output = output(Command::new(env!("CARGO_BIN_EXE_weir")).args(["serve", "--help"]), "");
    let text = String::from_utf8_lossy(&output.stdout);
    let flags = [
        "listen",
        "http",
        "store",
        "workers",
        "checkpoint-interval",
        "max-in-flight-epochs",
        "memory-limit",
        "lag-limit",
        "spill-dir",
        "secret-key-file",
        "log",
        "password-file",
        "trust",
    ];
    for flag in flags {
        let variable = format!("WEIR_{}", flag.replace('-', "_").to_uppercase());
        assert!(
            text.contains(&format!("--{flag}")) && text.contains(&variable),
            "--{flag} or {variable} is missing:\n{text}"
        );
    }
}
