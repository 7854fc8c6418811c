//! Real clients: psycopg 3, SQLAlchemy's inspection, JDBC, psql on a terminal. Each is a program of its own, beside this file.

use crate::kit::{Weir, output, s3::python};
use std::path::{Path, PathBuf};
use std::process::Command;

const JDBC: &str = "/usr/share/java/postgresql.jar";

pub async fn shop() -> Weir {
    let weir = Weir::start().await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR, price NUMERIC(10, 2))").await;
    sql.run("CREATE MATERIALIZED VIEW dear AS SELECT id, name FROM items WHERE price > 10").await;
    sql.run("INSERT INTO items VALUES (1, 'tea', 3.50), (2, 'cake', 12.00), (3, 'jam', 45.25)").await;
    weir
}

pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers").join(name)
}

pub fn succeeds(command: &mut Command) {
    let output = output(command, "");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.ends_with("ok\n"), "{command:?}: {}\n{out}\n{err}", output.status);
}

#[tokio::test(flavor = "multi_thread")]
async fn psycopg_and_sqlalchemy_work() {
    let weir = shop().await;
    succeeds(Command::new(python()).arg(program("psycopg_and_sqlalchemy.py")).arg(weir.port().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn jdbc_works() {
    let weir = shop().await;
    succeeds(Command::new("java").args(["-cp", JDBC]).arg(program("jdbc.java")).arg(weir.port().to_string()));
}
