//! `$export`, its status and its files (HL7 Bulk Data Access 2.0): docs/api/export.md

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Context, everything::inputs, kept, local_patient, operation::Sent, permit, readable, search::value_sets};
use crate::{
    audit::Action,
    auth::{Caller, clock, scopes::Interaction},
    export::{
        job::{Awaited, End, Export, Job, Kind, Order, Scope, filters},
        lines, run,
    },
    format,
    index::{Index, range},
    json::instant,
    keys::random,
    outcome::Refusal,
    records::Content,
    resources::{Access, Resource, resources},
    search::{elements, printable},
    value_sets::Pins,
};

/// Whose records are to be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// Everybody's, and what is about nobody.
    System,
    /// All Patients'.
    Patients,
    /// Those of the members of the Group of this id.
    Group(&'a str),
}

/// Most Patients that a request names.
const PATIENTS_MAX: usize = 10_000;
/// Most filters of a request.
const FILTERS_MAX: usize = 100;
/// Most versions that may be on their way to the ledger when an export begins.
const WAITING_MAX: usize = 10_000;
/// Seconds after which it is worth to ask again while there are more.
const RETRY_SECONDS: u64 = 10;
/// What `_outputFormat` may be.
const FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// How an export is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It goes on.
    Running {
        /// How far it is, in words.
        progress: String,
        /// Seconds after which it is worth to ask again.
        retry_after: i64,
    },
    /// Its files can be had.
    Complete {
        /// The manifest.
        manifest: Value,
        /// Until when, Unix seconds.
        expires_at: i64,
    },
}

/// Starts an export; gives its id.
///
/// # Errors
/// [`Refusal::Forbidden`] for a token without system scopes to read and search; [`Refusal::TooMany`].
pub async fn begin(context: &Context<'_>, of: Of<'_>, sent: &Sent<'_>, request: &str) -> Result<String, Refusal> {
    let organization = context.organization;
    // The worker acts for registered clients: what an identity provider vouches for ends with its token.
    if organization.authority.acting(&context.caller.client, &context.caller.scopes.to_string()).is_none() {
        return Err(Refusal::Forbidden("system/*.rs".to_owned()));
    }
    let inputs = inputs(sent)?;
    // Before anything is looked up: whoever may export nothing learns nothing of what there is.
    let allowed = allowed(context);
    if allowed.is_empty() {
        return Err(Refusal::Forbidden("system/*.rs".to_owned()));
    }
    let scope = match of {
        Of::System => Scope::System,
        Of::Patients => Scope::Patients,
        Of::Group(id) => group(context, id).await?,
    };
    let asked = Asked::read(&inputs, &organization.base_url, !sent.is_empty)?;
    let types = asked.types(context, &scope, &allowed)?;
    let Asked { filters, since, elements, patients, .. } = asked;
    let (request, sets, waiting) = (request.to_owned(), Pins::default(), Vec::new());
    let mut order = Order { scope, request, types, filters, since, elements, patients, sets, waiting };
    check(context, &mut order).await?;
    // In this order: what is committed after the time is read has a later one, or is on its way already.
    // The ledger's client may know of no block yet where the process is new, or of old ones where it writes nothing: then
    // what is visible does. The vault has the end of that also while the index is made anew; the index, more of it.
    let newest = organization.index.run(Index::newest).await?.max(organization.records.newest_time().await?);
    let transaction_time = time(organization.ledger.time(), newest, organization.records.last_change().await?)?;
    let waiting: Vec<String> = organization.records.waiting(WAITING_MAX).await?.iter().map(hex::encode).collect();
    if waiting.len() == WAITING_MAX {
        return Err(Refusal::TooMany { retry_after: RETRY_SECONDS });
    }
    let id = hex::encode(random::<16>());
    run::log(organization, Action::Execute, &context.caller.client, &order.scope, None, context.origin).await?;
    let Caller { client, scopes, .. } = context.caller;
    let job = Job::new(id.clone(), client.clone(), scopes.to_string(), transaction_time);
    organization.exports.begin(&Export { order: Order { waiting, ..order }, job }).await?;
    Ok(id)
}

/// The time of an export: that of the last block, or of the newest visible version where that is later.
///
/// # Errors
/// [`Refusal::Busy`] where this process knows neither and there are changes, as where it is new and the vault does not
/// tell their times: an export as of no time would have nothing.
fn time(block: i64, newest: i64, last_change: u64) -> Result<i64, Refusal> {
    match block.max(newest) {
        0 if last_change > 0 => Err(Refusal::Busy),
        time => Ok(time),
    }
}

