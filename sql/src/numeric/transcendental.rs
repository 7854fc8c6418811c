//! exp, ln, log and power of numerics: with Postgres' display scales, from more digits than are shown.
//!
//! Reals are integers here, in units of the last of some number of `places` after the point. Series lose some units of the last
//! place; [`GUARD`] places more than are shown are computed, so what is shown is the true value, rounded half away from zero.

use super::value::{Class, DIGITS, MAX_SCALE, Numeric, POWERS, digits, overflow, too_long};
use crate::error::{Error, Result};
use num_bigint::{BigInt, Sign};

/// Postgres' NUMERIC_MIN_SIG_DIGITS: results have at least this many.
const MIN_SIGNIFICANT: i32 = 16;
/// Postgres' NUMERIC_MAX_DISPLAY_SCALE.
const MAX_PLACES: i32 = 1000;
/// Postgres' NUMERIC_MAX_RESULT_SCALE: beyond three times this, e^x is out of range or nothing.
const MAX_RESULT: f64 = 2000.0;
const GUARD: u32 = 20;
/// Powers of so many digits are multiplied out; longer ones go by the logarithm.
const EXACT_DIGITS: u64 = 10_000;
const LOG10_E: f64 = std::f64::consts::LOG10_E;

impl Numeric {
    pub fn exp(&self) -> Result<Self> {
        match self.class {
            Class::Nan | Class::Infinity => return Ok(*self),
            Class::NegativeInfinity => return Ok(Self::ZERO),
            _ => {}
        }
        let value = approximate(&BigInt::from(self.coefficient), -i64::from(self.exponent));
        let weight = (value * LOG10_E).clamp(-MAX_RESULT, MAX_RESULT);
        let scale = shown(weight as i32, &[self]);
        if value.abs() >= MAX_RESULT * 3.0 {
            return if value > 0.0 { Err(overflow()) } else { Self::finite(0, 0, scale) };
        }
        let places = scale + weight.max(0.0) as u32 + GUARD;
        held(&rounded(exponential(&self.fixed(places), places), places - scale), scale)
    }

    pub fn ln(&self) -> Result<Self> {
        if self.logarithmic()? {
            return Ok(*self);
        }
        let scale = shown(self.ln_weight()?, &[self]);
        let places = scale + GUARD;
        held(&rounded(self.ln_fixed(places), places - scale), scale)
    }

    /// The logarithm of `self` to `base`.
    pub fn log(&self, base: &Self) -> Result<Self> {
        if self.is_nan() || base.is_nan() {
            return Ok(Self::NAN);
        }
        match (base.logarithmic()?, self.logarithmic()?) {
            (true, true) => return Ok(Self::NAN),
            (true, false) => return Ok(Self::ZERO),
            (false, true) => return Ok(*self),
            (false, false) => {}
        }
        let (below, above) = (base.ln_weight()?, self.ln_weight()?);
        let scale = shown(above - below, &[base, self]);
        // A quotient is as exact as its operands are, relative to their size.
        let places = scale + GUARD + below.unsigned_abs() + above.unsigned_abs();
        let divisor = base.ln_fixed(places);
        if divisor.sign() == Sign::NoSign || base.compare(&Self::from_i64(1)).is_eq() {
            return Err(Error::new("22012", "division by zero"));
        }
        held(&rounded(self.ln_fixed(places) * ten(places) / divisor, places - scale), scale)
    }

    /// `self` to the power of `exponent`.
    pub fn power(&self, exponent: &Self) -> Result<Self> {
        let one = Self::from_i64(1);
        if self.is_nan() || exponent.is_nan() {
            let decided = exponent.is_zero() || self.compare(&one).is_eq();
            return Ok(if decided { one } else { Self::NAN });
        }
        let whole = exponent.whole();
        if self.is_zero() && exponent.is_negative() {
            return Err(Error::new("2201F", "zero raised to a negative power is undefined"));
        }
        if self.is_negative() && whole.is_none() {
            let message = "a negative number raised to a non-integer power yields a complex result";
            return Err(Error::new("2201F", message));
        }
        if !self.is_finite() || !exponent.is_finite() {
            return Ok(self.infinite_power(exponent));
        }
        match whole {
            Some(Whole { number: Some(number), .. }) => self.whole_power(number, exponent),
            _ if self.is_zero() => Self::finite(0, 0, MIN_SIGNIFICANT as u32),
            whole => {
                let power = self.abs().real_power(exponent)?;
                let negative = self.is_negative() && whole.is_some_and(|whole| whole.odd);
                Ok(if negative { power.neg() } else { power })
            }
        }
    }

