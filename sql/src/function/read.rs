//! Text as Postgres' input functions read it. Errors name the type, never the value.

mod array;
mod interval;
mod json;
mod word;

pub use array::elements;
pub use interval::interval;
pub use json::{json, jsonb};

use super::calendar::{Day, MICROS_PER_DAY, MICROS_PER_SECOND};
use super::zone::Zone;
use crate::error::{Error, Result};
use std::str::FromStr;
use word::{field_range, malformed, no_date, trimmed};

/// Any unambiguous beginning of true, false, yes, no; on, off, 1, 0.
pub fn boolean(text: &str) -> Result<bool> {
    let word = trimmed(text).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(word.as_str());
    if word == "1" || begins("true", 1) || begins("yes", 1) || word == "on" {
        return Ok(true);
    }
    if word == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
        return Ok(false);
    }
    Err(malformed("boolean"))
}

/// A decimal integer, as wide as `T`.
pub fn integer<T: TryFrom<i128>>(text: &str, kind: &str) -> Result<T> {
    let word = trimmed(text);
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed(kind));
    }
    let range = || Error::new("22003", format!("value out of range for type {kind}"));
    let value: i128 = word.parse().map_err(|_| range())?;
    T::try_from(value).map_err(|_| range())
}

/// NaN, Infinity and their like, or a decimal float; what is too large or too small to be held is 22003.
pub fn float<T: FromStr + Into<f64> + Copy>(text: &str, kind: &str) -> Result<T> {
    let word = trimmed(text);
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word).to_ascii_lowercase();
    let named = matches!(unsigned.as_str(), "infinity" | "inf") || word.eq_ignore_ascii_case("nan");
    if !named && !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(malformed(kind));
    }
    let value: T = word.parse().map_err(|_| malformed(kind))?;
    let wide: f64 = value.into();
    let mantissa = unsigned.split('e').next().unwrap_or_default();
    let lost = wide == 0.0 && mantissa.contains(|c: char| ('1'..='9').contains(&c));
    if !named && (wide.is_infinite() || lost) {
        return Err(Error::new("22003", format!("value out of range for type {kind}")));
    }
    Ok(value)
}

/// `\x` and hex digits, or the escape format.
pub fn bytea(text: &str) -> Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex
            .bytes()
            .filter(|b| !b.is_ascii_whitespace())
            .map(|b| (b as char).to_digit(16).map(|d| d as u8).ok_or_else(|| malformed("bytea")))
            .collect::<Result<_>>()?;
        if !digits.len().is_multiple_of(2) {
            return Err(malformed("bytea"));
        }
        return Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                out.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return Err(malformed("bytea")),
            _ => {
                out.push(byte);
                tail
            }
        };
    }
    Ok(out)
}

/// Canonical lower case; braces and missing hyphens are understood.
pub fn uuid(text: &str) -> Result<String> {
    let word = trimmed(text);
    let word = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(word);
    let digits: String = word.chars().filter(|&c| c != '-').map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(malformed("uuid"));
    }
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Ok(parts.join("-"))
}

/// Days since 1970-01-01.
pub fn date(text: &str) -> Result<i32> {
    match special(text) {
        Some(Special::Infinity) => return Ok(i32::MAX),
        Some(Special::NegativeInfinity) => return Ok(i32::MIN),
        Some(Special::Epoch) => return Ok(0),
        None => {}
    }
    // A time of day may follow and is left off.
    let parts = Parts::read(text, "date")?;
    i32::try_from(parts.days).map_err(|_| field_range())
}

/// Microseconds of the day.
pub fn time(text: &str) -> Result<i64> {
    let word = trimmed(text);
    let clock = word.find(['+', '-', 'Z', 'z']).map_or(word, |end| &word[..end]);
    clock_of(trimmed(clock), "time")
}

/// Wall clock; a zone in the text is ignored.
pub fn timestamp(text: &str) -> Result<i64> {
    if let Some(special) = special(text) {
        return Ok(special.micros());
    }
    let parts = Parts::read(text, "timestamp")?;
    whole(parts.days, parts.micros)
}

/// A moment; without a zone in the text it is the wall clock of `zone`.
pub fn timestamptz(text: &str, zone: Zone) -> Result<i64> {
    if let Some(special) = special(text) {
        return Ok(special.micros());
    }
    let parts = Parts::read(text, "timestamp with time zone")?;
    let local = whole(parts.days, parts.micros)?;
    match parts.zone {
        Some(Offset::Seconds(seconds)) => {
            local.checked_sub(seconds * MICROS_PER_SECOND).ok_or_else(|| Error::new("22008", "timestamp out of range"))
        }
        Some(Offset::Zone(zone)) => Ok(zone.moment(local)),
        None => Ok(zone.moment(local)),
    }
}

