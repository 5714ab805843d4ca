//! `POST /` with a Bundle of type transaction: docs/api/transaction.md
//!
//! All entries take effect in one ledger transaction, or none does. References between entries
//! (`urn:uuid:…`) and conditional references become local ones by replacing just these bytes.
//!
//! Until the commit every refusal is one of the whole. After it there is nothing to refuse: a read
//! that fails then is the answer of its own entry.

pub mod entry;
mod identity;
mod met;
mod resolve;

use actix_web::http::StatusCode;

use super::{
    Answer, Context, accepted,
    batch::IN_BUNDLES,
    bundle::{ANSWER_BYTES_MAX, Writer},
    commit, condition, create, delete, documents, everything, history, idempotency, kept, log, may_see, operation,
    patch, permit, permit_about,
    read::Wanted,
    search, update, vread, writable,
};
use crate::{
    audit::Action,
    auth::scopes::Interaction,
    hooks::Proposed,
    json::{Document, Node},
    outcome::Refusal,
    patch::Patch,
    records::{Change, Stored},
    search::{are_few, pairs},
    validate,
};
use entry::Entry;
use identity::{Identities, identities};
use met::Met;
use resolve::{Names, Resolving};

/// Most entries of one Bundle.
pub const ENTRIES_MAX: usize = 5_000;

/// What an entry comes to, once its address is known.
enum Plan {
    /// A change, and the status that says so.
    Change(Box<Proposed>, StatusCode),
    /// A conditional create that found what it would create.
    Exists(String),
    /// What an earlier try under the same key stored, and the status that says so.
    Stored(Box<Stored>, StatusCode),
    /// A deletion of what is not there.
    Nothing,
    /// A read or a search, after the changes.
    Get,
}

/// Runs a transaction.
pub async fn transaction(context: &Context<'_>, bundle: &Document) -> Result<Answer, Refusal> {
    let links = validate::resource(bundle)?;
    let entries = entries(bundle)?;
    documents::provide::check(bundle)?;
    let entries = entries.into_iter().collect::<Result<Vec<_>, _>>()?;
    entries.iter().try_for_each(|entry| entry.must_be_whole(bundle))?;
    let names = Names::of(&entries)?;
    let keyed: Vec<Option<String>> = entries.iter().map(|entry| keyed(context, entry)).collect();
    let conditions: Vec<(&str, &str)> = entries.iter().filter_map(Entry::condition).collect();
    let ids = entries.iter().zip(&keyed).filter_map(|(entry, id)| Some((entry.resource_type(), id.as_deref()?)));
    let referred = resolve::conditions(&links);
    condition::look_up(context, conditions.iter().copied().chain(referred.keys().copied())).await?;
    let _held = context.conditions.hold(&conditions.into_iter().chain(ids).collect::<Vec<_>>()).await?;
    let identities = identities(context, &entries, &keyed).await?;
    let met = Met::by(context, bundle, &entries, &identities, referred).await?;
    met.refuse_duplicates(&entries, &identities)?;
    let is_again = took_effect(context, &entries, &keyed).await?;
    let resolving =
        Resolving { context, entries: &entries, names: &names, identities: &identities, met: &met, is_again };
    let edits = resolving.edits(bundle, &links).await?;
    let planning = Planning { context, bundle, edits: &edits, is_again };
    let mut plans = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        let plan = match (&identities.existing[at], &identities.ids[at]) {
            (true, Some(id)) if entry.method == "POST" => Ok(Plan::Exists(id.clone())),
            // Nothing meets the condition and nobody chose the id: it is a create.
            (false, Some(id)) if entry.method == "PUT" && entry.address().is_none() => planning.create(entry, id).await,
            (_, id) => planning.plan(entry, id.as_deref()).await,
        };
        plans.push(plan.map_err(|refusal| refusal.of_entry(at))?);
    }
    let proposed = plans.iter().enumerate().filter_map(|(at, plan)| match plan {
        Plan::Change(proposed, _) => Some(Proposed { entry: Some(at), ..(**proposed).clone() }),
        _ => None,
    });
    let proposed: Vec<Proposed> = proposed.collect();
    let stored = if proposed.is_empty() { Vec::new() } else { commit(context, proposed).await? };
    respond(context, &entries, &plans, &stored).await
}

/// The id of what an entry creates under the request's key.
fn keyed(context: &Context<'_>, entry: &Entry) -> Option<String> {
    let key = context.key.filter(|_| entry.method == "POST")?.of_entry(entry.at);
    Some(key.id(context, entry.resource_type()))
}

