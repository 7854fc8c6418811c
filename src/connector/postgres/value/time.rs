//! Dates, times and intervals from their ISO text (`datestyle = ISO`, `intervalstyle = iso_8601`, time zone UTC).

use super::error::ValueError;
use arrow::datatypes::IntervalMonthDayNano;

const DAY: i64 = 86_400_000_000;

fn out_of_range() -> ValueError {
    ValueError::new("22008", "date or time is out of range")
}

/// Reads a text from the left.
struct Cursor<'a> {
    rest: &'a [u8],
    kind: &'static str,
}

impl<'a> Cursor<'a> {
    fn new(rest: &'a [u8], kind: &'static str) -> Self {
        Self { rest, kind }
    }

    fn invalid(&self) -> ValueError {
        ValueError::invalid(self.kind)
    }

    fn eat(&mut self, expected: &[u8]) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), ValueError> {
        if self.eat(expected) { Ok(()) } else { Err(self.invalid()) }
    }

    /// One or more digits, at most 18 of them: the sum cannot wrap.
    fn number(&mut self) -> Result<i64, ValueError> {
        let len = self.rest.iter().take_while(|c| c.is_ascii_digit()).count();
        if len == 0 || len > 18 {
            return Err(self.invalid());
        }
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(digits.iter().fold(0, |sum, &c| sum * 10 + i64::from(c - b'0')))
    }

    /// After the point: up to six digits, as microseconds.
    fn micros(&mut self) -> Result<i64, ValueError> {
        let before = self.rest.len();
        let value = self.number()?;
        let len = before - self.rest.len();
        if len > 6 {
            return Err(self.invalid());
        }
        Ok(value * 10i64.pow(6 - len as u32))
    }

    /// `YYYY-MM-DD`, the year as it stands.
    fn civil(&mut self) -> Result<(i64, i64, i64), ValueError> {
        let year = self.number()?;
        self.expect(b"-")?;
        let month = self.number()?;
        self.expect(b"-")?;
        let day = self.number()?;
        if year > 6_000_000 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(self.invalid());
        }
        Ok((year, month, day))
    }

    /// `HH:MM:SS[.ffffff]` in microseconds; 24:00:00 is a time.
    fn clock(&mut self) -> Result<i64, ValueError> {
        let hour = self.number()?;
        self.expect(b":")?;
        let minute = self.number()?;
        self.expect(b":")?;
        let second = self.number()?;
        let micros = if self.eat(b".") { self.micros()? } else { 0 };
        if hour > 24 || minute > 59 || second > 60 {
            return Err(self.invalid());
        }
        Ok(((hour * 60 + minute) * 60 + second) * 1_000_000 + micros)
    }

    /// `+HH[:MM[:SS]]` east of Greenwich in microseconds, or nothing.
    fn offset(&mut self) -> Result<i64, ValueError> {
        let sign = match self.rest.first() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return Ok(0),
        };
        self.rest = &self.rest[1..];
        let mut seconds = self.number()?;
        let mut unit = 60;
        seconds = seconds.checked_mul(3600).ok_or_else(out_of_range)?;
        while unit > 0 && self.eat(b":") {
            seconds += self.number()?.checked_mul(unit).ok_or_else(out_of_range)?;
            unit /= 60;
        }
        seconds.checked_mul(1_000_000 * sign).ok_or_else(out_of_range)
    }

    fn end(&self) -> Result<(), ValueError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.invalid()) }
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

pub fn date(text: &[u8]) -> Result<i32, ValueError> {
    match text {
        b"infinity" => return Ok(i32::MAX),
        b"-infinity" => return Ok(i32::MIN),
        _ => {}
    }
    let mut cursor = Cursor::new(text, "date");
    let (year, month, day) = cursor.civil()?;
    let year = if cursor.eat(b" BC") { 1 - year } else { year };
    cursor.end()?;
    i32::try_from(days(year, month, day)).map_err(|_| out_of_range())
}

pub fn time(text: &[u8]) -> Result<i64, ValueError> {
    let mut cursor = Cursor::new(text, "time");
    let micros = cursor.clock()?;
    cursor.end()?;
    Ok(micros)
}

