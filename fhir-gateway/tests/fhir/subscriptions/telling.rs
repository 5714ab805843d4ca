//! What is told of what, in which order, and what is decided when it is sent.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{patient, patients, put, quick, resumed, status, subscribed, trusting, until_is};
use crate::{
    condition,
    support::{
        endpoint::{Behaviour, Endpoint},
        opened_with,
    },
};

#[actix_web::test]
async fn what_matches_is_told_in_order_as_it_was_asked_for_and_nothing_else_is() {
    let (whole, xml, empty) = (Endpoint::start(), Endpoint::start(), Endpoint::start());
    let world = trusting(&[&whole, &xml, &empty]).await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    put(&ehr, "before", "p1", "weight").await;
    let criteria = "Observation?code=weight&status=final";
    let id = subscribed(&ehr, criteria, &whole, Some("application/fhir+json")).await;
    subscribed(&ehr, criteria, &xml, Some("application/fhir+xml")).await;
    subscribed(&ehr, criteria, &empty, None).await;
    put(&ehr, "one", "p1", "weight").await;
    put(&ehr, "other", "p1", "height").await;
    ehr.send("PUT", "/Condition/c", &[], condition("c", "p1")).await.expect(201);
    ehr.send("DELETE", "/Observation/before", &[], "").await.expect(204);
    put(&ehr, "two", "p2", "weight").await;
    // It matched as it was, and does not as it is; and then the other way round.
    put(&ehr, "two", "p2", "height").await;
    put(&ehr, "other", "p1", "weight").await;
    let entry = json!({"resource": {"resourceType": "Observation", "status": "final",
        "code": {"coding": [{"code": "weight"}]}}, "request": {"method": "POST", "url": "Observation"}});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry, entry]});
    ehr.post("/", bundle.to_string()).await.expect(200);
    let received = whole.until(5).await;
    let expected = ["PUT /hook/Observation/one", "PUT /hook/Observation/two", "PUT /hook/Observation/other"];
    assert_eq!(whole.lines()[..3], expected);
    for (received, version) in received.iter().zip(["1", "1", "2"]) {
        assert_eq!(received.header("content-type"), Some("application/fhir+json; charset=utf-8"));
        assert_eq!(received.header("authorization"), Some("Bearer canary-secret"));
        let id = received.json()["id"].as_str().unwrap().to_owned();
        let read = ehr.get(&format!("/Observation/{id}/_history/{version}")).await.expect(200);
        assert_eq!(String::from_utf8_lossy(&received.body), read.text(), "the bytes that a read gives");
    }
    let as_xml = xml.until(5).await;
    assert_eq!(as_xml[0].header("content-type"), Some("application/fhir+xml; charset=utf-8"));
    let read = ehr.send("GET", "/Observation/one", &[("accept", "application/fhir+xml")], "").await.expect(200);
    assert_eq!(String::from_utf8_lossy(&as_xml[0].body), read.text());
    for received in empty.until(5).await {
        assert_eq!((received.line.as_str(), received.body.len()), ("POST /hook", 0));
        assert_eq!(received.header("authorization"), Some("Bearer canary-secret"));
    }
    until_is(&ehr, &id, ("active", 5, None)).await;
    assert_eq!([whole.lines().len(), xml.lines().len(), empty.lines().len()], [5, 5, 5]);
}

#[actix_web::test]
async fn what_may_not_be_seen_when_it_is_sent_is_not_sent_and_leaves_no_trace() {
    let endpoint = Endpoint::start();
    let world = patient(&endpoint).await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    patients(&ehr).await;
    let id = subscribed(&portal, "Observation", &endpoint, Some("application/fhir+json")).await;
    // Of another patient nothing is told.
    put(&ehr, "theirs", "p2", "a").await;
    put(&ehr, "mine", "p1", "a").await;
    until_is(&portal, &id, ("active", 1, None)).await;
    endpoint.behave(Behaviour::Status(503));
    put(&ehr, "first", "p1", "a").await;
    let error = "the endpoint answered with status 503";
    until_is(&portal, &id, ("error", 1, Some(error))).await;
    // Between the write and the delivery: moved to somebody else, moved and back, deleted.
    for (id, patient) in
        [("moved", "p1"), ("moved", "p2"), ("back", "p1"), ("back", "p2"), ("back", "p1"), ("gone", "p1")]
    {
        put(&ehr, id, patient, "a").await;
    }
    ehr.send("DELETE", "/Observation/gone", &[], "").await.expect(204);
    put(&ehr, "first", "p2", "a").await;
    put(&ehr, "last", "p1", "a").await;
    assert_eq!(status(&portal, &id).await, ("error".to_owned(), "1".to_owned(), Some(error.to_owned())));
    endpoint.forget();
    endpoint.behave(Behaviour::Status(200));
    resumed(&portal, &id).await;
    until_is(&portal, &id, ("active", 4, None)).await;
    let back = "PUT /hook/Observation/back";
    assert_eq!(endpoint.lines(), [back, back, "PUT /hook/Observation/last"]);
    let versions: Vec<Value> = endpoint.received().iter().map(|one| one.json()["meta"]["versionId"].clone()).collect();
    assert_eq!(versions, ["1", "3", "1"], "the version of p2 is not among them");
}

