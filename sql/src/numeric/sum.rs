//! Exact sums of numerics that can also take values back.

use super::arithmetic::wide_power;
use super::value::{Class, MAX_SCALE, Numeric, overflow, too_long};
use crate::error::{Error, Result};
use arrow::datatypes::i256;
use std::collections::BTreeMap;

/// A sum of weighted numerics. Adding is exact and commutes, so a value added and taken back leaves nothing behind.
///
/// Kept: how often NaN and each infinity is in it, one 256-bit total per exponent (mostly one: a column's values share their
/// display scale), and how often each display scale occurs, because the sum is shown with the largest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    nan: i128,
    infinity: i128,
    negative_infinity: i128,
    totals: BTreeMap<i32, i256>,
    scales: BTreeMap<u16, i128>,
}

impl Sum {
    pub fn add(&mut self, value: &Numeric, weight: i64) -> Result<()> {
        match value.class {
            Class::Nan => self.nan += i128::from(weight),
            Class::Infinity => self.infinity += i128::from(weight),
            Class::NegativeInfinity => self.negative_infinity += i128::from(weight),
            _ => {
                count(&mut self.scales, value.scale, weight.into());
                let product = i256::from_i128(value.coefficient).wrapping_mul(i256::from_i128(weight as i128));
                self.add_total(value.exponent, product)?;
            }
        }
        Ok(())
    }

    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.nan += other.nan;
        self.infinity += other.infinity;
        self.negative_infinity += other.negative_infinity;
        for (&scale, &weight) in &other.scales {
            count(&mut self.scales, scale, weight);
        }
        other.totals.iter().try_for_each(|(&exponent, &total)| self.add_total(exponent, total))
    }

    /// The sum of what is in it; 0 if nothing is.
    pub fn value(&self) -> Result<Numeric> {
        if self.nan > 0 || self.infinity > 0 && self.negative_infinity > 0 {
            return Ok(Numeric::NAN);
        }
        if self.infinity > 0 {
            return Ok(Numeric::INFINITY);
        }
        if self.negative_infinity > 0 {
            return Ok(Numeric::NEGATIVE_INFINITY);
        }
        let scale = self.scales.last_key_value().map_or(0, |(&scale, _)| scale) as u32;
        // From the smallest digits up, so that carries cancel before anything is judged too long.
        let Some((&lowest, _)) = self.totals.first_key_value() else { return Numeric::finite(0, 0, scale) };
        let (mut total, mut exponent) = (i256::ZERO, lowest);
        for (&at, &part) in &self.totals {
            let ten = i256::from_i128(10);
            while exponent < at && total != i256::ZERO && total.wrapping_rem(ten) == i256::ZERO {
                total = total.wrapping_div(ten);
                exponent += 1;
            }
            if total == i256::ZERO {
                (total, exponent) = (part, at);
                continue;
            }
            let aligned = wide_power(at - exponent).and_then(|power| part.checked_mul(power));
            total = aligned.and_then(|part| total.checked_add(part)).ok_or_else(too_long)?;
        }
        Numeric::narrowed(total, exponent, scale)
    }

    /// Bytes for stored state: equal sums have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(52 + self.totals.len() * 36 + self.scales.len() * 18);
        for special in [self.nan, self.infinity, self.negative_infinity] {
            bytes.extend(special.to_be_bytes());
        }
        bytes.extend((self.totals.len() as u32).to_be_bytes());
        for (exponent, total) in &self.totals {
            bytes.extend(exponent.to_be_bytes());
            bytes.extend(total.to_be_bytes());
        }
        for (scale, weight) in &self.scales {
            bytes.extend(scale.to_be_bytes());
            bytes.extend(weight.to_be_bytes());
        }
        bytes
    }

    /// Refuses what [`Sum::encode`] cannot have written.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let mut sum = Sum {
            nan: i128::from_be_bytes(take(&mut rest)?),
            infinity: i128::from_be_bytes(take(&mut rest)?),
            negative_infinity: i128::from_be_bytes(take(&mut rest)?),
            ..Sum::default()
        };
        for _ in 0..u32::from_be_bytes(take(&mut rest)?) {
            let exponent = i32::from_be_bytes(take(&mut rest)?);
            sum.totals.insert(exponent, i256::from_be_bytes(take(&mut rest)?));
        }
        while !rest.is_empty() {
            let scale = u16::from_be_bytes(take(&mut rest)?);
            if scale as u32 > MAX_SCALE {
                return Err(damaged());
            }
            sum.scales.insert(scale, i128::from_be_bytes(take(&mut rest)?));
        }
        Ok(sum)
    }

    fn add_total(&mut self, exponent: i32, part: i256) -> Result<()> {
        let total = self.totals.entry(exponent).or_insert(i256::ZERO);
        *total = total.checked_add(part).ok_or_else(overflow)?;
        if *total == i256::ZERO {
            self.totals.remove(&exponent);
        }
        Ok(())
    }
}

fn count(scales: &mut BTreeMap<u16, i128>, scale: u16, weight: i128) {
    let entry = scales.entry(scale).or_insert(0);
    *entry += weight;
    if *entry == 0 {
        scales.remove(&scale);
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk::<N>().ok_or_else(damaged)?;
    *bytes = tail;
    Ok(*head)
}

fn damaged() -> Error {
    Error::internal("damaged sum of numerics")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(terms: &[(&str, i64)]) -> Sum {
        let mut sum = Sum::default();
        for (text, weight) in terms {
            sum.add(&text.parse().unwrap(), *weight).unwrap();
        }
        sum
    }

    #[test]
    fn a_value_taken_back_leaves_nothing_behind() {
        let kept = sum(&[("1.5", 1), ("2", 3)]);
        let changed = sum(&[("1.5", 1), ("NaN", 1), ("1e-20", 2), ("2", 3), ("1e-20", -2), ("NaN", -1)]);
        assert_eq!(changed, kept);
        assert_eq!(changed.value().unwrap().to_string(), "7.5");
        assert_eq!(Sum::decode(&changed.encode()).unwrap(), changed);
        assert!(Sum::decode(&changed.encode()[..5]).is_err());
    }

    #[test]
    fn the_sum_is_shown_with_the_largest_display_scale() {
        assert_eq!(sum(&[("1.00", 1), ("2.5", 1)]).value().unwrap().to_string(), "3.50");
        assert_eq!(sum(&[("1e30", 1), ("0.000", 1)]).value().unwrap().to_string(), format!("1{}.000", "0".repeat(30)));
        assert_eq!(sum(&[]).value().unwrap().to_string(), "0");
    }

    #[test]
    fn infinities_of_both_signs_make_nan() {
        assert_eq!(sum(&[("Infinity", 1), ("5", 1)]).value().unwrap().to_string(), "Infinity");
        assert_eq!(sum(&[("Infinity", 1), ("-Infinity", 1)]).value().unwrap().to_string(), "NaN");
    }

    #[test]
    fn intermediate_totals_may_be_longer_than_the_result() {
        let terms = [("99999999999999999999999999999999999999", 5), ("-99999999999999999999999999999999999999", 5)];
        assert_eq!(sum(&terms).value().unwrap().to_string(), "0");
        assert_eq!(sum(&[("1e37", 1), ("0.01", 1)]).value().unwrap_err().sqlstate, "22003");
    }
}
