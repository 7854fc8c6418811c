//! Window functions, as they are written.

use super::*;
use crate::bind::{self, Relation, Relations};
use crate::bound::{Bound, not_yet};
use crate::statement::{Statement, parse};

struct Nothing;

impl Relations for Nothing {
    fn relation(&self, _: Option<&str>, name: &str) -> Bound<Relation> {
        not_yet(name)
    }
}

/// As text, one row each.
const ROWS: &str = "
        ('1', '1', '10', '1.5', '1.50', 'a', '1.5', '2024-01-01', '2024-01-01 00:00:00', '9223372036854775807', 'true', 'a', '01:00', '1 day'),
        ('2', '1', '10', '1.50', '2.25', 'b', '-0', '2024-01-02', '2024-01-01 12:00:00', '1', 'false', 'b', '02:00', '24 hours'),
        ('3', '1', '20', NULL, NULL, NULL, 'NaN', '2024-01-31', '2024-01-02 00:00:00', NULL, NULL, NULL, NULL, NULL),
        ('4', '2', '30', '10', '10.00', 'c', '0.0', '2024-02-29', '2024-01-31 00:00:00', '-9223372036854775808', 'true', 'a', '01:00', '2 days'),
        ('5', '2', NULL, '2.25', '0.75', 'a', NULL, NULL, NULL, '5', 'false', 'c', '03:00', '1 month'),
        ('6', '2', '20', '7', '3.10', 'd', 'Infinity', '2024-03-01', '2024-02-01 00:00:00', '3', 'true', 'b', '02:30', '1 hour'),
        ('7', NULL, '15', '-3.125', '-3.12', 'b', '2.5', '2023-12-31', '2023-12-31 23:59:59', '2', NULL, 'a', '05:00', '3 hours'),
        ('8', NULL, NULL, '0', '0.00', 'e', '1.5', '2024-01-01', '2024-01-01 06:00:00', '4', 'false', 'd', '04:00', '-1 day')";

/// What the queries read: rows of many types, and no rows.
fn tables() -> String {
    let names = "id, g, k, n, m, x, f, d, p, b, o, c, h, v";
    let typed = "id::int, g::int, k::int, n::numeric, m::numeric(8,2), x, f::float8, d::date, p::timestamp, b::int8, o::bool, \
                 c::char(3), h::time, v::interval";
    format!(
        "WITH t ({names}) AS (SELECT {typed} FROM (VALUES {ROWS}) AS r ({names})), none (id, k) AS (SELECT 1, 1 WHERE false)"
    )
}

/// What `run` says of a query.
fn told(sql: &str, zone: &str) -> String {
    let parsed = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    let Statement::Query(tree) = parsed.statement else { panic!("{sql} is a query") };
    match bind::query(&tree, &[], &Nothing, &settings(zone)) {
        Ok(query) => run(&query, zone),
        Err(Unbound::NotYet(construct)) => format!("?{construct}"),
        Err(Unbound::Wrong(error)) => format!("({} {})", error.sqlstate, error.message),
    }
}

#[test]
fn answers_are_postgresqls() {
    let mut lines = include_str!("windows.txt").lines().filter(|line| !line.starts_with('#'));
    let mut wrong = vec![];
    while let (Some(sql), Some(expected)) = (lines.next(), lines.next()) {
        let told = told(&format!("{} {sql}", tables()), "UTC");
        if told != expected.trim_start() {
            wrong.push(format!("{sql}\n    {told}\n  not\n{expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_datafusion_means_otherwise_is_not_known() {
    for (sql, expected) in [
        ("lag(k, NULL) OVER () FROM t", "?an argument of lag that is no constant"),
        ("lag(k, id) OVER (ORDER BY id) FROM t", "?an argument of lag that is no constant"),
        ("lag(k, 1, id) OVER (ORDER BY id) FROM t", "?a default of lag that is no constant"),
        ("ntile(0) OVER (ORDER BY id) FROM t", "?such an argument of ntile"),
        ("nth_value(k, -1) OVER (ORDER BY id) FROM t", "?such an argument of nth_value"),
        ("string_agg(x, ',') OVER (ORDER BY id ROWS 1 PRECEDING) FROM t", "?string_agg over a frame that moves"),
        ("count(*) OVER (ORDER BY 1 GROUPS 1 PRECEDING) FROM t", "?GROUPS in the order of a constant"),
        ("count(*) OVER (ORDER BY 1 RANGE 1 PRECEDING) FROM t", "?RANGE in the order of a constant"),
        ("count(*) OVER (ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING) FROM t", "?a frame that ends before it starts"),
        ("count(*) OVER (ROWS BETWEEN 2 FOLLOWING AND 1 FOLLOWING) FROM t", "?a frame that ends before it starts"),
        ("count(*) OVER (ROWS 1 + 1 PRECEDING) FROM t", "?an offset that is no constant"),
        ("count(*) OVER (ORDER BY k RANGE -1 PRECEDING) FROM t", "?such an offset of RANGE"),
        ("count(*) OVER (ORDER BY k RANGE NULL PRECEDING) FROM t", "?an offset that is no constant"),
        ("count(*) OVER (ORDER BY n RANGE 1 PRECEDING) FROM t", "?RANGE with an offset in the order of type numeric"),
        (
            "count(*) OVER (ORDER BY v RANGE '1 day' PRECEDING) FROM t",
            "?RANGE with an offset in the order of type interval",
        ),
        (
            "count(*) OVER (ORDER BY h RANGE '1 h' PRECEDING) FROM t",
            "?RANGE with an offset in the order of type time without time zone",
        ),
        (
            "count(*) OVER (ORDER BY p RANGE BETWEEN '2 days' PRECEDING AND '1 day' PRECEDING) FROM t",
            "?a frame that ends before it starts",
        ),
        (
            "lag(k) OVER (ORDER BY id) FROM (SELECT id, k, lag(k) OVER (ORDER BY id) AS y FROM t) AS s WHERE y > 1",
            "?a window function over the rows of the same one",
        ),
        (
            "(SELECT count(*) FROM t WHERE id < s.place) FROM (SELECT row_number() OVER (ORDER BY k) AS place FROM t) AS s",
            "?a subquery that depends on rows that are chosen by chance",
        ),
        (
            "lag((SELECT 1 / max(u.id) FROM t AS u WHERE u.g = t.g)) OVER (ORDER BY id) FROM t",
            "?a subquery that may fail where it is not always evaluated",
        ),
        ("count(*) OVER (ROWS -1 PRECEDING) FROM t", "(22013 frame starting offset must not be negative)"),
        (
            "count(*) OVER (ROWS BETWEEN CURRENT ROW AND NULL FOLLOWING) FROM t",
            "(22004 frame ending offset must not be null)",
        ),
    ] {
        assert_eq!(told(&format!("{} SELECT {sql}", tables()), "UTC"), expected, "{sql}");
    }
    let days = |offset: &str| {
        let order = format!("ORDER BY p::timestamptz RANGE '{offset}' PRECEDING");
        told(&format!("{} SELECT count(*) OVER ({order}) FROM t WHERE id < 3", tables()), "Europe/Berlin")
    };
    assert_eq!(days("1 day"), "?such an offset of RANGE");
    assert_eq!(days("13 hours"), "1|2");
}
