//! COPY: the same bytes as PostgreSQL's, both ways.

use crate::kit::{Client, Postgres, Weir, eventually};
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};

const TABLE: &str = "CREATE TABLE t (id INT PRIMARY KEY, b BOOLEAN, n NUMERIC(10, 2), f DOUBLE PRECISION, s VARCHAR, d DATE, \
    z TIMESTAMPTZ, y BYTEA, a INT[])";

const ROWS: &str = r#"INSERT INTO t VALUES
    (1, true, 1.50, 0.1, 'plain', '2024-02-29', '2024-02-29 12:30:00.5+00', '\x00ff', '{1,NULL,3}'),
    (2, false, -3, 'NaN', E'tab\tline\nback\\slash "quoted", ''single'' é', NULL, NULL, '', '{}'),
    (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (4, true, 0, 1e300, '', 'infinity', 'infinity', NULL, NULL),
    (5, true, 0, -0.5, E'\\N', NULL, NULL, NULL, NULL)"#;

const FORMATS: &[&str] = &[
    "",
    "CSV",
    "CSV HEADER",
    "WITH (FORMAT csv, DELIMITER ';', NULL 'nil', QUOTE '''', HEADER true)",
    "(DELIMITER '|', NULL 'nil')",
    "(FORMAT binary)",
];

async fn out(client: &Client, sql: &str) -> Vec<u8> {
    let stream = client.copy_out(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let pieces: Vec<Bytes> = stream.try_collect().await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    pieces.concat()
}

async fn into(client: &Client, sql: &str, stream: &[u8]) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    let mut sink = std::pin::pin!(sink);
    // Cut anywhere.
    for piece in stream.chunks(7) {
        sink.send(Bytes::copy_from_slice(piece)).await?;
    }
    sink.finish().await
}

async fn both() -> (Postgres, Weir, Client, Client) {
    let (postgres, weir) = tokio::join!(Postgres::start(&[]), Weir::start());
    let (up, sql) = (postgres.client().await, weir.client().await);
    for client in [&up, &sql] {
        client.run(TABLE).await;
    }
    (postgres, weir, up, sql)
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_writes_what_postgres_writes_and_reads_it_again() {
    let (_postgres, _weir, up, sql) = both().await;
    for client in [&up, &sql] {
        client.run(ROWS).await;
    }
    for format in FORMATS {
        let copy = format!("COPY (SELECT * FROM t ORDER BY id) TO STDOUT {format}");
        let (ours, theirs) = (out(&sql, &copy).await, out(&up, &copy).await);
        assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{copy}");
        assert_eq!(ours, theirs, "{copy}");
        if format.contains("binary") {
            continue;
        }
        sql.run("DELETE FROM t").await;
        let written = into(&sql, &format!("COPY t FROM STDIN {format}"), &theirs).await;
        assert_eq!(written.expect("what Postgres wrote can be read"), 5, "{format}");
        let all = "SELECT * FROM t ORDER BY id";
        assert_eq!(sql.rows(all).await, up.rows(all).await, "{format}");
    }
    let columns = "COPY t (s, id) TO STDOUT CSV";
    let mut lines: Vec<String> =
        String::from_utf8(out(&sql, columns).await).expect("text").lines().map(str::to_string).collect();
    lines.sort();
    assert!(lines.contains(&"plain,1".to_string()), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_writes_nothing() {
    let (_postgres, weir, up, sql) = both().await;
    for (copy, stream, code) in [
        ("COPY t (id, s) FROM STDIN", "1\ta\n2\n", "22P04"),
        ("COPY t (id, s) FROM STDIN", "1\ta\n2\tb\tc\n", "22P04"),
        ("COPY t (id, s) FROM STDIN", "1\ta\nx\tb\n", "22P02"),
        ("COPY t (id, b) FROM STDIN CSV", "1,maybe\n", "22P02"),
        ("COPY t (id, s) FROM STDIN CSV", "1,\"open\n", "22P04"),
        ("COPY t (s) FROM STDIN", "no key\n", "23502"),
    ] {
        for client in [&up, &sql] {
            let error = into(client, copy, stream.as_bytes()).await.expect_err(copy);
            let found = error.code().unwrap_or_else(|| panic!("{copy}: {error}")).code().to_string();
            assert_eq!(found, code, "{copy} {stream:?}");
            assert_eq!(client.one("SELECT count(*) FROM t").await, "0", "{copy} {stream:?}");
        }
    }
    for client in [&up, &sql] {
        assert_eq!(client.error("COPY t (nope) FROM STDIN").await.code().code(), "42703");
        assert_eq!(client.error("COPY nope FROM STDIN").await.code().code(), "42P01");
    }
    // In a block it is undone with the block, and seen with its commit.
    sql.run("BEGIN").await;
    into(&sql, "COPY t (id, s) FROM STDIN", b"7\tx\n").await.expect("copy");
    sql.run("ROLLBACK").await;
    assert_eq!(sql.one("SELECT count(*) FROM t").await, "0");
    sql.run("CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    into(&sql, "COPY t (id, s) FROM STDIN", b"7\tx\n8\ty\n").await.expect("copy");
    assert_eq!(sql.one("SELECT n FROM v").await, "2");
    assert_eq!(sql.error("COPY t FROM '/etc/passwd'").await.code().code(), "42601");
    eventually("the server is healthy", async || match weir.get("/health").await {
        Ok((200, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_copies_files() {
    let (_postgres, weir, _up, sql) = both().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, "id,s\n1,one\n2,\"two, and\nmore\"\n").expect("write a file");
    let text = weir.psql(&format!("\\copy t (id, s) FROM '{}' CSV HEADER", file.display()));
    assert_eq!(text, "COPY 2\n");
    assert_eq!(sql.one("SELECT s FROM t WHERE id = 2").await, "two, and\nmore");
    assert_eq!(weir.psql("COPY (SELECT id, s FROM t WHERE id = 1) TO STDOUT"), "1\tone\n");
    let text = weir.psql(&format!("\\copy (SELECT id, s FROM t ORDER BY id) TO '{}' CSV HEADER", file.display()));
    assert_eq!(text, "COPY 2\n");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "id,s\n1,one\n2,\"two, and\nmore\"\n");
}
