//! Nodes of every kind.

use super::*;

fn boxed(node: Node) -> Box<Node> {
    Box::new(node)
}

/// Columns that there is nothing of yet.
fn new(at: u32, name: &str) -> Expr {
    Expr::Column { id: ColumnId(at), kind: kind(name) }
}

/// Rows of int4 and text.
fn pairs(first: u32, rows: &[(&str, &str)]) -> Node {
    let value = |name: &str, text: &str| if text == "∅" { lit(name) } else { lit(&format!("{name} {text}")) };
    let rows = rows.iter().map(|(number, text)| vec![value("int4", number), value("text", text)]).collect();
    Node::Values { columns: vec![(ColumnId(first), kind("int4")), (ColumnId(first + 1), kind("text"))], rows }
}

fn left() -> Node {
    pairs(100, &[("1", "a"), ("2", "b"), ("2", "c"), ("∅", "d")])
}

fn right() -> Node {
    pairs(200, &[("2", "x"), ("3", "y"), ("∅", "z")])
}

fn filter(input: Node, condition: Expr) -> Node {
    Node::Filter { input: boxed(input), condition }
}

fn by(by: Expr, descending: bool, nulls_first: bool) -> Order {
    Order { by, descending, nulls_first }
}

fn sort(input: Node, order: Vec<Order>) -> Node {
    Node::Sort { input: boxed(input), order }
}

fn limit(input: Node, skip: Option<&str>, fetch: Option<&str>) -> Node {
    Node::Limit { input: boxed(input), skip: skip.map(lit), fetch: fetch.map(lit) }
}

