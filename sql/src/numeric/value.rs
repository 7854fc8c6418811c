//! One value: its parts, its bytes, and its order.

use crate::error::{Error, Result};
use crate::types::NUMERIC_WIDTH;
use std::cmp::Ordering;

pub const WIDTH: usize = NUMERIC_WIDTH as usize;
/// Bytes that decide equality and order; the rest is the display scale.
pub const VALUE_WIDTH: usize = 19;
/// Significant digits that can be held.
pub const DIGITS: u32 = 38;
/// Postgres' NUMERIC_DSCALE_MAX.
pub const MAX_SCALE: u32 = 16383;

/// Stored exponents are offset by this; a value is 0.COEFFICIENT × 10^exponent.
pub(super) const BIAS: i32 = 1 << 15;

/// Powers of ten that fit u128.
pub(crate) const POWERS: [u128; 39] = {
    let mut powers = [1u128; 39];
    let mut i = 1;
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    NegativeInfinity,
    Negative,
    Zero,
    Positive,
    Infinity,
    Nan,
}

/// One value. Equality is exact (1.0 is not 1.00); [`Numeric::compare`] is Postgres' comparison.
#[derive(Clone, Copy, Debug)]
pub struct Numeric {
    pub(super) class: Class,
    /// Finite values are coefficient × 10^exponent; below 10^38, with the sign of the class.
    pub(super) coefficient: i128,
    pub(super) exponent: i32,
    /// Digits shown after the point; never fewer than the value has.
    pub(super) scale: u16,
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

impl Eq for Numeric {}

impl Numeric {
    pub const NAN: Numeric = Numeric { class: Class::Nan, coefficient: 0, exponent: 0, scale: 0 };
    pub const INFINITY: Numeric = Numeric { class: Class::Infinity, coefficient: 0, exponent: 0, scale: 0 };
    pub const NEGATIVE_INFINITY: Numeric =
        Numeric { class: Class::NegativeInfinity, coefficient: 0, exponent: 0, scale: 0 };
    pub const ZERO: Numeric = Numeric { class: Class::Zero, coefficient: 0, exponent: 0, scale: 0 };

    /// `coefficient` × 10^-`scale`, shown with `scale` digits.
    pub fn new(coefficient: i128, scale: u16) -> Result<Self> {
        Self::finite(coefficient, -(scale as i32), scale as u32)
    }

    /// `coefficient` × 10^`exponent`, shown with at least `scale` digits after the point.
    pub(crate) fn finite(mut coefficient: i128, mut exponent: i32, scale: u32) -> Result<Self> {
        while coefficient.unsigned_abs() >= POWERS[DIGITS as usize] || (exponent < -(scale as i32) && coefficient != 0)
        {
            if coefficient % 10 != 0 {
                break;
            }
            coefficient /= 10;
            exponent += 1;
        }
        if coefficient == 0 {
            exponent = -(scale as i32);
        }
        let scale = scale.max((-exponent).max(0) as u32);
        if coefficient.unsigned_abs() >= POWERS[DIGITS as usize] {
            return Err(too_long());
        }
        if scale > MAX_SCALE || exponent + DIGITS as i32 >= BIAS {
            return Err(overflow());
        }
        let class = match coefficient.cmp(&0) {
            Ordering::Less => Class::Negative,
            Ordering::Equal => Class::Zero,
            Ordering::Greater => Class::Positive,
        };
        Ok(Self { class, coefficient, exponent, scale: scale as u16 })
    }

    pub fn from_i64(value: i64) -> Self {
        let class = match value.cmp(&0) {
            Ordering::Less => Class::Negative,
            Ordering::Equal => Class::Zero,
            Ordering::Greater => Class::Positive,
        };
        Self { class, coefficient: value as i128, exponent: 0, scale: 0 }
    }

    pub fn is_finite(&self) -> bool {
        matches!(self.class, Class::Negative | Class::Zero | Class::Positive)
    }

    pub fn is_nan(&self) -> bool {
        self.class == Class::Nan
    }

    pub fn is_zero(&self) -> bool {
        self.class == Class::Zero
    }

    pub fn is_negative(&self) -> bool {
        matches!(self.class, Class::Negative | Class::NegativeInfinity)
    }

    /// Digits shown after the point.
    pub fn scale(&self) -> u16 {
        self.scale
    }

    /// Of a finite value the integer and the power of ten whose product it is, and its display scale.
    pub(crate) fn parts(&self) -> Option<(i128, i32, u16)> {
        self.is_finite().then_some((self.coefficient, self.exponent, self.scale))
    }

