//! A Consent: a proposal until the patient's signed transaction stands beside it. docs/api/consent.md

use std::collections::BTreeSet;

use careledger_app::keys;
use careledger_wire::ids::{Commitment, GrantId, SubjectId};
use serde_json::Value;

use super::{Effects, Proposed, Relay, beside::Beside, patient};
use crate::{
    mapping::{
        consent::{self, Permit, Status},
        element::Element,
        signed,
    },
    naming,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
    remote::lookup,
};

const HOW: &str = "a Consent in force needs the patient's signature: post a transaction Bundle with the Consent and a \
                   Provenance whose target is that Consent and whose signature.data is the signed transaction";

/// What a proposed Consent asks for.
pub async fn before(
    organization: &Organization,
    proposed: &Proposed,
    beside: &Beside<'_>,
    effects: &mut Effects,
) -> Result<(), Refusal> {
    let (id, is_new) = match &proposed.change {
        Change::Create { id, .. } => (id, true),
        Change::Update { id, .. } => (id, false),
        Change::Delete { id, .. } => return delete(organization, id).await,
    };
    let Some(document) = &proposed.document else { return Ok(()) };
    let consent = document.to_value();
    let status = consent::status(&consent)?;
    let before = if is_new { None } else { in_force(organization, id).await? };
    if before.is_none() {
        alone(organization, id, &consent, beside).await?;
    }
    match (before, status) {
        (None, Status::Proposed | Status::Inactive) => Ok(()),
        (None, Status::Active) => {
            let permit = consent::permit(&consent)?;
            let subject = patient::subject_of(organization, &permit.patient, beside).await?;
            let signed = beside.signed(&format!("Consent/{id}"))?.ok_or_else(|| Refusal::Rule(HOW.to_owned()))?;
            signed::agrees(&signed, &permit, &consent, &subject)?;
            effects.granted.push(Granted::of(subject, &permit));
            effects.relay.push(Relay { transaction: signed.bytes, entry: proposed.entry });
            Ok(())
        }
        (Some(permit), Status::Inactive) => {
            let revocation = revoke(organization, id, &permit, beside).await?;
            effects.relay.extend(revocation.map(|transaction| Relay { transaction, entry: proposed.entry }));
            Ok(())
        }
        (Some(before), Status::Active) => {
            let (granted, transaction) = amend(organization, id, &before, &consent, beside).await?;
            effects.granted.push(granted);
            effects.relay.push(Relay { transaction, entry: proposed.entry });
            Ok(())
        }
        (Some(_), Status::Proposed) => Err(Refusal::Rule(
            "a Consent in force does not become a proposal: make it inactive, and post another one".to_owned(),
        )),
    }
}

/// A grant that a request of this server relays, and what it must open on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    subject: SubjectId,
    grant: GrantId,
    terms: Commitment,
}

impl Granted {
    fn of(subject: SubjectId, permit: &Permit) -> Self {
        Self { subject, grant: permit.grant, terms: permit.terms.commitment(&permit.salt) }
    }
}

/// A Consent in force is changed by the patient's signed amendment beside it, and by nothing else.
async fn amend(
    organization: &Organization,
    id: &str,
    before: &Permit,
    consent: &Value,
    beside: &Beside<'_>,
) -> Result<(Granted, Vec<u8>), Refusal> {
    let permit = consent::permit(consent)?;
    let is_same = permit.grant == before.grant
        && permit.patient == before.patient
        && permit.terms.organization == before.terms.organization;
    let signed = beside.signed(&format!("Consent/{id}"))?.filter(|_| is_same).ok_or_else(|| {
        Refusal::Rule(
            "a Consent in force changes only with the patient's signed amendment of the same grant beside it: post that, \
             or make it inactive and post another one"
                .to_owned(),
        )
    })?;
    let subject = patient::subject_of(organization, &permit.patient, beside).await?;
    signed::amends(&signed, &permit, consent, &subject)?;
    Ok((Granted::of(subject, &permit), signed.bytes))
}

