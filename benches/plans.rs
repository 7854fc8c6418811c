//! (o) How long statements of a thousand terms take to be read and planned, in SELECT and as a view.

use crate::kit::Weir;
use crate::report::Report;
use std::time::Instant;

const TERMS: usize = 1000;
const DEPTH: usize = 30;
/// The best of so many: other things happen on the machine.
const TRIES: usize = 3;

pub async fn run(report: &mut Report) {
    let weir = Weir::with(&["--workers", "1"]).await;
    let sql = weir.client().await;
    sql.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, s VARCHAR)").await;
    for (what, query) in statements() {
        let mut took = vec![];
        for statement in [query.clone(), format!("EXPLAIN CREATE MATERIALIZED VIEW v AS {query}")] {
            let mut best = f64::INFINITY;
            for _ in 0..TRIES {
                let began = Instant::now();
                sql.run(&statement).await;
                best = best.min(began.elapsed().as_secs_f64() * 1e3);
            }
            took.push(best);
        }
        let (select, view) = (format!("{:.0} ms", took[0]), format!("{:.0} ms as a view", took[1]));
        report.add(format!("(o) plan time of {what}"), select, view, "<= 100 ms each");
    }
}

fn statements() -> Vec<(String, String)> {
    let times = |text: &str| text.repeat(TERMS);
    let terms = |what: &str, query: String| (format!("{TERMS} {what}"), query);
    let arms: String = (0..TERMS).map(|n| format!(" WHEN a = {n} THEN {n}")).collect();
    let nested = |open: &str, value: &str, close: &str| {
        let what = format!("{DEPTH} nested {open}…{close}");
        (what, format!("SELECT {}{value}{} FROM t", open.repeat(DEPTH), close.repeat(DEPTH)))
    };
    vec![
        terms("+", format!("SELECT a{} FROM t", times(" + a"))),
        terms("||", format!("SELECT s{} FROM t", times(" || s"))),
        terms("CASE", format!("SELECT a{} FROM t", times(" + CASE WHEN a > 1 THEN 1 ELSE 0 END"))),
        terms("OR", format!("SELECT a FROM t WHERE a > 0{}", times(" OR a = 1 AND id = 2"))),
        terms("parentheses", format!("SELECT {}a{} FROM t", times("("), times(" + 1)"))),
        terms("WHEN", format!("SELECT CASE{arms} END FROM t")),
        nested("replace(", "s", ", 'x', 'y')"),
        nested("coalesce(", "a", ", 0)"),
        nested("nullif(", "a", ", 7)"),
        nested("greatest(", "a", ", id)"),
        nested("CASE WHEN a > 1 THEN ", "a", " ELSE 0 END"),
        nested("abs(CASE ", "a", " WHEN 1 THEN 2 ELSE id END)"),
        nested("(", "a", " IN (1, id))::int"),
        nested("(", "a", " BETWEEN id AND 5)::int"),
        nested("((", "a", ")::bigint)::int"),
    ]
}
