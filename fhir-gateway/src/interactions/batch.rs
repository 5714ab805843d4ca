//! `POST /` with a Bundle of type batch: docs/api/batch.md
//!
//! Every entry stands for itself: a refusal of one is its answer, and the others go on. Entries
//! run some at a time, so that their writes can share a block.

use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::StatusCode;
use futures::{StreamExt as _, stream};

use super::{
    Answer, Context, Incoming,
    bundle::{ANSWER_BYTES_MAX, Writer},
    delete, patch,
    transaction::entry::Entry,
    update,
};
use crate::{json::Document, outcome::Refusal, patch::Patch, validate};

/// Methods that an entry may have, as far as its address allows them.
pub(super) const IN_BUNDLES: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// Entries that run at the same time.
const AT_ONCE: usize = 16;

/// Runs every entry.
pub async fn batch(context: &Context<'_>, bundle: &Document) -> Result<Answer, Refusal> {
    let mut entries = super::transaction::entries(bundle)?;
    // What is wrong with an entry is its answer; with the Bundle, that of all.
    for (at, refusal) in validate::envelope(bundle) {
        match at.and_then(|at| entries.get_mut(at)) {
            Some(entry) if entry.is_ok() => *entry = Err(refusal),
            Some(_) => {}
            None => return Err(refusal),
        }
    }
    let is_full = AtomicBool::new(false);
    let running = entries.iter().map(|entry| run(context, bundle, entry, &is_full));
    let mut answers = stream::iter(running).buffered(AT_ONCE);
    let mut response = Writer::new("batch-response");
    // One by one: what does not fit into the response is let go before the next is made.
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => response.answer(None, &answer),
            Err(refusal) => response.refusal(&refusal),
        }
        is_full.store(response.is_full(), Ordering::Relaxed);
    }
    Ok(Answer::fhir(StatusCode::OK, response.finish()))
}

async fn run(
    context: &Context<'_>,
    bundle: &Document,
    entry: &Result<Entry, Refusal>,
    is_full: &AtomicBool,
) -> Result<Answer, Refusal> {
    let entry = entry.as_ref().map_err(Clone::clone)?;
    let answer = if entry.method == "GET" && is_full.load(Ordering::Relaxed) {
        Err(Refusal::AnswerTooLarge { limit: ANSWER_BYTES_MAX })
    } else {
        write_or_read(context, bundle, entry).await
    };
    match answer {
        Ok(answer) => Ok(answer),
        Err(refusal) => Err(entry.refused(context, refusal).await),
    }
}

async fn write_or_read(context: &Context<'_>, bundle: &Document, entry: &Entry) -> Result<Answer, Refusal> {
    let context = &Context { key: context.key.map(|key| key.of_entry(entry.at)), ..*context };
    let incoming = || entry.document(bundle).map(Incoming::Json);
    let patch = || Patch::of_resource(entry.document(bundle)?);
    let resource_type = entry.resource_type();
    match (entry.method.as_str(), entry.target.id.as_deref(), entry.condition()) {
        ("POST", None, _) if resource_type.is_empty() => Err(Refusal::MethodNotAllowed { allow: IN_BUNDLES }),
        ("POST", None, condition) => {
            let condition = condition.map(|(_, condition)| condition);
            super::create::create(context, resource_type, &incoming()?, condition).await
        }
        ("PUT", Some(id), _) => update::update(context, resource_type, id, &incoming()?, entry.preconditions()).await,
        ("PUT", None, Some((_, condition))) => {
            update::update_by_condition(context, resource_type, condition, &incoming()?, entry.preconditions()).await
        }
        ("PATCH", Some(id), _) => patch::patch(context, resource_type, id, &patch()?, entry.if_match).await,
        ("PATCH", None, Some((_, condition))) => {
            patch::patch_by_condition(context, resource_type, condition, &patch()?, entry.if_match).await
        }
        ("DELETE", Some(id), _) => delete::delete(context, resource_type, id, entry.if_match).await,
        ("DELETE", None, Some((_, condition))) => {
            delete::delete_by_condition(context, resource_type, condition, entry.if_match).await
        }
        ("GET" | "HEAD", ..) => super::transaction::get(context, entry).await,
        _ => Err(Refusal::MethodNotAllowed { allow: IN_BUNDLES }),
    }
}