    /// The value times 10^`scale`, rounded half away from zero; `None` when it is not finite or does not fit 38 digits.
    pub fn unscaled(&self, scale: i32) -> Option<i128> {
        if !self.is_finite() {
            return None;
        }
        let shift = self.exponent + scale;
        let value = if shift >= 0 {
            if self.coefficient == 0 {
                return Some(0);
            }
            let power = *POWERS.get(shift as usize)? as i128;
            self.coefficient.checked_mul(power)?
        } else {
            match POWERS.get(-shift as usize) {
                Some(&power) => rounded(self.coefficient, power as i128),
                None => 0,
            }
        };
        (value.unsigned_abs() < POWERS[DIGITS as usize]).then_some(value)
    }

    /// Postgres' order: NaN is equal to itself and greater than everything, display scale does not count.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.encode()[..VALUE_WIDTH].cmp(&other.encode()[..VALUE_WIDTH])
    }

    pub fn encode(&self) -> [u8; WIDTH] {
        let mut bytes = [0u8; WIDTH];
        bytes[0] = self.class as u8;
        if matches!(self.class, Class::Negative | Class::Positive) {
            let magnitude = self.coefficient.unsigned_abs();
            let digits = digits(magnitude);
            let mut coefficient = magnitude * POWERS[(DIGITS - digits) as usize];
            let mut exponent = (self.exponent + digits as i32 + BIAS) as u16;
            if self.class == Class::Negative {
                (coefficient, exponent) = (!coefficient, !exponent);
            }
            bytes[1..3].copy_from_slice(&exponent.to_be_bytes());
            bytes[3..VALUE_WIDTH].copy_from_slice(&coefficient.to_be_bytes());
        }
        bytes[VALUE_WIDTH..].copy_from_slice(&self.scale.to_be_bytes());
        bytes
    }

    /// Refuses what [`Numeric::encode`] cannot have written.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let bytes: &[u8; WIDTH] = bytes.try_into().map_err(|_| damaged())?;
        let scale = u16::from_be_bytes([bytes[19], bytes[20]]);
        let class = match bytes[0] {
            0 => return Ok(Self::NEGATIVE_INFINITY),
            1 => Class::Negative,
            2 => return Ok(Self { scale, exponent: -(scale as i32), ..Self::ZERO }),
            3 => Class::Positive,
            4 => return Ok(Self::INFINITY),
            5 => return Ok(Self::NAN),
            _ => return Err(damaged()),
        };
        let mut exponent = u16::from_be_bytes([bytes[1], bytes[2]]);
        let mut magnitude = [0u8; 16];
        magnitude.copy_from_slice(&bytes[3..VALUE_WIDTH]);
        let mut magnitude = u128::from_be_bytes(magnitude);
        if class == Class::Negative {
            (magnitude, exponent) = (!magnitude, !exponent);
        }
        if !(POWERS[37]..POWERS[38]).contains(&magnitude) {
            return Err(damaged());
        }
        // The coefficient is brought to the display scale, where it is mostly short and alike in a column.
        let lowest = exponent as i32 - BIAS - DIGITS as i32;
        let surplus = -(scale as i32) - lowest;
        let exponent = if surplus > 0 {
            magnitude /= POWERS.get(surplus as usize).ok_or_else(damaged)?;
            -(scale as i32)
        } else {
            lowest
        };
        let coefficient = if class == Class::Negative { -(magnitude as i128) } else { magnitude as i128 };
        Ok(Self { class, coefficient, exponent, scale })
    }
}

/// Decimal digits of `value`; at least 1.
pub(crate) fn digits(value: u128) -> u32 {
    if value == 0 {
        return 1;
    }
    // 1233 / 4096 is log10(2) to five digits: the estimate is exact or one short.
    let estimate = (((128 - value.leading_zeros()) * 1233) >> 12) as usize;
    if estimate < POWERS.len() && value >= POWERS[estimate] { estimate as u32 + 1 } else { estimate as u32 }
}

/// `value / divisor`, half away from zero.
pub(super) fn rounded(value: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (value / divisor, value % divisor);
    if rest.unsigned_abs() * 2 >= divisor.unsigned_abs() { quotient + value.signum() } else { quotient }
}

pub(crate) fn too_long() -> Error {
    Error::new("22003", "value out of range: numeric with more than 38 significant digits")
}

pub(crate) fn overflow() -> Error {
    Error::new("22003", "value overflows numeric format")
}

fn damaged() -> Error {
    Error::internal("damaged numeric")
}
