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
    json::Document,
    mapping::task::{CALENDAR_END, timestamp},
    naming,
    organization::Organization,
    outcome::{Issue, Refusal, operation_outcome},
    release::messages::{Answer, Read, Released, Search},
    validate,
};

/// Types that are asked for at other custodians.
pub const REMOTE_TYPES: [&str; 2] = ["DocumentReference", "Binary"];

/// Answers to one search that are read of one custodian.
const ANSWERS_MAX: usize = 20;
/// Sealed bytes after which no further answer is asked for.
const BYTES_MAX: usize = 64 * 1024 * 1024;

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
    /// Local id of the Patient whose approval opened it.
    pub patient: String,
    /// Base URL of the custodian's gateway, or its account where no address is known.
    pub source: String,
}

/// What consent opens for the local Patient `patient` elsewhere, by everybody's approved requests or by those of
/// one practitioner: documents in order of grant and id, then a gap for every custodian that did not answer.
pub async fn search(
    organization: &Organization,
    resource_type: &str,
    patient: &str,
    by: Option<&Address>,
) -> Result<Vec<Entry>, Refusal> {
    if resource_type != "DocumentReference" {
        return Ok(Vec::new());
    }
    let approved = approved::of_patient(organization, patient).await?;
    // What the ledger says is closed is neither asked for nor a gap.
    let open: Vec<Approved> = approved.into_iter().filter(|approved| approved.is_open && approved.is_by(by)).collect();
    let asked = open.iter().map(|approved| released(organization, approved, resource_type));
    let answers = futures::future::join_all(asked).await;
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    for (approved, (documents, missing)) in open.iter().zip(answers) {
        found.extend(entries(organization, approved, documents));
        gaps.extend(missing.map(|why| Entry::Gap(gap(&approved.custodian, &why))));
    }
    found.extend(gaps);
    Ok(found)
}

/// Everything that a custodian releases of one type, answer after answer, in order of id; and why
/// something may be missing, if it may.
async fn released(
    organization: &Organization,
    approved: &Approved,
    resource_type: &str,
) -> (Vec<Released>, Option<String>) {
    let mut collected = Collected::default();
    let (right, resource_type) = (approved.right.clone(), resource_type.to_owned());
    let mut search = Search { right, resource_type, after: None };
    let missing = loop {
        match peer::search(organization, &approved.custodian, &search).await {
            Ok(answer) => match collected.take(answer) {
                Next::After(id) => search.after = Some(id),
                Next::Nothing => break None,
                Next::TooMuch => break Some("has more documents than are read at once".to_owned()),
            },
            Err(error) => break Some(error.to_string()),
        }
    };
    (collected.documents, missing)
}

/// What came in the answers of one custodian so far.
#[derive(Default)]
struct Collected {
    documents: Vec<Released>,
    answers: usize,
    bytes: usize,
}

/// What to ask after an answer.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// What comes after this id.
    After(String),
    /// There is no more.
    Nothing,
    /// There is more than is read.
    TooMuch,
}

impl Collected {
    /// Takes an answer. A custodian's word that there is more is followed only where it leads on.
    fn take(&mut self, answer: Answer) -> Next {
        let Answer { mut documents, is_truncated } = answer;
        documents.sort_by(|left, right| left.id.cmp(&right.id));
        let before = self.documents.last().map(|document| document.id.clone());
        let last = documents.last().map(|document| document.id.clone());
        // What was shown already is not shown again.
        documents.retain(|document| before.as_ref().is_none_or(|before| document.id > *before));
        self.answers += 1;
        self.bytes += documents.iter().map(|document| document.body.len()).sum::<usize>();
        self.documents.extend(documents);
        match last {
            _ if !is_truncated => Next::Nothing,
            Some(last) if self.answers < ANSWERS_MAX && self.bytes < BYTES_MAX && Some(&last) > before.as_ref() => {
                Next::After(last)
            }
            _ => Next::TooMuch,
        }
    }
}

fn entries(organization: &Organization, approved: &Approved, documents: Vec<Released>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(documents.len());
    for released in documents {
        let opened = open(organization, approved, &released, "DocumentReference").ok();
        let resource = opened.and_then(|opened| serde_json::from_slice::<Value>(&opened.bytes).ok());
        match resource {
            Some(resource) => {
                entries.push(Entry::Found { id: RemoteId::of(&approved.name, &released.id), resource });
            }
            None => entries.push(Entry::Gap(gap(&approved.custodian, &PeerError::Answer.to_string()))),
        }
    }
    entries
}

