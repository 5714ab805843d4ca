//! Exports that are looked at while they are made.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use careledger_gateway::{
    export::job::Job,
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
};
use serde_json::{Value, json};

use super::lines;
use crate::support::Client;

/// More than three steps of one type.
pub const PATIENTS: usize = 1_700;
/// Resources of one transaction.
const AT_ONCE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(1);

/// Puts the Patients there, past the interactions: what they say is not what is tested.
pub async fn fill(organization: &Organization) {
    for first in (0..PATIENTS).step_by(AT_ONCE) {
        let change = |number: usize| {
            let id = format!("p{number}");
            let body = json!({"resourceType": "Patient", "id": id}).to_string();
            let content = Content::Json(body.into_bytes().into());
            Change::Create { resource_type: "Patient".to_owned(), id, content, patient: None }
        };
        let changes = (first..PATIENTS.min(first + AT_ONCE)).map(change).collect();
        organization.records.commit(changes, Vec::new()).await.unwrap();
    }
}

/// The export as soon as `is_so`, as one process sees it. That the database does not answer for a while is no reason
/// to give up.
pub async fn until(organization: &Organization, status: &str, is_so: impl Fn(&Job) -> bool) -> Job {
    let (id, deadline) = (status.trim_start_matches("/bulk/"), Instant::now() + PATIENCE);
    loop {
        match organization.exports.of_client(id, "ehr").await {
            Ok(export) if is_so(&export.job) => return export.job,
            Ok(_) | Err(Refusal::Internal(_)) => {}
            Err(other) => panic!("{other}"),
        }
        assert!(Instant::now() < deadline, "the export does not get that far");
        actix_web::rt::time::sleep(POLL).await;
    }
}

/// Whether some, and not all, of the Patients are in its files.
pub fn is_amid_patients(job: &Job) -> bool {
    job.after.starts_with('p')
}

/// Every Patient is in the files once.
pub async fn has_each_once(client: &Client, manifest: &Value) {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines(client, manifest, "output").await {
        *found.entry(line).or_default() += 1;
    }
    assert_eq!(found.len(), PATIENTS);
    assert!(found.values().all(|count| *count == 1), "{found:?}");
}
