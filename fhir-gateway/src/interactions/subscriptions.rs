//! Subscriptions, each client with its own: docs/api/subscriptions.md

use actix_web::http::StatusCode;
use serde_json::json;

use super::{
    Answer, Body, Context, Incoming, Returning, bundle::Writer, check, everything::inputs, idempotency, log_access,
    operation::Sent, patch::permit_patch, permit, read::Wanted, search as searches, subset, success,
    update::Preconditions,
};
use crate::{
    audit::{Action, Entity},
    auth::{clock, scopes::Interaction},
    format,
    json::Document,
    outcome::Refusal,
    patch::Patch,
    records::blocking,
    search::{Cursor, Handling, Query, Unsupported, printable},
    subscriptions::{Subscription, Wish},
};

/// The type.
const TYPE: &str = "Subscription";
/// Largest accepted resource, in bytes: all of them are looked at whenever something was written.
const RESOURCE_BYTES_MAX: usize = 64 * 1024;

/// Starts a Subscription, which is told of what is written from now on.
///
/// # Errors
/// [`Refusal::Invalid`] with the element that asks for what cannot be done; [`Refusal::Forbidden`] where the token
/// may not read and search what it is about; [`Refusal::Unsupported`] by condition.
pub async fn create(
    context: &Context<'_>,
    incoming: &Incoming,
    if_none_exist: Option<&str>,
) -> Result<Answer, Refusal> {
    permit(context, TYPE, Interaction::Create)?;
    check(TYPE, incoming)?;
    if if_none_exist.is_some() {
        return Err(Refusal::Unsupported("a conditional create of a Subscription"));
    }
    let id = super::create::id_of_new(context, TYPE);
    let document = incoming.clone().document()?;
    if document.root().text("status") == Some("error") {
        let problem = "error is for this server to say: send requested, or off";
        return Err(Refusal::invalid("Subscription.status", problem));
    }
    let wish = accepted(context, &document, &id)?;
    let subscriptions = &context.organization.subscriptions;
    let _asking = subscriptions.asking().await?;
    if context.key.is_some() {
        match subscriptions.of_client(&id, &context.caller.client).await {
            Ok(earlier) if earlier.asked.wish == wish => {
                return written(context, StatusCode::CREATED, &earlier);
            }
            Ok(_) => return Err(idempotency::another_body()),
            Err(Refusal::NotFound) => {}
            Err(other) => return Err(other),
        }
    }
    // What is acknowledged from now on has a later place.
    let cursor = context.organization.records.last_change().await?;
    let (client, scopes) = (&context.caller.client, context.caller.scopes.to_string());
    let made = subscriptions.add(Subscription::new(id, client, scopes, wish, cursor)).await?;
    log(context, Action::Create, &made).await?;
    written(context, StatusCode::CREATED, &made)
}

/// The resource with its id, where everything that it asks for can be done for the caller.
fn accepted(context: &Context<'_>, document: &Document, id: &str) -> Result<Wish, Refusal> {
    let organization = context.organization;
    // The worker acts for registered clients: what an identity provider vouches for ends with its token.
    if organization.authority.acting(&context.caller.client, &context.caller.scopes.to_string()).is_none() {
        let problem = "a Subscription outlives its token, so that only a client that is registered here may have one";
        return Err(Refusal::Rule(problem.to_owned()));
    }
    let order = organization.subscriptions.order(document, &organization.base_url)?;
    for interaction in [Interaction::Read, Interaction::Search] {
        permit(context, order.kind().name, interaction)?;
    }
    if order.end.is_some_and(|end| end <= clock()) {
        return Err(Refusal::invalid("Subscription.end", "has passed"));
    }
    let bytes = match document.id_edit(id) {
        Some(edit) => document.edited(vec![edit]),
        None => document.bytes().to_vec(),
    };
    if bytes.len() > RESOURCE_BYTES_MAX {
        return Err(Refusal::TooLarge { limit: RESOURCE_BYTES_MAX });
    }
    let resource = String::from_utf8(bytes).map_err(|_| Refusal::Internal("a document is not text"))?;
    Ok(Wish { resource, end: order.end, is_off: order.is_off })
}

/// One of the caller's.
pub async fn read(context: &Context<'_>, id: &str, wanted: Wanted<'_>) -> Result<Answer, Refusal> {
    permit(context, TYPE, Interaction::Read)?;
    let found = own(context, id).await?;
    log(context, Action::Read, &found).await?;
    let is_known = wanted.is_known(found.version(), found.last_updated());
    let body = if is_known { None } else { Some(Body::fhir(wanted.shaped(found.served()?)?)) };
    Ok(Answer {
        status: if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK },
        body,
        version: Some(found.version()),
        last_modified: Some(found.last_updated()),
        location: None,
    })
}

