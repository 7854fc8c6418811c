//! Numerics as Postgres reads and prints them.

use super::value::{DIGITS, MAX_SCALE, Numeric, POWERS, overflow, too_long};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

impl FromStr for Numeric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return special(text, rest, negative);
        }
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], power(&rest[at + 1..])?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(malformed());
        }
        let (magnitude, dropped) = significant(whole.bytes().chain(fraction.bytes()))?;
        let scale = (fraction.len() as i64 - exponent).max(0);
        let lowest = exponent - fraction.len() as i64 + dropped;
        if scale > MAX_SCALE as i64 || lowest.abs() > 40_000 && magnitude != 0 {
            return Err(overflow());
        }
        let coefficient = if negative { -magnitude } else { magnitude };
        Numeric::finite(coefficient, lowest.clamp(-40_000, 40_000) as i32, scale as u32)
    }
}

fn special(text: &str, rest: &str, negative: bool) -> Result<Numeric> {
    match rest.to_ascii_lowercase().as_str() {
        "nan" if text.len() == rest.len() => Ok(Numeric::NAN),
        "infinity" | "inf" if negative => Ok(Numeric::NEGATIVE_INFINITY),
        "infinity" | "inf" => Ok(Numeric::INFINITY),
        _ => Err(malformed()),
    }
}

fn power(text: &str) -> Result<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    text.parse::<i64>().ok().filter(|power| power.abs() < i32::MAX as i64 / 2).ok_or_else(overflow)
}

/// The digits as one number, and how many trailing zeros were left off because they did not fit.
fn significant(digits: impl Iterator<Item = u8>) -> Result<(i128, i64)> {
    let (mut value, mut zeros) = (0u128, 0i64);
    for byte in digits {
        match byte {
            b'0' => zeros += 1,
            b'1'..=b'9' => {
                if value == 0 {
                    value = (byte - b'0') as u128;
                } else {
                    let shift = zeros + 1;
                    if shift > DIGITS as i64 || value >= POWERS[(DIGITS as i64 - shift) as usize] {
                        return Err(too_long());
                    }
                    value = value * POWERS[shift as usize] + (byte - b'0') as u128;
                }
                zeros = 0;
            }
            _ => return Err(malformed()),
        }
    }
    Ok((value as i128, if value == 0 { 0 } else { zeros }))
}

fn malformed() -> Error {
    Error::new("22P02", "invalid input syntax for type numeric")
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_finite() {
            return f.write_str(match self {
                n if n.is_nan() => "NaN",
                n if n.is_negative() => "-Infinity",
                _ => "Infinity",
            });
        }
        if self.is_negative() {
            f.write_str("-")?;
        }
        let scale = self.scale as usize;
        let mut digits = self.coefficient.unsigned_abs().to_string();
        // At the display scale: trailing zeros that the coefficient does not hold.
        let zeros = (self.exponent + scale as i32) as usize;
        if self.coefficient != 0 {
            digits.extend(std::iter::repeat_n('0', zeros));
        }
        if digits.len() <= scale {
            digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
        }
        let point = digits.len() - scale;
        f.write_str(&digits[..point])?;
        if scale > 0 {
            f.write_str(".")?;
            f.write_str(&digits[point..])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (input, expected) = line.split_once("=>").unwrap();
            let shown = match input.trim().parse::<Numeric>() {
                Ok(value) => {
                    let stored = Numeric::decode(&value.encode()).unwrap();
                    assert_eq!(stored.to_string(), value.to_string(), "{line}");
                    value.to_string()
                }
                Err(error) => error.sqlstate.to_string(),
            };
            assert_eq!(shown, expected.trim(), "{line}");
        }
    }

    #[test]
    fn text_is_read_and_printed_as_postgres_does() {
        check(
            "
            1            => 1
            -1.50        => -1.50
            +.5          => 0.5
            5.           => 5
            0.00         => 0.00
            -0           => 0
            007.10       => 7.10
            1e5          => 100000
            1.5e-3       => 0.0015
            1.50e1       => 15.0
            1.2345e2     => 123.45
            12e-20       => 0.00000000000000000012
            1e30         => 1000000000000000000000000000000
            1e60         => 1000000000000000000000000000000000000000000000000000000000000
            100000000000000000000000000000000000000000000000 => 100000000000000000000000000000000000000000000000
            99999999999999999999999999999999999999 => 99999999999999999999999999999999999999
            0.10000000000000000000000000000000000000000 => 0.10000000000000000000000000000000000000000
            NaN          => NaN
            nan          => NaN
            -NaN         => 22P02
            inf          => Infinity
            -Infinity    => -Infinity
            +infinity    => Infinity
            999999999999999999999999999999999999999 => 22003
            1.00000000000000000000000000000000000001 => 22003
            1e-17000     => 22003
            1e40000      => 22003
            abc          => 22P02
            1.2.3        => 22P02
            1e           => 22P02
            .            => 22P02
            -            => 22P02
            1 2          => 22P02
            ",
        );
    }

    #[test]
    fn bytes_sort_as_values_do() {
        let sorted =
            ["-Infinity", "-1e60", "-100.5", "-2", "-1.00", "-0.001", "-1e-50", "0", "1e-50", "0.001", "1.0", "2"];
        let sorted: Vec<_> =
            sorted.iter().chain(&["10", "1e60", "Infinity", "NaN"]).map(|t| t.parse().unwrap()).collect();
        for pair in sorted.windows(2) {
            let (low, high): (Numeric, Numeric) = (pair[0], pair[1]);
            assert!(low.encode() < high.encode(), "{low} < {high}");
        }
        let (short, long): (Numeric, Numeric) = ("1.0".parse().unwrap(), "1.000".parse().unwrap());
        assert!(short.encode() < long.encode());
        assert_eq!(short.compare(&long), std::cmp::Ordering::Equal);
    }
}
