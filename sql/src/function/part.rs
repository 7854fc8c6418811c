//! `extract(field FROM moment)` and `date_part`: the same fields, as exact numeric or as double precision.
//!
//! The parts of a timestamptz are those of its wall clock in the zone that is the last argument.

use super::calendar::{Day, MICROS_PER_DAY, MICROS_PER_SECOND, split};
use super::definition::{Call, Definition, Resolved, is_text, undefined};
use super::temporal::{infinite_date, infinite_timestamp};
use super::wall::{wall, zone_of};
use crate::error::{Error, Result};
use crate::numeric::{self, Numeric};
use crate::types::Type;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use std::sync::Arc;

pub const FUNCTIONS: &[Definition] = &[
    // An infinite moment has no day of the week: NULL.
    Definition {
        name: "extract",
        aliases: &[],
        resolve: |given| resolve("extract", given),
        call,
        strict: false,
        fallible: true,
    },
    Definition {
        name: "date_part",
        aliases: &["datepart"],
        resolve: |given| resolve("date_part", given),
        call,
        strict: false,
        fallible: true,
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Julian,
    IsoYear,
    Dow,
    IsoDow,
    Doy,
    Epoch,
}

impl Part {
    /// By any of Postgres' names for it.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "microseconds" | "microsecond" | "us" | "usec" | "usecs" => Part::Microseconds,
            "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" => Part::Milliseconds,
            "second" | "seconds" | "sec" | "secs" | "s" => Part::Second,
            "minute" | "minutes" | "min" | "mins" | "m" => Part::Minute,
            "hour" | "hours" | "hr" | "hrs" | "h" => Part::Hour,
            "day" | "days" | "d" => Part::Day,
            "week" | "weeks" | "w" => Part::Week,
            "month" | "months" | "mon" | "mons" => Part::Month,
            "quarter" | "qtr" => Part::Quarter,
            "year" | "years" | "yr" | "yrs" | "y" => Part::Year,
            "decade" | "decades" | "dec" | "decs" => Part::Decade,
            "century" | "centuries" | "cent" | "c" => Part::Century,
            "millennium" | "millennia" | "mil" | "mils" => Part::Millennium,
            "julian" | "jd" | "j" => Part::Julian,
            "isoyear" => Part::IsoYear,
            "dow" => Part::Dow,
            "isodow" => Part::IsoDow,
            "doy" => Part::Doy,
            "epoch" => Part::Epoch,
            _ => return None,
        })
    }

    /// Whether it only ever grows as time goes by, so that the infinite ends have it too.
    fn grows(self) -> bool {
        use Part::{Century, Decade, Epoch, IsoYear, Julian, Millennium, Year};
        matches!(self, Year | Decade | Century | Millennium | Julian | IsoYear | Epoch)
    }

    fn infinite(self, positive: bool) -> Option<Numeric> {
        self.grows().then_some(if positive { Numeric::INFINITY } else { Numeric::NEGATIVE_INFINITY })
    }

    /// Of a day; `None` for parts of less than a day.
    pub(super) fn of_day(self, days: i64) -> Option<i64> {
        let day = Day::of(days);
        let first = |year| Day { year, month: 1, day: 1 }.number();
        // The ISO week belongs to the year of its Thursday.
        let weekday = (days + 3).rem_euclid(7);
        let thursday = days - weekday + 3;
        let iso = Day::of(thursday).year;
        Some(match self {
            Part::Day => day.day.into(),
            Part::Week => (thursday - first(iso)) / 7 + 1,
            Part::Month => day.month.into(),
            Part::Quarter => (i64::from(day.month) - 1) / 3 + 1,
            Part::Year => historical(day.year),
            Part::Decade => day.year.div_euclid(10),
            Part::Century => counted(day.year, 100),
            Part::Millennium => counted(day.year, 1000),
            Part::Julian => days + 2_440_588,
            Part::IsoYear => historical(iso),
            Part::Dow => (weekday + 1) % 7,
            Part::IsoDow => weekday + 1,
            Part::Doy => days - first(day.year) + 1,
            _ => return None,
        })
    }

    /// Of a time of day or of the time of an interval; `None` for parts of more than an hour.
    fn of_time(self, micros: i64) -> Result<Option<Numeric>> {
        const MINUTE: i64 = 60 * MICROS_PER_SECOND;
        let seconds = i128::from(micros % MINUTE);
        Ok(Some(match self {
            Part::Microseconds => Numeric::new(seconds, 0)?,
            Part::Milliseconds => Numeric::new(seconds, 3)?,
            Part::Second => Numeric::new(seconds, 6)?,
            Part::Minute => Numeric::from_i64(micros / MINUTE % 60),
            Part::Hour => Numeric::from_i64(micros / (60 * MINUTE)),
            _ => return Ok(None),
        }))
    }

    fn of_date(self, date: i32) -> Result<Option<Numeric>> {
        let days = i64::from(date);
        match self {
            _ if infinite_date(date) => Ok(self.infinite(date > 0)),
            Part::Epoch => Ok(Some(Numeric::from_i64(days * 86_400))),
            _ => Ok(Some(Numeric::from_i64(self.of_day(days).ok_or_else(|| self.unsupported("date"))?))),
        }
    }

    fn of_timestamp(self, at: i64) -> Result<Option<Numeric>> {
        if infinite_timestamp(at) {
            return Ok(self.infinite(at > 0));
        }
        let (days, micros) = split(at);
        match (self, self.of_day(days)) {
            (Part::Epoch, _) => Numeric::new(at.into(), 6).map(Some),
            (Part::Julian, Some(day)) => {
                let time = Numeric::from_i64(micros).div(&Numeric::from_i64(MICROS_PER_DAY))?;
                Numeric::from_i64(day).add(&time).map(Some)
            }
            (_, Some(number)) => Ok(Some(Numeric::from_i64(number))),
            (_, None) => self.of_time(micros),
        }
    }

    fn of_clock(self, micros: i64) -> Result<Option<Numeric>> {
        match self {
            Part::Epoch => Numeric::new(micros.into(), 6).map(Some),
            _ => self.of_time(micros)?.ok_or_else(|| self.unsupported("time without time zone")).map(Some),
        }
    }

    fn of_interval(self, interval: IntervalMonthDayNano) -> Result<Option<Numeric>> {
        let (months, days) = (i64::from(interval.months), i64::from(interval.days));
        let micros = interval.nanoseconds / 1000;
        let years = months / 12;
        let number = match self {
            Part::Day => days,
            Part::Month => months % 12,
            Part::Quarter => months % 12 / 3 + 1,
            Part::Year => years,
            Part::Decade => years / 10,
            Part::Century => years / 100,
            Part::Millennium => years / 1000,
            Part::Epoch => {
                // A year has 365.25 days, a month 30.
                let seconds = years * 31_557_600 + (months % 12 * 30 + days) * 86_400;
                let total = i128::from(seconds) * i128::from(MICROS_PER_SECOND) + i128::from(micros);
                return Numeric::new(total, 6).map(Some);
            }
            _ => return self.of_time(micros)?.ok_or_else(|| self.unsupported("interval")).map(Some),
        };
        Ok(Some(Numeric::from_i64(number)))
    }

    pub(super) fn unsupported(self, kind: &str) -> Error {
        let unit = format!("{self:?}").to_ascii_lowercase();
        Error::new("0A000", format!("unit \"{unit}\" not supported for type {kind}"))
    }
}