/// The types of which the caller may read and search what is about anybody: an export is nothing for a patient's own client.
fn allowed(context: &Context<'_>) -> Vec<&'static Resource> {
    let is_allowed = |kind: &&Resource| {
        let reaches = |interaction| context.caller.reach(interaction, kind.name).is_beyond_one_patient();
        reaches(Interaction::Read) && reaches(Interaction::Search)
    };
    resources().filter(|kind| kind.access == Access::Full).filter(is_allowed).collect()
}

async fn group(context: &Context<'_>, id: &str) -> Result<Scope, Refusal> {
    permit(context, "Group", Interaction::Read)?;
    let group = context.organization.records.latest("Group", id).await?;
    readable(context, &group).await?;
    if group.content == Content::Deleted {
        return Err(Refusal::Gone);
    }
    Ok(Scope::Group { id: id.to_owned(), version: group.version })
}

/// What the parameters say.
#[derive(Default)]
struct Asked {
    types: Option<BTreeSet<String>>,
    filters: Vec<(String, String)>,
    since: Option<i64>,
    elements: Vec<String>,
    patients: Option<Vec<String>>,
}

impl Asked {
    /// Nothing is passed over: an export without a filter that was asked for would hold more than was asked for.
    fn read(inputs: &[(String, String)], base_url: &str, is_post: bool) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        for (name, text) in inputs {
            let wrong = |what: &str| Refusal::BadRequest(format!("{name} must be {what}"));
            match name.as_str() {
                "_outputFormat" if FORMATS.contains(&text.replace(' ', "+").as_str()) => {}
                "_outputFormat" => return Err(wrong("application/fhir+ndjson, application/ndjson or ndjson")),
                "_format" if format::of_parameter(text).is_some() => {}
                format::PRETTY => {}
                "_type" => {
                    let named = text.split(',').map(|name| name.trim().to_owned());
                    asked.types.get_or_insert_default().extend(named);
                }
                "_since" => {
                    // A plus sign that was not escaped in the URL arrives as a space.
                    let range = range::date(&text.replace(' ', "+")).ok_or_else(|| wrong("a date or an instant"))?;
                    asked.since = Some(range.low.div_euclid(1000));
                }
                "_elements" => asked.elements.extend(elements(text)?),
                "_typeFilter" => asked.filters.extend(filters(text)?),
                "patient" if is_post => {
                    let id = local_patient(text, base_url).ok_or_else(|| wrong("a reference to a Patient"))?;
                    asked.patients.get_or_insert_default().push(id);
                }
                _ => return Err(Refusal::UnsupportedParameter(printable(name))),
            }
        }
        if asked.filters.len() > FILTERS_MAX || asked.patients.as_ref().is_some_and(|named| named.len() > PATIENTS_MAX)
        {
            return Err(Refusal::BadRequest(format!(
                "more than {FILTERS_MAX} filters or more than {PATIENTS_MAX} patients"
            )));
        }
        Ok(asked)
    }

    /// The types to export, in the order of their names.
    fn types(&self, context: &Context<'_>, scope: &Scope, allowed: &[&Resource]) -> Result<Vec<String>, Refusal> {
        let fits = |kind: &Resource| *scope == Scope::System || kind.name == "Patient" || !kind.compartment.is_empty();
        let Some(named) = &self.types else {
            let all: Vec<String> = allowed.iter().filter(|kind| fits(kind)).map(|kind| kind.name.to_owned()).collect();
            return if all.is_empty() { Err(Refusal::Forbidden("system/*.rs".to_owned())) } else { Ok(all) };
        };
        for name in named {
            let kind = kept(name).ok().filter(|kind| kind.access == Access::Full);
            let kind = kind
                .ok_or_else(|| Refusal::UnsupportedValue("_type names a type that is not exported here".to_owned()))?;
            for interaction in [Interaction::Read, Interaction::Search] {
                permit(context, kind.name, interaction)?;
            }
            if !allowed.iter().any(|other| other.name == kind.name) {
                return Err(Refusal::Forbidden(format!("system/{}.rs", kind.name)));
            }
            if !fits(kind) {
                return Err(Refusal::UnsupportedValue(
                    "_type names a type that is in no patient's compartment; the system's $export has it".to_owned(),
                ));
            }
        }
        Ok(named.iter().cloned().collect())
    }
}

