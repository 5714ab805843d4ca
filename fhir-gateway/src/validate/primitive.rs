//! Primitive values against the patterns of FHIR R4 (Data Types, 2.24.0.1).

use time::{Date, Month};

use crate::{
    json::{Node, Value},
    outcome::Refusal,
    resources::elements::Primitive,
};

/// Largest length of a resource id.
const ID_LENGTH_MAX: usize = 64;

/// Checks one primitive.
pub fn check(node: &Node, kind: Primitive, path: &str) -> Result<(), Refusal> {
    let refuse = |problem: &str| Err(Refusal::invalid(path, problem));
    match kind {
        Primitive::Boolean => match node.value {
            Value::Bool(_) => Ok(()),
            _ => refuse("must be true or false"),
        },
        Primitive::Decimal => match node.value {
            Value::Number(_) => Ok(()),
            _ => refuse("must be a JSON number"),
        },
        Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt => {
            let least = match kind {
                Primitive::Integer => i32::MIN,
                Primitive::UnsignedInt => 0,
                _ => 1,
            };
            match &node.value {
                Value::Number(digits) if digits.parse::<i32>().is_ok_and(|number| number >= least) => Ok(()),
                _ => refuse("must be a whole number in the range of its type"),
            }
        }
        _ => match node.as_str() {
            None => refuse("must be a JSON string"),
            Some("") => refuse("must not be empty"),
            Some(text) => match pattern(text, kind) {
                None => Ok(()),
                Some(problem) => refuse(problem),
            },
        },
    }
}

/// Why `text` is not of its type.
fn pattern(text: &str, kind: Primitive) -> Option<&'static str> {
    let (holds, problem) = match kind {
        Primitive::Id => (is_id(text), "must be 1 to 64 letters, digits, - or ."),
        Primitive::Code => (is_code(text), "must be a code: no space before, after or twice within"),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => {
            (!text.contains(char::is_whitespace), "must be a URI, without spaces")
        }
        Primitive::Oid => (is_oid(text), "must be urn:oid: and an OID"),
        Primitive::Uuid => (is_uuid(text), "must be urn:uuid: and a UUID in lower case"),
        Primitive::Date => (is_date(text), "must be a date: YYYY, YYYY-MM or YYYY-MM-DD"),
        Primitive::DateTime => (is_date_time(text), "must be a date, or a time with seconds and an offset"),
        Primitive::Instant => (is_instant(text), "must be a time with seconds and an offset"),
        Primitive::Time => (is_time(text), "must be a time: hh:mm:ss"),
        Primitive::Base64Binary => (is_base64(text), "must be base64"),
        _ => (true, ""),
    };
    (!holds).then_some(problem)
}

/// An id: `[A-Za-z0-9\-\.]{1,64}`.
pub fn is_id(text: &str) -> bool {
    let is_of_alphabet = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !text.is_empty() && text.len() <= ID_LENGTH_MAX && text.bytes().all(is_of_alphabet)
}

/// A `Reference.reference`: `Type/id`, with a version or not, `#id`, an absolute URL, a URN, or
/// the condition `Type?query`, which only a transaction resolves.
pub fn is_reference(text: &str) -> bool {
    if text.contains(char::is_whitespace) && !text.contains('?') {
        return false;
    }
    if let Some(id) = text.strip_prefix('#') {
        return id.is_empty() || is_id(id);
    }
    if ["http://", "https://", "urn:"].iter().any(|scheme| text.starts_with(scheme)) {
        return true;
    }
    if let Some((resource, query)) = text.split_once('?') {
        return is_type_name(resource) && !query.is_empty();
    }
    match *text.split('/').collect::<Vec<_>>().as_slice() {
        [resource, id] => is_type_name(resource) && is_id(id),
        [resource, id, "_history", version] => is_type_name(resource) && is_id(id) && is_id(version),
        _ => false,
    }
}

fn is_type_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// `[^\s]+(\s[^\s]+)*`
fn is_code(text: &str) -> bool {
    text.split(char::is_whitespace).all(|word| !word.is_empty())
}

fn is_oid(text: &str) -> bool {
    text.strip_prefix("urn:oid:").is_some_and(|oid| {
        oid.starts_with(['0', '1', '2'])
            && oid.contains('.')
            && oid.split('.').all(|arc| arc.parse::<u128>().is_ok_and(|number| number.to_string() == arc))
    })
}

fn is_uuid(text: &str) -> bool {
    text.strip_prefix("urn:uuid:")
        .is_some_and(|id| uuid::Uuid::try_parse(id).is_ok_and(|parsed| parsed.hyphenated().to_string() == id))
}