/// Whether an earlier try under the same key took effect: as a whole, or not at all.
async fn took_effect(context: &Context<'_>, entries: &[Entry], keyed: &[Option<String>]) -> Result<bool, Refusal> {
    for (entry, id) in entries.iter().zip(keyed) {
        if let Some(id) = id
            && context.organization.records.settled(entry.resource_type(), id).await?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entries of a Bundle, each read or refused.
pub fn entries(bundle: &Document) -> Result<Vec<Result<Entry, Refusal>>, Refusal> {
    let items: &[Node] = bundle.root().get("entry").map_or(&[], Node::items);
    if items.len() > ENTRIES_MAX {
        return Err(Refusal::BadRequest(format!("a Bundle has at most {ENTRIES_MAX} entries here")));
    }
    Ok(items.iter().enumerate().map(|(at, node)| Entry::read(at, node)).collect())
}

/// What every entry is planned with.
struct Planning<'a> {
    context: &'a Context<'a>,
    bundle: &'a Document,
    edits: &'a resolve::Edits,
    /// Whether an earlier try under the same key took effect.
    is_again: bool,
}

impl Planning<'_> {
    async fn plan(&self, entry: &Entry, id: Option<&str>) -> Result<Plan, Refusal> {
        let Self { context, is_again, .. } = *self;
        let resource_type = entry.resource_type();
        let Some(id) = id else {
            if entry.target.below.is_some() {
                return Ok(Plan::Get);
            }
            kept(resource_type)?;
            let by_id = entry.target.id.is_some();
            permit(context, resource_type, if by_id { Interaction::Read } else { Interaction::Search })?;
            return Ok(Plan::Get);
        };
        match entry.method.as_str() {
            "POST" => self.create(entry, id).await,
            "PUT" => self.update(entry, id).await,
            "PATCH" => self.patch(entry, id).await,
            "DELETE" => {
                permit(context, resource_type, Interaction::Delete)?;
                let if_match = entry.if_match.filter(|_| !is_again);
                let proposed = delete::propose(context, resource_type, id, if_match).await?;
                Ok(proposed.map_or(Plan::Nothing, |proposed| Plan::Change(Box::new(proposed), StatusCode::NO_CONTENT)))
            }
            _ => Err(Refusal::MethodNotAllowed { allow: IN_BUNDLES }),
        }
    }

    async fn create(&self, entry: &Entry, id: &str) -> Result<Plan, Refusal> {
        let context = self.context;
        let kind = writable(entry.resource_type())?;
        permit(context, kind.name, Interaction::Create)?;
        // Nothing meets the condition of a PUT, so no version of it does.
        if entry.method == "PUT" && entry.if_match.is_some() {
            return Err(Refusal::PreconditionFailed("ifMatch names a version and nothing meets the condition"));
        }
        let incoming = entry.rewritten(self.bundle, self.edits)?;
        let accepted = accepted(context, kind, id, &incoming)?;
        permit_about(context, kind.name, Interaction::Create, accepted.patient.as_deref())?;
        if self.is_again {
            match idempotency::earlier(context, kind.name, id, &accepted).await? {
                Some(stored) => return Ok(Plan::Stored(Box::new(stored), StatusCode::CREATED)),
                // The earlier try found by condition what it did not create.
                None if entry.if_none_exist.is_some() => {}
                None => return Err(idempotency::another_body()),
            }
        }
        let (resource_type, id) = (kind.name.to_string(), id.to_string());
        let change = Change::Create { resource_type, id, content: accepted.content, patient: accepted.patient };
        let proposed = Proposed { change, document: accepted.document, entry: None };
        Ok(Plan::Change(Box::new(proposed), StatusCode::CREATED))
    }

    async fn update(&self, entry: &Entry, id: &str) -> Result<Plan, Refusal> {
        let context = self.context;
        let kind = writable(entry.resource_type())?;
        permit(context, kind.name, Interaction::Update)?;
        let incoming = entry.rewritten(self.bundle, self.edits)?;
        let current = update::current(context, kind.name, id, Interaction::Update).await?;
        // What the earlier try put there is not put there once more.
        if self.is_again && matches!(current, update::Current::Present(_)) {
            let stored = context.organization.records.read(kind.name, id).await?;
            if stored.content == accepted(context, kind, id, &incoming)?.content {
                return Ok(Plan::Stored(Box::new(stored), StatusCode::OK));
            }
        }
        if entry.preconditions().must_be_absent && matches!(current, update::Current::Present(_)) {
            return Err(Refusal::PreconditionFailed("ifNoneMatch: * and there is one"));
        }
        let (proposed, status) = update::propose(context, kind, id, &incoming, current, entry.if_match)?;
        Ok(Plan::Change(Box::new(proposed), status))
    }

    async fn patch(&self, entry: &Entry, id: &str) -> Result<Plan, Refusal> {
        let kind = writable(entry.resource_type())?;
        patch::permit_patch(self.context, kind)?;
        // What the earlier try changed is not changed once more.
        if self.is_again
            && let update::Current::Present(_) =
                update::current(self.context, kind.name, id, Interaction::Update).await?
        {
            let stored = self.context.organization.records.read(kind.name, id).await?;
            may_see(self.context, Interaction::Read, &stored).await?;
            return Ok(Plan::Stored(Box::new(stored), StatusCode::OK));
        }
        let patch = Patch::of_resource(entry.rewritten(self.bundle, self.edits)?.document()?)?;
        let proposed = patch::propose(self.context, kind, id, &patch, entry.if_match).await?;
        Ok(Plan::Change(Box::new(proposed), StatusCode::OK))
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
                Ok(match *status {
                    StatusCode::NO_CONTENT => Answer { version: Some(stored.version), ..Answer::status(*status) },
                    status => Answer::written(context, status, stored),
                })
            }
            Plan::Exists(id) => create::existing(context, entry.resource_type(), id).await,
            Plan::Stored(stored, status) => again(context, *status, stored).await,
            Plan::Nothing => Ok(Answer::status(StatusCode::NO_CONTENT)),
            Plan::Get if response.is_full() => {
                Err(entry.refused(context, Refusal::AnswerTooLarge { limit: ANSWER_BYTES_MAX }).await)
            }
            Plan::Get => match get(context, entry).await {
                Err(refusal) => Err(entry.refused(context, refusal).await),
                answer => answer,
            },
        };
        match answer {
            Ok(answer) => response.answer(None, &answer),
            Err(refusal) => response.refusal(&refusal),
        }
    }
    Ok(Answer::fhir(StatusCode::OK, response.finish()))
}