    /// As POSIX defines pow() where an operand is infinite and neither is NaN.
    fn infinite_power(&self, exponent: &Self) -> Self {
        let one = Self::from_i64(1);
        let growing = !exponent.is_negative();
        if self.compare(&one).is_eq() || exponent.is_zero() {
            return one;
        }
        if self.is_zero() {
            return Self::ZERO;
        }
        if !exponent.is_finite() {
            return match self.abs().compare(&one) {
                std::cmp::Ordering::Equal => one,
                larger if larger.is_gt() == growing => Self::INFINITY,
                _ => Self::ZERO,
            };
        }
        match (growing, self.is_negative() && exponent.whole().is_some_and(|whole| whole.odd)) {
            (false, _) => Self::ZERO,
            (true, true) => Self::NEGATIVE_INFINITY,
            (true, false) => Self::INFINITY,
        }
    }

    fn whole_power(&self, number: i32, exponent: &Self) -> Result<Self> {
        let base = self.trimmed();
        let magnitude = base.coefficient.unsigned_abs();
        let weight = match magnitude {
            0 => 0.0,
            _ => f64::from(number) * ((magnitude as f64).log10() + f64::from(base.exponent)),
        };
        if weight > f64::from(1u32 << 17) {
            return Err(overflow());
        }
        // Unlike a fractional power it is not shown with 16 significant digits, but with 16 after the point.
        let scale = shown(0, &[self]);
        if weight + 1.0 < -f64::from(scale) {
            return Self::finite(0, 0, scale);
        }
        if number != 0 && magnitude == 0 {
            return Self::finite(0, 0, scale);
        }
        let count = number.unsigned_abs();
        if magnitude > 1 && u64::from(digits(magnitude)) * u64::from(count) > EXACT_DIGITS {
            let power = self.abs().real_power_shown(exponent, weight, scale)?;
            return Ok(if self.is_negative() && number % 2 != 0 { power.neg() } else { power });
        }
        let power = BigInt::from(base.coefficient).pow(count);
        // The power is `power` × 10^`shift`.
        let shift = i64::from(base.exponent) * i64::from(number);
        if number >= 0 {
            return held_power(power, shift, scale);
        }
        let places = shift + i64::from(scale) + 1;
        // One digit more than is shown, and what is below it only matters where that digit is the last of a half.
        let quotient = if places >= 0 { ten(places as u32) / power } else { BigInt::ZERO };
        held(&rounded(quotient, 1), scale)
    }

    /// e^(`exponent` × ln `self`) for a positive number.
    fn real_power(&self, exponent: &Self) -> Result<Self> {
        // The display scale follows from this estimate to about 8 digits, so it has to err as Postgres' does.
        let places = (8 - self.ln_weight()?).max(0) as u32;
        let logarithm = rounded(self.ln_fixed(places + GUARD), GUARD);
        let product = logarithm * BigInt::from(exponent.coefficient);
        let product = match u32::try_from(-exponent.exponent) {
            Ok(fraction) => rounded(product, fraction),
            Err(_) => scaled(product, exponent.exponent.into()),
        };
        let value = approximate(&product, places.into());
        if value.abs() > MAX_RESULT * 3.01 {
            return if value > 0.0 { Err(overflow()) } else { Self::finite(0, 0, MAX_PLACES as u32) };
        }
        let weight = value * LOG10_E;
        self.real_power_shown(exponent, weight, shown(weight as i32, &[self, exponent]))
    }

    /// The same with `scale` digits after the point, of a result near 10^`weight`.
    fn real_power_shown(&self, exponent: &Self, weight: f64, scale: u32) -> Result<Self> {
        let places = scale + weight.max(0.0) as u32 + GUARD;
        let long = exponent.places_for(places);
        let product = self.ln_fixed(long) * BigInt::from(exponent.coefficient);
        let product = scaled(product, i64::from(exponent.exponent) + i64::from(places) - i64::from(long));
        held(&rounded(exponential(&product, places), places - scale), scale)
    }

