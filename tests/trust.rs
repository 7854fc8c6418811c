//! Trust: every store opens, every failure reaches whoever asks, no one thing stops everything.

use crate::kit::Weir;

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
