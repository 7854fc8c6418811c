//! What clients say, and what is understood.

use super::*;
use crate::types::{Column, Type};
use proptest::prelude::*;

fn read(sql: &str) -> Statement {
    let mut parsed = parse(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    assert_eq!(parsed.len(), 1, "{sql}");
    parsed.remove(0).statement
}

/// `sqlstate message @position`
fn refused(sql: &str) -> String {
    let error = parse(sql).expect_err(sql);
    let position = error.position.map(|p| format!(" @{p}")).unwrap_or_default();
    format!("{} {}{position}", error.sqlstate, error.message)
}

fn columns(sql: &str) -> Vec<String> {
    let Statement::CreateTable { columns, .. } = read(sql) else { panic!("{sql}") };
    columns.iter().map(|c| format!("{} {}{}", c.name, c.kind, if c.nullable { "" } else { " not null" })).collect()
}

#[test]
fn a_source_has_options_with_dotted_names() {
    let options = [("connector", "postgres-cdc"), ("database.name", "shop"), ("port", "5432"), ("ssl", "true")];
    assert_eq!(
        read(
            "create source if not exists Shop with (connector='postgres-cdc', database.name = 'shop', Port=5432, ssl=TRUE)"
        ),
        Statement::CreateSource {
            name: "shop".into(),
            if_not_exists: true,
            options: options.map(|(k, v)| (k.to_string(), v.to_string())).into(),
        }
    );
    assert_eq!(refused("CREATE SOURCE s WITH (a='1', A='2')"), "42601 option \"a\" is given more than once @30");
    assert_eq!(refused("CREATE SOURCE s WITH (a 1)"), "42601 syntax error at or near \"1\" @25");
    assert_eq!(
        refused("CREATE SOURCE s (a int) WITH (a='1')"),
        "0A000 CREATE SOURCE with columns is not supported @17"
    );
}

#[test]
fn what_would_be_passed_over_is_refused_by_name() {
    for (sql, what) in [
        ("SELECT * FROM t TABLESAMPLE BERNOULLI (1)", "TABLESAMPLE"),
        ("CREATE MATERIALIZED VIEW v AS SELECT * FROM t TABLESAMPLE SYSTEM (10)", "TABLESAMPLE"),
        ("SELECT * FROM generate_series(1, 3) WITH ORDINALITY", "WITH ORDINALITY"),
        ("SELECT * FROM t ORDER BY a FETCH FIRST 2 ROWS WITH TIES", "FETCH … WITH TIES"),
        ("SELECT * FROM (SELECT * FROM t FETCH FIRST 2 ROWS WITH TIES) AS s", "FETCH … WITH TIES"),
    ] {
        assert_eq!(refused(sql), format!("0A000 {what} is not supported"), "{sql}");
    }
}

#[test]
fn a_table_has_columns_and_a_key() {
    let sql = "CREATE TABLE public.Orders (id INT, \"Region\" VARCHAR(10) NOT NULL, total numeric(10,2), PRIMARY KEY (\"Region\", id))";
    let Statement::CreateTable { name, if_not_exists: false, columns: c, key } = read(sql) else { panic!() };
    assert_eq!((name.as_str(), key), ("orders", vec![1, 0]));
    assert_eq!(c[1], Column { name: "Region".into(), kind: Type::Varchar(Some(10)), nullable: false });
    assert_eq!(columns(sql), ["id integer not null", "Region character varying(10) not null", "total numeric(10,2)"]);
}

#[test]
fn every_type_is_read_by_all_of_its_names() {
    let sql = "CREATE TABLE t (a1 bool, a2 boolean, b1 int2, b2 smallint, c1 int, c2 int4, c3 integer, d1 int8, d2 bigint, \
        e1 real, e2 float4, e3 float(24), f1 double precision, f2 float8, f3 float, f4 float(25), \
        g1 numeric, g2 decimal, g3 numeric(5), g4 decimal(76, 3), h text, i1 varchar, i2 character varying(3), \
        j1 char, j2 char(4), j3 character(5), k bytea, l date, m1 time, m2 time without time zone, \
        n1 timestamp, n2 timestamp without time zone, o1 timestamptz, o2 timestamp with time zone, p interval, \
        q uuid, r json, s jsonb, t1 int[], t2 text[][], t3 numeric(4,2)[3])";
    let kinds: Vec<_> = columns(sql).iter().map(|c| c.split_once(' ').expect("two words").1.to_string()).collect();
    let expected = "boolean|boolean|smallint|smallint|integer|integer|integer|bigint|bigint|real|real|real|\
        double precision|double precision|double precision|double precision|numeric|numeric|numeric(5,0)|numeric(76,3)|text|\
        character varying|character varying(3)|character(1)|character(4)|character(5)|bytea|date|\
        time without time zone|time without time zone|timestamp without time zone|timestamp without time zone|\
        timestamp with time zone|timestamp with time zone|interval|uuid|json|jsonb|integer[]|text[]|numeric(4,2)[]";
    assert_eq!(kinds.join("|"), expected);
}

#[test]
fn what_a_table_cannot_have_is_refused_by_name() {
    let cases = [
        ("a serial", "0A000 type serial is not supported @18"),
        ("a money", "42704 type \"money\" does not exist @18"),
        ("a numeric(77)", "0A000 numeric of more than 76 digits is not supported @18"),
        ("a numeric(0)", "22023 NUMERIC precision 0 must be between 1 and 1000 @18"),
        ("a varchar(0)", "22023 length for type varchar must be at least 1 @18"),
        ("a timestamp(3)", "0A000 type timestamp(3) is not supported @18"),
        ("a int DEFAULT 1", "0A000 DEFAULT of a column is not supported @22"),
        ("a int CHECK (a > 1)", "0A000 CHECK of a column is not supported @22"),
        ("a int UNIQUE", "0A000 UNIQUE of a column is not supported @22"),
        ("a int REFERENCES b", "0A000 FOREIGN KEY is not supported @22"),
        ("a int GENERATED ALWAYS AS IDENTITY", "0A000 GENERATED of a column is not supported @22"),
        ("a int, UNIQUE (a)", "0A000 UNIQUE is not supported @23"),
        ("a int, FOREIGN KEY (a) REFERENCES b", "0A000 FOREIGN KEY is not supported @23"),
        ("a int, CONSTRAINT c CHECK (a > 1)", "0A000 CHECK is not supported @36"),
        ("a int, A text", "42701 column \"a\" specified more than once @23"),
        ("a int, PRIMARY KEY (b)", "42703 column \"b\" named in key does not exist"),
        ("a int, PRIMARY KEY (a, a)", "42701 column \"a\" appears twice in primary key constraint"),
        ("a int PRIMARY KEY, PRIMARY KEY (a)", "42P16 multiple primary keys for table \"t\" are not allowed @35"),
        ("a json PRIMARY KEY", "42704 data type json cannot be part of a primary key"),
        ("a int,", "42601 syntax error at or near \")\" @22"),
        ("select int", "42601 syntax error at or near \"select\" @16"),
    ];
    for (column, expected) in cases {
        assert_eq!(refused(&format!("CREATE TABLE t({column})")), expected, "{column}");
    }
    assert_eq!(refused("CREATE TABLE x.t (a int)"), "3F000 schema \"x\" does not exist @14");
    assert_eq!(refused("CREATE TEMP TABLE t (a int)"), "0A000 CREATE TEMP is not supported");
    assert_eq!(refused("CREATE TABLE t AS SELECT 1"), "0A000 CREATE TABLE AS is not supported @16");
    assert_eq!(refused("CREATE TABLE t (*)"), "42601 syntax error at end of input @19");
}

#[test]
fn a_table_from_a_source_names_its_upstream() {
    let Statement::CreateTableFrom { columns: None, source, upstream, .. } =
        read("CREATE TABLE orders (*) FROM shop TABLE 'public.orders'")
    else {
        panic!()
    };
    assert_eq!((source.as_str(), upstream.as_str()), ("shop", "public.orders"));
    let Statement::CreateTableFrom { columns: Some((columns, key)), options, .. } =
        read("CREATE TABLE o (id bigint PRIMARY KEY, x text) WITH (snapshot = 'false') FROM shop TABLE 'public.o'")
    else {
        panic!()
    };
    assert_eq!((columns.len(), key, options["snapshot"].as_str()), (2, vec![0], "false"));
}

#[test]
fn a_view_has_a_query_and_may_name_its_columns() {
    let Statement::CreateMaterializedView { name, columns, query, if_not_exists } =
        read("CREATE MATERIALIZED VIEW IF NOT EXISTS v (a, \"B\") AS WITH x AS (SELECT 1) SELECT *, 2 FROM x")
    else {
        panic!()
    };
    assert_eq!((name.as_str(), if_not_exists), ("v", true));
    assert_eq!(columns, ["a", "B"]);
    assert!(query.with.is_some());
    assert_eq!(
        refused("CREATE MATERIALIZED VIEW v (a, a) AS SELECT 1, 2"),
        "42701 column \"a\" specified more than once @32"
    );
    assert_eq!(refused("CREATE MATERIALIZED VIEW v AS DELETE"), "42601 syntax error at end of input @37");
    assert_eq!(
        refused("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1"),
        "0A000 CREATE OR REPLACE is not supported"
    );
}

#[test]
fn drop_takes_several_names() {
    let drop = |kind, names: &[&str], if_exists, cascade| Statement::Drop {
        kind,
        names: names.iter().map(|n| n.to_string()).collect(),
        if_exists,
        cascade,
    };
    assert_eq!(
        read("DROP MATERIALIZED VIEW IF EXISTS a, public.b CASCADE"),
        drop(ObjectKind::MaterializedView, &["a", "b"], true, true)
    );
    assert_eq!(read("drop table a restrict"), drop(ObjectKind::Table, &["a"], false, false));
    assert_eq!(read("drop source \"A b\""), drop(ObjectKind::Source, &["A b"], false, false));
    assert!(matches!(read("DROP VIEW a"), Statement::Other(_)));
}

#[test]
fn session_statements_are_read() {
    let set = |name: &str, value: Option<&str>, local| Statement::Set {
        name: name.into(),
        value: value.map(Into::into),
        local,
    };
    let show = |name: &str| Statement::ShowVariable { name: name.into() };
    let cases = [
        ("SET extra_float_digits = 3", set("extra_float_digits", Some("3"), false)),
        ("SET a.B TO 'x'", set("a.b", Some("x"), false)),
        ("SET SESSION search_path TO public, \"$user\"", set("search_path", Some("public, $user"), false)),
        ("SET LOCAL x = off", set("x", Some("off"), true)),
        ("SET x TO DEFAULT", set("x", None, false)),
        ("SET TIME ZONE 'Europe/Berlin'", set("timezone", Some("Europe/Berlin"), false)),
        ("SET TIME ZONE -3", set("timezone", Some("-3"), false)),
        ("SET NAMES 'UTF8'", set("client_encoding", Some("UTF8"), false)),
        ("SET SESSION AUTHORIZATION bob", set("session_authorization", Some("bob"), false)),
        ("RESET ALL", set("all", None, false)),
        (
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
            Statement::SetTransaction { read_only: Some(true), session: false },
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            Statement::SetTransaction { read_only: Some(false), session: true },
        ),
        ("SHOW ALL", show("all")),
        ("SHOW TimeZone", show("timezone")),
        ("SHOW TRANSACTION ISOLATION LEVEL", show("transaction_isolation")),
        ("SHOW TABLES", Statement::ShowObjects(ObjectKind::Table)),
        ("SHOW MATERIALIZED VIEWS FROM public", Statement::ShowObjects(ObjectKind::MaterializedView)),
        ("SHOW CREATE SOURCE s", Statement::ShowCreate { kind: ObjectKind::Source, name: "s".into() }),
        ("DESCRIBE public.t", Statement::Describe { name: "t".into() }),
        ("DESC t", Statement::Describe { name: "t".into() }),
        ("BEGIN", Statement::Begin { read_only: None }),
        ("BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY", Statement::Begin { read_only: Some(true) }),
        ("START TRANSACTION READ ONLY, NOT DEFERRABLE", Statement::Begin { read_only: Some(true) }),
        ("END", Statement::Commit),
        ("COMMIT WORK AND NO CHAIN", Statement::Commit),
        ("ABORT", Statement::Rollback),
        ("DISCARD ALL", Statement::Accepted("DISCARD ALL")),
        ("DEALLOCATE ALL", Statement::Accepted("DEALLOCATE ALL")),
        ("UNLISTEN *", Statement::Accepted("UNLISTEN")),
        ("FLUSH", Statement::Flush),
    ];
    for (sql, expected) in cases {
        assert_eq!(read(sql), expected, "{sql}");
    }
    assert_eq!(read("ROLLBACK WORK TO SAVEPOINT s"), Statement::RollbackTo { name: "s".into() });
    assert_eq!(read("RELEASE s"), Statement::Release { name: "s".into() });
    assert_eq!(refused("BEGIN READ"), "42601 syntax error at or near \"READ\" @7");
    assert_eq!(refused("SHOW TABLES FROM x"), "3F000 schema \"x\" does not exist @18");
}

#[test]
fn dml_and_queries_keep_sqlparsers_tree() {
    assert!(matches!(read("INSERT INTO t VALUES (1), (2)"), Statement::Insert(_)));
    assert!(matches!(read("UPDATE t SET a = 1 WHERE b"), Statement::Update(_)));
    assert!(matches!(read("DELETE FROM t"), Statement::Delete(_)));
    assert!(matches!(read("(SELECT 1) UNION ALL SELECT 2"), Statement::Query(_)));
    assert!(matches!(read("VALUES (1)"), Statement::Query(_)));
    assert!(matches!(read("TABLE t"), Statement::Query(_)));
    assert!(matches!(read("CREATE VIEW v AS SELECT 1"), Statement::Other(_)));
    let explained = |sql| match read(sql) {
        Statement::Explain { statement } => *statement,
        other => panic!("{other:?}"),
    };
    assert!(matches!(explained("EXPLAIN SELECT 1"), Statement::Query(_)));
    assert!(matches!(explained("EXPLAIN (SELECT 1)"), Statement::Query(_)));
    assert!(matches!(
        explained("EXPLAIN (verbose, format text) CREATE MATERIALIZED VIEW v AS SELECT 1"),
        Statement::CreateMaterializedView { .. }
    ));
    assert_eq!(refused("EXPLAIN EXPLAIN SELECT 1"), "42601 syntax error at or near \"EXPLAIN\" @9");
    assert_eq!(refused("EXPLAIN ANALYZE SELECT 1"), "0A000 EXPLAIN ANALYZE is not supported");
    assert!(matches!(explained("EXPLAIN (analyze off, costs off) SELECT 1"), Statement::Query(_)));
    assert_eq!(refused("EXPLAIN (ANALYZE) SELECT 1"), "0A000 EXPLAIN (ANALYZE) is not supported @10");
    assert_eq!(refused("EXPLAIN (FORMAT JSON) SELECT 1"), "0A000 EXPLAIN (FORMAT JSON) is not supported @10");
    assert!(refused("EXPLAIN (format x) SELECT 1").starts_with("22023"));
    assert!(refused("EXPLAIN (nope) SELECT 1").starts_with("42601 unrecognized EXPLAIN option"));
}

#[test]
fn what_nobody_would_do_is_refused_by_name() {
    for (sql, what) in [
        ("LISTEN x", "LISTEN"),
        ("SELECT * FROM t FOR UPDATE", "FOR UPDATE or FOR SHARE"),
        ("SELECT * FROM t WHERE a IN (SELECT b FROM u FOR SHARE)", "FOR UPDATE or FOR SHARE"),
        ("SELECT a INTO u FROM t", "SELECT INTO"),
        ("INSERT OR REPLACE INTO t VALUES (1)", "INSERT OR …"),
        ("REPLACE INTO t VALUES (1)", "REPLACE INTO"),
    ] {
        let refused = refused(sql);
        let named = format!("0A000 {what} is not supported");
        assert!(refused.starts_with(&named) || refused.starts_with("42601"), "{sql}: {refused}");
    }
}

#[test]
fn a_string_holds_several_statements() {
    let sql = "-- nothing\n ; SELECT 'ä;b' -- c\n ;; /* x */ FLUSH /* y */";
    let parsed = parse(sql).expect("three");
    let seen: Vec<_> = parsed.iter().map(|p| (p.text.as_str(), p.offset)).collect();
    assert_eq!(seen, [("SELECT 'ä;b'", 14), ("FLUSH", 44)]);
    assert_eq!(parse(" ; -- nothing").expect("empty"), vec![]);
}

#[test]
fn a_syntax_error_says_where_in_the_whole_string() {
    assert_eq!(refused("SELECT 'ä';\nSELECT 1 FRM t"), "42601 syntax error at or near \"t\" @26");
    assert_eq!(refused("SELECT 1 +"), "42601 syntax error at end of input @11");
    assert_eq!(refused("SELEC 1"), "42601 syntax error at or near \"SELEC\" @1");
    assert_eq!(refused("SELECT 1; SELECT 'abc"), "42601 unterminated string literal @18");
    assert_eq!(refused("FLUSH now"), "42601 syntax error at or near \"now\" @7");
    assert_eq!(refused(&format!("SELECT {}1", "(".repeat(5000))), "54001 statement is nested too deeply");
    let queries = |count: usize| format!("SELECT 1{}", ", (SELECT 2)".repeat(count));
    assert!(refused(&queries(4000)).starts_with("54001 statement is nested too deeply @"));
}

#[test]
fn spans_are_characters_of_the_statements_text() {
    let parsed = parse("FLUSH;\n\n  SELECT\n ä,\n  b FROM t").expect("two");
    let Statement::Query(query) = &parsed[1].statement else { panic!() };
    let ast::SetExpr::Select(select) = query.body.as_ref() else { panic!() };
    let ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(b)) = &select.projection[1] else { panic!() };
    let text: Vec<char> = parsed[1].text.chars().collect();
    assert_eq!((b.span.start.line, text[b.span.start.column as usize - 1]), (1, 'b'));
}

