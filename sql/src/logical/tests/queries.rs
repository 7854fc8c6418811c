//! Nodes of every kind.

use super::*;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr;
use datafusion::logical_expr::expr_rewriter::NamePreserver;

fn limit(input: Node, skip: Option<&str>, fetch: Option<&str>) -> Node {
    Node::Limit { input: Box::new(input), skip: skip.map(lit), fetch: fetch.map(lit) }
}

fn numbered(rows: Node, names: [u32; 2]) -> (Box<Node>, Vec<ColumnId>) {
    (Box::new(rows), names.map(ColumnId).to_vec())
}

fn combined(set: Set, all: bool, left: Node, right: Node) -> Node {
    let columns = vec![(ColumnId(300), kind("int4")), (ColumnId(301), kind("text"))];
    Node::Combine { set, all, left: numbered(left, [100, 101]), right: numbered(right, [200, 201]), columns }
}

#[test]
fn a_scan_has_what_is_asked_for() {
    let aliased = |expr: Expr, name: &str| Output { column: id(&expr), name: name.into(), kind: expr.kind() };
    let twice = Query {
        root: t(0),
        outputs: vec![aliased(c("i4"), "a"), aliased(c("s"), "a"), aliased(c("i4"), "b")],
        parameters: vec![],
        columns: 1000,
    };
    let planned = plan(&twice, "UTC").unwrap();
    let fields = planned.plan.schema().fields().clone();
    let names: Vec<_> = fields.iter().map(|field| names::shown(field.name())).collect();
    assert_eq!(names, ["a", "a", "b"]);
    check_in(
        "UTC",
        vec![
            ("columns", select(t(0), vec![c("i4"), c("s"), c("i4")]), "7 abc 7|2147483647  2147483647|∅ ∅ ∅"),
            ("none", select(t(0), vec![lit("int4 1")]), "1|1|1"),
            ("named twice", twice, "7 abc 7|2147483647  2147483647|∅ ∅ ∅"),
            ("one row", select(Node::Unit, vec![lit("int4 1"), lit("text x")]), "1 x"),
            (
                "values",
                select(
                    Node::Values {
                        columns: vec![(ColumnId(1), kind("numeric")), (ColumnId(2), kind("uuid"))],
                        rows: vec![
                            vec![lit("numeric 1.50"), lit("uuid a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")],
                            vec![lit("numeric 2"), lit("uuid")],
                        ],
                    },
                    vec![new(1, "numeric"), new(2, "uuid")],
                ),
                "1.50 a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|2 ∅",
            ),
            (
                "every type",
                select(t(0), ROWS.iter().map(|(name, _, _)| c(name)).collect()),
                "1 7 -3 0.5 2.5 1.50 1.50 abc abc ab   true 2024-01-31 2024-01-31 12:30:00 2024-01-31 12:30:00+00 \
                 1 mon a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 {\"a\": 1.0} \\x01ff|\
                 32767 2147483647 9223372036854775807 3e+38 1e+308 -12345678.90 1.5  b abcd false 1999-12-31 \
                 1999-12-31 23:59:59.5 2024-07-01 00:00:00+00 30 days ∅ {\"a\": 1} \\x|\
                 ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅ ∅",
            ),
        ],
    );
}

