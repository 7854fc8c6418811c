//! Where a store is: a copy of it serves, and leaves what is upstream alone until it is told otherwise; one that is not whole or not
//! there any more is said to be so.

use crate::kit::{Client, Pair, S3, Weir, always, eventually, output, same};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const READERS: &str = "SELECT active_pid, slot_name FROM pg_replication_slots WHERE NOT temporary";

/// A copy of the store as it lies there.
fn copied(weir: &Weir) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("store").to_string_lossy().into_owned();
    let done = Command::new("cp").args(["-a", weir.store(), &copy]).status().expect("cp runs");
    assert!(done.success());
    (folder, copy)
}

async fn source(sql: &Client) -> (String, String) {
    let rows = sql.rows("SELECT state, last_error FROM rw_catalog.rw_sources").await.expect("sources");
    (rows[0][0].clone().unwrap_or_default(), rows[0][1].clone().unwrap_or_default())
}

async fn filled() -> Pair {
    let pair = Pair::start().await;
    pair.follow("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)", &["t"]).await;
    pair.sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    pair.sql.run("CREATE TABLE notes (id INT PRIMARY KEY); INSERT INTO notes VALUES (1)").await;
    pair.same("SELECT count(*) FROM t").await;
    pair.acknowledged().await;
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_running_store_serves_and_touches_nothing_upstream() {
    let pair = filled().await;
    let (_folder, copy) = copied(&pair.weir);
    let before = pair.up.sorted(READERS).await.expect("readers");
    let twin = Weir::on(&copy, &[], &[]).await;
    let sql = twin.client().await;
    assert_eq!(sql.one("SELECT n FROM v").await, "100");
    sql.run("INSERT INTO notes VALUES (2); UPDATE notes SET id = 3 WHERE id = 1").await;
    let (state, error) = source(&sql).await;
    assert_eq!(state, "other_place");
    assert!(error.contains("another place") && error.contains("RESUME"), "{error}");
    let refused = sql.error("CREATE TABLE again (*) FROM src TABLE 'public.t'").await;
    assert!(refused.message().contains("another place"), "{refused}");
    pair.up.run("INSERT INTO t VALUES (101)").await;
    pair.same("SELECT count(*) FROM t").await;
    always("the first one's readers stay", Duration::from_secs(2), async || {
        let now = pair.up.sorted(READERS).await?;
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    sql.run("DROP SOURCE src CASCADE").await;
    assert!(sql.notices().iter().any(|notice| notice.message().contains("was left there")));
    assert_eq!(pair.up.sorted(READERS).await.expect("readers"), before);
    assert_eq!(pair.up.one("SELECT count(*) FROM pg_publication").await, "1");
    pair.up.run("INSERT INTO t VALUES (102)").await;
    pair.same("SELECT count(*) FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_told_to_takes_the_source_over_and_the_first_does_not_take_it_back() {
    let mut pair = filled().await;
    pair.weir.kill();
    let (_folder, copy) = copied(&pair.weir);
    let twin = Weir::on(&copy, &[], &[]).await;
    let sql = twin.client().await;
    pair.up.run("INSERT INTO t VALUES (101)").await;
    assert_eq!(source(&sql).await.0, "other_place");
    sql.run("ALTER SOURCE src RESUME").await;
    assert!(sql.notices().iter().any(|notice| notice.message().contains("is taken over")));
    same(&sql, &pair.up, "SELECT * FROM t").await;
    pair.revive().await;
    eventually("the first one finds another reader", async || match source(&pair.sql).await.0 {
        state if state != "running" && state != "connecting" => Ok(()),
        state => Err(state),
    })
    .await;
    pair.up.run("INSERT INTO t VALUES (102)").await;
    same(&sql, &pair.up, "SELECT * FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_of_one_name_in_two_stores_leave_each_other_alone() {
    let pair = Pair::start().await;
    pair.up.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let other = Weir::start().await;
    let sql = other.client().await;
    let options = pair.postgres.options("weir_src", "");
    // Without names of slot and publication, too.
    let unnamed: Vec<&str> = options.split(", ").filter(|option| !option.contains("weir_src")).collect();
    for sql in [&pair.sql, &sql] {
        sql.run(&format!("CREATE SOURCE src WITH ({})", unnamed.join(", "))).await;
        sql.run("CREATE TABLE t (*) FROM src TABLE 'public.t'").await;
    }
    let readers = pair.up.sorted(READERS).await.expect("readers");
    assert_eq!(readers.len(), 2);
    always("both go on reading", Duration::from_secs(2), async || {
        let now = pair.up.sorted(READERS).await?;
        if now == readers { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    // A slot that another reads is not taken from it.
    let slot = readers[0][1].clone().expect("a name");
    let taken = options.replace("'weir_src'", &format!("'{slot}'"));
    let refused = sql.error(&format!("CREATE SOURCE thief WITH ({taken})")).await;
    assert_eq!(refused.code().code(), "55006", "{refused}");
    assert_eq!(pair.up.sorted(READERS).await.expect("readers"), readers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_manifests_is_refused_and_keeps_its_data() {
    let mut weir = Weir::start().await;
    weir.client().await.run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    weir.kill();
    let (manifests, away) = (Path::new(weir.store()).join("manifest"), Path::new(weir.store()).join("away"));
    fs::rename(&manifests, &away).expect("the manifests can be moved");
    let folder = Path::new(weir.store()).join("data");
    let data = || fs::read_dir(&folder).expect("data").count();
    let before = data();
    weir.spawn();
    assert!(!weir.wait().success());
    assert!(weir.log().contains("no manifest"), "{}", weir.log());
    assert_eq!(data(), before);
    assert!(!manifests.exists() || fs::read_dir(&manifests).expect("a folder").next().is_none());
    let _ = fs::remove_dir(&manifests);
    fs::rename(&away, &manifests).expect("the manifests can be moved");
    weir.restart().await;
    assert_eq!(weir.client().await.one("SELECT count(*) FROM t").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_removed_stops_its_server_by_name() {
    let mut weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    fs::remove_dir_all(weir.store()).expect("the store can be removed");
    let acknowledged = sql.rows("INSERT INTO t VALUES (2)").await;
    assert!(acknowledged.is_err(), "{acknowledged:?}");
    assert!(!weir.wait().success());
    assert!(weir.log().contains("has disappeared"), "{}", weir.log());
    assert!(!Path::new(weir.store()).exists(), "and is not made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_whose_manifests_are_removed_stops() {
    let mut weir = Weir::start().await;
    weir.client().await.run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    for manifest in fs::read_dir(Path::new(weir.store()).join("manifest")).expect("manifests") {
        fs::remove_file(manifest.expect("a manifest").path()).expect("can be removed");
    }
    assert!(!weir.wait().success());
    assert!(weir.log().contains("has disappeared"), "{}", weir.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_for_its_owner_alone_and_others_who_may_look_are_warned_of() {
    let mut weir = Weir::with_password("secret").await;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let store = Path::new(weir.store()).to_path_buf();
    assert_eq!(mode(&store), 0o700);
    let manifest = fs::read_dir(store.join("manifest")).expect("manifests").next().expect("one").expect("one").path();
    assert_eq!((mode(&manifest), mode(manifest.parent().expect("a folder"))), (0o600, 0o700));
    assert!(weir.log().contains("chmod 600"), "a password file that others may read: {}", weir.log());
    weir.kill();
}

#[test]
fn looking_into_a_store_that_is_not_there_makes_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("no/such/path");
    let done = output(Command::new(env!("CARGO_BIN_EXE_weir")).arg("inspect").arg(&path), "");
    assert!(!done.status.success());
    assert!(String::from_utf8_lossy(&done.stderr).contains("no/such/path"));
    assert!(!folder.path().join("no").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_taken_while_the_server_works_and_brought_back_by_way_of_s3() {
    let (s3, pair) = tokio::join!(S3::start(), filled());
    let weir = |arguments: [&str; 4]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let done = output(command.args(arguments).envs(s3.variables()), "");
        (done.status.success(), String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
    };
    let writer = pair.weir.client().await;
    let busy = tokio::spawn(async move {
        for i in 10..150 {
            writer.run(&format!("INSERT INTO notes VALUES ({i})")).await;
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let (bucket, restored) = (s3.store("backup"), folder.path().join("restored").to_string_lossy().into_owned());
    let (done, told) = weir(["backup", pair.weir.store(), "TO", &bucket]);
    assert!(done && told.contains("each checked"), "{told}");
    busy.await.expect("the writer ends well");
    let (done, told) = weir(["backup", pair.weir.store(), "TO", &bucket]);
    assert!(!done && told.contains("not empty"), "{told}");
    let (done, told) = weir(["restore", &bucket, "TO", &restored]);
    assert!(done, "{told}");
    let twin = Weir::on(&restored, &[], &[]).await;
    let sql = twin.client().await;
    assert_eq!(sql.one("SELECT n FROM v").await, "100");
    // As of one checkpoint: all notes up to some number.
    let (count, last) =
        ("SELECT count(*) FROM notes WHERE id >= 10", "SELECT coalesce(max(id), 9) FROM notes WHERE id >= 10");
    let number = |text: String| text.parse::<u32>().expect("a number");
    assert_eq!(number(sql.one(count).await), number(sql.one(last).await) - 9);
    assert_eq!(source(&sql).await.0, "other_place");
    sql.run("INSERT INTO notes VALUES (1000)").await;
    drop(pair);
}
