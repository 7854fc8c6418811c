//! Functions, as far as there is code for them.

use super::*;

#[test]
fn functions_are_ours_or_compared() {
    let s = || c("s");
    check(vec![
        ("upper", call("upper(text)", vec![s()]), "ABC||∅"),
        ("length", call("length(text)", vec![s()]), "3|0|∅"),
        ("length of char", call("length(bpchar)", vec![c("c")]), "2|4|∅"),
        ("octet_length of char", call("octet_length(bpchar)", vec![c("c")]), "4|4|∅"),
        ("length of bytes", call("length(bytea)", vec![c("y")]), "2|0|∅"),
        ("char_length", call("char_length(text)", vec![s()]), "3|0|∅"),
        ("left", call("left(text int4)", vec![s(), lit("int4 2")]), "ab||∅"),
        ("right", call("right(text int4)", vec![s(), lit("int4 -1")]), "bc||∅"),
        ("substr", call("substr(text int4 int4)", vec![s(), lit("int4 2"), lit("int4 1")]), "b||∅"),
        ("substring of bytes", call("substring(bytea int4)", vec![c("y"), lit("int4 2")]), "\\xff|\\x|∅"),
        ("position", call("position(text text)", vec![s(), lit("text c")]), "3|0|∅"),
        ("strpos", call("strpos(text text)", vec![s(), lit("text b")]), "2|0|∅"),
        ("btrim", call("btrim(text text)", vec![s(), lit("text ac")]), "b||∅"),
        ("ltrim", call("ltrim(text)", vec![lit("text  x ")]), "x "),
        ("rtrim", call("rtrim(bytea bytea)", vec![c("y"), lit("bytea \\xff")]), "\\x01|\\x|∅"),
        ("split_part", call("split_part(text text int4)", vec![s(), lit("text b"), lit("int4 2")]), "c||∅"),
        ("starts_with", call("starts_with(text text)", vec![s(), lit("text a")]), "true|false|∅"),
        ("reverse", call("reverse(text)", vec![s()]), "cba||∅"),
        ("translate", call("translate(text text text)", vec![s(), lit("text ab"), lit("text xy")]), "xyc||∅"),
        ("replace", call("replace(text text text)", vec![s(), lit("text b"), lit("text -")]), "a-c||∅"),
        ("repeat", call("repeat(text int4)", vec![s(), lit("int4 2")]), "abcabc||∅"),
        ("lpad", call("lpad(text int4)", vec![s(), lit("int4 4")]), " abc|    |∅"),
        ("md5", call("md5(text)", vec![lit("text ")]), "d41d8cd98f00b204e9800998ecf8427e"),
        ("ascii", call("ascii(text)", vec![s()]), "97|0|∅"),
        ("chr", call("chr(int4)", vec![lit("int4 65")]), "A"),
        ("bit_length", call("bit_length(text)", vec![s()]), "24|0|∅"),
        ("regexp_like", call("regexp_like(text text)", vec![s(), lit("text b")]), "true|false|∅"),
        ("regexp_replace", call("regexp_replace(text text text)", vec![s(), lit("text b"), lit("text x")]), "axc||∅"),
        (
            "concat",
            call("concat(any)", vec![s(), c("i4"), c("c"), c("b"), lit("unknown !")]),
            "abc7ab  t!|2147483647abcdf!|!",
        ),
        ("concat_ws", call("concat_ws(text any)", vec![lit("text -"), s(), c("d")]), "abc-1.50|--12345678.90|"),
        ("format", call("format(text any)", vec![lit("text %s/%s"), c("i4"), c("c")]), "7/ab  |2147483647/abcd|/"),
        ("concat of an array", call("concat(any)", vec![lit("_int4 {1}")]), "?function concat"),
        ("to_hex", call("to_hex(int4)", vec![lit("int4 255")]), "ff"),
        ("abs", call("abs(int8)", vec![c("i8")]), "3|9223372036854775807|∅"),
        ("round", call("round(numeric int4)", vec![c("d"), lit("int4 1")]), "1.5|-12345678.9|∅"),
        ("floor", call("floor(float8)", vec![c("f8")]), "2|1e+308|∅"),
        ("mod", call("mod(int4 int4)", vec![c("i4"), lit("int4 4")]), "3|3|∅"),
        ("power", call("power(float8 float8)", vec![lit("float8 2"), lit("float8 10")]), "1024"),
        ("pi", call("pi()", vec![]), "3.141592653589793"),
        (
            "date_trunc",
            call("date_trunc(text timestamp)", vec![lit("text month"), c("ts")]),
            "2024-01-01 00:00:00|1999-12-01 00:00:00|∅",
        ),
        ("extract", call("extract(text date)", vec![lit("text year"), c("dt")]), "2024|1999|∅"),
        ("date_part", call("date_part(text timestamptz)", vec![lit("text hour"), c("tz")]), "12|0|∅"),
        ("to_char", call("to_char(timestamp text)", vec![c("ts"), lit("text YYYY-MM")]), "2024-01|1999-12|∅"),
        (
            "make_date",
            call("make_date(int4 int4 int4)", vec![lit("int4 2024"), lit("int4 2"), lit("int4 29")]),
            "2024-02-29",
        ),
        (
            "timezone",
            call("timezone(text timestamptz)", vec![lit("text UTC"), c("tz")]),
            "2024-01-31 12:30:00|2024-07-01 00:00:00|∅",
        ),
        ("date", call("date(timestamp)", vec![c("ts")]), "2024-01-31|1999-12-31|∅"),
        ("cardinality", call("cardinality(anyarray)", vec![lit("_int4 {1,2}")]), "2"),
        ("array_length", call("array_length(anyarray int4)", vec![lit("_int4 {1,2}"), lit("int4 1")]), "2"),
        ("array_to_string", call("array_to_string(anyarray text)", vec![lit("_int4 {1,2}"), lit("text ,")]), "1,2"),
        ("quote_literal", call("quote_literal(text)", vec![lit("text it's")]), "'it''s'"),
        (
            "like_escape",
            binary(s(), "~~", call("like_escape(text text)", vec![lit("text a!_c"), lit("text !")])),
            "false|false|∅",
        ),
        ("lower of a range", call("substring(text text)", vec![s(), lit("text b")]), "?function substring"),
        ("to_char of a number", call("to_char(numeric text)", vec![c("d"), lit("text 9")]), "?function to_char"),
        ("to_json", call("to_json(anyelement)", vec![s()]), "?function to_json"),
    ]);
    let remove = Expr::Call {
        function: function("array_remove(anycompatiblearray anycompatible)"),
        arguments: vec![lit("_int4 {1,2,1}"), lit("int4 1")],
        kind: kind("_int4"),
    };
    let random = call("gen_random_uuid()", vec![]);
    check(vec![("array_remove", remove, "{2}"), ("gen_random_uuid", binary(random.clone(), "=", random), "false")]);
    let query = |expr| select(t(0), vec![expr]);
    check_in(
        "Europe/Berlin",
        vec![
            ("hour", query(call("date_part(text timestamptz)", vec![lit("text hour"), c("tz")])), "13|2|∅"),
            (
                "day",
                query(call("date_trunc(text timestamptz)", vec![lit("text day"), c("tz")])),
                "2024-01-31 00:00:00+01|2024-07-01 00:00:00+02|∅",
            ),
        ],
    );
}
