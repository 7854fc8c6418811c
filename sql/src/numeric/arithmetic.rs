//! Postgres' numeric operators: exact, with its display scales; what cannot be held in 38 digits is 22003.
//!
//! Intermediate results are 256 bits wide: products and aligned sums of 38-digit coefficients always fit.

use super::value::{BIAS, Class, DIGITS, MAX_SCALE, Numeric, POWERS, digits, overflow, rounded, too_long};
use crate::error::{Error, Result};
use arrow::datatypes::i256;
use std::sync::LazyLock;

/// Postgres' NUMERIC_MIN_SIG_DIGITS: a quotient has at least this many.
const MIN_SIGNIFICANT: i32 = 16;
/// Postgres' NUMERIC_MAX_DISPLAY_SCALE: a quotient has at most this many digits after the point.
const MAX_QUOTIENT_SCALE: i32 = 1000;

/// Powers of ten that fit i256.
static WIDE_POWERS: LazyLock<[i256; 77]> = LazyLock::new(|| {
    let mut powers = [i256::ONE; 77];
    for i in 1..77 {
        powers[i] = powers[i - 1].wrapping_mul(i256::from_i128(10));
    }
    powers
});

/// 10^`n`; `None` beyond 10^76.
pub(super) fn wide_power(n: i32) -> Option<i256> {
    WIDE_POWERS.get(usize::try_from(n).ok()?).copied()
}

impl Numeric {
    pub fn add(&self, other: &Self) -> Result<Self> {
        if !self.is_finite() || !other.is_finite() {
            return Ok(match (self.class, other.class) {
                (Class::Nan, _) | (_, Class::Nan) => Self::NAN,
                (Class::Infinity, Class::NegativeInfinity) | (Class::NegativeInfinity, Class::Infinity) => Self::NAN,
                (Class::Infinity | Class::NegativeInfinity, _) => *self,
                _ => *other,
            });
        }
        let scale = self.scale.max(other.scale) as u32;
        if self.exponent == other.exponent {
            // Two coefficients below 10^38 cannot overflow i128.
            return Self::finite(self.coefficient + other.coefficient, self.exponent, scale);
        }
        if self.coefficient == 0 || other.coefficient == 0 {
            let value = if self.coefficient == 0 { other } else { self };
            return Self::finite(value.coefficient, value.exponent, scale);
        }
        let (high, mut low) = if self.exponent > other.exponent { (self, *other) } else { (other, *self) };
        if high.exponent - low.exponent > DIGITS as i32 {
            low = low.trimmed();
        }
        // Still further apart: the sum ends in a digit other than zero more than 38 places behind its first.
        let gap = high.exponent - low.exponent;
        let power = wide_power(gap).filter(|_| gap <= DIGITS as i32).ok_or_else(too_long)?;
        let aligned = i256::from_i128(high.coefficient).wrapping_mul(power);
        Self::narrowed(aligned.wrapping_add(i256::from_i128(low.coefficient)), low.exponent, scale)
    }

    pub fn sub(&self, other: &Self) -> Result<Self> {
        self.add(&other.neg())
    }

    pub fn mul(&self, other: &Self) -> Result<Self> {
        if !self.is_finite() || !other.is_finite() {
            if self.is_nan() || other.is_nan() || self.is_zero() || other.is_zero() {
                return Ok(Self::NAN);
            }
            return Ok(infinity(self.is_negative() != other.is_negative()));
        }
        let scale = (self.scale as u32 + other.scale as u32).min(MAX_SCALE);
        let exponent = self.exponent + other.exponent;
        match self.coefficient.checked_mul(other.coefficient) {
            Some(product) => Self::finite(product, exponent, scale),
            None => {
                let product = i256::from_i128(self.coefficient).wrapping_mul(i256::from_i128(other.coefficient));
                Self::narrowed(product, exponent, scale)
            }
        }
    }

