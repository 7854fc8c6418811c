//! Places in Postgres' log, and the position a source resumes at.

use crate::connector::Position;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A place in the write-ahead log, as people write it: `0/16B3748`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnLsn;

impl FromStr for Lsn {
    type Err = NotAnLsn;

    fn from_str(text: &str) -> Result<Self, NotAnLsn> {
        let (high, low) = text.split_once('/').ok_or(NotAnLsn)?;
        let part = |digits: &str| match digits.len() {
            1..=8 if digits.bytes().all(|c| c.is_ascii_hexdigit()) => {
                u64::from_str_radix(digits, 16).map_err(|_| NotAnLsn)
            }
            _ => Err(NotAnLsn),
        };
        Ok(Lsn(part(high)? << 32 | part(low)?))
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|NotAnLsn| format!("\"{text}\" is not a log position"))
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Lsn::try_from(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Which server's log, and how far: everything that committed with an end at or before `lsn` has been handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub system_id: String,
    pub timeline: u32,
    pub lsn: Lsn,
}

impl Place {
    pub fn position(&self) -> Position {
        Position(serde_json::to_value(self).expect("a place is plain JSON"))
    }

    pub fn of(position: &Position) -> Result<Self, weir_sql::Error> {
        Self::deserialize(&position.0)
            .map_err(|e| weir_sql::Error::internal(format!("position {} is not one of Postgres: {e}", position.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_json() {
        let place = Place { system_id: "7312345678901234567".into(), timeline: 1, lsn: Lsn(0x1_016B_3748) };
        assert_eq!(place.position().0["lsn"], "1/16B3748");
        assert_eq!(Place::of(&place.position()), Ok(place));
    }

    #[test]
    fn what_is_no_lsn_is_refused() {
        for text in ["", "0", "0/", "/1", "0/123456789", "x/1", "+1/1", "0/1/2"] {
            assert_eq!(text.parse::<Lsn>(), Err(NotAnLsn), "{text}");
        }
    }
}
