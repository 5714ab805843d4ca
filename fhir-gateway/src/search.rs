//! Search requests (FHIR R4, 3.1.1): parsing a query string into a [`Query`] that the index runs.
//!
//! What the server does not implement is refused under `Prefer: handling=strict` and named in
//! [`Query::ignored`] otherwise. Modifiers and values that are wrong are always refused: ignoring
//! them would answer another question.

mod criterion;
mod cursor;
mod include;
mod membership;
mod order;
mod shape;
mod unsupported;
mod value;

pub use cursor::Cursor;
pub use include::Include;
pub use membership::named_sets;
pub use order::{Sort, SortKey};
pub use shape::{Shape, Summary, elements};
pub use unsupported::Unsupported;
pub use value::{Prefix, Wanted};

use std::collections::BTreeSet;

use criterion::Reader;

use crate::{
    format,
    index::sight::Sight,
    outcome::Refusal,
    resources::{Resource, parameters::Parameter},
    value_sets::{Pins, Sets},
};

/// Entries of a page when the client does not say.
pub const COUNT_DEFAULT: u32 = 50;
/// Most entries of a page; a client that asks for more gets this many.
pub const COUNT_MAX: u32 = 500;
/// Most criteria of one search.
pub const CRITERIA_MAX: usize = 40;
/// Most alternatives of one criterion.
pub const ALTERNATIVES_MAX: usize = 200;
/// Most alternatives of one search, of each type that a chain looks into: what one query of the index
/// can name, where each has eleven parts (a place on the globe).
pub const ALTERNATIVES_IN_ALL_MAX: usize = 2_500;
/// Most steps of a chain, `_has` included.
pub const STEPS_MAX: usize = 5;
/// Most `_include` and `_revinclude` of one search.
pub const INCLUDES_MAX: usize = 40;

