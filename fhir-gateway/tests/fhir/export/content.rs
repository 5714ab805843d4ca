//! What an export has in it, as of which time.

use std::time::Instant;

use careledger_gateway::{
    export::job::{Export, Job, Order, Scope},
    ledger,
    value_sets::Pins,
};
use serde_json::{Value, json};

use super::{OF_TWO, PATIENCE, POLL, exported, filled, finished, lines, observation, path, put, started};
use crate::support::SCOPE;

#[actix_web::test]
async fn an_export_has_what_was_asked_for_once_and_nothing_else() {
    let (_world, ehr) = filled().await;
    let everybody = [
        &OF_TWO[..2],
        &["Observation/height3"],
        &OF_TWO[2..4],
        &["Observation/weight3"],
        &OF_TWO[4..],
        &["Patient/p3"],
    ]
    .concat();
    let with = |more: &[&'static str]| {
        let mut all = [&everybody[..], more].concat();
        all.sort_unstable();
        all
    };
    for (address, expected) in [
        ("/$export", with(&["Group/g", "Practitioner/doctor"])),
        ("/$export?_type=Practitioner,Group&_outputFormat=ndjson&_pretty=true", vec!["Group/g", "Practitioner/doctor"]),
        ("/$export?_type=Immunization", vec![]),
        ("/Patient/$export?_type=Patient,Observation", everybody.clone()),
        // The Group is in the compartments of its members.
        ("/Patient/$export", with(&["Group/g"])),
        ("/Group/g/$export?_type=Observation,Patient", OF_TWO.to_vec()),
        (
            "/Group/g/$export?_type=Observation&_typeFilter=Observation%3Fcode%3Dweight",
            vec!["Observation/weight1", "Observation/weight2"],
        ),
        (
            "/$export?_type=Observation,Patient&_typeFilter=Observation?code=weight%26_id=weight1,height1&_typeFilter=Observation?_id=height2",
            vec!["Observation/height2", "Observation/weight1", "Patient/p1", "Patient/p2", "Patient/p3"],
        ),
        ("/Group/g/$export?_since=2999-01-01T00:00:00%2B00:00", vec![]),
    ] {
        assert_eq!(exported(&ehr, address).await, expected, "{address}");
    }
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_type", "valueString": "Patient,Observation"}, {"name": "_elements", "valueString": "Patient.gender,status"},
        {"name": "patient", "valueReference": {"reference": "Patient/p2"}},
    ]});
    for address in ["/Group/g/$export", "/Patient/$export"] {
        let status = started(&ehr, "POST", address, parameters.to_string()).await;
        let manifest = finished(&ehr, &status).await;
        assert_eq!(manifest["requiresAccessToken"], true);
        assert!(manifest["request"].as_str().unwrap().ends_with(&format!("/hospital/fhir{address}")));
        assert_eq!(
            lines(&ehr, &manifest, "output").await,
            ["Observation/height2", "Observation/weight2", "Patient/p2"]
        );
        let file = manifest["output"].as_array().unwrap().iter().find(|file| file["type"] == "Patient").unwrap();
        let patient = ehr.get(&path(file["url"].as_str().unwrap())).await.expect(200).json();
        assert_eq!((&patient["gender"], &patient["active"]), (&json!("other"), &Value::Null));
        assert_eq!(patient["meta"]["tag"][0]["code"], "SUBSETTED");
        ehr.send("DELETE", &status, &[], "").await.expect(202);
    }
}

#[actix_web::test]
async fn a_later_export_goes_on_where_an_earlier_one_ended_and_names_what_was_deleted() {
    let (_world, ehr) = filled().await;
    let first = finished(&ehr, &started(&ehr, "GET", "/Patient/$export", String::new()).await).await;
    let until = |resource: Value| resource["meta"]["lastUpdated"].as_str().unwrap().to_owned();
    let latest = until(ehr.get("/Group/g").await.expect(200).json());
    assert_eq!(first["transactionTime"], latest, "the time of the last block");
    // A block of the next second at the earliest: what was in the first is not in the second.
    let deadline = Instant::now() + PATIENCE;
    let mut since = latest.clone();
    while since == latest {
        assert!(Instant::now() < deadline, "the clock does not move");
        put(&ehr, observation("late", "p1", "late")).await;
        since = until(ehr.get("/Observation/late").await.expect(200).json());
        actix_web::rt::time::sleep(POLL).await;
    }
    for gone in ["Observation/weight1", "Observation/weight3", "Practitioner/doctor"] {
        ehr.send("DELETE", &format!("/{gone}"), &[], "").await.expect(204);
    }
    let since = url::form_urlencoded::byte_serialize(since.as_bytes()).collect::<String>();
    for (address, output, deleted) in [
        (
            "$export",
            &["Observation/late"][..],
            &["-Observation/weight1", "-Observation/weight3", "-Practitioner/doctor"][..],
        ),
        ("Patient/$export", &["Observation/late"], &["-Observation/weight1", "-Observation/weight3"]),
        ("Group/g/$export", &["Observation/late"], &["-Observation/weight1"]),
    ] {
        let status = started(&ehr, "GET", &format!("/{address}?_since={since}"), String::new()).await;
        let manifest = finished(&ehr, &status).await;
        assert_eq!(lines(&ehr, &manifest, "output").await, output, "{address}");
        assert_eq!(lines(&ehr, &manifest, "deleted").await, deleted, "{address}");
        assert_eq!(manifest["error"], json!([]));
    }
}

/// The Patients of whom a resource was at the export's time decide, not only those of whom it is now.
#[actix_web::test]
async fn a_groups_export_has_no_older_version_of_what_was_moved_to_a_member_since() {
    let (world, ehr) = filled().await;
    let records = &world.organization.records;
    let time = records.latest("Observation", "weight3").await.unwrap().last_updated;
    // A block of a later second moves it from somebody who is no member.
    let deadline = Instant::now() + PATIENCE;
    while records.latest("Group", "g").await.unwrap().last_updated.max(world.organization.ledger.now()) <= time {
        assert!(Instant::now() < deadline, "the clock does not move");
        actix_web::rt::time::sleep(POLL).await;
    }
    put(&ehr, observation("weight3", "p1", "weight")).await;
    assert!(records.latest("Observation", "weight3").await.unwrap().last_updated > time);
    let group = Scope::Group { id: "g".to_owned(), version: 1 };
    for (at, scope, transaction_time, is_there) in [
        ("group-then", group.clone(), time, false),
        ("group-now", group, ledger::clock() + 3_600, true),
        ("all-then", Scope::Patients, time, true),
    ] {
        world.organization.exports.begin(&as_of(at, scope, transaction_time)).await.unwrap();
        let manifest = finished(&ehr, &format!("/bulk/{at}")).await;
        let found = lines(&ehr, &manifest, "output").await;
        assert_eq!(found.contains(&"Observation/weight3".to_owned()), is_there, "{at}: {found:?}");
        assert!(found.contains(&"Observation/weight1".to_owned()), "{at}: {found:?}");
    }
}

/// An export of Observations as of a time.
fn as_of(id: &str, scope: Scope, transaction_time: i64) -> Export {
    let order = Order {
        scope,
        request: String::new(),
        types: vec!["Observation".to_owned()],
        filters: Vec::new(),
        since: None,
        elements: Vec::new(),
        patients: None,
        sets: Pins::default(),
        waiting: Vec::new(),
    };
    Export { order, job: Job::new(id.to_owned(), "ehr".to_owned(), SCOPE.to_owned(), transaction_time) }
}