#[test]
fn rows_are_filtered_sorted_and_counted() {
    let number = || new(100, "int4");
    let order = || vec![by(number(), true, true), by(new(101, "text"), true, false)];
    let all = || vec![number(), new(101, "text")];
    let computed = |input: Node| Node::Extend {
        input: Box::new(input),
        columns: vec![
            (ColumnId(110), binary(number(), "*", lit("int4 2"))),
            (ColumnId(111), binary(lit("int4 1"), "/", lit("int4 0"))),
        ],
    };
    let parameter = Query {
        parameters: vec![kind("int8")],
        ..select(
            Node::Limit {
                input: Box::new(left()),
                skip: None,
                fetch: Some(Expr::Parameter { number: 1, kind: kind("int8") }),
            },
            all(),
        )
    };
    assert_eq!(plan(&parameter, "UTC").unwrap().parameters, [Type::Int8]);
    check_in(
        "UTC",
        vec![
            ("filter", select(filter(left(), binary(number(), "=", lit("int4 2"))), all()), "2 b|2 c"),
            ("never", select(filter(left(), lit("bool")), all()), ""),
            ("sort", select(sort(left(), order()), all()), "∅ d|2 c|2 b|1 a"),
            ("by jsonb", select(sort(t(0), vec![by(c("j"), false, false)]), vec![c("i2")]), "?ORDER BY of type jsonb"),
            (
                "by numerics and char",
                select(sort(t(0), vec![by(c("n"), false, true), by(c("c"), true, false)]), vec![c("i2")]),
                "∅|32767|1",
            ),
            ("what nobody needs", select(computed(left()), vec![new(110, "int4")]), "2|4|4|∅"),
            ("limit", select(limit(sort(left(), order()), Some("int8 1"), Some("int8 2")), all()), "2 c|2 b"),
            ("limit NULL", select(limit(left(), Some("int8"), Some("int8")), all()), "1 a|2 b|2 c|∅ d"),
            ("limit 0", select(limit(left(), None, Some("int8 0")), all()), ""),
            ("negative", select(limit(left(), None, Some("int8 -1")), all()), "(2201W LIMIT must not be negative)"),
            ("offset", select(limit(left(), Some("int8 -1"), None), all()), "(2201X OFFSET must not be negative)"),
            (
                "computed",
                select(
                    Node::Limit {
                        input: Box::new(left()),
                        skip: None,
                        fetch: Some(explicit(binary(lit("int4 1"), "+", lit("int4 1")), "int8")),
                    },
                    all(),
                ),
                "1 a|2 b",
            ),
            ("order of a subquery", select(computed(sort(left(), order())), all()), "∅ d|2 c|2 b|1 a"),
            (
                "filter of a subquery",
                select(filter(sort(left(), order()), binary(number(), ">", lit("int4 1"))), all()),
                "2 c|2 b",
            ),
            (
                "limit of that",
                select(limit(filter(sort(left(), order()), lit("bool t")), None, Some("int8 1")), all()),
                "?LIMIT of rows in the order of a subquery",
            ),
        ],
    );
}

#[test]
fn relations_are_joined() {
    let joined = |kind, on: Option<Expr>| {
        let join = Node::Join { kind, left: Box::new(left()), right: Box::new(right()), on };
        let order = [100, 101, 200].map(|at| by(new(at, if at == 101 { "text" } else { "int4" }), false, false));
        select(sort(join, order.to_vec()), vec![new(101, "text"), new(201, "text")])
    };
    let equal = || binary(new(100, "int4"), "=", new(200, "int4"));
    let both = || Expr::And(vec![equal(), binary(new(101, "text"), "=", lit("text b"))]);
    let twice = Node::Join {
        kind: Join::Inner,
        left: Box::new(t(0)),
        right: Box::new(t(50)),
        on: Some(binary(c("n"), "=", of(50, "n"))),
    };
    let char_and_text = Node::Join {
        kind: Join::Inner,
        left: Box::new(t(0)),
        right: Box::new(t(50)),
        on: Some(binary(implicit(c("c"), "text"), "=", binary(of(50, "s"), "||", lit("text ")))),
    };
    check_in(
        "UTC",
        vec![
            ("inner", joined(Join::Inner, Some(equal())), "b x|c x"),
            ("left", joined(Join::Left, Some(equal())), "a ∅|b x|c x|d ∅"),
            ("right", joined(Join::Right, Some(equal())), "b x|c x|∅ y|∅ z"),
            ("full", joined(Join::Full, Some(equal())), "a ∅|b x|c x|d ∅|∅ y|∅ z"),
            ("left with more", joined(Join::Left, Some(both())), "a ∅|b x|c ∅|d ∅"),
            ("full with more", joined(Join::Full, Some(both())), "a ∅|b x|c ∅|d ∅|∅ y|∅ z"),
            (
                "left on less",
                joined(Join::Left, Some(binary(new(100, "int4"), "<", new(200, "int4")))),
                "a x|a y|b y|c y|d ∅",
            ),
            ("cross", joined(Join::Inner, None), "a x|a y|a z|b x|b y|b z|c x|c y|c z|d x|d y|d z"),
            ("never", joined(Join::Left, Some(lit("bool f"))), "a ∅|b ∅|c ∅|d ∅"),
            (
                "of numerics, with itself",
                select(
                    sort(twice, vec![by(c("i2"), false, false), by(of(50, "i2"), false, false)]),
                    vec![c("i2"), of(50, "i2")],
                ),
                "1 1|1 32767|32767 1|32767 32767",
            ),
            ("of char", select(char_and_text, vec![c("i2")]), ""),
        ],
    );
}