    pub fn div(&self, other: &Self) -> Result<Self> {
        if self.is_nan() || other.is_nan() {
            return Ok(Self::NAN);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        match (self.is_finite(), other.is_finite()) {
            (false, false) => Ok(Self::NAN),
            (false, true) => Ok(infinity(self.is_negative() != other.is_negative())),
            (true, false) => Ok(Self::ZERO),
            (true, true) => self.quotient(other, self.quotient_scale(other)),
        }
    }

    /// `self / other` for finite operands, rounded half away from zero to `scale` digits.
    fn quotient(&self, other: &Self, scale: i32) -> Result<Self> {
        let shift = self.exponent - other.exponent + scale;
        let (mut dividend, mut divisor) = (i256::from_i128(self.coefficient), i256::from_i128(other.coefficient));
        let mut exponent = -scale;
        if shift >= 0 {
            // Up to 10^76: further zeros are appended to the quotient, if it is exact then.
            let room = (76 - digits(self.coefficient.unsigned_abs()) as i32).min(shift);
            dividend = dividend.wrapping_mul(wide_power(room).ok_or_else(too_long)?);
            exponent += shift - room;
        } else {
            match wide_power(-shift).and_then(|power| divisor.checked_mul(power)) {
                Some(wide) => divisor = wide,
                None => return Self::finite(0, 0, scale as u32),
            }
        }
        let (mut quotient, rest) = (dividend.wrapping_div(divisor), dividend.wrapping_rem(divisor));
        if exponent > -scale && rest != i256::ZERO {
            return Err(too_long());
        }
        let (rest, divisor) = (absolute(rest), absolute(divisor));
        if rest >= divisor.wrapping_sub(rest) {
            let negative = self.is_negative() != other.is_negative();
            quotient = quotient.wrapping_add(if negative { i256::MINUS_ONE } else { i256::ONE });
        }
        Self::narrowed(quotient, exponent, scale as u32)
    }

    /// Postgres' select_div_scale: at least 16 significant digits, counted in its base-10000 digits.
    fn quotient_scale(&self, other: &Self) -> i32 {
        let ((weight1, first1), (weight2, first2)) = (self.leading(1), other.leading(1));
        let mut weight = weight1 - weight2;
        if first1 <= first2 {
            weight -= 1;
        }
        let scale = MIN_SIGNIFICANT - weight * 4;
        scale.max(self.scale as i32).max(other.scale as i32).clamp(0, MAX_QUOTIENT_SCALE)
    }

    /// Weight of the first base-10000 digit, and the value of the first `count` of them; (0, 0) for zero.
    pub(super) fn leading(&self, count: i32) -> (i32, u128) {
        if self.coefficient == 0 {
            return (0, 0);
        }
        let magnitude = self.coefficient.unsigned_abs();
        let decimals = digits(magnitude) as i32;
        // Power of ten of the first decimal digit, and how many decimals share its base-10000 digit.
        let top = self.exponent + decimals - 1;
        let weight = top.div_euclid(4);
        let shown = top.rem_euclid(4) + 1 + 4 * (count - 1);
        let first = if decimals >= shown {
            magnitude / POWERS[(decimals - shown) as usize]
        } else {
            magnitude * POWERS[(shown - decimals) as usize]
        };
        (weight, first)
    }

    /// The quotient without its fraction.
    pub fn div_trunc(&self, other: &Self) -> Result<Self> {
        match self.is_finite() && other.is_finite() && !other.is_zero() {
            true => self.sub(&self.rem(other)?)?.quotient(other, 0),
            false => self.div(other),
        }
    }

    /// The rest of truncating division; has the sign of `self`.
    pub fn rem(&self, other: &Self) -> Result<Self> {
        if self.is_nan() || other.is_nan() {
            return Ok(Self::NAN);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        if !self.is_finite() {
            return Ok(Self::NAN);
        }
        if !other.is_finite() {
            return Ok(*self);
        }
        let scale = self.scale.max(other.scale) as u32;
        let gap = self.exponent - other.exponent;
        if gap >= 0 {
            let divisor = i256::from_i128(other.coefficient);
            let mut rest = i256::from_i128(self.coefficient).wrapping_rem(divisor);
            // In steps that keep the product below 10^76.
            let mut left = gap;
            while left > 0 && rest != i256::ZERO {
                let step = left.min(DIGITS as i32);
                let power = wide_power(step).ok_or_else(overflow)?;
                rest = rest.wrapping_mul(power).wrapping_rem(divisor);
                left -= step;
            }
            return Self::narrowed(rest, other.exponent, scale);
        }
        match wide_power(-gap).filter(|_| -gap <= DIGITS as i32) {
            Some(power) => {
                let divisor = i256::from_i128(other.coefficient).wrapping_mul(power);
                Self::narrowed(i256::from_i128(self.coefficient).wrapping_rem(divisor), self.exponent, scale)
            }
            // The divisor is larger than any coefficient at this exponent.
            None => Self::finite(self.coefficient, self.exponent, scale),
        }
    }

    pub fn neg(&self) -> Self {
        let class = match self.class {
            Class::NegativeInfinity => Class::Infinity,
            Class::Negative => Class::Positive,
            Class::Positive => Class::Negative,
            Class::Infinity => Class::NegativeInfinity,
            same => same,
        };
        Self { class, coefficient: -self.coefficient, ..*self }
    }

    pub fn abs(&self) -> Self {
        if self.is_negative() { self.neg() } else { *self }
    }

    /// -1, 0 or 1; NaN stays.
    pub fn sign(&self) -> Self {
        match self.class {
            Class::Nan => *self,
            Class::Zero => Self::ZERO,
            _ if self.is_negative() => Self::from_i64(-1),
            _ => Self::from_i64(1),
        }
    }

    /// To `places` digits after the point (before it, if negative), half away from zero.
    pub fn round(&self, places: i32) -> Result<Self> {
        self.cut(places, rounded)
    }

    /// To `places` digits after the point, towards zero.
    pub fn trunc(&self, places: i32) -> Result<Self> {
        self.cut(places, |value, divisor| value / divisor)
    }

    pub fn floor(&self) -> Result<Self> {
        self.cut(0, |value, divisor| value.div_euclid(divisor))
    }

    pub fn ceil(&self) -> Result<Self> {
        Ok(self.neg().floor()?.neg())
    }

    /// Replaces the digits below `places` by `divide`'s verdict on them.
    fn cut(&self, places: i32, divide: impl Fn(i128, i128) -> i128) -> Result<Self> {
        if !self.is_finite() {
            return Ok(*self);
        }
        let places = places.clamp(-BIAS, MAX_SCALE as i32);
        let scale = places.max(0) as u16;
        let surplus = -places - self.exponent;
        if surplus <= 0 || self.coefficient == 0 {
            return Ok(Self { scale, exponent: if self.is_zero() { -(scale as i32) } else { self.exponent }, ..*self });
        }
        // Cut more than 38 digits above the last one, every coefficient is as good as a hundredth.
        let (coefficient, exponent) = match POWERS.get(surplus as usize) {
            Some(&power) => (divide(self.coefficient, power as i128), -places),
            None => (divide(self.coefficient.signum(), POWERS[2] as i128), -places),
        };
        Self::finite(coefficient, exponent, scale as u32)
    }

    /// Postgres' sqrt: at least 16 significant digits.
    pub fn sqrt(&self) -> Result<Self> {
        match self.class {
            Class::Nan | Class::Infinity => return Ok(*self),
            Class::Negative | Class::NegativeInfinity => {
                return Err(Error::new("2201F", "cannot take square root of a negative number"));
            }
            Class::Zero => return Self::finite(0, 0, (self.scale as u32).max(MIN_SIGNIFICANT as u32 - 1)),
            Class::Positive => {}
        }
        let weight = self.leading(1).0;
        let root_weight = if weight >= 0 { weight * 4 / 2 + 1 } else { 1 - (1 - weight * 4) / 2 };
        let scale = (MIN_SIGNIFICANT - root_weight).max(self.scale as i32).clamp(0, MAX_QUOTIENT_SCALE);
        // One digit more than shown decides the rounding: a root is never exactly half way.
        let shift = self.exponent + 2 * (scale + 1);
        let square = i256::from_i128(self.coefficient);
        let square = if shift >= 0 {
            wide_power(shift).and_then(|power| square.checked_mul(power)).ok_or_else(too_long)?
        } else {
            wide_power(-shift).map_or(i256::ZERO, |power| square.wrapping_div(power))
        };
        let root = integer_root(square);
        let root = root.to_i128().ok_or_else(too_long)?;
        Self::finite(rounded(root, 10), -scale, scale as u32)
    }

    /// Without trailing zeros in the coefficient.
    pub(super) fn trimmed(&self) -> Self {
        let mut value = *self;
        while value.coefficient != 0 && value.coefficient % 10 == 0 {
            value.coefficient /= 10;
            value.exponent += 1;
        }
        value
    }

    /// Shown with no more digits after the point than the value has.
    pub fn with_least_scale(&self) -> Self {
        let mut value = *self;
        while value.exponent < 0 && value.coefficient % 10 == 0 && value.coefficient != 0 {
            value.coefficient /= 10;
            value.exponent += 1;
        }
        if value.coefficient == 0 {
            value.exponent = 0;
        }
        value.scale = (-value.exponent).max(0) as u16;
        value
    }

    /// `value` × 10^`exponent` if it has no more than 38 significant digits.
    pub(super) fn narrowed(mut value: i256, mut exponent: i32, scale: u32) -> Result<Self> {
        let ten = i256::from_i128(10);
        loop {
            if let Some(narrow) = value.to_i128() {
                return Self::finite(narrow, exponent, scale);
            }
            if value.wrapping_rem(ten) != i256::ZERO {
                return Err(too_long());
            }
            value = value.wrapping_div(ten);
            exponent += 1;
        }
    }
}

pub(super) fn absolute(value: i256) -> i256 {
    if value.is_negative() { value.wrapping_neg() } else { value }
}

/// The largest integer whose square is not above `value`, by Newton's method from above.
fn integer_root(value: i256) -> i256 {
    if value == i256::ZERO {
        return value;
    }
    let bits = 256 - value.leading_zeros() as i32;
    let mut root = i256::ONE << ((bits + 1) / 2) as u8;
    loop {
        let next = (root.wrapping_add(value.wrapping_div(root))) >> 1;
        if next >= root {
            return root;
        }
        root = next;
    }
}

fn infinity(negative: bool) -> Numeric {
    if negative { Numeric::NEGATIVE_INFINITY } else { Numeric::INFINITY }
}

fn division_by_zero() -> Error {
    Error::new("22012", "division by zero")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    fn number(text: &str) -> Numeric {
        text.parse().unwrap()
    }

    /// Lines of `a op b => result`; the results are PostgreSQL 15's (SQLSTATE for errors).
    fn check(script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (expression, expected) = line.split_once("=>").unwrap();
            let words: Vec<_> = expression.split_whitespace().collect();
            let result = match words[..] {
                [a, "+", b] => number(a).add(&number(b)),
                [a, "-", b] => number(a).sub(&number(b)),
                [a, "*", b] => number(a).mul(&number(b)),
                [a, "/", b] => number(a).div(&number(b)),
                [a, "%", b] => number(a).rem(&number(b)),
                ["round", a, places] => number(a).round(places.parse().unwrap()),
                ["trunc", a, places] => number(a).trunc(places.parse().unwrap()),
                ["ceil", a] => number(a).ceil(),
                ["floor", a] => number(a).floor(),
                ["sqrt", a] => number(a).sqrt(),
                _ => panic!("{line}"),
            };
            let shown = result.map_or_else(|error| error.sqlstate.to_string(), |value| value.to_string());
            assert_eq!(shown, expected.trim(), "{line}");
        }
    }

    #[test]
    fn results_and_display_scales_are_those_of_postgres() {
        check(include_str!("postgres.txt"));
    }

    #[test]
    fn quotients_of_large_numbers_keep_what_is_exact() {
        check(
            "
            1e60 / 1e10 => 100000000000000000000000000000000000000000000000000
            1e60 / 3    => 22003
            1e-10 / 1e10 => 0.0000000000000000000100000000000000000000
            1e-900 / 1e900 => 0.0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000
            1e60 % 7    => 1
            7 % 1e60    => 7
            ",
        );
    }

    /// Random values agree with exact integer arithmetic on 256 bits.
    #[test]
    fn sums_products_and_rests_agree_with_integers() {
        use proptest::prelude::*;
        let value = (any::<i64>(), 0u16..6);
        proptest!(|((a, p) in value.clone(), (b, q) in value)| {
            let (x, y) = (Numeric::new(a as i128, p).unwrap(), Numeric::new(b as i128, q).unwrap());
            let s = p.max(q);
            let align = |v: i64, scale: u16| v as i128 * 10i128.pow((s - scale) as u32);
            let (a_s, b_s) = (align(a, p), align(b, q));
            prop_assert_eq!(x.add(&y).unwrap(), Numeric::new(a_s + b_s, s).unwrap());
            prop_assert_eq!(x.sub(&y).unwrap(), Numeric::new(a_s - b_s, s).unwrap());
            prop_assert_eq!(x.compare(&y), a_s.cmp(&b_s));
            prop_assert_eq!(x.mul(&y).unwrap().unscaled((p + q) as i32), Some(a as i128 * b as i128));
            if b != 0 {
                prop_assert_eq!(x.rem(&y).unwrap(), Numeric::new(a_s % b_s, s).unwrap());
                let back = x.div(&y).unwrap();
                let error = back.mul(&y).map(|product| product.sub(&x).unwrap().abs());
                if let Ok(error) = error {
                    // At most half a unit of the quotient's last digit, times the divisor.
                    let half = Numeric::finite(5, -(back.scale() as i32) - 1, 0).unwrap();
                    prop_assert_ne!(error.compare(&half.mul(&y.abs()).unwrap()), Ordering::Greater);
                }
            }
        });
    }
}
