//! The custodian's side: from a signed request to what consent opens. A denial and an absence are
//! the same empty answer; the access log knows the difference.

use careledger_app::keys;
use careledger_wire::{
    ids::{Address, EncryptionKey},
    proto::state,
};
use serde_json::Value;

use super::messages::{Answer, Read, Released, Right, Search};
use crate::{
    audit::{Disclosure, Verdict},
    decide::{self, Ask, Candidate, Decision, Facts, Rule},
    mapping::{consent, facts},
    naming,
    organization::Organization,
    outcome::Refusal,
    records::Sealed,
    remote::lookup,
};

/// Documents in one answer.
const DOCUMENTS_MAX: usize = 500;

/// The organization that asks, as the ledger knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asker {
    /// Its account, which signed the request.
    pub address: Address,
    /// Its state, proven.
    pub standing: state::Organization,
    /// The key that answers are sealed to.
    pub key: EncryptionKey,
}

/// The organization behind a signature; `None` where the ledger knows no such organization.
pub async fn asker(organization: &Organization, address: Address) -> Result<Option<Asker>, Refusal> {
    let standing = organization.ledger.get_proven(&keys::organization(&address)).await?.value;
    Ok(standing.and_then(|standing| {
        let key = EncryptionKey::try_from(standing.encryption_key.as_slice()).ok()?;
        Some(Asker { address, standing, key })
    }))
}

/// What a decision about one right starts from.
struct Case {
    candidate: Candidate,
    ask: Ask,
    /// Local id of the Patient behind the subject.
    patient: Option<String>,
}

async fn case(organization: &Organization, asker: &Asker, right: &Right) -> Result<Case, Refusal> {
    let ledger = &organization.ledger;
    let state = ledger.get_proven(&keys::consent(&right.subject, &right.grant)).await?.value;
    let enrolment = ledger.get_proven(&keys::practitioner(&asker.address, &right.practitioner)).await?.value;
    let patient = organization.records.patient_of(&right.subject)?;
    let kept = lookup::by_identifier(organization, "Consent", naming::GRANT, &right.grant.to_string()).await?;
    let permit = kept.and_then(|(_, consent)| consent::permit(&consent).ok());
    // The Consent must be that of the patient whose subject was named.
    let permit = permit.filter(|permit| patient.as_deref() == Some(permit.patient.as_str()));
    let ask = Ask {
        organization: asker.address,
        standing: Some(asker.standing.clone()),
        practitioner: right.practitioner,
        enrolment,
        purpose: right.purpose.clone(),
        now: ledger.now(),
    };
    Ok(Case { candidate: Candidate { grant: right.grant, state, permit }, ask, patient })
}

impl Case {
    fn decide(&self, facts: &Facts) -> Decision {
        decide::decide(std::slice::from_ref(&self.candidate), &self.ask, facts)
    }

    /// The rule that closes everything, if one does.
    fn closed(&self) -> Option<Rule> {
        decide::first_broken_by_grant(&self.candidate, &self.ask)
    }
}

/// What consent opens of one type. One access-log leaf, before the answer.
pub async fn search(organization: &Organization, asker: &Asker, search: &Search) -> Result<Answer, Refusal> {
    let case = case(organization, asker, &search.right).await?;
    let mut answer = Answer::default();
    let mut rule = case.closed();
    if let (None, Some(patient)) = (rule, &case.patient) {
        let all = lookup::of_patient(organization, &search.resource_type, patient).await?;
        for (id, resource) in &all {
            match case.decide(&facts::of(resource)) {
                Decision::Permit(_) if answer.documents.len() < DOCUMENTS_MAX => {
                    let sealed = organization.records.sealed(&search.resource_type, id).await?;
                    answer.documents.push(released(organization, asker, sealed)?);
                }
                Decision::Permit(_) => answer.is_truncated = true,
                Decision::Deny(broken) => rule = rule.or_else(|| broken.first().map(|(_, rule)| *rule)),
            }
        }
    }
    let verdict = match rule {
        Some(rule) if answer.documents.is_empty() => Verdict::Denied(rule),
        _ => Verdict::Permitted,
    };
    let ids = answer.documents.iter().map(|document| document.id.clone()).collect();
    log(organization, asker, &search.right, &search.resource_type, ids, case.patient, verdict).await?;
    Ok(answer)
}

