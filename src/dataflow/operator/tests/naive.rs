//! The operators' definitions, evaluated from scratch on plain rows.

use super::value::{Row, Rows, Value, number, put};
use weir_sql::aggregate::{AVG, SUM};
use weir_sql::numeric::Sum;
use weir_sql::plan::{Aggregate, JoinKind, Node, Operator};
use weir_sql::types::{Column, Type};

/// Rows, and errors as (operator, expression, SQLSTATE).
#[derive(Debug, Default, PartialEq)]
pub struct Truth {
    pub rows: Rows,
    pub errors: Rows,
}

const LARGEST: i128 = i64::MAX as i128;

/// What a test computes of a row: a value, or an error's SQLSTATE.
pub type Computed = Result<Value, &'static str>;

/// The meaning of the scalars in a plan: the plan's own are compiled, these are not.
#[derive(Default)]
pub struct Meaning {
    pub filter: Option<Formula>,
    pub project: Vec<Formula>,
}

pub struct Formula {
    /// As an error names it.
    pub text: String,
    pub value: Box<dyn Fn(&Row) -> Computed>,
}

pub fn evaluate(node: &Node, meaning: &Meaning, inputs: &[Rows]) -> Truth {
    match &node.operator {
        Operator::Map { .. } => map(meaning, &inputs[0]),
        Operator::Join { .. } => join(node, meaning, &inputs[0], &inputs[1]),
        Operator::Reduce { input, group, aggregates } => reduce(&input.columns, group, aggregates, &inputs[0]),
        Operator::Distinct { .. } => counted(&node.columns, &inputs[0], |count| i128::from(count > 0)),
        Operator::Threshold { .. } => counted(&node.columns, &inputs[0], |count| count.max(0)),
        other => panic!("no definition of {other:?}"),
    }
}

impl Truth {
    /// `weight` times, or as often as can be said.
    fn fail(&mut self, operator: &str, expression: &str, sqlstate: &str, weight: i128) {
        let error = [operator, expression, sqlstate].map(|text| Value::Text(text.to_string()));
        put(&mut self.errors, error.to_vec(), weight.min(LARGEST));
    }

    /// A row, or an error if it is there too often.
    fn count(&mut self, operator: &str, row: Row, weight: i128) {
        match weight {
            ..=LARGEST => put(&mut self.rows, row, weight),
            _ => self.fail(operator, "number of equal rows", "22003", 1),
        }
    }
}

fn map(meaning: &Meaning, input: &Rows) -> Truth {
    let mut truth = Truth::default();
    'rows: for (row, &weight) in input {
        if let Some(filter) = &meaning.filter {
            match (filter.value)(row) {
                Ok(Value::Bool(true)) => {}
                Ok(_) => continue,
                Err(sqlstate) => {
                    truth.fail("map", &filter.text, sqlstate, weight);
                    continue;
                }
            }
        }
        let mut output = vec![];
        for formula in &meaning.project {
            match (formula.value)(row) {
                Ok(value) => output.push(value),
                Err(sqlstate) => {
                    truth.fail("map", &formula.text, sqlstate, weight);
                    continue 'rows;
                }
            }
        }
        put(&mut truth.rows, output, weight);
    }
    truth
}

fn join(node: &Node, meaning: &Meaning, left: &Rows, right: &Rows) -> Truth {
    let Operator::Join { kind, left: l, right: r, keys, null_equal, .. } = &node.operator else { unreachable!() };
    let mut truth = Truth::default();
    let mut has_match: [std::collections::BTreeSet<&Row>; 2] = Default::default();
    let equal = |a: &Row, b: &Row| {
        keys.iter().all(|&(x, y)| {
            let same = a[x].canonical(&l.columns[x].kind) == b[y].canonical(&r.columns[y].kind);
            same && (*null_equal || a[x] != Value::Null)
        })
    };
    for (a, &wa) in left {
        for (b, &wb) in right.iter().filter(|(b, _)| equal(a, b)) {
            let pair: Row = a.iter().chain(b).cloned().collect();
            match meaning.filter.as_ref().map_or(Ok(Value::Bool(true)), |residual| (residual.value)(&pair)) {
                Ok(Value::Bool(true)) => {}
                Ok(_) => continue,
                Err(sqlstate) => {
                    truth.fail("join", &meaning.filter.as_ref().unwrap().text, sqlstate, wa * wb);
                    continue;
                }
            }
            has_match[0].insert(a);
            has_match[1].insert(b);
            if !matches!(kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark) {
                truth.count("join", pair, wa * wb);
            }
        }
    }
    let nulls = |side: &Node| vec![Value::Null; side.columns.len()];
    for (a, &weight) in left {
        let matched = has_match[0].contains(a);
        match kind {
            JoinKind::Semi if matched => put(&mut truth.rows, a.clone(), weight),
            JoinKind::Anti if !matched => put(&mut truth.rows, a.clone(), weight),
            JoinKind::Mark => put(&mut truth.rows, [&a[..], &[Value::Bool(matched)]].concat(), weight),
            JoinKind::Left | JoinKind::Full if !matched => put(&mut truth.rows, [a.clone(), nulls(r)].concat(), weight),
            _ => {}
        }
    }
    for (b, &weight) in right.iter().filter(|(b, _)| !has_match[1].contains(b)) {
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            put(&mut truth.rows, [nulls(l), b.clone()].concat(), weight);
        }
    }
    truth
}

