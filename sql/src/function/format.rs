//! to_char of dates and timestamps, by Postgres' template patterns.

use super::calendar::{Day, MICROS_PER_SECOND, split};
use super::definition::{Call, Definition, Resolved, is_text, undefined};
use super::part::Part;
use super::temporal::infinite_timestamp;
use super::wall::{wall, zone_of};
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::TimestampMicrosecondType;
use std::fmt::Write;
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    // An infinite moment has no digits: NULL.
    Definition { name: "to_char", aliases: &[], resolve, call, strict: false, fallible: true },
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// Every pattern in upper case, longer ones before those they begin with.
const PATTERNS: &[&str] = &[
    "Y,YYY", "SSSSS", "MONTH", "IYYY", "HH24", "HH12", "IDDD", "SSSS", "YYYY", "A.D.", "B.C.", "A.M.", "P.M.", "DAY",
    "DDD", "IYY", "MON", "TZH", "TZM", "YYY", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "AD", "BC", "AM", "PM", "CC",
    "DD", "DY", "HH", "ID", "IW", "IY", "MI", "MM", "MS", "OF", "RM", "SS", "TZ", "US", "WW", "YY", "D", "I", "J", "Q",
    "W", "Y",
];

/// A moment taken apart.
struct Clock {
    days: i64,
    day: Day,
    micros: i64,
    /// Seconds east of UTC, and whether there is a zone at all.
    offset: i64,
    zone: Option<Zone>,
}

fn resolve(given: &[Option<Type>]) -> Result<Resolved> {
    let value = match given {
        [value, format] if is_text(format) => value,
        [value, format, zone] if is_text(format) && is_text(zone) => value,
        _ => return Err(undefined("to_char", given)),
    };
    let kind = match value {
        Some(Type::Date | Type::Timestamp) => Type::Timestamp,
        Some(Type::Timestamptz) => Type::Timestamptz,
        Some(kind @ Type::Interval) => return Err(Error::unsupported(format!("to_char of {kind}"))),
        Some(kind) if kind.is_number() => {
            return Err(Error::unsupported(format!("to_char of {kind}")));
        }
        _ => return Err(undefined("to_char", given)),
    };
    let arguments = [kind, Type::Text].into_iter().chain(given.get(2).map(|_| Type::Text)).collect();
    Ok(Resolved { arguments, result: Type::Text })
}

fn call(call: &Call) -> Result<ArrayRef> {
    let (values, formats) = (call.column(0)?, call.column(1)?);
    let (moments, formats) = (values.as_primitive::<TimestampMicrosecondType>(), formats.as_string::<i32>());
    let zone = zone_of(call, 2)?;
    let mut out = StringBuilder::new();
    for row in 0..call.rows {
        if moments.is_null(row) || formats.is_null(row) || infinite_timestamp(moments.value(row)) {
            out.append_null();
            continue;
        }
        let (days, micros) = split(wall(moments, zone, row));
        let offset = zone.map_or(0, |zone| zone.offset(moments.value(row)));
        let clock = Clock { days, day: Day::of(days), micros, offset, zone };
        out.append_value(clock.format(formats.value(row))?);
    }
    Ok(Arc::new(out.finish()))
}

