//! Subscriptions: who is told of what, what is decided when it is sent, and what an endpoint may do.

use std::{sync::atomic::Ordering, time::Instant};

use careledger_gateway::{
    config::Config,
    vault::{Batch, Durability, Space, Store as _, local::LocalStore},
};
use serde_json::{Value, json};

use super::{
    condition, shown,
    support::{
        Client, World,
        endpoint::{Behaviour, Endpoint, PATIENCE, POLL, until},
        made, opened_with, started,
    },
};

const HEADER: &str = "Authorization: Bearer canary-secret";

/// A world that trusts an endpoint, and does not try a second time before it is told to.
async fn patient(endpoint: &Endpoint) -> World {
    let change = |config: &mut Config| {
        quick(config, &[endpoint]);
        (config.subscriptions.retry_milliseconds, config.subscriptions.retry_seconds_max) = (3_600_000, 3_600);
    };
    opened_with(change).await.0
}

/// A world that trusts these endpoints, and tries quickly.
async fn trusting(endpoints: &[&Endpoint]) -> World {
    opened_with(|config| quick(config, endpoints)).await.0
}

fn quick(config: &mut Config, endpoints: &[&Endpoint]) {
    let settings = &mut config.subscriptions;
    settings.trusted_endpoints = endpoints.iter().map(|endpoint| endpoint.origin()).collect();
    (settings.retry_milliseconds, settings.retry_seconds_max) = (5, 1);
}

fn subscription(criteria: &str, endpoint: &str, payload: Option<&str>) -> Value {
    let mut channel = json!({"type": "rest-hook", "endpoint": endpoint, "header": [HEADER]});
    if let Some(payload) = payload {
        channel["payload"] = json!(payload);
    }
    json!({"resourceType": "Subscription", "status": "requested", "reason": "a test", "criteria": criteria,
        "channel": channel})
}

async fn subscribed(client: &Client, criteria: &str, endpoint: &Endpoint, payload: Option<&str>) -> String {
    let got = client.post("/Subscription", subscription(criteria, &endpoint.url(), payload).to_string()).await;
    let got = got.expect(201);
    assert_eq!(got.header("location").unwrap().rsplit_once('/').unwrap().1, got.id());
    assert_eq!(got.json()["status"], "requested");
    got.id()
}

async fn put(client: &Client, id: &str, patient: &str, code: &str) {
    let body = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [{"code": code}]},
        "subject": {"reference": format!("Patient/{patient}")}, "valueQuantity": {"value": 1.5}});
    let got = client.send("PUT", &format!("/Observation/{id}"), &[], body.to_string()).await;
    assert!([200, 201].contains(&got.status), "{}", got.text());
}

async fn patients(ehr: &Client) {
    for id in ["p1", "p2"] {
        let body = json!({"resourceType": "Patient", "id": id}).to_string();
        ehr.send("PUT", &format!("/Patient/{id}"), &[], body).await.expect(201);
    }
}

/// `$status` of one: its status, what arrived, and the last error.
async fn status(client: &Client, id: &str) -> (String, String, Option<String>) {
    let bundle = client.get(&format!("/Subscription/{id}/$status")).await.expect(200).json();
    let parameters = bundle["entry"][0]["resource"]["parameter"].as_array().unwrap().clone();
    let named = |name: &str| parameters.iter().find(|found| found["name"] == name);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (
        text(&named("status").unwrap()["valueCode"]).unwrap(),
        text(&named("events-since-subscription-start").unwrap()["valueString"]).unwrap(),
        named("error").and_then(|error| text(&error["valueCodeableConcept"]["text"])),
    )
}

/// Waits until a Subscription is so: its status, what arrived, and the last error.
async fn until_is(client: &Client, id: &str, expected: (&str, u64, Option<&str>)) {
    let expected = (expected.0.to_owned(), expected.1.to_string(), expected.2.map(str::to_owned));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = status(client, id).await;
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "it is {found:?}, and not {expected:?}");
        actix_web::rt::time::sleep(POLL).await;
    }
}

