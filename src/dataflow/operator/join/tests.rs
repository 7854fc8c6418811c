//! Joins of every kind, as scripts: changes in, changes out.

use crate::dataflow::operator::tests::{check, column, divide, join, less};
use weir_sql::plan::{JoinKind, Node, Operator};

const LEFT: &str = "id int4, a text";
const RIGHT: &str = "id int4, b text";

fn on_id(kind: JoinKind) -> Node {
    join(kind, LEFT, RIGHT, &[(0, 0)])
}

fn null_equal(mut node: Node) -> Node {
    if let Operator::Join { null_equal, .. } = &mut node.operator {
        *null_equal = true;
    }
    node
}

#[test]
fn inner_join_retracts_when_a_side_is_deleted() {
    check(
        &on_id(JoinKind::Inner),
        "l + 1 a
         r + 1 x  => + 1 a 1 x
         l - 1 a  => - 1 a 1 x
         r - 1 x",
    );
}

#[test]
fn both_sides_may_change_in_one_epoch() {
    check(
        &on_id(JoinKind::Inner),
        "l + 1 a; r + 1 x                        => + 1 a 1 x
         l - 1 a; l + 1 b; r - 1 x; r + 1 y      => - 1 a 1 x; + 1 b 1 y
         l - 1 b; r - 1 y                        => - 1 b 1 y",
    );
}

#[test]
fn weights_multiply() {
    check(
        &on_id(JoinKind::Inner),
        "l +2 1 a; r +3 1 x  => +6 1 a 1 x
         l -1 1 a            => -3 1 a 1 x
         r -3 1 x; l +4 1 a  => -3 1 a 1 x",
    );
}

#[test]
fn null_keys_match_nothing_unless_they_are_equal() {
    let both = "l + null a; r + null x";
    check(&on_id(JoinKind::Inner), both);
    check(&on_id(JoinKind::Full), "l + null a; r + null x => + null a null null; + null null null x");
    check(&on_id(JoinKind::Semi), both);
    check(&on_id(JoinKind::Anti), "l + null a; r + null x => + null a\n l - null a => - null a");
    check(&on_id(JoinKind::Mark), "l + null a; r + null x => + null a false");
    check(&null_equal(on_id(JoinKind::Inner)), "l + null a; r + null x => + null a null x");
}

#[test]
fn left_rows_are_padded_while_they_have_no_match() {
    check(
        &on_id(JoinKind::Left),
        "l + 1 a; l +2 1 b    => + 1 a null null; +2 1 b null null
         r + 1 x              => - 1 a null null; -2 1 b null null; + 1 a 1 x; +2 1 b 1 x
         r + 1 y              => + 1 a 1 y; +2 1 b 1 y
         r - 1 x; r - 1 y     => - 1 a 1 x; -2 1 b 1 x; - 1 a 1 y; -2 1 b 1 y; + 1 a null null; +2 1 b null null
         l - 1 a; r + 1 z     => - 1 a null null; -2 1 b null null; +2 1 b 1 z",
    );
}

#[test]
fn a_full_join_pads_both_sides() {
    check(
        &on_id(JoinKind::Full),
        "l + 1 a; r + 2 x     => + 1 a null null; + null null 2 x
         l + 2 b              => - null null 2 x; + 2 b 2 x
         l - 2 b; r + 1 y     => - 2 b 2 x; + null null 2 x; - 1 a null null; + 1 a 1 y
         l - 1 a; r - 1 y     => - 1 a 1 y
         r - 2 x              => - null null 2 x",
    );
}

#[test]
fn a_right_join_pads_right_rows_only() {
    check(
        &on_id(JoinKind::Right),
        "l + 1 a; r + 2 x  => + null null 2 x
         l + 2 b           => - null null 2 x; + 2 b 2 x",
    );
}

#[test]
fn semi_and_anti_joins_turn_with_the_first_and_the_last_match() {
    check(
        &on_id(JoinKind::Semi),
        "l + 1 a; l + 2 b
         r +2 1 x          => + 1 a
         r + 1 y; r -2 1 x
         r - 1 y; r + 2 x  => - 1 a; + 2 b",
    );
    check(
        &on_id(JoinKind::Anti),
        "l + 1 a; l + 2 b  => + 1 a; + 2 b
         r +2 1 x          => - 1 a
         r - 1 x
         r - 1 x; r + 2 x  => + 1 a; - 2 b",
    );
}

#[test]
fn a_mark_join_says_whether_there_is_a_match() {
    check(
        &on_id(JoinKind::Mark),
        "l +2 1 a  => +2 1 a false
         r + 1 x   => -2 1 a false; +2 1 a true
         l - 1 a   => - 1 a true
         r - 1 x   => - 1 a true; + 1 a false",
    );
}

