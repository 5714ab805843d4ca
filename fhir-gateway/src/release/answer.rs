//! The custodian's side: from a signed request to what consent opens. A denial and an absence are
//! the same empty answer; the access log knows the difference.

use std::collections::BTreeSet;

use careledger_app::keys;
use careledger_wire::{
    ids::{Address, Commitment, EmergencyId, EncryptionKey, GrantId},
    proto::state,
};
use serde_json::Value;

use super::messages::{Answer, Read, Released, Right, Search};
use crate::{
    audit::{Disclosure, Origin, Verdict},
    decide::{self, Ask, Beyond, Candidate, Facts, Parent, Rule},
    mapping::{consent, facts},
    naming,
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
    remote::{lookup, peer},
    resources::resource,
    validate,
};

/// How much one answer to a search holds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Documents.
    pub documents: usize,
    /// Sealed bytes of several documents. One alone may be as large as it is here.
    pub bytes: usize,
}

/// The bounds of what other organizations are answered.
pub const BOUNDS: Bounds = Bounds { documents: 500, bytes: 16 * 1024 * 1024 };
// Base64 of base64 is 16/9 as large, and what stands beside a body is less than 1 KiB.
const _: () = assert!(
    (BOUNDS.bytes + BOUNDS.documents * 1024) / 9 * 16 < peer::ANSWER_BYTES_MAX,
    "who asks must be able to read the answer"
);
/// Resources that one decision looks at.
const RESOURCES_MAX: u32 = 10_000;
/// Longest word of a request that goes into the access log.
const PLAIN_LENGTH_MAX: usize = 64;

/// The organization that asks, as the ledger knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asker {
    /// Its account, which signed the request.
    pub address: Address,
    /// Its state, proven.
    pub standing: state::Organization,
    /// The key that answers are sealed to.
    pub key: EncryptionKey,
    /// Where its request came from.
    pub origin: Origin,
}

