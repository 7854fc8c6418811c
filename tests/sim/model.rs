//! What relations must hold: the views of a simulation as SQL and, beside it, as their definition in plain code.

use super::upstream::{Contents, ITEMS, ORDERS, Row, VISITS};
use std::collections::{BTreeMap, BTreeSet};

/// Rows as text, each as often as it stands there.
pub type Rows = BTreeMap<Vec<Option<String>>, i64>;

pub fn count(rows: impl IntoIterator<Item = Vec<Option<String>>>) -> Rows {
    let mut counted = Rows::new();
    rows.into_iter().for_each(|row| *counted.entry(row).or_default() += 1);
    counted
}

/// Kinds of views there are.
pub const KINDS: usize = 15;

/// The query of a view of this kind; those of kind [`STACKED`] and above read views `below` too.
pub fn query(kind: usize, below: &[&str]) -> String {
    let (below, other) = (below.first().unwrap_or(&""), below.last().unwrap_or(&""));
    match kind {
        0 => "SELECT id, v + 1 AS w, big FROM orders WHERE v % 2 = 0".into(),
        1 => "SELECT g, count(*) AS n, sum(v) AS s FROM orders GROUP BY g".into(),
        2 => "SELECT o.id, o.v, i.v AS w FROM orders AS o JOIN items AS i ON o.g = i.id".into(),
        3 => "SELECT g, min(v) AS low, max(v) AS high FROM items GROUP BY g".into(),
        4 => "SELECT DISTINCT g FROM visits".into(),
        5 => "SELECT count(*) AS n, sum(v) AS s FROM items".into(),
        6 => "SELECT o.id, i.big FROM orders AS o LEFT JOIN items AS i ON o.id = i.id".into(),
        7 => "SELECT id, 12 / v AS w FROM items".into(),
        8 => "SELECT id, big FROM orders UNION ALL SELECT id, big FROM visits".into(),
        9 => "SELECT a.g, b.g AS h FROM visits AS a JOIN visits AS b ON a.id = b.id".into(),
        10 => "SELECT id AS k, g FROM orders UNION ALL SELECT v, id FROM items".into(),
        // NULL on one side only.
        11 => "SELECT u.k, i.id FROM (SELECT id AS k FROM orders UNION ALL SELECT v FROM visits) AS u \
               JOIN items AS i ON u.k = i.v"
            .into(),
        12 => format!("SELECT n, count(*) AS m FROM {below} GROUP BY n"),
        13 => format!("SELECT b.g, b.n, i.v FROM {below} AS b JOIN items AS i ON b.g = i.id"),
        14 => format!("SELECT a.g, a.n, b.s FROM {below} AS a JOIN {other} AS b ON a.g = b.g"),
        other => unreachable!("no view of kind {other}"),
    }
}

/// The first kind that reads views of kind 1.
pub const STACKED: usize = 12;

fn text(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn sum<'a>(rows: impl Iterator<Item = &'a &'a Row>) -> Option<i64> {
    rows.filter_map(|row| row.v).fold(None, |sum, v| Some(sum.unwrap_or(0) + v))
}

fn groups<'a>(rows: &[&'a Row]) -> BTreeMap<i64, Vec<&'a Row>> {
    let mut groups: BTreeMap<i64, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(row.g).or_default().push(row));
    groups
}

/// What a view of this kind holds, and how many errors it has.
pub fn evaluate(kind: usize, contents: &Contents) -> (Rows, i64) {
    let of = |table: u32| contents[&table].values().collect::<Vec<_>>();
    let (orders, items, visits) = (of(ORDERS), of(ITEMS), of(VISITS));
    let opt = |v: Option<i64>| v.map(|v| v.to_string());
    let mut errors = 0;
    let mut rows: Vec<Vec<Option<String>>> = vec![];
    match kind {
        0 => rows.extend(orders.iter().filter_map(|o| {
            let v = o.v.filter(|v| v % 2 == 0)?;
            Some(vec![text(o.id), text(v + 1), text(&o.big)])
        })),
        1 | 14 => {
            rows.extend(groups(&orders).iter().map(|(g, own)| vec![text(g), text(own.len()), opt(sum(own.iter()))]))
        }
        2 => {
            for o in &orders {
                let found = items.iter().filter(|i| i.id == o.g);
                rows.extend(found.map(|i| vec![text(o.id), opt(o.v), opt(i.v)]));
            }
        }
        3 => rows.extend(groups(&items).iter().map(|(g, own)| {
            let values = || own.iter().filter_map(|row| row.v);
            vec![text(g), opt(values().min()), opt(values().max())]
        })),
        4 => rows.extend(visits.iter().map(|row| row.g).collect::<BTreeSet<_>>().iter().map(|g| vec![text(g)])),
        5 => rows.push(vec![text(items.len()), opt(sum(items.iter()))]),
        6 => {
            for o in &orders {
                let found = items.iter().find(|i| i.id == o.id);
                rows.push(vec![text(o.id), found.map(|i| i.big.clone())]);
            }
        }
        7 => {
            for i in &items {
                match i.v {
                    Some(0) => errors += 1,
                    v => rows.push(vec![text(i.id), opt(v.map(|v| 12 / v))]),
                }
            }
        }
        8 => rows.extend(orders.iter().chain(&visits).map(|row| vec![text(row.id), text(&row.big)])),
        9 => {
            for a in &visits {
                rows.extend(visits.iter().filter(|b| b.id == a.id).map(|b| vec![text(a.g), text(b.g)]));
            }
        }
        10 => {
            rows.extend(orders.iter().map(|row| vec![text(row.id), text(row.g)]));
            rows.extend(items.iter().map(|row| vec![opt(row.v), text(row.id)]));
        }
        11 => {
            for k in orders.iter().map(|row| Some(row.id)).chain(visits.iter().map(|row| row.v)) {
                let found = items.iter().filter(|i| k.is_some() && i.v == k);
                rows.extend(found.map(|i| vec![opt(k), text(i.id)]));
            }
        }
        12 => {
            let sizes = groups(&orders).into_values().map(|own| own.len());
            let mut counted: BTreeMap<usize, usize> = BTreeMap::new();
            sizes.for_each(|n| *counted.entry(n).or_default() += 1);
            rows.extend(counted.iter().map(|(n, m)| vec![text(n), text(m)]));
        }
        13 => {
            for (g, own) in groups(&orders) {
                let found = items.iter().filter(|i| i.id == g);
                rows.extend(found.map(|i| vec![text(g), text(own.len()), opt(i.v)]));
            }
        }
        other => unreachable!("no view of kind {other}"),
    }
    (count(rows), errors)
}
