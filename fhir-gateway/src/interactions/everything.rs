//! `Patient/{id}/$everything`, `Patient/{id}/*` and `DocumentReference/$docref`: docs/api/everything.md

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use serde_json::json;

use super::{
    Answer, Context,
    bundle::{Size, Writer},
    kept, log_patients,
    operation::Sent,
    patients_of_page, permit, reach, readable,
    search::{
        self, cursors,
        elsewhere::{self, Elsewhere},
        included::{self, Included},
    },
    served, sight,
    sighted::in_sight,
};
use crate::{
    audit::{Action, Entity},
    auth::scopes::Interaction,
    format,
    index::{
        compartment::{Compartment, Pages, Part},
        include::Beside,
        range::{self, Range},
    },
    json::Node,
    outcome::Refusal,
    records::Content,
    resources::{Access, Resource, resource, resources},
    search::{COUNT_DEFAULT, COUNT_MAX, CURSOR, Cursor, Handling, Include, Query, Unsupported, are_few, printable},
    value_sets::Pins,
};

/// What is asked for of one patient.
struct Asked {
    patient: String,
    /// Where, below the base URL.
    path: String,
    types: Option<Vec<&'static Resource>>,
    since: Option<i64>,
    start: Option<String>,
    end: Option<String>,
    count: u32,
    cursor: Option<Cursor>,
    ignored: Vec<Unsupported>,
    applied: Vec<(String, String)>,
}

/// Everything about a patient, what it refers to beside it, and what consent opens elsewhere.
pub async fn everything(context: &Context<'_>, id: &str, sent: &Sent<'_>) -> Result<Answer, Refusal> {
    permit(context, "Patient", Interaction::Read)?;
    in_sight(context, Interaction::Read, "Patient", id).await?;
    let found = context.organization.records.latest("Patient", id).await;
    let patient = reach::or_as_hidden(context, Interaction::Read, "Patient", found).await?;
    readable(context, &patient).await?;
    if patient.content == Content::Deleted {
        return Err(Refusal::Gone);
    }
    let pairs = inputs(sent)?;
    let asked = Asked::read(context, id, format!("Patient/{id}/$everything"), &pairs)?;
    let references = Include { source: None, parameter: None, target: None, iterates: false, is_reverse: false };
    page(context, &asked, &[references]).await
}

/// Everything in a patient's compartment. Of a patient who is not there, nothing is.
pub async fn compartment(context: &Context<'_>, id: &str, pairs: &[(String, String)]) -> Result<Answer, Refusal> {
    let asked = Asked::read(context, id, format!("Patient/{id}/*"), pairs)?;
    page(context, &asked, &[]).await
}

/// A patient's documents, by what they are about (US Core and IPA, `$docref`).
pub async fn docref(context: &Context<'_>, sent: &Sent<'_>) -> Result<Answer, Refusal> {
    let mut criteria: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, text: String| criteria.push((name.to_owned(), text));
    let mut has_patient = false;
    for (name, text) in inputs(sent)? {
        match name.as_str() {
            "patient" => {
                has_patient = true;
                add("patient", text);
            }
            // The time of what the document is about, where it overlaps.
            "start" => add("period", format!("ge{text}")),
            "end" => add("period", format!("le{text}")),
            "type" => add("type", text),
            "_count" | "_format" | format::PRETTY | CURSOR => add(&name, text),
            "on-demand" if text == "false" => {}
            "on-demand" => return Err(Refusal::Rule("no documents are made on demand here".to_owned())),
            _ if context.prefer.handling == Handling::Strict => {
                return Err(Refusal::UnsupportedParameter(printable(&name)));
            }
            _ => {}
        }
    }
    if !has_patient {
        return Err(Refusal::BadRequest("patient is required".to_owned()));
    }
    add("status", "current".to_owned());
    search::search(context, "DocumentReference", &criteria).await
}

/// The inputs of an operation: of its address, and of a Parameters resource in its body.
pub(super) fn inputs(sent: &Sent<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let mut inputs = sent.pairs.to_vec();
    if sent.is_empty {
        return Ok(inputs);
    }
    let document = (sent.document)()?;
    if document.resource_type() != Some("Parameters") {
        return Err(Refusal::invalid("Parameters", "must be a Parameters resource"));
    }
    for parameter in document.root().get("parameter").map_or(&[][..], Node::items) {
        let name = parameter.text("name").unwrap_or_default();
        let value = parameter.members().iter().find(|(key, _)| key.starts_with("value"));
        let text = value.and_then(|(key, value)| match &**key {
            "valueCoding" => coded(value),
            "valueCodeableConcept" => coded(value.get("coding")?.items().first()?),
            "valueReference" => value.text("reference").map(str::to_owned),
            _ => value.as_primitive().map(str::to_owned),
        });
        let text = text.ok_or_else(|| Refusal::invalid("Parameters.parameter.value", "is not one of the operation"))?;
        inputs.push((name.to_owned(), text));
    }
    Ok(inputs)
}