/// The organization behind a signature; `None` where the ledger knows no such organization.
pub async fn asker(organization: &Organization, address: Address, origin: Origin) -> Result<Option<Asker>, Refusal> {
    let standing = organization.ledger.get_proven(&keys::organization(&address)).await?.value;
    Ok(standing.and_then(|standing| {
        let key = EncryptionKey::try_from(standing.encryption_key.as_slice()).ok()?;
        Some(Asker { address, standing, key, origin })
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
    let patient = organization.records.patient_of(&right.subject).await?;
    let permit = match &state {
        Some(state) => permit(organization, patient.as_deref(), &right.grant, state).await?,
        None => None,
    };
    let beyond = beyond(organization, asker, right, patient.as_deref(), state.as_ref()).await?;
    let ask = Ask {
        organization: asker.address,
        standing: Some(asker.standing.clone()),
        practitioner: right.practitioner,
        enrolment,
        purpose: right.purpose.clone(),
        now: ledger.now(),
    };
    Ok(Case { candidate: Candidate { grant: right.grant, state, permit, beyond }, ask, patient })
}

/// The Consent that opens a grant. It must be that of the patient whose subject was named, with the
/// terms that were committed to; others may carry the same identifier.
async fn permit(
    organization: &Organization,
    patient: Option<&str>,
    grant: &GrantId,
    state: &state::Grant,
) -> Result<Option<consent::Permit>, Refusal> {
    let kept = lookup::by_identifier(organization, "Consent", naming::GRANT, &grant.to_string()).await?;
    let permits = kept.into_iter().filter_map(|(_, consent)| consent::permit(&consent).ok());
    let is_committed = |permit: &consent::Permit| {
        let commitment: Commitment = permit.terms.commitment(&permit.salt);
        commitment.as_bytes().as_slice() == state.terms
    };
    Ok(permits.into_iter().find(|permit| patient == Some(permit.patient.as_str()) && is_committed(permit)))
}

/// What else the named grant stands on: the one that it was delegated from, or an emergency.
async fn beyond(
    organization: &Organization,
    asker: &Asker,
    right: &Right,
    patient: Option<&str>,
    state: Option<&state::Grant>,
) -> Result<Beyond, Refusal> {
    let ledger = &organization.ledger;
    let Some(grant) = state else {
        let emergency = EmergencyId::new(*right.grant.as_bytes());
        let emergency = ledger.get_proven(&keys::emergency(&right.subject, &emergency)).await?.value;
        let reviews = ledger.get_proven(&keys::emergency_reviews(&asker.address)).await?.value.unwrap_or_default();
        return Ok(Beyond { emergency, reviews, ..Beyond::default() });
    };
    let Ok(id) = GrantId::try_from(grant.parent.as_slice()) else { return Ok(Beyond::default()) };
    let state = ledger.get_proven(&keys::consent(&right.subject, &id)).await?.value;
    let (mut opened, mut standing) = (None, None);
    if let Some(given) = &state {
        opened = permit(organization, patient, &id, given).await?.as_ref().map(decide::opened);
        if let Ok(delegator) = Address::try_from(given.grantee.as_slice()) {
            standing = ledger.get_proven(&keys::organization(&delegator)).await?.value;
        }
    }
    Ok(Beyond { parent: Some(Parent { grant: id, state, opened, standing }), ..Beyond::default() })
}

impl Case {
    fn decide(&self, facts: &Facts) -> Result<(), Rule> {
        decide::decide(&self.candidate, &self.ask, facts)
    }

    /// The rule that closes everything, if one does.
    fn closed(&self) -> Option<Rule> {
        decide::decide_grant(&self.candidate, &self.ask).err()
    }
}

/// An answer to a search that is being filled.
struct Filling<'a> {
    bounds: &'a Bounds,
    answer: Answer,
    bytes: usize,
}

impl<'a> Filling<'a> {
    fn new(bounds: &'a Bounds) -> Self {
        Self { bounds, answer: Answer::default(), bytes: 0 }
    }

    /// Whether the answer takes no further document, whatever its size.
    fn is_full(&self) -> bool {
        self.answer.documents.len() >= self.bounds.documents
    }

    /// Takes a document, the first of all or one that fits; else the answer is truncated before it.
    fn take(&mut self, document: Released) {
        let bytes = self.bytes.saturating_add(document.body.len());
        if self.is_full() || (bytes > self.bounds.bytes && !self.answer.documents.is_empty()) {
            self.answer.is_truncated = true;
            return;
        }
        self.bytes = bytes;
        self.answer.documents.push(document);
    }
}

/// What consent opens of one type, in order of id, until the answer is full. One access-log leaf,
/// before the answer.
pub async fn search(
    organization: &Organization,
    asker: &Asker,
    search: &Search,
    bounds: &Bounds,
) -> Result<Answer, Refusal> {
    plain(&search.right, &search.resource_type, search.after.as_deref())?;
    let case = case(organization, asker, &search.right).await?;
    let mut filling = Filling::new(bounds);
    let mut rule = case.closed();
    if let (None, Some(patient)) = (rule, &case.patient) {
        let ids = about(organization, &search.resource_type, patient).await?;
        let is_whole = ids.len() < RESOURCES_MAX as usize;
        // One at a time: of what is looked at, no more is in memory than of what is answered.
        for id in ids.iter().filter(|id| search.after.as_ref().is_none_or(|after| *id > after)) {
            let Some((stored, resource)) = lookup::current(organization, &search.resource_type, id).await? else {
                continue;
            };
            match case.decide(&facts::of(&resource)) {
                Ok(()) if filling.is_full() => filling.answer.is_truncated = true,
                Ok(()) => filling.take(released(organization, asker, &stored).await?),
                Err(broken) => rule = rule.or(Some(broken)),
            }
            if filling.answer.is_truncated {
                break;
            }
        }
        filling.answer.is_truncated |= !is_whole;
    }
    let answer = filling.answer;
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
    plain(&read.right, &read.resource_type, Some(&read.id))?;
    let case = case(organization, asker, &read.right).await?;
    let closed = case.closed();
    // What opens nothing looks at nothing: it takes as long for what is here as for what is not.
    let found = match (&closed, &case.patient) {
        (None, Some(patient)) => deciding(organization, patient, read).await?,
        _ => None,
    };
    let mut rule = closed.or(Some(Rule::ResourceType));
    let mut answer = Answer::default();
    if let Some(found) = found {
        // Every one of them has to be permitted: whoever may see one document that points at a
        // Binary may not for that see one that another of them closes.
        let denied = found.on.iter().find_map(|facts| case.decide(facts).err());
        rule = denied;
        if denied.is_none() {
            answer.documents.push(released(organization, asker, &found.version).await?);
        }
    }
    let verdict = rule.map_or(Verdict::Permitted, Verdict::Denied);
    log(organization, asker, &read.right, &read.resource_type, vec![read.id.clone()], case.patient, verdict).await?;
    Ok(answer)
}

/// What a read would release, and the facts on which that is decided; at least one.
struct Found {
    version: Stored,
    on: Vec<Facts>,
}

/// What a read is decided on: the resource itself, or all documents that may point at a Binary.
/// `None` where there is no such resource of this patient.
async fn deciding(organization: &Organization, patient: &str, read: &Read) -> Result<Option<Found>, Refusal> {
    if read.resource_type == "Binary" {
        return deciding_binary(organization, patient, &read.id).await;
    }
    let criteria = [("_id", read.id.clone()), ("patient", format!("Patient/{patient}"))];
    let found = none_if_unsupported(lookup::versions(organization, &read.resource_type, &criteria, 1).await)?;
    Ok(found.into_iter().next().map(|(version, resource)| Found { version, on: vec![facts::of(&resource)] }))
}

async fn deciding_binary(organization: &Organization, patient: &str, id: &str) -> Result<Option<Found>, Refusal> {
    let version = match organization.records.read("Binary", id).await {
        Ok(version) => version,
        Err(Refusal::NotFound | Refusal::Gone) => return Ok(None),
        Err(other) => return Err(other),
    };
    // One that names nobody belongs to whom its documents are about.
    if version.about().is_some_and(|about| about != patient) {
        return Ok(None);
    }
    let documents = lookup::documents_that_may_name(organization, id, RESOURCES_MAX).await?;
    let points_at = |document: &Value| facts::binaries(document, &organization.base_url).contains(&id);
    let is_the_patients = documents.iter().all(|(document, _)| document.about() == Some(patient))
        && documents.iter().any(|(_, document)| points_at(document));
    // A grant opens documents, with what belongs to them; of the Binary itself only the labels count.
    let labels = match &version.content {
        Content::Json(bytes) => serde_json::from_slice(bytes).map(|own| facts::of(&own).labels),
        Content::Raw { .. } | Content::Deleted => Ok(BTreeSet::new()),
    };
    let labels = labels.map_err(|_| Refusal::Internal("a stored Binary is no JSON"))?;
    let with_labels = |(_, document): (Stored, Value)| {
        let mut facts = facts::of(&document);
        facts.labels.extend(labels.iter().cloned());
        facts
    };
    Ok(is_the_patients.then(|| Found { version, on: documents.into_iter().map(with_labels).collect() }))
}

/// Ids of the resources of one type that are about a Patient, in order, at most [`RESOURCES_MAX`].
async fn about(organization: &Organization, resource_type: &str, patient: &str) -> Result<Vec<String>, Refusal> {
    let criteria = [("patient", format!("Patient/{patient}"))];
    let mut ids = none_if_unsupported(lookup::ids(organization, resource_type, &criteria, RESOURCES_MAX).await)?;
    ids.sort_unstable();
    Ok(ids)
}

/// A type that is about no patient has none of a patient's resources.
fn none_if_unsupported<T>(found: Result<Vec<T>, Refusal>) -> Result<Vec<T>, Refusal> {
    match found {
        Err(Refusal::UnsupportedResource | Refusal::UnsupportedParameter(_)) => Ok(Vec::new()),
        other => other,
    }
}

/// Refuses what does not belong into the access log, whose lines stay for good.
fn plain(right: &Right, resource_type: &str, id: Option<&str>) -> Result<(), Refusal> {
    let is_plain = |text: &str| {
        (1..=PLAIN_LENGTH_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if !is_plain(&right.purpose) {
        return Err(Refusal::BadRequest("right.purpose is not a code".to_owned()));
    }
    if resource(resource_type).is_none() {
        return Err(Refusal::BadRequest("resource_type is not one that is kept here".to_owned()));
    }
    if id.is_some_and(|id| !is_plain(id) || !validate::is_id(id)) {
        return Err(Refusal::BadRequest("id is not an id".to_owned()));
    }
    Ok(())
}

/// Releases the version that the decision was about, whatever was written since.
async fn released(organization: &Organization, asker: &Asker, decided: &Stored) -> Result<Released, Refusal> {
    let records = &organization.records;
    let sealed = records.sealed_version(&decided.resource_type, &decided.id, decided.version).await?;
    let wrap = records.wrap_for(&sealed, &asker.key)?;
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
        origin: asker.origin.clone(),
    };
    organization.audit.disclosed(disclosure).await
}

#[cfg(test)]
mod tests {
    use careledger_wire::ids::{GrantId, RecordId, SubjectId};

    use super::*;
    use crate::{
        envelope::{self, Document, DocumentKey},
        keys::EncryptionPair,
    };

    fn released(id: usize, bytes: usize) -> Released {
        let document = Document::new(RecordId::new([1; 32]), 1);
        let wrap = envelope::wrap_for(&document, &DocumentKey::random(), &EncryptionPair::random().public()).unwrap();
        Released {
            resource_type: "DocumentReference".to_owned(),
            id: id.to_string(),
            last_updated: 1_000_000,
            content_type: "application/fhir+json".to_owned(),
            document,
            body: vec![0; bytes],
            wrap,
        }
    }

    #[test]
    fn an_answer_between_gateways_is_bounded_in_bytes_and_in_documents() {
        const LARGEST: usize = BOUNDS.bytes;
        const MANY: usize = BOUNDS.documents;
        // Sizes, how many of them are taken, whether there is more.
        let cases = [
            (vec![], 0, false),
            (vec![LARGEST], 1, false),
            (vec![LARGEST, 0], 2, false),
            (vec![LARGEST, 1], 1, true),
            (vec![1, LARGEST], 1, true),
            // One that is larger than an answer of several travels alone.
            (vec![LARGEST + 1], 1, false),
            (vec![LARGEST + 1, 0], 1, true),
            (vec![0; MANY], MANY, false),
            (vec![0; MANY + 1], MANY, true),
        ];
        for (sizes, taken, is_truncated) in cases {
            let mut filling = Filling::new(&BOUNDS);
            for (id, bytes) in sizes.iter().enumerate() {
                filling.take(released(id, *bytes));
            }
            let found = (filling.answer.documents.len(), filling.answer.is_truncated);
            assert_eq!(found, (taken, is_truncated), "{} of {:?}…", sizes.len(), sizes.first());
            let largest = serde_json::to_vec(&filling.answer).unwrap().len() / 3 * 4;
            assert!(largest < peer::ANSWER_BYTES_MAX, "who asked cannot read {largest} bytes");
        }
    }

    #[test]
    fn what_another_gateway_sends_goes_into_the_access_log_only_when_it_is_plain() {
        let right = |purpose: &str| Right {
            grant: GrantId::new([1; 32]),
            subject: SubjectId::new([2; 32]),
            purpose: purpose.to_owned(),
            practitioner: Address::new([3; 20]),
        };
        assert_eq!(plain(&right("TREAT"), "Condition", Some("a-1.b")), Ok(()));
        assert_eq!(plain(&right("TREAT"), "Condition", None), Ok(()));
        let long = "a".repeat(65);
        for (purpose, resource_type, id) in [
            ("", "Condition", "a"),
            ("TRE\0AT", "Condition", "a"),
            ("<b>", "Condition", "a"),
            (long.as_str(), "Condition", "a"),
            ("TREAT", "Spaceship", "a"),
            ("TREAT", "Condition\n", "a"),
            ("TREAT", "Condition", ""),
            ("TREAT", "Condition", "a/b"),
            ("TREAT", "Condition", long.as_str()),
        ] {
            let refused = plain(&right(purpose), resource_type, Some(id));
            assert!(matches!(refused, Err(Refusal::BadRequest(_))), "{purpose:?} {resource_type:?} {id:?}");
        }
    }
}