/// With or without a zone: microseconds since 1970-01-01 UTC.
pub fn timestamp(text: &[u8]) -> Result<i64, ValueError> {
    match text {
        b"infinity" => return Ok(i64::MAX),
        b"-infinity" => return Ok(i64::MIN),
        _ => {}
    }
    let mut cursor = Cursor::new(text, "timestamp");
    let (year, month, day) = cursor.civil()?;
    cursor.expect(b" ")?;
    let clock = cursor.clock()?;
    let offset = cursor.offset()?;
    let year = if cursor.eat(b" BC") { 1 - year } else { year };
    cursor.end()?;
    let midnight = days(year, month, day).checked_mul(DAY).ok_or_else(out_of_range)?;
    let micros = midnight.checked_add(clock).and_then(|t| t.checked_sub(offset)).ok_or_else(out_of_range)?;
    // The ends of the range stand for the infinities.
    if matches!(micros, i64::MAX | i64::MIN) { Err(out_of_range()) } else { Ok(micros) }
}

/// `P1Y2M3DT4H5M6.789S`, each number with its own sign.
pub fn interval(text: &[u8]) -> Result<IntervalMonthDayNano, ValueError> {
    if matches!(text, b"infinity" | b"-infinity") {
        return Err(ValueError::new("22008", "an infinite interval cannot be held"));
    }
    let mut cursor = Cursor::new(text, "interval");
    cursor.expect(b"P")?;
    let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
    let mut clock = false;
    while !cursor.rest.is_empty() {
        if !clock && cursor.eat(b"T") {
            clock = true;
            continue;
        }
        let sign = if cursor.eat(b"-") { -1 } else { 1 };
        let number = cursor.number()?;
        let fraction = if cursor.eat(b".") { Some(cursor.micros()?) } else { None };
        let (unit, rest) = cursor.rest.split_first().ok_or_else(|| ValueError::invalid("interval"))?;
        cursor.rest = rest;
        let (sum, factor) = match (clock, unit, fraction) {
            (false, b'Y', None) => (&mut months, 12),
            (false, b'M', None) => (&mut months, 1),
            (false, b'W', None) => (&mut days, 7),
            (false, b'D', None) => (&mut days, 1),
            (true, b'H', None) => (&mut micros, 3_600_000_000),
            (true, b'M', None) => (&mut micros, 60_000_000),
            (true, b'S', _) => (&mut micros, 1_000_000),
            _ => return Err(ValueError::invalid("interval")),
        };
        let part = number.checked_mul(factor).and_then(|n| n.checked_add(fraction.unwrap_or(0)));
        *sum = part.and_then(|n| sum.checked_add(n * sign)).ok_or_else(out_of_range)?;
    }
    let months = i32::try_from(months).map_err(|_| out_of_range())?;
    let days = i32::try_from(days).map_err(|_| out_of_range())?;
    let nanos = micros.checked_mul(1000).ok_or_else(out_of_range)?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_reach_from_before_our_era_to_far_beyond() {
        assert_eq!(date(b"1970-01-01"), Ok(0));
        assert_eq!(date(b"2000-02-29"), Ok(11016));
        assert_eq!(date(b"4714-11-24 BC"), Ok(-2_440_588), "julian day 0");
        assert_eq!(date(b"infinity"), Ok(i32::MAX));
        assert_eq!(date(b"-infinity"), Ok(i32::MIN));
    }

    #[test]
    fn timestamps_subtract_their_zone() {
        assert_eq!(timestamp(b"1970-01-01 00:00:00"), Ok(0));
        assert_eq!(timestamp(b"1970-01-01 01:00:00+01"), Ok(0));
        assert_eq!(timestamp(b"1969-12-31 18:30:00.25-05:30:00"), Ok(250_000));
        assert_eq!(timestamp(b"0001-01-01 00:00:00+00 BC"), Ok(-719_528 * DAY));
        assert_eq!(time(b"24:00:00"), Ok(DAY));
    }

    #[test]
    fn intervals_keep_the_sign_of_each_part() {
        let read = |text: &str| interval(text.as_bytes()).unwrap();
        assert_eq!(read("PT0S"), IntervalMonthDayNano::new(0, 0, 0));
        assert_eq!(read("P-1Y-2M3DT-4H-5M-6.789S"), IntervalMonthDayNano::new(-14, 3, -14_706_789_000_000));
        assert_eq!(read("PT-0.5S"), IntervalMonthDayNano::new(0, 0, -500_000_000));
        assert!(interval(b"PT9999999999H").is_err());
    }
}
