//! Queries made by hand: which joins come of them, and what is not known.

use super::*;
use std::collections::BTreeMap;

fn data() -> Data {
    let row = |values: [i64; 3]| values.map(|value| (value >= 0).then_some(value)).to_vec();
    BTreeMap::from([
        ("a".into(), vec![row([1, 1, 0]), row([2, 2, 0]), row([3, 3, -1]), row([-1, 4, 0])]),
        ("b".into(), vec![row([1, 10, 0]), row([2, 20, 0]), row([2, 21, 1]), row([-1, 40, 0])]),
    ])
}

fn a() -> Node {
    scan(&data(), "a", 1)
}

fn b() -> Node {
    scan(&data(), "b", 11)
}

/// Rows of `b` whose first column equals the one of `a`.
fn matching() -> Node {
    filter(b(), vec![binary(int(11), "=", int(1))])
}

/// The second column of `a`, where `condition` is true.
fn kept(condition: Expr) -> Query {
    select(filter(a(), vec![condition]), &[int(2)])
}

fn value(value: Expr) -> Query {
    let shown = make::column(ColumnId(50), value.kind());
    select(extend(a(), vec![(ColumnId(50), value)]), &[int(2), shown])
}

/// Rows as text, or `?construct`, or `(SQLSTATE)`.
fn shown(query: &Query) -> String {
    let text = |value: &Value| match value {
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => if *value { "t" } else { "f" }.into(),
        Value::Null => "∅".into(),
        Value::List(values) => format!("{values:?}").replace("Int(", "").replace([')', ' '], ""),
    };
    match run(query) {
        Ok(rows) => {
            let rows: Vec<String> = rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect();
            rows.join("|")
        }
        Err(Unbound::NotYet(construct)) => format!("?{construct}"),
        Err(Unbound::Wrong(error)) => format!("({})", error.sqlstate),
    }
}

/// The joins of a query without its subqueries, from the top; a domain shows as DISTINCT.
fn joins(query: &Query) -> String {
    let mut found: Vec<String> = vec![];
    walk::each(&unnest(query.clone()).unwrap().root, &mut |node| match node {
        Node::Join { kind: Join::Mark(_), .. } => found.push("Mark".into()),
        Node::Join { kind, on, .. } => found.push(format!("{kind:?}{}", if on.is_some() { "" } else { " all" })),
        Node::Distinct { .. } => found.push("Distinct".into()),
        _ => {}
    });
    found.join(", ")
}

#[test]
fn equalities_with_outer_columns_are_keys_of_joins() {
    let exists = || subquery(Form::Exists, matching(), int(12));
    let total = |name: &str| group(matching(), vec![], vec![(30, aggregate(name, Some(int(12))))]);
    let count = || make::column(ColumnId(30), make::INT8);
    let member = |rows: Node| subquery(Form::Any(binary(int(1), "=", int(11))), rows, int(11));
    let less = binary(subquery(Form::Scalar, total("min"), int(30)), "<", number(20));
    let unequal = || filter(matching(), vec![binary(int(12), "<>", int(2))]);
    for (name, query, expected, rows) in [
        ("EXISTS", kept(exists()), "Semi", "1|2"),
        ("NOT EXISTS", kept(make::not(exists())), "Anti", "3|4"),
        ("EXISTS of more", kept(subquery(Form::Exists, unequal(), int(12))), "Semi", "1|2"),
        ("IN", kept(member(b())), "Semi", "1|2"),
        ("NOT IN", kept(make::not(member(b()))), "Anti, Inner all", ""),
        ("an aggregate", kept(less), "Left", "1"),
        ("a count", value(subquery(Form::Scalar, total("count"), count())), "Left", "1 1|2 2|3 0|4 0"),
        ("EXISTS as a value", value(exists()), "Mark", "1 t|2 t|3 f|4 f"),
        ("IN as a value", value(member(b())), "Mark, Inner all", "1 t|2 t|3 ∅|4 ∅"),
    ] {
        assert_eq!((joins(&query).as_str(), shown(&query).as_str()), (expected, rows), "{name}");
    }
}

#[test]
fn a_value_is_of_one_row_where_somebody_asks() {
    let twice = || subquery(Form::Scalar, matching(), int(12));
    let small = binary(int(1), "=", number(1));
    let ordered = sort(matching(), vec![by(int(12))]);
    for (name, query, rows) in [
        ("of several rows", value(twice()), "(21000)"),
        ("that nobody asks for", value(make::when(small.clone(), twice(), None)), "1 10|2 ∅|3 ∅|4 ∅"),
        ("of the first row", value(subquery(Form::Scalar, limit(ordered, 1), int(12))), "1 10|2 20|3 ∅|4 ∅"),
        (
            "of an outer column",
            value(subquery(
                Form::Scalar,
                extend(
                    filter(matching(), vec![binary(int(12), "<>", number(21))]),
                    vec![(ColumnId(31), binary(int(12), "+", int(2)))],
                ),
                int(31),
            )),
            "1 11|2 22|3 ∅|4 ∅",
        ),
        ("ARRAY", value(subquery(Form::Array, matching(), int(11))), "1 [1]|2 [2,2]|3 []|4 []"),
    ] {
        assert_eq!(shown(&query), rows, "{name}");
    }
}

#[test]
fn what_is_not_known_is_said() {
    let several = limit(sort(matching(), vec![by(int(12))]), 2);
    let total = group(matching(), vec![], vec![(30, aggregate("sum", Some(int(12))))]);
    let divided = |node: Node| extend(node, vec![(ColumnId(31), binary(number(1), "/", int(13)))]);
    let small = binary(int(1), "=", number(1));
    let chosen = limit(a(), 2);
    let unequal =
        group(filter(b(), vec![binary(int(11), ">", int(1))]), vec![], vec![(30, aggregate("min", Some(int(12))))]);
    let shown_of_chosen = extend(chosen, vec![(ColumnId(50), subquery(Form::Scalar, unequal, int(30)))]);
    for (query, construct) in [
        (value(subquery(Form::Scalar, several, int(12))), "LIMIT in a correlated subquery"),
        (
            value(make::when(small, subquery(Form::Scalar, divided(matching()), int(31)), None)),
            "a subquery that may fail where it is not always evaluated",
        ),
        (select(shown_of_chosen, &[int(50)]), "a subquery that depends on rows that are chosen by chance"),
        (
            select(
                Node::Limit {
                    input: Box::new(a()),
                    skip: None,
                    fetch: Some(subquery(Form::Scalar, total, make::column(ColumnId(30), make::INT8))),
                },
                &[int(2)],
            ),
            "a subquery in LIMIT or OFFSET",
        ),
    ] {
        assert_eq!(shown(&query), format!("?{construct}"));
    }
}

#[test]
fn rows_of_values_have_subqueries() {
    let total = |id: u32| {
        let rows = group(scan(&data(), "b", id), vec![], vec![(id + 5, aggregate("max", Some(int(id + 1))))]);
        subquery(Form::Scalar, rows, int(id + 5))
    };
    let values = Node::Values {
        columns: vec![(ColumnId(60), INT4)],
        rows: vec![vec![total(100)], vec![number(7)], vec![total(200)]],
    };
    assert_eq!(shown(&select(values, &[int(60)])), "7|40|40");
}