#[test]
fn a_cross_join_needs_no_key() {
    check(
        &join(JoinKind::Inner, "a text", "b text", &[]),
        "l + a; l + b; r + x  => + a x; + b x
         r - x; r + y         => - a x; - b x; + a y; + b y",
    );
    check(
        &join(JoinKind::Left, "a text", "b text", &[]),
        "l + a; l + null      => + a null; + null null
         r + x                => - a null; - null null; + a x; + null x",
    );
}

/// Joined on the first column where left n < right n, or where left n / right n < left n.
fn conditional(kind: JoinKind, divided: bool) -> Node {
    let mut node = join(kind, "id int4, n int4", "id int4, n int4", &[(0, 0)]);
    let inputs: Vec<_> = node.inputs().iter().flat_map(|input| input.columns.clone()).collect();
    let (left, right) = (column(1, &inputs), column(3, &inputs));
    if let Operator::Join { residual, .. } = &mut node.operator {
        *residual = Some(if divided { less(divide(left.clone(), right), left) } else { less(left, right) });
    }
    node
}

#[test]
fn a_residual_is_judged_pair_by_pair() {
    check(
        &conditional(JoinKind::Inner, false),
        "l + 1 5; l + 1 7; r + 1 6; r + 1 null  => + 1 5 1 6
         r + 1 8                                => + 1 5 1 8; + 1 7 1 8
         l - 1 5; r - 1 8                       => - 1 5 1 6; - 1 5 1 8; - 1 7 1 8",
    );
}

#[test]
fn matches_are_counted_per_row_when_there_is_a_residual() {
    check(
        &conditional(JoinKind::Full, false),
        "l + 1 5; l +2 1 7; r + 1 6  => + 1 5 1 6; +2 1 7 null null
         r + 1 8                     => + 1 5 1 8; +2 1 7 1 8; -2 1 7 null null
         l - 1 5                     => - 1 5 1 6; - 1 5 1 8; + null null 1 6
         r - 1 8; l - 1 7            => -2 1 7 1 8; + 1 7 null null
         r - 1 6                     => - null null 1 6",
    );
    check(
        &conditional(JoinKind::Mark, false),
        "l + 1 5; r + 1 5   => + 1 5 false
         r +2 1 6; l + 1 9  => - 1 5 false; + 1 5 true; + 1 9 false
         r - 1 6
         r - 1 6            => - 1 5 true; + 1 5 false",
    );
}

#[test]
fn a_pair_that_fails_is_an_error_and_no_match() {
    check(
        &conditional(JoinKind::Left, true),
        "l +2 1 5; r +3 1 0  => +2 1 5 null null; ! +6 join (n/n)<n 22012
         r + 1 2             => -2 1 5 null null; +2 1 5 1 2
         l - 1 5             => - 1 5 1 2; ! -3 join (n/n)<n 22012
         r -3 1 0            => ! -3 join (n/n)<n 22012",
    );
}

#[test]
fn pairs_beyond_a_weight_are_errors_until_they_can_be_counted() {
    check(
        &on_id(JoinKind::Left),
        "l +4294967296 1 a; r +2147483647 1 x  => +9223372032559808512 1 a 1 x
         r + 1 x                               => -9223372032559808512 1 a 1 x; ! + join numberofequalrows 22003
         l +3 1 b; l +7 1 a                    => +6442450944 1 b 1 x
         r +2 1 y                              => +8589934606 1 a 1 y; +6 1 b 1 y
         l -7 1 a; r - 1 x                     => +9223372032559808512 1 a 1 x; ! - join numberofequalrows 22003; \
             -14 1 a 1 y; -3 1 b 1 x
         l -4294967296 1 a                     => -9223372032559808512 1 a 1 x; -8589934592 1 a 1 y",
    );
    check(
        &on_id(JoinKind::Inner),
        "l +9223372036854775807 1 a; r +9223372036854775807 1 x  => ! + join numberofequalrows 22003
         l -9223372036854775807 1 a                              => ! - join numberofequalrows 22003",
    );
}

#[test]
fn pairs_beyond_a_weight_are_judged_first() {
    check(
        &conditional(JoinKind::Full, true),
        "l +4294967296 1 5; r +4294967296 1 0; r +4294967296 1 2  => ! + join numberofequalrows 22003; \
             ! +9223372036854775807 join (n/n)<n 22012; +4294967296 null null 1 0
         l -4294967295 1 5  => ! - join numberofequalrows 22003; ! -9223372032559808511 join (n/n)<n 22012; \
             +4294967296 1 5 1 2",
    );
}
