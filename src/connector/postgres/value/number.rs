//! Numbers from their text.

use super::error::{ValueError, utf8};
use arrow::datatypes::i256;

fn out_of_range() -> ValueError {
    ValueError::new("22003", "number is out of range")
}

/// At most 19 digits are summed before the range is checked, so nothing wraps.
fn integer(text: &[u8], kind: &'static str) -> Result<i64, ValueError> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return Err(ValueError::invalid(kind));
    }
    let mut sum = 0u64;
    for &c in digits {
        let digit = c.wrapping_sub(b'0');
        if digit > 9 {
            return Err(ValueError::invalid(kind));
        }
        sum = sum.checked_mul(10).and_then(|s| s.checked_add(u64::from(digit))).ok_or_else(out_of_range)?;
    }
    match negative {
        false => i64::try_from(sum).map_err(|_| out_of_range()),
        true if sum <= 1 << 63 => Ok((sum as i64).wrapping_neg()),
        true => Err(out_of_range()),
    }
}

pub fn int2(text: &[u8]) -> Result<i16, ValueError> {
    integer(text, "smallint")?.try_into().map_err(|_| out_of_range())
}

pub fn int4(text: &[u8]) -> Result<i32, ValueError> {
    integer(text, "integer")?.try_into().map_err(|_| out_of_range())
}

pub fn int8(text: &[u8]) -> Result<i64, ValueError> {
    integer(text, "bigint")
}

pub fn float4(text: &[u8]) -> Result<f32, ValueError> {
    utf8(text)?.parse().map_err(|_| ValueError::invalid("real"))
}

pub fn float8(text: &[u8]) -> Result<f64, ValueError> {
    utf8(text)?.parse().map_err(|_| ValueError::invalid("double precision"))
}

/// The digits of a plain decimal, brought to `scale` digits after the point, leading zeros gone.
struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// Zeros to add after `fraction`.
    padding: usize,
}

/// At most `precision` digits come out, so their sum fits the width that goes with the precision.
fn digits(text: &[u8], precision: u8, scale: u8) -> Result<Digits<'_>, ValueError> {
    let (negative, rest) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if matches!(rest, b"NaN" | b"Infinity") {
        return Err(ValueError::new("22003", "NaN and infinity cannot be held in a numeric with a precision"));
    }
    let (whole, fraction) = match rest.iter().position(|&c| c == b'.') {
        Some(point) => (&rest[..point], &rest[point + 1..]),
        None => (rest, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(ValueError::invalid("numeric"));
    }
    let scale = usize::from(scale);
    let (fraction, beyond) = fraction.split_at(fraction.len().min(scale));
    if beyond.iter().any(|&c| c != b'0') {
        return Err(ValueError::new("22003", "numeric has more digits after the point than its column"));
    }
    let whole = &whole[whole.iter().position(|&c| c != b'0').unwrap_or(whole.len())..];
    if whole.len() + scale > usize::from(precision) {
        return Err(ValueError::new("22003", "numeric has more digits than its column"));
    }
    Ok(Digits { negative, whole, fraction, padding: scale - fraction.len() })
}

pub fn decimal128(text: &[u8], precision: u8, scale: u8) -> Result<i128, ValueError> {
    let d = digits(text, precision, scale)?;
    let mut sum = 0i128;
    for &c in d.whole.iter().chain(d.fraction) {
        sum = sum * 10 + i128::from(c - b'0');
    }
    for _ in 0..d.padding {
        sum *= 10;
    }
    Ok(if d.negative { -sum } else { sum })
}

pub fn decimal256(text: &[u8], precision: u8, scale: u8) -> Result<i256, ValueError> {
    let d = digits(text, precision, scale)?;
    let zeros = std::iter::repeat_n(&b'0', d.padding);
    let (mut sum, mut part, mut unit) = (i256::ZERO, 0i128, 1i128);
    // Thirty digits at a time: 256-bit steps are dear, and 10^30 fits easily.
    for &c in d.whole.iter().chain(d.fraction).chain(zeros) {
        part = part * 10 + i128::from(c - b'0');
        unit *= 10;
        if unit == 10i128.pow(30) {
            sum = sum.wrapping_mul(i256::from_i128(unit)).wrapping_add(i256::from_i128(part));
            (part, unit) = (0, 1);
        }
    }
    sum = sum.wrapping_mul(i256::from_i128(unit)).wrapping_add(i256::from_i128(part));
    Ok(if d.negative { sum.wrapping_neg() } else { sum })
}
