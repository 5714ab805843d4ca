//! Histories of a resource, a type and everything, page by page.

use serde_json::Value;

use super::{condition, shown, support::world, two_patients};

/// `Type/id/version` of every entry, newest first, over all pages.
async fn all(client: &super::support::Client, path: &str) -> Vec<String> {
    let (mut seen, mut path) = (Vec::new(), path.to_owned());
    loop {
        let bundle = client.get(&path).await.expect(200).json();
        assert_eq!(bundle["type"], "history");
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        seen.extend(entries.iter().map(|entry| {
            let name = entry["fullUrl"].as_str().unwrap().split("/fhir/").nth(1).unwrap().to_owned();
            let version = entry["response"]["etag"].as_str().unwrap().trim_matches(['W', '/', '"']).to_owned();
            format!("{name}/{version}")
        }));
        let links = bundle["link"].as_array().unwrap();
        match links.iter().find(|link| link["relation"] == "next") {
            Some(next) => path = next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned(),
            None => return seen,
        }
    }
}

#[actix_web::test]
async fn histories_list_every_version_of_a_resource_a_type_and_everything() {
    let (_world, ehr, _portal) = two_patients().await;
    ehr.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p1")).await.expect(200);
    ehr.send("DELETE", "/Condition/c-p2", &[], "").await.expect(204);
    let conditions = ["Condition/c-p2/2", "Condition/c-p1/2", "Condition/c-p2/1", "Condition/c-p1/1"];
    assert_eq!(all(&ehr, "/Condition/_history").await, conditions);
    let everything = [&conditions[..3], &["Patient/p2/1", "Condition/c-p1/1", "Patient/p1/1"]].concat();
    assert_eq!(all(&ehr, "/_history").await, everything);
    assert_eq!(all(&ehr, "/Condition/c-p2/_history").await, ["Condition/c-p2/2", "Condition/c-p2/1"]);
    let bundle = ehr.get("/Condition/_history?_count=1").await.expect(200).json();
    assert_eq!(bundle["total"], 4);
    let entry = &bundle["entry"][0];
    assert_eq!((&entry["request"]["method"], &entry["resource"]), (&Value::from("DELETE"), &Value::Null));
    for (path, expected) in [
        ("/_history?_count=1", &everything[..]),
        ("/Condition/_history?_count=3", &conditions),
        ("/Condition/_history?_since=1970", &conditions),
    ] {
        assert_eq!(all(&ehr, path).await, expected, "{path}");
    }
    for path in [
        "/_history?_since=2999",
        "/Condition/_history?_at=1970",
        "/Condition/c-p1/_history?_since=2999-01-01T00:00:00Z",
        "/_history?_count=0",
    ] {
        assert!(all(&ehr, path).await.is_empty(), "{path}");
    }
    // Of each resource the version that is current then.
    let now = all(&ehr, "/Condition/_history?_at=2999").await;
    assert_eq!(now, ["Condition/c-p2/2", "Condition/c-p1/2"]);
}

#[actix_web::test]
async fn a_history_neither_skips_nor_repeats_while_others_write() {
    let world = world().await;
    let client = world.client("ehr").await;
    for round in 0..3 {
        for id in ["a", "b", "c"] {
            let body = format!(r#"{{"resourceType":"Patient","id":"{id}","language":"l{round}"}}"#);
            let expected = if round == 0 { 201 } else { 200 };
            client.send("PUT", &format!("/Patient/{id}"), &[], body).await.expect(expected);
        }
    }
    let expected = all(&client, "/Patient/_history").await;
    let (mut seen, mut path) = (Vec::new(), "/Patient/_history?_count=2".to_owned());
    loop {
        let bundle = client.get(&path).await.expect(200).json();
        seen.extend(bundle["entry"].as_array().unwrap().iter().map(|entry| entry["fullUrl"].clone()));
        client.send("PUT", "/Patient/b", &[], r#"{"resourceType":"Patient","id":"b"}"#).await.expect(200);
        match bundle["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next") {
            Some(next) => path = next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), expected.len());
}

#[actix_web::test]
async fn a_history_survives_a_rebuild_of_the_index() {
    let (world, ehr, _portal) = two_patients().await;
    ehr.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p1")).await.expect(200);
    ehr.send("DELETE", "/Condition/c-p2", &[], "").await.expect(204);
    let before = all(&ehr, "/_history").await;
    world.organization.records.reindex(|_| {}).await.unwrap();
    assert_eq!(all(&ehr, "/_history").await, before);
}

#[actix_web::test]
async fn a_history_tells_nothing_of_what_the_caller_may_not_see() {
    let (_world, ehr, portal) = two_patients().await;
    let own = ["Condition/c-p1/1", "Patient/p1/1"];
    let before = shown(&portal.get("/_history").await.expect(200));
    assert_eq!(all(&portal, "/_history").await, own);
    assert_eq!(all(&portal, "/Condition/_history?_count=1").await, own[..1]);
    // Whatever happens to others changes no byte of it.
    ehr.send("PUT", "/Condition/c-p2", &[], condition("c-p2", "p2")).await.expect(200);
    ehr.send("DELETE", "/Condition/c-p2", &[], "").await.expect(204);
    assert_eq!(shown(&portal.get("/_history").await), before);
    for (denied, absent) in [
        ("/Condition/c-p2/_history", "/Condition/never/_history"),
        ("/Condition/c-p2/_history?_since=1970", "/Condition/never/_history?_since=1970"),
        ("/_history?_cursor=Condition/c-p2/1", "/_history?_cursor=Condition/never/1"),
        ("/Condition/_history?_cursor=Condition/c-p2/1", "/Condition/_history?_cursor=Condition/never/1"),
    ] {
        let (denied, absent) = (portal.get(denied).await, portal.get(absent).await);
        assert_eq!(shown(&denied), shown(&absent));
        assert!(denied.status >= 400);
    }
    // A version about another patient is left out of a resource's own history, and not counted.
    ehr.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p2")).await.expect(200);
    let history = portal.get("/Condition/c-p1/_history").await.expect(200).json();
    assert_eq!((history["total"].as_u64(), history["entry"].as_array().unwrap().len()), (Some(1), 1));
}
