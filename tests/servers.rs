//! The test kit itself: its servers start, fail and come back as tests will ask of them.

use crate::kit::{Client, Postgres, Proxy, S3, Stop, always};
use std::time::Duration;
use tokio_postgres::Config;

fn through(port: u16) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres").password("upstream-secret").dbname("postgres");
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_its_rows_over_an_immediate_stop_and_a_new_start() {
    let mut postgres = Postgres::start(&[]).await;
    let client = postgres.client().await;
    client.run("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    postgres.stop(Stop::Immediate);
    postgres.launch().await;
    assert_eq!(postgres.client().await.one("SELECT count(*) FROM t").await, "2");
    assert_eq!(postgres.client().await.one("SHOW wal_level").await, "logical");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_proxy_breaks_open_connections_and_refuses_new_ones_until_it_heals() {
    let postgres = Postgres::start(&[]).await;
    let proxy = Proxy::to(postgres.port()).await;
    let client = Client::connect(&through(proxy.port())).await.expect("connect through the proxy");
    assert_eq!(client.one("SELECT 1").await, "1");
    proxy.cut();
    assert!(client.rows("SELECT 1").await.is_err());
    assert!(Client::connect(&through(proxy.port())).await.is_err());
    proxy.heal();
    let client = Client::connect(&through(proxy.port())).await.expect("connect again");
    assert_eq!(client.one("SELECT 1").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_silent_to_both_ends_and_new_ones_are_not() {
    let postgres = Postgres::start(&[]).await;
    let proxy = Proxy::to(postgres.port()).await;
    let lost = Client::connect(&through(proxy.port())).await.expect("connect through the proxy");
    let session = lost.one("SELECT pg_backend_pid()").await;
    proxy.lose();
    let answer = tokio::time::timeout(Duration::from_millis(300), lost.rows("SELECT 1")).await;
    assert!(answer.is_err(), "no answer and no error: {answer:?}");
    drop(lost);
    let client = Client::connect(&through(proxy.port())).await.expect("connect again");
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {session}");
    always("the server has not noticed", Duration::from_millis(300), async || {
        match client.one(&there).await.as_str() {
            "1" => Ok(()),
            other => Err(other.into()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_server_has_a_bucket() {
    let s3 = S3::start().await;
    assert_eq!(s3.store("a"), "s3://weir/a");
}