/// Reads a resource of another custodian by its id here; with `only`, where that is the Patient
/// whom it is about; with `by`, where that practitioner asked for it. Denied and absent are both
/// [`Refusal::NotFound`].
pub async fn read(
    organization: &Organization,
    resource_type: &str,
    remote: &RemoteId,
    only: Option<&str>,
    by: Option<&Address>,
) -> Result<Opened, Refusal> {
    if !REMOTE_TYPES.contains(&resource_type) {
        return Err(Refusal::NotFound);
    }
    let approved = approved::by_name(organization, &remote.name).await?.ok_or(Refusal::NotFound)?;
    if only.is_some_and(|patient| patient != approved.patient) || !approved.is_by(by) {
        return Err(Refusal::NotFound);
    }
    let read = Read { right: approved.right.clone(), resource_type: resource_type.to_owned(), id: remote.id.clone() };
    let answer = peer::read(organization, &approved.custodian, &read).await.map_err(|error| {
        tracing::warn!(%error, custodian = %approved.custodian, "a custodian did not answer");
        Refusal::CustodianUnavailable
    })?;
    let released = answer.documents.into_iter().next().ok_or(Refusal::NotFound)?;
    if released.id != remote.id {
        return Err(Refusal::CustodianUnavailable);
    }
    open(organization, &approved, &released, resource_type)
}

/// Opens a released document of the type that was asked for with this organization's key.
fn open(
    organization: &Organization,
    approved: &Approved,
    released: &Released,
    resource_type: &str,
) -> Result<Opened, Refusal> {
    if !is_usable(released, resource_type) {
        return Err(Refusal::CustodianUnavailable);
    }
    let refused = |_| Refusal::CustodianUnavailable;
    let key =
        envelope::unwrap_for(&released.document, &released.wrap, &organization.keys.encryption).map_err(refused)?;
    let bytes = envelope::open(&released.document, &key, &released.body).map_err(refused)?;
    let source = source(&approved.custodian);
    let peer = organization.network.peer(&approved.custodian).ok_or(Refusal::CustodianUnavailable)?;
    let base_url = format!("{}/fhir", peer.as_str().trim_end_matches('/'));
    let bytes = if is_fhir(released) { as_served(&source, &base_url, approved, released, bytes)? } else { bytes };
    Ok(Opened {
        content_type: released.content_type.clone(),
        bytes,
        version: released.document.version,
        last_updated: released.last_updated,
        patient: approved.patient.clone(),
        source,
    })
}

/// What `meta.source` says of a custodian's resources: its account, which the ledger knows. The
/// address at which this gateway reaches it may be internal.
fn source(custodian: &Address) -> String {
    format!("{}:{custodian}", naming::ACCOUNT)
}

fn is_fhir(released: &Released) -> bool {
    released.content_type.starts_with("application/fhir+json")
}

/// Whether what stands beside a sealed body can be used: a custodian's word is not taken for it.
fn is_usable(released: &Released, resource_type: &str) -> bool {
    released.resource_type == resource_type
        && validate::is_id(&released.id)
        && (0..CALENDAR_END).contains(&released.last_updated)
        && released.content_type.parse::<mime::Mime>().is_ok()
        && (is_fhir(released) || resource_type == "Binary")
}

/// The resource in an opened body, where it is the one that was released and is valid FHIR: it
/// passes the same checks as what a client sends here.
fn checked(released: &Released, bytes: Vec<u8>) -> Result<Value, Refusal> {
    let refused = |_| Refusal::CustodianUnavailable;
    let document = Document::parse(bytes).map_err(refused)?;
    validate::resource(&document).map_err(refused)?;
    let is_it = document.resource_type() == Some(&released.resource_type) && document.id() == Some(&released.id);
    if is_it { Ok(document.to_value()) } else { Err(Refusal::CustodianUnavailable) }
}

