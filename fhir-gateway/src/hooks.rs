//! What a resource does besides being stored: extra ledger messages in the same transaction, a
//! patient's own signed transaction relayed before it, further resources, work after the commit.
//!
//! [`before_commit`] is called once per request (a transaction Bundle is one request) with every
//! proposed change, validated, ids assigned and references resolved. A refusal refuses the whole
//! request.

use careledger_app::limits::MESSAGES_PER_TRANSACTION_MAX;
use careledger_wire::message::Message;
use futures::future::BoxFuture;

use crate::{
    json::Document,
    mapping, naming,
    organization::Organization,
    outcome::Refusal,
    records::{ANCHORING_MESSAGES_MAX, Change, Stored},
};

pub mod attest;
mod beside;
pub mod consent;
pub mod coverage;
pub mod eligibility;
pub mod patient;
pub mod plan;
pub mod practitioner;
pub mod task;

/// Messages that the resources of one request may ask for besides those that anchor them.
pub const MESSAGES_MAX: usize = MESSAGES_PER_TRANSACTION_MAX - ANCHORING_MESSAGES_MAX;

/// A change that is about to be committed.
#[derive(Debug, Clone)]
pub struct Proposed {
    /// What will be written.
    pub change: Change,
    /// The parsed body; none for a deletion or a raw Binary.
    pub document: Option<Document>,
    /// The place of the entry that asks for it, in a transaction.
    pub entry: Option<usize>,
}

/// Work to do once the changes are committed, with what was stored. It cannot fail the request.
pub type AfterCommit = Box<dyn FnOnce(Vec<Stored>) -> BoxFuture<'static, ()> + Send>;

/// What the hooks of a request ask for.
#[derive(Default)]
pub struct Effects {
    /// Messages of the organization, in the same ledger transaction as the anchors.
    pub messages: Vec<Message>,
    /// Transactions signed by others, relayed and committed before the changes, in order.
    pub relay: Vec<Relay>,
    /// Grants that must stand on the ledger once these were relayed.
    pub granted: Vec<consent::Granted>,
    /// Further resources to store in the same commit, after the proposed ones.
    pub also: Vec<Change>,
    /// Work after the commit.
    pub after: Vec<AfterCommit>,
}

/// A transaction signed by somebody else.
#[derive(Debug)]
pub struct Relay {
    /// Its bytes.
    pub transaction: Vec<u8>,
    /// The place of the entry that asks for it, in a transaction.
    pub entry: Option<usize>,
}

impl Effects {
    /// Refuses what one ledger transaction cannot hold, before anything is sealed.
    fn fit(&self) -> Result<(), Refusal> {
        if self.messages.len() <= MESSAGES_MAX {
            return Ok(());
        }
        Err(Refusal::Rule(format!(
            "one transaction may change at most {MESSAGES_MAX} resources that do something on the ledger besides being \
             anchored (Patient, Practitioner, Task, InsurancePlan, Coverage, CoverageEligibilityRequest); post the \
             rest in another Bundle"
        )))
    }
}

/// What `changes` ask for besides being stored. One file per resource type.
///
/// # Errors
/// Refuses the whole request, and names the entry that is at fault.
pub async fn before_commit(organization: &Organization, changes: &[Proposed]) -> Result<Effects, Refusal> {
    let beside = beside::Beside::of(changes);
    let mut effects = Effects::default();
    for proposed in changes {
        let asked = before(organization, proposed, &beside, &mut effects).await;
        asked.and_then(|()| effects.fit()).map_err(|refusal| refusal.of_entry(proposed.entry))?;
    }
    Ok(effects)
}

/// The accounts that the Patients and Practitioners of a request name: requests that name the same one wait for one
/// another.
///
/// # Errors
/// As what reads them.
pub fn accounts(all: &[Proposed]) -> Result<Vec<String>, Refusal> {
    let account = |document: &Document| match document.resource_type() {
        Some("Patient" | "Practitioner") if !names_account(document) => Ok(None),
        Some("Patient") => mapping::patient::claimant(&document.to_value()),
        Some("Practitioner") => mapping::practitioner::account(&document.to_value()),
        _ => Ok(None),
    };
    let accounts = all.iter().filter_map(|proposed| account(proposed.document.as_ref()?).transpose());
    accounts.map(|account| account.map(|account| account.to_string())).collect()
}

/// Whether any identifier of a Patient or Practitioner is an account: most Patients have none, and need no further look.
fn names_account(document: &Document) -> bool {
    let identifiers = document.root().get("identifier").map_or(&[][..], |identifiers| identifiers.items());
    identifiers.iter().any(|identifier| identifier.text("system") == Some(naming::ACCOUNT))
}

async fn before(
    organization: &Organization,
    proposed: &Proposed,
    beside: &beside::Beside<'_>,
    effects: &mut Effects,
) -> Result<(), Refusal> {
    match proposed.change.target().0 {
        "Patient" => patient::before(organization, proposed, effects).await,
        "Practitioner" => practitioner::before(organization, proposed, beside, effects).await,
        "Consent" => consent::before(organization, proposed, beside, effects).await,
        "Task" => task::before(organization, proposed, effects).await,
        "InsurancePlan" => plan::before(organization, proposed, effects).await,
        "Coverage" => coverage::before(organization, proposed, effects).await,
        "CoverageEligibilityRequest" => eligibility::before(organization, proposed, effects).await,
        _ => Ok(()),
    }
}
