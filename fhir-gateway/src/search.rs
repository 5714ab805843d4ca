//! Search requests (FHIR R4, 3.1.1): parsing a query string into a [`Query`] that the index runs.
//!
//! What the server does not implement is refused under `Prefer: handling=strict` and named in
//! [`Query::ignored`] otherwise. Modifiers and values that are wrong are always refused: ignoring
//! them would answer another question.

mod cursor;
mod unsupported;
mod value;

pub use cursor::Cursor;
pub use unsupported::Unsupported;
pub use value::{Prefix, Wanted};

use crate::{
    format,
    outcome::Refusal,
    resources::{
        Resource,
        parameters::{Parameter, SearchType},
        resource,
    },
};

/// Entries of a page when the client does not say.
pub const COUNT_DEFAULT: u32 = 50;
/// Most entries of a page; a client that asks for more gets this many.
pub const COUNT_MAX: u32 = 500;
/// Most criteria of one search.
pub const CRITERIA_MAX: usize = 40;
/// Most alternatives of one criterion.
pub const ALTERNATIVES_MAX: usize = 200;

/// Name of the query parameter that carries a [`Cursor`].
pub const CURSOR: &str = "_cursor";

/// `Prefer: handling`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handling {
    /// Parameters that are not implemented are ignored, and the answer says so.
    #[default]
    Lenient,
    /// They are refused.
    Strict,
}

/// What a criterion looks at.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// `_id`.
    Id,
    /// `_lastUpdated`.
    LastUpdated,
    /// A parameter of the table.
    Parameter(&'static Parameter),
}

/// How a criterion compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modifier {
    /// No modifier.
    None,
    /// `:exact`
    Exact,
    /// `:contains`
    Contains,
    /// `:not`
    Not,
    /// `:missing`
    Missing,
    /// `:identifier`
    Identifier,
    /// `:below` on URIs.
    Below,
}

/// One criterion: any of `wanted` will do.
#[derive(Debug, Clone)]
pub struct Criterion {
    /// What it looks at.
    pub subject: Subject,
    /// How it compares.
    pub modifier: Modifier,
    /// The alternatives; empty when `chain` is set.
    pub wanted: Vec<Wanted>,
    /// A criterion on the resources that a reference names.
    pub chain: Option<(&'static Resource, Box<Criterion>)>,
}

/// By what a search is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortKey {
    /// The order in which the server came to know the resources.
    #[default]
    Arrival,
    /// `_id`
    Id,
    /// `_lastUpdated`
    LastUpdated,
    /// The type's principal date.
    Date,
}

/// A sort key and its direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sort {
    /// By what.
    pub key: SortKey,
    /// Largest first.
    pub descending: bool,
}

/// A parsed search.
#[derive(Debug, Clone)]
pub struct Query {
    /// What is searched.
    pub resource: &'static Resource,
    /// All must hold.
    pub criteria: Vec<Criterion>,
    /// Entries of a page.
    pub count: u32,
    /// Order.
    pub sort: Sort,
    /// Whether the number of matches is wanted.
    pub with_total: bool,
    /// `_summary=count`, or `_count=0`.
    pub only_count: bool,
    /// Where the page begins, unless it is the first.
    pub cursor: Option<Cursor>,
    /// What was ignored.
    pub ignored: Vec<Unsupported>,
    /// Parameters that were applied, for the links.
    pub applied: Vec<(String, String)>,
}

impl Query {
    /// Parses the decoded name and value pairs of a search for `resource`.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] and [`Refusal::UnsupportedParameter`].
    pub fn parse(
        resource: &'static Resource,
        pairs: &[(String, String)],
        handling: Handling,
        base_url: &str,
    ) -> Result<Self, Refusal> {
        let mut query = Self::all(resource);
        for (name, text) in pairs {
            match (query.read(name, text, base_url)?, handling) {
                (None, _) => query.applied.push((name.clone(), text.clone())),
                (Some(unsupported), Handling::Lenient) => query.ignored.push(unsupported),
                (Some(unsupported), Handling::Strict) => return Err(unsupported.refusal()),
            }
        }
        if query.criteria.len() > CRITERIA_MAX {
            return Err(Refusal::BadRequest(format!("more than {CRITERIA_MAX} criteria")));
        }
        Ok(query)
    }