fn digits(text: &str, count: usize) -> Option<u16> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let year = |text| digits(text, 4).filter(|year| *year > 0);
    let month = |text| digits(text, 2).and_then(|month| Month::try_from(u8::try_from(month).ok()?).ok());
    match *parts.as_slice() {
        [y] => year(y).is_some(),
        [y, m] => year(y).is_some() && month(m).is_some(),
        [y, m, d] => match (year(y), month(m), digits(d, 2)) {
            (Some(y), Some(m), Some(d)) => {
                u8::try_from(d).is_ok_and(|d| Date::from_calendar_date(i32::from(y), m, d).is_ok())
            }
            _ => false,
        },
        _ => false,
    }
}

/// `hh:mm:ss`, perhaps with a fraction; a leap second is allowed.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    if fraction.is_some_and(|fraction| fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    let parts: Vec<&str> = clock.split(':').collect();
    let [hours, minutes, seconds] = *parts.as_slice() else { return false };
    digits(hours, 2).is_some_and(|hours| hours < 24)
        && digits(minutes, 2).is_some_and(|minutes| minutes < 60)
        && digits(seconds, 2).is_some_and(|seconds| seconds <= 60)
}

/// A date with a time, seconds and an offset.
pub fn is_instant(text: &str) -> bool {
    let Some((date, clock)) = text.split_once('T') else { return false };
    let time = if let Some(time) = clock.strip_suffix('Z') {
        time
    } else {
        let Some(at) = clock.rfind(['+', '-']) else { return false };
        let Some((hours, minutes)) = clock[at + 1..].split_once(':') else { return false };
        let holds =
            digits(hours, 2).is_some_and(|hours| hours <= 14) && digits(minutes, 2).is_some_and(|minutes| minutes < 60);
        if !holds {
            return false;
        }
        &clock[..at]
    };
    date.len() == 10 && is_date(date) && is_time(time)
}

fn is_date_time(text: &str) -> bool {
    is_date(text) || is_instant(text)
}

fn is_base64(text: &str) -> bool {
    let mut letters = 0usize;
    let mut padding = 0usize;
    for byte in text.bytes() {
        match byte {
            b'=' => padding += 1,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => letters += 1,
            _ => return false,
        }
    }
    padding <= 2 && (letters + padding).is_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_specification() {
        let cases: &[(Primitive, &[&str], &[&str])] = &[
            (
                Primitive::Date,
                &["1970", "1970-01", "2024-02-29"],
                &["70", "1970-1", "2023-02-29", "1970-01-01T00:00:00Z", "0000"],
            ),
            (
                Primitive::Instant,
                &["2015-02-07T13:28:17.239+02:00", "2017-01-01T00:00:00Z", "2016-12-31T23:59:60Z"],
                &[
                    "2015",
                    "2015-02-07T13:28Z",
                    "2015-02-07T13:28:17",
                    "2015-02-07T25:28:17Z",
                    "2015-02-07T13:28:17.+02:00",
                    "2015-02-07T13:28:17+2:00",
                ],
            ),
            (
                Primitive::DateTime,
                &["2018", "2018-03-01T10:00:00-04:00"],
                &["2018-03-01T10:00", "2018-03-01 10:00:00Z"],
            ),
            (Primitive::Time, &["12:00:00", "12:00:00.5"], &["24:00:00", "12:00", "12:00:00Z"]),
            (Primitive::Id, &["a", "A-1.b"], &["a_b", "a/b"]),
            (Primitive::Code, &["final", "a b"], &[" a", "a ", "a  b"]),
            (Primitive::Oid, &["urn:oid:1.2.3"], &["1.2.3", "urn:oid:3.1", "urn:oid:1.02"]),
            (
                Primitive::Uuid,
                &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
                &["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520"],
            ),
            (Primitive::Base64Binary, &["AAAA", "AA==", "AAAA\nAA=="], &["A", "A===", "AA=A", "A*AA"]),
            (Primitive::Uri, &["urn:a", "relative/ok"], &["has space"]),
        ];
        for (kind, accepted, refused) in cases {
            for text in *accepted {
                assert_eq!(pattern(text, *kind), None, "{kind:?} {text}");
            }
            for text in *refused {
                assert!(pattern(text, *kind).is_some(), "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn references_have_one_of_five_forms() {
        for text in
            ["Patient/1", "Patient/1/_history/2", "#a", "http://x/Patient/1", "urn:uuid:1", "Patient?identifier=a|b c"]
        {
            assert!(is_reference(text), "{text}");
        }
        for text in ["", "Patient", "Patient/", "patient/1", "Patient/a_b", "Patient/1/2", "a b", "Patient?"] {
            assert!(!is_reference(text), "{text}");
        }
    }
}
