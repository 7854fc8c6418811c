//! pg_catalog.pg_timezone_names: the zones that SET timezone takes, with their offset now.

use super::table::{Facts, Kind::*, Table, row};
use chrono::{DateTime, Duration, TimeZone};
use chrono_tz::{OffsetComponents, OffsetName, TZ_VARIANTS};

pub(super) const TABLE: Table = Table {
    schema_name: "pg_catalog",
    name: "pg_timezone_names",
    columns: &[("name", Text), ("abbrev", Text), ("utc_offset", Text), ("is_dst", Bool)],
    rows: |facts: &Facts| {
        let now = DateTime::from_timestamp_micros(facts.progress.now).unwrap_or_default().naive_utc();
        let one = |zone: &chrono_tz::Tz| {
            let offset = zone.offset_from_utc_datetime(&now);
            let (base, summer) = (offset.base_utc_offset(), offset.dst_offset());
            row![zone.name(), offset.abbreviation(), clock(base + summer), summer != Duration::zero()]
        };
        TZ_VARIANTS.iter().map(one).collect()
    },
};

/// An interval of hours as text: `-03:30:00`.
fn clock(offset: Duration) -> String {
    let seconds = offset.num_seconds();
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.abs();
    format!("{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_print_as_intervals() {
        assert_eq!(clock(Duration::minutes(-210)), "-03:30:00");
        assert_eq!(clock(Duration::zero()), "00:00:00");
        assert_eq!(clock(Duration::minutes(345)), "05:45:00");
    }
}