/// Most parameters of one request, those that are ignored among them.
pub const PAIRS_MAX: usize = 200;
const _: () = assert!(CRITERIA_MAX + INCLUDES_MAX < PAIRS_MAX, "whoever uses the other limits must be able to");

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
#[derive(Debug, Clone)]
pub enum Subject {
    /// `_id`.
    Id,
    /// `_lastUpdated`.
    LastUpdated,
    /// A parameter of the table.
    Parameter(&'static Parameter),
    /// Whether any of these parameters, by number, names the Patient whose compartment is searched.
    Compartment(Vec<i64>),
    /// `_has`: who refers to the resource, by this parameter.
    Reverse(&'static Parameter),
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
    /// `:text` on tokens.
    Text,
    /// `:not`
    Not,
    /// `:missing`
    Missing,
    /// `:identifier`
    Identifier,
    /// `:of-type` on identifiers.
    OfType,
    /// `:above` on URIs.
    Above,
    /// `:below` on URIs.
    Below,
}

/// One criterion: any of `wanted`, or of `links`, will do.
#[derive(Debug, Clone)]
pub struct Criterion {
    /// What it looks at.
    pub subject: Subject,
    /// How it compares.
    pub modifier: Modifier,
    /// The alternatives; empty where there are links.
    pub wanted: Vec<Wanted>,
    /// Criteria on the resources at the other end of a reference.
    pub links: Vec<Link>,
}

/// A criterion on the resources at the other end of a reference: of a chain those that it names, of
/// `_has` those that hold it.
#[derive(Debug, Clone)]
pub struct Link {
    /// Their type.
    pub resource: &'static Resource,
    /// Whether the client named the type.
    pub is_named: bool,
    /// What they must meet.
    pub inner: Box<Criterion>,
}

/// A parsed search.
#[derive(Debug, Clone)]
pub struct Query {
    /// What is searched.
    pub resource: &'static Resource,
    /// All must hold.
    pub criteria: Vec<Criterion>,
    /// What the caller may see of this and every other type; everything if none.
    pub sight: Option<Sight>,
    /// Entries of a page.
    pub count: u32,
    /// Order; of arrival where it is empty.
    pub sort: Vec<Sort>,
    /// Whether the number of matches is wanted.
    pub with_total: bool,
    /// `_summary=count`, or `_count=0`.
    pub only_count: bool,
    /// What of each match is wanted.
    pub shape: Shape,
    /// What is wanted beside the matches.
    pub includes: Vec<Include>,
    /// Where the page begins, unless it is the first.
    pub cursor: Option<Cursor>,
    /// What was ignored.
    pub ignored: Vec<Unsupported>,
    /// Parameters that were applied, for the links.
    pub applied: Vec<(String, String)>,
    /// What the value sets that it names meant when it began.
    pub pins: Pins,
}

impl Query {
    /// Parses the decoded name and value pairs of a search for `resource`. Value sets cannot be named: what they
    /// mean could change while what is read here lasts.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] and [`Refusal::UnsupportedParameter`].
    pub fn parse(
        resource: &'static Resource,
        pairs: &[(String, String)],
        handling: Handling,
        base_url: &str,
    ) -> Result<Self, Refusal> {
        Self::parse_with(resource, pairs, handling, &Reader::new(base_url))
    }

    /// As [`Self::parse`], with the value sets that the pairs name.
    ///
    /// # Errors
    /// As [`Self::parse`], and those of [`Sets::members`].
    pub fn parse_among(
        resource: &'static Resource,
        pairs: &[(String, String)],
        handling: Handling,
        base_url: &str,
        sets: &Sets,
    ) -> Result<Self, Refusal> {
        let query = Self::parse_with(resource, pairs, handling, &Reader::among(sets, base_url))?;
        Ok(Self { pins: sets.pins.clone(), ..query })
    }

    fn parse_with(
        resource: &'static Resource,
        pairs: &[(String, String)],
        handling: Handling,
        reader: &Reader<'_>,
    ) -> Result<Self, Refusal> {
        let mut query = Self::all(resource);
        for (name, text) in pairs {
            if query.criteria.len() > CRITERIA_MAX {
                break;
            }
            match (query.read(name, text, reader)?, handling) {
                (None, _) => query.applied.push((name.clone(), text.clone())),
                (Some(unsupported), Handling::Lenient) => unsupported.ignore(&mut query.ignored),
                (Some(unsupported), Handling::Strict) => return Err(unsupported.refusal()),
            }
        }
        if query.criteria.len() > CRITERIA_MAX {
            return Err(Refusal::BadRequest(format!("more than {CRITERIA_MAX} criteria")));
        }
        if query.includes.len() > INCLUDES_MAX {
            return Err(Refusal::BadRequest(format!("more than {INCLUDES_MAX} includes")));
        }
        Ok(query)
    }

    /// Everything of one type.
    pub fn all(resource: &'static Resource) -> Self {
        Self {
            resource,
            criteria: Vec::new(),
            sight: None,
            count: COUNT_DEFAULT,
            sort: Vec::new(),
            with_total: true,
            only_count: false,
            shape: Shape::default(),
            includes: Vec::new(),
            cursor: None,
            ignored: Vec::new(),
            applied: Vec::new(),
            pins: Pins::default(),
        }
    }

    /// The types that the client names and the search looks into, the searched one first.
    pub fn types(&self) -> Vec<&'static str> {
        fn named(criterion: &Criterion, types: &mut Vec<&'static str>) {
            for link in &criterion.links {
                if link.is_named {
                    types.push(link.resource.name);
                }
                named(&link.inner, types);
            }
        }
        let mut types = vec![self.resource.name];
        self.criteria.iter().for_each(|criterion| named(criterion, &mut types));
        types
    }

    /// The local ids that `patient` is searched for, if it is: what else is known about these
    /// patients may be merged in.
    pub fn patients(&self) -> Vec<&str> {
        let of_patient = |criterion: &&Criterion| match criterion.subject {
            Subject::Parameter(parameter) => {
                matches!(parameter.code, "patient" | "subject") && criterion.modifier == Modifier::None
            }
            Subject::Compartment(_) => true,
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

    /// Limits the search to what the caller may see, at each end of each chain.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] where that makes it name more values than a query of the index can.
    pub fn see(&mut self, sight: Sight) -> Result<(), Refusal> {
        fn of_links(criterion: &Criterion, sight: &Sight) -> usize {
            let ends = criterion.links.iter().map(|link| sight.weight(link.resource.name) + weight(&link.inner, sight));
            ends.sum()
        }
        fn weight(criterion: &Criterion, sight: &Sight) -> usize {
            criterion.wanted.iter().map(Wanted::weight).sum::<usize>() + of_links(criterion, sight)
        }
        if !sight.limited.is_empty() {
            let own: usize = self.criteria.iter().map(|criterion| weight(criterion, &sight)).sum();
            if own + sight.weight(self.resource.name) > ALTERNATIVES_IN_ALL_MAX {
                let problem = format!(
                    "more than {ALTERNATIVES_IN_ALL_MAX} alternatives in all, with those of the token's scopes; name the \
                     types of the chain"
                );
                return Err(Refusal::BadRequest(problem));
            }
        }
        self.sight = Some(sight);
        Ok(())
    }

    /// Adds a criterion that the client did not ask for; links do not show it.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedParameter`] if the resource type has no such parameter.
    pub fn require(&mut self, name: &str, text: &str, base_url: &str) -> Result<(), Refusal> {
        let found = criterion::read(self.resource, name, text, &Reader::new(base_url))?;
        self.criteria.push(found.ok_or_else(|| Refusal::UnsupportedParameter(name.to_string()))?);
        Ok(())
    }

    /// Searches the compartment of a Patient only: what these parameters say is about the patient.
    pub fn within(&mut self, parameters: &BTreeSet<&'static str>, patient: &str) {
        let number = |code: &&'static str| self.resource.parameter(code).map(|parameter| parameter.number);
        let numbers = parameters.iter().filter_map(number).collect();
        let wanted = Wanted::Reference { resource_type: Some("Patient".to_owned()), target: patient.to_owned() };
        self.criteria.push(Criterion {
            subject: Subject::Compartment(numbers),
            modifier: Modifier::None,
            wanted: vec![wanted],
            links: Vec::new(),
        });
    }

    /// Reads one pair; gives what of it is not implemented.
    fn read(&mut self, name: &str, text: &str, reader: &Reader<'_>) -> Result<Option<Unsupported>, Refusal> {
        let wrong = |what: &str| Err(Refusal::BadRequest(format!("{name} must be {what}")));
        match name {
            "_count" => match text.parse::<u32>() {
                Ok(count) => {
                    self.count = count.min(COUNT_MAX);
                    self.only_count |= count == 0;
                }
                Err(_) => return wrong("a number"),
            },
            "_sort" => self.sort = order::read(self.resource, text)?,
            "_total" => match text {
                "none" => self.with_total = false,
                "estimate" | "accurate" => self.with_total = true,
                _ => return wrong("none, estimate or accurate"),
            },
            "_summary" if text == "count" => self.only_count = true,
            "_summary" => self.shape.summary = Summary::read(text)?,
            "_elements" => self.shape.elements.extend(elements(text)?),
            "_format" if format::of_parameter(text).is_some() => {}
            "_format" => return Err(Refusal::NotAcceptable),
            format::PRETTY => {}
            CURSOR => match text.parse() {
                Ok(cursor) => self.cursor = Some(cursor),
                Err(()) => return wrong("taken from a link of this server"),
            },
            _ if name.starts_with("_include") || name.starts_with("_revinclude") => match Include::read(name, text)? {
                Some(include) => self.includes.push(include),
                None => return Ok(Some(Unsupported::Parameter(printable(name)))),
            },
            _ => {
                let Some(criterion) = criterion::read(self.resource, name, text, reader)? else {
                    return Ok(Some(Unsupported::Parameter(printable(name))));
                };
                self.criteria.push(criterion);
            }
        }
        Ok(None)
    }
}

/// The decoded name and value pairs of a query or a form; one more than [`PAIRS_MAX`] at most.
pub fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().take(PAIRS_MAX + 1).collect()
}

/// Refuses more than [`PAIRS_MAX`] pairs, before anything else is done with them.
///
/// # Errors
/// [`Refusal::BadRequest`].
pub fn are_few(pairs: &[(String, String)]) -> Result<(), Refusal> {
    if pairs.len() <= PAIRS_MAX {
        return Ok(());
    }
    Err(Refusal::BadRequest(format!("more than {PAIRS_MAX} parameters")))
}

/// Whether a parameter is about what an answer looks like, and not about resources.
pub fn is_about_answers(name: &str) -> bool {
    let about_answers = ["_count", "_sort", "_total", "_summary", "_elements", "_format", format::PRETTY, CURSOR];
    about_answers.contains(&name) || name.starts_with("_include") || name.starts_with("_revinclude")
}

/// A parameter name for a message: names are no data unless somebody makes them so.
pub fn printable(name: &str) -> String {
    const NAME_MAX: usize = 64;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:.".contains(&byte);
    if name.len() <= NAME_MAX && name.bytes().all(is_name) { name.to_string() } else { "(unprintable)".to_string() }
}

#[cfg(test)]
mod tests;
