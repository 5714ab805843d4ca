//! Days as the circuit counts them: since 1900-01-01, in twenty bits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bits of a day in the circuit. Day 2²⁰ − 1 is in the year 4770.
pub const DAY_BITS: u32 = 20;
/// Days from 1900-01-01 to 1970-01-01.
const UNIX_EPOCH_DAY: u32 = 25_567;
const SECONDS_PER_DAY: u64 = 86_400;

/// A calendar day, proleptic Gregorian, from 1900-01-01; below 2²⁰.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u32);

/// The text or the number is not a day that the circuit can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a day is written YYYY-MM-DD and lies between 1900 and 4770")]
pub struct DayError;

impl Day {
    /// 1900-01-01.
    pub const FIRST: Self = Self(0);

    /// A day by its number since 1900-01-01.
    pub fn from_number(number: u32) -> Result<Self, DayError> {
        if number < 1 << DAY_BITS { Ok(Self(number)) } else { Err(DayError) }
    }

    /// The day (UTC) of a time in Unix seconds, such as a block's.
    pub fn from_unix_seconds(seconds: u64) -> Result<Self, DayError> {
        let day = u32::try_from(seconds / SECONDS_PER_DAY).map_err(|_| DayError)?;
        Self::from_number(day.checked_add(UNIX_EPOCH_DAY).ok_or(DayError)?)
    }

    /// Days since 1900-01-01.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// Whether February of `year` has 29 days.
const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days of each month of `year`.
const fn months(year: u32) -> [u32; 12] {
    let february = if is_leap(year) { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// Days from 1900-01-01 to the first day of `year`.
const fn days_before(year: u32) -> u32 {
    let past = year - 1;
    365 * (year - 1900) + (past / 4 - past / 100 + past / 400) - (1899 / 4 - 1899 / 100 + 1899 / 400)
}

impl FromStr for Day {
    type Err = DayError;

    fn from_str(text: &str) -> Result<Self, DayError> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| {
            bytes[range]
                .iter()
                .try_fold(0_u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
        };
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return Err(DayError);
        }
        let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
            return Err(DayError);
        };
        if year < 1900 || !(1..=12).contains(&month) {
            return Err(DayError);
        }
        let months = months(year);
        let month = month as usize - 1;
        if !(1..=months[month]).contains(&day) {
            return Err(DayError);
        }
        Self::from_number(days_before(year) + months[..month].iter().sum::<u32>() + day - 1)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut year = 1900 + self.0 / 366;
        while days_before(year + 1) <= self.0 {
            year += 1;
        }
        let mut day = self.0 - days_before(year);
        let mut month = 0;
        for days in months(year) {
            if day < days {
                break;
            }
            day -= days;
            month += 1;
        }
        write!(formatter, "{year:04}-{:02}-{:02}", month + 1, day + 1)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_from_1900() {
        let cases = [
            ("1900-01-01", Some(0)),
            ("1900-02-28", Some(58)),
            ("1900-02-29", None),
            ("1900-03-01", Some(59)),
            ("1970-01-01", Some(25_567)),
            ("2000-02-29", Some(36_583)),
            ("2026-01-01", Some(46_021)),
            ("2026-13-01", None),
            ("2026-04-31", None),
            ("1899-12-31", None),
            ("4770-11-25", Some(1_048_574)),
            ("4770-11-26", Some(1_048_575)),
            ("4770-11-27", None),
            ("2026-1-01", None),
            ("2026-01-0x", None),
        ];
        for (text, number) in cases {
            assert_eq!(text.parse::<Day>().ok().map(Day::number), number, "{text}");
        }
    }

    #[test]
    fn every_day_is_written_as_it_is_read() {
        let mut previous = String::new();
        for number in (0..1 << DAY_BITS).step_by(13) {
            let day = Day::from_number(number).expect("below the limit");
            let text = day.to_string();
            assert!(previous < text);
            assert_eq!(text.parse(), Ok(day));
            previous = text;
        }
    }

    #[test]
    fn a_block_time_gives_its_utc_day() {
        let cases = [
            (0, Some("1970-01-01")),
            (86_399, Some("1970-01-01")),
            (86_400, Some("1970-01-02")),
            (1_767_225_600, Some("2026-01-01")),
            (u64::MAX, None),
        ];
        for (seconds, text) in cases {
            let day = Day::from_unix_seconds(seconds).ok().map(|day| day.to_string());
            assert_eq!(day.as_deref(), text);
        }
    }
}
