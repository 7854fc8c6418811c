//! What the operators' tests share: plans in few words, and [`check`], which runs a script.

mod formula;
mod naive;
mod property;
mod rig;
mod value;

pub use self::formula::{column, divide, less};
pub use self::rig::Rig;
pub use self::value::{Row, Rows, Value};

use self::value::{delta, put};
use weir_sql::aggregate::Function;
use weir_sql::catalog::RelationId;
use weir_sql::plan::{Aggregate, JoinKind, Node, Operator};
use weir_sql::types::{Column, Type};

/// Columns from "id int4, name text"; all nullable.
pub fn columns(text: &str) -> Vec<Column> {
    let column = |part: &str| {
        let (name, kind) = part.trim().split_once(' ').expect("name and type");
        Column { name: name.to_string(), kind: kind_of(kind), nullable: true }
    };
    text.split(", ").filter(|part| !part.trim().is_empty()).map(column).collect()
}

fn kind_of(text: &str) -> Type {
    match text {
        "bool" => Type::Bool,
        "int2" => Type::Int2,
        "int4" => Type::Int4,
        "int8" => Type::Int8,
        "float4" => Type::Float4,
        "float8" => Type::Float8,
        "numeric" => Type::Numeric(None),
        "text" => Type::Text,
        "money" => Type::Numeric(Some((10, 2))),
        "huge" => Type::Numeric(Some((76, 2))),
        other => panic!("no type {other}"),
    }
}

pub fn scan(columns: Vec<Column>) -> Node {
    let projection = (0..columns.len()).collect();
    Node { operator: Operator::Scan { relation: RelationId(1), name: "t".into(), projection }, columns }
}

pub fn join(kind: JoinKind, left: &str, right: &str, keys: &[(usize, usize)]) -> Node {
    let (left, right) = (scan(columns(left)), scan(columns(right)));
    let mut output = left.columns.clone();
    match kind {
        JoinKind::Semi | JoinKind::Anti => {}
        JoinKind::Mark => output.extend(columns("matched bool")),
        _ => output.extend(right.columns.clone()),
    }
    let operator = Operator::Join {
        kind,
        left: left.into(),
        right: right.into(),
        keys: keys.to_vec(),
        null_equal: false,
        residual: None,
    };
    Node { operator, columns: output }
}

pub fn aggregate(function: Function, argument: Option<usize>, output: &str) -> Aggregate {
    let output = columns(output).remove(0);
    Aggregate { function, argument, distinct: false, filter: None, output }
}

pub fn reduce(input: &str, group: &[usize], aggregates: Vec<Aggregate>) -> Node {
    let input = scan(columns(input));
    let mut output: Vec<Column> = group.iter().map(|&column| input.columns[column].clone()).collect();
    output.extend(aggregates.iter().map(|aggregate| aggregate.output.clone()));
    let operator = Operator::Reduce { input: input.into(), group: group.to_vec(), aggregates };
    Node { operator, columns: output }
}

/// Runs `script` on one worker and on three, with small and large budgets, going on and restored after every epoch.
///
/// A line is an epoch: changes, `=>`, what comes out of it. A change is `l + 1 a`: input (left out if there is but one), sign with
/// a weight if that is not 1, values. An error is `! - reduce sum(n) 22003`: operator, expression without blanks, SQLSTATE.
/// Changes are separated by `;`.
pub fn check(node: &Node, script: &str) {
    for (workers, budget, restart) in [(1, 8192, false), (1, 1, true), (3, 2, false), (3, 8192, true)] {
        let mut rig = Rig::new(node.clone(), workers);
        for (number, line) in script.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            let (inputs, expected) = line.split_once("=>").unwrap_or((line, ""));
            let answer = rig.epoch(&parse_inputs(node, inputs), budget);
            let context = format!("line {number}: {line} (workers {workers}, budget {budget}, restart {restart})");
            assert_eq!(print(&answer), parse_answer(node, expected), "{context}");
            if restart {
                rig.restart(if number % 2 == 0 { 4 - workers } else { workers });
            }
        }
    }
}

fn changes(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.split(';').map(|change| change.split_whitespace().collect::<Vec<_>>()).filter(|words| !words.is_empty())
}

fn weight(word: &str) -> i64 {
    match word {
        "+" => 1,
        "-" => -1,
        other => other.parse().expect("a sign, perhaps with a number"),
    }
}

fn parse_inputs(node: &Node, text: &str) -> Vec<weir_storage::Delta> {
    let inputs = node.inputs();
    let mut rows = vec![vec![]; inputs.len()];
    for words in changes(text) {
        let (input, words) = match words[0] {
            "l" => (0, &words[1..]),
            "r" => (1, &words[1..]),
            _ => (0, &words[..]),
        };
        let kinds = inputs[input].columns.iter();
        let row: Row = words[1..].iter().zip(kinds).map(|(word, column)| Value::parse(word, &column.kind)).collect();
        assert_eq!(words.len() - 1, inputs[input].columns.len(), "a value per column: {words:?}");
        rows[input].push((row, weight(words[0])));
    }
    rows.iter().zip(inputs).map(|(rows, input)| delta(rows, &input.columns)).collect()
}

fn parse_answer(node: &Node, text: &str) -> Vec<String> {
    let mut rows = Rows::new();
    let mut errors: Vec<String> = vec![];
    for words in changes(text) {
        if words[0] == "!" {
            errors.push(format!("! {:+} {}", weight(words[1]), words[2..].join(" ")));
            continue;
        }
        let kinds = node.columns.iter();
        let row: Row = words[1..].iter().zip(kinds).map(|(word, column)| Value::parse(word, &column.kind)).collect();
        put(&mut rows, row, weight(words[0]));
    }
    let mut lines: Vec<String> = rows.iter().map(|(row, weight)| print_row(row, *weight)).chain(errors).collect();
    lines.sort();
    lines
}

fn print_row(row: &Row, weight: i128) -> String {
    let values: Vec<String> = row.iter().map(Value::to_string).collect();
    format!("{weight:+} {}", values.join(" "))
}

/// Rows, and of errors the operator, expression and SQLSTATE.
fn print(answer: &rig::Answer) -> Vec<String> {
    let rows = answer.rows.iter().map(|(row, weight)| print_row(row, *weight));
    let errors = answer.errors.iter().map(|(row, weight)| {
        let [operator, expression, sqlstate] = [0, 1, 2].map(|column| row[column].text().replace(' ', ""));
        format!("! {weight:+} {operator} {expression} {sqlstate}")
    });
    let mut lines: Vec<String> = rows.chain(errors).collect();
    lines.sort();
    lines
}
