//! `POST /` with a Bundle of type transaction: docs/api/transaction.md
//!
//! All entries take effect in one ledger transaction, or none does. References between entries
//! (`urn:uuid:…`) and conditional references become local ones by replacing just these bytes.

pub mod entry;
mod resolve;

use std::collections::BTreeSet;

use actix_web::http::StatusCode;

use super::{
    Answer, Context, accepted, bundle::Writer, commit, condition, create::new_id, delete, log, permit, permit_about,
    read, search, update, vread, writable,
};
use crate::{
    audit::Action,
    auth::scopes::Interaction,
    hooks::Proposed,
    json::{Document, Node},
    outcome::Refusal,
    records::{Change, Stored},
    validate,
};
use entry::Entry;
use resolve::Names;

/// Most entries of one Bundle.
pub const ENTRIES_MAX: usize = 5_000;

/// What an entry comes to, once its address is known.
enum Plan {
    /// A change, and the status that says so.
    Change(Box<Proposed>, StatusCode),
    /// A conditional create that found what it would create.
    Exists(String),
    /// A deletion of what is not there.
    Nothing,
    /// A read or a search, after the changes.
    Get,
}

/// Runs a transaction.
pub async fn transaction(context: &Context<'_>, bundle: &Document) -> Result<Answer, Refusal> {
    let links = validate::resource(bundle)?;
    let entries = entries(bundle)?.into_iter().collect::<Result<Vec<_>, _>>()?;
    let conditions: Vec<(&str, &str)> = entries.iter().filter_map(Entry::condition).collect();
    let _held = context.conditions.hold(&conditions).await;
    let (names, existing) = name(context, &entries).await?;
    let edits = resolve::edits(context, bundle, &links, &names).await?;
    let mut plans = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        let plan = match (&existing[at], &names.ids[at]) {
            (true, Some(id)) if entry.method == "POST" => Plan::Exists(id.clone()),
            (_, id) => plan(context, bundle, entry, id.as_deref(), &edits).await?,
        };
        plans.push(plan);
    }
    let proposed = plans.iter().filter_map(|plan| match plan {
        Plan::Change(proposed, _) => Some((**proposed).clone()),
        _ => None,
    });
    let proposed: Vec<Proposed> = proposed.collect();
    let stored = if proposed.is_empty() { Vec::new() } else { commit(context, proposed).await? };
    respond(context, &entries, &plans, &stored).await
}

/// The entries of a Bundle, each read or refused.
pub fn entries(bundle: &Document) -> Result<Vec<Result<Entry, Refusal>>, Refusal> {
    let items: &[Node] = bundle.root().get("entry").map_or(&[], Node::items);
    if items.len() > ENTRIES_MAX {
        return Err(Refusal::BadRequest(format!("a Bundle has at most {ENTRIES_MAX} entries here")));
    }
    Ok(items.iter().enumerate().map(|(at, node)| Entry::read(at, node)).collect())
}

/// Gives every entry its id, and says which name resources that exist by condition.
async fn name(context: &Context<'_>, entries: &[Entry]) -> Result<(Names, Vec<bool>), Refusal> {
    let mut names = Names::default();
    let mut existing = vec![false; entries.len()];
    let mut seen = BTreeSet::new();
    for (at, entry) in entries.iter().enumerate() {
        let resource_type = entry.target.resource_type.as_str();
        if entry.method == "GET" {
            names.ids.push(None);
            continue;
        }
        let kind = writable(resource_type)?;
        let found = match entry.condition() {
            Some((_, condition)) => condition::one(context, kind, condition).await?,
            None => None,
        };
        existing[at] = found.is_some();
        let id = found.or_else(|| entry.target.id.clone()).unwrap_or_else(new_id);
        if !seen.insert((resource_type.to_string(), id.clone())) && entry.method != "POST" {
            return Err(Refusal::invalid(format!("Bundle.entry[{at}]"), "names a resource that another entry names"));
        }
        names.add(entry, &id);
        names.ids.push(Some(id));
    }
    Ok((names, existing))
}

