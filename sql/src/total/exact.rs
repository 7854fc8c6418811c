//! Exact sums of floats: order does not matter, and a value taken back leaves nothing behind (1e16 + 1 - 1e16 is 1).
//!
//! Every finite float8 is an integer times 2^-1074, so a sum is one wide integer; only the digits that are in use are
//! held. The result is the float nearest to the true sum, so it is the same however the rows came: it may differ in the
//! last bits from a database that adds floats one by one in some order, and is never further from the truth.

use super::packed::Written;
use crate::{Error, Result};

/// Digits have 32 bits; the first digit's lowest bit is worth 2^-1074.
const DIGIT: u32 = 32;
const MASK: i64 = (1 << DIGIT) - 1;
/// Additions to a digit before its carries must be taken out: each adds less than 2^32 to an i64.
const ADDITIONS: u32 = 1 << 30;

#[derive(Clone, Debug, Default)]
pub struct Exact {
    nan: i128,
    infinity: i128,
    negative_infinity: i128,
    /// Place of `digits[0]`.
    low: usize,
    /// May hold more than 32 bits, and any sign, until `carry`.
    digits: Vec<i64>,
    additions: u32,
}

impl Exact {
    pub fn add_value(&mut self, value: f64, weight: i64) {
        if !value.is_finite() {
            let counter = match value {
                f64::INFINITY => &mut self.infinity,
                f64::NEG_INFINITY => &mut self.negative_infinity,
                _ => &mut self.nan,
            };
            *counter += i128::from(weight);
            return;
        }
        let bits = value.to_bits();
        let exponent = (bits >> 52 & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        // Subnormals have the place of the smallest normals, without the hidden bit.
        let (mantissa, place) = if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let magnitude = u128::from(mantissa) * u128::from(weight.unsigned_abs());
        if magnitude == 0 {
            return;
        }
        let sign = if (weight < 0) ^ value.is_sign_negative() { -1 } else { 1 };
        let shift = place as u32 % DIGIT;
        let place = place / DIGIT as usize;
        // 117 bits, moved by 31 at most, do not fit 128: the halves are moved one by one.
        self.add_digits(place, (magnitude & u128::from(u64::MAX)) << shift, sign);
        self.add_digits(place + 2, magnitude >> 64 << shift, sign);
    }

    /// The nearest float8: infinite if it is out of range.
    pub fn value(&self) -> f64 {
        if self.nan > 0 || self.infinity > 0 && self.negative_infinity > 0 {
            return f64::NAN;
        }
        if self.infinity > 0 {
            return f64::INFINITY;
        }
        if self.negative_infinity > 0 {
            return f64::NEG_INFINITY;
        }
        let mut sum = self.clone();
        let negative = sum.carry() < 0;
        if negative {
            sum.digits.iter_mut().for_each(|digit| *digit = -*digit);
            // The carry of a negative sum stands for a digit of -1 above all others.
            sum.digits.push(1);
            sum.carry();
        }
        let magnitude = sum.rounded();
        if negative { -magnitude } else { magnitude }
    }

    /// Whether an infinite value is what was added, and not an overflow.
    pub fn has_infinity(&self) -> bool {
        self.infinity > 0 || self.negative_infinity > 0
    }

    fn add_digits(&mut self, place: usize, mut magnitude: u128, sign: i64) {
        if magnitude == 0 {
            return;
        }
        let len = (128 - magnitude.leading_zeros()).div_ceil(DIGIT) as usize;
        self.reach(place, place + len);
        self.additions += 1;
        for digit in &mut self.digits[place - self.low..][..len] {
            *digit += sign * (magnitude as i64 & MASK);
            magnitude >>= DIGIT;
        }
        if self.additions >= ADDITIONS {
            let carry = self.carry();
            if carry != 0 {
                self.digits.push(carry);
            }
        }
    }

    /// Makes room for digits `from..to`.
    fn reach(&mut self, from: usize, to: usize) {
        if self.digits.is_empty() {
            self.low = from;
        }
        if from < self.low {
            self.digits.splice(0..0, std::iter::repeat_n(0, self.low - from));
            self.low = from;
        }
        if to > self.low + self.digits.len() {
            self.digits.resize(to - self.low, 0);
        }
    }

    /// Brings every digit into 0..2^32 and gives what is left above the last: 0, or -1 for a negative sum.
    fn carry(&mut self) -> i64 {
        self.additions = 0;
        let mut carry = 0;
        for digit in &mut self.digits {
            let total = *digit + carry;
            *digit = total & MASK;
            carry = total >> DIGIT;
        }
        while carry != 0 && carry != -1 {
            self.digits.push(carry & MASK);
            carry >>= DIGIT;
        }
        carry
    }

    /// The float nearest to digits without carries, ties to even.
    fn rounded(&self) -> f64 {
        let Some(top) = self.digits.iter().rposition(|&digit| digit != 0) else { return 0.0 };
        let width = (64 - self.digits[top].leading_zeros()) as usize;
        let highest = (self.low + top) * DIGIT as usize + width - 1;
        let shift = highest.saturating_sub(52);
        let mut mantissa = (shift..=highest).rev().fold(0u64, |m, place| m << 1 | u64::from(self.bit(place)));
        let half = shift > 0 && self.bit(shift - 1);
        let odd = mantissa & 1 == 1;
        if half && (odd || self.any_below(shift - 1)) {
            mantissa += 1;
        }
        // The hidden bit of the mantissa, or a carry out of it, counts up the exponent.
        match (shift as u64).checked_mul(1 << 52).map(|exponent| exponent + mantissa) {
            Some(bits) if shift < 2047 && bits < f64::INFINITY.to_bits() => f64::from_bits(bits),
            _ => f64::INFINITY,
        }
    }

    fn bit(&self, place: usize) -> bool {
        let (digit, bit) = (place / DIGIT as usize, place % DIGIT as usize);
        digit.checked_sub(self.low).and_then(|at| self.digits.get(at)).is_some_and(|digit| digit >> bit & 1 == 1)
    }

    fn any_below(&self, place: usize) -> bool {
        let (digit, bit) = (place / DIGIT as usize, place % DIGIT as usize);
        let whole = digit.saturating_sub(self.low).min(self.digits.len());
        self.digits[..whole].iter().any(|&digit| digit != 0)
            || (digit * DIGIT as usize..digit * DIGIT as usize + bit).any(|place| self.bit(place))
    }
}

impl Written for Exact {
    fn bytes(&self) -> usize {
        self.digits.capacity() * size_of::<i64>()
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.nan += other.nan;
        self.infinity += other.infinity;
        self.negative_infinity += other.negative_infinity;
        if !other.digits.is_empty() {
            self.carried();
            let mut other = other.clone();
            other.carried();
            self.reach(other.low, other.low + other.digits.len());
            for (to, digit) in self.digits[other.low - self.low..].iter_mut().zip(&other.digits) {
                *to += digit;
            }
        }
        Ok(())
    }

