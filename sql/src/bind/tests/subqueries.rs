//! Queries within expressions: what they are bound as, and that every column they name is there to be named.

use super::queries::{bound, nodes, told};
use super::{form, kind_of};
use crate::bound::{ColumnId, Expr, Form, Node, Subquery, Unbound};
use std::collections::BTreeSet;

/// Errors of names, which have their places.
const PLACED: &[&str] = &["42703", "42P01", "42702", "42P10", "42803"];

/// A query a line, and under it what PostgreSQL 15 and 18 answer, or what is not known here. Operators and parentheses have no place here.
#[test]
fn answers_are_postgresqls_for_subqueries() {
    let mut wrong = vec![];
    for (sql, expected) in answers() {
        let told = told(sql);
        let placeless = expected.split_once(" at ").map_or(expected.to_string(), |(before, after)| {
            format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        });
        let is_placed = PLACED.iter().any(|state| expected.starts_with(state));
        if told != expected && (is_placed || told != placeless) {
            wrong.push(format!("{sql}\n    {told}\n  not\n    {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Queries and answers.
fn answers() -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> = include_str!("subqueries.txt").lines().filter(|line| !line.starts_with('#')).collect();
    lines.chunks(2).map(|pair| (pair[0], pair[1].trim_start())).collect()
}

/// What a node's columns are; all that its expressions name is looked for.
struct Names {
    wrong: Vec<String>,
    /// All that have been defined.
    defined: BTreeSet<ColumnId>,
}

type Columns = BTreeSet<ColumnId>;

impl Names {
    fn define(&mut self, id: ColumnId, columns: &mut Columns) {
        if !self.defined.insert(id) {
            self.wrong.push(format!("#{} is there twice", id.0));
        }
        columns.insert(id);
    }

    /// The columns of `node`; those of `around` can be named, too.
    fn node(&mut self, node: &Node, around: &Columns) -> Columns {
        let below: Vec<Columns> = node.inputs().into_iter().map(|input| self.node(input, around)).collect();
        let below: Columns = below.into_iter().flatten().collect();
        let known = below.union(around).copied().collect();
        node.expressions().into_iter().for_each(|expr| self.expr(expr, &known));
        let mut columns = Columns::new();
        let mut passes = true;
        match node {
            Node::Scan { columns: scanned, .. } => scanned.iter().for_each(|(id, ..)| self.define(*id, &mut columns)),
            Node::Values { columns: values, .. } => values.iter().for_each(|(id, _)| self.define(*id, &mut columns)),
            Node::Extend { columns: more, .. } => more.iter().for_each(|(id, _)| self.define(*id, &mut columns)),
            Node::Group { keys, aggregates, .. } => {
                passes = false;
                keys.iter().for_each(|(id, _)| self.define(*id, &mut columns));
                aggregates.iter().for_each(|(id, _)| self.define(*id, &mut columns));
            }
            Node::Distinct { columns: kept, .. } => {
                passes = false;
                kept.iter().for_each(|(id, _)| self.column(*id, &below));
                columns.extend(kept.iter().map(|(id, _)| *id));
            }
            Node::Combine { left, right, columns: combined, .. } => {
                passes = false;
                left.1.iter().chain(&right.1).for_each(|id| self.column(*id, &below));
                combined.iter().for_each(|(id, _)| self.define(*id, &mut columns));
            }
            _ => {}
        }
        if passes {
            columns.extend(below);
        }
        columns
    }

    fn column(&mut self, id: ColumnId, known: &Columns) {
        if !known.contains(&id) {
            self.wrong.push(format!("#{} is not there", id.0));
        }
    }

    fn expr(&mut self, expr: &Expr, known: &Columns) {
        match expr {
            Expr::Column { id, .. } => self.column(*id, known),
            Expr::Subquery(subquery) => self.subquery(subquery, known),
            _ => expr.children().into_iter().for_each(|child| self.expr(child, known)),
        }
    }

    fn subquery(&mut self, subquery: &Subquery, known: &Columns) {
        let own = self.node(&subquery.rows, known);
        subquery.columns.iter().for_each(|(id, _)| self.column(*id, &own));
        if let Form::Any(comparison) | Form::All(comparison) = &subquery.form {
            let columns = subquery.columns.iter().map(|(id, _)| *id);
            self.expr(comparison, &known.iter().copied().chain(columns).collect());
        }
    }
}

#[test]
fn every_column_is_there_once_and_can_be_named_where_it_is_named() {
    let mut count = 0;
    for (sql, _) in answers() {
        let Ok(query) = bound(sql) else { continue };
        count += 1;
        let mut names = Names { wrong: vec![], defined: Columns::new() };
        let columns = names.node(&query.root, &Columns::new());
        query.outputs.iter().for_each(|output| names.column(output.column, &columns));
        assert!(names.wrong.is_empty(), "{sql}: {}\n{query:#?}", names.wrong.join(", "));
        assert!(names.defined.iter().all(|id| id.0 <= query.columns), "{sql}");
    }
    assert!(count > 100, "{count} queries");
}

/// The first subquery of a statement: its form, its rows and its columns.
fn first(sql: &str) -> String {
    let query = bound(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut found = None;
    query.root.each(&mut |part| {
        if let (None, Expr::Subquery(subquery)) = (&found, part) {
            let form = form(&subquery.form);
            let columns: Vec<String> = subquery.columns.iter().map(|(id, _)| format!("#{}", id.0)).collect();
            let columns = columns.join(", ");
            found = Some(format!("{form} [{columns}] of {}: {}", nodes(&subquery.rows), kind_of(subquery.kind)));
        }
    });
    found.unwrap_or_else(|| panic!("no subquery: {sql}"))
}

#[test]
fn subqueries_have_the_rows_and_comparisons_that_are_written() {
    for (sql, expected) in [
        ("SELECT EXISTS (SELECT a + 1 FROM t ORDER BY b)", "exists [] of extend(t): bool"),
        ("SELECT (SELECT a FROM t ORDER BY b)", "scalar [#1] of t: int4"),
        ("SELECT (SELECT a FROM t ORDER BY b LIMIT 1)", "scalar [#1] of limit(sort(t)): int4"),
        ("SELECT ARRAY(SELECT a FROM t ORDER BY b)", "array [#1] of sort(t): _int4"),
        // A column of the query around becomes one of the subquery.
        ("SELECT (SELECT t.a FROM u) FROM t", "scalar [#8] of extend(u): int4"),
        ("SELECT a IN (SELECT a FROM u) FROM t", "any (#1 = #5):bool [#5] of u: bool"),
        ("SELECT a NOT IN (SELECT c FROM t) FROM w", "any (#1->numeric = #5):bool [#5] of t: bool"),
        ("SELECT a <> ALL (SELECT 1) FROM w", "all (#1 <> #3):bool [#3] of extend(unit): bool"),
        ("SELECT '1' IN (SELECT a FROM w)", "any ('1':int4 = #1):bool [#1] of w: bool"),
        ("SELECT (a, b) IN (SELECT * FROM w) FROM t", "any and((#1 = #5):bool, (#2 = #6):bool) [#5, #6] of w: bool"),
        (
            "SELECT (a, b) <> ALL (SELECT * FROM w) FROM t",
            "all or((#1 <> #5):bool, (#2 <> #6):bool) [#5, #6] of w: bool",
        ),
        ("SELECT b IN (SELECT b FROM t) FROM u", "any (#2->text = #5):bool [#5] of t: bool"),
    ] {
        assert_eq!(first(sql), expected, "{sql}");
    }
}

/// What would be taken for something else is said to be unknown.
#[test]
fn what_is_not_known_of_subqueries_is_said() {
    for (sql, construct) in [
        ("SELECT (SELECT sum(w.a)) FROM w", "an aggregate of a query around"),
        ("SELECT (SELECT sum(w.a) FROM u) FROM w", "an aggregate of a query around"),
        ("SELECT (SELECT count(*) FILTER (WHERE w.a > 1) FROM u) FROM w", "an aggregate of a query around"),
        ("SELECT 1 FROM w HAVING EXISTS (SELECT 1 FROM u WHERE u.a = sum(w.a))", "an aggregate of a query around"),
        ("SELECT (SELECT sum((SELECT w.a)) FROM u) FROM w", "an aggregate of a query around"),
        ("SELECT (SELECT 1 FROM w LIMIT t.a) FROM t", "LIMIT by a column of a query around"),
        ("SELECT (SELECT 1 FROM w OFFSET (SELECT t.a)) FROM t", "OFFSET by a column of a query around"),
        ("SELECT (SELECT t) FROM t", "whole rows"),
        ("SELECT (SELECT ctid FROM t) FROM (SELECT 1 AS ctid) s", "system columns"),
        ("SELECT (a, b) < ANY (SELECT a, b FROM w) FROM t", "< of rows"),
        ("SELECT (a, b) = (SELECT a, b FROM w) FROM t", "a row"),
        ("SELECT ARRAY(SELECT ARRAY[a] FROM t)", "an array of several dimensions"),
        ("SELECT 1 = ANY (SELECT 1) + 1", "ANY or ALL of what begins with a subquery"),
        ("SELECT 1 = ANY ((SELECT '{1}')::int[])", "ANY or ALL of what begins with a subquery"),
        ("SELECT DISTINCT (SELECT b) FROM w ORDER BY (SELECT b)", "ORDER BY a subquery in SELECT DISTINCT"),
        ("SELECT DISTINCT ON ((SELECT b)) a FROM w ORDER BY (SELECT b)", "DISTINCT ON and ORDER BY of subqueries"),
        ("SELECT (SELECT b), count(*) FROM w GROUP BY (SELECT b)", "a subquery in GROUP BY and elsewhere"),
        ("SELECT a + (SELECT 1) FROM w GROUP BY ROLLUP (a + (SELECT 1))", "grouping sets of subqueries"),
        ("SELECT (SELECT 1) AS x, (SELECT 1) AS x ORDER BY x", "a name of several subqueries"),
        ("SELECT (SELECT w.a || w.b) FROM w GROUP BY a + 1", "several ungrouped columns in a subquery"),
        ("SELECT (SELECT a FROM t) IN (a, 2) FROM w", "IN of a subquery's value"),
        (
            "SELECT string_agg(DISTINCT (SELECT b), 'x' ORDER BY (SELECT b)) FROM w",
            "an aggregate that is ordered by the subquery that it is of",
        ),
        ("SELECT 1 FROM t, (SELECT 1 WHERE EXISTS (SELECT t.a)) s", "columns of a query around"),
    ] {
        assert_eq!(told(sql), format!("not yet: {construct}"), "{sql}");
    }
}

#[test]
fn nested_subqueries_have_an_end() {
    let deep = |count: usize| format!("SELECT {}1{}", "(SELECT ".repeat(count), ")".repeat(count));
    let wide = |count: usize| format!("SELECT 1{} FROM t", ", EXISTS (SELECT t.a)".repeat(count));
    let told = std::thread::Builder::new().stack_size(16 << 20).spawn(move || {
        [deep(20), wide(20), wide(499), wide(500)].map(|sql| matches!(bound(&sql), Err(Unbound::NotYet(_))))
    });
    assert_eq!(told.expect("a thread").join().expect("no panic"), [false, false, false, true]);
}
