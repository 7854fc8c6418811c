//! Variances and standard deviations, of a sample and of a population: exact sums, and one division at the end.
//!
//! Of exact numbers with Postgres' display scales, of floats the nearest float (where Postgres adds floats in some
//! order, its last digits may differ).

use super::definition::{Definition, Finished, Function, Groups, unknown};
use crate::numeric::{self, Numeric};
use crate::total::{Keep, Moments, Written};
use crate::types::Type;
use crate::{Error, Result};
use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::DataType;
use num_bigint::{BigInt, Sign};
use std::sync::Arc;

pub const ALL: &[Function] = &[
    Function(&Definition {
        name: "variance",
        aliases: &["var_samp"],
        result: |argument| result("variance", argument),
        finish: |groups| finish(groups, Goal { sample: true, root: false }),
        ..WHOLE
    }),
    Function(&Definition {
        name: "var_pop",
        aliases: &[],
        result: |argument| result("var_pop", argument),
        finish: |groups| finish(groups, Goal { sample: false, root: false }),
        ..WHOLE
    }),
    Function(&Definition {
        name: "stddev",
        aliases: &["stddev_samp"],
        result: |argument| result("stddev", argument),
        finish: |groups| finish(groups, Goal { sample: true, root: true }),
        ..WHOLE
    }),
    Function(&Definition {
        name: "stddev_pop",
        aliases: &[],
        result: |argument| result("stddev_pop", argument),
        finish: |groups| finish(groups, Goal { sample: false, root: true }),
        ..WHOLE
    }),
];

/// What is alike in all of them.
const WHOLE: Definition = Definition {
    name: "",
    aliases: &[],
    result: |argument| result("variance", argument),
    keeps: &[Keep::Count, Keep::Moments],
    counts: true,
    nullable: true,
    finish: |groups| finish(groups, Goal { sample: true, root: false }),
};

#[derive(Clone, Copy)]
struct Goal {
    /// Divided by one less than the count.
    sample: bool,
    root: bool,
}

fn result(name: &str, argument: Option<&Type>) -> Result<Type> {
    Ok(match argument {
        Some(Type::Int2 | Type::Int4 | Type::Int8 | Type::Numeric(_)) => Type::Numeric(None),
        Some(Type::Float4 | Type::Float8) => Type::Float8,
        _ => return Err(unknown(name, argument)),
    })
}

fn finish(groups: &Groups, goal: Goal) -> Result<Finished> {
    let kept = &groups.kept[1];
    let mut failures = vec![];
    let values: ArrayRef = match groups.argument {
        DataType::Float32 | DataType::Float64 => {
            let values =
                groups.each(|row, count| float(kept.as_binary::<i32>().value(row), count, goal), &mut failures);
            Arc::new(values.into_iter().map(Option::flatten).collect::<Float64Array>())
        }
        _ => {
            let values =
                groups.each(|row, count| number(kept.as_binary::<i32>().value(row), count, goal), &mut failures);
            Arc::new(numeric::build(values.into_iter().map(|value| Ok(value.flatten())))?)
        }
    };
    Ok(Finished { values, failures })
}

impl Goal {
    /// What the spread of `count` values is divided by; `None` if there are too few.
    fn divisor(self, count: i128) -> Option<BigInt> {
        match (self.sample, count) {
            (true, ..=1) => None,
            (true, _) => Some(BigInt::from(count) * (count - 1)),
            (false, _) => Some(BigInt::from(count) * count),
        }
    }
}

fn number(state: &[u8], count: i128, goal: Goal) -> Result<Option<Numeric>> {
    let Some(divisor) = goal.divisor(count) else { return Ok(None) };
    let moments = Moments::<10>::decode(state)?;
    if moments.is_special() {
        return Ok(Some(Numeric::NAN));
    }
    let (spread, exponent) = moments.spread(count);
    if spread.sign() != Sign::Plus {
        return Ok(Some(Numeric::ZERO));
    }
    let scale = quotient_scale((&spread, exponent), &divisor).max(2 * i32::from(moments.scale())).clamp(0, 1000);
    let ten = |power: i32| BigInt::from(10).pow(power.max(0) as u32);
    // Units of the last digit shown, half away from zero.
    let shift = scale + exponent;
    let (dividend, divisor) = (spread * ten(shift) * 2, divisor * ten(-shift));
    let mut value: BigInt = (dividend / divisor + 1) / 2;
    if goal.root {
        value = ((value * ten(scale + 2)).sqrt() + 5) / 10;
    }
    numeric::exact(&value, -i64::from(scale), scale as u32).map(Some)
}