fn coded(coding: &Node) -> Option<String> {
    let code = coding.text("code")?;
    Some(coding.text("system").map_or_else(|| code.to_owned(), |system| format!("{system}|{code}")))
}

impl Asked {
    fn read(context: &Context<'_>, patient: &str, path: String, pairs: &[(String, String)]) -> Result<Self, Refusal> {
        are_few(pairs)?;
        let pairs = cursors::opened(context, &path, pairs)?.pairs;
        let mut asked = Self {
            patient: patient.to_owned(),
            path,
            types: None,
            since: None,
            start: None,
            end: None,
            count: COUNT_DEFAULT,
            cursor: None,
            ignored: Vec::new(),
            applied: Vec::new(),
        };
        for (name, text) in pairs {
            match (asked.one(&name, &text)?, context.prefer.handling) {
                (true, _) if name == CURSOR => {}
                (true, _) => asked.applied.push((name, text)),
                (false, Handling::Strict) => return Err(Refusal::UnsupportedParameter(printable(&name))),
                (false, Handling::Lenient) => Unsupported::Parameter(printable(&name)).ignore(&mut asked.ignored),
            }
        }
        Ok(asked)
    }

    /// Reads one pair; false where it is not implemented.
    fn one(&mut self, name: &str, text: &str) -> Result<bool, Refusal> {
        let wrong = |what: &str| Refusal::BadRequest(format!("{name} must be {what}"));
        // A plus sign that was not escaped in the URL arrives as a space.
        let time = || range::date(&text.replace(' ', "+")).ok_or_else(|| wrong("a date or an instant"));
        match name {
            "_count" => self.count = text.parse::<u32>().map_err(|_| wrong("a number"))?.min(COUNT_MAX),
            "_since" => {
                let low = time()?.low;
                self.since = Some(low.div_euclid(1000) + i64::from(low.rem_euclid(1000) > 0));
            }
            "_type" => {
                let types = text.split(',').map(|name| kept(name.trim())).collect::<Result<Vec<_>, _>>()?;
                self.types.get_or_insert_default().extend(types);
            }
            "start" => {
                time()?;
                self.start = Some(text.to_owned());
            }
            "end" => {
                time()?;
                self.end = Some(text.to_owned());
            }
            CURSOR => self.cursor = Some(text.parse().map_err(|()| wrong("taken from a link of this server"))?),
            "_format" if format::of_parameter(text).is_some() => {}
            "_format" => return Err(Refusal::NotAcceptable),
            format::PRETTY => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn has(&self, resource_type: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.iter().any(|kind| kind.name == resource_type))
    }

    /// The range of care dates; none where every date will do.
    fn dated(&self) -> Option<Range> {
        let read = |text: &Option<String>| text.as_ref().and_then(|text| range::date(&text.replace(' ', "+")));
        let (start, end) = (read(&self.start), read(&self.end));
        (start.is_some() || end.is_some()).then(|| Range {
            low: start.map_or(i64::MIN, |range| range.low),
            high: end.map_or(i64::MAX, |range| range.high),
        })
    }

    fn query(&self, context: &Context<'_>, includes: &[Include]) -> Compartment {
        let in_compartment = resources().filter(|kind| kind.access == Access::Full);
        let numbers = in_compartment.flat_map(|kind| {
            kind.compartment.iter().filter_map(|code| kind.parameter(code)).map(|parameter| parameter.number)
        });
        // What stands beside a compartment is found by what is in it, whatever type that has.
        let names_outside = self.types.iter().flatten().any(|kind| is_outside(kind.name));
        Compartment {
            patient: self.patient.clone(),
            parameters: numbers.collect(),
            types: self.types.as_ref().map(|types| types.iter().map(|kind| kind.name).collect()),
            pages: if names_outside && !includes.is_empty() { Pages::OfAll } else { Pages::OfTypes },
            sight: sight(context, Interaction::Search),
            since: self.since,
            dated: self.dated(),
            cursor: self.cursor,
            count: self.count,
        }
    }

    /// The patient's documents at other custodians, with the same limits.
    fn documents(&self, context: &Context<'_>) -> Result<Option<Query>, Refusal> {
        let Some(kind) = resource("DocumentReference").filter(|kind| self.has(kind.name) && self.since.is_none())
        else {
            return Ok(None);
        };
        if permit(context, kind.name, Interaction::Search).is_err() {
            return Ok(None);
        }
        let mut pairs = vec![("patient".to_owned(), format!("Patient/{}", self.patient))];
        pairs.extend(self.start.iter().map(|start| ("date".to_owned(), format!("ge{start}"))));
        pairs.extend(self.end.iter().map(|end| ("date".to_owned(), format!("le{end}"))));
        Query::parse(kind, &pairs, Handling::Strict, &context.organization.base_url).map(Some)
    }
}

/// Whether resources of that type are in no patient's compartment.
fn is_outside(name: &str) -> bool {
    resource(name).is_none_or(|kind| kind.compartment.is_empty())
}

async fn page(context: &Context<'_>, asked: &Asked, includes: &[Include]) -> Result<Answer, Refusal> {
    let organization = context.organization;
    let query = asked.query(context, includes);
    let sight = query.sight.clone();
    let Part { found, total, next } = organization.index.run(move |index| index.compartment(&query)).await?;
    let is_last = next.is_none();
    let mut size = Size::default();
    let numbers = found.iter().map(|found| found.number).collect();
    let found: Vec<Beside> = found.into_iter().filter(|found| asked.has(&found.resource_type)).collect();
    let local = included::read(context, &found, &mut size).await?;
    let Included { found: beside, cut } = included::included(context, includes, &sight, numbers, &mut size).await?;
    // What is in a compartment stands on a page of its own.
    let beside = beside.into_iter().filter(|found| is_outside(&found.resource_type) && asked.has(&found.resource_type));
    let beside: Vec<_> = beside.collect();
    let documents = if includes.is_empty() { None } else { asked.documents(context)? };
    let elsewhere = match documents {
        Some(documents) if is_last => elsewhere::elsewhere(context, &documents).await?,
        _ => Elsewhere::default(),
    };
    let mut others = patients_of_page(context, local.iter().chain(&beside)).await?;
    others.remove(&asked.patient);
    // The lines of others who stand on the page do not name whose compartment it is.
    let path = format!("Patient/*/{}", asked.path.rsplit('/').next().unwrap_or_default());
    let query = Some(search::without_values(&path, asked.applied.iter().map(|(name, _)| name.as_str())));
    let entity = |id: Option<&str>| {
        let (id, query) = (id.map(str::to_owned), query.clone());
        Entity { resource_type: "Patient".to_owned(), id, version: None, query }
    };
    let own = BTreeSet::from([asked.patient.clone()]);
    log_patients(context, Action::Execute, &own, &entity(Some(&asked.patient))).await?;
    if !others.is_empty() {
        log_patients(context, Action::Execute, &others, &entity(None)).await?;
    }
    let mut bundle = Writer::new("searchset");
    bundle.total(total);
    let links = links(context, asked, next);
    size.add_links(&links)?;
    bundle.links(&links);
    let base_url = &organization.base_url;
    let modes = local.iter().map(|stored| (stored, "match")).chain(beside.iter().map(|stored| (stored, "include")));
    for (stored, mode) in modes {
        let full_url = format!("{base_url}/{}/{}", stored.resource_type, stored.id);
        bundle.entry(Some(&full_url), Some(&served(stored)), &[("search", json!({"mode": mode}))]);
    }
    for (id, resource) in &elsewhere.found {
        size.add(resource.len())?;
        let full_url = format!("{base_url}/DocumentReference/{id}");
        bundle.entry(Some(&full_url), Some(resource), &[("search", json!({"mode": "include"}))]);
    }
    for outcome in elsewhere.gaps.into_iter().chain(cut).chain(search::ignored(&asked.ignored)) {
        bundle.outcome(&outcome);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

fn links(context: &Context<'_>, asked: &Asked, next: Option<Cursor>) -> Vec<(&'static str, String)> {
    let address = |cursor: Option<Cursor>| {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(&asked.applied);
        if let Some(cursor) = cursor {
            pairs.append_pair(CURSOR, &cursors::sealed(context, &asked.path, cursor, &Pins::default()));
        }
        let pairs = pairs.finish();
        let separator = if pairs.is_empty() { "" } else { "?" };
        format!("{}/{}{separator}{pairs}", context.organization.base_url, asked.path)
    };
    let mut links = vec![("self", address(asked.cursor))];
    links.extend(next.map(|next| ("next", address(Some(next)))));
    links
}
