//! `weir inspect` on stores in use.

use crate::kit::{S3, Weir, eventually};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list<'a>(report: &'a Value, path: &str) -> &'a [Value] {
    report.pointer(path).and_then(Value::as_array).unwrap_or_else(|| panic!("{path} in {report:#}"))
}

fn relation<'a>(report: &'a Value, name: &str) -> &'a Value {
    list(report, "/relations").iter().find(|relation| relation["name"] == name).expect(name)
}

fn sum(parts: &[Value], key: &str) -> u64 {
    parts.iter().map(|part| number(&part[key])).sum()
}

/// Makes a table of 90 rows that were changed, a view, and a few checkpoints.
async fn fill(weir: &Weir) {
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, v INT); CREATE MATERIALIZED VIEW s AS SELECT max(v) AS m FROM t")
        .await;
    sql.run("INSERT INTO t SELECT i, i FROM generate_series(1, 100) AS g (i); UPDATE t SET v = v + 1 WHERE id < 11")
        .await;
    sql.run("DELETE FROM t WHERE id < 11").await;
}

/// A view that was a little behind gets one more checkpoint after all else.
async fn at_rest(weir: &Weir) -> Value {
    eventually("the store is at rest", async || {
        let (first, second) = (weir.inspect(&["--rows"]), weir.inspect(&["--rows"]));
        if first == second { Ok(first) } else { Err("it changes".into()) }
    })
    .await
}

/// What is true of every report.
fn check(report: &Value) {
    let manifests = list(report, "/manifests");
    let newest = manifests.last().expect("a manifest");
    assert_eq!(newest["kept"], "the newest");
    assert_eq!(newest["sequence"], report["newest"]["sequence"]);
    let (space, garbage) = (&report["space"], &report["garbage"]);
    assert_eq!(number(&space["manifests"]), manifests.len() as u64);
    assert_eq!(number(&space["manifest_bytes"]), sum(manifests, "bytes"));
    let stays = list(report, "/garbage/stays");
    for (all, key) in [("objects", "objects"), ("object_bytes", "bytes")] {
        assert_eq!(
            number(&space[all]),
            sum(stays, key) + number(&garbage[key]),
            "every object has one fate: {report:#}"
        );
    }
    let mut needed = 0;
    for relation in list(report, "/relations") {
        for held in list(relation, "/arrangements").iter().map(|arrangement| &arrangement["held"]) {
            let levels = list(held, "/levels");
            assert_eq!(number(&held["bytes"]), sum(levels, "bytes"));
            assert_eq!(number(&held["entries"]), sum(levels, "entries"));
            for level in levels {
                assert_eq!(number(&level["bytes"]), sum(list(level, "/runs"), "bytes"));
            }
            needed += number(&held["bytes"]);
        }
    }
    assert_eq!(number(&space["newest_bytes"]), needed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_is_told_of_and_not_touched() {
    let weir = Weir::start().await;
    fill(&weir).await;
    let report = at_rest(&weir).await;
    check(&report);
    let files = |folder: &str| fs::read_dir(Path::new(weir.store()).join(folder)).expect(folder).flatten();
    let bytes = |folder: &str| files(folder).map(|file| file.metadata().expect("its size").len()).sum::<u64>();
    assert_eq!(number(&report["space"]["object_bytes"]), bytes("data"));
    assert_eq!(number(&report["space"]["manifest_bytes"]), bytes("manifest"));

    let [rows, errors] = list(relation(&report, "t"), "/arrangements") else { panic!("rows and errors") };
    assert_eq!((&rows["role"], &errors["role"]), (&json!("rows"), &json!("errors")));
    assert_eq!(rows["held"]["rows"], 90);
    assert!(number(&rows["held"]["entries"]) >= 90 && errors["held"]["entries"] == 0);
    let view = relation(&report, "s");
    assert!(list(view, "/arrangements").len() > 2 && !list(view, "/plan").is_empty());
    assert_eq!(list(view, "/arrangements").iter().rev().nth(1).expect("rows")["held"]["rows"], 1);
    let space = &report["space"];
    let live = number(&space["live_bytes"]);
    assert!(live > 0 && live <= number(&space["newest_bytes"]), "{space:#}");
    let writes = &report["writes"];
    assert!(number(&writes["checkpoints"]) > 0 && number(&writes["sealed_bytes"]) > 0, "{writes:#}");
    assert_eq!(weir.inspect(&[])["space"]["live_bytes"], Value::Null, "what was not read is not guessed");

    let text = weir.inspect_text(&["--runs", "--rows"]);
    for told in ["space: ", "writes: ", "garbage: ", "level 0 (", "of which 90 are left", "vnodes ", "  the newest\n"] {
        assert!(text.contains(told), "{told:?} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_collected_is_told_and_why_the_rest_is_not() {
    let mut weir = Weir::start().await;
    fill(&weir).await;
    assert!(weir.stop().success());
    let before = weir.inspect(&[]);
    let data = Path::new(weir.store()).join("data");
    // Objects are named after their generation, their time and their store.
    let named = fs::read_dir(&data).expect("the objects").flatten().map(|entry| entry.file_name());
    let named = named.filter_map(|name| name.into_string().ok()).next().expect("an object");
    let own = named.rsplit_once('-').expect("a store").1.to_string();
    let put = |name: &str| fs::write(data.join(name), b"12345").expect("put");
    put(&format!("1-01ARZ3NDEKTSV4RRFFQ69G5FAV-{own}"));
    put(&format!("7-01ARZ3NDEKTSV4RRFFQ69G5FAV-{own}"));
    // Far in the future.
    put(&format!("1-7ZZZZZZZZZZZZZZZZZZZZZZZZZ-{own}"));
    // Another store's, and nobody's.
    put("1-01ARZ3NDEKTSV4RRFFQ69G5FAV-1.runs");
    put("notes.txt");
    let report = weir.inspect(&[]);
    check(&report);
    let more = |key: &str| number(&report["garbage"][key]) - number(&before["garbage"][key]);
    assert_eq!((more("objects"), more("bytes")), (1, 5));
    let stays: Vec<&str> = list(&report, "/garbage/stays").iter().filter_map(|stays| stays["why"].as_str()).collect();
    let why = "younger than the newest manifest: an upload that the next one may name";
    assert!(stays.contains(&why), "{stays:?}");
    for why in ["not named as this store names its objects", "of a newer generation, which may be about to publish it"]
    {
        assert!(stays.contains(&why), "{stays:?}");
    }
    // Nobody knows what a damaged manifest names.
    let middle = list(&report, "/manifests").iter().rev().nth(1).map(|manifest| number(&manifest["sequence"]));
    let path = Path::new(weir.store()).join("manifest").join(format!("{:020}", middle.expect("two manifests")));
    fs::write(path, b"damaged").expect("damage a manifest");
    let blocked = weir.inspect(&[])["garbage"]["blocked"].to_string();
    assert!(blocked.contains("cannot be read: nothing it may name is deleted"), "{blocked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_s3_is_told_of_too() {
    let s3 = S3::start().await;
    let weir = Weir::on(&s3.store("inspected"), &[], &s3.variables()).await;
    fill(&weir).await;
    let report = at_rest(&weir).await;
    check(&report);
    assert_eq!(relation(&report, "t")["arrangements"][0]["held"]["rows"], 90);
}