async fn plan(
    context: &Context<'_>,
    bundle: &Document,
    entry: &Entry,
    id: Option<&str>,
    edits: &resolve::Edits,
) -> Result<Plan, Refusal> {
    let resource_type = entry.target.resource_type.as_str();
    let Some(id) = id else { return Ok(Plan::Get) };
    let kind = writable(resource_type)?;
    match entry.method.as_str() {
        "POST" => {
            permit(context, resource_type, Interaction::Create)?;
            let incoming = entry.rewritten(bundle, edits)?;
            let accepted = accepted(context, kind, id, &incoming)?;
            permit_about(context, resource_type, Interaction::Create, accepted.patient.as_deref())?;
            let (resource_type, id) = (resource_type.to_string(), id.to_string());
            let change = Change::Create { resource_type, id, content: accepted.content, patient: accepted.patient };
            let proposed = Proposed { change, document: accepted.document };
            Ok(Plan::Change(Box::new(proposed), StatusCode::CREATED))
        }
        "PUT" => {
            permit(context, resource_type, Interaction::Update)?;
            let incoming = entry.rewritten(bundle, edits)?;
            let current = update::current(context, resource_type, id, Interaction::Update).await?;
            let (proposed, status) = update::propose(context, kind, id, &incoming, current, entry.if_match)?;
            Ok(Plan::Change(Box::new(proposed), status))
        }
        "DELETE" => {
            permit(context, resource_type, Interaction::Delete)?;
            let proposed = delete::propose(context, resource_type, id, entry.if_match).await?;
            Ok(proposed.map_or(Plan::Nothing, |proposed| Plan::Change(Box::new(proposed), StatusCode::NO_CONTENT)))
        }
        _ => Err(Refusal::MethodNotAllowed),
    }
}

async fn respond(
    context: &Context<'_>,
    entries: &[Entry],
    plans: &[Plan],
    stored: &[Stored],
) -> Result<Answer, Refusal> {
    let mut response = Writer::new("transaction-response");
    let mut stored = stored.iter();
    for (entry, plan) in entries.iter().zip(plans) {
        let answer = match plan {
            Plan::Change(_, status) => {
                let stored = stored.next().ok_or(Refusal::Internal("a transaction stored too little"))?;
                match *status {
                    StatusCode::NO_CONTENT => Answer { version: Some(stored.version), ..Answer::status(*status) },
                    status => Answer::written(context, status, stored),
                }
            }
            Plan::Exists(id) => {
                let stored = context.organization.records.read(&entry.target.resource_type, id).await?;
                context.caller.may_see(Interaction::Read, &stored)?;
                log(context, Action::Read, &stored).await?;
                Answer::written(context, StatusCode::OK, &stored)
            }
            Plan::Nothing => Answer::status(StatusCode::NO_CONTENT),
            Plan::Get => get(context, entry).await?,
        };
        response.answer(None, &answer);
    }
    Ok(Answer::fhir(StatusCode::OK, response.finish()))
}

/// A read or a search that an entry asks for.
pub async fn get(context: &Context<'_>, entry: &Entry) -> Result<Answer, Refusal> {
    let target = &entry.target;
    // In a Bundle everything is FHIR JSON, Binaries too.
    let wanted = read::Wanted { accept: Some("application/fhir+json"), if_none_match: entry.if_none_match };
    match (&target.id, &target.version) {
        (Some(id), Some(version)) => vread::vread(context, &target.resource_type, id, version, wanted).await,
        (Some(id), None) => read::read(context, &target.resource_type, id, wanted).await,
        (None, _) => {
            let query = target.query.as_deref().unwrap_or_default();
            let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            search::search(context, &target.resource_type, &pairs).await
        }
    }
}