impl Clock {
    fn format(&self, format: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = format;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('"') {
                rest = literal(quoted, &mut out);
                continue;
            }
            let (fill, pattern) = match rest.get(..2) {
                Some(mode) if mode.eq_ignore_ascii_case("FM") => (false, &rest[2..]),
                _ => (true, rest),
            };
            let starts = |name: &str| pattern.get(..name.len()).is_some_and(|text| text.eq_ignore_ascii_case(name));
            let Some(name) = PATTERNS.iter().find(|name| starts(name)) else {
                // FM alone says nothing.
                match fill {
                    true => {
                        out.push(first);
                        rest = &rest[first.len_utf8()..];
                    }
                    false => rest = pattern,
                }
                continue;
            };
            let written = &pattern[..name.len()];
            rest = &pattern[name.len()..];
            let from = out.len();
            self.pattern(name, written, fill, &mut out)?;
            if let Some(suffix) = rest.get(..2).filter(|suffix| suffix.eq_ignore_ascii_case("TH"))
                && out[from..].ends_with(|last: char| last.is_ascii_digit())
            {
                let ordinal = ordinal(&out[from..]);
                out.push_str(&if suffix.starts_with('T') { ordinal.to_ascii_uppercase() } else { ordinal.to_string() });
                rest = &rest[2..];
            }
        }
        Ok(out)
    }

    /// Appends what stands for `name`, which is `written` with its own capitals.
    fn pattern(&self, name: &str, written: &str, fill: bool, out: &mut String) -> Result<()> {
        let number = |out: &mut String, value: i64, width: usize| {
            let width = if fill { width } else { 0 };
            // Writing to a string cannot fail.
            let _ = write!(out, "{value:0width$}");
        };
        let of_day = |part: Part| part.of_day(self.days).unwrap_or_default();
        let year = if self.day.year > 0 { self.day.year } else { 1 - self.day.year };
        let iso = of_day(Part::IsoYear).abs();
        let seconds = self.micros / MICROS_PER_SECOND;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let fraction = self.micros % MICROS_PER_SECOND;
        match name {
            "HH24" => number(out, hour, 2),
            "HH" | "HH12" => number(out, (hour + 11) % 12 + 1, 2),
            "MI" => number(out, minute, 2),
            "SS" => number(out, second, 2),
            "SSSS" | "SSSSS" => number(out, seconds, 0),
            "MS" | "FF3" => number(out, fraction / 1000, 3),
            "US" | "FF6" => number(out, fraction, 6),
            "FF1" => number(out, fraction / 100_000, 1),
            "FF2" => number(out, fraction / 10_000, 2),
            "FF4" => number(out, fraction / 100, 4),
            "FF5" => number(out, fraction / 10, 5),
            "AM" | "PM" => out.push_str(&cased(if hour < 12 { "AM" } else { "PM" }, written, false)),
            "A.M." | "P.M." => out.push_str(&cased(if hour < 12 { "A.M." } else { "P.M." }, written, false)),
            "AD" | "BC" => out.push_str(&cased(if self.day.year > 0 { "AD" } else { "BC" }, written, false)),
            "A.D." | "B.C." => out.push_str(&cased(if self.day.year > 0 { "A.D." } else { "B.C." }, written, false)),
            "Y,YYY" => {
                let _ = write!(out, "{},{:03}", year / 1000, year % 1000);
            }
            "YYYY" => number(out, year, 4),
            "YYY" => number(out, year % 1000, 3),
            "YY" => number(out, year % 100, 2),
            "Y" => number(out, year % 10, 1),
            "IYYY" => number(out, iso, 4),
            "IYY" => number(out, iso % 1000, 3),
            "IY" => number(out, iso % 100, 2),
            "I" => number(out, iso % 10, 1),
            "MONTH" => padded(out, &cased(MONTHS[self.day.month as usize - 1], written, true), fill, 9),
            "MON" => out.push_str(&cased(&MONTHS[self.day.month as usize - 1][..3], written, true)),
            "MM" => number(out, self.day.month.into(), 2),
            "RM" => padded(out, &cased(ROMAN[self.day.month as usize - 1], written, false), fill, 4),
            "DAY" => padded(out, &cased(DAYS[of_day(Part::Dow) as usize], written, true), fill, 9),
            "DY" => out.push_str(&cased(&DAYS[of_day(Part::Dow) as usize][..3], written, true)),
            "DDD" => number(out, of_day(Part::Doy), 3),
            "IDDD" => number(out, (of_day(Part::Week) - 1) * 7 + of_day(Part::IsoDow), 3),
            "DD" => number(out, self.day.day.into(), 2),
            "D" => number(out, of_day(Part::Dow) + 1, 1),
            "ID" => number(out, of_day(Part::IsoDow), 1),
            "W" => number(out, (i64::from(self.day.day) - 1) / 7 + 1, 1),
            "WW" => number(out, (of_day(Part::Doy) - 1) / 7 + 1, 2),
            "IW" => number(out, of_day(Part::Week), 2),
            "Q" => number(out, of_day(Part::Quarter), 1),
            "CC" => number(out, of_day(Part::Century), 2),
            "J" => number(out, of_day(Part::Julian), 1),
            "TZ" => match self.zone {
                None => {}
                Some(zone) if zone.is_utc() => out.push_str(&cased("UTC", written, false)),
                Some(_) => return Err(Error::unsupported("to_char with TZ in a time zone other than UTC")),
            },
            "TZM" => number(out, self.offset.abs() / 60 % 60, 2),
            // OF and TZH.
            _ => {
                let _ = write!(out, "{}{:02}", if self.offset < 0 { '-' } else { '+' }, self.offset.abs() / 3600);
                if name == "OF" && self.offset % 3600 != 0 {
                    let _ = write!(out, ":{:02}", self.offset.abs() / 60 % 60);
                }
            }
        }
        Ok(())
    }
}

/// Appends quoted text, and gives what comes after its end.
fn literal<'a>(quoted: &'a str, out: &mut String) -> &'a str {
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return &quoted[at + 1..],
            '\\' => out.extend(characters.next().map(|(_, escaped)| escaped)),
            plain => out.push(plain),
        }
    }
    ""
}

/// `name` with the capitals of the pattern; `title`: there is also a form with one capital.
fn cased(name: &str, written: &str, title: bool) -> String {
    let mut letters = written.chars();
    match (letters.next(), letters.next()) {
        (Some(first), _) if first.is_lowercase() => name.to_lowercase(),
        (_, Some(second)) if title && second.is_lowercase() => name.to_string(),
        _ => name.to_uppercase(),
    }
}

fn padded(out: &mut String, name: &str, fill: bool, width: usize) {
    let width = if fill { width } else { 0 };
    let _ = write!(out, "{name:width$}");
}

fn ordinal(number: &str) -> &'static str {
    let teens = number.len() > 1 && number.as_bytes()[number.len() - 2] == b'1';
    match number.as_bytes().last() {
        Some(b'1') if !teens => "st",
        Some(b'2') if !teens => "nd",
        Some(b'3') if !teens => "rd",
        _ => "th",
    }
}
