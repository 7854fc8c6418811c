//! What people see who type into psql: descriptions of relations, compared with what Postgres prints of its own, and what Tab offers.

use crate::drivers::{program, shop, succeeds};
use crate::kit::{Client, Pair, Postgres, Weir, eventually, fed, s3::python};
use std::process::Command;

const TABLES: &str = r#"
    CREATE TABLE items (id INT PRIMARY KEY, name VARCHAR, price NUMERIC(10, 2));
    CREATE TABLE "Odd Name" (b TEXT, a INT, "C d" NUMERIC(10, 2), i2 SMALLINT, i8 BIGINT, f4 REAL, f8 DOUBLE PRECISION, n NUMERIC,
        v VARCHAR(5), c CHAR(4), y BYTEA, o BOOLEAN, d DATE, t TIME, p TIMESTAMP, z TIMESTAMPTZ, iv INTERVAL, u UUID, j JSON,
        jb JSONB, ai INT[], at TEXT[], PRIMARY KEY (a, b));
    CREATE TABLE nokey (v INT);
    CREATE MATERIALIZED VIEW dear AS SELECT id, name FROM items WHERE price > 10"#;

/// Weir and a Postgres, both with [`TABLES`] in a database dev of a user root.
async fn both() -> (Weir, Postgres, Client) {
    let Pair { postgres, weir, up, sql } = Pair::start().await;
    up.run("CREATE ROLE root SUPERUSER LOGIN").await;
    up.run("CREATE DATABASE dev OWNER root").await;
    let mut dev = postgres.config();
    dev.user("root").dbname("dev");
    let theirs = Client::connect(&dev).await.expect("connect to Postgres as root");
    for statement in TABLES.split(';') {
        sql.run(statement).await;
        theirs.run(statement).await;
    }
    (weir, postgres, sql)
}