fn whole(days: i64, micros: i64) -> Result<i64> {
    days.checked_mul(MICROS_PER_DAY)
        .and_then(|start| start.checked_add(micros))
        .ok_or_else(|| Error::new("22008", "timestamp out of range"))
}

enum Special {
    Infinity,
    NegativeInfinity,
    Epoch,
}

impl Special {
    fn micros(&self) -> i64 {
        match self {
            Special::Infinity => i64::MAX,
            Special::NegativeInfinity => i64::MIN,
            Special::Epoch => 0,
        }
    }
}

fn special(text: &str) -> Option<Special> {
    let word = trimmed(text);
    match word.len() {
        5..=9 => match word.to_ascii_lowercase().as_str() {
            "infinity" => Some(Special::Infinity),
            "-infinity" => Some(Special::NegativeInfinity),
            "epoch" => Some(Special::Epoch),
            _ => None,
        },
        _ => None,
    }
}

enum Offset {
    Seconds(i64),
    Zone(Zone),
}

/// Date, time of day and zone of a text such as `2024-01-31 12:34:56.789+02`.
struct Parts {
    days: i64,
    micros: i64,
    zone: Option<Offset>,
}

impl Parts {
    fn read(text: &str, kind: &str) -> Result<Self> {
        let mut rest = trimmed(text);
        let mut before_christ = false;
        if rest.len() > 3 && rest.is_char_boundary(rest.len() - 3) {
            let (head, tail) = rest.split_at(rest.len() - 3);
            if tail.eq_ignore_ascii_case(" bc") || tail.eq_ignore_ascii_case(" ad") {
                before_christ = tail.eq_ignore_ascii_case(" bc");
                rest = head.trim_end();
            }
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace() || c == 'T' || c == 't').unwrap_or(rest.len());
        let mut day = day_of(&rest[..end], kind)?;
        if before_christ {
            day.year = 1 - day.year;
        }
        if !day.exists() {
            return Err(field_range());
        }
        let rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_whitespace() || c == 'T' || c == 't');
        let (micros, zone) = if rest.is_empty() { (0, None) } else { clock_and_zone(rest, kind)? };
        Ok(Self { days: day.number(), micros, zone })
    }
}

/// `2024-01-31`, `2024/1/31`, `20240131`.
fn day_of(word: &str, kind: &str) -> Result<Day> {
    let number = |digits: &str| -> Result<i64> {
        match digits.len() {
            1..=7 if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| no_date(kind)),
            _ => Err(no_date(kind)),
        }
    };
    if word.len() == 8 && word.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(Day {
            year: number(&word[..4])?,
            month: number(&word[4..6])? as u32,
            day: number(&word[6..])? as u32,
        });
    }
    let separator = if word.contains('/') { '/' } else { '-' };
    let parts: Vec<_> = word.split(separator).collect();
    // Only year first: which of day and month comes first elsewhere is a matter of settings.
    let [year, month, day] = parts[..] else { return Err(no_date(kind)) };
    if year.len() < 3 {
        return Err(no_date(kind));
    }
    Ok(Day { year: number(year)?, month: number(month)? as u32, day: number(day)? as u32 })
}

fn clock_and_zone(text: &str, kind: &str) -> Result<(i64, Option<Offset>)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(text.len());
    let micros = clock_of(&text[..end], kind)?;
    let zone = text[end..].trim();
    if zone.is_empty() {
        return Ok((micros, None));
    }
    if let Some(offset) = zone.strip_prefix(['+', '-']) {
        let seconds = offset_of(offset).ok_or_else(|| no_date(kind))?;
        return Ok((micros, Some(Offset::Seconds(if zone.starts_with('-') { -seconds } else { seconds }))));
    }
    Ok((micros, Some(Offset::Zone(Zone::parse(zone).map_err(|_| no_date(kind))?))))
}

/// `02`, `0530`, `05:30`, `05:30:15`.
fn offset_of(text: &str) -> Option<i64> {
    let parts: Vec<&str> = match text.contains(':') {
        true => text.split(':').collect(),
        false if text.len() > 2 => vec![&text[..text.len() - 2], text.get(text.len() - 2..)?],
        false => vec![text],
    };
    let mut seconds = 0;
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        seconds += part.parse::<i64>().ok()? * unit;
    }
    (parts.len() <= 3 && seconds < 16 * 3600).then_some(seconds)
}

