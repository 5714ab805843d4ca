//! `POST /` with a Bundle of type batch: docs/api/batch.md
//!
//! Every entry stands for itself: a refusal of one is its answer, and the others go on. Entries
//! run some at a time, so that their writes can share a block.

use actix_web::http::StatusCode;
use futures::{StreamExt as _, stream};

use super::{Answer, Context, bundle::Writer, transaction::entry::Entry};
use crate::{json::Document, outcome::Refusal};

/// Methods that an entry may have, as far as its address allows them.
pub(super) const IN_BUNDLES: &str = "GET, POST, PUT, DELETE";
/// Entries that run at the same time.
const AT_ONCE: usize = 16;

/// Runs every entry.
pub async fn batch(context: &Context<'_>, bundle: &Document) -> Result<Answer, Refusal> {
    let entries = super::transaction::entries(bundle)?;
    let mut answers = stream::iter(entries.iter().map(|entry| run(context, bundle, entry))).buffered(AT_ONCE);
    let mut response = Writer::new("batch-response");
    // One by one: what does not fit into the response is let go before the next is made.
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => response.answer(None, &answer),
            Err(refusal) => response.refusal(&refusal),
        }
    }
    Ok(Answer::fhir(StatusCode::OK, response.finish()))
}

async fn run(context: &Context<'_>, bundle: &Document, entry: &Result<Entry, Refusal>) -> Result<Answer, Refusal> {
    let entry = entry.as_ref().map_err(Clone::clone)?;
    let context = &Context { key: context.key.map(|key| key.of_entry(entry.at)), ..*context };
    let incoming = || entry.incoming(bundle);
    match (entry.method.as_str(), entry.target.id.as_deref()) {
        ("POST", None) if entry.target.resource_type.is_empty() => Err(Refusal::MethodNotAllowed { allow: IN_BUNDLES }),
        ("POST", None) => {
            super::create::create(context, &entry.target.resource_type, &incoming()?, entry.if_none_exist.as_deref())
                .await
        }
        ("PUT", Some(id)) => {
            super::update::update(context, &entry.target.resource_type, id, &incoming()?, entry.if_match).await
        }
        ("DELETE", Some(id)) => super::delete::delete(context, &entry.target.resource_type, id, entry.if_match).await,
        ("GET", _) => super::transaction::get(context, entry).await,
        _ => Err(Refusal::MethodNotAllowed { allow: IN_BUNDLES }),
    }
}