    /// Places that a factor needs so that its product with `self` is right to `places`.
    fn places_for(&self, places: u32) -> u32 {
        let whole = digits(self.coefficient.unsigned_abs()) as i32 + self.exponent;
        places + whole.max(0) as u32 + GUARD
    }

    /// An integer's value, if it fits, and whether it is odd; `None` for fractions.
    fn whole(&self) -> Option<Whole> {
        if !self.is_finite() {
            return Some(Whole { number: None, odd: false });
        }
        let value = self.trimmed();
        if value.exponent < 0 && value.coefficient != 0 {
            return None;
        }
        let power = POWERS.get(value.exponent.max(0) as usize).copied();
        let number = power.and_then(|power| value.coefficient.checked_mul(power as i128));
        let number = if value.coefficient == 0 { Some(0) } else { number };
        let odd = value.exponent <= 0 && value.coefficient % 2 != 0;
        Some(Whole { number: number.and_then(|number| i32::try_from(number).ok()), odd })
    }

    /// Whether it is its own logarithm: NaN or infinite. Zero and below have none.
    fn logarithmic(&self) -> Result<bool> {
        match self.class {
            Class::Nan | Class::Infinity => Ok(true),
            Class::Positive => Ok(false),
            Class::Zero => Err(Error::new("2201E", "cannot take logarithm of zero")),
            Class::Negative | Class::NegativeInfinity => {
                Err(Error::new("2201E", "cannot take logarithm of a negative number"))
            }
        }
    }

    /// Postgres' estimate_ln_dweight: about the power of ten of the first digit of the logarithm.
    fn ln_weight(&self) -> Result<i32> {
        let tenth = |value: i128| Self::finite(value, -1, 1);
        if self.compare(&tenth(9)?).is_ge() && self.compare(&tenth(11)?).is_le() {
            // ln(x) is about x - 1 there.
            let (weight, first) = self.sub(&Self::from_i64(1))?.leading(1);
            return Ok(if first == 0 { 0 } else { weight * 4 + (first as f64).log10() as i32 });
        }
        let (weight, first) = self.leading(2);
        let logarithm = (first as f64).ln() + f64::from(weight * 4 - 4) * std::f64::consts::LN_10;
        Ok(logarithm.abs().log10() as i32)
    }

    /// In units of 10^-`places`.
    fn fixed(&self, places: u32) -> BigInt {
        scaled(BigInt::from(self.coefficient), i64::from(self.exponent) + i64::from(places))
    }

    /// The logarithm of a positive number.
    fn ln_fixed(&self, places: u32) -> BigInt {
        // An exponent has up to 5 digits, by which errors in ln(10) grow.
        let long = places.max(DIGITS) + 8;
        let one = ten(long);
        let magnitude = self.coefficient.unsigned_abs();
        let count = digits(magnitude);
        // 0.1 <= part < 1, then 0.7 <= part < 1.4.
        let mut part = BigInt::from(magnitude) * ten(long - count);
        let mut doubled = 0;
        while &part * 10 < &one * 7 {
            part *= 2;
            doubled += 1;
        }
        let two = twice_artanh(&BigInt::from(1), &BigInt::from(3), &one);
        let quarter = twice_artanh(&BigInt::from(1), &BigInt::from(9), &one);
        let tens = &two * 3 + quarter;
        let logarithm = twice_artanh(&(&part - &one), &(&part + &one), &one) - two * doubled
            + tens * (self.exponent + count as i32);
        logarithm / ten(long - places)
    }
}

/// An integral exponent.
#[derive(Clone, Copy)]
struct Whole {
    /// If it fits.
    number: Option<i32>,
    odd: bool,
}

/// The display scale of a result whose first digit is near 10^`weight`, of `operands`.
fn shown(weight: i32, operands: &[&Numeric]) -> u32 {
    let least = operands.iter().map(|operand| i32::from(operand.scale)).max().unwrap_or(0);
    (MIN_SIGNIFICANT - weight).max(least).clamp(0, MAX_PLACES) as u32
}

fn ten(power: u32) -> BigInt {
    BigInt::from(10).pow(power)
}

