//! What consent opens at other custodians, beside what is local: for a search of one patient's
//! documents, and for a read of one that a search showed.

use careledger_wire::ids::Address;
use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};
use serde_json::Value;

use super::{
    approved::{self, Approved},
    peer::{self, PeerError},
    rewrite::{self, Origin, RemoteId},
};
use crate::{
    envelope,
    mapping::task::timestamp,
    naming,
    organization::Organization,
    outcome::{Issue, Refusal, operation_outcome},
    release::messages::{Answer, Read, Released, Search},
};

/// Types that are asked for at other custodians.
pub const REMOTE_TYPES: [&str; 2] = ["DocumentReference", "Binary"];

/// One entry of a merged search.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A resource, as it is served here.
    Found {
        /// Its id here.
        id: String,
        /// The resource.
        resource: Value,
    },
    /// An OperationOutcome that names a custodian whose documents may be missing.
    Gap(Value),
}

/// A resource of another custodian, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Media type.
    pub content_type: String,
    /// FHIR JSON as it is served here, or the bytes of a Binary.
    pub bytes: Vec<u8>,
    /// Version at the custodian.
    pub version: u32,
    /// Time of the version's block, Unix seconds.
    pub last_updated: i64,
}

/// What consent opens for the local Patient `patient` elsewhere: documents in order of grant and
/// id, then a gap for every custodian that did not answer.
pub async fn search(organization: &Organization, resource_type: &str, patient: &str) -> Result<Vec<Entry>, Refusal> {
    if resource_type != "DocumentReference" {
        return Ok(Vec::new());
    }
    let approved = approved::of_patient(organization, patient).await?;
    // What the ledger says is closed is neither asked for nor a gap.
    let open: Vec<Approved> = approved.into_iter().filter(|approved| approved.is_open).collect();
    let asked = open.iter().map(|approved| {
        let search = Search { right: approved.right.clone(), resource_type: resource_type.to_owned() };
        async move { peer::search(organization, &approved.custodian, &search).await }
    });
    let answers = futures::future::join_all(asked).await;
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    for (approved, answer) in open.iter().zip(answers) {
        match answer {
            Ok(answer) => {
                if answer.is_truncated {
                    gaps.push(Entry::Gap(gap(&approved.custodian, "has more documents than one answer can hold")));
                }
                found.extend(entries(organization, approved, answer));
            }
            Err(error) => gaps.push(Entry::Gap(gap(&approved.custodian, &error.to_string()))),
        }
    }
    found.extend(gaps);
    Ok(found)
}

fn entries(organization: &Organization, approved: &Approved, answer: Answer) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(answer.documents.len());
    let mut documents = answer.documents;
    documents.sort_by(|left, right| left.id.cmp(&right.id));
    for released in documents {
        let opened = open(organization, approved, &released).ok();
        let resource = opened.and_then(|opened| serde_json::from_slice::<Value>(&opened.bytes).ok());
        match resource {
            Some(resource) => {
                entries.push(Entry::Found { id: RemoteId::of(&approved.right.grant, &released.id), resource });
            }
            None => entries.push(Entry::Gap(gap(&approved.custodian, &PeerError::Answer.to_string()))),
        }
    }
    entries
}

/// Reads a resource of another custodian by its id here. Denied and absent are both
/// [`Refusal::NotFound`].
pub async fn read(organization: &Organization, resource_type: &str, remote: &RemoteId) -> Result<Opened, Refusal> {
    if !REMOTE_TYPES.contains(&resource_type) {
        return Err(Refusal::NotFound);
    }
    let approved = approved::by_prefix(organization, &remote.prefix).await?.ok_or(Refusal::NotFound)?;
    let read = Read { right: approved.right.clone(), resource_type: resource_type.to_owned(), id: remote.id.clone() };
    let answer = peer::read(organization, &approved.custodian, &read).await.map_err(|error| {
        tracing::warn!(%error, custodian = %approved.custodian, "a custodian did not answer");
        Refusal::CustodianUnavailable
    })?;
    let released = answer.documents.into_iter().next().ok_or(Refusal::NotFound)?;
    if released.resource_type != resource_type || released.id != remote.id {
        return Err(Refusal::NotFound);
    }
    open(organization, &approved, &released)
}

/// Opens a released document with this organization's key.
fn open(organization: &Organization, approved: &Approved, released: &Released) -> Result<Opened, Refusal> {
    let refused = |_| Refusal::CustodianUnavailable;
    let key =
        envelope::unwrap_for(&released.document, &released.wrap, &organization.keys.encryption).map_err(refused)?;
    let bytes = envelope::open(&released.document, &key, &released.body).map_err(refused)?;
    let is_json = released.content_type.starts_with("application/fhir+json");
    let bytes = if is_json { as_served(organization, approved, released, &bytes)? } else { bytes };
    Ok(Opened {
        content_type: released.content_type.clone(),
        bytes,
        version: released.document.version,
        last_updated: released.last_updated,
    })
}

fn as_served(
    organization: &Organization,
    approved: &Approved,
    released: &Released,
    bytes: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let mut resource: Value = serde_json::from_slice(bytes).map_err(|_| Refusal::CustodianUnavailable)?;
    let peer = organization.network.peer(&approved.custodian);
    let source = match peer {
        Some(url) => format!("{}/fhir", url.as_str().trim_end_matches('/')),
        None => format!("{}|{}", naming::ACCOUNT, approved.custodian),
    };
    let origin = Origin {
        grant: &approved.right.grant,
        patient: &approved.patient,
        source: &source,
        version: released.document.version,
        last_updated: &timestamp(released.last_updated),
    };
    rewrite::rewrite(&mut resource, &origin);
    Ok(resource.to_string().into_bytes())
}

/// An OperationOutcome that says whose documents may be missing, and why.
fn gap(custodian: &Address, why: &str) -> Value {
    let diagnostics = format!("documents of custodian {custodian} may be missing: {why}");
    operation_outcome([Issue::new(IssueSeverity::Warning, IssueType::Incomplete, diagnostics)])
}
