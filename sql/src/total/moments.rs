//! The sum of numbers and the sum of their squares, exact: what the variance is made of.
//!
//! Numbers are integers times a power of a base, 10 for exact numbers and 2 for floats, so that both sums are integers,
//! too.

use super::packed::Written;
use crate::numeric::Numeric;
use crate::{Error, Result};
use num_bigint::{BigInt, Sign};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moments<const BASE: u32> {
    /// NaN and infinities, of which no variance is a number.
    special: i128,
    /// Both are of integers times `BASE`^`exponent`.
    exponent: i32,
    sum: BigInt,
    squares: BigInt,
    /// How often each display scale is there, since a result is shown with the largest.
    scales: BTreeMap<u16, i128>,
}

impl Moments<10> {
    pub fn add_number(&mut self, value: &Numeric, weight: i64) {
        let Some((coefficient, exponent, scale)) = value.parts() else {
            self.special += i128::from(weight);
            return;
        };
        self.add_integer(coefficient.into(), exponent, weight);
        count(&mut self.scales, scale, weight.into());
    }

    /// The largest display scale.
    pub fn scale(&self) -> u16 {
        self.scales.last_key_value().map_or(0, |(&scale, _)| scale)
    }
}

impl Moments<2> {
    pub fn add_float(&mut self, value: f64, weight: i64) {
        if !value.is_finite() {
            self.special += i128::from(weight);
            return;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as i32;
        let fraction = (bits & ((1 << 52) - 1)) as i64;
        // Subnormals have the place of the smallest normals, without the hidden bit.
        let (mantissa, exponent) =
            if exponent == 0 { (fraction, -1074) } else { (fraction | 1 << 52, exponent - 1075) };
        // Integers stay short, so that few sums are ever aligned.
        let zeros = if mantissa == 0 { 0 } else { (mantissa.trailing_zeros() as i32).min((-exponent).max(0)) };
        let mantissa = if value.is_sign_negative() { -mantissa } else { mantissa };
        self.add_integer((mantissa >> zeros).into(), exponent + zeros, weight);
    }
}

impl<const BASE: u32> Moments<BASE> {
    /// Whether a value is no number.
    pub fn is_special(&self) -> bool {
        self.special > 0
    }

    /// For `count` values: `count` × the sum of squares - the square of the sum, in units of `BASE` to the power that
    /// comes with it.
    pub fn spread(&self, count: i128) -> (BigInt, i32) {
        (&self.squares * count - &self.sum * &self.sum, 2 * self.exponent)
    }

    fn add_integer(&mut self, mut integer: BigInt, exponent: i32, weight: i64) {
        if integer.sign() == Sign::NoSign {
            return;
        }
        self.reach(exponent);
        integer *= power::<BASE>(exponent - self.exponent);
        self.squares += &integer * &integer * weight;
        self.sum += integer * weight;
    }

    /// Brings the exponent down to `exponent`, if it is above.
    fn reach(&mut self, exponent: i32) {
        if self.sum.sign() == Sign::NoSign && self.squares.sign() == Sign::NoSign {
            self.exponent = exponent;
        }
        if exponent < self.exponent {
            let power = power::<BASE>(self.exponent - exponent);
            self.squares *= &power * &power;
            self.sum *= power;
            self.exponent = exponent;
        }
    }

    /// The same with the largest exponent.
    fn normal(&self) -> Self {
        let mut normal = self.clone();
        if normal.sum.sign() == Sign::NoSign && normal.squares.sign() == Sign::NoSign {
            normal.exponent = 0;
            return normal;
        }
        let base = BigInt::from(BASE);
        let square = &base * &base;
        while (&normal.sum % &base).sign() == Sign::NoSign && (&normal.squares % &square).sign() == Sign::NoSign {
            normal.sum /= &base;
            normal.squares /= &square;
            normal.exponent += 1;
        }
        normal
    }
}

fn power<const BASE: u32>(exponent: i32) -> BigInt {
    BigInt::from(BASE).pow(exponent.max(0) as u32)
}

fn count(scales: &mut BTreeMap<u16, i128>, scale: u16, weight: i128) {
    let entry = scales.entry(scale).or_insert(0);
    *entry += weight;
    if *entry == 0 {
        scales.remove(&scale);
    }
}

impl<const BASE: u32> Written for Moments<BASE> {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.special += other.special;
        let mut other = other.clone();
        self.reach(other.exponent);
        other.reach(self.exponent);
        self.sum += other.sum;
        self.squares += other.squares;
        other.scales.into_iter().for_each(|(scale, weight)| count(&mut self.scales, scale, weight));
        Ok(())
    }