fn as_served(
    source: &str,
    base_url: &str,
    approved: &Approved,
    released: &Released,
    bytes: Vec<u8>,
) -> Result<Vec<u8>, Refusal> {
    let mut resource = checked(released, bytes)?;
    let origin = Origin {
        name: &approved.name,
        patient: &approved.patient,
        source,
        base_url,
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

#[cfg(test)]
mod tests {
    use careledger_wire::ids::RecordId;

    use super::*;
    use crate::{envelope::DocumentKey, keys::EncryptionPair};

    fn released() -> Released {
        let document = envelope::Document::new(RecordId::new([1; 32]), 1);
        let key = DocumentKey::random();
        let wrap = envelope::wrap_for(&document, &key, &EncryptionPair::random().public()).unwrap();
        Released {
            resource_type: "DocumentReference".to_owned(),
            id: "d".to_owned(),
            last_updated: 1_000_000,
            content_type: "application/fhir+json".to_owned(),
            document,
            body: Vec::new(),
            wrap,
        }
    }

    fn answer(ids: &[&str], is_truncated: bool) -> Answer {
        let documents = ids.iter().map(|id| Released { id: (*id).to_owned(), ..released() }).collect();
        Answer { documents, is_truncated }
    }

    #[test]
    fn answers_are_followed_to_their_end_and_no_further() {
        let ids = |collected: &Collected| collected.documents.iter().map(|found| found.id.clone()).collect::<Vec<_>>();
        let mut collected = Collected::default();
        assert_eq!(collected.take(answer(&["b", "a"], true)), Next::After("b".to_owned()));
        assert_eq!(collected.take(answer(&["b", "d", "c"], true)), Next::After("d".to_owned()));
        assert_eq!(collected.take(answer(&["e"], false)), Next::Nothing);
        assert_eq!(ids(&collected), ["a", "b", "c", "d", "e"], "each once");
        // Of one that always has more, and leads nowhere.
        for stuck in [&[][..], &["a"], &["b"]] {
            let mut collected = Collected::default();
            assert_eq!(collected.take(answer(&["b"], true)), Next::After("b".to_owned()));
            assert_eq!(collected.take(answer(stuck, true)), Next::TooMuch, "{stuck:?}");
            assert_eq!(ids(&collected), ["b"]);
        }
        let mut collected = Collected::default();
        let followed = (0..).map(|number| format!("{number:04}"));
        let followed = followed.take_while(|id| collected.take(answer(&[id], true)) != Next::TooMuch).count();
        assert_eq!(followed, ANSWERS_MAX - 1);
        let mut collected = Collected::default();
        let large = Released { body: vec![0; BYTES_MAX], ..released() };
        assert_eq!(collected.take(Answer { documents: vec![large], is_truncated: true }), Next::TooMuch);
    }

    #[test]
    fn what_a_custodian_says_beside_a_body_is_checked() {
        assert!(is_usable(&released(), "DocumentReference"));
        assert!(!is_usable(&released(), "Binary"));
        let changes: [fn(&mut Released); 6] = [
            |released| released.last_updated = -1,
            |released| released.last_updated = i64::MAX,
            |released| released.last_updated = CALENDAR_END,
            |released| released.id = "a/b".to_owned(),
            |released| released.content_type = "application/pdf".to_owned(),
            |released| released.content_type = "application/fhir+json\n".to_owned(),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut released = released();
            change(&mut released);
            assert!(!is_usable(&released, "DocumentReference"), "change {at}");
        }
    }

    #[test]
    fn a_custodians_resource_is_the_one_that_was_asked_for_and_valid() {
        let valid = r#"{"resourceType":"DocumentReference","id":"d","status":"current","content":[{"attachment":{"title":"x"}}]}"#;
        assert!(checked(&released(), valid.as_bytes().to_vec()).is_ok());
        for body in [
            valid.replace("\"d\"", "\"e\""),
            valid.replace("DocumentReference", "Observation"),
            valid.replace("{\"title\":\"x\"}", "[]"),
            valid.replace("\"current\"", "\"\\u0000\""),
            valid.replace("\"status\"", "\"meta\":\"text\",\"status\""),
            "null".to_owned(),
            "{".to_owned(),
        ] {
            let refused = checked(&released(), body.clone().into_bytes());
            assert_eq!(refused, Err(Refusal::CustodianUnavailable), "{body}");
        }
    }
}