    /// Everything of one type.
    pub fn all(resource: &'static Resource) -> Self {
        Self {
            resource,
            criteria: Vec::new(),
            count: COUNT_DEFAULT,
            sort: Sort::default(),
            with_total: true,
            only_count: false,
            cursor: None,
            ignored: Vec::new(),
            applied: Vec::new(),
        }
    }

    /// The types that the search looks into, the searched one first.
    pub fn types(&self) -> Vec<&'static str> {
        let chained = self.criteria.iter().filter_map(|criterion| criterion.chain.as_ref());
        std::iter::once(self.resource.name).chain(chained.map(|(resource, _)| resource.name)).collect()
    }

    /// The local ids that `patient` is searched for, if it is: what else is known about these
    /// patients may be merged in.
    pub fn patients(&self) -> Vec<&str> {
        let of_patient = |criterion: &&Criterion| match criterion.subject {
            Subject::Parameter(parameter) => {
                matches!(parameter.code, "patient" | "subject") && criterion.modifier == Modifier::None
            }
            _ => false,
        };
        let wanted = self.criteria.iter().filter(of_patient).flat_map(|criterion| &criterion.wanted);
        wanted
            .filter_map(|wanted| match wanted {
                Wanted::Reference { resource_type, target }
                    if resource_type.as_deref().is_none_or(|t| t == "Patient") =>
                {
                    Some(target.as_str())
                }
                _ => None,
            })
            .collect()
    }

    /// Adds a criterion that the client did not ask for; links do not show it.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedParameter`] if the resource type has no such parameter.
    pub fn require(&mut self, name: &str, text: &str, base_url: &str) -> Result<(), Refusal> {
        let found = criterion(self.resource, name, text, base_url)?;
        self.criteria.push(found.ok_or_else(|| Refusal::UnsupportedParameter(name.to_string()))?);
        Ok(())
    }

    /// Reads one pair; gives what of it is not implemented.
    fn read(&mut self, name: &str, text: &str, base_url: &str) -> Result<Option<Unsupported>, Refusal> {
        let wrong = |what: &str| Err(Refusal::BadRequest(format!("{name} must be {what}")));
        match name {
            "_count" => match text.parse::<u32>() {
                Ok(count) => {
                    self.count = count.min(COUNT_MAX);
                    self.only_count |= count == 0;
                }
                Err(_) => return wrong("a number"),
            },
            "_sort" => return self.read_sort(text),
            "_total" => match text {
                "none" => self.with_total = false,
                "estimate" | "accurate" => self.with_total = true,
                _ => return wrong("none, estimate or accurate"),
            },
            "_summary" if text == "count" => self.only_count = true,
            "_summary" if text == "false" => {}
            "_summary" if ["true", "text", "data"].contains(&text) => {
                let (asked, supported) = (format!("_summary={text}"), "count and false".to_owned());
                return Ok(Some(Unsupported::Value { asked, supported }));
            }
            "_summary" => return wrong("true, text, data, count or false"),
            "_format" if format::of_parameter(text).is_some() => {}
            "_format" => return Err(Refusal::NotAcceptable),
            CURSOR => match text.parse() {
                Ok(cursor) => self.cursor = Some(cursor),
                Err(()) => return wrong("taken from a link of this server"),
            },
            _ => {
                let Some(criterion) = criterion(self.resource, name, text, base_url)? else {
                    return Ok(Some(Unsupported::Parameter(printable(name))));
                };
                self.criteria.push(criterion);
            }
        }
        Ok(None)
    }

    /// By one key. FHIR allows any parameters of the type, which are named as not supported.
    fn read_sort(&mut self, text: &str) -> Result<Option<Unsupported>, Refusal> {
        let principal = self.resource.principal_date().map(|date| date.code);
        let key = |name: &str| match name {
            "_id" => Some(SortKey::Id),
            "_lastUpdated" => Some(SortKey::LastUpdated),
            _ if principal.is_some_and(|date| date == name || name == "date") => Some(SortKey::Date),
            _ => None,
        };
        let bare = |name: &str| name.strip_prefix('-').unwrap_or(name).to_owned();
        if let Some(key) = key(&bare(text)) {
            self.sort = Sort { key, descending: text.starts_with('-') };
            return Ok(None);
        }
        let is_known = |name: &str| key(&bare(name)).is_some() || self.resource.parameter(&bare(name)).is_some();
        if !text.split(',').all(is_known) {
            return Err(Refusal::BadRequest("_sort must be search parameters of the type".to_owned()));
        }
        let date = principal.map(|date| format!(", {date}")).unwrap_or_default();
        let supported = format!("one of _id, _lastUpdated{date}, each also after a minus sign,");
        Ok(Some(Unsupported::Value { asked: format!("_sort={}", printable(text)), supported }))
    }
}