#[test]
fn equal_rows_are_told_apart() {
    let distinct = |input: Node, columns: &[Expr]| Node::Distinct {
        input: Box::new(input),
        columns: columns.iter().map(|column| (id(column), column.kind())).collect(),
    };
    let sorted = |input: Node, columns: Vec<Expr>| {
        let order = columns.iter().map(|column| by(column.clone(), false, false)).collect();
        select(sort(input, order), columns)
    };
    let first = |on: Vec<Expr>, order: Vec<Order>| {
        let rows = Node::DistinctOn { input: Box::new(left()), on, order };
        sorted(rows, vec![new(100, "int4"), new(101, "text")])
    };
    let (number, text) = (|| new(100, "int4"), || new(101, "text"));
    check_in(
        "UTC",
        vec![
            ("distinct", sorted(distinct(left(), &[number()]), vec![number()]), "1|2|∅"),
            ("of numerics", sorted(distinct(t(0), &[c("n")]), vec![c("n")]), "1.5|∅"),
            ("of char", sorted(distinct(t(0), &[c("c"), c("u")]), vec![c("c")]), "ab  |abcd|∅"),
            ("on", first(vec![number()], vec![by(number(), false, false), by(text(), true, false)]), "1 a|2 c|∅ d"),
            (
                "on numerics",
                sorted(
                    Node::DistinctOn {
                        input: Box::new(t(0)),
                        on: vec![c("n")],
                        order: vec![by(c("n"), false, false), by(c("i2"), true, false)],
                    },
                    vec![c("i2"), c("v"), c("u")],
                ),
                "32767 b ∅|∅ ∅ ∅",
            ),
            ("on, unordered", first(vec![number()], vec![]), "1 a|2 b|∅ d"),
            ("on two, by one", first(vec![text(), number()], vec![by(number(), true, true)]), "1 a|2 b|2 c|∅ d"),
            (
                "on what is not sorted by",
                first(vec![number()], vec![by(text(), false, false)]),
                "?DISTINCT ON of what is not sorted by",
            ),
        ],
    );
}

#[test]
fn sets_of_rows_are_combined() {
    let other = || pairs(200, &[("2", "b"), ("2", "b"), ("3", "y"), ("∅", "d")]);
    let shown = |node: Node| {
        let columns = || vec![new(300, "int4"), new(301, "text")];
        let order = columns().into_iter().map(|column| by(column, false, false)).collect();
        select(sort(node, order), columns())
    };
    let chain = |all| {
        let first = combined(Set::Union, all, left(), other());
        let third = pairs(600, &[("9", "z")]);
        let columns = vec![(ColumnId(700), kind("int4")), (ColumnId(701), kind("text"))];
        let (left, right) = (numbered(first, [300, 301]), numbered(third, [600, 601]));
        let whole = Node::Combine { set: Set::Union, all, left, right, columns };
        let order = vec![by(new(700, "int4"), false, false), by(new(701, "text"), false, false)];
        select(sort(whole, order), vec![new(700, "int4")])
    };
    let numbers = Node::Combine {
        set: Set::Union,
        all: true,
        left: (Box::new(t(0)), vec![id(&c("d"))]),
        right: (Box::new(t(50)), vec![id(&of(50, "n"))]),
        columns: vec![(ColumnId(300), kind("numeric"))],
    };
    let types = Node::Combine {
        set: Set::Union,
        all: false,
        left: (Box::new(t(0)), ["s", "u", "j", "c"].iter().map(|name| id(&c(name))).collect()),
        right: (Box::new(t(50)), ["v", "u", "j", "c"].iter().map(|name| id(&of(50, name))).collect()),
        columns: ["text", "uuid", "jsonb", "bpchar"]
            .iter()
            .enumerate()
            .map(|(at, name)| (ColumnId(300 + at as u32), kind(name)))
            .collect(),
    };
    let doubled = || pairs(100, &[("2", "b"), ("2", "b"), ("3", "y"), ("∅", "d")]);
    let turned = |set| combined(set, true, doubled(), pairs(200, &[("1", "a"), ("2", "b"), ("2", "c"), ("∅", "d")]));
    let twice = |set| combined(set, true, doubled(), other());
    let all_of = |set, one: &str, other: &str| Node::Combine {
        set,
        all: true,
        left: (Box::new(t(0)), vec![id(&c(one))]),
        right: (Box::new(t(50)), vec![id(&of(50, other))]),
        columns: vec![(ColumnId(300), kind("numeric"))],
    };
    let count = |node: Node| group(node, vec![], vec![aggregate("count()", vec![])], None);
    check_in(
        "UTC",
        vec![
            ("UNION ALL", shown(combined(Set::Union, true, left(), other())), "1 a|2 b|2 b|2 b|2 c|3 y|∅ d|∅ d"),
            ("UNION", shown(combined(Set::Union, false, left(), other())), "1 a|2 b|2 c|3 y|∅ d"),
            ("INTERSECT", shown(combined(Set::Intersect, false, left(), other())), "2 b|∅ d"),
            ("EXCEPT", shown(combined(Set::Except, false, left(), other())), "1 a|2 c"),
            ("EXCEPT ALL", shown(combined(Set::Except, true, left(), other())), "1 a|2 c"),
            ("INTERSECT ALL", shown(combined(Set::Intersect, true, left(), other())), "2 b|∅ d"),
            ("EXCEPT ALL the other way", shown(turned(Set::Except)), "2 b|3 y"),
            ("INTERSECT ALL the other way", shown(turned(Set::Intersect)), "2 b|∅ d"),
            ("INTERSECT ALL of the same", count(twice(Set::Intersect)), "4"),
            ("EXCEPT ALL of the same", count(twice(Set::Except)), "0"),
            ("EXCEPT ALL of numerics", count(all_of(Set::Except, "n", "d")), "1"),
            ("INTERSECT ALL of numerics", count(all_of(Set::Intersect, "n", "d")), "2"),
            ("three", chain(true), "1|2|2|2|2|3|9|∅|∅"),
            ("three, different", chain(false), "1|2|2|3|9|∅"),
            ("counted", count(combined(Set::Union, true, left(), other())), "8"),
            (
                "numerics",
                select(sort(numbers, vec![by(new(300, "numeric"), false, false)]), vec![new(300, "numeric")]),
                "-12345678.90|1.50|1.50|1.5|∅|∅",
            ),
            ("types", count(types), "4"),
        ],
    );
}