    /// Nothing for zero; else the three counters if any is not 0, the sign, the place of the first digit, and the
    /// digits without zeros (or, below zero, all ones) at either end: equal sums have equal bytes.
    fn encode(&self, bytes: &mut Vec<u8>) {
        let specials = [self.nan, self.infinity, self.negative_infinity];
        let special = specials.iter().any(|&count| count != 0);
        let mut sum = self.clone();
        let carry = sum.carry();
        let filler = carry & MASK;
        let to = sum.digits.iter().rposition(|&digit| digit != filler).map_or(0, |last| last + 1);
        let from = sum.digits[..to].iter().position(|&digit| digit != 0).unwrap_or(to);
        if !special && carry == 0 && from == to {
            return;
        }
        bytes.push(u8::from(special) | u8::from(carry < 0) << 1);
        if special {
            specials.iter().for_each(|count| bytes.extend(count.to_be_bytes()));
        }
        let place = if from == to && carry == 0 { 0 } else { sum.low + from };
        bytes.extend((place as u16).to_be_bytes());
        sum.digits[from..to].iter().for_each(|&digit| bytes.extend((digit as u32).to_be_bytes()));
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let Some((&flags, mut rest)) = bytes.split_first() else { return Ok(Self::default()) };
        let mut sum = Exact::default();
        if flags & 1 != 0 {
            for counter in [&mut sum.nan, &mut sum.infinity, &mut sum.negative_infinity] {
                let (head, tail) = rest.split_first_chunk().ok_or_else(damaged)?;
                *counter = i128::from_be_bytes(*head);
                rest = tail;
            }
        }
        let (place, digits) = rest.split_first_chunk().ok_or_else(damaged)?;
        sum.low = u16::from_be_bytes(*place) as usize;
        let (digits, odd) = digits.as_chunks();
        if !odd.is_empty() || sum.low + digits.len() > MOST {
            return Err(damaged());
        }
        sum.digits = digits.iter().map(|&digit| i64::from(u32::from_be_bytes(digit))).collect();
        if flags & 2 != 0 {
            sum.digits.push(-1);
        }
        Ok(sum)
    }
}

/// Digits that a sum of 2^63 of the largest floats, each 2^63 times, has.
const MOST: usize = (2098 + 126) / DIGIT as usize + 2;

impl Exact {
    /// Every digit below 2^32, but for the last one, which holds the sign.
    fn carried(&mut self) {
        let carry = self.carry();
        if carry != 0 {
            self.digits.push(carry);
        }
    }
}

fn damaged() -> Error {
    Error::internal("damaged sum of floats")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(terms: &[(f64, i64)]) -> Exact {
        let mut sum = Exact::default();
        terms.iter().for_each(|&(value, weight)| sum.add_value(value, weight));
        sum
    }

    fn bytes(sum: &Exact) -> Vec<u8> {
        let mut bytes = vec![];
        sum.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_value_taken_back_leaves_nothing_behind() {
        assert_eq!(sum(&[(1e16, 1), (1.0, 1), (1e16, -1)]).value(), 1.0);
        assert_eq!(sum(&[(1e308, 3), (1e-308, 1), (1e308, -3)]).value(), 1e-308);
        assert_eq!(bytes(&sum(&[(1e300, 1), (f64::NAN, 2), (f64::NAN, -2), (-1e300, 1)])), Vec::<u8>::new());
    }

    #[test]
    fn the_sum_is_the_nearest_float() {
        assert_eq!(sum(&[(0.1, 10)]).value(), 1.0);
        assert_eq!(sum(&[(9007199254740992.0, 1), (1.0, 1)]).value(), 9007199254740992.0);
        assert_eq!(sum(&[(9007199254740992.0, 1), (1.0, 1), (5e-324, 1)]).value(), 9007199254740994.0);
        assert_eq!(sum(&[(-0.1, 3), (0.2, 1)]).value(), -0.1);
        assert_eq!(sum(&[(5e-324, 3)]).value(), 1.5e-323);
        assert_eq!(sum(&[(f64::MAX, 1), (f64::MAX, 1)]).value(), f64::INFINITY);
        assert_eq!(sum(&[(f64::MAX, 2), (f64::MAX, -1)]).value(), f64::MAX);
        assert_eq!(sum(&[(f64::MIN, i64::MAX), (f64::MIN, -(i64::MAX - 1))]).value(), f64::MIN);
    }

    #[test]
    fn infinities_of_both_signs_make_nan() {
        assert_eq!(sum(&[(f64::INFINITY, 1), (1.0, 1)]).value(), f64::INFINITY);
        assert_eq!(sum(&[(f64::NEG_INFINITY, 1), (1.0, 1)]).value(), f64::NEG_INFINITY);
        assert!(sum(&[(f64::NEG_INFINITY, 1), (f64::INFINITY, 1)]).value().is_nan());
    }

    fn any_float() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            -1e3..1e3,
            (-3i32..3).prop_map(f64::from),
            (-1.0..1.0, -300i32..300).prop_map(|(value, power)| value * 10f64.powi(power)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn sums_do_not_depend_on_order_and_survive_being_stored(
            terms in prop::collection::vec((any_float(), prop_oneof![-3i64..4, any::<i64>()]), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = sum(&terms);
            let cut = cut.index(terms.len() + 1);
            let mut halves = sum(&terms[cut..]);
            let stored = Exact::decode(&bytes(&sum(&terms[..cut]))).unwrap();
            halves.merge(&stored).unwrap();
            prop_assert_eq!(bytes(&whole), bytes(&halves));
            let mut back = halves.clone();
            terms.iter().for_each(|&(value, weight)| {
                back.add_value(value, -(weight >> 1));
                back.add_value(value, -(weight - (weight >> 1)));
            });
            prop_assert_eq!(bytes(&back), Vec::<u8>::new());
            let small = terms.iter().all(|(v, w)| v.is_finite() && v.abs() < 1e300 && w.unsigned_abs() < 4);
            let naive: f64 = terms.iter().map(|&(v, w)| v * w as f64).sum();
            let scale: f64 = terms.iter().map(|&(v, w)| (v * w as f64).abs()).sum();
            prop_assert!(!small || (naive - whole.value()).abs() <= scale * 1e-15);
        }
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let mut stored = bytes(&sum(&[(f64::NAN, 1), (0.1, 1)]));
        assert!(Exact::decode(&stored[..5]).is_err());
        stored.push(0);
        assert!(Exact::decode(&stored).is_err());
    }
}
