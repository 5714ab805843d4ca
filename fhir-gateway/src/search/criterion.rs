//! Criteria: `name[:modifier][.chained]=text` and `_has:Type:reference:name=text`.

use std::cell::{Cell, RefCell};

use super::{
    ALTERNATIVES_IN_ALL_MAX, ALTERNATIVES_MAX, Criterion, Link, Modifier, STEPS_MAX, Subject, membership, value,
};
use crate::{
    index::extract::local_reference,
    outcome::Refusal,
    resources::{Resource, parameters::SearchType, resource},
    value_sets::Sets,
};

/// Reads a criterion; none if it names a parameter that is not implemented.
///
/// # Errors
/// [`Refusal::BadRequest`] for a modifier or a value that the parameter does not have.
pub fn read(
    resource: &'static Resource,
    name: &str,
    text: &str,
    reader: &Reader<'_>,
) -> Result<Option<Criterion>, Refusal> {
    let found = step(resource, name, text, reader, 0);
    // A chain without a named type passes over what does not fit: this it must not.
    reader.check()?;
    found
}

/// What the criteria of one search are read with.
pub struct Reader<'a> {
    /// Where references of our own begin.
    pub base_url: &'a str,
    /// The value sets that may be named; none may if none.
    pub sets: Option<&'a Sets>,
    left: Cell<usize>,
    fault: RefCell<Option<Refusal>>,
}

impl<'a> Reader<'a> {
    /// For the criteria of one search.
    pub fn new(base_url: &'a str) -> Self {
        // One more than allowed: none left means that there are too many.
        Self { base_url, sets: None, left: Cell::new(ALTERNATIVES_IN_ALL_MAX + 1), fault: RefCell::default() }
    }

    /// For the criteria of one search that may name value sets.
    pub fn among(sets: &'a Sets, base_url: &'a str) -> Self {
        Self { sets: Some(sets), ..Self::new(base_url) }
    }

    /// Refuses the whole search, whichever step of whichever chain it is for.
    pub fn refuse(&self, refusal: Refusal) -> Refusal {
        self.fault.borrow_mut().get_or_insert(refusal).clone()
    }

    /// Takes room for so many alternatives.
    pub fn take(&self, alternatives: usize) -> Result<(), Refusal> {
        self.left.set(self.left.get().saturating_sub(alternatives));
        self.check()
    }

    fn check(&self) -> Result<(), Refusal> {
        if let Some(refusal) = self.fault.borrow().clone() {
            return Err(refusal);
        }
        if self.left.get() > 0 {
            return Ok(());
        }
        Err(Refusal::BadRequest(format!("more than {ALTERNATIVES_IN_ALL_MAX} alternatives in all")))
    }
}

fn step(
    resource: &'static Resource,
    name: &str,
    text: &str,
    reader: &Reader<'_>,
    depth: usize,
) -> Result<Option<Criterion>, Refusal> {
    if depth > STEPS_MAX {
        return Err(Refusal::BadRequest(format!("a chain has more than {STEPS_MAX} steps")));
    }
    if let Some(reverse) = name.strip_prefix("_has:") {
        return has(resource, reverse, text, reader, depth);
    }
    if name == "_list" {
        // Membership in a List is what `_has` asks.
        return has(resource, "List:item:_id", &lists(text, reader)?, reader, depth);
    }
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
        return chain(resource, subject, modifier, chained, text, reader, depth);
    }
    let texts = value::split(text, ',');
    if texts.len() > ALTERNATIVES_MAX {
        return Err(Refusal::BadRequest(format!("{code} has more than {ALTERNATIVES_MAX} alternatives")));
    }
    if let (Subject::Parameter(parameter), Some(modifier @ (membership::IN | membership::NOT_IN))) =
        (&subject, modifier)
        && parameter.search_type == SearchType::Token
    {
        return membership::read(parameter, modifier, &texts, reader).map(Some);
    }
    let (modifier, resource_type) = read_modifier(&subject, modifier)?;
    reader.take(texts.len())?;
    let read = |text: &String| {
        value::read(&subject, modifier, resource_type, text, reader.base_url)
            .ok_or_else(|| Refusal::BadRequest(format!("{code} has a value that its type does not allow")))
    };
    let wanted = texts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Criterion { subject, modifier, wanted, links: Vec::new() }))
}

