//! Groups and what is computed of them.

use super::*;

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
    let (keys, aggregates) = (vec![(ColumnId(400), c("j"))], vec![(ColumnId(401), count())]);
    let by_jsonb = Node::Group { input: Box::new(t(0)), keys, aggregates, sets: None };
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
                select(sort(by_jsonb, vec![by(new(401, "int8"), true, false)]), vec![new(401, "int8")]),
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
                        input: Box::new(left()),
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
