//! What a Subscription is about, and what of it its owner may have: both as of now.

use std::collections::BTreeSet;

use super::{Asked, State, channel::Failure, order::Order};
use crate::{
    auth::{Caller, reach::Reach, scopes::Interaction},
    export::lines::there,
    index::changes::{Change, Found, Wanted},
    interactions::{Context, condition::Locks, reach, search::elsewhere},
    json::{Document, Serving},
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
    search::Query,
};

/// Changes that one step looks at.
const CHANGES_PER_STEP: u32 = 200;
/// Bytes of resources that are compared with criteria at once. A single one may be larger.
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// What of the next changes it is about.
pub struct Looked {
    /// Each, and whether the vault still has what to compare.
    pub changes: Vec<(Change, Kept)>,
    /// Up to and with this change nothing else is.
    pub through: u64,
    /// What comes after these could not be read.
    pub then: Option<Failure>,
}

/// Whether a version is still in the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is, or it was not looked for yet.
    Whole,
    /// It is not.
    Lost,
}

/// What is asked for, and by whom: both as of now.
pub struct Able {
    /// What is asked for.
    pub order: Order,
    /// By whom.
    pub caller: Caller,
}

impl Able {
    /// Whether the owner may find and read all of the type.
    pub fn reaches_all(&self) -> bool {
        let is_all = |interaction| self.caller.reach(interaction, self.order.kind().name) == Reach::Whole;
        [Interaction::Read, Interaction::Search].into_iter().all(is_all)
    }
}

/// What its owner may have now.
///
/// # Errors
/// [`Failure::NotAllowed`] and [`Failure::Scope`].
pub fn able(owner: &Organization, asked: &Asked) -> Result<Able, Failure> {
    let document = Document::parse(asked.wish.resource.clone()).map_err(|_| Failure::Server)?;
    let order = owner.subscriptions.order(&document, &owner.base_url).map_err(|_| Failure::NotAllowed)?;
    let caller = owner.authority.acting(&asked.client, &asked.scopes).ok_or(Failure::Scope)?;
    for interaction in [Interaction::Read, Interaction::Search] {
        caller.may(interaction, order.kind().name).map_err(|_| Failure::Scope)?;
    }
    Ok(Able { order, caller })
}

/// In which what the owner may have is decided.
pub fn context<'a>(owner: &'a Organization, caller: &'a Caller, locks: &'a Locks) -> Context<'a> {
    Context::in_background(owner, locks, caller)
}

/// The Patient about whom all is that the owner may find and read; none where it may be about others. What of it
/// the owner may know of is decided for each version.
fn patient_of(caller: &Caller, resource_type: &str) -> Option<String> {
    let is_about_others = |interaction| caller.reach(interaction, resource_type).is_beyond_one_patient();
    let may_be_of_others = [Interaction::Read, Interaction::Search].into_iter().all(is_about_others);
    caller.patient.clone().filter(|_| !may_be_of_others)
}

/// The next changes, as far as the Subscription is about them.
///
/// # Errors
/// As [`able`] within, and faults of this server.
pub async fn look(owner: &Organization, asked: &Asked, state: &State) -> Result<Result<Looked, Failure>, Refusal> {
    let Able { order, caller } = match able(owner, asked) {
        Ok(able) => able,
        Err(failure) => return Ok(Err(failure)),
    };
    let locks = Locks::of(owner.records.clone());
    let context = context(owner, &caller, &locks);
    let _turn = owner.subscriptions.turns.acquire().await.map_err(|_| Refusal::Internal("reading has ended"))?;
    let resource_type = order.kind().name;
    let patient = patient_of(&caller, resource_type);
    let wanted = Wanted { resource_type, after: state.cursor, patient, count: CHANGES_PER_STEP };
    let found = owner.index.run(move |index| index.changes(&wanted)).await?;
    if order.query.criteria.is_empty() || found.changes.is_empty() {
        let changes = found.changes.into_iter().map(|change| (change, Kept::Whole)).collect();
        return Ok(Ok(Looked { changes, through: found.through, then: None }));
    }
    matched(&context, &order.query, found).await.map(Ok)
}

/// Those among the changes that meet the criteria as they were, and those of which that cannot be told any more.
async fn matched(context: &Context<'_>, query: &Query, all: Found) -> Result<Looked, Refusal> {
    let mut looked = Looked { changes: Vec::new(), through: all.through, then: None };
    let mut rest = all.changes.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut together, mut documents, mut ids, mut bytes) = (Vec::new(), Vec::new(), BTreeSet::new(), 0);
        while let Some(change) = rest.next_if(|next| bytes < BYTES_AT_ONCE && !ids.contains(&next.id)) {
            match version(context, query.resource.name, &change).await {
                Ok(Some((_, document))) => {
                    bytes += document.bytes().len();
                    ids.insert(change.id.clone());
                    documents.push((change.id.clone(), document));
                    together.push((change, Kept::Whole));
                }
                Ok(None) => {}
                Err(Refusal::Lost(_)) => together.push((change, Kept::Lost)),
                Err(refusal) => {
                    tracing::error!(%refusal, "a version that a Subscription may be about cannot be read");
                    (looked.through, looked.then) = (change.sequence - 1, Some(Failure::Server));
                    rest = Vec::new().into_iter().peekable();
                }
            }
        }
        let found = elsewhere::matching(context, query, documents).await?;
        let is_about = |(change, kept): &(Change, Kept)| *kept == Kept::Lost || found.contains(&change.id);
        looked.changes.extend(together.into_iter().filter(is_about));
    }
    Ok(looked)
}

/// A version and its resource as it is served; none of a deletion.
async fn version(
    context: &Context<'_>,
    resource_type: &str,
    change: &Change,
) -> Result<Option<(Stored, Document)>, Refusal> {
    let records = &context.organization.records;
    let Some(stored) = there(records.any_version(resource_type, &change.id, change.version).await)? else {
        return Ok(None);
    };
    let document = document(&stored)?;
    Ok(document.map(|document| (stored, document)))
}

fn document(stored: &Stored) -> Result<Option<Document>, Refusal> {
    let serving = Serving { version: stored.version, last_updated: stored.last_updated, source: None };
    match &stored.content {
        Content::Json(bytes) => Document::parse(Document::parse(bytes.clone())?.served(&serving)).map(Some),
        Content::Raw { .. } => Err(Refusal::Internal("a Subscription is about a file")),
        Content::Deleted => Ok(None),
    }
}

/// The version, as far as the owner may read it, and the resource as it is now, too; and whom it is about.
pub async fn decided(
    context: &Context<'_>,
    resource_type: &str,
    change: &Change,
) -> Result<Option<(Stored, Document, BTreeSet<String>)>, Refusal> {
    // What was deleted meanwhile is not handed out any more, nor what is somebody else's by now.
    let latest = there(context.organization.records.latest(resource_type, &change.id).await)?;
    let Some(latest) = latest.filter(|latest| latest.content != Content::Deleted) else { return Ok(None) };
    let Some((stored, document)) = version(context, resource_type, change).await? else { return Ok(None) };
    let versions = [latest, stored];
    let about = reach::found_and_readable_each(context, &versions).await?;
    let [_, stored] = versions;
    match <[_; 2]>::try_from(about) {
        Ok([Some(_), Some(patients)]) => Ok(Some((stored, document, patients))),
        _ => Ok(None),
    }
}
