//! Values of search parameters: prefixes, escapes, and one form per search type.

use std::sync::Arc;

use super::{ALTERNATIVES_MAX, Modifier, Subject};
use crate::{
    index::{
        extract::{self, local_reference},
        letters,
        range::{self, Amount, Range},
    },
    resources::parameters::SearchType,
    value_sets::Members,
};

/// How a date or a number is compared (FHIR R4, 3.1.1.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum Prefix {
    Eq,
    Ne,
    Gt,
    Lt,
    Ge,
    Le,
    Sa,
    Eb,
    Ap,
}

/// One alternative of a criterion.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// An id.
    Id(String),
    /// `code`, `system|code`, `system|`, `|code`.
    Token {
        /// Any system if none; no system if empty.
        system: Option<String>,
        /// Any code if none.
        code: Option<String>,
    },
    /// A date.
    Date {
        /// How to compare.
        prefix: Prefix,
        /// With what.
        range: Range,
    },
    /// A number or a quantity.
    Amount {
        /// How to compare.
        prefix: Prefix,
        /// With what.
        amount: Amount,
        /// System of the unit; any if none.
        system: Option<String>,
        /// Code of the unit, or the unit itself; any if none.
        code: Option<String>,
    },
    /// A local resource, of any type if none; or a URL, with an empty type.
    Reference {
        /// The type.
        resource_type: Option<String>,
        /// Id or URL.
        target: String,
    },
    /// Text.
    Text(String),
    /// A URI.
    Uri(String),
    /// `:missing`
    Missing(bool),
    /// Within some kilometres of a place.
    Near {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
        /// How far.
        kilometres: f64,
    },
    /// Both halves of a composite.
    Pair(Box<Wanted>, Box<Wanted>),
    /// Any code of a value set.
    Members(Arc<Members>),
}

/// Codes of a value set that count as one alternative: each is a word in a list, and no value of its own in a query.
const CODES_PER_ALTERNATIVE: usize = 40;

impl Wanted {
    /// As how many alternatives it counts.
    pub fn weight(&self) -> usize {
        match self {
            Self::Members(members) => {
                (members.systems_count() + members.codes().div_ceil(CODES_PER_ALTERNATIVE)).max(1)
            }
            _ => 1,
        }
    }
}

/// Splits at `separator` where it is not escaped; escapes stay. What comes after one part more than any value may have is
/// left out: whoever sends a body of separators takes no more memory than it has.
pub fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for letter in text.chars() {
        if letter == separator && !is_escaped {
            if parts.len() > ALTERNATIVES_MAX {
                break;
            }
            parts.push(String::new());
        } else {
            parts.last_mut().expect("never empty").push(letter);
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    parts
}

/// Takes the escapes away: `\,` `\|` `\$` `\\`.
pub fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letters.peek() {
            Some(next) if letter == '\\' && ",|$\\".contains(*next) => {
                plain.push(*next);
                letters.next();
            }
            _ => plain.push(letter),
        }
    }
    plain
}

/// Reads one alternative; none if its type does not allow it.
pub fn read(
    subject: &Subject,
    modifier: Modifier,
    resource_type: Option<&str>,
    text: &str,
    base_url: &str,
) -> Option<Wanted> {
    if text.is_empty() {
        return None;
    }
    let parameter = match subject {
        Subject::Id => return Some(Wanted::Id(unescaped(text))),
        Subject::LastUpdated => return date(text),
        Subject::Parameter(parameter) => parameter,
        Subject::Compartment(_) | Subject::Reverse(_) => return None,
    };
    match modifier {
        Modifier::Missing => return text.parse().ok().map(Wanted::Missing),
        Modifier::Identifier => return Some(token(text)),
        Modifier::Text => return Some(Wanted::Text(unescaped(text))),
        Modifier::OfType => return of_type(text),
        _ => {}
    }
    match &parameter.composite {
        Some(composite) => {
            let halves = split(text, '$');
            let [first, second] = halves.as_slice() else { return None };
            let [first_type, second_type] = composite.types;
            let half = |search_type, text: &str| {
                let is_there = !text.is_empty();
                is_there.then(|| typed(search_type, None, text, base_url)).flatten().map(Box::new)
            };
            Some(Wanted::Pair(half(first_type, first)?, half(second_type, second)?))
        }
        // One word: a name of several is several criteria.
        None if parameter.is_phonetic() => {
            let word = unescaped(text);
            let is_one = !word.contains(char::is_whitespace);
            letters::sound(&word).filter(|_| is_one).map(Wanted::Text)
        }
        None => typed(parameter.search_type, resource_type, text, base_url),
    }
}

fn typed(search_type: SearchType, resource_type: Option<&str>, text: &str, base_url: &str) -> Option<Wanted> {
    match search_type {
        SearchType::Token => Some(token(text)),
        SearchType::Date => date(text),
        SearchType::Reference => Some(reference(&unescaped(text), resource_type, base_url)),
        SearchType::String => Some(Wanted::Text(unescaped(text))),
        SearchType::Quantity | SearchType::Number => amount(text),
        SearchType::Uri => Some(Wanted::Uri(unescaped(text))),
        SearchType::Special => near(text),
        SearchType::Composite => None,
    }
}

