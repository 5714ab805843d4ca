//! Primitive values against the patterns of FHIR R4 (Data Types, 2.24.0.1).

use time::{Date, Month};

use super::narrative;
use crate::{
    json::{Node, Value},
    resources::elements::Primitive,
};

/// Largest length of a resource id.
const ID_LENGTH_MAX: usize = 64;
/// Largest offset from UTC.
const OFFSET_MINUTES_MAX: u16 = 14 * 60;

/// Most characters of a string (FHIR R4, 2.24.0.1). What has no limit there is bounded by the body's.
const CHARACTERS_MAX: usize = 1024 * 1024;

/// Why `node` is no primitive of that kind.
pub fn problem(node: &Node, kind: Primitive) -> Option<&'static str> {
    match kind {
        Primitive::Boolean => (!matches!(node.value, Value::Bool(_))).then_some("must be true or false"),
        Primitive::Decimal => (!matches!(node.value, Value::Number(_))).then_some("must be a JSON number"),
        Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt => {
            let is_it = matches!(&node.value, Value::Number(digits) if is_whole(digits, kind));
            (!is_it).then_some("must be a whole number in the range of its type")
        }
        _ => match node.as_str() {
            None => Some("must be a JSON string"),
            Some("") => Some("must not be empty"),
            Some(text) => pattern(text, kind),
        },
    }
}

fn is_whole(digits: &str, kind: Primitive) -> bool {
    let least = match kind {
        Primitive::Integer => i32::MIN,
        Primitive::UnsignedInt => 0,
        _ => 1,
    };
    let is_signed = digits.starts_with('-');
    (kind == Primitive::Integer || !is_signed) && digits.parse::<i32>().is_ok_and(|number| number >= least)
}

/// Why `text` is not of its type.
fn pattern(text: &str, kind: Primitive) -> Option<&'static str> {
    if !text.chars().all(is_character) {
        return Some("holds a control character, or one that XML does not have");
    }
    let (holds, problem) = match kind {
        Primitive::Id => (is_id(text), "must be 1 to 64 letters, digits, - or ."),
        Primitive::Code => (is_code(text), "must be a code: no space before, after or twice within"),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => {
            (!text.contains(is_space), "must be a URI, without spaces")
        }
        Primitive::Oid => (is_oid(text), "must be urn:oid: and an OID"),
        Primitive::Uuid => (is_uuid(text), "must be urn:uuid: and a UUID in lower case"),
        Primitive::Date => (is_date(text), "must be a date: YYYY, YYYY-MM or YYYY-MM-DD"),
        Primitive::DateTime => (is_date_time(text), "must be a date, or a time with seconds and an offset"),
        Primitive::Instant => (is_instant(text), "must be a time with seconds and an offset"),
        Primitive::Time => (is_time(text), "must be a time: hh:mm:ss"),
        Primitive::Base64Binary => (is_base64(text), "must be base64"),
        Primitive::String | Primitive::Markdown => {
            (text.len() <= CHARACTERS_MAX || text.chars().count() <= CHARACTERS_MAX, "is longer than a string may be")
        }
        Primitive::Xhtml => return narrative::problem(text),
        _ => (true, ""),
    };
    (!holds).then_some(problem)
}

/// A character that both FHIR's strings and XML have: no control characters but tab, line feed and
/// carriage return, no U+FFFE and U+FFFF.
fn is_character(character: char) -> bool {
    !matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
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
    text.split(is_space).all(|word| !word.is_empty())
}

/// What `\s` means in the patterns: they are XML Schema's, to which a no-break space is none.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r')
}

