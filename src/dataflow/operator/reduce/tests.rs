//! Groups and their aggregates, as scripts: changes in, changes out.

use crate::dataflow::operator::tests::{aggregate, check, reduce};
use weir_sql::aggregate::{AVG, BOOL_AND, BOOL_OR, COUNT, MAX, MIN, SUM};

#[test]
fn groups_come_change_and_go() {
    let node = reduce(
        "g text, n int4",
        &[0],
        vec![
            aggregate(COUNT, None, "count int8"),
            aggregate(COUNT, Some(1), "n int8"),
            aggregate(SUM, Some(1), "sum int8"),
        ],
    );
    check(
        &node,
        "+ a 1; + a 2; + b null  => + a 2 2 3; + b 1 0 null
         - a 1; +3 b 5           => - a 2 2 3; + a 1 1 2; - b 1 0 null; + b 4 3 15
         - a 2; + null 7         => - a 1 1 2; + null 1 1 7
         -3 b 5; - b null        => - b 4 3 15",
    );
}

#[test]
fn without_group_columns_there_is_always_one_row() {
    let node = reduce("n int4", &[], vec![aggregate(COUNT, None, "count int8"), aggregate(MAX, Some(0), "max int4")]);
    check(
        &node,
        "        => + 0 null
         + 3     => - 0 null; + 1 3
         - 3     => - 1 3; + 0 null",
    );
}

#[test]
fn a_group_without_aggregates_is_there_while_it_has_rows() {
    check(&reduce("g text, n int4", &[0], vec![]), "+ a 1; + a 2 => + a\n - a 1\n - a 2 => - a");
}

#[test]
fn minimum_and_maximum_step_back_when_their_row_goes() {
    let node = reduce(
        "g int4, v numeric",
        &[0],
        vec![aggregate(MIN, Some(1), "min numeric"), aggregate(MAX, Some(1), "max numeric")],
    );
    check(
        &node,
        "+ 1 5; + 1 -2.50; + 1 null; + 2 null  => + 1 -2.50 5; + 2 null null
         - 1 5; + 1 4                          => - 1 -2.50 5; + 1 -2.50 4
         - 1 -2.50; - 1 4                      => - 1 -2.50 4; + 1 null null
         + 1 NaN; + 1 1                        => - 1 null null; + 1 1 NaN",
    );
}

#[test]
fn sums_are_exact_and_change_type_as_in_postgres() {
    let node = reduce(
        "a int8, b money, c numeric, d huge",
        &[],
        vec![
            aggregate(SUM, Some(0), "a numeric"),
            aggregate(SUM, Some(1), "b numeric"),
            aggregate(SUM, Some(2), "c numeric"),
            aggregate(SUM, Some(3), "d numeric"),
            aggregate(AVG, Some(0), "e numeric"),
        ],
    );
    check(
        &node,
        "+2 9223372036854775807 0.10 1e-20 99 => + 18446744073709551614 0.20 2e-20 198.00 9223372036854775807
         -2 9223372036854775807 0.10 1e-20 99; + 1 1.25 NaN 1; + 2 1 0.5 1 \
            => - 18446744073709551614 0.20 2e-20 198.00 9223372036854775807; + 3 2.25 NaN 2.00 1.5000000000000000
         - 1 1.25 NaN 1 => - 3 2.25 NaN 2.00 1.5000000000000000; + 2 1.00 0.5 1.00 2.0000000000000000",
    );
}

#[test]
fn float_sums_do_not_drift() {
    let node = reduce(
        "n float8, m float4",
        &[],
        vec![
            aggregate(SUM, Some(0), "n float8"),
            aggregate(SUM, Some(1), "m float4"),
            aggregate(AVG, Some(0), "a float8"),
        ],
    );
    check(
        &node,
        "+ 1e16 0.5; + 1 0.25  => + 10000000000000000 0.75 5000000000000000
         - 1e16 0.5            => - 10000000000000000 0.75 5000000000000000; + 1 0.25 1
         + inf 1               => - 1 0.25 1; + inf 1.25 inf
         + -inf 1              => - inf 1.25 inf; + NaN 2.25 NaN
         - inf 1; - -inf 1     => - NaN 2.25 NaN; + 1 0.25 1",
    );
}

#[test]
fn a_result_out_of_range_is_an_error_until_it_fits_again() {
    let node = reduce("g text, n int4", &[0], vec![aggregate(SUM, Some(1), "sum int8")]);
    check(
        &node,
        "+4294967299 a 2147483647; + b 1  => ! + reduce sum(n) 22003; + b 1
         + a 1
         -4294967299 a 2147483647         => ! - reduce sum(n) 22003; + a 1",
    );
    let floats = reduce("n float8", &[], vec![aggregate(SUM, Some(0), "sum float8")]);
    check(
        &floats,
        "+2 1e308  => ! + reduce sum(n) 22003
         - 1e308   => ! - reduce sum(n) 22003; + 1e308",
    );
}

#[test]
fn distinct_values_count_once() {
    let mut distinct = vec![
        aggregate(COUNT, Some(1), "count int8"),
        aggregate(SUM, Some(1), "sum numeric"),
        aggregate(AVG, Some(1), "avg numeric"),
    ];
    distinct.iter_mut().for_each(|aggregate| aggregate.distinct = true);
    check(
        &reduce("g text, v numeric, f int4", &[0], distinct),
        "+ a 1.0 1; + a 1.0 2; + a 3 1  => + a 2 4.0 2.0000000000000000
         - a 1.0 1; - a 3 1             => - a 2 4.0 2.0000000000000000; + a 1 1.0 1.00000000000000000000
         - a 1.0 2; + a null 1          => - a 1 1.0 1.00000000000000000000; + a 0 null null",
    );
}

#[test]
fn a_filter_chooses_what_an_aggregate_sees() {
    let mut filtered = aggregate(COUNT, None, "some int8");
    filtered.filter = Some(1);
    let mut largest = aggregate(MAX, Some(0), "max int4");
    largest.filter = Some(1);
    let node = reduce("n int4, f bool", &[], vec![aggregate(COUNT, None, "all int8"), filtered, largest]);
    check(
        &node,
        "+ 1 true; + 2 false; + 3 null  => + 3 1 1
         + 4 true; - 1 true             => - 3 1 1; + 3 1 4",
    );
}

#[test]
fn booleans_are_taken_together() {
    let node = reduce(
        "f bool",
        &[],
        vec![aggregate(BOOL_AND, Some(0), "every bool"), aggregate(BOOL_OR, Some(0), "some bool")],
    );
    check(
        &node,
        "           => + null null
         + true     => - null null; + true true
         + false    => - true true; + false true
         - true; + null => - false true; + false false",
    );
}
