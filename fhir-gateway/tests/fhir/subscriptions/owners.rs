//! What a client asks for, and that its Subscriptions are nobody else's.

use std::time::Instant;

use serde_json::{Value, json};

use super::{patients, subscribed, subscription, trusting, until_is};
use crate::{
    shown,
    support::endpoint::{Endpoint, PATIENCE, POLL},
};

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