/// The Consent `id` as it is kept, where it is in force.
async fn in_force(organization: &Organization, id: &str) -> Result<Option<Permit>, Refusal> {
    let stored = match organization.records.read("Consent", id).await {
        Ok(stored) => stored,
        Err(Refusal::NotFound | Refusal::Gone) => return Ok(None),
        Err(other) => return Err(other),
    };
    let Content::Json(bytes) = &stored.content else { return Ok(None) };
    let kept: Value = serde_json::from_slice(bytes).map_err(|_| Refusal::Internal("a Consent does not parse"))?;
    if consent::status(&kept)? == Status::Active { consent::permit(&kept).map(Some) } else { Ok(None) }
}

/// Refuses a Consent that names a grant which another Consent names: which of them the patient
/// meant must never be a question.
async fn alone(organization: &Organization, id: &str, consent: &Value, beside: &Beside<'_>) -> Result<(), Refusal> {
    let taken = || Refusal::Rule("another Consent names the same grant; a grant is of one Consent".to_owned());
    for grant in grants(consent) {
        let kept = lookup::by_identifier(organization, "Consent", naming::GRANT, grant).await?;
        if kept.iter().any(|(other, _)| other != id) || beside.consents_with(grant) > 1 {
            return Err(taken());
        }
    }
    Ok(())
}

/// The grants that a Consent names, each once.
pub fn grants(consent: &Value) -> BTreeSet<&str> {
    let identifiers = Element::resource(consent).get("identifier");
    identifiers.items().filter_map(|identifier| identifier.identifier_value(naming::GRANT)).collect()
}

/// Refuses where a grant that was relayed is not in force as relayed: the same transaction may have
/// been relayed before, and revoked or amended since.
pub async fn still_granted(organization: &Organization, granted: &[Granted]) -> Result<(), Refusal> {
    for Granted { subject, grant, terms } in granted {
        let state = organization.ledger.get(&keys::consent(subject, grant)).await?;
        let Some(state) = state.filter(|state| state.revoked_at == 0) else {
            return Err(Refusal::Rule("the grant is not in force on the ledger: the patient revoked it".to_owned()));
        };
        if state.terms != terms.as_bytes() {
            return Err(Refusal::Rule("the grant has other terms on the ledger: the patient amended it".to_owned()));
        }
    }
    Ok(())
}

/// The patient's revocation of a Consent in force; none where the ledger does not honour it any more.
async fn revoke(
    organization: &Organization,
    id: &str,
    permit: &Permit,
    beside: &Beside<'_>,
) -> Result<Option<Vec<u8>>, Refusal> {
    let subject = patient::subject_of(organization, &permit.patient, beside).await?;
    if is_closed(organization, &subject, permit).await? {
        return Ok(None);
    }
    let signed = beside.signed(&format!("Consent/{id}"))?.ok_or_else(|| {
        Refusal::Rule(
            "only the patient revokes: put a Provenance with the signed transaction beside it, or revoke on the ledger \
             first"
                .to_owned(),
        )
    })?;
    signed::revokes(&signed, &permit.grant, &subject)?;
    Ok(Some(signed.bytes))
}

/// A Consent in force is what opens its commitments: it stays as long as its grant does.
async fn delete(organization: &Organization, id: &str) -> Result<(), Refusal> {
    let Some(permit) = in_force(organization, id).await? else { return Ok(()) };
    let subject = patient::subject_of(organization, &permit.patient, &Beside::default()).await?;
    if is_closed(organization, &subject, &permit).await? {
        return Ok(());
    }
    Err(Refusal::Rule("a Consent in force cannot be deleted; the patient revokes it first".to_owned()))
}

/// Whether the ledger no longer honours the grant.
async fn is_closed(organization: &Organization, subject: &SubjectId, permit: &Permit) -> Result<bool, Refusal> {
    let state = organization.ledger.get(&keys::consent(subject, &permit.grant)).await?;
    Ok(state.is_none_or(|grant| grant.revoked_at != 0 || grant.expires_at <= organization.ledger.now()))
}
