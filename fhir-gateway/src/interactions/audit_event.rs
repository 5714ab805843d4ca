//! AuditEvent: read and searched like any resource, rendered from the access log when asked for.
//! docs/api/audit-event.md

use actix_web::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    Answer, Context,
    bundle::Writer,
    reach::{Judged, is_reached, judge},
    read::Wanted,
    sighted::is_line_of,
    subset,
};
use crate::{
    audit::{AuditLog, Leaf, event},
    auth::scopes::Interaction,
    json::Document,
    outcome::Refusal,
    search::{Cursor, Handling, Query, Sort, SortKey, Unsupported},
};

/// The one version of an AuditEvent.
const VERSION: u32 = 1;
/// Leaves that are looked at together.
const CHUNK: usize = 500;
/// Leaves that are looked at for one page; a page that is not full by then says where to go on.
const LOOKED_AT_MAX: usize = 10_000;
/// Leaves that are looked at to count those that meet criteria.
const COUNTED_MAX: usize = 100_000;

/// The AuditEvent `id`, which has one version: a leaf never changes.
pub async fn read(context: &Context<'_>, id: &str, wanted: Wanted<'_>) -> Result<Answer, Refusal> {
    let leaf = leaf(context, id).await?;
    let mut answer = if wanted.is_known(VERSION, leaf.time) {
        Answer::status(StatusCode::NOT_MODIFIED)
    } else {
        Answer::fhir(StatusCode::OK, wanted.shaped(rendered(context, &leaf))?)
    };
    answer.version = Some(VERSION);
    answer.last_modified = Some(leaf.time);
    Ok(answer)
}

/// `AuditEvent/{id}/$inclusion`: what shows that the line is in the access log whose root stands on
/// the ledger.
pub async fn inclusion(context: &Context<'_>, id: &str) -> Result<Answer, Refusal> {
    let leaf = leaf(context, id).await?;
    let place = context.organization.audit.inclusion(leaf.number).await?;
    let place = place.ok_or_else(|| {
        Refusal::Rule("the line is not anchored yet; a batch is anchored when it is full or old enough".to_owned())
    })?;
    let count = |count: usize| json!({"valueUnsignedInt": count});
    let text = |text: String| json!({"valueString": text});
    let mut parameters = vec![
        ("organization", text(context.organization.address().to_string())),
        ("sequence", text(place.sequence.to_string())),
        ("root", text(place.root.to_string())),
        ("count", count(place.count)),
        ("index", count(place.index)),
        ("leaf", json!({"valueBase64Binary": STANDARD.encode(leaf.bytes())})),
        ("hash", text(leaf.hash().to_string())),
    ];
    parameters.extend(place.path.iter().map(|sibling| ("sibling", text(sibling.to_string()))));
    super::operation::parameters_of(&parameters)
}

/// The line of the log behind the AuditEvent `id`, where the caller may read it.
async fn leaf(context: &Context<'_>, id: &str) -> Result<Leaf, Refusal> {
    let number = event::number(id).ok_or(Refusal::NotFound)?;
    // Who is limited to one patient has not even one of others' lines opened.
    if let Some(own) = context.caller.compartment(Interaction::Read, "AuditEvent")
        && !is_line_of(context, own, number).await?
    {
        return Err(Refusal::NotFound);
    }
    let leaf = context.organization.audit.asking(move |log| log.leaf(number)).await?.ok_or(Refusal::NotFound)?;
    let json = rendered(context, &leaf);
    let judged = judged(context, &leaf, id, &json);
    if is_reached(context, Interaction::Read, judged).await? { Ok(leaf) } else { Err(Refusal::NotFound) }
}

fn judged<'a>(context: &Context<'_>, leaf: &Leaf, id: &'a str, json: &'a [u8]) -> Judged<'a> {
    let own = context.caller.patient.as_deref();
    let is_own = own.is_some() && leaf.access.patient.as_deref() == own;
    Judged { resource_type: "AuditEvent", id, is_own, json: Some(json) }
}