fn numbered(rows: Node, names: [u32; 2]) -> (Box<Node>, Vec<ColumnId>) {
    (boxed(rows), names.map(ColumnId).to_vec())
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
        input: boxed(input),
        columns: vec![
            (ColumnId(110), binary(number(), "*", lit("int4 2"))),
            (ColumnId(111), binary(lit("int4 1"), "/", lit("int4 0"))),
        ],
    };
    let parameter = Query {
        parameters: vec![kind("int8")],
        ..select(
            Node::Limit {
                input: boxed(left()),
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
                        input: boxed(left()),
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
        let join = Node::Join { kind, left: boxed(left()), right: boxed(right()), on };
        let order = [100, 101, 200].map(|at| by(new(at, if at == 101 { "text" } else { "int4" }), false, false));
        select(sort(join, order.to_vec()), vec![new(101, "text"), new(201, "text")])
    };
    let equal = || binary(new(100, "int4"), "=", new(200, "int4"));
    let both = || Expr::And(vec![equal(), binary(new(101, "text"), "=", lit("text b"))]);
    let twice = Node::Join {
        kind: Join::Inner,
        left: boxed(t(0)),
        right: boxed(t(50)),
        on: Some(binary(c("n"), "=", of(50, "n"))),
    };
    let char_and_text = Node::Join {
        kind: Join::Inner,
        left: boxed(t(0)),
        right: boxed(t(50)),
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

fn aggregate(written: &str, arguments: Vec<Expr>) -> Aggregate {
    let function = function(written);
    Aggregate { function, arguments, distinct: false, filter: None, order: vec![], kind: function.result.into() }
}

fn group(input: Node, keys: Vec<Expr>, aggregates: Vec<Aggregate>, sets: Option<Vec<Vec<usize>>>) -> Query {
    let named = |base: u32, at: usize| ColumnId(base + at as u32);
    let mut outputs: Vec<Expr> = vec![];
    let keys: Vec<_> = keys.into_iter().enumerate().map(|(at, key)| (named(400, at), key)).collect();
    outputs.extend(keys.iter().map(|(id, key)| Expr::Column { id: *id, kind: key.kind() }));
    let aggregates: Vec<_> = aggregates.into_iter().enumerate().map(|(at, call)| (named(500, at), call)).collect();
    outputs.extend(aggregates.iter().map(|(id, call)| Expr::Column { id: *id, kind: call.kind }));
    let order = outputs.iter().map(|key| by(key.clone(), false, false)).take(keys.len()).collect();
    select(sort(Node::Group { input: boxed(input), keys, aggregates, sets }, order), outputs)
}

#[test]
fn rows_are_grouped() {
    let count = || aggregate("count()", vec![]);
    let number = || new(100, "int4");
    let text = || new(101, "text");
    let nothing = || filter(left(), lit("bool f"));
    let ten = || binary(lit("int4 10"), "/", binary(number(), "-", lit("int4 1")));
    let other = || binary(number(), "<>", lit("int4 1"));
    let filtered = |call: Aggregate| Aggregate { filter: Some(other()), ..call };
    let distinct = |call: Aggregate| Aggregate { distinct: true, ..call };
    check_in(
        "UTC",
        vec![
            ("count", group(left(), vec![], vec![count()], None), "4"),
            (
                "of nothing",
                group(nothing(), vec![], vec![count(), aggregate("sum(int4)", vec![number()])], None),
                "0 ∅",
            ),
            ("no group", group(nothing(), vec![number()], vec![count()], None), ""),
            ("by key", group(left(), vec![number()], vec![count()], None), "1 1|2 2|∅ 1"),
            ("keys alone", group(left(), vec![number()], vec![], None), "1|2|∅"),
            (
                "by an expression",
                group(
                    left(),
                    vec![binary(number(), "%", lit("int4 2"))],
                    vec![aggregate("max(text)", vec![text()])],
                    None,
                ),
                "0 c|1 a|∅ d",
            ),
            ("by numerics", group(t(0), vec![c("n")], vec![count()], None), "1.5 2|∅ 1"),
            (
                "by jsonb",
                select(
                    Node::Group {
                        input: boxed(t(0)),
                        keys: vec![(ColumnId(400), c("j"))],
                        aggregates: vec![(ColumnId(401), count())],
                        sets: None,
                    },
                    vec![new(401, "int8")],
                ),
                "2|1",
            ),
            (
                "many",
                group(
                    t(0),
                    vec![],
                    vec![
                        aggregate("count(any)", vec![c("s")]),
                        aggregate("sum(int8)", vec![c("i8")]),
                        aggregate("sum(numeric)", vec![c("d")]),
                        aggregate("avg(int2)", vec![c("i2")]),
                        aggregate("min(text)", vec![implicit(c("v"), "text")]),
                        aggregate("max(bpchar)", vec![c("c")]),
                        aggregate("bool_or(bool)", vec![c("b")]),
                        aggregate("max(interval)", vec![c("iv")]),
                    ],
                    None,
                ),
                "2 9223372036854775804 -12345677.40 16384.000000000000 abc abcd true 1 mon",
            ),
            (
                "filtered",
                group(left(), vec![], vec![filtered(aggregate("sum(int4)", vec![ten()])), filtered(count())], None),
                "20 2",
            ),
            (
                "distinct",
                group(
                    t(0),
                    vec![],
                    vec![
                        distinct(aggregate("count(any)", vec![c("n")])),
                        distinct(aggregate("sum(numeric)", vec![c("n")])),
                    ],
                    None,
                ),
                "1 1.5",
            ),
            ("min of bytea", group(t(0), vec![], vec![aggregate("min(bytea)", vec![c("y")])], None), "?aggregate min"),
            (
                "corr",
                group(t(0), vec![], vec![aggregate("corr(float8 float8)", vec![c("f8"), c("f8")])], None),
                "?aggregate corr",
            ),
            (
                "none needed",
                select(
                    Node::Group {
                        input: boxed(left()),
                        keys: vec![],
                        aggregates: vec![(ColumnId(500), count())],
                        sets: None,
                    },
                    vec![lit("int4 1")],
                ),
                "1",
            ),
        ],
    );
}

#[test]
fn values_are_collected() {
    let text = || new(101, "text");
    let array_agg = |argument: Expr| {
        let array: Kind = argument.kind().oid.array().unwrap().into();
        Aggregate { kind: array, ..aggregate("array_agg(anynonarray)", vec![argument]) }
    };
    let string_agg = |argument: Expr| aggregate("string_agg(text text)", vec![argument, lit("text ,")]);
    let ordered = |call: Aggregate, order: Vec<Order>| Aggregate { order, ..call };
    let distinct = |call: Aggregate| Aggregate { distinct: true, ..call };
    let other = binary(new(100, "int4"), "=", lit("int4 2"));
    let filtered = |call: Aggregate| Aggregate { filter: Some(other.clone()), ..call };
    let backwards = |expr: Expr| vec![by(expr, true, false)];
    check_in(
        "UTC",
        vec![
            (
                "in order",
                group(
                    left(),
                    vec![],
                    vec![
                        ordered(array_agg(new(100, "int4")), backwards(text())),
                        ordered(string_agg(text()), backwards(text())),
                        filtered(array_agg(binary(new(100, "int4"), "+", lit("int4 1")))),
                    ],
                    None,
                ),
                "{NULL,2,2,1} d,c,b,a {3,3}",
            ),
            (
                "different ones",
                group(
                    left(),
                    vec![],
                    vec![
                        distinct(array_agg(new(100, "int4"))),
                        distinct(string_agg(binary(text(), "||", lit("text !")))),
                        ordered(distinct(array_agg(new(100, "int4"))), backwards(new(100, "int4"))),
                    ],
                    None,
                ),
                "{1,2,NULL} a!,b!,c!,d! {2,1,NULL}",
            ),
            (
                "of types that are held as text",
                group(
                    t(0),
                    vec![],
                    vec![array_agg(c("v")), array_agg(c("c")), array_agg(c("u")), array_agg(c("j")), array_agg(c("n"))],
                    None,
                ),
                "{abc,b,NULL} {\"ab  \",abcd,NULL} {a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,NULL,NULL} \
                 {\"{\\\"a\\\": 1.0}\",\"{\\\"a\\\": 1}\",NULL} {1.50,1.5,NULL}",
            ),
            (
                "of bytes",
                group(t(0), vec![], vec![aggregate("string_agg(bytea bytea)", vec![c("y"), lit("bytea \\x00")])], None),
                "\\x01ff00",
            ),
            (
                "of nothing",
                group(filter(t(0), lit("bool f")), vec![], vec![array_agg(c("v")), string_agg(c("s"))], None),
                "∅ ∅",
            ),
            (
                "different numerics",
                group(t(0), vec![], vec![distinct(array_agg(c("n")))], None),
                "?aggregate array_agg",
            ),
            (
                "in the order of a subquery",
                group(sort(left(), backwards(text())), vec![], vec![array_agg(text())], None),
                "?an aggregate of rows in the order of a subquery",
            ),
        ],
    );
}

#[test]
fn there_may_be_several_sets_of_keys() {
    let keys = || vec![new(100, "int4"), new(101, "text")];
    let count = || aggregate("count()", vec![]);
    let sum = || aggregate("sum(int4)", vec![new(100, "int4")]);
    let nothing = || filter(left(), lit("bool f"));
    check_in(
        "UTC",
        vec![
            (
                "sets",
                group(left(), keys(), vec![count(), sum()], Some(vec![vec![0], vec![1], vec![]])),
                "1 ∅ 1 1|2 ∅ 2 4|∅ a 1 1|∅ b 1 2|∅ c 1 2|∅ d 1 ∅|∅ ∅ 1 ∅|∅ ∅ 4 5",
            ),
            ("one", group(left(), vec![new(100, "int4")], vec![count()], Some(vec![vec![0]])), "1 1|2 2|∅ 1"),
            ("none", group(nothing(), vec![], vec![count()], Some(vec![vec![]])), "0"),
            (
                "empty ones",
                group(left(), vec![], vec![count()], Some(vec![vec![], vec![]])),
                "?GROUPING SETS without a key",
            ),
            (
                "rows of nothing",
                group(nothing(), vec![new(100, "int4")], vec![count()], Some(vec![vec![0], vec![]])),
                "∅ 0",
            ),
            (
                "twice",
                group(left(), vec![new(100, "int4")], vec![count()], Some(vec![vec![0], vec![0]])),
                "1 1|1 1|2 2|2 2|∅ 1|∅ 1",
            ),
            (
                "of numerics",
                group(t(0), vec![c("n"), c("i2")], vec![count()], Some(vec![vec![0], vec![1]])),
                "?GROUPING SETS of type numeric",
            ),
        ],
    );
}

#[test]
fn equal_rows_are_told_apart() {
    let distinct = |input: Node, columns: &[Expr]| Node::Distinct {
        input: boxed(input),
        columns: columns.iter().map(|column| (id(column), column.kind())).collect(),
    };
    let sorted = |input: Node, columns: Vec<Expr>| {
        let order = columns.iter().map(|column| by(column.clone(), false, false)).collect();
        select(sort(input, order), columns)
    };
    let first = |on: Vec<Expr>, order: Vec<Order>| {
        let rows = Node::DistinctOn { input: boxed(left()), on, order };
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
        left: (boxed(t(0)), vec![id(&c("d"))]),
        right: (boxed(t(50)), vec![id(&of(50, "n"))]),
        columns: vec![(ColumnId(300), kind("numeric"))],
    };
    let types = Node::Combine {
        set: Set::Union,
        all: false,
        left: (boxed(t(0)), ["s", "u", "j", "c"].iter().map(|name| id(&c(name))).collect()),
        right: (boxed(t(50)), ["v", "u", "j", "c"].iter().map(|name| id(&of(50, name))).collect()),
        columns: ["text", "uuid", "jsonb", "bpchar"]
            .iter()
            .enumerate()
            .map(|(at, name)| (ColumnId(300 + at as u32), kind(name)))
            .collect(),
    };
    let count = |node: Node| group(node, vec![], vec![aggregate("count()", vec![])], None);
    check_in(
        "UTC",
        vec![
            ("UNION ALL", shown(combined(Set::Union, true, left(), other())), "1 a|2 b|2 b|2 b|2 c|3 y|∅ d|∅ d"),
            ("UNION", shown(combined(Set::Union, false, left(), other())), "1 a|2 b|2 c|3 y|∅ d"),
            ("INTERSECT", shown(combined(Set::Intersect, false, left(), other())), "2 b|∅ d"),
            ("EXCEPT", shown(combined(Set::Except, false, left(), other())), "1 a|2 c"),
            ("EXCEPT ALL", shown(combined(Set::Except, true, left(), other())), "?EXCEPT ALL"),
            ("INTERSECT ALL", shown(combined(Set::Intersect, true, left(), other())), "?INTERSECT ALL"),
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