/// What stood there before this request.
async fn again(context: &Context<'_>, status: StatusCode, stored: &Stored) -> Result<Answer, Refusal> {
    log(context, Action::Read, stored).await?;
    Ok(Answer::written(context, status, stored))
}

/// What an entry asks for that reads; for `HEAD` without the body.
pub async fn get(context: &Context<'_>, entry: &Entry) -> Result<Answer, Refusal> {
    let answer = read(context, entry).await?;
    let is_wanted = entry.method != "HEAD";
    Ok(Answer { body: answer.body.filter(|_| is_wanted), ..answer })
}

async fn read(context: &Context<'_>, entry: &Entry) -> Result<Answer, Refusal> {
    let target = &entry.target;
    let query = target.query.as_deref().unwrap_or_default();
    let pairs = pairs(query.as_bytes());
    are_few(&pairs)?;
    if let Some(below) = &target.below {
        return get_below(context, target, below, &pairs).await;
    }
    // In a Bundle everything is FHIR JSON, Binaries too.
    let wanted = Wanted {
        accept: Some("application/fhir+json"),
        if_none_match: entry.if_none_match.as_deref(),
        if_modified_since: entry.if_modified_since,
        shape: None,
    };
    match (&target.id, &target.version) {
        (Some(id), Some(version)) => vread::vread(context, &target.resource_type, id, version, wanted).await,
        (Some(id), None) => super::read::read(context, &target.resource_type, id, wanted).await,
        (None, _) => search::search(context, &target.resource_type, &pairs).await,
    }
}

/// A history, an operation that reads, or a search in a compartment.
async fn get_below(
    context: &Context<'_>,
    target: &entry::Target,
    below: &str,
    pairs: &[(String, String)],
) -> Result<Answer, Refusal> {
    let (resource_type, id) = (target.resource_type.as_str(), target.id.as_deref());
    match (resource_type, id, below) {
        ("", _, _) => history::history(context, history::Of::All, pairs).await,
        (_, None, "_history") => history::history(context, history::Of::Type(resource_type), pairs).await,
        (_, Some(id), "_history") => history::history(context, history::Of::Resource(resource_type, id), pairs).await,
        (_, _, name) if name.starts_with('$') => {
            let document = || Err(Refusal::BadRequest("an entry that reads has no body".to_string()));
            let sent = operation::Sent { is_empty: true, document: &document, pairs };
            operation::run(context, resource_type, id, name, &sent).await
        }
        ("Patient", Some(id), "*") => everything::compartment(context, id, pairs).await,
        ("Patient", Some(id), name) => search::search_compartment(context, id, name, pairs).await,
        _ => Err(Refusal::Unsupported("a search in a compartment other than a Patient's")),
    }
}