const VOCABULARY: &[&str] = &[
    "CREATE",
    "TABLE",
    "SOURCE",
    "MATERIALIZED",
    "VIEW",
    "DROP",
    "IF",
    "NOT",
    "EXISTS",
    "AS",
    "SELECT",
    "FROM",
    "WHERE",
    "WITH",
    "(",
    ")",
    "*",
    ",",
    ".",
    ";",
    "=",
    "'x'",
    "\"Q\"",
    "\"",
    "'",
    "$1",
    "$$",
    "1",
    "1.5e",
    "int",
    "numeric",
    "[",
    "]",
    "PRIMARY",
    "KEY",
    "NULL",
    "CONSTRAINT",
    "CHECK",
    "SET",
    "SHOW",
    "RESET",
    "TIME",
    "ZONE",
    "BEGIN",
    "READ",
    "ONLY",
    "COMMIT",
    "ROLLBACK",
    "TO",
    "EXPLAIN",
    "ANALYZE",
    "INSERT",
    "INTO",
    "VALUES",
    "UPDATE",
    "DELETE",
    "DESCRIBE",
    "DISCARD",
    "ALL",
    "TABLES",
    "public",
    "t",
    "--",
    "/*",
    "*/",
    "\n",
    "ä",
    "-",
    "+",
    "::",
    "CASE",
    "WHEN",
    "END",
    "JOIN",
    "ON",
    "GROUP",
    "BY",
    "interval",
    "timestamp",
    "array",
    "LISTEN",
    "PREPARE",
    "EXECUTE",
    "COPY",
    "DECLARE",
    "FETCH",
    "GRANT",
    "ALTER",
];

