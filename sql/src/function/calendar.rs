//! The proleptic Gregorian calendar as arithmetic: days since 1970-01-01 to year, month, day and back.

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// Astronomical: year 0 is 1 BC.
    pub year: i64,
    pub month: u32,
    pub day: u32,
}

impl Day {
    /// The day that many days after 1970-01-01.
    pub fn of(days: i64) -> Self {
        // Eras of 400 years that begin on March 1st, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
        Self { year: year_of_era + era * 400 + (month <= 2) as i64, month, day }
    }

    /// Days since 1970-01-01.
    pub fn number(&self) -> i64 {
        let year = self.year - (self.month <= 2) as i64;
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let shifted_month = (self.month as i64 + 9) % 12;
        let day_of_year = (153 * shifted_month + 2) / 5 + self.day as i64 - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    /// Whether there is such a day.
    pub fn exists(&self) -> bool {
        (1..=12).contains(&self.month) && self.day >= 1 && self.day <= month_length(self.year, self.month)
    }

    /// As many months later; the day is cut to the month's length.
    pub fn plus_months(&self, months: i64) -> Self {
        let total = self.year * 12 + (self.month as i64 - 1) + months;
        let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
        Self { year, month, day: self.day.min(month_length(year, month)) }
    }
}

pub fn month_length(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Microseconds since 1970 as day number and microseconds of the day.
pub fn split(micros: i64) -> (i64, i64) {
    (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_survive_the_way_there_and_back() {
        for number in (-1_000_000..1_000_000).step_by(37) {
            let day = Day::of(number);
            assert!(day.exists(), "{day:?}");
            assert_eq!(day.number(), number, "{day:?}");
        }
        assert_eq!(Day::of(0), Day { year: 1970, month: 1, day: 1 });
        assert_eq!(Day::of(19_782), Day { year: 2024, month: 2, day: 29 });
    }

    #[test]
    fn months_keep_to_the_end_of_short_ones() {
        let day = Day { year: 2024, month: 1, day: 31 };
        assert_eq!(day.plus_months(1), Day { year: 2024, month: 2, day: 29 });
        assert_eq!(day.plus_months(-2), Day { year: 2023, month: 11, day: 30 });
    }
}