/// `latitude|longitude[|distance[|unit]]` (FHIR R4, Location, 8.7.6.1).
fn near(text: &str) -> Option<Wanted> {
    const KILOMETRES_DEFAULT: f64 = 50.0;
    let parts = split(text, '|');
    let number = |at: usize| parts.get(at)?.parse::<f64>().ok().filter(|number| number.is_finite());
    let (latitude, longitude) = (number(0)?, number(1)?);
    let unit = match parts.get(3).map(String::as_str) {
        None | Some("" | "km") => 1.0,
        Some("m") => 0.001,
        Some("[mi_us]" | "[mi_i]") => 1.609_344,
        Some(_) => return None,
    };
    let kilometres = match parts.get(2) {
        Some(distance) if !distance.is_empty() => number(2)? * unit,
        _ => KILOMETRES_DEFAULT,
    };
    let is_place = latitude.abs() <= 90.0 && longitude.abs() <= 180.0 && kilometres >= 0.0 && parts.len() <= 4;
    is_place.then_some(Wanted::Near { latitude, longitude, kilometres })
}

/// `system|code|value`: an identifier by its type.
fn of_type(text: &str) -> Option<Wanted> {
    let parts = split(text, '|');
    let [system, code, value] = parts.as_slice() else { return None };
    if code.is_empty() || value.is_empty() {
        return None;
    }
    let system = extract::system_of_type(&unescaped(system), &unescaped(code));
    Some(Wanted::Token { system: Some(system), code: Some(unescaped(value)) })
}

fn token(text: &str) -> Wanted {
    let some = |text: &str| (!text.is_empty()).then(|| unescaped(text));
    match split(text, '|').as_slice() {
        [system, code] => Wanted::Token { system: Some(unescaped(system)), code: some(code) },
        _ => Wanted::Token { system: None, code: some(text) },
    }
}

fn prefix(text: &str) -> (Prefix, &str) {
    const PREFIXES: &[(&str, Prefix)] = &[
        ("eq", Prefix::Eq),
        ("ne", Prefix::Ne),
        ("gt", Prefix::Gt),
        ("lt", Prefix::Lt),
        ("ge", Prefix::Ge),
        ("le", Prefix::Le),
        ("sa", Prefix::Sa),
        ("eb", Prefix::Eb),
        ("ap", Prefix::Ap),
    ];
    let found = PREFIXES.iter().find_map(|(name, prefix)| text.strip_prefix(name).map(|rest| (*prefix, rest)));
    found.unwrap_or((Prefix::Eq, text))
}

fn date(text: &str) -> Option<Wanted> {
    let (prefix, text) = prefix(text);
    // A plus sign that was not escaped in the URL arrives as a space.
    range::date(&text.replace(' ', "+")).map(|range| Wanted::Date { prefix, range })
}

fn amount(text: &str) -> Option<Wanted> {
    let parts = split(text, '|');
    let (prefix, number) = prefix(&parts[0]);
    let amount = range::amount(number)?;
    let some = |at: usize| parts.get(at).filter(|text| !text.is_empty()).map(|text| unescaped(text));
    match parts.len() {
        1 | 3 => Some(Wanted::Amount { prefix, amount, system: some(1), code: some(2) }),
        _ => None,
    }
}

fn reference(text: &str, resource_type: Option<&str>, base_url: &str) -> Wanted {
    match local_reference(text, base_url) {
        Some((found, id)) => Wanted::Reference { resource_type: Some(found.to_string()), target: id.to_string() },
        None if text.contains(':') || text.contains('/') => {
            Wanted::Reference { resource_type: Some(String::new()), target: text.to_string() }
        }
        None => Wanted::Reference { resource_type: resource_type.map(str::to_string), target: text.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_keep_separators() {
        assert_eq!(split(r"a,b\,c,d", ','), ["a", r"b\,c", "d"]);
        assert_eq!(split(r"a\\,b", ','), [r"a\\", "b"]);
        assert_eq!(unescaped(r"b\,c\|d\\e\x"), r"b,c|d\e\x");
    }

    #[test]
    fn a_body_of_separators_is_split_into_one_part_more_than_any_value_may_have() {
        for separator in [',', '|', '$'] {
            assert_eq!(split(&separator.to_string().repeat(100_000), separator).len(), ALTERNATIVES_MAX + 1);
        }
        assert_eq!(split(&",".repeat(ALTERNATIVES_MAX - 1), ',').len(), ALTERNATIVES_MAX);
    }

    #[test]
    fn tokens_have_four_forms() {
        let some = |text: &str| Some(text.to_string());
        for (text, system, code) in [
            ("c", None, some("c")),
            ("s|c", some("s"), some("c")),
            ("s|", some("s"), None),
            ("|c", some(""), some("c")),
            (r"a\|c", None, some("a|c")),
        ] {
            assert_eq!(token(text), Wanted::Token { system, code }, "{text}");
        }
    }

    #[test]
    fn references_are_local_where_they_can_be() {
        let base = "http://here/fhir";
        let wanted = |resource_type: Option<&str>, target: &str| Wanted::Reference {
            resource_type: resource_type.map(str::to_string),
            target: target.to_string(),
        };
        assert_eq!(reference("1", None, base), wanted(None, "1"));
        assert_eq!(reference("1", Some("Patient"), base), wanted(Some("Patient"), "1"));
        assert_eq!(reference("http://here/fhir/Patient/1", None, base), wanted(Some("Patient"), "1"));
        assert_eq!(reference("http://there/Patient/1", None, base), wanted(Some(""), "http://there/Patient/1"));
    }
}