#[actix_web::test]
async fn criteria_on_another_patient_are_taken_from_a_patients_client_and_tell_it_nothing() {
    let endpoint = Endpoint::start();
    let world = trusting(&[&endpoint]).await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    patients(&ehr).await;
    let criteria = "Observation?patient=Patient/p2,Patient/p9,Patient/p1";
    let id = subscribed(&portal, criteria, &endpoint, None).await;
    put(&ehr, "theirs", "p2", "a").await;
    put(&ehr, "nobodys", "p9", "a").await;
    put(&ehr, "mine", "p1", "a").await;
    endpoint.until(1).await;
    until_is(&portal, &id, ("active", 1, None)).await;
    assert_eq!(endpoint.lines(), ["POST /hook"]);
}

#[actix_web::test]
async fn a_notification_that_fails_is_tried_again_in_order_given_up_and_resumed_by_its_owner() {
    let endpoint = Endpoint::start();
    let (world, ..) = opened_with(|config| {
        quick(config, &[&endpoint]);
        config.subscriptions.attempts_max = 4;
    })
    .await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    let id = subscribed(&ehr, "Observation", &endpoint, Some("application/fhir+json")).await;
    // Down for a while.
    endpoint.behave_at_first([Behaviour::HangsUp, Behaviour::Status(503)]);
    put(&ehr, "a", "p1", "x").await;
    put(&ehr, "b", "p1", "x").await;
    until_is(&ehr, &id, ("active", 2, None)).await;
    assert_eq!(endpoint.lines(), ["a", "a", "a", "b"].map(|id| format!("PUT /hook/Observation/{id}")));
    // Down for good.
    endpoint.behave(Behaviour::Status(500));
    endpoint.forget();
    put(&ehr, "c", "p1", "x").await;
    put(&ehr, "d", "p1", "x").await;
    let said = "the endpoint answered with status 500";
    until_is(&ehr, &id, ("off", 2, Some(said))).await;
    assert_eq!(endpoint.lines(), ["PUT /hook/Observation/c"; 4]);
    let read = ehr.get(&format!("/Subscription/{id}")).await.expect(200);
    let resource = read.json();
    assert_eq!((&resource["status"], &resource["error"]), (&json!("off"), &json!(said)));
    assert_eq!(world.organization.subscriptions.counts.given_up.load(Ordering::Relaxed), 1);
    // What is written while it is off waits, too.
    put(&ehr, "e", "p1", "x").await;
    endpoint.behave(Behaviour::Status(200));
    endpoint.forget();
    let etag = read.header("etag").unwrap().to_owned();
    let patch = [("content-type", "application/json"), ("if-match", etag.as_str())];
    let path = format!("/Subscription/{id}");
    let resumed = ehr.send("PATCH", &path, &patch, r#"{"status":"requested"}"#).await.expect(200);
    assert_eq!((&resumed.json()["status"], &resumed.json()["error"]), (&json!("requested"), &Value::Null));
    until_is(&ehr, &id, ("active", 5, None)).await;
    assert_eq!(endpoint.lines(), ["c", "d", "e"].map(|id| format!("PUT /hook/Observation/{id}")));
    ehr.send("PATCH", &path, &patch, r#"{"status":"off"}"#).await.expect(412);
    // Each is in the access log of its patient once, however often it was tried.
    let log = ehr.get("/AuditEvent?patient=Patient/p1&_count=500").await.expect(200).json();
    let told = log["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]).filter(|event| {
        event["entity"]
            .as_array()
            .unwrap()
            .iter()
            .any(|entity| entity["what"]["reference"] == format!("Subscription/{id}"))
    });
    let mut of: Vec<&str> = Vec::new();
    for event in told {
        assert_eq!((&event["action"], &event["outcome"]), (&json!("R"), &json!("0")));
        assert!(event["meta"]["profile"][0].as_str().unwrap().ends_with("IHE.BasicAudit.PatientRead"));
        of.push(event["entity"][1]["what"]["reference"].as_str().unwrap());
    }
    of.sort_unstable();
    assert_eq!(of, ["a", "b", "c", "d", "e"].map(|id| format!("Observation/{id}/_history/1")));
}

#[actix_web::test]
async fn one_that_is_off_or_removed_is_told_nothing_and_other_criteria_hold_for_what_was_not_told_yet() {
    let endpoint = Endpoint::start();
    let world = patient(&endpoint).await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    let removed = subscribed(&ehr, "Observation?code=a", &endpoint, Some("application/fhir+json")).await;
    let kept = subscribed(&ehr, "Observation?code=b", &endpoint, Some("application/fhir+json")).await;
    endpoint.behave(Behaviour::Status(500));
    put(&ehr, "one", "p1", "a").await;
    put(&ehr, "two", "p1", "b").await;
    for id in [&removed, &kept] {
        until_is(&ehr, id, ("error", 0, Some("the endpoint answered with status 500"))).await;
    }
    ehr.send("DELETE", &format!("/Subscription/{removed}"), &[], "").await.expect(204);
    ehr.get(&format!("/Subscription/{removed}")).await.expect(404);
    ehr.send("DELETE", &format!("/Subscription/{removed}"), &[], "").await.expect(204);
    let path = format!("/Subscription/{kept}");
    let mut body = ehr.get(&path).await.expect(200).json();
    body["status"] = json!("off");
    assert_eq!(ehr.send("PUT", &path, &[], body.to_string()).await.expect(200).json()["status"], "off");
    endpoint.behave(Behaviour::Status(200));
    endpoint.forget();
    put(&ehr, "three", "p1", "a").await;
    put(&ehr, "four", "p1", "c").await;
    (body["criteria"], body["status"]) = (json!("Observation?code=c"), json!("active"));
    ehr.send("PUT", &path, &[], body.to_string()).await.expect(200);
    until_is(&ehr, &kept, ("active", 1, None)).await;
    assert_eq!(endpoint.lines(), ["PUT /hook/Observation/four"]);
}
