//! Intervals: `1 year 2 mons 3 days 04:05:06.7`, `1-2`, `90 minutes ago`, ISO 8601's `P1Y2M3DT4H5M6S`.

use super::super::calendar::MICROS_PER_DAY;
use super::word::{no_date, trimmed};
use crate::error::{Error, Result};
use arrow::datatypes::IntervalMonthDayNano;

/// What an amount of a unit is made of: months, days, microseconds.
#[derive(Clone, Copy)]
enum Unit {
    Months(f64),
    Days(f64),
    Micros(f64),
}

/// Parts add up as they are read.
#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    micros: f64,
}

pub fn interval(text: &str) -> Result<IntervalMonthDayNano> {
    let word = trimmed(text);
    let word = word.strip_prefix('@').map_or(word, str::trim_start).to_ascii_lowercase();
    let sum = match word.strip_prefix('p') {
        Some(rest) => iso(rest),
        None => verbose(&word),
    };
    sum.ok_or_else(|| no_date("interval"))?.finish()
}

fn verbose(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut rest = text.trim();
    let mut ago = false;
    let mut found = false;
    while !rest.is_empty() {
        if rest == "ago" && found {
            (ago, rest) = (true, "");
            continue;
        }
        let (sign, unsigned) = signed(rest);
        let end =
            unsigned.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':' | '-'))).unwrap_or(unsigned.len());
        let (number, tail) = unsigned.split_at(end);
        let tail = tail.trim_start();
        if number.is_empty() {
            return None;
        }
        if number.contains(':') {
            sum.micros += sign * clock(number)?;
            rest = tail;
        } else if let Some((years, months)) = number.split_once('-') {
            sum.months += sign * (years.parse::<u32>().ok()? as f64 * 12.0 + months.parse::<u32>().ok()? as f64);
            rest = tail;
        } else {
            let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (name, after) = tail.split_at(end);
            let clock_follows = tail.split_ascii_whitespace().next().is_some_and(|next| next.contains(':'));
            let (unit, after) = match name {
                // Without a unit: days before hours and minutes, else seconds, as Postgres has it.
                "" if clock_follows => (Unit::Days(1.0), tail),
                "" | "ago" => (Unit::Micros(1e6), tail),
                name => (unit(name)?, after),
            };
            sum.add(sign * number.parse::<f64>().ok()?, unit);
            rest = after.trim_start();
        }
        found = true;
    }
    if ago {
        sum = Sum { months: -sum.months, days: -sum.days, micros: -sum.micros };
    }
    found.then_some(sum)
}

fn signed(text: &str) -> (f64, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1.0, text[1..].trim_start()),
        Some(b'+') => (1.0, text[1..].trim_start()),
        _ => (1.0, text),
    }
}

fn unit(name: &str) -> Option<Unit> {
    Some(match name {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" => Unit::Micros(1.0),
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => Unit::Micros(1e3),
        "second" | "seconds" | "s" | "sec" | "secs" => Unit::Micros(1e6),
        "minute" | "minutes" | "m" | "min" | "mins" => Unit::Micros(60e6),
        "hour" | "hours" | "h" | "hr" | "hrs" => Unit::Micros(3600e6),
        "day" | "days" | "d" => Unit::Days(1.0),
        "week" | "weeks" | "w" => Unit::Days(7.0),
        "month" | "months" | "mon" | "mons" => Unit::Months(1.0),
        "year" | "years" | "y" | "yr" | "yrs" => Unit::Months(12.0),
        "decade" | "decades" | "dec" | "decs" => Unit::Months(120.0),
        "century" | "centuries" | "c" | "cent" => Unit::Months(1200.0),
        "millennium" | "millennia" | "mil" | "mils" => Unit::Months(12000.0),
        _ => return None,
    })
}

