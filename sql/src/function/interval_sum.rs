//! Sums of intervals: months, days and time add up apart, as in Postgres, in totals that do not overflow.

use super::temporal::{interval_range, scale};
use crate::error::{Error, Result};
use arrow::datatypes::{IntervalMonthDayNano, i256};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntervalSum {
    months: i128,
    days: i128,
    nanoseconds: i256,
}

/// Bytes of a stored total.
const WIDTH: usize = 64;

impl IntervalSum {
    /// Adds `interval`, `weight` times.
    pub fn add(&mut self, interval: IntervalMonthDayNano, weight: i64) {
        let weight = i128::from(weight);
        self.months += i128::from(interval.months) * weight;
        self.days += i128::from(interval.days) * weight;
        let nanoseconds = i256::from_i128(i128::from(interval.nanoseconds) * weight);
        self.nanoseconds = self.nanoseconds.wrapping_add(nanoseconds);
    }

    pub fn merge(&mut self, other: &Self) {
        self.months += other.months;
        self.days += other.days;
        self.nanoseconds = self.nanoseconds.wrapping_add(other.nanoseconds);
    }

    /// The sum, if it is an interval.
    pub fn value(&self) -> Result<IntervalMonthDayNano> {
        let whole = |part: i128| i32::try_from(part).map_err(|_| interval_range());
        let nanoseconds =
            self.nanoseconds.to_i128().and_then(|sum| i64::try_from(sum).ok()).ok_or_else(interval_range)?;
        Ok(IntervalMonthDayNano::new(whole(self.months)?, whole(self.days)?, nanoseconds))
    }

    /// The sum divided by `count`: fractions of months become days, fractions of days become time.
    pub fn average(&self, count: i128) -> Result<IntervalMonthDayNano> {
        Ok(scale(self.value()?, |part| part / count as f64)?)
    }

    /// Equal sums have equal bytes.
    pub fn encode(&self) -> [u8; WIDTH] {
        let mut bytes = [0; WIDTH];
        bytes[..16].copy_from_slice(&self.months.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.days.to_be_bytes());
        bytes[32..].copy_from_slice(&self.nanoseconds.to_be_bytes());
        bytes
    }

    /// Refuses what [`IntervalSum::encode`] cannot have written.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let ([months, days, high, low], []) = bytes.as_chunks::<16>() else {
            return Err(Error::internal("damaged sum of intervals"));
        };
        let nanoseconds = i256::from_parts(u128::from_be_bytes(*low), i128::from_be_bytes(*high));
        Ok(Self { months: i128::from_be_bytes(*months), days: i128::from_be_bytes(*days), nanoseconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_may_be_too_long_for_a_while() {
        let long = IntervalMonthDayNano::new(i32::MAX, i32::MIN, i64::MAX);
        let mut sum = IntervalSum::default();
        sum.add(long, 3);
        assert_eq!(sum.value().unwrap_err().sqlstate, "22008");
        let mut stored = IntervalSum::decode(&sum.encode()).unwrap();
        stored.add(long, -2);
        assert_eq!(stored.value().unwrap(), long);
        assert!(IntervalSum::decode(&sum.encode()[1..]).is_err());
    }

    #[test]
    fn averages_carry_fractions_downwards() {
        let mut sum = IntervalSum::default();
        sum.add(IntervalMonthDayNano::new(1, 0, 0), 1);
        sum.add(IntervalMonthDayNano::new(0, 1, 0), 1);
        assert_eq!(sum.average(2).unwrap(), IntervalMonthDayNano::new(0, 15, 43_200_000_000_000));
    }
}