/// Has one tried at once, by its owner's word.
async fn resumed(client: &Client, id: &str) {
    let merge = [("content-type", "application/json")];
    let path = format!("/Subscription/{id}");
    client.send("PATCH", &path, &merge, r#"{"status":"requested"}"#).await.expect(200);
}

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

#[actix_web::test]
async fn another_clients_subscription_is_as_absent_as_none() {
    let endpoint = Endpoint::start();
    let world = trusting(&[&endpoint]).await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    patients(&ehr).await;
    let theirs = subscribed(&portal, "Observation", &endpoint, None).await;
    let never = uuid::Uuid::new_v4().to_string();
    let body = |id: &str| {
        let mut body = subscription("Observation", &endpoint.url(), None);
        body["id"] = json!(id);
        body.to_string()
    };
    let merge = [("content-type", "application/json")];
    for (method, end, headers, is_sent) in [
        ("GET", "", &[][..], false),
        ("GET", "/$status", &[], false),
        ("POST", "/$status", &[], false),
        ("PUT", "", &[], true),
        ("PATCH", "", &merge, true),
        ("DELETE", "", &[], false),
        ("DELETE", "", &[("if-match", "W/\"1\"")], false),
        ("GET", "/_history", &[], false),
        ("GET", "/_history/1", &[], false),
    ] {
        let mut answers = Vec::new();
        for id in [&theirs, &never] {
            let text = match (method, is_sent) {
                ("PATCH", _) => r#"{"status":"off"}"#.to_owned(),
                (_, true) => body(id),
                _ => String::new(),
            };
            let got = ehr.send(method, &format!("/Subscription/{id}{end}"), headers, text).await;
            let (status, headers, text) = shown(&got);
            answers.push((status, headers, text.replace(id.as_str(), "ID")));
        }
        assert_eq!(answers[0], answers[1], "{method} {end}");
        assert!(answers[0].0 >= 204 && answers[0].0 != 200, "{method} {end}: {}", answers[0].0);
    }
    for path in [
        format!("/Subscription?_id={theirs}"),
        "/Subscription".to_owned(),
        "/Subscription?status=requested,active".to_owned(),
        format!("/Subscription/$status?id={theirs}"),
        "/Subscription/$status".to_owned(),
    ] {
        assert_eq!(ehr.get(&path).await.expect(200).json()["total"], 0, "{path}");
    }
    for path in ["/_history", "/Patient/p1/*", "/Patient/p1/$everything", "/Patient?_revinclude=*", "/Patient/_history"]
    {
        assert!(!ehr.get(path).await.expect(200).text().contains("canary-secret"), "{path}");
    }
    let found = portal.get(&format!("/Subscription/{theirs}")).await.expect(200);
    assert!(found.text().contains("canary-secret"), "its owner reads what it wrote");
    assert_eq!(found.json()["channel"]["endpoint"], endpoint.url());
    let log = ehr.get("/AuditEvent?_count=500").await.expect(200).text();
    assert!(!log.contains("canary-secret") && !log.contains(&endpoint.url()));
}

#[actix_web::test]
async fn a_client_finds_pages_and_changes_its_own() {
    let endpoint = Endpoint::start();
    let world = trusting(&[&endpoint]).await;
    let ehr = world.client("ehr").await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(subscribed(&ehr, &format!("Observation?code=c{n}"), &endpoint, None).await);
    }
    for id in &ids {
        until_is(&ehr, id, ("active", 0, None)).await;
    }
    let found = |bundle: &Value| -> Vec<String> {
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut pages = Vec::new();
    let mut next = Some("/Subscription?status=active&_count=2".to_owned());
    while let Some(path) = next {
        let page = ehr.get(&path).await.expect(200).json();
        assert_eq!(page["total"], 5);
        pages.push(found(&page));
        let links = page["link"].as_array().unwrap();
        let link = links.iter().find(|link| link["relation"] == "next");
        next = link.map(|link| link["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned());
    }
    assert_eq!(pages, [&ids[..2], &ids[2..4], &ids[4..]]);
    let url = url::form_urlencoded::byte_serialize(endpoint.url().as_bytes()).collect::<String>();
    for (query, expected) in [
        ("criteria=Observation?code=c3".to_owned(), &ids[3..4]),
        (format!("url={url}&type=rest-hook"), &ids[..]),
        ("status=off".to_owned(), &[]),
        (format!("_id={}", ids[1]), &ids[1..2]),
    ] {
        let bundle = ehr.get(&format!("/Subscription?{query}")).await.expect(200).json();
        assert_eq!(found(&bundle), expected, "{query}");
    }
    assert_eq!(ehr.get("/Subscription?_summary=count").await.expect(200).json()["total"], 5);
    let strict = [("prefer", "handling=strict")];
    ehr.send("GET", "/Subscription?_sort=status", &strict, "").await.expect(400);
    let statuses = ehr.get(&format!("/Subscription/$status?id={}&id={}&status=active", ids[0], ids[4])).await;
    assert_eq!(statuses.expect(200).json()["total"], 2);
    // A key stands for one Subscription, and one body.
    let keyed = [("idempotency-key", "one")];
    let body = subscription("Condition", &endpoint.url(), None).to_string();
    let made = ehr.send("POST", "/Subscription", &keyed, body.clone()).await.expect(201).id();
    assert_eq!(ehr.send("POST", "/Subscription", &keyed, body).await.expect(201).id(), made);
    let other = subscription("Patient", &endpoint.url(), None).to_string();
    ehr.send("POST", "/Subscription", &keyed, other.clone()).await.expect(422);
    // Neither by condition nor in a transaction, which is the ledger's.
    ehr.send("POST", "/Subscription", &[("if-none-exist", "status=active")], other.clone()).await.expect(404);
    ehr.send("PUT", "/Subscription?status=active", &[], other.clone()).await.expect(405);
    let entry = json!({"resource": subscription("Patient", &endpoint.url(), None),
        "request": {"method": "POST", "url": "Subscription"}});
    for (kind, expected) in [("transaction", 404), ("batch", 200)] {
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
        let got = ehr.post("/", bundle.to_string()).await.expect(expected);
        if kind == "batch" {
            assert!(got.json()["entry"][0]["response"]["status"].as_str().unwrap().starts_with("201"));
        }
    }
    let mut count = ehr.get("/Subscription").await.expect(200).json()["total"].as_u64().unwrap();
    while count < 20 {
        ehr.post("/Subscription", other.clone()).await.expect(201);
        count += 1;
    }
    ehr.post("/Subscription", other).await.expect(422);
}

#[actix_web::test]
async fn what_cannot_be_done_is_refused_when_it_is_asked_for() {
    let endpoint = Endpoint::start();
    let world = trusting(&[&endpoint]).await;
    let ehr = world.client("ehr").await;
    let with = |place: &str, value: Value| {
        let mut body = subscription("Observation", &endpoint.url(), None);
        *body.pointer_mut(place).unwrap() = value;
        body
    };
    let mut ended = subscription("Observation", &endpoint.url(), None);
    ended["end"] = json!("2020-01-01T00:00:00Z");
    for (body, element) in [
        (with("/channel/type", json!("websocket")), "Subscription.channel.type"),
        (with("/channel/endpoint", json!("http://127.0.0.1:1/hook")), "Subscription.channel.endpoint"),
        (with("/channel/endpoint", json!("https://10.0.0.1/hook")), "Subscription.channel.endpoint"),
        (with("/channel/header", json!(["Host: elsewhere"])), "Subscription.channel.header[0]"),
        (with("/criteria", json!("Observation?color=red")), "Subscription.criteria"),
        (with("/status", json!("error")), "Subscription.status"),
        (with("/status", json!("sleeping")), "Subscription.status"),
        (ended, "Subscription.end"),
    ] {
        let outcome = ehr.post("/Subscription", body.to_string()).await.expect(422).json();
        assert_eq!(outcome["issue"][0]["expression"][0], element, "{body}");
    }
    let unknown = ehr.post("/Subscription", with("/criteria", json!("Observation?color=red")).to_string()).await;
    assert!(unknown.text().contains("color"), "{}", unknown.text());
    let large = with("/reason", json!("r".repeat(70_000))).to_string();
    ehr.post("/Subscription", large).await.expect(413);
    // A token tells of nothing that it may not read and search.
    for scope in
        ["system/Subscription.cruds system/Observation.r", "system/Subscription.cruds", "system/Observation.rs"]
    {
        let token = world.token_for("ehr", scope).await;
        let narrow = world.client("ehr").await.with_token(&token);
        let body = subscription("Observation", &endpoint.url(), None).to_string();
        narrow.post("/Subscription", body).await.expect(403);
    }
    assert_eq!(ehr.get("/Subscription?_summary=count").await.expect(200).json()["total"], 0);
}

#[actix_web::test]
async fn an_endpoint_that_redirects_hangs_or_never_ends_harms_nobody() {
    let [redirecting, silent, endless, elsewhere, good] = [(); 5].map(|()| Endpoint::start());
    let (world, ..) = opened_with(|config| {
        quick(config, &[&redirecting, &silent, &endless, &elsewhere, &good]);
        config.subscriptions.delivery_seconds = 1;
    })
    .await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    redirecting.behave(Behaviour::Redirects(elsewhere.url()));
    silent.behave(Behaviour::Silent);
    endless.behave(Behaviour::Endless);
    let json = Some("application/fhir+json");
    let body = subscription("Observation", "https://localhost/hook", json);
    let inside = ehr.post("/Subscription", body.to_string()).await.expect(201).id();
    let redirected = subscribed(&ehr, "Observation", &redirecting, json).await;
    let unanswered = subscribed(&ehr, "Observation", &silent, json).await;
    let swamped = subscribed(&ehr, "Observation", &endless, json).await;
    let well = subscribed(&ehr, "Observation", &good, json).await;
    for n in 0..3 {
        put(&ehr, &format!("o{n}"), "p1", "x").await;
    }
    until_is(&ehr, &well, ("active", 3, None)).await;
    // Its status is all that is taken of an answer.
    until_is(&ehr, &swamped, ("active", 3, None)).await;
    until_is(&ehr, &redirected, ("error", 0, Some("the endpoint answered with status 307"))).await;
    until_is(&ehr, &unanswered, ("error", 0, Some("the endpoint did not answer in time"))).await;
    until_is(&ehr, &inside, ("error", 0, Some("the endpoint cannot be connected to"))).await;
    assert!(elsewhere.received().is_empty(), "no redirect is followed");
    assert!(redirecting.lines().iter().all(|line| line.ends_with("/o0")), "nothing goes before what waits");
}

#[actix_web::test]
async fn one_whose_end_has_come_is_removed() {
    let endpoint = Endpoint::start();
    let world = trusting(&[&endpoint]).await;
    let ehr = world.client("ehr").await;
    let mut body = subscription("Observation", &endpoint.url(), None);
    let soon = time::OffsetDateTime::now_utc() + time::Duration::seconds(2);
    body["end"] = json!(soon.format(&time::format_description::well_known::Rfc3339).unwrap());
    let id = ehr.post("/Subscription", body.to_string()).await.expect(201).id();
    let path = format!("/Subscription/{id}");
    let deadline = Instant::now() + PATIENCE;
    while ehr.get(&path).await.status != 404 {
        assert!(Instant::now() < deadline, "it is still there");
        actix_web::rt::time::sleep(POLL).await;
    }
    assert_eq!(ehr.get("/Subscription").await.expect(200).json()["total"], 0);
}

#[test]
fn after_a_restart_nothing_is_lost_and_a_client_with_less_is_told_nothing() {
    let (kept, lost) = (Endpoint::start(), Endpoint::start());
    let folder = tempfile::tempdir().unwrap();
    let run = |config: Option<Config>| {
        let (folder, kept, lost) = (folder.path(), &kept, &lost);
        actix_web::rt::System::new().block_on(async move {
            let Some(config) = config else {
                let mut config = made(folder).await;
                quick(&mut config, &[kept, lost]);
                config.subscriptions.attempts_max = 4;
                let (world, _) = started(folder, &config).await;
                let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
                patients(&ehr).await;
                for endpoint in [kept, lost] {
                    endpoint.behave(Behaviour::Status(503));
                }
                subscribed(&ehr, "Observation", kept, Some("application/fhir+json")).await;
                subscribed(&portal, "Observation", lost, Some("application/fhir+json")).await;
                for id in ["a", "b", "c"] {
                    put(&ehr, id, "p1", "x").await;
                }
                kept.until(1).await;
                lost.until(1).await;
                return config;
            };
            let (world, _) = started(folder, &config).await;
            kept.until(3).await;
            let counts = &world.organization.subscriptions.counts;
            until(|| counts.given_up.load(Ordering::Relaxed) == 1).await;
            let ehr = world.client("ehr").await;
            put(&ehr, "d", "p1", "x").await;
            kept.until(4).await;
            config
        })
    };
    let mut config = run(None);
    for endpoint in [&kept, &lost] {
        endpoint.forget();
        endpoint.behave(Behaviour::Status(200));
    }
    // The portal may not search any more.
    config.organizations[0].clients[2].scopes = "patient/*.r".to_owned();
    run(Some(config));
    assert_eq!(kept.lines(), ["a", "b", "c", "d"].map(|id| format!("PUT /hook/Observation/{id}")));
    assert!(lost.received().is_empty(), "{:?}", lost.lines());
}

/// All room could be taken by what one endpoint does not answer, and the turns of those who read by what waited for it.
#[actix_web::test]
async fn an_endpoint_that_takes_its_time_keeps_neither_room_nor_turns_of_others() {
    let (slow, good) = (Endpoint::start(), Endpoint::start());
    let (world, ..) = opened_with(|config| {
        quick(config, &[&slow, &good]);
        // Room for six of these notifications, and no end of waiting.
        (config.subscriptions.bytes_in_flight_max, config.subscriptions.delivery_seconds) = (1_600, 3_600);
    })
    .await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    slow.behave(Behaviour::Silent);
    let json = Some("application/fhir+json");
    for _ in 0..12 {
        subscribed(&ehr, "Observation", &slow, json).await;
    }
    put(&ehr, "before", "p1", "x").await;
    slow.until(1).await;
    let well = subscribed(&ehr, "Observation", &good, json).await;
    for id in ["one", "two", "three"] {
        put(&ehr, id, "p1", "x").await;
    }
    until_is(&ehr, &well, ("active", 3, None)).await;
    assert_eq!(slow.lines(), ["PUT /hook/Observation/before"], "its share is one of these");
}

/// The three were told apart, so that a client could ask for the names and addresses of the gateway's network.
#[actix_web::test]
async fn an_error_tells_no_name_that_is_not_there_from_one_inside_or_a_port_that_is_closed() {
    let good = Endpoint::start();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let origin = format!("http://{closed}");
    let (world, ..) = opened_with(|config| {
        quick(config, &[&good]);
        config.subscriptions.trusted_endpoints.push(origin.clone());
    })
    .await;
    let ehr = world.client("ehr").await;
    patients(&ehr).await;
    let mut made = Vec::new();
    // No name has a part of more than 63 letters.
    let nowhere = format!("https://{}.example/hook", "a".repeat(70));
    for endpoint in ["https://localhost/hook", &nowhere, &origin] {
        let body = subscription("Observation", endpoint, None).to_string();
        made.push(ehr.post("/Subscription", body).await.expect(201).id());
    }
    put(&ehr, "one", "p1", "x").await;
    for id in made {
        until_is(&ehr, &id, ("error", 0, Some("the endpoint cannot be connected to"))).await;
    }
}

/// Runs a gateway over what an earlier one left, until `work` is done.
fn run<T>(folder: &std::path::Path, config: &Config, work: impl AsyncFnOnce(World) -> T) -> T {
    actix_web::rt::System::new().block_on(async {
        let (world, _) = started(folder, config).await;
        work(world).await
    })
}

/// Makes an organization whose vault is a folder.
fn with_a_vault_here(folder: &std::path::Path, endpoints: &[&Endpoint]) -> Config {
    let mut config = actix_web::rt::System::new().block_on(made(folder));
    config.organizations[0].postgres = None;
    quick(&mut config, endpoints);
    config
}

/// One that the vault had no more was tried again and again, and then its Subscriptions were off.
#[test]
fn a_version_that_was_lost_is_passed_over_and_stops_no_subscription() {
    let [all, matching, portals] = [(); 3].map(|()| Endpoint::start());
    let endpoints = [&all, &matching, &portals];
    let folder = tempfile::tempdir().unwrap();
    let config = with_a_vault_here(folder.path(), &endpoints);
    let lost = run(folder.path(), &config, async |world| {
        let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
        patients(&ehr).await;
        for endpoint in endpoints {
            endpoint.behave(Behaviour::Status(503));
        }
        let json = Some("application/fhir+json");
        subscribed(&ehr, "Observation", &all, json).await;
        subscribed(&ehr, "Observation?status=final", &matching, json).await;
        subscribed(&portal, "Observation", &portals, json).await;
        for id in ["a", "b", "c"] {
            put(&ehr, id, "p1", "x").await;
        }
        for endpoint in endpoints {
            endpoint.until(1).await;
        }
        world.organization.records.any_version("Observation", "b", 1).await.unwrap().address
    });
    let vault = LocalStore::open(&config.organizations[0].data.join("vault")).unwrap();
    let mut batch = Batch::default();
    batch.delete(Space::Body, lost.as_bytes());
    futures::executor::block_on(vault.commit(batch, Durability::Synced)).unwrap();
    drop(vault);
    for endpoint in endpoints {
        endpoint.behave(Behaviour::Status(200));
        endpoint.forget();
    }
    run(folder.path(), &config, async |world| {
        let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
        for endpoint in endpoints {
            endpoint.until(2).await;
            assert_eq!(endpoint.lines(), ["a", "c"].map(|id| format!("PUT /hook/Observation/{id}")));
        }
        ehr.get("/Observation/b").await.expect(500);
        let said = "1 versions were lost by this server and passed over";
        // Whoever may not see each version of the type is not told that there was one.
        for (client, expected) in [(&ehr, [Some(said), Some(said)].as_slice()), (&portal, &[None])] {
            let bundle = client.get("/Subscription/$status").await.expect(200).json();
            let ids = bundle["entry"].as_array().unwrap().iter().map(|entry| entry["resource"]["id"].as_str().unwrap());
            for (id, expected) in ids.zip(expected) {
                until_is(client, id, ("active", 2, *expected)).await;
            }
        }
        let counts = &world.organization.subscriptions.counts;
        assert_eq!(counts.lost.load(Ordering::Relaxed), 3);
        put(&ehr, "d", "p1", "x").await;
        all.until(3).await;
    });
}

/// A process that did not know a client yet switched its Subscriptions off at once.
#[test]
fn a_client_that_one_process_does_not_know_yet_is_told_by_the_next() {
    let endpoint = Endpoint::start();
    let folder = tempfile::tempdir().unwrap();
    let config = with_a_vault_here(folder.path(), &[&endpoint]);
    let id = run(folder.path(), &config, async |world| {
        let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
        patients(&ehr).await;
        endpoint.behave(Behaviour::Status(503));
        let id = subscribed(&portal, "Observation", &endpoint, Some("application/fhir+json")).await;
        put(&ehr, "a", "p1", "x").await;
        endpoint.until(1).await;
        id
    });
    endpoint.behave(Behaviour::Status(200));
    endpoint.forget();
    let changes: [fn(&mut Config); 3] = [
        |config| config.organizations[0].clients.truncate(2),
        |config| config.organizations[0].clients[2].scopes = "patient/*.r".to_owned(),
        |config| config.subscriptions.trusted_endpoints.clear(),
    ];
    for change in changes {
        let mut other = config.clone();
        change(&mut other);
        run(folder.path(), &other, async |world| {
            let counts = &world.organization.subscriptions.counts;
            until(|| counts.failed.load(Ordering::Relaxed) > 1).await;
            assert_eq!(counts.given_up.load(Ordering::Relaxed), 0);
        });
    }
    assert!(endpoint.received().is_empty(), "{:?}", endpoint.lines());
    run(folder.path(), &config, async |world| {
        until_is(&world.client("portal").await, &id, ("active", 1, None)).await;
    });
    assert_eq!(endpoint.lines(), ["PUT /hook/Observation/a"]);
}
