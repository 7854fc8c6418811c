//! Random plans over random data in random epochs, compared at every epoch with the definition; with any budget, on one worker and
//! on three, restored in between.

use super::formula::{condition, projection};
use super::naive::{Meaning, Truth, evaluate};
use super::rig::{Answer, Rig};
use super::value::{Row, Rows, Value, delta, put};
use super::{aggregate, scan};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use weir_sql::aggregate::{AVG, BOOL_AND, BOOL_OR, COUNT, Function, MAX, MIN, SUM};
use weir_sql::plan::{JoinKind, Node, Operator};
use weir_sql::scalar::Scalar;
use weir_sql::types::{Column, Type};

const CASES: u64 = 1500;

struct Case {
    random: StdRng,
    node: Node,
    meaning: Meaning,
}

/// Says which case it was when a test panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

fn for_seeds(operator: u64, case: fn(StdRng) -> Case) {
    for number in 0..CASES {
        let seed = Seed(operator << 32 | number);
        run(case(StdRng::seed_from_u64(seed.0)));
    }
}

#[test]
fn a_join_is_its_definition_at_every_epoch() {
    for_seeds(1, join);
}

#[test]
fn a_map_is_its_definition_at_every_epoch() {
    for_seeds(4, map);
}

#[test]
fn a_reduce_is_its_definition_at_every_epoch() {
    for_seeds(2, reduce);
}

#[test]
fn distinct_and_threshold_are_their_definition_at_every_epoch() {
    for_seeds(3, counted);
}

fn run(mut case: Case) {
    let random = &mut case.random;
    let workers = |random: &mut StdRng| *[1, 3].choose(random).unwrap();
    let mut rig = Rig::new(case.node.clone(), workers(random));
    let columns: Vec<Vec<Column>> = case.node.inputs().iter().map(|input| input.columns.clone()).collect();
    let mut state: Vec<Rows> = vec![Rows::new(); columns.len()];
    let mut answer = Answer::default();
    for epoch in 0..random.random_range(1..8) {
        let mut inputs = vec![];
        for (rows, columns) in state.iter_mut().zip(&columns) {
            let changes = changes(random, rows, columns, &case.node);
            changes.iter().for_each(|(row, weight)| put(rows, row.clone(), *weight));
            inputs.push(delta(&changes, columns));
        }
        let budget = *[1, 2, 3, 7, 8192].choose(random).unwrap();
        let more = rig.epoch(&inputs, budget);
        more.rows.into_iter().for_each(|(row, weight)| put(&mut answer.rows, row, weight));
        more.errors.into_iter().for_each(|(row, weight)| put(&mut answer.errors, row, weight));
        let truth = evaluate(&case.node, &case.meaning, &state);
        let context = format!("epoch {epoch} of {:?} over {state:?}", case.node.operator);
        assert_eq!(judged(&answer, &case.node.columns), canonical(&truth, &case.node.columns), "{context}");
        if random.random_bool(0.3) {
            rig.restart(workers(random));
        }
    }
}

/// What an answer says, with one value for all that are equal.
fn judged(answer: &Answer, columns: &[Column]) -> Truth {
    let mut truth = Truth { rows: answer.rows.clone(), errors: Rows::new() };
    for (error, weight) in &answer.errors {
        put(&mut truth.errors, error[..3].to_vec(), *weight);
    }
    for weight in answer.rows.values().chain(answer.errors.values()) {
        assert!(*weight > 0, "I4: {answer:?}");
    }
    canonical(&truth, columns)
}

fn canonical(truth: &Truth, columns: &[Column]) -> Truth {
    let mut same = Truth { rows: Rows::new(), errors: truth.errors.clone() };
    for (row, weight) in &truth.rows {
        let row = row.iter().zip(columns).map(|(value, column)| value.canonical(&column.kind)).collect();
        put(&mut same.rows, row, *weight);
    }
    same
}

const KINDS: [Type; 7] =
    [Type::Int4, Type::Int8, Type::Bool, Type::Text, Type::Numeric(None), Type::Numeric(Some((10, 2))), Type::Float8];