    /// The count of what is no number, the exponent, the display scales, and both sums with their lengths.
    fn encode(&self, bytes: &mut Vec<u8>) {
        let normal = self.normal();
        bytes.extend(normal.special.to_be_bytes());
        bytes.extend(normal.exponent.to_be_bytes());
        bytes.extend((normal.scales.len() as u16).to_be_bytes());
        for (scale, weight) in &normal.scales {
            bytes.extend(scale.to_be_bytes());
            bytes.extend(weight.to_be_bytes());
        }
        let sum = normal.sum.to_signed_bytes_be();
        bytes.extend((sum.len() as u32).to_be_bytes());
        bytes.extend(sum);
        bytes.extend(normal.squares.to_signed_bytes_be());
    }

    fn decode(mut bytes: &[u8]) -> Result<Self> {
        let rest = &mut bytes;
        let special = i128::from_be_bytes(take(rest)?);
        let exponent = i32::from_be_bytes(take(rest)?);
        let mut scales = BTreeMap::new();
        for _ in 0..u16::from_be_bytes(take(rest)?) {
            scales.insert(u16::from_be_bytes(take(rest)?), i128::from_be_bytes(take(rest)?));
        }
        let length = u32::from_be_bytes(take(rest)?) as usize;
        let (sum, squares) = rest.split_at_checked(length).ok_or_else(damaged)?;
        let [sum, squares] = [sum, squares].map(BigInt::from_signed_bytes_be);
        Ok(Self { special, exponent, sum, squares, scales })
    }

    fn bytes(&self) -> usize {
        (self.sum.bits() + self.squares.bits()) as usize / 8
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>().ok_or_else(damaged)?;
    *bytes = tail;
    Ok(*head)
}

fn damaged() -> Error {
    Error::internal("damaged sum of squares")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const BASE: u32>(moments: &Moments<BASE>) -> Vec<u8> {
        let mut bytes = vec![];
        moments.encode(&mut bytes);
        bytes
    }

    #[test]
    fn what_is_taken_back_leaves_nothing_behind() {
        let number = |text: &str| text.parse::<Numeric>().unwrap();
        let mut numbers = Moments::<10>::default();
        for (value, weight) in [("1.50", 2), ("1e-20", 1), ("NaN", 1), ("100", i64::MAX), ("1e-20", -1), ("NaN", -1)] {
            numbers.add_number(&number(value), weight);
        }
        let mut kept = Moments::<10>::default();
        kept.add_number(&number("100"), i64::MAX);
        kept.add_number(&number("1.50"), 2);
        assert_eq!(bytes(&numbers), bytes(&kept));
        assert_eq!(Moments::<10>::decode(&bytes(&kept)).unwrap(), kept.normal());
        assert!(Moments::<10>::decode(&bytes(&kept)[..20]).is_err());
        let mut floats = Moments::<2>::default();
        for (value, weight) in [(1e300, 1), (5e-324, 3), (-0.75, 2), (0.0, 7), (-0.0, 1), (1e300, -1), (5e-324, -3)] {
            floats.add_float(value, weight);
        }
        assert_eq!(floats.spread(2), (BigInt::ZERO, floats.spread(2).1));
        floats.add_float(-0.75, -2);
        assert_eq!(bytes(&floats), bytes(&Moments::<2>::default()));
    }
}
