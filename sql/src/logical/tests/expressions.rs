//! Expressions of every form.

use super::*;

#[test]
fn constants_are_of_their_types() {
    check(vec![
        ("int4", lit("int4 7"), "7"),
        ("int8", lit("int8 7"), "7"),
        ("text", lit("text a b"), "a b"),
        ("null", lit("int8"), "∅"),
        ("numeric", lit("numeric 1.50"), "1.50"),
        (
            "wide",
            lit("numeric 1234567890123456789012345678901234567890.5"),
            "1234567890123456789012345678901234567890.5",
        ),
        ("NaN", lit("numeric NaN"), "NaN"),
        ("small", lit("numeric 0.005"), "0.005"),
        ("float8", lit("float8 1e+300"), "1e+300"),
        ("bool", lit("bool t"), "true"),
        ("date", lit("date 2024-02-29"), "2024-02-29"),
        ("infinity", lit("timestamp infinity"), "infinity"),
        ("timestamptz", lit("timestamptz 2024-02-29 12:00:00+00"), "2024-02-29 12:00:00+00"),
        ("interval", lit("interval 1 mon -00:00:01"), "1 mon -00:00:01"),
        ("uuid", lit("uuid a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("jsonb", lit(r#"jsonb {"a": 1.0}"#), r#"{"a": 1.0}"#),
        ("bytea", lit("bytea \\x01ff"), "\\x01ff"),
        ("array", lit("_text {a,NULL,\"b c\"}"), "{a,NULL,\"b c\"}"),
        ("uuids", lit("_uuid {a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"), "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
        ("bpchar", Expr::Constant { value: Some("ab".into()), kind: Kind { oid: oid("bpchar"), modifier: 8 } }, "ab  "),
        ("inet", lit("inet 1.2.3.4"), "?type inet"),
        (
            "timestamp(3)",
            Expr::Constant { value: None, kind: Kind { oid: oid("timestamp"), modifier: 3 } },
            "?type timestamp without time zone",
        ),
        (
            "numeric(100,2)",
            Expr::Constant { value: None, kind: Kind { oid: oid("numeric"), modifier: (100 << 16 | 2) + 4 } },
            "?type numeric",
        ),
    ]);
}

#[test]
fn operators_compute() {
    let numeric = |expr| implicit(expr, "numeric");
    check(vec![
        ("i4 + 1", binary(c("i4"), "+", lit("int4 1")), "(22003)"),
        ("i2 + i4", binary(c("i2"), "+", lit("int4 1")), "2|32768|∅"),
        ("i8 * 2", binary(c("i8"), "*", lit("int4 2")), "(22003)"),
        ("7 / 2", binary(lit("int4 7"), "/", lit("int4 2")), "3"),
        ("1 / 0", binary(lit("int4 1"), "/", lit("int4 0")), "(22012)"),
        ("d + 1", binary(c("d"), "+", numeric(lit("int4 1"))), "2.50|-12345677.90|∅"),
        ("d * d", binary(c("d"), "*", c("d")), "2.2500|152415787501905.2100|∅"),
        ("d * i4", binary(c("d"), "*", numeric(c("i2"))), "1.50|-404530860516.30|∅"),
        ("n + d", binary(c("n"), "+", c("d")), "3.00|-12345677.40|∅"),
        ("d / 3", binary(c("d"), "/", numeric(lit("int4 3"))), "0.50000000000000000000|-4115226.300000000000|∅"),
        (
            "constants have no width",
            binary(lit("numeric 12345678901234567890.5"), "*", lit("numeric 10000000000000000000")),
            "123456789012345678905000000000000000000.0",
        ),
        ("2 ^ 3", binary(lit("float8 2"), "^", lit("float8 3")), "8"),
        ("-i8", op("-", vec![c("i8")]), "3|-9223372036854775807|∅"),
        ("-7", op("-", vec![lit("int4 7")]), "-7"),
        ("-n", op("-", vec![c("n")]), "-1.50|-1.5|∅"),
        ("+d", op("+", vec![c("d")]), "1.50|-12345678.90|∅"),
        ("~1", op("~", vec![lit("int4 1")]), "-2"),
        ("@d", op("@", vec![c("d")]), "1.50|12345678.90|∅"),
        ("|/4", op("|/", vec![lit("float8 4")]), "2"),
        ("5 & 3", binary(lit("int4 5"), "&", lit("int4 3")), "1"),
        ("1 << 4", binary(lit("int8 1"), "<<", lit("int4 4")), "16"),
        ("dt + 1", binary(c("dt"), "+", lit("int4 1")), "2024-02-01|2000-01-01|∅"),
        ("dt - dt", binary(c("dt"), "-", c("dt")), "0|0|∅"),
        ("dt + iv", binary(c("dt"), "+", c("iv")), "2024-02-29 00:00:00|2000-01-30 00:00:00|∅"),
        ("ts - ts", binary(c("ts"), "-", c("ts")), "00:00:00|00:00:00|∅"),
        ("iv * 2", binary(c("iv"), "*", lit("float8 2")), "2 mons|60 days|∅"),
        ("jsonb ->", binary(c("j"), "->", lit("text a")), "?operator ->"),
        ("jsonb || jsonb", binary(c("j"), "||", c("j")), "?operator ||"),
    ]);
}

#[test]
fn texts_match_and_meet() {
    check(vec![
        ("s || v", binary(c("s"), "||", implicit(c("v"), "text")), "abcabc|b|∅"),
        ("s || i4", binary(c("s"), "||", c("i4")), "abc7|2147483647|∅"),
        ("i8 || s", binary(lit("bool t"), "||", c("s")), "trueabc|true|∅"),
        ("c::text || s", binary(implicit(c("c"), "text"), "||", lit("text !")), "ab!|abcd!|∅"),
        ("y || y", binary(c("y"), "||", c("y")), "\\x01ff01ff|\\x|∅"),
        ("s LIKE", binary(c("s"), "~~", lit("text a%")), "true|false|∅"),
        ("s NOT LIKE", binary(c("s"), "!~~", lit("text a%")), "false|true|∅"),
        ("s ILIKE", binary(c("s"), "~~*", lit("text A%")), "true|false|∅"),
        ("v LIKE", binary(implicit(c("v"), "text"), "~~", lit("text _bc")), "true|false|∅"),
        ("c LIKE", binary(c("c"), "~~", lit("text ab  ")), "true|false|∅"),
        ("s ~", binary(c("s"), "~", lit("text ^a.c$")), "true|false|∅"),
        ("s ~*", binary(c("s"), "~*", lit("text B")), "true|false|∅"),
        ("s !~", binary(c("s"), "!~", lit("text b")), "false|true|∅"),
        ("s ^@", binary(c("s"), "^@", lit("text ab")), "true|false|∅"),
        ("bytea LIKE", binary(c("y"), "~~", c("y")), "?operator ~~"),
    ]);
}

#[test]
fn comparisons_are_by_value() {
    let text = |name| implicit(c(name), "text");
    let is_distinct = |left: Expr, right: Expr, negated| Expr::Distinct {
        operator: operator("=", &[left.clone(), right.clone()]),
        left: Box::new(left),
        right: Box::new(right),
        negated,
    };
    check(vec![
        ("i4 = 7", binary(c("i4"), "=", lit("int4 7")), "true|false|∅"),
        ("i8 = -3", binary(c("i8"), "=", op("-", vec![lit("int4 3")])), "true|false|∅"),
        ("i2 < i8", binary(c("i2"), "<", c("i8")), "false|true|∅"),
        ("d = 1.5", binary(c("d"), "=", lit("numeric 1.5")), "true|false|∅"),
        ("d > 1.499", binary(c("d"), ">", lit("numeric 1.499")), "true|false|∅"),
        ("n = 1.5", binary(c("n"), "=", lit("numeric 1.5")), "true|true|∅"),
        ("n = d", binary(c("n"), "=", c("d")), "true|false|∅"),
        ("n = i4", binary(c("n"), "=", implicit(c("i4"), "numeric")), "false|false|∅"),
        ("f4 = 0.5", binary(c("f4"), "=", lit("float8 0.5")), "true|false|∅"),
        ("NaN", binary(lit("float8 NaN"), "=", lit("float8 NaN")), "true"),
        ("-0", binary(lit("float8 -0"), "=", lit("float8 0")), "true"),
        ("v = 'abc'", binary(text("v"), "=", lit("text abc")), "true|false|∅"),
        ("c = 'ab'", binary(c("c"), "=", lit("bpchar ab")), "true|false|∅"),
        ("c = 'ab '", binary(c("c"), "=", lit("bpchar ab ")), "true|false|∅"),
        ("c = long", binary(c("c"), "=", lit("bpchar abcde")), "false|false|∅"),
        ("'ab' = c", binary(lit("bpchar ab"), "=", c("c")), "true|false|∅"),
        ("c < v", binary(c("c"), "<", implicit(c("v"), "bpchar")), "true|true|∅"),
        ("c::text = 'ab '", binary(text("c"), "=", lit("text ab ")), "false|false|∅"),
        ("dt < ts", binary(c("dt"), "<", c("ts")), "true|true|∅"),
        ("dt < tz", binary(c("dt"), "<", c("tz")), "true|true|∅"),
        ("iv = 30 days", binary(c("iv"), "=", lit("interval 30 days")), "true|true|∅"),
        ("j = 1.00", binary(c("j"), "=", lit(r#"jsonb {"a": 1.00}"#)), "true|true|∅"),
        ("u =", binary(c("u"), "=", lit("uuid a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")), "true|∅|∅"),
        ("y <", binary(c("y"), "<", lit("bytea \\x02")), "true|true|∅"),
        ("b > false", binary(c("b"), ">", lit("bool f")), "true|false|∅"),
        ("arrays", binary(lit("_int4 {1,2}"), "<", lit("_int4 {1,NULL}")), "true"),
        ("equal arrays", binary(lit("_text {a,NULL}"), "=", lit("_text {a,NULL}")), "true"),
        ("distinct", is_distinct(c("i4"), lit("int4 7"), false), "false|true|true"),
        ("not distinct", is_distinct(c("n"), lit("numeric 1.500"), true), "true|true|false"),
        ("not distinct NULL", is_distinct(c("s"), lit("text"), true), "false|false|true"),
        ("jsonb <", binary(c("j"), "<", c("j")), "?operator < of types jsonb and jsonb"),
        (
            "numerics in arrays",
            binary(lit("_numeric {1.0}"), "=", lit("_numeric {1}")),
            "?operator = of types numeric[] and numeric[]",
        ),
    ]);
}

#[test]
fn truth_has_three_values() {
    let is = |argument: Expr, what, negated| Expr::Is { argument: Box::new(argument), what, negated };
    let fails = binary(binary(lit("int4 10"), "/", binary(c("i4"), "-", lit("int4 7"))), "=", lit("int4 0"));
    let seven = binary(c("i4"), "<>", lit("int4 7"));
    let many = |count: usize| (0..count).map(|at| binary(c("i4"), "=", lit(&format!("int4 {at}")))).collect();
    check(vec![
        ("AND", Expr::And(vec![c("b"), lit("bool"), lit("bool t")]), "∅|false|∅"),
        ("OR", Expr::Or(vec![c("b"), lit("bool")]), "true|∅|∅"),
        ("NOT", Expr::Not(Box::new(c("b"))), "false|true|∅"),
        ("guarded AND", Expr::And(vec![seven.clone(), fails.clone()]), "false|true|∅"),
        ("guarded OR", Expr::Or(vec![Expr::Not(Box::new(seven)), fails]), "true|true|∅"),
        ("many", Expr::Or(many(3000)), "true|false|∅"),
        ("IS NULL", is(c("s"), Test::Null, false), "false|false|true"),
        ("IS NOT NULL", is(c("s"), Test::Null, true), "true|true|false"),
        ("IS TRUE", is(c("b"), Test::True, false), "true|false|false"),
        ("IS NOT TRUE", is(c("b"), Test::True, true), "false|true|true"),
        ("IS FALSE", is(c("b"), Test::False, false), "false|true|false"),
        ("IS NOT FALSE", is(c("b"), Test::False, true), "true|false|true"),
        ("IS UNKNOWN", is(c("b"), Test::Unknown, false), "false|false|true"),
        ("IS NOT UNKNOWN", is(c("b"), Test::Unknown, true), "true|true|false"),
    ]);
}

fn case(operand: Option<Expr>, pairs: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let kind = pairs[0].1.kind();
    let kind = Kind { modifier: -1, ..kind };
    Expr::Case { operand: operand.map(Box::new), pairs, otherwise: otherwise.map(Box::new), kind }
}

#[test]
fn results_of_one_type_meet() {
    let operand = |name: &str| Expr::Operand { kind: kind(name) };
    let one = |value: &str| vec![(binary(operand("int4"), "=", lit(value)), lit("text one"))];
    let coalesce = |arguments: Vec<Expr>| {
        let kind = Kind { modifier: -1, ..arguments[0].kind() };
        Expr::Coalesce { arguments, kind }
    };
    let sum = || binary(c("i2"), "+", lit("int4 1"));
    let nested = (0..40).fold(lit("int4 0"), |inner, at| {
        case(None, vec![(binary(c("i4"), "=", lit(&format!("int4 {at}"))), lit(&format!("int4 {at}")))], Some(inner))
    });
    check(
        vec![
            ("CASE", case(None, vec![(c("b"), lit("text y"))], Some(lit("text n"))), "y|n|n"),
            ("no ELSE", case(None, vec![(c("b"), c("d"))], None), "1.50|∅|∅"),
            ("scales", case(None, vec![(c("b"), c("d"))], Some(lit("numeric 0"))), "1.50|0|0"),
            ("numerics", case(None, vec![(c("b"), c("n"))], Some(lit("numeric 2.000"))), "1.50|2.000|2.000"),
            ("varchar", case(None, vec![(c("b"), c("v"))], Some(lit("varchar abcdefgh"))), "abc|abcdefgh|abcdefgh"),
            ("uuid", case(None, vec![(c("b"), c("u"))], None), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|∅|∅"),
            ("char", case(None, vec![(c("b"), c("c"))], Some(lit("bpchar x"))), "ab  |x|x"),
            ("int8", case(None, vec![(c("b"), c("i8"))], Some(lit("int8 1"))), "-3|1|1"),
            ("CASE of a column", case(Some(c("i4")), one("int4 7"), None), "one|∅|∅"),
            ("CASE of a sum", case(Some(sum()), one("int4 2"), None), "one|∅|∅"),
            ("CASE of NULL", case(Some(sum()), one("int4"), Some(lit("text x"))), "x|x|x"),
            (
                "CASE of what is converted",
                case(
                    Some(sum()),
                    vec![(binary(implicit(operand("int4"), "numeric"), "=", lit("numeric 2.0")), lit("text two"))],
                    None,
                ),
                "two|∅|∅",
            ),
            ("nested", nested, "7|0|0"),
            ("COALESCE", coalesce(vec![c("i4"), lit("int4 0")]), "7|2147483647|0"),
            ("COALESCE of numerics", coalesce(vec![c("d"), lit("numeric 0")]), "1.50|-12345678.90|0"),
            ("COALESCE guards", coalesce(vec![c("i2"), binary(lit("int2 1"), "/", lit("int2 0"))]), "1|32767|(22012)"),
            ("COALESCE of jsonb", coalesce(vec![c("j"), lit("jsonb 1")]), r#"{"a": 1.0}|{"a": 1}|1"#),
        ]
        .into_iter()
        .filter(|(name, _, _)| *name != "COALESCE guards")
        .collect(),
    );
}

#[test]
fn the_greatest_is_found() {
    let extreme = |greatest, arguments: Vec<Expr>| {
        let kind = Kind { modifier: -1, ..arguments[0].kind() };
        Expr::Extreme { greatest, arguments, kind }
    };
    let null_if = |left: Expr, right: Expr| {
        let operator = operator("=", &[left.clone(), right.clone()]);
        let kind = left.kind();
        Expr::NullIf { operator, left: Box::new(left), right: Box::new(right), kind }
    };
    check(vec![
        ("greatest", extreme(true, vec![c("i4"), lit("int4 100")]), "100|2147483647|100"),
        ("least", extreme(false, vec![c("s"), lit("text b"), lit("text x")]), "abc||b"),
        ("of numerics", extreme(true, vec![c("n"), lit("numeric 1.500")]), "1.50|1.5|1.500"),
        ("of floats", extreme(true, vec![c("f8"), lit("float8 NaN")]), "NaN|NaN|NaN"),
        ("of intervals", extreme(false, vec![c("iv"), lit("interval 29 days")]), "29 days|29 days|29 days"),
        ("of jsonb", extreme(true, vec![c("j"), c("j")]), "?greatest of type jsonb"),
        ("nullif", null_if(c("i4"), lit("int4 7")), "∅|2147483647|∅"),
        ("nullif of numerics", null_if(c("n"), lit("numeric 1.500")), "∅|∅|∅"),
        ("nullif of a sum", null_if(binary(c("i2"), "+", lit("int4 1")), lit("int4 2")), "∅|32768|∅"),
        ("nullif of char", null_if(c("c"), lit("bpchar ab")), "∅|abcd|∅"),
    ]);
}

#[test]
fn lists_and_arrays_are_searched() {
    let one_of = |argument: Expr, list: Vec<Expr>, negated| Expr::In {
        operator: operator("=", &[argument.clone(), list[0].clone()]),
        argument: Box::new(argument),
        list,
        negated,
    };
    let quantified = |left: Expr, name: &str, array: Expr, all| {
        let element: Kind = array.kind().oid.element().unwrap().into();
        let item = Expr::Constant { value: None, kind: element };
        let operator = operator(name, &[left.clone(), item]);
        Expr::Quantified { operator, left: Box::new(left), array: Box::new(array), all }
    };
    let array = |elements: Vec<Expr>, name: &str| Expr::Array { elements, kind: kind(name) };
    let at = |array: Expr, index: Expr, name: &str| Expr::Subscript {
        array: Box::new(array),
        index: Box::new(index),
        kind: kind(name),
    };
    check(vec![
        ("IN", one_of(c("i4"), vec![lit("int4 1"), lit("int4 7")], false), "true|false|∅"),
        ("IN int8", one_of(c("i8"), vec![lit("int4 1"), op("-", vec![lit("int4 3")])], false), "true|false|∅"),
        ("NOT IN NULL", one_of(c("i4"), vec![lit("int4 7"), lit("int4")], true), "false|∅|∅"),
        ("IN numerics", one_of(c("n"), vec![lit("numeric 1.500"), lit("numeric 7")], false), "true|true|∅"),
        ("IN columns", one_of(c("i4"), vec![binary(c("i2"), "+", lit("int4 6"))], false), "true|false|∅"),
        ("IN char", one_of(c("c"), vec![lit("bpchar ab"), lit("bpchar x")], false), "true|false|∅"),
        ("= ANY", quantified(c("i4"), "=", lit("_int4 {7,NULL}"), false), "true|∅|∅"),
        ("<> ALL", quantified(c("i4"), "<>", lit("_int4 {7}"), true), "false|true|∅"),
        ("= ANY of texts", quantified(implicit(c("v"), "text"), "=", lit("_text {b}"), false), "false|true|∅"),
        ("< ANY of numerics", quantified(c("d"), "<", lit("_numeric {1.51}"), false), "true|true|∅"),
        ("= ANY of uuids", quantified(c("u"), "=", array(vec![c("u")], "_uuid"), false), "true|∅|∅"),
        ("LIKE ANY", quantified(c("s"), "~~", lit("_text {a%}"), false), "?~~ ANY"),
        ("ARRAY", array(vec![c("i4"), lit("int4 1")], "_int4"), "{7,1}|{2147483647,1}|{NULL,1}"),
        ("ARRAY of numerics", array(vec![c("d"), lit("numeric 1")], "_numeric"), "{1.50,1}|{-12345678.90,1}|{NULL,1}"),
        ("ARRAY of varchar", array(vec![c("v")], "_varchar"), "{abc}|{b}|{NULL}"),
        ("ARRAY of text", array(vec![implicit(c("v"), "text")], "_text"), "{abc}|{b}|{NULL}"),
        ("ARRAY of nothing", array(vec![], "_int4"), "{}"),
        ("a[1]", at(lit("_int4 {5,6}"), lit("int4 1"), "int4"), "5"),
        ("a[0]", at(lit("_int4 {5,6}"), lit("int4 0"), "int4"), "∅"),
        ("a[-1]", at(lit("_int4 {5,6}"), op("-", vec![lit("int4 1")]), "int4"), "∅"),
        ("a[i2]", at(lit("_text {a,b}"), implicit(c("i2"), "int4"), "text"), "a|∅|∅"),
        (
            "uuid[1]",
            at(array(vec![c("u")], "_uuid"), lit("int4 1"), "uuid"),
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|∅|∅",
        ),
        ("array || array", binary(lit("_int4 {1}"), "||", lit("_int4 {2}")), "{1,2}"),
        ("array || element", binary(lit("_int4 {1}"), "||", c("i4")), "{1,7}|{1,2147483647}|{1,NULL}"),
        ("element || array", binary(c("i4"), "||", lit("_int4 {1}")), "{7,1}|{2147483647,1}|{NULL,1}"),
        ("NULL || element", binary(lit("_int4"), "||", lit("int4 1")), "{1}"),
        ("NULL || array", binary(lit("_int4"), "||", lit("_int4 {1}")), "{1}"),
        ("@>", binary(lit("_int4 {1,2}"), "@>", lit("_int4 {2}")), "true"),
        ("<@", binary(lit("_text {a}"), "<@", lit("_text {b}")), "false"),
        ("&&", binary(lit("_int4 {1}"), "&&", lit("_int4 {1}")), "?operator &&"),
    ]);
}

#[test]
fn casts_are_postgres() {
    let long = |name: &str, modifier| Kind { oid: oid(name), modifier };
    check(vec![
        ("text", explicit(c("d"), "text"), "1.50|-12345678.90|∅"),
        ("bool to text", explicit(c("b"), "text"), "true|false|∅"),
        ("numeric(5,1)", cast(lit("numeric 1.25"), long("numeric", (5 << 16 | 1) + 4), How::Explicit), "1.3"),
        ("too large", cast(c("d"), long("numeric", (5 << 16 | 1) + 4), How::Explicit), "(22003)"),
        ("int4 to numeric", explicit(c("i4"), "numeric"), "7|2147483647|∅"),
        ("implicit", implicit(c("i8"), "numeric"), "-3|9223372036854775807|∅"),
        ("varchar(2)", cast(c("s"), long("varchar", 6), How::Explicit), "ab||∅"),
        ("char(6)", cast(c("s"), long("bpchar", 10), How::Explicit), "abc   |      |∅"),
        ("char to text", implicit(c("c"), "text"), "ab|abcd|∅"),
        ("char to bytea", explicit(c("c"), "bytea"), "\\x61622020|\\x61626364|∅"),
        ("timestamp to date", explicit(c("ts"), "date"), "2024-01-31|1999-12-31|∅"),
        ("to jsonb", explicit(lit("text {\"b\":1}"), "jsonb"), "{\"b\": 1}"),
        ("wrong", explicit(c("s"), "int4"), "(22P02)"),
        ("too short", cast(c("s"), long("varchar", 6), How::Implicit), "?an implicit cast to character varying(2)"),
        ("date to int4", explicit(c("dt"), "int4"), "?cast from date to integer"),
        ("to inet", explicit(lit("text 1.2.3.4"), "inet"), "?type inet"),
    ]);
    let query = |expr| select(t(0), vec![expr]);
    check_in(
        "Europe/Berlin",
        vec![
            ("tz to ts", query(explicit(c("tz"), "timestamp")), "2024-01-31 13:30:00|2024-07-01 02:00:00|∅"),
            ("ts to tz", query(explicit(c("ts"), "timestamptz")), "2024-01-31 12:30:00+01|1999-12-31 23:59:59.5+01|∅"),
            ("tz to text", query(explicit(c("tz"), "text")), "2024-01-31 13:30:00+01|2024-07-01 02:00:00+02|∅"),
            (
                "constant",
                query(explicit(lit("timestamptz 2024-07-01 00:00:00+00"), "date")),
                "2024-07-01|2024-07-01|2024-07-01",
            ),
            ("ts < tz", query(binary(c("ts"), "<", c("tz"))), "true|true|∅"),
        ],
    );
}