/// A script of all commands, each announced, and what they answer.
fn script(commands: &[&str], psql: impl FnOnce(&str) -> String) -> Vec<String> {
    let script: String = commands.iter().map(|command| format!("\\echo ANSWER {command}\n{command}\n")).collect();
    let script = script.replace("ANSWER \\", "ANSWER ");
    psql(&script).split("ANSWER ").map(str::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn relations_are_described_word_for_word_as_postgres_describes_its_own() {
    let (weir, postgres, _sql) = both().await;
    let commands = [
        "\\d",
        "\\d items",
        "\\d+ items",
        "\\d \"Odd Name\"",
        "\\d+ \"Odd Name\"",
        "\\d nokey",
        "\\d items_pkey",
        "\\d+ items_pkey",
        "\\d nope",
        "\\d it*",
        "\\d *.items",
        "\\dt",
        "\\dt it*",
        "\\dt public.*",
        "\\dt nope",
        "\\dm",
        "\\dm dear",
        "\\dv",
        "\\di",
        "\\di *pkey",
        "\\ds",
        "\\dp",
        "\\df",
        "\\df abs",
        "\\df row_number",
        "\\dx nope",
        "\\dT",
        "\\sv dear",
    ];
    let ours = script(&commands, |input| weir.psql(input));
    let theirs =
        script(&commands, |input| fed(postgres.command("psql").args(["-X", "-U", "root", "-d", "dev"]), input));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "\n{ours}\nand Postgres:\n{theirs}");
    }
    assert_eq!((ours.len(), theirs.len()), (commands.len() + 1, commands.len() + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_weir_s_own_is_described_as_it_is() {
    let (weir, _postgres, sql) = both().await;
    let says = |input: &str, lines: &[&str]| {
        let text = weir.psql(input);
        // Columns are as wide as their widest value.
        let squeezed: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in lines {
            assert!(squeezed.iter().any(|l| l == line), "{line:?} is not in the answer to {input}:\n{text}");
        }
    };
    // That a view's column has no NULLs is known here, and not in Postgres.
    says(
        "\\d dear",
        &["Materialized view \"public.dear\"", "id | integer | | not null |", "name | character varying | | |"],
    );
    says("\\d+ dear", &["View definition:", "SELECT id, name FROM items WHERE price > 10;"]);
    says("\\l", &["dev | root | UTF8 | C.UTF-8 | C.UTF-8 | | libc |", "(1 row)"]);
    says("\\dn", &["public | root", "rw_catalog | root", "(2 rows)"]);
    says("\\du", &["root | Superuser, Create role, Create DB, Bypass RLS | {}"]);
    says("\\dconfig", &["application_name | psql", "(1 row)"]);
    says("SHOW TABLES", &["items", "Odd Name", "nokey", "(3 rows)"]);
    let conninfo = weir.psql("\\conninfo");
    assert!(conninfo.contains("database \"dev\" as user \"root\""), "{conninfo}");

    sql.run("INSERT INTO items SELECT i, repeat('x', 100), i FROM generate_series(1, 2000) AS g (i)").await;
    sql.run("FLUSH").await;
    eventually("sizes are those of what is kept", async || {
        let kept = sql.one("SELECT pg_size_pretty(state_bytes) FROM rw_catalog.rw_tables WHERE name = 'items'").await;
        let ours = sql.one("SELECT pg_size_pretty(pg_table_size('items'))").await;
        let line = format!("public | items | table | root | permanent | heap | {kept} |");
        let listed = weir.psql("\\dt+ items");
        let squeezed = listed.split_whitespace().collect::<Vec<_>>().join(" ");
        if kept.ends_with("kB") && ours == kept && squeezed.contains(&line) {
            Ok(())
        } else {
            Err(format!("{kept} {ours}\n{listed}"))
        }
    })
    .await;
    let whole: i64 = sql.one("SELECT pg_database_size('dev')").await.parse().expect("a number");
    let items: i64 = sql.one("SELECT pg_total_relation_size('items'::regclass)").await.parse().expect("a number");
    assert!(items > 100_000 && whole >= items, "{items} of {whole}");
    let by_size = "SELECT relname FROM pg_class WHERE relkind = 'r' ORDER BY pg_total_relation_size(oid) DESC LIMIT 1";
    assert_eq!(sql.one(by_size).await, "items");
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_asks_about_everything_without_an_error() {
    let (weir, _postgres, _sql) = both().await;
    let commands = [
        "\\d+",
        "\\d+ items",
        "\\d+ dear",
        "\\dv",
        "\\dm+",
        "\\dt+",
        "\\di+",
        "\\ds",
        "\\df",
        "\\df+",
        "\\df+ abs",
        "\\da",
        "\\daS",
        "\\do",
        "\\doS",
        "\\dTS+",
        "\\dC",
        "\\dc",
        "\\dT+",
        "\\dn+",
        "\\l+",
        "\\du+",
        "\\dp",
        "\\ddp",
        "\\dx",
        "\\dF",
        "\\dFd",
        "\\dFp",
        "\\dFt",
        "\\des+",
        "\\dew+",
        "\\det",
        "\\dRp+",
        "\\dRs+",
        "\\dL+",
        "\\dO+",
        "\\dy",
        "\\dX",
        "\\dP",
        "\\dE",
        "\\dD",
        "\\db+",
        "\\dA+",
        "\\drds",
        "\\dconfig",
        "\\lo_list",
    ];
    let answers = script(&commands, |input| weir.psql(input));
    assert_eq!(answers.len(), commands.len() + 1);
    for answer in answers {
        assert!(!answer.contains("ERROR"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tab_offers_what_there_is() {
    let weir = shop().await;
    succeeds(Command::new(python()).arg(program("completion.py")).arg(weir.port().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_know_what_newer_clients_ask() {
    let (_weir, _postgres, sql) = both().await;
    // Of a table, by psql 18.
    let referring =
        "SELECT conname, conrelid::pg_catalog.regclass AS ontable, pg_catalog.pg_get_constraintdef(oid, true) AS condef
        FROM pg_catalog.pg_constraint c WHERE confrelid IN (SELECT pg_catalog.pg_partition_ancestors('items'::regclass)
        UNION ALL VALUES ('items'::pg_catalog.regclass)) AND contype = 'f' AND conparentid = 0 ORDER BY conname";
    assert_eq!(sql.rows(referring).await, Ok(vec![]));
    let zone = "SELECT utc_offset FROM pg_catalog.pg_timezone_names() WHERE name = 'Asia/Kolkata'";
    assert_eq!(sql.one(zone).await, "05:30:00");
    sql.run("PREPARE by_id (int) AS SELECT name FROM items WHERE id = $1").await;
    let prepared = sql.rows("SELECT name, statement, parameter_types FROM pg_prepared_statements").await;
    let row = ["by_id", "SELECT name FROM items WHERE id = $1", "{integer}"].map(|text| Some(text.to_string()));
    assert_eq!(prepared, Ok(vec![row.to_vec()]));
    sql.run("CREATE MATERIALIZED VIEW renamed (a, \"B\") AS SELECT id, price FROM items").await;
    let definition = sql.one("SELECT pg_get_viewdef('renamed'::regclass)").await;
    assert_eq!(definition, "SELECT * FROM (SELECT id, price FROM items) AS q (a, \"B\");");
    let again = definition.trim_end_matches(';').to_string();
    let statement = sql.prepare(&again).await.expect("it is a query by itself");
    assert_eq!(statement.columns().iter().map(|c| c.name()).collect::<Vec<_>>(), ["a", "B"]);
}