/// `value` × 10^`power`, cut off.
fn scaled(value: BigInt, power: i64) -> BigInt {
    match u32::try_from(power) {
        Ok(power) => value * ten(power),
        // Nothing is left of a value that is shorter than what is cut.
        Err(_) if -power > (value.bits() as i64) => BigInt::ZERO,
        Err(_) => value / ten(power.unsigned_abs() as u32),
    }
}

/// Without the last `places`, half away from zero.
fn rounded(value: BigInt, places: u32) -> BigInt {
    let unit = ten(places);
    let half = &unit / 2;
    match value.sign() {
        Sign::Minus => (value - half) / unit,
        _ => (value + half) / unit,
    }
}

/// About `value` × 10^-`places`.
fn approximate(value: &BigInt, places: i64) -> f64 {
    format!("{value}e{}", -places).parse().unwrap_or(f64::NAN)
}

/// 2 artanh(`numerator` / `denominator`) in units of 1 / `one`: ln(x) for (x - 1) / (x + 1).
fn twice_artanh(numerator: &BigInt, denominator: &BigInt, one: &BigInt) -> BigInt {
    let mut term = numerator * one / denominator;
    let square = &term * &term / one;
    let mut sum = BigInt::ZERO;
    let mut divisor = 1u32;
    while term.sign() != Sign::NoSign {
        sum += &term / divisor;
        term = term * &square / one;
        divisor += 2;
    }
    sum * 2
}

/// e^`value`, both in units of 10^-`places`.
fn exponential(value: &BigInt, places: u32) -> BigInt {
    let one = ten(places);
    let two = twice_artanh(&BigInt::from(1), &BigInt::from(3), &one);
    // e^x is 2^n e^r with r below ln(2).
    let doublings = value / &two;
    let rest = value - &doublings * two;
    let (mut term, mut sum) = (one.clone(), one.clone());
    let mut divisor = 1u32;
    while term.sign() != Sign::NoSign {
        term = term * &rest / &one / divisor;
        sum += &term;
        divisor += 1;
    }
    match i64::try_from(doublings) {
        Ok(count @ 0..) => sum << count,
        Ok(count) => sum >> -count,
        Err(_) => BigInt::ZERO,
    }
}

/// `value` × 10^`shift` to `scale` digits after the point.
fn held_power(value: BigInt, shift: i64, scale: u32) -> Result<Numeric> {
    let surplus = -shift - i64::from(scale);
    if surplus > 0 {
        return held(&rounded(value, surplus as u32), scale);
    }
    exact(&value, shift, scale)
}

/// `value` × 10^-`scale`.
fn held(value: &BigInt, scale: u32) -> Result<Numeric> {
    exact(value, -i64::from(scale), scale)
}

/// `value` × 10^`exponent`, shown with at least `scale` digits after the point.
pub fn exact(value: &BigInt, exponent: i64, scale: u32) -> Result<Numeric> {
    let text = value.to_string();
    let trimmed = if text == "0" { "0" } else { text.trim_end_matches('0') };
    let exponent = exponent + (text.len() - trimmed.len()) as i64;
    let coefficient: i128 = trimmed.parse().map_err(|_| too_long())?;
    let exponent = i32::try_from(exponent).map_err(|_| overflow())?;
    Numeric::finite(coefficient, exponent, scale.min(MAX_SCALE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `function a` and `a operator b`; the results are PostgreSQL 15's (SQLSTATE for errors), but 22003 where it has
    /// more than 38 significant digits.
    #[test]
    fn results_and_display_scales_are_those_of_postgres() {
        let number = |text: &str| text.parse::<Numeric>().unwrap();
        let mut wrong = vec![];
        for line in include_str!("transcendental.txt").lines() {
            let (expression, expected) = line.split_once(" => ").unwrap();
            let result = match expression.split_whitespace().collect::<Vec<_>>()[..] {
                ["exp", a] => number(a).exp(),
                ["ln", a] => number(a).ln(),
                [base, "log", a] => number(a).log(&number(base)),
                [a, "^", b] => number(a).power(&number(b)),
                [a, "div", b] => number(a).div_trunc(&number(b)),
                _ => panic!("{line}"),
            };
            let shown = result.map_or_else(|error| error.sqlstate.to_string(), |value| value.to_string());
            if shown != expected {
                wrong.push(format!("{line}\n    but: {shown}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
