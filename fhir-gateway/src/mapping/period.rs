//! FHIR's dates as ranges of seconds. A date is as long as its precision: `2024` is a year, and a
//! period that ends on a day includes that day (FHIR R4, datatypes, Period).

pub use careledger_wire::terms::Seconds;
use time::{Date, Month, OffsetDateTime, format_description::well_known::Rfc3339};

use super::element::Element;
use crate::outcome::Refusal;

/// The seconds that a FHIR `date`, `dateTime` or `instant` spans. A date without a zone is in UTC.
pub fn seconds(text: &str) -> Option<Seconds> {
    if let Some((date, time)) = text.split_once('T') {
        if time.is_empty() || date.len() != 10 {
            return None;
        }
        let start = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp();
        return Some(Seconds { start, end: start + 1 });
    }
    let parts: Vec<&str> = text.split('-').collect();
    let is_digits = |part: &&str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let lengths_fit = parts.iter().zip([4, 2, 2]).all(|(part, length)| is_digits(part, length));
    if !lengths_fit || parts.len() > 3 {
        return None;
    }
    let year: i32 = parts[0].parse().ok()?;
    let month = parts.get(1).map(|part| part.parse::<u8>().ok().and_then(|month| Month::try_from(month).ok()));
    let day = parts.get(2).map(|part| part.parse::<u8>().ok());
    let (first, after) = match (month, day) {
        (None, _) => (day_of(year, Month::January, 1)?, day_of(year + 1, Month::January, 1)?),
        (Some(month), None) => {
            let month = month?;
            let next_year = if month == Month::December { year + 1 } else { year };
            (day_of(year, month, 1)?, day_of(next_year, month.next(), 1)?)
        }
        (Some(month), Some(day)) => {
            let first = day_of(year, month?, day?)?;
            (first, first.next_day()?)
        }
    };
    Some(Seconds { start: midnight(first), end: midnight(after) })
}

/// The seconds of a Period. An open end is `i64::MIN` or `i64::MAX`.
pub fn period(element: &Element<'_>) -> Result<Seconds, Refusal> {
    let bound = |name: &str| -> Result<Option<Seconds>, Refusal> {
        let element = element.get(name);
        let Some(text) = element.text() else { return Ok(None) };
        seconds(text).map(Some).ok_or_else(|| element.refuse("is not a date or a date with time and zone"))
    };
    let start = bound("start")?.map_or(i64::MIN, |seconds| seconds.start);
    let end = bound("end")?.map_or(i64::MAX, |seconds| seconds.end);
    if start >= end {
        return Err(element.refuse("ends before it starts"));
    }
    Ok(Seconds { start, end })
}

fn day_of(year: i32, month: Month, day: u8) -> Option<Date> {
    Date::from_calendar_date(year, month, day).ok()
}

fn midnight(date: Date) -> i64 {
    date.midnight().assume_utc().unix_timestamp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_long_as_its_precision() {
        let cases = [
            ("1970", 0, 365 * 86_400),
            ("1970-02", 31 * 86_400, 59 * 86_400),
            ("1970-12", 334 * 86_400, 365 * 86_400),
            ("1970-01-02", 86_400, 2 * 86_400),
            ("1970-01-01T00:00:10Z", 10, 11),
            ("1970-01-01T02:00:10+02:00", 10, 11),
            ("1970-01-01T00:00:10.999Z", 10, 11),
        ];
        for (text, start, end) in cases {
            assert_eq!(seconds(text), Some(Seconds { start, end }), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in
            ["", "70", "1970-1", "1970-13", "1970-02-30", "1970-01-01T", "1970-01-01T00:00", "1970-01-01-01", "now"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