/// `patient.identifier=…` and `subject:Patient.organization.name=…`. Where the type is not named,
/// every type that the reference may point at and that has the parameter will do.
fn chain(
    resource: &'static Resource,
    subject: Subject,
    modifier: Option<&str>,
    chained: &str,
    text: &str,
    reader: &Reader<'_>,
    depth: usize,
) -> Result<Option<Criterion>, Refusal> {
    let Subject::Parameter(parameter) = subject else { return Ok(None) };
    if parameter.search_type != SearchType::Reference {
        return Ok(None);
    }
    let targets = match modifier {
        Some(named) => self::resource(named).into_iter().collect(),
        None => resource.targets(parameter),
    };
    let is_named = modifier.is_some() || targets.len() == 1;
    let mut links = Vec::new();
    for target in targets {
        match step(target, chained, text, reader, depth + 1) {
            Ok(Some(inner)) => links.push(Link { resource: target, is_named, inner: Box::new(inner) }),
            Ok(None) => {}
            // Of several types one may have a parameter of that name and of another kind.
            Err(_) if !is_named => {}
            Err(refusal) => return Err(refusal),
        }
    }
    if links.is_empty() {
        return Ok(None);
    }
    Ok(Some(Criterion { subject, modifier: Modifier::None, wanted: Vec::new(), links }))
}

/// What follows `_has:`: `Observation:patient:code=…`, and again `_has:…` or a chain in its place.
fn has(
    resource: &'static Resource,
    reverse: &str,
    text: &str,
    reader: &Reader<'_>,
    depth: usize,
) -> Result<Option<Criterion>, Refusal> {
    let mut parts = reverse.splitn(3, ':');
    let (Some(source), Some(by), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::BadRequest("_has must be _has:Type:reference:parameter".to_string()));
    };
    let Some(source) = self::resource(source) else { return Ok(None) };
    let Some(parameter) = source.parameter(by).filter(|by| by.search_type == SearchType::Reference) else {
        return Ok(None);
    };
    let points_here = source.targets(parameter).iter().any(|target| target.name == resource.name);
    if !points_here {
        return Err(Refusal::BadRequest("_has names a reference that does not point at the type".to_string()));
    }
    let Some(inner) = step(source, name, text, reader, depth + 1)? else { return Ok(None) };
    let link = Link { resource: source, is_named: true, inner: Box::new(inner) };
    let subject = Subject::Reverse(parameter);
    Ok(Some(Criterion { subject, modifier: Modifier::None, wanted: Vec::new(), links: vec![link] }))
}

/// The ids of the Lists that `_list` names, as `id` or `List/id`.
///
/// # Errors
/// [`Refusal::UnsupportedValue`] for the lists that a server would have to make itself, however a chain came here: that
/// nothing is on one would say that a patient has no allergies.
fn lists(text: &str, reader: &Reader<'_>) -> Result<String, Refusal> {
    let named = value::split(text, ',');
    let id = |name: &String| match local_reference(name, reader.base_url) {
        Some(("List", id)) => id.to_owned(),
        _ => name.clone(),
    };
    let ids: Vec<String> = named.iter().map(id).collect();
    if ids.iter().any(|id| id.trim_start_matches('\\').starts_with('$')) {
        let problem = "_list: lists that begin with $ are not supported here (the id of a List is)";
        return Err(reader.refuse(Refusal::UnsupportedValue(problem.to_owned())));
    }
    Ok(ids.join(","))
}

/// The modifier, or the resource type that stands in its place.
fn read_modifier<'a>(subject: &Subject, text: Option<&'a str>) -> Result<(Modifier, Option<&'a str>), Refusal> {
    let Some(text) = text else { return Ok((Modifier::None, None)) };
    let search_type = match subject {
        Subject::Parameter(parameter) => Some(parameter.search_type),
        _ => None,
    };
    let is_phonetic = matches!(subject, Subject::Parameter(parameter) if parameter.is_phonetic());
    match (search_type, text) {
        (Some(SearchType::String), "exact") if !is_phonetic => Ok((Modifier::Exact, None)),
        (Some(SearchType::String), "contains") if !is_phonetic => Ok((Modifier::Contains, None)),
        (Some(SearchType::Token), "text") => Ok((Modifier::Text, None)),
        (Some(SearchType::Token), "not") => Ok((Modifier::Not, None)),
        (Some(SearchType::Token), "of-type") => Ok((Modifier::OfType, None)),
        (Some(SearchType::Uri), "above") => Ok((Modifier::Above, None)),
        (Some(SearchType::Uri), "below") => Ok((Modifier::Below, None)),
        (Some(SearchType::Reference), "identifier") => Ok((Modifier::Identifier, None)),
        (Some(_), "missing") => Ok((Modifier::Missing, None)),
        (Some(SearchType::Reference), name) if name.starts_with(|first: char| first.is_ascii_uppercase()) => {
            Ok((Modifier::None, Some(name)))
        }
        (Some(SearchType::Token | SearchType::Reference), "above" | "below") => Err(Refusal::BadRequest(
            ":above and :below ask for what a code system has above or below a code, and this server keeps none; name the \
             codes, with commas between them"
                .to_owned(),
        )),
        _ => Err(Refusal::BadRequest("a search parameter has a modifier that is not supported for it".to_string())),
    }
}