/// Postgres' select_div_scale, of a positive dividend in units of a power of ten: at least 16 significant digits,
/// counted in digits of base 10000.
fn quotient_scale(dividend: (&BigInt, i32), divisor: &BigInt) -> i32 {
    let ((weight1, first1), (weight2, first2)) = (leading(dividend.0, dividend.1), leading(divisor, 0));
    let weight = weight1 - weight2 - i32::from(first1 <= first2);
    16 - weight * 4
}

/// Weight of the first digit of base 10000, and the digit.
fn leading(value: &BigInt, exponent: i32) -> (i32, u32) {
    let digits = value.to_string();
    let top = exponent + digits.len() as i32 - 1;
    let shown = top.rem_euclid(4) as usize + 1;
    let first = digits.bytes().chain(std::iter::repeat(b'0')).take(shown);
    (top.div_euclid(4), first.fold(0, |first, digit| first * 10 + u32::from(digit - b'0')))
}

fn float(state: &[u8], count: i128, goal: Goal) -> Result<Option<f64>> {
    let Some(divisor) = goal.divisor(count) else { return Ok(None) };
    let moments = Moments::<2>::decode(state)?;
    if moments.is_special() {
        return Ok(Some(f64::NAN));
    }
    let (spread, exponent) = moments.spread(count);
    if spread.sign() != Sign::Plus {
        return Ok(Some(0.0));
    }
    let variance = nearest(spread, divisor, exponent);
    if variance.is_infinite() {
        return Err(Error::new("22003", "value out of range: overflow"));
    }
    Ok(Some(if goal.root { variance.sqrt() } else { variance }))
}

/// `dividend` / `divisor` × 2^`exponent`, both positive.
fn nearest(dividend: BigInt, divisor: BigInt, exponent: i32) -> f64 {
    /// Bits of the quotient, a few more than a float has.
    const BITS: i64 = 66;
    let shift = BITS - (dividend.bits() as i64 - divisor.bits() as i64);
    let (dividend, divisor) =
        if shift >= 0 { (dividend << shift, divisor) } else { (dividend, divisor << shift.unsigned_abs()) };
    let (quotient, rest) = (&dividend / &divisor, dividend % divisor);
    // What is left decides where the quotient itself is half way between two floats.
    let sticky = u128::from(rest.sign() != Sign::NoSign);
    let quotient = u128::try_from(quotient).unwrap_or(u128::MAX) | sticky;
    let mut value = quotient as f64;
    let mut power = i64::from(exponent) - shift;
    while power != 0 && value != 0.0 && value.is_finite() {
        let step = power.clamp(-1000, 1000);
        value *= 2f64.powi(step as i32);
        power -= step;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOALS: [Goal; 4] = [
        Goal { sample: true, root: false },
        Goal { sample: true, root: true },
        Goal { sample: false, root: false },
        Goal { sample: false, root: true },
    ];

    /// variance, stddev, var_pop, stddev_pop of some numbers, as PostgreSQL 15 has them.
    fn check(values: &[&str], expected: &str) {
        let mut moments = Moments::<10>::default();
        values.iter().for_each(|value| moments.add_number(&value.parse().unwrap(), 1));
        let mut state = vec![];
        moments.encode(&mut state);
        let found = GOALS.map(|goal| match number(&state, values.len() as i128, goal).unwrap() {
            Some(value) => value.to_string(),
            None => "NULL".into(),
        });
        assert_eq!(found.join(" "), expected, "{values:?}");
    }

    #[test]
    fn exact_numbers_are_shown_as_by_postgres() {
        check(&["1", "2", "4"], "2.3333333333333333 1.5275252316519467 1.5555555555555556 1.2472191289246471");
        check(&["1.10", "2.5", "4"], "2.1033333333333333 1.4502873278538061 1.4022222222222222 1.1841546445554407");
        check(&["1.10"], "NULL NULL 0 0");
        check(&["1.10", "NaN"], "NaN NaN NaN NaN");
        check(&["Infinity"], "NULL NULL NaN NaN");
        check(&["5.00", "5"], "0 0 0 0");
    }

    #[test]
    fn floats_are_the_nearest() {
        let of = |values: &[f64], goal| {
            let mut moments = Moments::<2>::default();
            values.iter().for_each(|&value| moments.add_float(value, 1));
            let mut state = vec![];
            moments.encode(&mut state);
            float(&state, values.len() as i128, goal).map(|value| value.unwrap())
        };
        assert_eq!(
            GOALS.map(|goal| of(&[1.0, 2.0, 4.0], goal).unwrap()),
            [2.3333333333333335, 1.5275252316519468, 1.5555555555555556, 1.247219128924647]
        );
        assert_eq!(of(&[1e-200, 3e-200, 1e8, 1e8], GOALS[2]).unwrap(), 2.5e15);
        assert_eq!(of(&[1e200, 2e200], GOALS[0]).unwrap_err().sqlstate, "22003");
    }
}
