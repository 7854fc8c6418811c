//! Random scalars, in the plan's form and as what they mean.

use super::naive::{Computed, Formula};
use super::value::{Row, Value};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use weir_sql::scalar::{Operator, Scalar};
use weir_sql::types::{Column, Type};

pub fn column(index: usize, columns: &[Column]) -> Scalar {
    Scalar::Column { index, kind: columns[index].kind.clone() }
}

pub fn less(left: Scalar, right: Scalar) -> Scalar {
    Scalar::Binary { operator: Operator::Less, left: left.into(), right: right.into(), kind: Type::Bool }
}

pub fn divide(left: Scalar, right: Scalar) -> Scalar {
    Scalar::Call { function: "/".into(), arguments: vec![left, right], kind: Type::Int4 }
}

fn named(scalar: Scalar, columns: &[Column], value: impl Fn(&Row) -> Computed + 'static) -> (Scalar, Formula) {
    let text = scalar.named(columns).to_string();
    (scalar, Formula { text, value: Box::new(value) })
}

/// A boolean over `columns`; two of its three kinds need integers, the last fails where the divisor is 0.
pub fn condition(random: &mut StdRng, columns: &[Column]) -> Option<(Scalar, Formula)> {
    let of = |kind: &Type| (0..columns.len()).filter(|&c| columns[c].kind == *kind).collect::<Vec<_>>();
    let (truths, ints) = (of(&Type::Bool), of(&Type::Int4));
    if ints.is_empty() || !truths.is_empty() && random.random_bool(0.3) {
        let &truth = truths.choose(random)?;
        return Some(named(column(truth, columns), columns, move |row| Ok(row[truth].clone())));
    }
    let (&a, &b) = (ints.choose(random)?, ints.choose(random)?);
    let compared = |a: &Value, b: &Value| match (a, b) {
        (Value::Int(a), Value::Int(b)) => Value::Bool(a < b),
        _ => Value::Null,
    };
    Some(if random.random_bool(0.5) {
        let scalar = less(column(a, columns), column(b, columns));
        named(scalar, columns, move |row| Ok(compared(&row[a], &row[b])))
    } else {
        let scalar = less(divide(column(a, columns), column(b, columns)), column(a, columns));
        named(scalar, columns, move |row| Ok(compared(&quotient(&row[a], &row[b])?, &row[a])))
    })
}

/// A column, or a quotient that fails where the divisor is 0.
pub fn projection(random: &mut StdRng, columns: &[Column]) -> (Scalar, Formula) {
    let ints: Vec<usize> = (0..columns.len()).filter(|&c| columns[c].kind == Type::Int4).collect();
    match (ints.choose(random), ints.choose(random)) {
        (Some(&a), Some(&b)) if random.random_bool(0.4) => {
            let scalar = divide(column(a, columns), column(b, columns));
            named(scalar, columns, move |row| quotient(&row[a], &row[b]))
        }
        _ => {
            let index = random.random_range(0..columns.len());
            named(column(index, columns), columns, move |row| Ok(row[index].clone()))
        }
    }
}

fn quotient(a: &Value, b: &Value) -> Computed {
    match (a, b) {
        (Value::Int(_), Value::Int(0)) => Err("22012"),
        (Value::Int(a), Value::Int(b)) => Ok(Value::Int(a / b)),
        _ => Ok(Value::Null),
    }
}