/// `12:34`, `12:34:56.789`; 24:00 is the end of the day.
fn clock_of(text: &str, kind: &str) -> Result<i64> {
    let parts: Vec<_> = text.split(':').collect();
    let (clock, seconds) = match parts[..] {
        [hours, minutes] => ([hours, minutes], "0"),
        [hours, minutes, seconds] => ([hours, minutes], seconds),
        _ => return Err(no_date(kind)),
    };
    let two = |digits: &str| match digits.len() {
        1 | 2 if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<i64>().map_err(|_| no_date(kind)),
        _ => Err(no_date(kind)),
    };
    let (hours, minutes) = (two(clock[0])?, two(clock[1])?);
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let (seconds, fraction) = (two(whole)?, fraction_of(fraction).ok_or_else(|| no_date(kind))?);
    let micros = ((hours * 60 + minutes) * 60 + seconds) * MICROS_PER_SECOND + fraction;
    if minutes > 59 || seconds > 60 || micros > MICROS_PER_DAY {
        return Err(field_range());
    }
    Ok(micros)
}

/// Microseconds, rounded from further digits.
fn fraction_of(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept: i64 = format!("{:0<6}", &digits[..digits.len().min(6)]).parse().ok()?;
    let up = digits.as_bytes().get(6).is_some_and(|&digit| digit >= b'5');
    Some(kept + up as i64)
}

#[cfg(test)]
mod tests {
    use super::super::print;
    use super::*;

    fn shown(print: fn(i64, &mut String), value: Result<i64>) -> String {
        let mut out = String::new();
        match value {
            Ok(value) => print(value, &mut out),
            Err(error) => out = error.sqlstate.into(),
        }
        out
    }

    #[test]
    fn booleans_are_read_by_unambiguous_beginnings() {
        for text in ["t", "TRUE", " yes ", "y", "on", "1"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["f", "false", "no", "n", "off", "of", "0"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["o", "", "truee", "2"] {
            assert_eq!(boolean(text).unwrap_err().sqlstate, "22P02", "{text}");
        }
    }

    #[test]
    fn integers_that_do_not_fit_differ_from_what_is_none() {
        assert_eq!(integer::<i32>(" -7 ", "integer"), Ok(-7));
        assert_eq!(integer::<i16>("32768", "smallint").unwrap_err().sqlstate, "22003");
        let error = integer::<i32>("1.5", "integer").unwrap_err();
        assert_eq!((error.sqlstate, error.message.as_str()), ("22P02", "invalid input syntax for type integer"));
    }

    #[test]
    fn floats_out_of_range_are_errors() {
        assert_eq!(float::<f64>("1e-5", "double precision"), Ok(1e-5));
        assert_eq!(float::<f64>("1e400", "double precision").unwrap_err().sqlstate, "22003");
        assert_eq!(float::<f64>("1e-400", "double precision").unwrap_err().sqlstate, "22003");
        assert_eq!(float::<f32>("1e39", "real").unwrap_err().sqlstate, "22003");
        assert_eq!(float::<f64>("-inf", "double precision"), Ok(f64::NEG_INFINITY));
        assert_eq!(float::<f64>("infinit", "double precision").unwrap_err().sqlstate, "22P02");
    }

    #[test]
    fn timestamps_are_read_with_and_without_zone() {
        let read = |text| shown(print::timestamp, timestamp(text));
        assert_eq!(read("2024-01-31 12:34:56.789"), "2024-01-31 12:34:56.789");
        assert_eq!(read("2024-01-31T12:34"), "2024-01-31 12:34:00");
        assert_eq!(read("20240131"), "2024-01-31 00:00:00");
        assert_eq!(read("0044-03-15 BC"), "0044-03-15 00:00:00 BC");
        assert_eq!(read("infinity"), "infinity");
        assert_eq!(read("2024-02-30"), "22008");
        assert_eq!(read("2024-01-31 25:00"), "22008");
        assert_eq!(read("yesterday-ish"), "22007");
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let read = |text| shown(print::timestamp, timestamptz(text, zone));
        assert_eq!(read("2024-01-31 12:00"), "2024-01-31 11:00:00");
        assert_eq!(read("2024-01-31 12:00+05:30"), "2024-01-31 06:30:00");
        assert_eq!(read("2024-01-31 12:00-0800"), "2024-01-31 20:00:00");
        assert_eq!(read("2024-01-31T12:00:00Z"), "2024-01-31 12:00:00");
        assert_eq!(read("2024-07-01 12:00 America/New_York"), "2024-07-01 16:00:00");
    }

    #[test]
    fn uuids_and_bytes_are_read_in_their_spellings() {
        let canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        assert_eq!(uuid("{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}").unwrap(), canonical);
        assert_eq!(uuid("a0ee").unwrap_err().sqlstate, "22P02");
        assert_eq!(bytea("\\x00fF").unwrap(), [0, 255]);
        assert_eq!(bytea("a\\\\b\\001").unwrap(), b"a\\b\x01");
        assert!(bytea("\\xabc").is_err());
    }
}
