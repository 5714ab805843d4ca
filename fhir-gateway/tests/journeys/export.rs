//! A bulk export through the lives of a gateway that ends at any moment.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use careledger_gateway::{
    export::{
        job::{End, Export, Job},
        lines::Reading,
    },
    interactions::{
        Context,
        condition::Locks,
        export::{self, Of},
        operation::Sent,
    },
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
};

use super::restarted::{Restarted, live};

const CLIENT: &str = "ehr";
const SCOPES: &str = "system/*.rs";
/// More than three steps of one type.
const PATIENTS: usize = 1_700;
/// Resources of one transaction.
const AT_ONCE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(1);

/// What one life of a gateway does.
fn in_one_life<T>(world: &Restarted, work: impl AsyncFnOnce(Arc<Organization>) -> T) -> T {
    live(async { work(world.open().await.unwrap()).await })
}

fn patient(number: usize) -> Change {
    let id = format!("p{number}");
    let body = format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
    let content = Content::Json(body.into_bytes().into());
    Change::Create { resource_type: "Patient".to_owned(), id, content, patient: None }
}

async fn begun(organization: &Organization) -> String {
    let caller = organization.authority.acting(CLIENT, SCOPES).unwrap();
    let locks = Locks::of(organization.records.clone());
    let context = Context::in_background(organization, &locks, &caller);
    let document = || Err(Refusal::NotFound);
    let sent = Sent { is_empty: true, document: &document, pairs: &[] };
    export::begin(&context, Of::System, &sent, "http://here/$export").await.unwrap()
}

/// How far an export is.
fn place(job: &Job) -> (usize, String, bool) {
    (job.step, job.after.clone(), job.end.is_some())
}

/// The export as soon as it has moved on from where this life found it.
async fn moved(organization: &Organization, id: &str) -> Job {
    let begin = organization.exports.of_client(id, CLIENT).await.unwrap().job;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = organization.exports.of_client(id, CLIENT).await.unwrap().job;
        if place(&job) != place(&begin) || job.end.is_some() {
            return job;
        }
        assert!(Instant::now() < deadline, "the export does not move");
        tokio::time::sleep(POLL).await;
    }
}

/// How often each resource of a type is in the files of an export.
async fn exported(organization: &Arc<Organization>, export: &Export) -> BTreeMap<String, usize> {
    let caller = organization.authority.acting(CLIENT, SCOPES).unwrap();
    let mut found = BTreeMap::new();
    for number in 0..export.job.files.len() {
        let number = u32::try_from(number).unwrap();
        let bytes = Reading::begin(organization, &caller, export.clone(), number).unwrap().whole().await.unwrap();
        for line in String::from_utf8(bytes).unwrap().lines() {
            let resource: serde_json::Value = serde_json::from_str(line).unwrap();
            *found.entry(resource["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    found
}

#[test]
fn an_export_that_is_stopped_again_and_again_has_every_resource_once() {
    let world = Restarted::new();
    let id = in_one_life(&world, async |organization| {
        for first in (0..PATIENTS).step_by(AT_ONCE) {
            let changes = (first..PATIENTS.min(first + AT_ONCE)).map(patient).collect();
            organization.records.commit(changes, Vec::new()).await.unwrap();
        }
        begun(&organization).await
    });
    let mut lives = 0;
    loop {
        let job = in_one_life(&world, async |organization| moved(&organization, &id).await);
        lives += 1;
        if let Some((_, end)) = job.end {
            assert_eq!(end, End::Complete);
            break;
        }
        assert!(lives < 200, "the export does not end");
    }
    let found = in_one_life(&world, async |organization| {
        let export = organization.exports.of_client(&id, CLIENT).await.unwrap();
        exported(&organization, &export).await
    });
    assert_eq!(found.len(), PATIENTS);
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    println!("{lives} lives");
}