/// `04:05`, `04:05:06.7` in microseconds.
fn clock(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').collect();
    let whole = |part: &str| part.parse::<u32>().ok().map(|number| number as f64);
    match parts[..] {
        [hours, minutes] => Some((whole(hours)? * 60.0 + whole(minutes)?) * 60e6),
        [hours, minutes, seconds] => {
            let seconds = seconds.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0)?;
            Some((whole(hours)? * 60.0 + whole(minutes)?) * 60e6 + (seconds * 1e6).round())
        }
        _ => None,
    }
}

/// ISO 8601 without its `p`: `1y2m3dt4h5m6.5s`.
fn iso(text: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    let (mut time, mut rest) = (false, text);
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('t') {
            (time, rest) = (true, tail);
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let amount = rest[..end].parse::<f64>().ok()?;
        let unit = match (rest.as_bytes()[end], time) {
            (b'y', false) => Unit::Months(12.0),
            (b'm', false) => Unit::Months(1.0),
            (b'w', false) => Unit::Days(7.0),
            (b'd', false) => Unit::Days(1.0),
            (b'h', true) => Unit::Micros(3600e6),
            (b'm', true) => Unit::Micros(60e6),
            (b's', true) => Unit::Micros(1e6),
            _ => return None,
        };
        sum.add(amount, unit);
        rest = &rest[end + 1..];
    }
    (!text.is_empty()).then_some(sum)
}

impl Sum {
    /// A fraction of a month is days of a 30th, a fraction of a day is time.
    fn add(&mut self, amount: f64, unit: Unit) {
        let days = match unit {
            Unit::Months(months) => {
                // A fraction of a year is rounded to months; only of months days are left over.
                let total = if months == 1.0 { amount } else { (amount * months).round_ties_even() };
                self.months += total.trunc();
                total.fract() * 30.0
            }
            Unit::Days(days) => amount * days,
            Unit::Micros(micros) => {
                self.micros += (amount * micros).round();
                0.0
            }
        };
        self.days += days.trunc();
        self.micros += (days.fract() * MICROS_PER_DAY as f64).round();
    }

    fn finish(self) -> Result<IntervalMonthDayNano> {
        let range = || Error::new("22015", "interval field value out of range");
        let narrow = |value: f64| if value.abs() <= i32::MAX as f64 { Ok(value as i32) } else { Err(range()) };
        // Nanoseconds in 64 bits: 292 years of time beside days and months.
        if self.micros.abs() >= (i64::MAX / 1000) as f64 {
            return Err(range());
        }
        Ok(IntervalMonthDayNano::new(narrow(self.months)?, narrow(self.days)?, self.micros as i64 * 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::print;
    use super::*;

    #[test]
    fn intervals_are_read_in_all_styles() {
        // As PostgreSQL 15 answers.
        for (text, expected) in [
            ("1 year 2 mons 3 days 04:05:06.7", "1 year 2 mons 3 days 04:05:06.7"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("90 minutes ago", "-01:30:00"),
            ("10", "00:00:10"),
            ("1-2", "1 year 2 mons"),
            ("1 day -1 hour", "1 day -01:00:00"),
            ("-1 day +02:03", "-1 days +02:03:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 days", "1 day 12:00:00"),
            ("3 4:05", "3 days 04:05:00"),
            ("1.5 years", "1 year 6 mons"),
            ("1.55 years", "1 year 7 mons"),
            ("1.5 weeks", "10 days 12:00:00"),
            ("@ 1 minute", "00:01:00"),
            ("2h30m", "02:30:00"),
            ("1 decade", "10 years"),
            ("soon", "22007"),
            ("", "22007"),
            ("1 fortnight", "22007"),
            ("1e9 years", "22007"),
            ("999999999999 days", "22015"),
        ] {
            let mut out = String::new();
            match interval(text) {
                Ok(value) => print::interval(value, &mut out),
                Err(error) => out = error.sqlstate.into(),
            }
            assert_eq!(out, expected, "{text}");
        }
    }
}