/// There is no year 0: before year 1 is year -1.
fn historical(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// The century or millennium of a year: the first begins with year 1, and there is none of number 0.
fn counted(year: i64, length: i64) -> i64 {
    if year > 0 { (year + length - 1) / length } else { -((length - year) / length) }
}

fn resolve(name: &str, given: &[Option<Type>]) -> Result<Resolved> {
    let moment = match given {
        [field, Some(moment)] if is_text(field) => moment,
        [field, Some(moment @ Type::Timestamptz), zone] if is_text(field) && is_text(zone) => moment,
        _ => return Err(undefined(name, given)),
    };
    let moment = match moment {
        Type::Date if name == "date_part" => Type::Timestamp,
        Type::Date | Type::Time | Type::Timestamp | Type::Timestamptz | Type::Interval => moment.clone(),
        _ => return Err(undefined(name, given)),
    };
    let result = if name == "extract" { Type::Numeric(None) } else { Type::Float8 };
    let arguments = [Type::Text, moment].into_iter().chain(given.get(2).map(|_| Type::Text)).collect();
    Ok(Resolved { arguments, result })
}

fn call(call: &Call) -> Result<ArrayRef> {
    let (fields, moments) = (call.column(0)?, call.column(1)?);
    let fields = fields.as_string::<i32>();
    let zone = zone_of(call, 2)?;
    let one = |row: usize| -> Result<Option<Numeric>> {
        if fields.is_null(row) || moments.is_null(row) {
            return Ok(None);
        }
        let part = Part::parse(fields.value(row))
            .ok_or_else(|| Error::new("22023", format!("unit \"{}\" not recognized", fields.value(row))))?;
        match moments.data_type() {
            DataType::Date32 => part.of_date(moments.as_primitive::<Date32Type>().value(row)),
            DataType::Time64(_) => part.of_clock(moments.as_primitive::<Time64MicrosecondType>().value(row)),
            DataType::Timestamp(..) => {
                let moments = moments.as_primitive::<TimestampMicrosecondType>();
                part.of_timestamp(wall(moments, zone.filter(|_| part != Part::Epoch), row))
            }
            DataType::Interval(_) => part.of_interval(moments.as_primitive::<IntervalMonthDayNanoType>().value(row)),
            other => Err(Error::internal(format!("part of {other}"))),
        }
    };
    let parts = numeric::build((0..call.rows).map(one))?;
    match call.result {
        Type::Float8 => numeric::to_column(&parts, &DataType::Float64),
        _ => Ok(Arc::new(parts)),
    }
}
