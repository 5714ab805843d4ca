//! What a resource does besides being stored: extra ledger messages in the same transaction, a
//! patient's own signed transaction relayed before it, further resources, work after the commit.
//!
//! [`before_commit`] is called once per request (a transaction Bundle is one request) with every
//! proposed change, validated, ids assigned and references resolved. A refusal refuses the whole
//! request.

use careledger_wire::message::Message;
use futures::future::BoxFuture;

use crate::{
    auth::Caller,
    json::Document,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Stored},
};

pub mod attest;
pub mod consent;
pub mod coverage;
pub mod eligibility;
pub mod patient;
pub mod plan;
pub mod practitioner;
pub mod task;

/// A change that is about to be committed.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// What will be written.
    pub change: Change,
    /// The parsed body; none for a deletion or a raw Binary.
    pub document: Option<Document>,
}

/// Work to do once the changes are committed, with what was stored. It cannot fail the request.
pub type AfterCommit = Box<dyn FnOnce(Vec<Stored>) -> BoxFuture<'static, ()> + Send>;

/// What the hooks of a request ask for.
#[derive(Default)]
pub struct Effects {
    /// Messages of the organization, in the same ledger transaction as the anchors.
    pub messages: Vec<Message>,
    /// Transactions signed by others, relayed and committed before the changes, in order.
    pub relay: Vec<Vec<u8>>,
    /// Grants that must stand on the ledger once these were relayed.
    pub granted: Vec<consent::Granted>,
    /// Further resources to store in the same commit, after the proposed ones.
    pub also: Vec<Change>,
    /// Work after the commit.
    pub after: Vec<AfterCommit>,
}

/// What `changes` ask for besides being stored. One file per resource type.
///
/// # Errors
/// Refuses the whole request.
pub async fn before_commit(
    organization: &Organization,
    _caller: &Caller,
    changes: &[Proposed],
) -> Result<Effects, Refusal> {
    let mut effects = Effects::default();
    for proposed in changes {
        match resource_type(&proposed.change) {
            "Patient" => patient::before(organization, proposed, &mut effects).await?,
            "Practitioner" => practitioner::before(organization, proposed, &mut effects)?,
            "Consent" => consent::before(organization, proposed, changes, &mut effects).await?,
            "Task" => task::before(organization, proposed, &mut effects).await?,
            "InsurancePlan" => plan::before(organization, proposed, &mut effects).await?,
            "Coverage" => coverage::before(organization, proposed, &mut effects).await?,
            "CoverageEligibilityRequest" => eligibility::before(organization, proposed, &mut effects).await?,
            _ => {}
        }
    }
    Ok(effects)
}

fn resource_type(change: &Change) -> &str {
    match change {
        Change::Create { resource_type, .. }
        | Change::Update { resource_type, .. }
        | Change::Delete { resource_type, .. } => resource_type,
    }
}
