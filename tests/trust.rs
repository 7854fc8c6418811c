//! Trust: every store opens, every failure reaches whoever asks, no one thing stops everything.

use crate::kit::{Client, Pair, Weir, eventually, same};
use serde_json::{Value, json};
use std::path::Path;
use weir_storage::Env;
use weir_storage::manifest::{Cache, Manifest, Record};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opens_after_updates_of_rows_wider_than_a_block_and_of_many_narrow_ones() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE wide (k INT PRIMARY KEY, a INT, big VARCHAR)").await;
    sql.run("INSERT INTO wide SELECT g, g, repeat('x', 1100000) FROM generate_series(1, 10) AS t(g)").await;
    sql.run("UPDATE wide SET a = a + 1").await;
    sql.run("CREATE TABLE narrow (id INT PRIMARY KEY, v INT)").await;
    sql.run("INSERT INTO narrow SELECT g, 0 FROM generate_series(1, 9000) AS t(g)").await;
    let inserts: String = (20_001..20_020).map(|id| format!("INSERT INTO narrow VALUES ({id}, 7);")).collect();
    sql.run(&format!("BEGIN; UPDATE narrow SET v = v + 1 WHERE id <= 8200; {inserts} COMMIT")).await;
    sql.run("CREATE TABLE often (id INT PRIMARY KEY, v INT, text VARCHAR)").await;
    sql.run("INSERT INTO often SELECT g, 0, repeat('y', 3000) FROM generate_series(1, 300) AS t(g)").await;
    for _ in 0..20 {
        sql.run("UPDATE often SET v = v + 1").await;
    }
    for _ in 0..2 {
        weir.kill();
        weir.restart().await;
        let sql = weir.client().await;
        assert_eq!(sql.one("SELECT sum(a) FROM wide").await, "65");
        assert_eq!(sql.one("SELECT sum(v) FROM narrow").await, (8200 + 7 * 19).to_string());
        assert_eq!(sql.one("SELECT sum(v) FROM often").await, "6000");
        // Only with all of it in memory again does this return.
        sql.run("UPDATE wide SET a = a; UPDATE narrow SET v = v; UPDATE often SET v = v").await;
    }
}