/// Reads `name[:modifier][.chained]=text`; none if the parameter is not implemented.
fn criterion(
    resource: &'static Resource,
    name: &str,
    text: &str,
    base_url: &str,
) -> Result<Option<Criterion>, Refusal> {
    let (head, chained) = match name.split_once('.') {
        Some((head, chained)) => (head, Some(chained)),
        None => (name, None),
    };
    let (code, modifier) = match head.split_once(':') {
        Some((code, modifier)) => (code, Some(modifier)),
        None => (head, None),
    };
    let subject = match code {
        "_id" => Subject::Id,
        "_lastUpdated" => Subject::LastUpdated,
        _ => match resource.parameter(code) {
            Some(parameter) => Subject::Parameter(parameter),
            None => return Ok(None),
        },
    };
    if let Some(chained) = chained {
        return chain(subject, modifier, chained, text, base_url);
    }
    let (modifier, resource_type) = read_modifier(subject, modifier)?;
    let texts = value::split(text, ',');
    if texts.len() > ALTERNATIVES_MAX {
        return Err(Refusal::BadRequest(format!("{code} has more than {ALTERNATIVES_MAX} alternatives")));
    }
    let read = |text: &String| {
        value::read(subject, modifier, resource_type, text, base_url)
            .ok_or_else(|| Refusal::BadRequest(format!("{code} has a value that its type does not allow")))
    };
    let wanted = texts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Criterion { subject, modifier, wanted, chain: None }))
}

/// `patient.identifier=…` and `subject:Patient.name=…`, one step deep.
fn chain(
    subject: Subject,
    modifier: Option<&str>,
    chained: &str,
    text: &str,
    base_url: &str,
) -> Result<Option<Criterion>, Refusal> {
    let Subject::Parameter(parameter) = subject else { return Ok(None) };
    let by_table = || parameter.paths.iter().find_map(|path| path.target);
    let target = modifier.or_else(by_table).and_then(resource);
    let (Some(target), SearchType::Reference) = (target, parameter.search_type) else { return Ok(None) };
    if chained.contains('.') {
        return Ok(None);
    }
    let inner = criterion(target, chained, text, base_url)?;
    Ok(inner.map(|inner| Criterion {
        subject,
        modifier: Modifier::None,
        wanted: Vec::new(),
        chain: Some((target, Box::new(inner))),
    }))
}

/// The modifier, or the resource type that stands in its place.
fn read_modifier(subject: Subject, text: Option<&str>) -> Result<(Modifier, Option<&str>), Refusal> {
    let Some(text) = text else { return Ok((Modifier::None, None)) };
    let search_type = match subject {
        Subject::Parameter(parameter) => Some(parameter.search_type),
        _ => None,
    };
    match (search_type, text) {
        (Some(SearchType::String), "exact") => Ok((Modifier::Exact, None)),
        (Some(SearchType::String), "contains") => Ok((Modifier::Contains, None)),
        (Some(SearchType::Token), "not") => Ok((Modifier::Not, None)),
        (Some(SearchType::Uri), "below") => Ok((Modifier::Below, None)),
        (Some(SearchType::Reference), "identifier") => Ok((Modifier::Identifier, None)),
        (Some(_), "missing") => Ok((Modifier::Missing, None)),
        (Some(SearchType::Reference), name) if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
            Ok((Modifier::None, Some(name)))
        }
        _ => Err(Refusal::BadRequest("a search parameter has a modifier that is not supported for it".to_string())),
    }
}