/// Refuses what could not be carried out, before it begins; remembers what its value sets mean.
async fn check(context: &Context<'_>, order: &mut Order) -> Result<(), Refusal> {
    let base_url = &context.organization.base_url;
    if let Some((name, _)) = order.filters.iter().find(|(name, _)| !order.types.contains(name)) {
        return Err(Refusal::BadRequest(format!("_typeFilter names {}, which is not exported", printable(name))));
    }
    let sets = value_sets::named(context, &order.pairs(), None).await?;
    order.sets = sets.pins.clone();
    for kind in order.types.iter().filter_map(|name| kept(name).ok()) {
        for query in order.queries(kind, base_url, &sets)? {
            for searched in query.types() {
                permit(context, searched, Interaction::Search)?;
            }
        }
    }
    let Some(named) = &order.patients else { return Ok(()) };
    if order.scope == Scope::System {
        return Err(Refusal::UnsupportedParameter("patient".to_owned()));
    }
    let members = lines::members(context, order).await?.unwrap_or_default();
    for id in named {
        let is_member = members.contains(id);
        let found =
            if is_member { context.organization.records.read("Patient", id).await } else { Err(Refusal::NotFound) };
        let is_there = match found {
            // Without a scope on Patients they are known by the Group that names them.
            Ok(_) if context.caller.may(Interaction::Read, "Patient").is_err() => true,
            Ok(stored) => readable(context, &stored).await.is_ok(),
            Err(Refusal::NotFound | Refusal::Gone) => false,
            Err(other) => return Err(other),
        };
        if !is_there {
            return Err(Refusal::Rule("patient names one who is not among those that are exported".to_owned()));
        }
    }
    Ok(())
}

/// How an export of the caller is.
///
/// # Errors
/// [`Refusal::NotFound`] for one that is not the caller's, as for none; [`Refusal::Internal`] where it failed.
pub async fn status(context: &Context<'_>, id: &str) -> Result<Status, Refusal> {
    let export = context.organization.exports.of_client(id, &context.caller.client).await?;
    let Export { order, job } = &export;
    match job.end {
        Some((_, End::Complete)) => {
            let expires_at = job.expires_at();
            Ok(Status::Complete { manifest: manifest(&context.organization.base_url, &export), expires_at })
        }
        Some((_, End::Failed)) => Err(Refusal::Internal("an export could not be finished")),
        None => {
            let (step, steps) = (job.step, order.steps().len());
            let progress = format!("{step} of {steps} steps{}", awaited(job.awaits));
            // The longer it takes, the less often it is worth to ask.
            let retry_after = (clock() - job.began).div_euclid(4).clamp(1, 60);
            Ok(Status::Running { progress, retry_after })
        }
    }
}

/// What an export waits for, in words that follow how far it is.
fn awaited(awaited: Option<Awaited>) -> &'static str {
    match awaited {
        None => "",
        Some(Awaited::Writes) => "; waits for writes that were under way at the kick-off",
        Some(Awaited::Index) => "; waits until the search index has everything",
    }
}

/// What clients get at the end.
fn manifest(base_url: &str, Export { order, job }: &Export) -> Value {
    let files = |kinds: &[Kind]| -> Vec<Value> {
        let of_kind = job.files.iter().enumerate().filter(|(_, file)| kinds.contains(&file.kind));
        of_kind
            .map(|(at, file)| {
                let resource_type = if file.kind == Kind::Deleted { "Bundle" } else { &file.resource_type };
                json!({"type": resource_type, "url": format!("{base_url}/bulk/{}/{at}.ndjson", job.id)})
            })
            .collect()
    };
    json!({
        "transactionTime": instant(job.transaction_time),
        "request": order.request,
        "requiresAccessToken": true,
        "output": files(&[Kind::Output, Kind::Elsewhere]),
        "deleted": files(&[Kind::Deleted]),
        "error": files(&[Kind::Error]),
    })
}

/// Ends an export of the caller and removes its files.
///
/// # Errors
/// As [`status`].
pub async fn remove(context: &Context<'_>, id: &str) -> Result<(), Refusal> {
    context.organization.exports.remove(id, &context.caller.client).await
}

/// The number of a file in its address.
pub fn number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".ndjson")?;
    digits.parse().ok().filter(|number: &u32| number.to_string() == digits)
}

/// The export of a file that is fetched, and which of its files that is. The fetch is logged first.
///
/// # Errors
/// [`Refusal::NotFound`] where there is none, or it has not ended.
pub async fn file(context: &Context<'_>, id: &str, name: &str) -> Result<(Export, u32), Refusal> {
    let export = context.organization.exports.of_client(id, &context.caller.client).await?;
    let Export { order, job } = &export;
    let is_complete = matches!(job.end, Some((_, End::Complete)));
    let number = number(name).filter(|number| is_complete && (*number as usize) < job.files.len());
    let number = number.ok_or(Refusal::NotFound)?;
    run::log(context.organization, Action::Read, &context.caller.client, &order.scope, None, context.origin).await?;
    Ok((export, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_not_begun_as_of_no_time_where_there_are_changes() {
        assert_eq!(time(0, 0, 0), Ok(0), "there is nothing");
        assert_eq!(time(0, 0, 1), Err(Refusal::Busy));
        for (block, newest) in [(7, 0), (0, 7), (7, 3), (3, 7)] {
            assert_eq!(time(block, newest, 1), Ok(7));
        }
    }
}
