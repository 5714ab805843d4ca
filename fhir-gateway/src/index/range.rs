//! Dates and numbers as the ranges that they stand for: `2013-01` is a whole month, `5.4` is
//! anything that rounds to it (FHIR R4, Search, 3.1.1.5).

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

/// Milliseconds since 1970 in UTC, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First millisecond; [`i64::MIN`] when open.
    pub low: i64,
    /// Last millisecond; [`i64::MAX`] when open.
    pub high: i64,
}

/// The last millisecond of 9999, the last year of a FHIR date: what is meant to have no end often ends there.
const LAST: i64 = 253_402_300_799_999;

/// A decimal number and the range of what rounds to it, each as the binary number that is nearest: the index keeps
/// numbers so, and what is equal in decimals is equal in them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount {
    /// The number.
    pub value: f64,
    /// Half a unit of its last place below it, which is within the range.
    pub low: f64,
    /// Half a unit above it, which is not.
    pub high: f64,
}

/// The range of a FHIR date, dateTime or instant; hours with minutes too, as searches may give.
/// A date without an offset is taken in UTC.
pub fn date(text: &str) -> Option<Range> {
    let (day, clock) = match text.split_once('T') {
        Some((day, clock)) => (day, Some(clock)),
        None => (text, None),
    };
    let mut parts = day.split('-');
    let number = |text: &str| -> Option<u16> {
        (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    let year = i32::from(number(parts.next().filter(|year| year.len() == 4)?)?);
    let month = match parts.next() {
        Some(month) => Some(Month::try_from(u8::try_from(number(month)?).ok()?).ok()?),
        None => None,
    };
    let day = match parts.next() {
        Some(day) => Some(u8::try_from(number(day)?).ok()?),
        None => None,
    };
    if parts.next().is_some() {
        return None;
    }
    let first = Date::from_calendar_date(year, month.unwrap_or(Month::January), day.unwrap_or(1)).ok()?;
    if let Some(clock) = clock {
        day?;
        return time_of(first, clock);
    }
    // None after the last day that a date can name.
    let next = match (month, day) {
        (_, Some(_)) => first.next_day(),
        (Some(Month::December), None) | (None, None) => Date::from_calendar_date(year + 1, Month::January, 1).ok(),
        (Some(month), None) => Date::from_calendar_date(year, month.next(), 1).ok(),
    };
    let start = |date: Date| milliseconds(date.midnight().assume_utc());
    Some(Range { low: start(first), high: next.map_or(LAST, |next| start(next) - 1) })
}

fn time_of(date: Date, clock: &str) -> Option<Range> {
    let (time, offset) = match clock.find(['Z', '+', '-']) {
        Some(at) => clock.split_at(at),
        None => (clock, "Z"),
    };
    let offset = match offset {
        "Z" => UtcOffset::UTC,
        text => {
            let (hours, minutes) = text[1..].split_once(':')?;
            let two_digits = |text: &str| -> Option<i8> {
                (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
            };
            let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
            let sign: i8 = if text.starts_with('-') { -1 } else { 1 };
            UtcOffset::from_hms(sign.checked_mul(hours)?, sign.checked_mul(minutes)?, 0).ok()?
        }
    };
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let mut parts = time.split(':');
    let mut next = || -> Option<Option<u8>> {
        match parts.next() {
            None => Some(None),
            Some(part) if part.len() == 2 => part.parse().ok().map(Some),
            Some(_) => None,
        }
    };
    let (hour, minute, second) = (next()??, next()??, next()?);
    // A leap second is the last one of its minute.
    let clock = Time::from_hms(hour, minute, second.unwrap_or(0).min(59)).ok()?;
    let low = milliseconds(date.with_time(clock).assume_offset(offset));
    Some(match (second, fraction) {
        (None, _) => Range { low, high: low + 59_999 },
        (Some(_), None) => Range { low, high: low + 999 },
        (Some(_), Some(fraction)) => {
            let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
            let exact = low + digits.parse::<i64>().ok()?;
            Range { low: exact, high: exact }
        }
    })
}

fn milliseconds(time: OffsetDateTime) -> i64 {
    let since: Duration = time - OffsetDateTime::UNIX_EPOCH;
    i64::try_from(since.whole_milliseconds()).expect("years have four digits")
}

/// A decimal.
pub fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A decimal, with the precision that its digits show.
pub fn amount(text: &str) -> Option<Amount> {
    let value = number(text)?;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches(['+', '-']));
    // Half a unit is five of the next place: the ends are written down before anything is rounded.
    let place = exponent.saturating_sub(i32::try_from(fraction.len()).ok()?).saturating_sub(1);
    let end = |digits: &str| format!("{digits}5e{place}").parse::<f64>().ok();
    let (outer, inner) = match before(&digits) {
        Some(before) => (end(&digits)?, end(&before)?),
        None => (end(&digits)?, -end(&digits)?),
    };
    let (low, high) = if whole.starts_with('-') { (-outer, -inner) } else { (inner, outer) };
    // Of more digits than are kept, nothing lies between the number and the end: it is within its own range all the same.
    Some(Amount { value, low, high: high.max(value.next_up()) })
}

/// The digits of the number that is one less; none of zero.
fn before(digits: &str) -> Option<String> {
    let at = digits.rfind(|digit| digit != '0')?;
    let less = char::from(digits.as_bytes()[at] - 1);
    Some(format!("{}{less}{}", &digits[..at], "9".repeat(digits.len() - at - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_ranges_they_stand_for() {
        const DAY: i64 = 86_400_000;
        for (text, low, high) in [
            ("1970", 0, 365 * DAY - 1),
            ("1970-01", 0, 31 * DAY - 1),
            ("1970-12", 334 * DAY, 365 * DAY - 1),
            ("1970-01-02", DAY, 2 * DAY - 1),
            ("1970-01-01T00:01Z", 60_000, 119_999),
            ("1970-01-01T00:00:01Z", 1_000, 1_999),
            ("1970-01-01T00:00:01.25Z", 1_250, 1_250),
            ("1970-01-01T01:00:00+01:00", 0, 999),
            ("1969-12-31T20:00:00-04:00", 0, 999),
            ("9998-12-31", LAST - 366 * DAY + 1, LAST - 365 * DAY),
            ("2016-12-31T23:59:60Z", 1_483_228_799_000, 1_483_228_799_999),
        ] {
            assert_eq!(date(text), Some(Range { low, high }), "{text}");
        }
        for text in
            ["", "70", "1970-13", "1970-02-30", "1970-01-01T", "1970T00:00Z", "1970-01-01T0:00Z", "x", "1970-1-1-1"]
        {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn a_date_that_ends_with_the_last_year_was_no_date() {
        const DAY: i64 = 86_400_000;
        for (text, low, high) in [
            ("9999", LAST + 1 - 365 * DAY, LAST),
            ("9999-12", LAST + 1 - 31 * DAY, LAST),
            ("9999-12-31", LAST + 1 - DAY, LAST),
            ("9999-12-31T23:59Z", LAST - 59_999, LAST),
            ("9999-12-31T23:59:59.999Z", LAST, LAST),
        ] {
            assert_eq!(date(text), Some(Range { low, high }), "{text}");
        }
        for text in ["9999-13", "9999-12-32", "10000", "10000-01-01"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_have_the_precision_that_they_show() {
        for (text, value, low, high) in [
            ("5", 5.0, 4.5, 5.5),
            ("+5.", 5.0, 4.5, 5.5),
            ("100", 100.0, 99.5, 100.5),
            ("1000", 1000.0, 999.5, 1000.5),
            ("1e3", 1000.0, 500.0, 1500.0),
            ("1.0E+1", 10.0, 9.5, 10.5),
            ("5.40", 5.4, 5.395, 5.405),
            ("5.4", 5.4, 5.35, 5.45),
            ("5.3", 5.3, 5.25, 5.35),
            ("0.2", 0.2, 0.15, 0.25),
            ("2.68", 2.68, 2.675, 2.685),
            ("1.01", 1.01, 1.005, 1.015),
            ("0", 0.0, -0.5, 0.5),
            ("0.00", 0.0, -0.005, 0.005),
            ("-0.1", -0.1, -0.15, -0.05),
            ("-100", -100.0, -100.5, -99.5),
        ] {
            assert_eq!(amount(text), Some(Amount { value, low, high }), "{text}");
        }
        for text in ["five", "inf", "NaN", "--5", "", "1e999", "5e", "."] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_of_any_length_is_within_its_own_range() {
        let long = ["0.", &"3".repeat(400)].concat();
        for text in ["5.40000000000000000000", "1e-999", "-1e-999", "123456789012345678901234567890", &long, "1e308"] {
            let Amount { value, low, high } = amount(text).expect("a number");
            assert!(low <= value && value < high, "{text}");
        }
    }

    #[test]
    fn an_offset_that_is_none_is_refused_and_never_overflows() {
        for text in ["+-128:00", "-128:00", "--1:00", "+1:00", "+00:-1", "+99:99", "+é:00"] {
            assert_eq!(date(&format!("2020-01-02T03:04:05{text}")), None, "{text}");
        }
        assert!(date("2020-01-02T03:04:05-11:30").is_some());
    }
}