fn value(random: &mut StdRng, kind: &Type) -> Value {
    let domain: &[&str] = match kind {
        Type::Int4 => &["0", "1", "2", "2147483647"],
        Type::Int8 => &["0", "1", "-9223372036854775808"],
        Type::Bool => &["true", "false"],
        Type::Text => &["a", "b", "longer than a view holds inline"],
        Type::Numeric(None) => &["1.0", "1.00", "-2.5", "1e12", "NaN"],
        Type::Numeric(_) => &["1.25", "-1.25", "0"],
        Type::Float8 => &["1e16", "0.25", "-0.25", "-0", "0", "inf", "-inf", "NaN"],
        other => panic!("no domain for {other}"),
    };
    match random.random_bool(0.15) {
        true => Value::Null,
        false => Value::parse(domain.choose(random).unwrap(), kind),
    }
}

/// An epoch's changes of `rows`, each row once.
fn changes(random: &mut StdRng, rows: &Rows, columns: &[Column], node: &Node) -> Vec<(Row, i64)> {
    let mut net = Rows::new();
    let below_zero = matches!(node.operator, Operator::Distinct { .. } | Operator::Threshold { .. });
    for _ in 0..random.random_range(0..7) {
        let row = columns.iter().map(|column| value(random, &column.kind)).collect();
        let weight = match random.random_bool(0.03) {
            true => *[1 << 31, 1 << 33, 1 << 62, i64::MAX].choose(random).unwrap(),
            false => random.random_range(1..3),
        };
        let weight = if below_zero && random.random_bool(0.4) { -weight } else { weight };
        // More of a row than can be counted does not come; nor of all rows, where values are kept without the rest of their rows.
        let all = projects(node);
        let counted = [rows, &net].into_iter().flatten().filter(|(other, _)| all || **other == row);
        let count = counted.map(|(_, weight)| *weight).sum::<i128>() + i128::from(weight);
        if count.unsigned_abs() <= i64::MAX as u128 {
            put(&mut net, row, weight);
        }
    }
    for (row, &weight) in rows {
        if weight > 0 && random.random_bool(0.3) {
            let part = if random.random_bool(0.5) { weight } else { random.random_range(1..=weight) };
            put(&mut net, row.clone(), -part);
        }
    }
    let mut changes: Vec<(Row, i64)> = net.into_iter().map(|(row, weight)| (row, weight as i64)).collect();
    changes.sort_by_key(|_| random.random::<u32>());
    changes
}

/// Whether state is kept of values alone: then a sum of rows may be more than one row of it can be there, which fails the relation.
fn projects(node: &Node) -> bool {
    let Operator::Reduce { aggregates, .. } = &node.operator else { return false };
    aggregates.iter().any(|aggregate| aggregate.distinct || [MIN, MAX].contains(&aggregate.function))
}

fn table(random: &mut StdRng, kinds: &[Type]) -> Vec<Column> {
    let more = random.random_range(0..3);
    let kinds = kinds.iter().cloned().chain((0..more).map(|_| KINDS.choose(random).unwrap().clone()));
    let column = |(index, kind)| Column { name: format!("c{index}"), kind, nullable: true };
    kinds.enumerate().map(column).collect()
}

fn join(mut random: StdRng) -> Case {
    use JoinKind::*;
    let kind = *[Inner, Left, Right, Full, Semi, Anti, Mark].choose(&mut random).unwrap();
    let shared: Vec<Type> =
        (0..random.random_range(0..3)).map(|_| KINDS.choose(&mut random).unwrap().clone()).collect();
    let (left, right) = (table(&mut random, &shared), table(&mut random, &shared));
    let (l, r) = (left.len(), right.len());
    let mut columns = left.clone();
    match kind {
        Semi | Anti => {}
        Mark => columns.push(Column { name: "mark".into(), kind: Type::Bool, nullable: false }),
        _ => columns.extend(right.clone()),
    }
    if l == 0 || r == 0 {
        return join(random);
    }
    let both = [left.clone(), right.clone()].concat();
    let residual = if random.random_bool(0.5) { condition(&mut random, &both) } else { None };
    let (residual, filter) = residual.unzip();
    let operator = Operator::Join {
        kind,
        left: scan(left).into(),
        right: scan(right).into(),
        keys: (0..shared.len()).map(|column| (column, column)).collect(),
        null_equal: random.random_bool(0.3),
        residual,
    };
    Case { random, node: Node { operator, columns }, meaning: Meaning { filter, project: vec![] } }
}