/// One resource, where consent opens it. One access-log leaf, before the answer.
pub async fn read(organization: &Organization, asker: &Asker, read: &Read) -> Result<Answer, Refusal> {
    let case = case(organization, asker, &read.right).await?;
    let found = match &case.patient {
        Some(patient) => deciding(organization, patient, read).await?,
        None => Vec::new(),
    };
    let mut rule = case.closed().or(Some(Rule::ResourceType));
    let mut answer = Answer::default();
    for resource in &found {
        match case.decide(&facts::of(resource)) {
            Decision::Permit(_) => {
                let sealed = organization.records.sealed(&read.resource_type, &read.id).await;
                if let Some(sealed) = present(sealed)? {
                    answer.documents.push(released(organization, asker, sealed)?);
                }
                rule = None;
                break;
            }
            Decision::Deny(broken) => rule = broken.first().map(|(_, rule)| *rule),
        }
    }
    let verdict = rule.map_or(Verdict::Permitted, Verdict::Denied);
    log(organization, asker, &read.right, &read.resource_type, vec![read.id.clone()], case.patient, verdict).await?;
    Ok(answer)
}

/// The resources on which a read is decided: the resource itself, or the patient's documents that
/// point at a Binary.
async fn deciding(organization: &Organization, patient: &str, read: &Read) -> Result<Vec<Value>, Refusal> {
    if read.resource_type == "Binary" {
        let documents = lookup::of_patient(organization, "DocumentReference", patient).await?;
        let points_at =
            |document: &Value| facts::binaries(document, &organization.base_url).iter().any(|id| **id == read.id);
        return Ok(documents.into_iter().map(|(_, document)| document).filter(points_at).collect());
    }
    let criteria = [("_id", read.id.clone()), ("patient", format!("Patient/{patient}"))];
    let found = lookup::matches(organization, &read.resource_type, &criteria, 1).await;
    match found {
        Ok(found) => Ok(found.into_iter().map(|(_, resource)| resource).collect()),
        // A type that is not kept, or is about no patient, is absent.
        Err(Refusal::UnsupportedResource | Refusal::UnsupportedParameter(_)) => Ok(Vec::new()),
        Err(other) => Err(other),
    }
}

fn present(sealed: Result<Sealed, Refusal>) -> Result<Option<Sealed>, Refusal> {
    match sealed {
        Ok(sealed) => Ok(Some(sealed)),
        Err(Refusal::NotFound | Refusal::Gone) => Ok(None),
        Err(other) => Err(other),
    }
}

fn released(organization: &Organization, asker: &Asker, sealed: Sealed) -> Result<Released, Refusal> {
    let wrap = organization.records.wrap_for(&sealed, &asker.key)?;
    Ok(Released {
        content_type: sealed.content_type.clone().ok_or(Refusal::Internal("a release of a deletion"))?,
        resource_type: sealed.resource_type,
        id: sealed.id,
        last_updated: sealed.last_updated,
        document: sealed.document,
        body: sealed.body,
        wrap,
    })
}

async fn log(
    organization: &Organization,
    asker: &Asker,
    right: &Right,
    resource_type: &str,
    ids: Vec<String>,
    patient: Option<String>,
    verdict: Verdict,
) -> Result<(), Refusal> {
    let disclosure = Disclosure {
        organization: asker.address,
        practitioner: right.practitioner,
        purpose: right.purpose.clone(),
        grant: right.grant,
        resource_type: resource_type.to_owned(),
        ids,
        patient,
        verdict,
    };
    organization.audit.disclosed(disclosure).await
}