fn is_oid(text: &str) -> bool {
    let is_arc = |arc: &str| {
        arc == "0" || (!arc.starts_with('0') && !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let arcs = text.strip_prefix("urn:oid:").and_then(|oid| oid.split_once('.'));
    arcs.is_some_and(|(first, rest)| ["0", "1", "2"].contains(&first) && rest.split('.').all(is_arc))
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
        let (Some(hours), Some(minutes)) = (digits(hours, 2), digits(minutes, 2)) else { return false };
        if hours * 60 + minutes > OFFSET_MINUTES_MAX || minutes > 59 {
            return false;
        }
        &clock[..at]
    };
    date.len() == 10 && is_date(date) && is_time(time)
}

fn is_date_time(text: &str) -> bool {
    is_date(text) || is_instant(text)
}

/// Groups of four, with whitespace between them only; the last one may be padded.
fn is_base64(text: &str) -> bool {
    let (mut letters, mut padding) = (0usize, 0usize);
    for byte in text.bytes() {
        match byte {
            b'=' => padding += 1,
            b' ' | b'\t' | b'\r' | b'\n' if (letters + padding).is_multiple_of(4) => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => letters += 1,
            _ => return false,
        }
    }
    padding <= 2 && letters > 0 && (letters + padding).is_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::elements::{Kind, kind_of};

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
            (
                Primitive::Base64Binary,
                &["AAAA", "AA==", "AAAA\nAA==", " AAAA "],
                &["A", "A===", "AA=A", "A*AA", "AA AA", "===="],
            ),
            (Primitive::String, &["a\tb\r\nc", " ", "\u{7f}", "\u{1f600}"], &["\u{1}", "a\u{b}", "\u{ffff}"]),
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

    /// Something like the values of every primitive type.
    fn near(kind: Primitive) -> &'static str {
        match kind {
            Primitive::Date => "[0-2][0-9]{3}(-[0-1][0-9](-[0-3][0-9])?)?",
            Primitive::Time => "[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,3})?",
            Primitive::DateTime | Primitive::Instant => {
                "[0-2][0-9]{3}-[0-1][0-9]-[0-3][0-9](T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,3})?(Z|[+-][0-1][0-9]:[0-6][0-9])?)?"
            }
            Primitive::Oid => "(urn:oid:)?[0-3](\\.[0-9]{0,3}){0,4}",
            Primitive::Uuid => "urn:uuid:[0-9a-fA-F]{8}-([0-9a-f]{4}-){3}[0-9a-f]{11,12}",
            Primitive::Base64Binary => "([0-9A-Za-z+/=]{4}[ \n]?){0,3}[0-9A-Za-z+/=]{0,4}",
            Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt => "-?[0-9]{1,4}",
            Primitive::Decimal => "-?[0-9]{1,3}(\\.[0-9]{0,3})?([eE][+-]?[0-9]{0,2})?",
            Primitive::Boolean => "true|false|True|1",
            _ => "[a-zA-Z0-9_. \\-/:\t\n\u{a0}]{0,70}",
        }
    }

    /// Why a value is refused that its pattern allows.
    fn is_stricter(text: &str, kind: Primitive) -> bool {
        match kind {
            // 2023-02-30 is no day.
            Primitive::Date | Primitive::DateTime | Primitive::Instant => text.len() >= 10 && &text[8..10] > "28",
            // Padding stands at the end, and is at most two long.
            Primitive::Base64Binary => text.contains('='),
            Primitive::Uri | Primitive::Url | Primitive::Canonical => text.is_empty(),
            _ => false,
        }
    }

    #[test]
    fn checks_and_official_patterns_agree() {
        use proptest::{prelude::*, test_runner::TestRunner};
        let patterns = include_str!("../../definitions/patterns.txt");
        for line in patterns.lines() {
            let (name, pattern) = line.split_once(' ').expect("a name and a pattern");
            let pattern = pattern.replace(r"\s", r"[ \t\r\n]").replace(r"\S", r"[^ \t\r\n]");
            let official = regex::Regex::new(&format!("^(?:{pattern})$")).expect("a pattern");
            let Kind::Primitive(kind) = kind_of(name) else { panic!("{name} is no primitive") };
            let is_text = !matches!(
                kind,
                Primitive::Boolean
                    | Primitive::Decimal
                    | Primitive::Integer
                    | Primitive::UnsignedInt
                    | Primitive::PositiveInt
            );
            let mut runner = TestRunner::deterministic();
            let checked = runner.run(&near(kind), |text| {
                let quoted = if is_text { crate::json::quoted(&text) } else { text.clone() };
                let ours =
                    crate::json::Document::parse(quoted).is_ok_and(|found| problem(found.root(), kind).is_none());
                let theirs = official.is_match(&text);
                prop_assert!(
                    ours == theirs || (theirs && is_stricter(&text, kind)),
                    "{} {:?}: {} {}",
                    name,
                    text,
                    ours,
                    theirs
                );
                Ok(())
            });
            checked.unwrap_or_else(|error| panic!("{error}"));
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