/// A parameter name for a message: names are no data unless somebody makes them so.
pub fn printable(name: &str) -> String {
    const NAME_MAX: usize = 64;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte);
    if name.len() <= NAME_MAX && name.bytes().all(is_name) { name.to_string() } else { "(unprintable)".to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, query: &str, handling: Handling) -> Result<Query, Refusal> {
        let pairs: Vec<(String, String)> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, text)| (name.to_string(), text.to_string()))
            .collect();
        Query::parse(resource(kind).expect("kept"), &pairs, handling, "http://here/fhir")
    }

    #[test]
    fn unknown_parameters_follow_handling() {
        let lenient = parse("Patient", "name=a&color=red", Handling::Lenient).expect("lenient");
        assert_eq!(lenient.ignored, [Unsupported::Parameter("color".into())]);
        assert_eq!(lenient.applied.len(), 1);
        let strict = parse("Patient", "name=a&color=red", Handling::Strict);
        assert_eq!(strict.err(), Some(Refusal::UnsupportedParameter("color".into())));
    }

    #[test]
    fn a_value_that_is_not_supported_is_named_with_those_that_are() {
        let cases = [
            ("Patient", "_sort=family", "_sort=family is not supported here (one of _id, _lastUpdated"),
            (
                "Observation",
                "_sort=-status,date",
                "(one of _id, _lastUpdated, date, each also after a minus sign, are)",
            ),
            ("Patient", "_summary=true", "_summary=true is not supported here (count and false are)"),
        ];
        for (kind, query, expected) in cases {
            let lenient = parse(kind, query, Handling::Lenient).expect("lenient");
            assert!(lenient.ignored[0].to_string().contains(expected), "{}", lenient.ignored[0]);
            let strict = parse(kind, query, Handling::Strict).expect_err("strict");
            assert!(strict.to_string().contains(expected), "{strict}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_whatever_the_handling() {
        for query in [
            "birthdate=soon",
            "birthdate=ge",
            "birthdate=1970-13",
            "name:fuzzy=a",
            "gender:contains=m",
            "_count=many",
            "_total=all",
            "_summary=maybe",
            "_sort=shoe-size",
            "_sort=",
            "_cursor=1",
            "_cursor=1-2-3-4",
            "_cursor=-1-2",
            "_format=ttl",
            "active:missing=perhaps",
        ] {
            assert!(parse("Patient", query, Handling::Lenient).is_err(), "{query}");
        }
        assert!(parse("Observation", "value-quantity=abc", Handling::Lenient).is_err());
        assert!(parse("Observation", &format!("code={}", "a,".repeat(300)), Handling::Lenient).is_err());
    }

    #[test]
    fn patients_of_a_search_are_known() {
        let query = parse("DocumentReference", "patient=Patient/1,2&status=current", Handling::Strict).expect("valid");
        assert_eq!(query.patients(), ["1", "2"]);
        let query = parse("DocumentReference", "subject:Group=1", Handling::Strict).expect("valid");
        assert!(query.patients().is_empty());
    }

    #[test]
    fn chains_name_the_types_they_look_into() {
        let query =
            parse("Observation", "patient.identifier=s|1&subject:Group._id=3", Handling::Strict).expect("valid");
        assert_eq!(query.types(), ["Observation", "Patient", "Group"]);
        assert!(parse("Observation", "subject.name=a", Handling::Strict).is_err(), "the type must be known");
    }

    #[test]
    fn cursors_survive_their_text() {
        for cursor in [Cursor { snapshot: 7, after: 3, total: None }, Cursor { snapshot: 7, after: 0, total: Some(12) }]
        {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
}