/// Replaces one of the caller's, which goes on where it was: with whatever status but `off` it is tried at once.
///
/// # Errors
/// As [`create`], and [`Refusal::NotFound`] where the caller has none of that id: the server chooses ids.
pub async fn update(
    context: &Context<'_>,
    id: &str,
    incoming: &Incoming,
    preconditions: Preconditions,
) -> Result<Answer, Refusal> {
    permit(context, TYPE, Interaction::Update)?;
    check(TYPE, incoming)?;
    let document = incoming.clone().document()?;
    if document.id() != Some(id) {
        return Err(Refusal::BadRequest("the resource must have the id of the address".to_owned()));
    }
    let _asking = context.organization.subscriptions.asking().await?;
    let found = own(context, id).await?;
    if preconditions.must_be_absent {
        return Err(Refusal::PreconditionFailed("If-None-Match: * and there is one"));
    }
    rewrite(context, found, &document, preconditions.if_match).await
}

/// As [`update`], by a patch of what it is.
pub async fn patch(context: &Context<'_>, id: &str, patch: &Patch, if_match: Option<u32>) -> Result<Answer, Refusal> {
    permit_patch(context, super::kept(TYPE)?)?;
    let _asking = context.organization.subscriptions.asking().await?;
    let found = own(context, id).await?;
    let (patch, served) = (patch.clone(), found.served()?);
    let document = Document::parse(blocking(move || patch.apply(&Document::parse(served)?)).await?)?;
    if document.resource_type() != Some(TYPE) || document.id() != Some(id) {
        return Err(Refusal::invalid(TYPE, "a patch changes neither resourceType nor id"));
    }
    check(TYPE, &Incoming::Json(document.clone()))?;
    rewrite(context, found, &document, if_match).await
}

async fn rewrite(
    context: &Context<'_>,
    mut found: Subscription,
    document: &Document,
    if_match: Option<u32>,
) -> Result<Answer, Refusal> {
    if if_match.is_some_and(|version| version != found.version()) {
        return Err(Refusal::PreconditionFailed("If-Match names another version"));
    }
    found.asked.wish = accepted(context, document, &found.asked.id)?;
    found.asked.scopes = context.caller.scopes.to_string();
    found.asked.revision = found.asked.revision.saturating_add(1);
    found.asked.written_at = clock();
    context.organization.subscriptions.replace(&found.asked).await?;
    log(context, Action::Update, &found).await?;
    written(context, StatusCode::OK, &found)
}

/// Ends one of the caller's; nothing is left of it. Where there is none, nothing is ended.
pub async fn delete(context: &Context<'_>, id: &str, if_match: Option<u32>) -> Result<Answer, Refusal> {
    permit(context, TYPE, Interaction::Delete)?;
    let subscriptions = &context.organization.subscriptions;
    let _asking = subscriptions.asking().await?;
    let found = match own(context, id).await {
        Ok(found) => Some(found),
        Err(Refusal::NotFound) => None,
        Err(other) => return Err(other),
    };
    let version = found.as_ref().map(Subscription::version);
    if if_match.is_some() && if_match != version {
        return Err(Refusal::PreconditionFailed("If-Match names another version"));
    }
    if let Some(found) = found {
        subscriptions.remove(id).await?;
        log(context, Action::Delete, &found).await?;
    }
    Ok(Answer::status(StatusCode::NO_CONTENT))
}

