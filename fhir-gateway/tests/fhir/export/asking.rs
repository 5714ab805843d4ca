//! What may be asked for, by whom, and how often.

use serde_json::json;

use super::{ASYNC, exported, filled, finished, path, started};
use crate::{shown, support::Got};

#[actix_web::test]
async fn a_patients_own_client_exports_nothing_and_learns_nothing() {
    let (world, _ehr) = filled().await;
    let portal = world.client("portal").await;
    let refused = |got: Got| shown(&got.expect(403));
    let own = refused(portal.send("GET", "/Patient/$export", &ASYNC, "").await);
    for address in ["/$export", "/Group/g/$export", "/Group/never/$export", "/Patient/$export?_type=Patient"] {
        assert_eq!(refused(portal.send("GET", address, &ASYNC, "").await), own, "{address}");
    }
}

#[actix_web::test]
async fn what_cannot_be_exported_as_asked_is_refused_at_once() {
    let (_world, ehr) = filled().await;
    ehr.get("/$export").await.expect(400);
    for (address, status) in [
        ("/$export?_outputFormat=text/csv", 400),
        ("/$export?_type=Spaceship", 400),
        ("/$export?_type=AuditEvent", 400),
        ("/Patient/$export?_type=Practitioner", 400),
        ("/$export?_since=yesterday", 400),
        ("/$export?color=red", 400),
        ("/$export?patient=Patient/p1", 400),
        ("/$export?_typeFilter=Observation?color=red", 400),
        ("/$export?_typeFilter=Observation?_count=1", 400),
        ("/$export?_type=Patient&_typeFilter=Observation?code=a", 400),
        ("/$export?includeAssociatedData=LatestProvenanceResources", 400),
        ("/Group/never/$export", 404),
        ("/$exports", 404),
    ] {
        ehr.send("GET", address, &ASYNC, "").await.expect(status);
        // No word of leniency makes an export hold more than was asked for.
        let lenient = [("prefer", "respond-async, handling=lenient")];
        ehr.send("GET", address, &lenient, "").await.expect(status);
    }
    let naming = |id: &str| {
        let patient = json!({"reference": format!("Patient/{id}")});
        json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": patient}]}).to_string()
    };
    for (address, id, status) in [
        ("/Patient/$export", "p3", 202),
        ("/Patient/$export", "never", 422),
        ("/Group/g/$export", "p3", 422),
        ("/Group/g/$export", "p2", 202),
        ("/$export", "p1", 400),
    ] {
        ehr.send("POST", address, &ASYNC, naming(id)).await.expect(status);
    }
    ehr.send("DELETE", "/Group/g", &[], "").await.expect(204);
    ehr.send("GET", "/Group/g/$export", &ASYNC, "").await.expect(410);
}

#[actix_web::test]
async fn a_client_has_a_bounded_number_of_exports_and_another_is_not_held_up() {
    let (world, ehr) = filled().await;
    let mut kept = Vec::new();
    let refused = loop {
        let got = ehr.send("GET", "/$export?_type=Patient", &ASYNC, "").await;
        match got.header("content-location") {
            Some(location) => kept.push(path(location)),
            None => break got.expect(429),
        }
        if let Some(status) = kept.last() {
            finished(&ehr, status).await;
        }
    };
    assert!(refused.header("retry-after").is_some());
    assert_eq!(kept.len(), 16);
    exported(&world.client("reader").await, "/$export").await;
    ehr.send("DELETE", &kept[3], &[], "").await.expect(202);
    started(&ehr, "GET", "/$export?_type=Patient", String::new()).await;
}