fn canonical(row: &Row, columns: &[Column]) -> Row {
    row.iter().zip(columns).map(|(value, column)| value.canonical(&column.kind)).collect()
}

fn counted(columns: &[Column], input: &Rows, weight: fn(i128) -> i128) -> Truth {
    let mut counts = Rows::new();
    input.iter().for_each(|(row, &weight)| put(&mut counts, canonical(row, columns), weight));
    let mut truth = Truth::default();
    counts.into_iter().for_each(|(row, count)| truth.count("threshold", row, weight(count)));
    truth
}

fn reduce(columns: &[Column], group: &[usize], aggregates: &[Aggregate], input: &Rows) -> Truth {
    let mut groups: std::collections::BTreeMap<Row, Vec<(&Row, i128)>> = Default::default();
    if group.is_empty() {
        groups.insert(vec![], vec![]);
    }
    for (row, &weight) in input {
        let key = group.iter().map(|&column| row[column].canonical(&columns[column].kind)).collect();
        groups.entry(key).or_default().push((row, weight));
    }
    let mut truth = Truth::default();
    'groups: for (mut output, rows) in groups {
        for aggregate in aggregates {
            match self::aggregate(aggregate, columns, &rows) {
                Ok(value) => output.push(value.canonical(&aggregate.output.kind)),
                Err(sqlstate) => {
                    truth.fail("reduce", &aggregate.text(columns), sqlstate, 1);
                    continue 'groups;
                }
            }
        }
        put(&mut truth.rows, output, 1);
    }
    truth
}

fn aggregate(aggregate: &Aggregate, columns: &[Column], rows: &[(&Row, i128)]) -> Computed {
    let seen = |row: &Row| aggregate.filter.is_none_or(|filter| row[filter] == Value::Bool(true));
    let rows: Vec<(&Row, i128)> = rows.iter().filter(|(row, _)| seen(row)).copied().collect();
    let Some(argument) = aggregate.argument else {
        return bigint(rows.iter().map(|(_, weight)| weight).sum());
    };
    let kind = &columns[argument].kind;
    let mut values = Rows::new();
    for (row, weight) in rows.iter().filter(|(row, _)| row[argument] != Value::Null) {
        put(&mut values, vec![row[argument].canonical(kind)], *weight);
    }
    if aggregate.distinct {
        values.values_mut().for_each(|weight| *weight = 1);
    }
    let values: Vec<(&Value, i128)> = values.iter().map(|(row, &weight)| (&row[0], weight)).collect();
    let count: i128 = values.iter().map(|(_, weight)| weight).sum();
    let trues = values.iter().filter(|(value, _)| **value == Value::Bool(true)).count();
    Ok(match aggregate.function.name {
        "count" => bigint(count)?,
        _ if count == 0 => Value::Null,
        "bool_and" => Value::Bool(trues == values.len()),
        "bool_or" => Value::Bool(trues > 0),
        "min" => values.iter().min_by(|a, b| compare(a.0, b.0, kind)).unwrap().0.clone(),
        "max" => values.iter().max_by(|a, b| compare(a.0, b.0, kind)).unwrap().0.clone(),
        _ if matches!(kind, Type::Float8) => {
            let sum = float_sum(&values);
            Value::Text(if aggregate.function == SUM { sum } else { sum / count as f64 }.to_string())
        }
        _ => {
            let mut sum = Sum::default();
            for (value, weight) in values {
                // A weight at a time.
                let (times, rest) = (weight / LARGEST, weight % LARGEST);
                let weights = std::iter::repeat_n(LARGEST, times as usize).chain([rest]);
                weights.for_each(|weight| sum.add(&number(&value.to_string()), weight as i64).unwrap());
            }
            let sum = sum.value().map_err(|error| error.sqlstate)?;
            match (aggregate.function == AVG, &aggregate.output.kind) {
                (true, _) => Value::Text(sum.div(&number(&count.to_string())).map_err(|e| e.sqlstate)?.to_string()),
                (_, Type::Int8) => Value::Int(sum.to_string().parse().map_err(|_| "22003")?),
                _ => Value::Text(sum.to_string()),
            }
        }
    })
}

fn bigint(count: i128) -> Computed {
    i64::try_from(count).map(Value::Int).map_err(|_| "22003")
}

fn compare(a: &Value, b: &Value, kind: &Type) -> std::cmp::Ordering {
    match kind {
        Type::Numeric(_) => number(a.text()).compare(&number(b.text())),
        Type::Float8 => a.text().parse::<f64>().unwrap().total_cmp(&b.text().parse().unwrap()),
        _ => a.cmp(b),
    }
}

/// Tests' floats are quarters below 2^60 or not finite, so that 128 bits hold any sum of them exactly.
fn float_sum(values: &[(&Value, i128)]) -> f64 {
    let values = values.iter().map(|(value, weight)| (value.text().parse::<f64>().unwrap(), *weight));
    let (finite, special): (Vec<_>, Vec<_>) = values.partition(|(value, _)| value.is_finite());
    if special.is_empty() {
        let quarters: i128 = finite.iter().map(|(value, weight)| (value * 4.0) as i128 * *weight).sum();
        return quarters as f64 / 4.0;
    }
    special.iter().map(|(value, _)| value).sum()
}