/// One page of the caller's, in the order in which they were made.
pub async fn search(context: &Context<'_>, query: &Query, path: &str) -> Result<Answer, Refusal> {
    let ignored = not_done(context, query)?;
    let mut own = context.organization.subscriptions.all_of_client(&context.caller.client).await?;
    let documents = own.iter().map(|found| Ok((found.asked.id.clone(), Document::parse(found.served()?)?)));
    let documents = documents.collect::<Result<Vec<_>, Refusal>>()?;
    let ids = searches::elsewhere::matching(context, query, documents).await?;
    own.retain(|found| ids.contains(&found.asked.id));
    let asked = searches::without_values(path, query.applied.iter().map(|(name, _)| name.as_str()));
    let entity = Entity { resource_type: TYPE.to_owned(), id: None, version: None, query: Some(asked) };
    log_access(context, Action::Execute, None, entity).await?;
    let mut bundle = Writer::new("searchset");
    if query.with_total {
        bundle.total(own.len() as u64);
    }
    let after = query.cursor.and_then(|cursor| u64::try_from(cursor.after).ok()).unwrap_or_default();
    own.retain(|found| found.asked.number > after);
    let has_more = own.len() > query.count as usize && !query.only_count;
    own.truncate(query.count as usize);
    let last = own.last().filter(|_| has_more).and_then(|found| i64::try_from(found.asked.number).ok());
    let next = last.map(|after| Cursor { snapshot: 0, after, total: None });
    bundle.links(&searches::links(context, query, path, next));
    for found in own.iter().filter(|_| !query.only_count) {
        let full_url = format!("{}/{TYPE}/{}", context.organization.base_url, found.asked.id);
        let bytes = subset::shaped(found.served()?, &query.shape, true)?;
        bundle.entry(Some(&full_url), Some(&bytes), &[("search", json!({"mode": "match"}))]);
    }
    if let Some(outcome) = searches::ignored(&ignored) {
        bundle.outcome(&outcome);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// What of the request is not done here: a client has few, in one order, and they refer to nothing.
fn not_done(context: &Context<'_>, query: &Query) -> Result<Vec<Unsupported>, Refusal> {
    let sorted = (!query.sort.is_empty()).then(|| Unsupported::Parameter("_sort".to_owned()));
    let included = (!query.includes.is_empty()).then(|| Unsupported::Parameter("_include".to_owned()));
    let not_done: Vec<Unsupported> = sorted.into_iter().chain(included).collect();
    match (not_done.first(), context.prefer.handling) {
        (Some(first), Handling::Strict) => Err(first.refusal()),
        _ => Ok(query.ignored.iter().cloned().chain(not_done).collect()),
    }
}

/// `$status` of one of the caller's, or of all that are asked for (Subscriptions R5 Backport 1.1): what arrived, and
/// why the last notification did not.
pub async fn status(context: &Context<'_>, id: Option<&str>, sent: &Sent<'_>) -> Result<Answer, Refusal> {
    permit(context, TYPE, Interaction::Read)?;
    let found = match id {
        Some(id) => vec![own(context, id).await?],
        None => asked_for(context, &inputs(sent)?).await?,
    };
    let query = id.is_none().then(|| format!("{TYPE}/$status"));
    let entity = Entity { resource_type: TYPE.to_owned(), id: id.map(str::to_owned), version: None, query };
    log_access(context, Action::Execute, None, entity).await?;
    let mut bundle = Writer::new("searchset");
    bundle.total(found.len() as u64);
    for one in found {
        let url = format!("{}/{TYPE}/{}", context.organization.base_url, one.asked.id);
        let mut parameters = vec![
            json!({"name": "subscription", "valueReference": {"reference": &url}}),
            json!({"name": "status", "valueCode": one.status().code()}),
            json!({"name": "type", "valueCode": "query-status"}),
            json!({"name": "events-since-subscription-start", "valueString": one.state.delivered.to_string()}),
        ];
        if let Some(error) = one.error() {
            parameters.push(json!({"name": "error", "valueCodeableConcept": {"text": error.to_string()}}));
        }
        if one.state.lost > 0 {
            let text = format!("{} versions were lost by this server and passed over", one.state.lost);
            parameters.push(json!({"name": "error", "valueCodeableConcept": {"text": text}}));
        }
        let resource = json!({"resourceType": "Parameters", "id": one.asked.id, "parameter": parameters}).to_string();
        let mode = json!({"mode": "match"});
        bundle.entry(Some(&format!("{url}/$status")), Some(resource.as_bytes()), &[("search", mode)]);
    }
    Ok(Answer::fhir(StatusCode::OK, bundle.finish()))
}

/// Those of the caller's with one of the ids and one of the statuses that are named, if any are.
async fn asked_for(context: &Context<'_>, inputs: &[(String, String)]) -> Result<Vec<Subscription>, Refusal> {
    let (mut ids, mut statuses) = (Vec::new(), Vec::new());
    for (name, text) in inputs {
        match name.as_str() {
            "id" => ids.push(text.as_str()),
            "status" => statuses.push(text.as_str()),
            "_format" | format::PRETTY => {}
            _ if context.prefer.handling == Handling::Strict => {
                return Err(Refusal::UnsupportedParameter(printable(name)));
            }
            _ => {}
        }
    }
    let mut found = context.organization.subscriptions.all_of_client(&context.caller.client).await?;
    found.retain(|one| {
        let is_named = ids.is_empty() || ids.contains(&one.asked.id.as_str());
        is_named && (statuses.is_empty() || statuses.contains(&one.status().code()))
    });
    Ok(found)
}

async fn own(context: &Context<'_>, id: &str) -> Result<Subscription, Refusal> {
    context.organization.subscriptions.of_client(id, &context.caller.client).await
}

/// The answer to a write.
fn written(context: &Context<'_>, status: StatusCode, stored: &Subscription) -> Result<Answer, Refusal> {
    let bytes = match context.prefer.returning {
        Returning::Minimal => None,
        Returning::Representation => Some(stored.served()?),
        Returning::OperationOutcome => Some(success()),
    };
    Ok(Answer {
        status,
        body: bytes.map(Body::fhir),
        version: Some(stored.version()),
        last_modified: Some(stored.last_updated()),
        // Only the current version can be read.
        location: Some(format!("{}/{TYPE}/{}", context.organization.base_url, stored.asked.id)),
    })
}

async fn log(context: &Context<'_>, action: Action, of: &Subscription) -> Result<(), Refusal> {
    let (id, version) = (Some(of.asked.id.clone()), Some(of.version()));
    log_access(context, action, None, Entity { resource_type: TYPE.to_owned(), id, version, query: None }).await
}
