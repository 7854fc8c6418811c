//! Queries and what they are bound as, or PostgreSQL's error: over four tables.

use super::kind_of;
use crate::bind::{Relation, Relations, query};
use crate::bound::{Bound, Kind, Node, Output, Query, Table, Unbound};
use crate::error::Error;
use crate::postgres::types::named;
use crate::session::Settings;
use crate::statement::{Statement, parse};
use arrow::datatypes::Schema;
use datafusion::logical_expr::builder::LogicalTableSource;
use std::sync::Arc;

struct Tables;

/// A name, the columns by name, type and modifier, and which of them are the key.
type Declared = (&'static str, &'static [(&'static str, &'static str, i32)], &'static [usize]);

const TABLES: &[Declared] = &[
    ("t", &[("a", "int4", -1), ("b", "text", -1), ("c", "numeric", 655_366), ("d", "date", -1)], &[0]),
    ("u", &[("a", "int8", -1), ("b", "varchar", 9), ("e", "bool", -1)], &[]),
    ("v", &[("x", "int4", -1), ("y", "int4", -1), ("z", "json", -1)], &[0, 1]),
    ("w", &[("a", "int4", -1), ("b", "text", -1)], &[]),
];

impl Relations for Tables {
    fn relation(&self, schema: Option<&str>, name: &str) -> Bound<Relation> {
        let found =
            TABLES.iter().find(|(table, _, _)| *table == name && schema.is_none_or(|schema| schema == "public"));
        let Some((_, columns, key)) = found else {
            let name = schema.map_or(name.into(), |schema| format!("{schema}.{name}"));
            return Err(Error::undefined_relation(&name).into());
        };
        let column = |(name, kind, modifier): &(&str, &str, i32)| {
            let oid = named(kind).expect("a type").oid;
            (name.to_string(), Kind { oid, modifier: *modifier })
        };
        Ok(Relation {
            name: name.into(),
            columns: columns.iter().map(column).collect(),
            key: (!key.is_empty()).then(|| key.to_vec()),
            table: Table(Arc::new(LogicalTableSource::new(Arc::new(Schema::empty())))),
        })
    }
}

pub fn bound(sql: &str) -> Bound<Query> {
    let parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    let Statement::Query(tree) = parsed.statement else { panic!("{sql} is a query") };
    query(&tree, &[], &Tables, &Settings::default())
}

/// Columns and parameters, or the error with position, detail and hint.
pub fn told(sql: &str) -> String {
    match bound(sql) {
        Ok(query) => {
            let output = |output: &Output| format!("{} {}", output.name, kind_of(output.kind));
            let outputs: Vec<String> = query.outputs.iter().map(output).collect();
            let parameters: Vec<String> = query.parameters.iter().map(|kind| kind_of(*kind)).collect();
            match parameters.is_empty() {
                true => outputs.join(", "),
                false => format!("{}; {}", outputs.join(", "), parameters.join(", ")),
            }
        }
        Err(Unbound::NotYet(construct)) => format!("not yet: {construct}"),
        Err(Unbound::Wrong(error)) => {
            let at = error.position.map_or(String::new(), |at| format!(" at {at}"));
            let more = error.detail.iter().chain(&error.hint).map(|more| format!("; {more}"));
            format!("{} {}{at}{}", error.sqlstate, error.message, more.collect::<String>())
        }
    }
}

/// A query a line, and under it what PostgreSQL 18 answers.
#[test]
fn answers_are_postgresqls() {
    let lists = [include_str!("answers.txt"), include_str!("windows.txt")];
    let mut lines = lists.iter().flat_map(|list| list.lines()).filter(|line| !line.starts_with('#'));
    let mut wrong = vec![];
    while let (Some(sql), Some(expected)) = (lines.next(), lines.next()) {
        let told = told(sql);
        if told != expected.trim_start() {
            wrong.push(format!("{sql}\n    {told}\n  not\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The nodes of a tree, the inputs in parentheses.
pub fn nodes(node: &Node) -> String {
    let one = |name: &str, input: &Node| format!("{name}({})", nodes(input));
    match node {
        Node::Unit => "unit".into(),
        Node::Scan { name, .. } => name.clone(),
        Node::Values { .. } => "values".into(),
        Node::Filter { input, .. } => one("filter", input),
        Node::Extend { input, .. } => one("extend", input),
        Node::Join { kind, left, right, .. } => {
            format!("{}({}, {})", format!("{kind:?}").to_lowercase(), nodes(left), nodes(right))
        }
        Node::Group { input, keys, aggregates, .. } => {
            one(&format!("group {}+{}", keys.len(), aggregates.len()), input)
        }
        Node::Window { input, calls } => one(&format!("window {}", calls.len()), input),
        Node::Distinct { input, .. } => one("distinct", input),
        Node::DistinctOn { input, .. } => one("distinct on", input),
        Node::Sort { input, .. } => one("sort", input),
        Node::Limit { input, .. } => one("limit", input),
        Node::Combine { set, left, right, .. } => {
            format!("{}({}, {})", format!("{set:?}").to_lowercase(), nodes(&left.0), nodes(&right.0))
        }
    }
}

#[test]
fn clauses_are_carried_out_in_their_order() {
    for (sql, expected) in [
        ("SELECT 1", "extend(unit)"),
        ("SELECT a FROM t WHERE b = 'x' ORDER BY c LIMIT 1", "limit(sort(filter(t)))"),
        ("SELECT a + 1 FROM t ORDER BY 1", "sort(extend(t))"),
        ("SELECT 'x' FROM t ORDER BY a", "extend(sort(t))"),
        ("SELECT a, count(*) FROM w GROUP BY a HAVING max(b) > 'x' ORDER BY 2", "sort(filter(group 1+2(w)))"),
        ("SELECT sum(a), sum(a) + 1 FROM w", "extend(group 0+1(w))"),
        ("SELECT b FROM t GROUP BY a", "group 2+0(t)"),
        ("SELECT rank() OVER (ORDER BY a) FROM t", "window 1(t)"),
        ("SELECT rank() OVER w, rank() OVER w + 1, count(*) OVER w FROM t WINDOW w AS ()", "extend(window 2(t))"),
        ("SELECT DISTINCT rank() OVER () FROM t WHERE a = 1 LIMIT 1", "limit(distinct(window 1(filter(t))))"),
        (
            "SELECT b, sum(count(*)) OVER () FROM w GROUP BY b HAVING count(*) > 1 ORDER BY rank() OVER (ORDER BY b)",
            "sort(window 2(filter(group 1+1(w))))",
        ),
        ("SELECT DISTINCT a FROM t ORDER BY a", "sort(distinct(t))"),
        ("SELECT DISTINCT ON (a) b FROM t ORDER BY a, c", "sort(distinct on(t))"),
        ("SELECT * FROM t, u LEFT JOIN w USING (a)", "inner(t, left(u, w))"),
        ("SELECT a FROM t UNION SELECT a FROM u", "union(extend(t), u)"),
        ("(SELECT a FROM t ORDER BY b LIMIT 1) UNION ALL SELECT a FROM w", "union(limit(sort(t)), w)"),
        ("TABLE t", "t"),
        // The order of a subquery is kept where somebody sees it.
        ("SELECT a FROM (SELECT a FROM t ORDER BY b) s WHERE a > 1", "sort(filter(t))"),
        ("SELECT a FROM (SELECT a FROM t ORDER BY b) s LIMIT 1", "limit(sort(t))"),
        ("SELECT a FROM (SELECT a FROM t ORDER BY b LIMIT 2) s", "sort(limit(sort(t)))"),
        ("SELECT a FROM (SELECT a FROM t ORDER BY b) s ORDER BY a", "sort(t)"),
        ("SELECT count(*) FROM (SELECT a FROM t ORDER BY b) s", "group 0+1(t)"),
        ("SELECT s.a FROM (SELECT a FROM t ORDER BY b) s, w", "inner(t, w)"),
        // Each reader of a query of WITH has columns of its own.
        ("WITH x AS (SELECT a FROM t) SELECT * FROM x, x AS y", "inner(t, t)"),
        ("WITH x AS (SELECT a FROM t) SELECT 1", "extend(unit)"),
    ] {
        let query = bound(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(nodes(&query.root), expected, "{sql}");
    }
}

#[test]
fn aggregates_that_collect_take_the_order_of_a_subquery() {
    for (sql, ordered) in [
        ("SELECT array_agg(a) FROM (SELECT a FROM t ORDER BY b) s", true),
        ("SELECT array_agg(a) FROM (SELECT a FROM t ORDER BY b) s, v", false),
        ("SELECT array_agg(DISTINCT a) FROM (SELECT a FROM t ORDER BY b) s", false),
        ("SELECT sum(a) FROM (SELECT a FROM t ORDER BY b) s", false),
    ] {
        let query = bound(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let Node::Group { aggregates, .. } = &query.root else { panic!("{sql}: {query:?}") };
        assert_eq!(!aggregates[0].1.order.is_empty(), ordered, "{sql}");
    }
}

#[test]
fn no_two_columns_are_the_same() {
    let sql = "WITH x AS (SELECT a, a AS b FROM t) SELECT * FROM x, x AS y, t, (SELECT a FROM t) s ORDER BY 1";
    let query = bound(sql).expect("it is bound");
    let mut columns: Vec<_> = query.outputs.iter().map(|output| output.column).collect();
    columns.sort();
    columns.dedup();
    assert_eq!(columns.len(), query.outputs.len());
}

/// As the limits are meant to be met in these: on a thread with the stack that the server's have.
#[test]
fn deep_and_many_queries_have_an_end() {
    let ways = |count: usize| {
        let nested = format!("{}SELECT 1{}", "SELECT * FROM (".repeat(count), ") s".repeat(count));
        let again = (1..count).map(|at| format!(", x{at} AS (SELECT * FROM x{0}, x{0} AS y)", at - 1));
        [
            nested,
            format!("SELECT 1{}", " UNION SELECT 1".repeat(count)),
            format!("SELECT 1{}", ", 1".repeat(count)),
            format!("SELECT * FROM t{}", (0..count).map(|at| format!(", w AS w{at}")).collect::<String>()),
            format!("WITH x0 AS (SELECT 1 AS a){} SELECT 1 FROM x{}", again.collect::<String>(), count - 1),
        ]
    };
    let bound = std::thread::Builder::new().stack_size(16 << 20).spawn(move || {
        let told = |sql: String| told(&sql).starts_with("not yet");
        [1, 5, 200].map(|count| ways(count).map(told))
    });
    let told = bound.expect("a thread").join().expect("no panic");
    assert_eq!(told[0], [false; 5]);
    assert_eq!(told[1], [false; 5]);
    assert_eq!(told[2], [false, false, false, false, true]);
}