fn map(mut random: StdRng) -> Case {
    let input = table(&mut random, &[Type::Int4, Type::Bool, Type::Int4]);
    let filter = if random.random_bool(0.6) { condition(&mut random, &input) } else { None };
    let (filter, meant) = filter.unzip();
    let (project, meanings): (Vec<_>, Vec<_>) =
        (0..random.random_range(0..4)).map(|_| projection(&mut random, &input)).unzip();
    let output =
        |(index, scalar): (usize, &Scalar)| Column { name: format!("p{index}"), kind: scalar.kind(), nullable: true };
    let columns = project.iter().enumerate().map(output).collect();
    let operator = Operator::Map { input: scan(input).into(), filter, project };
    Case { random, node: Node { operator, columns }, meaning: Meaning { filter: meant, project: meanings } }
}

fn reduce(mut random: StdRng) -> Case {
    let input = table(&mut random, &[Type::Bool, Type::Int4]);
    let mut group: Vec<usize> = (0..input.len()).filter(|_| random.random_bool(0.35)).collect();
    if random.random_bool(0.1) {
        group.reverse();
    }
    let mut aggregates = vec![];
    for _ in 0..random.random_range(0..5) {
        let argument = random.random_range(0..input.len());
        let (function, output) = *functions(&input[argument].kind).choose(&mut random).unwrap();
        let mut one = aggregate(function, Some(argument), &format!("value {output}"));
        if function == COUNT && random.random_bool(0.3) {
            one.argument = None;
        }
        one.distinct = one.argument.is_some() && random.random_bool(0.3);
        one.filter = random.random_bool(0.3).then_some(0);
        aggregates.push(one);
    }
    let mut columns: Vec<Column> = group.iter().map(|&column| input[column].clone()).collect();
    columns.extend(aggregates.iter().map(|aggregate| aggregate.output.clone()));
    let operator = Operator::Reduce { input: scan(input).into(), group, aggregates };
    Case { random, node: Node { operator, columns }, meaning: Meaning::default() }
}

/// What can be made of a column, and its type.
fn functions(kind: &Type) -> &'static [(Function, &'static str)] {
    match kind {
        Type::Int4 => &[(SUM, "int8"), (AVG, "numeric"), (MIN, "int4"), (MAX, "int4"), (COUNT, "int8")],
        Type::Int8 => &[(SUM, "numeric"), (AVG, "numeric"), (MIN, "int8"), (MAX, "int8")],
        Type::Bool => &[(BOOL_AND, "bool"), (BOOL_OR, "bool"), (COUNT, "int8")],
        Type::Text => &[(MIN, "text"), (MAX, "text"), (COUNT, "int8")],
        Type::Numeric(None) => {
            &[(SUM, "numeric"), (AVG, "numeric"), (MIN, "numeric"), (MAX, "numeric"), (COUNT, "int8")]
        }
        Type::Numeric(_) => &[(SUM, "numeric"), (AVG, "numeric"), (MIN, "money"), (MAX, "money")],
        _ => &[(SUM, "float8"), (AVG, "float8"), (MIN, "float8"), (MAX, "float8"), (COUNT, "int8")],
    }
}

fn counted(mut random: StdRng) -> Case {
    let input = table(&mut random, std::slice::from_ref(&KINDS[0]));
    let columns = input.clone();
    let input = Box::new(scan(input));
    let operator = match random.random_bool(0.5) {
        true => Operator::Distinct { input },
        false => Operator::Threshold { input },
    };
    Case { random, node: Node { operator, columns }, meaning: Meaning::default() }
}