proptest! {
    #[test]
    fn parse_never_panics_on_token_soup(words in proptest::collection::vec(0..VOCABULARY.len(), 0..24), tight: bool) {
        let words: Vec<_> = words.into_iter().map(|w| VOCABULARY[w]).collect();
        let sql = words.join(if tight { "" } else { " " });
        check_places(&sql)?;
    }

    #[test]
    fn parse_never_panics_on_any_text(sql in "\\PC{0,60}") {
        check_places(&sql)?;
    }
}

/// A statement's text stands at its offset, and an error's position is in the string or just after it.
fn check_places(sql: &str) -> std::result::Result<(), TestCaseError> {
    match parse(sql) {
        Ok(parsed) => {
            for p in parsed {
                let at: String = sql.chars().skip(p.offset).take(p.text.chars().count()).collect();
                prop_assert_eq!(at, p.text);
            }
        }
        Err(error) => {
            let end = sql.chars().count() + 1;
            prop_assert!(
                error.position.is_none_or(|p| (1..=end).contains(&p)),
                "{error} at {:?} of {end}",
                error.position
            );
        }
    }
    Ok(())
}

/// Each table with its time.
fn past(sql: &str) -> Vec<String> {
    let Statement::Query(query) = read(sql) else { panic!("{sql}") };
    let mut found = vec![];
    struct Tables<'a>(&'a mut Vec<String>);
    impl ast::Visitor for Tables<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &ast::TableFactor) -> std::ops::ControlFlow<()> {
            if let ast::TableFactor::Table { name, version: Some(version), alias, .. } = factor {
                let alias = alias.as_ref().map(|alias| format!(" as {}", alias.name)).unwrap_or_default();
                self.0.push(format!("{name}: {version}{alias}"));
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let _ = ast::Visit::visit(&query, &mut Tables(&mut found));
    found
}

#[test]
fn a_table_is_read_as_of_an_earlier_time() {
    assert_eq!(past("SELECT * FROM t FOR SYSTEM_TIME AS OF 17"), ["t: FOR SYSTEM_TIME AS OF 17"]);
    assert_eq!(
        past("select t.a from public.t for system_time as of now() - interval '1 hour' as x where a > 1 limit 3"),
        ["public.t: FOR SYSTEM_TIME AS OF now() - INTERVAL '1 hour' as x"]
    );
    assert_eq!(
        past(
            "SELECT 1 FROM t FOR SYSTEM_TIME AS /* then */ OF '2024-05-01' x JOIN u FOR SYSTEM_TIME AS OF 2 USING (a), v"
        ),
        ["t: FOR SYSTEM_TIME AS OF '2024-05-01' as x", "u: FOR SYSTEM_TIME AS OF 2"]
    );
    assert_eq!(
        past(
            "WITH c AS (SELECT * FROM t FOR SYSTEM_TIME AS OF 1) SELECT a, (SELECT b FROM u FOR SYSTEM_TIME AS OF 1) FROM c"
        ),
        ["t: FOR SYSTEM_TIME AS OF 1", "u: FOR SYSTEM_TIME AS OF 1"]
    );
    assert_eq!(past("SELECT * FROM t at"), [""; 0], "no word is lost to names");
}

#[test]
fn only_a_table_has_a_past() {
    let near = |column| format!("42601 syntax error at or near \"FOR\" @{column}");
    assert_eq!(refused("SELECT a FOR SYSTEM_TIME AS OF 1"), near(10));
    assert_eq!(refused("SELECT * FROM t x FOR SYSTEM_TIME AS OF 1"), near(19));
    assert!(refused("SELECT * FROM (SELECT 1) FOR SYSTEM_TIME AS OF 1").starts_with("42601"));
    assert!(refused("SELECT * FROM t FOR SYSTEM_TIME AS OF").starts_with("42601"));
    assert!(refused("SELECT * FROM t FOR SYSTEM_TIME AS OF WHERE a").starts_with("42601"));
}
