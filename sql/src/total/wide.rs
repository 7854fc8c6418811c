//! Sums of decimals of up to 76 digits, which themselves nearly fill 256 bits.

use super::packed::Written;
use crate::{Error, Result};
use arrow::datatypes::i256;

/// Upper and lower 38 digits, added up apart: each half has 129 bits to spare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wide {
    high: i256,
    low: i256,
}

const HALF: i256 = i256::from_i128(10i128.pow(38));

impl Wide {
    pub fn add_value(&mut self, value: i256, weight: i64) {
        let weight = i256::from_i128(weight.into());
        self.high = self.high.wrapping_add(value.wrapping_div(HALF).wrapping_mul(weight));
        self.low = self.low.wrapping_add(value.wrapping_rem(HALF).wrapping_mul(weight));
    }

    /// The sum, if it fits.
    pub fn value(&self) -> Option<i256> {
        let (carry, low) = (self.low.wrapping_div(HALF), self.low.wrapping_rem(HALF));
        self.high.wrapping_add(carry).checked_mul(HALF)?.checked_add(low)
    }
}

impl Written for Wide {
    fn bytes(&self) -> usize {
        0
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.high = self.high.wrapping_add(other.high);
        self.low = self.low.wrapping_add(other.low);
        Ok(())
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.high.to_be_bytes());
        bytes.extend(self.low.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let halves = bytes.split_first_chunk().and_then(|(high, low)| Some((*high, low.try_into().ok()?)));
        let (high, low) = halves.ok_or_else(|| Error::internal("damaged sum of decimals"))?;
        Ok(Self { high: i256::from_be_bytes(high), low: i256::from_be_bytes(low) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_may_be_too_long_for_a_while() {
        let large = i256::from_string(&"9".repeat(76)).unwrap();
        let mut sum = Wide::default();
        sum.add_value(large, 1000);
        assert_eq!(sum.value(), None);
        sum.add_value(large, -999);
        let mut bytes = vec![];
        sum.encode(&mut bytes);
        assert_eq!(Wide::decode(&bytes).unwrap().value(), Some(large));
        assert!(Wide::decode(&bytes[1..]).is_err());
    }
}