/// `planned` with `arguments` in the place of its parameters.
fn with(planned: Planned, arguments: &[(ScalarValue, Type)]) -> Planned {
    assert_eq!(planned.parameters, arguments.iter().map(|(_, kind)| kind.clone()).collect::<Vec<_>>());
    let replace = |expr: logical_expr::Expr| match &expr {
        logical_expr::Expr::Placeholder(place) => {
            let number: usize = place.id.strip_prefix('$').unwrap().parse().unwrap();
            let (value, kind) = arguments[number - 1].clone();
            Ok(Transformed::yes(argument(value, kind)))
        }
        _ => Ok(Transformed::no(expr)),
    };
    let replaced = planned.plan.transform_up(|node| {
        let names = NamePreserver::new(&node);
        let replaced = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(replace)?.update_data(|expr| name.restore(expr)))
        })?;
        if replaced.transformed { replaced.map_data(logical_expr::LogicalPlan::recompute_schema) } else { Ok(replaced) }
    });
    Planned { plan: replaced.unwrap().data, ..planned }
}

#[test]
fn parameters_stay_what_they_are() {
    let parameter = |number, name: &str| Expr::Parameter { number, kind: kind(name) };
    let small = (ScalarValue::Int64(Some(1)), Type::Int8);
    let text = (ScalarValue::from("7"), Type::Text);
    let arguments = [small, text];
    for (root, output, expected) in [
        (Node::Unit, binary(parameter(1, "int8"), "+", lit("int4 2147483647")), "2147483648"),
        (Node::Unit, call("concat(any)", vec![parameter(2, "text"), parameter(1, "int8")]), "71"),
        (filter(t(0), binary(c("i2"), "=", parameter(1, "int8"))), c("s"), "abc"),
        (limit(t(0), None, None), implicit(parameter(1, "int8"), "numeric"), "1|1|1"),
        (
            Node::Limit { input: Box::new(t(0)), skip: None, fetch: Some(parameter(1, "int8")) },
            binary(c("s"), "||", parameter(2, "text")),
            "abc7",
        ),
    ] {
        let query = Query { parameters: vec![kind("int8"), kind("text")], ..select(root, vec![output.clone()]) };
        let planned = with(plan(&query, "UTC").unwrap(), &arguments);
        assert_eq!(rows(planned, "UTC").unwrap(), expected, "{output:?}");
    }
}
