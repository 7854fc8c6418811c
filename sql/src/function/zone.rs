//! Time zones by name or offset.

use crate::error::{Error, Result};
use arrow::array::timezone::Tz;
use arrow::datatypes::DataType;
use chrono::{DateTime, MappedLocalTime, Offset, TimeZone};

use super::calendar::MICROS_PER_SECOND;

#[derive(Clone, Copy, Debug)]
pub struct Zone(Option<Tz>);

impl Zone {
    pub const UTC: Zone = Zone(None);

    pub fn parse(name: &str) -> Result<Self> {
        let name = name.trim();
        if ["utc", "gmt", "z", "zulu", "etc/utc"].contains(&name.to_ascii_lowercase().as_str()) {
            return Ok(Self::UTC);
        }
        let unknown = || Error::new("22023", format!("time zone \"{name}\" not recognized"));
        // POSIX counts offsets to the west.
        let name = match name.split_at_checked(1) {
            Some(("+", offset)) => format!("-{offset}"),
            Some(("-", offset)) => format!("+{offset}"),
            _ => name.to_string(),
        };
        name.parse::<Tz>().map(|zone| Zone(Some(zone))).map_err(|_| unknown())
    }

    pub fn is_utc(&self) -> bool {
        self.0.is_none()
    }

    /// Seconds east of UTC at a moment; 0 where the calendar of the zone data ends.
    pub fn offset(&self, micros: i64) -> i64 {
        let Some(zone) = &self.0 else { return 0 };
        match DateTime::from_timestamp_micros(micros) {
            Some(at) => zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc() as i64,
            None => 0,
        }
    }

    /// Wall clock here at a moment.
    pub fn local(&self, micros: i64) -> i64 {
        micros.saturating_add(self.offset(micros) * MICROS_PER_SECOND)
    }

    /// The moment of a wall clock: in the hour that comes twice the later one in standard time, in the hour that is skipped
    /// as if the clock had not been changed yet; as Postgres does.
    pub fn moment(&self, local: i64) -> i64 {
        let Some(zone) = &self.0 else { return local };
        let Some(naive) = DateTime::from_timestamp_micros(local).map(|at| at.naive_utc()) else { return local };
        let seconds = match zone.offset_from_local_datetime(&naive) {
            MappedLocalTime::Single(offset) => offset.fix().local_minus_utc() as i64,
            MappedLocalTime::Ambiguous(first, second) => {
                first.fix().local_minus_utc().min(second.fix().local_minus_utc()) as i64
            }
            // The offset in force before the gap: that of a day earlier.
            MappedLocalTime::None => self.offset(local - 86_400 * MICROS_PER_SECOND),
        };
        local.saturating_sub(seconds * MICROS_PER_SECOND)
    }
}

/// Whether values of a type mean something only with a zone.
pub fn zoned(kind: &DataType) -> bool {
    matches!(kind, DataType::Timestamp(_, Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clocks_and_moments_convert_as_in_postgres() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let at = |text: &str| text.parse::<chrono::NaiveDateTime>().unwrap().and_utc().timestamp_micros();
        assert_eq!(zone.local(at("2024-07-01T12:00:00")), at("2024-07-01T14:00:00"));
        assert_eq!(zone.moment(at("2024-01-01T12:00:00")), at("2024-01-01T11:00:00"));
        // Skipped and doubled hours, as PostgreSQL 15 reads them.
        assert_eq!(zone.moment(at("2024-03-31T02:30:00")), at("2024-03-31T01:30:00"));
        assert_eq!(zone.moment(at("2024-10-27T02:30:00")), at("2024-10-27T01:30:00"));
        assert!(Zone::parse("Mars/Olympus").is_err());
        assert_eq!(Zone::parse("+05:30").unwrap().offset(0), -19_800);
    }
}