/// Waits until `sql` fails with a message that has `part` in it.
async fn fails(client: &Client, sql: &str, part: &str) -> String {
    eventually(&format!("{sql} fails with {part}"), async || match client.rows(sql).await {
        Err(error) if error.contains(part) => Ok(error),
        other => Err(format!("{other:?}")),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_operator_panics_fails_with_its_children_and_nobody_waits_for_them() {
    // Not at once: it is made, and then fails under changes.
    let mut weir = Weir::with(&["--panics", "v=400"]).await;
    let sql = weir.client().await;
    sql.run(
        "CREATE TABLE t (k INT PRIMARY KEY, g INT); INSERT INTO t SELECT g, g % 3 FROM generate_series(1, 9) AS t(g)",
    )
    .await;
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT g, count(*) AS n FROM t GROUP BY g").await;
    sql.run("CREATE MATERIALIZED VIEW child AS SELECT sum(n) AS n FROM v").await;
    sql.run("CREATE MATERIALIZED VIEW other AS SELECT count(*) AS n FROM t").await;
    assert_eq!(sql.one("SELECT n FROM child").await, "9");
    let mut rows = 9;
    eventually("the view fails", async || {
        rows += 1;
        sql.run(&format!("INSERT INTO t VALUES ({rows}, 0)")).await;
        match sql.rows("SELECT * FROM v").await {
            Err(_) => Ok(()),
            Ok(rows) => Err(format!("{rows:?}")),
        }
    })
    .await;
    let error = sql.error("SELECT * FROM v").await;
    assert_eq!(error.code().code(), "XX000");
    assert!(error.message().contains("materialized view \"v\" has failed: an operator panicked"), "{error:?}");
    assert!(error.hint().is_some_and(|hint| hint.contains("REFRESH MATERIALIZED VIEW v")), "{error:?}");
    let error = fails(&sql, "SELECT * FROM child", "materialized view \"child\" has failed").await;
    assert!(error.contains("It reads materialized view \"v\""), "{error}");
    // Nobody waits.
    sql.run(&format!("INSERT INTO t VALUES ({}, 1); FLUSH", rows + 1)).await;
    sql.run("BEGIN; UPDATE t SET g = 2 WHERE k = 1; INSERT INTO t VALUES (0, 0); COMMIT; FLUSH").await;
    let all = (rows + 2).to_string();
    assert_eq!(sql.one("SELECT n FROM other").await, all);
    let error = sql.error("CREATE MATERIALIZED VIEW w AS SELECT * FROM child").await;
    assert!(error.message().contains("has failed"), "{error:?}");
    // It shows.
    let shown = "SELECT name, status FROM rw_catalog.rw_materialized_views WHERE last_error IS NOT NULL ORDER BY name";
    let failed = |name: &str| vec![Some(name.to_string()), Some("failed".to_string())];
    assert_eq!(sql.rows(shown).await.unwrap(), [failed("child"), failed("v")]);
    let (status, page) = weir.get("/health").await.unwrap();
    assert!(status == 200 && page.contains("\"v\" has failed"), "{status} {page}");
    let (_, metrics) = weir.get("/metrics").await.unwrap();
    assert!(metrics.contains("weir_relation_failed{relation=\"child\"} 1"), "{metrics}");
    let said = weir.log().matches("a relation has failed").count();
    assert_eq!(said, 1, "{}", weir.log());
    // What it was can be read.
    sql.notices();
    sql.run("SET weir.read_failed = on").await;
    let was = sql.rows("SELECT sum(n) FROM v").await.unwrap();
    assert!(was[0][0].as_ref().is_some_and(|n| n.parse::<i32>().unwrap() >= 9), "{was:?}");
    assert!(sql.notices().iter().any(|notice| notice.message().contains("this is what it was")));
    sql.run("RESET weir.read_failed").await;
    // Back again: the piece of work that panics has been.
    sql.run("REFRESH MATERIALIZED VIEW v").await;
    assert_eq!(sql.one("SELECT sum(n) FROM v").await, all);
    eventually("the child is back", async || {
        match sql.one("SELECT status FROM rw_catalog.rw_materialized_views WHERE name = 'child'").await.as_str() {
            "live" => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
    assert_eq!(sql.one("SELECT n FROM child").await, all);
    weir.kill();
    weir.restart().await;
    let sql = weir.client().await;
    assert_eq!(sql.one("SELECT sum(n) FROM v").await, all);
    sql.run("DROP MATERIALIZED VIEW v CASCADE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_cannot_be_built_keeps_no_server_from_starting_and_can_be_dropped() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    for (name, query) in
        [("v", "SELECT count(*) AS n FROM t"), ("child", "SELECT n FROM v"), ("other", "SELECT sum(k) AS s FROM t")]
    {
        sql.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    }
    weir.set_flags(vec!["--panics".into(), "v=0".into()]);
    // The second one builds it anew.
    for k in [3, 4] {
        weir.kill();
        weir.restart().await;
        let sql = weir.client().await;
        fails(&sql, "SELECT * FROM v", "materialized view \"v\" has failed: an operator panicked").await;
        fails(&sql, "SELECT * FROM child", "It reads materialized view \"v\"").await;
        sql.run(&format!("INSERT INTO t VALUES ({k})")).await;
    }
    let sql = weir.client().await;
    assert_eq!(sql.one("SELECT s FROM other").await, "10");
    sql.run("DROP MATERIALIZED VIEW v CASCADE").await;
    let error = sql.error("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    assert!(error.message().contains("panicked"), "{error:?}");
    sql.run("INSERT INTO t VALUES (5)").await;
    assert_eq!(sql.one("SELECT s FROM other").await, "15");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_that_cannot_be_sealed_fails_alone_and_checkpoints_go_on() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    for table in ["t", "bad"] {
        sql.run(&format!("CREATE TABLE {table} (k INT PRIMARY KEY); INSERT INTO {table} VALUES (1)")).await;
    }
    for name in ["v", "other"] {
        sql.run(&format!("CREATE MATERIALIZED VIEW {name} AS SELECT sum(k) AS s FROM t")).await;
    }
    weir.kill();
    weir.set_flags(["--unsealable", "bad", "--unsealable", "v"].map(String::from).into());
    for k in [2, 3] {
        weir.restart().await;
        let sql = weir.client().await;
        // It returns once it is durable.
        sql.run(&format!("INSERT INTO t VALUES ({k})")).await;
        fails(&sql, "SELECT * FROM v", "materialized view \"v\" has failed: what it changed by cannot be stored").await;
        let error = sql.error("INSERT INTO bad VALUES (2)").await;
        assert!(error.message().contains("table \"bad\" has failed: what it changed by cannot be stored"), "{error}");
        sql.run("FLUSH").await;
        weir.kill();
    }
    weir.set_flags(vec![]);
    weir.restart().await;
    let sql = weir.client().await;
    assert_eq!(sql.one("SELECT s FROM other").await, "6");
    eventually("the view is built anew", async || match sql.rows("SELECT s FROM v").await {
        Ok(rows) if rows == [[Some("6".to_string())]] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // What was stored before is there, and nothing that was answered with an error.
    fails(&sql, "SELECT * FROM bad", "table \"bad\" has failed").await;
    sql.run("SET weir.read_failed = on").await;
    assert_eq!(sql.rows("SELECT k FROM bad").await.unwrap(), [[Some("1".to_string())]]);
    sql.run("DROP TABLE bad").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_fails_is_never_acknowledged_past_and_the_others_go_on() {
    let mut pair = Pair::flagged(&["--panics", "bad=60"]).await;
    pair.follow(
        "CREATE TABLE bad (id int PRIMARY KEY, v int); CREATE TABLE good (id int PRIMARY KEY)",
        &["bad", "good"],
    )
    .await;
    pair.sql.run("CREATE MATERIALIZED VIEW over AS SELECT count(*) AS n FROM bad").await;
    let mut n = 0;
    eventually("the table fails", async || {
        n += 1;
        pair.up.run(&format!("INSERT INTO bad VALUES ({n}, 0); INSERT INTO good VALUES ({n})")).await;
        match pair.sql.rows("SELECT * FROM bad").await {
            Err(error) if error.contains("table \"bad\" has failed") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    fails(&pair.sql, "SELECT * FROM over", "It reads table \"bad\"").await;
    let told = pair.sql.rows("SELECT status, last_error FROM rw_catalog.rw_tables WHERE name = 'bad'").await.unwrap();
    let [status, error] = &told[0][..] else { panic!("{told:?}") };
    assert_eq!(status.as_deref(), Some("failed"));
    assert!(error.as_ref().is_some_and(|error| error.contains("panicked")), "{told:?}");
    let told = pair.sql.one("SELECT last_error FROM rw_catalog.rw_sources").await;
    assert!(told.contains("keeps its log for tables that have failed: \"bad\""), "{told}");
    let metrics = pair.weir.get("/metrics").await.unwrap().1;
    assert!(metrics.contains("weir_relation_failed{relation=\"bad\"} 1"), "{metrics}");
    let acknowledged = "SELECT confirmed_flush_lsn FROM pg_replication_slots";
    pair.sql.run("FLUSH").await;
    let before = pair.up.one(acknowledged).await;
    for n in 1_000..1_100 {
        pair.up.run(&format!("INSERT INTO bad VALUES ({n}, 0); INSERT INTO good VALUES ({n})")).await;
    }
    pair.same("SELECT * FROM good").await;
    pair.sql.run("FLUSH").await;
    assert_eq!(pair.up.one(acknowledged).await, before, "upstream keeps what the table has yet to apply");
    // The same after a start; and DROP lets go.
    pair.weir.kill();
    pair.weir.restart().await;
    let sql = pair.weir.client().await;
    fails(&sql, "SELECT * FROM bad", "table \"bad\" has failed").await;
    fails(&sql, "SELECT * FROM over", "It reads table \"bad\"").await;
    pair.up.run("INSERT INTO good VALUES (2000)").await;
    same(&sql, &pair.up, "SELECT * FROM good").await;
    sql.run("FLUSH").await;
    assert_eq!(pair.up.one(acknowledged).await, before);
    sql.run("DROP TABLE bad CASCADE").await;
    eventually("upstream is let go of", async || {
        sql.run("FLUSH").await;
        pair.up.run("INSERT INTO good SELECT coalesce(max(id), 0) + 1 FROM good").await;
        let now = pair.up.one(acknowledged).await;
        if now == before { Err(now) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_secrets_do_not_open_stands_where_it_is_and_goes_on_with_the_right_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{name}: sixteen bytes or more")).expect("write a key");
        path.to_string_lossy().into_owned()
    };
    let flags = |key: String| vec!["--secret-key-file".to_string(), key];
    let (right, wrong) = (flags(key("right")), flags(key("wrong")));
    let mut pair = Pair::flagged(&[&right[0], &right[1]]).await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)", &["t"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    pair.sql.run("CREATE TABLE own (id INT PRIMARY KEY)").await;
    pair.same("SELECT * FROM t").await;
    for (n, flags) in [(2, vec![]), (3, wrong.clone())] {
        pair.weir.kill();
        pair.up.run(&format!("INSERT INTO t VALUES ({n})")).await;
        pair.weir.set_flags(flags);
        pair.revive().await;
        let (state, error) = pair.stopped().await;
        assert_eq!(state, "not_started", "{error}");
        assert!(error.contains("--secret-key-file they were made with"), "{error}");
        // Everything else is served, and its tables as they were.
        pair.sql.run(&format!("INSERT INTO own VALUES ({n})")).await;
        assert_eq!(pair.sql.one("SELECT count(*) FROM t").await, "1");
        assert_eq!(pair.sql.one("SELECT n FROM v").await, "1");
        let refused = pair.sql.error("CREATE TABLE again (*) FROM src TABLE 'public.t'").await;
        assert!(refused.message().contains("stored secrets"), "{refused}");
        let refused = pair.sql.error("ALTER SOURCE src RESNAPSHOT").await;
        assert!(refused.message().contains("could not be started"), "{refused}");
        pair.sql.run("ALTER SOURCE src PAUSE").await;
        let refused = pair.sql.error("ALTER SOURCE src RESUME").await;
        assert!(refused.message().contains("stored secrets"), "{refused}");
        assert_eq!(pair.stopped().await.0, "not_started");
        // Another source can be made beside it.
        let options = pair.postgres.options("weir_other", "");
        pair.sql.run(&format!("CREATE SOURCE other WITH ({options})")).await;
        pair.sql.run("DROP SOURCE other").await;
    }
    pair.weir.kill();
    pair.weir.set_flags(right);
    pair.revive().await;
    assert_eq!(pair.same("SELECT * FROM t ORDER BY id").await.len(), 3);
    assert_eq!(pair.sql.one("SELECT count(*) FROM own").await, "2");
    // It goes as well when it cannot be read.
    pair.weir.kill();
    pair.weir.set_flags(wrong);
    pair.revive().await;
    pair.sql.run("DROP SOURCE src CASCADE").await;
    let notices = pair.sql.notices();
    assert!(notices.iter().any(|notice| notice.message().contains("was not dropped")), "{notices:?}");
    assert_eq!(pair.sql.one("SELECT count(*) FROM rw_catalog.rw_sources").await, "0");
}

/// Rewrites what the newest manifest of a server that is down says of the body of an object.
async fn rewrite(weir: &Weir, name: &str, edit: impl Fn(&mut Value)) {
    let env = Env::real(weir_storage::store::open_to_read(weir.store()).expect("a store"));
    let files = std::fs::read_dir(Path::new(weir.store()).join("manifest")).expect("a folder").flatten();
    let path = |file: std::fs::DirEntry| format!("manifest/{}", file.file_name().to_string_lossy());
    let newest = files.filter_map(|file| Manifest::sequence_of(&path(file))).max().expect("a manifest");
    let read = Manifest::read(&env, newest, &mut Cache::default()).await.expect("it is sound");
    let mut manifest = read.expect("it is there");
    let mut found = 0;
    for record in manifest.catalog.objects.values_mut() {
        let mut said: Value = record.read().expect("JSON");
        if said["name"] == name {
            said["body"].as_object_mut().expect("a body").values_mut().for_each(&edit);
            *record = Record::of(&said);
            found += 1;
        }
    }
    assert_eq!(found, 1, "{name}");
    std::fs::write(Path::new(weir.store()).join(Manifest::path(newest)), manifest.encode()).expect("write it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_whose_record_cannot_be_read_fails_alone_and_is_whole_for_the_version_that_can() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    for table in ["t", "own"] {
        sql.run(&format!("CREATE TABLE {table} (k INT PRIMARY KEY); INSERT INTO {table} VALUES (1), (2)")).await;
    }
    for (name, query) in
        [("v", "SELECT count(*) AS n FROM t"), ("child", "SELECT n FROM v"), ("other", "SELECT sum(k) AS s FROM t")]
    {
        sql.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")).await;
    }
    sql.run("FLUSH").await;
    weir.kill();
    for name in ["v", "own"] {
        rewrite(&weir, name, |body| body["unheard_of"] = json!(1)).await;
    }
    for k in [3, 4] {
        weir.restart().await;
        let sql = weir.client().await;
        fails(&sql, "SELECT * FROM v", "the record of materialized view \"v\" cannot be read: unknown field").await;
        fails(&sql, "SELECT * FROM child", "It reads materialized view \"v\"").await;
        fails(&sql, "SELECT * FROM own", "the record of table \"own\" cannot be read: unknown field").await;
        for refused in ["INSERT INTO own VALUES (3)", "REFRESH MATERIALIZED VIEW v"] {
            let error = sql.error(refused).await;
            assert!(error.message().contains("cannot be read"), "{refused}: {error}");
        }
        assert_eq!(sql.error("DROP TABLE t").await.code().code(), "2BP01");
        let shown = "SELECT status FROM rw_catalog.rw_materialized_views WHERE name = 'v'";
        assert_eq!(sql.one(shown).await, "failed");
        sql.run(&format!("INSERT INTO t VALUES ({k})")).await;
        sql.run("FLUSH").await;
        weir.kill();
    }
    let known = |body: &mut Value| drop(body.as_object_mut().expect("a body").remove("unheard_of"));
    for name in ["v", "own"] {
        rewrite(&weir, name, known).await;
    }
    weir.restart().await;
    let sql = weir.client().await;
    sql.run("INSERT INTO own VALUES (3)").await;
    assert_eq!(sql.one("SELECT sum(k) FROM own").await, "6");
    assert_eq!(sql.one("SELECT s FROM other").await, "10");
    for view in ["v", "child"] {
        eventually("the views are built anew", async || match sql.rows(&format!("SELECT n FROM {view}")).await {
            Ok(rows) if rows == [[Some("4".to_string())]] => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }
    sql.run("FLUSH").await;
    weir.kill();
    for name in ["v", "own"] {
        rewrite(&weir, name, |body| body["unheard_of"] = json!(1)).await;
    }
    weir.restart().await;
    let sql = weir.client().await;
    sql.run("DROP MATERIALIZED VIEW v CASCADE").await;
    sql.run("DROP TABLE own").await;
    assert_eq!(sql.error("SELECT * FROM own").await.code().code(), "42P01");
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    assert_eq!(sql.one("SELECT n FROM v").await, "4");
}