/// One page, newest first. `total` is given only where it is known without counting everything.
pub async fn search(context: &Context<'_>, query: &Query, path: &str) -> Result<Answer, Refusal> {
    let ignored = not_done(context, query)?;
    let is_constrained = context.caller.reach(Interaction::Search, "AuditEvent").is_constrained();
    if query.only_count && names_patients_only(query) && !is_constrained {
        return counted(context, query, path).await;
    }
    let patients = patients(context, query);
    let (wanted, most) =
        if query.only_count { (usize::MAX, COUNTED_MAX) } else { (query.count as usize, LOOKED_AT_MAX) };
    let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut before = query.cursor.and_then(|cursor| u64::try_from(cursor.after).ok());
    let (mut is_whole, mut looked_at) = (false, 0);
    while found.len() <= wanted && !is_whole && looked_at < most {
        let of = patients.clone();
        let newest =
            move |log: &AuditLog| log.newest(&of.iter().map(String::as_str).collect::<Vec<_>>(), before, CHUNK);
        let leaves = context.organization.audit.asking(newest).await?;
        is_whole = leaves.len() < CHUNK;
        looked_at += leaves.len();
        before = leaves.last().map_or(before, |leaf| Some(leaf.number));
        let matching = matching(context, query, &leaves).await?;
        // A count needs no bytes.
        found.extend(
            matching.into_iter().map(|(number, bytes)| (number, if query.only_count { Vec::new() } else { bytes })),
        );
    }
    if query.only_count && !is_whole {
        let problem = format!("more than {COUNTED_MAX} lines would have to be read to count these; name a patient");
        return Err(Refusal::BadRequest(problem));
    }
    let total = (is_whole && query.cursor.is_none()).then_some(found.len() as u64);
    let has_more = found.len() > wanted;
    found.truncate(wanted);
    let last = if has_more { found.last().map(|(number, _)| *number) } else { before };
    let after = last.and_then(|number| i64::try_from(number).ok()).filter(|_| has_more || !is_whole);
    let mut bundle = Writer::new("searchset");
    if let Some(total) = total {
        bundle.total(total);
    }
    let next = after.map(|after| Cursor { snapshot: 0, after, total: None });
    bundle.links(&super::search::links(context, query, path, next));
    for (number, bytes) in found.iter().filter(|_| !query.only_count) {
        let full_url = format!("{}/AuditEvent/{}", context.organization.base_url, event::id(*number));
        let bytes = subset::shaped(bytes.clone(), &query.shape, true)?;
        bundle.entry(Some(&full_url), Some(&bytes), &[("search", json!({"mode": "match"}))]);
    }
    if let Some(outcome) = super::search::ignored(&ignored) {
        bundle.outcome(&outcome);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// What of the request is not done here: a log has one order, and nothing is included in it.
fn not_done(context: &Context<'_>, query: &Query) -> Result<Vec<Unsupported>, Refusal> {
    let is_own_order = |sort: &Sort| sort.descending && matches!(sort.key, SortKey::Date | SortKey::LastUpdated);
    let sorted = match query.sort.as_slice() {
        [] => None,
        [sort] if is_own_order(sort) => None,
        _ => Some(Unsupported::Value {
            asked: "_sort of AuditEvent".to_owned(),
            supported: "-date and -_lastUpdated".to_owned(),
        }),
    };
    let included = (!query.includes.is_empty()).then(|| Unsupported::Parameter("_include".to_owned()));
    let not_done: Vec<Unsupported> = sorted.into_iter().chain(included).collect();
    match (not_done.first(), context.prefer.handling) {
        (Some(first), Handling::Strict) => Err(first.refusal()),
        _ => Ok(query.ignored.iter().cloned().chain(not_done).collect()),
    }
}

/// Whether the criteria are at most one list of patients, which leaves know without being rendered.
fn names_patients_only(query: &Query) -> bool {
    match query.criteria.as_slice() {
        [] => true,
        [criterion] => criterion.links.is_empty() && query.patients().len() == criterion.wanted.len(),
        _ => false,
    }
}

/// Of whom leaves are read: who is limited to one patient has nobody else's read, not even to find
/// that they do not match.
fn patients(context: &Context<'_>, query: &Query) -> Vec<String> {
    let own = context.caller.compartment(Interaction::Search, "AuditEvent");
    own.map_or_else(|| query.patients(), |own| vec![own]).into_iter().map(str::to_owned).collect()
}

/// How many leaves are about the patients, without reading one.
async fn counted(context: &Context<'_>, query: &Query, path: &str) -> Result<Answer, Refusal> {
    let of = patients(context, query);
    let count = move |log: &AuditLog| log.count(&of.iter().map(String::as_str).collect::<Vec<_>>());
    let total = context.organization.audit.asking(count).await?;
    let mut bundle = Writer::new("searchset");
    bundle.total(total);
    bundle.links(&super::search::links(context, query, path, None));
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// The leaves that meet the criteria and that the caller's scopes reach, rendered.
async fn matching(context: &Context<'_>, query: &Query, leaves: &[Leaf]) -> Result<Vec<(u64, Vec<u8>)>, Refusal> {
    let rendered: Vec<(&Leaf, String, Vec<u8>)> =
        leaves.iter().map(|leaf| (leaf, event::id(leaf.number), rendered(context, leaf))).collect();
    let judged: Vec<Judged<'_>> = rendered.iter().map(|(leaf, id, json)| judged(context, leaf, id, json)).collect();
    let is_reached = judge(context, Interaction::Search, &judged).await?;
    let reached: Vec<_> = rendered.into_iter().zip(is_reached).filter(|(_, reached)| *reached).collect();
    let documents = reached.iter().map(|((_, id, bytes), _)| Ok((id.clone(), Document::parse(bytes.clone())?)));
    let documents = documents.collect::<Result<Vec<_>, Refusal>>()?;
    let ids = super::search::elsewhere::matching(context, query, documents).await?;
    let found = reached.into_iter().map(|(found, _)| found).filter(|(_, id, _)| ids.contains(id));
    Ok(found.map(|(leaf, _, bytes)| (leaf.number, bytes)).collect())
}

fn rendered(context: &Context<'_>, leaf: &Leaf) -> Vec<u8> {
    leaf.event(&context.organization.base_url).to_string().into_bytes()
}
