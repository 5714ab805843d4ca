//! Codes that are found by the value sets that are kept, in every place where a search may stand.

use std::sync::Arc;

use careledger_gateway::records::{Content, Feed as _, Stored};
use serde_json::json;

use super::{filled, ids, listed, observation, put, value_set};
use crate::support::exchange;

#[actix_web::test]
async fn codes_are_found_by_the_value_sets_that_are_kept() {
    let (_world, client) = filled().await;
    for (query, expected) in [
        ("Observation?code:in=ValueSet/ab", "oa ob"),
        ("Observation?code:in=http://vs/ab", "oa ob"),
        ("Observation?code:in=http://vs/ab%7C1", "oa ob"),
        ("Observation?code:not-in=ValueSet/ab", "oc od"),
        ("Observation?code:in=ValueSet/b,ValueSet/expanded", "ob oc"),
        ("Observation?code:not-in=ValueSet/b,ValueSet/expanded", "oa od"),
        ("Observation?code:in=ValueSet/both", "ob"),
        ("Observation?code:in=http://vs/expanded", "oc"),
        ("Observation?code:in=ValueSet/system", "oa ob oc od"),
        ("Observation?code:in=http://vs/editions", "ob"),
        ("Observation?code:in=http://vs/editions%7C1.9", "oa"),
        ("Observation?code:in=http://vs/editions%7C2", "oc"),
        ("Observation?code:in=ValueSet/e3&_sort=-_lastUpdated,_id", "oc"),
        ("Patient?_has:Observation:patient:code:in=ValueSet/b", "p1"),
        ("Patient?_has:Observation:patient:code:in=ValueSet/b&_has:Observation:patient:code:in=ValueSet/e1", "p1"),
        ("Patient/p1/Observation?code:in=ValueSet/b", "ob"),
        ("ValueSet?url=http://vs/editions&status=active", "e1 e2"),
    ] {
        assert_eq!(ids(&client.get(&format!("/{query}")).await.expect(200).json()), expected, "{query}");
    }
    let base =
        client.get("/Observation?_count=0").await.expect(200).json()["link"][0]["url"].as_str().unwrap().to_owned();
    let base = base.split("/Observation").next().unwrap();
    let absolute = format!("/Observation?code:in={base}/ValueSet/ab");
    assert_eq!(ids(&client.get(&absolute).await.expect(200).json()), "oa ob");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let by_post = client.send("POST", "/Observation/_search", &form, "code:in=ValueSet%2Fb").await.expect(200);
    assert_eq!(ids(&by_post.json()), "ob");
    let entry = json!({"request": {"method": "GET", "url": "Observation?code:in=ValueSet/b"}});
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [entry]});
    let answer = client.post("/", batch.to_string()).await.expect(200).json();
    assert_eq!(ids(&answer["entry"][0]["resource"]), "ob");
    // Lines of the access log are in no index, and are compared alike.
    put(&client, &value_set("rest", json!([{"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "concept": [{"code": "rest"}]}]))).await;
    client.get("/Patient/p1").await.expect(200);
    let events = |query: &'static str| client.get(query);
    assert!(!ids(&events("/AuditEvent?type:in=ValueSet/rest").await.expect(200).json()).is_empty());
    assert!(
        ids(&events("/AuditEvent?type:not-in=ValueSet/rest&type:in=ValueSet/rest").await.expect(200).json()).is_empty()
    );
}

#[actix_web::test]
async fn a_value_set_whose_members_are_not_listed_is_refused_with_the_place() {
    let (_world, client) = filled().await;
    let strict = [("prefer", "handling=strict")];
    for (query, code, expression, says) in [
        ("code:in=ValueSet/asked", "not-supported", "ValueSet.compose.include[0].filter", "with its expansion"),
        ("code:not-in=http://vs/asked", "not-supported", "ValueSet.compose.include[0].filter", "list its concepts"),
        (
            "code:in=ValueSet/ab,ValueSet/asked",
            "not-supported",
            "ValueSet.compose.include[0].filter",
            "value set 2 of 2 of code",
        ),
        (
            "code:in=ValueSet/asks",
            "not-supported",
            "ValueSet.compose.include[0].filter",
            "ValueSet.compose.include[0].valueSet[0] > ",
        ),
        ("code:in=ValueSet/lost", "not-supported", "ValueSet.compose.include[0].valueSet[0]", "not kept here"),
        ("code:in=ValueSet/nowhere", "invalid", "", "not kept here"),
        ("code:in=http://vs/ab%7C2", "invalid", "", "not kept here"),
        ("code:in=Patient/p1", "invalid", "", "not kept here"),
        ("code:in=canary", "invalid", "", "not kept here"),
        ("subject.gender:in=ValueSet/nowhere", "invalid", "", "not kept here"),
        ("based-on.code:in=ValueSet/asked", "not-supported", "ValueSet.compose.include[0].filter", "expansion"),
        ("subject:Patient.gender:in=ValueSet/system", "invalid", "", "codes without their system"),
        ("identifier:in=ValueSet/ab", "invalid", "", "holds no codes"),
    ] {
        for headers in [&[][..], &strict] {
            let refused = client.send("GET", &format!("/Observation?{query}"), headers, "").await.expect(400);
            let issue = refused.json()["issue"][0].clone();
            assert_eq!(issue["code"], code, "{query}");
            assert_eq!(issue["expression"][0].as_str().unwrap_or_default(), expression, "{query}");
            let diagnostics = issue["diagnostics"].as_str().unwrap();
            assert!(diagnostics.contains(says) && !refused.text().contains("canary"), "{query}: {diagnostics}");
        }
    }
    // What no parameter is asks for no value set.
    let ignored = client.get("/Observation?color:in=ValueSet/nowhere&code:in=ValueSet/b").await.expect(200).json();
    assert_eq!(ids(&ignored).split(' ').next(), Some("ob"));
}

#[actix_web::test]
async fn a_transaction_searches_by_the_value_sets_that_it_has_written() {
    let (_world, client) = filled().await;
    let mut new = observation("", "b");
    new.as_object_mut().unwrap().remove("id");
    let entries = json!([
        {"resource": new, "request": {"method": "POST", "url": "Observation", "ifNoneExist": "code:in=ValueSet/b"}},
        {"resource": listed("b", &["c"]), "request": {"method": "PUT", "url": "ValueSet/b"}},
        {"request": {"method": "GET", "url": "Observation?code:in=ValueSet/b"}},
        {"request": {"method": "GET", "url": "Observation?code:in=http://vs/b"}},
    ]);
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    let answer = client.post("/", bundle.to_string()).await.expect(200).json();
    assert!(answer["entry"][0]["response"]["status"].as_str().unwrap().starts_with("200"), "its condition came before");
    for entry in [2, 3] {
        assert_eq!(ids(&answer["entry"][entry]["resource"]), "oc", "{entry}");
    }
}

#[actix_web::test]
async fn a_value_set_is_not_taken_by_a_url_that_it_does_not_say_any_more() {
    let (world, client) = filled().await;
    // Where the index is behind the vault: it has `ab` under another URL and version.
    let ab = world.organization.records.read("ValueSet", "ab").await.unwrap();
    for (at, url, version) in [(2, "http://vs/stale", "1"), (3, "http://vs/editions", "3"), (4, "http://vs/ab", "9")] {
        let stale = json!({"resourceType": "ValueSet", "id": "ab", "url": url, "version": version, "status": "active"});
        let stale = Stored { version: at, content: Content::Json(stale.to_string().into()), ..ab.clone() };
        let stale = Arc::new(stale);
        let apply = move |index: &careledger_gateway::index::Index| index.apply(index.applied()?, &[], &[stale]);
        world.organization.index.run(apply).await.unwrap();
        let listed = client.get(&format!("/ValueSet?url={url}&version={version}&_summary=count")).await.expect(200);
        assert_eq!(listed.json()["total"], 1, "{url}");
        // What comes next is used in its place, if there is anything.
        let by_url = client.get(&format!("/Observation?code:in={url}")).await;
        let by_version = client.get(&format!("/Observation?code:in={url}%7C{version}")).await;
        match url {
            "http://vs/stale" => {
                by_url.expect(400);
                by_version.expect(400);
            }
            "http://vs/editions" => {
                assert_eq!(ids(&by_url.expect(200).json()), "ob");
                by_version.expect(400);
            }
            _ => {
                assert_eq!(ids(&by_url.expect(200).json()), "oa ob");
                by_version.expect(400);
            }
        }
    }
}

#[actix_web::test]
async fn conditions_name_value_sets_as_searches_do() {
    let (_world, client) = filled().await;
    let new = |code: &str| {
        let mut new = observation("", code);
        new.as_object_mut().unwrap().remove("id");
        new
    };
    let by = |condition: &str| vec![("if-none-exist", condition.to_owned())];
    let create = async |condition: &str, code: &str| {
        let headers = by(condition);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        client.send("POST", "/Observation", &headers, new(code).to_string()).await
    };
    create("code:in=ValueSet/b", "b").await.expect(200);
    create("code:in=ValueSet/ab", "b").await.expect(412);
    create("code:in=ValueSet/asked", "b").await.expect(400);
    create("code:in=ValueSet/nowhere", "b").await.expect(400);
    put(&client, &listed("new", &["e"])).await;
    create("code:in=ValueSet/new", "e").await.expect(201);
    create("code:in=ValueSet/new", "e").await.expect(200);
    let patch = [("content-type", "application/merge-patch+json")];
    let patched = client.send("PATCH", "/Observation?code:in=ValueSet/b", &patch, r#"{"status":"amended"}"#).await;
    assert_eq!(patched.expect(200).json()["id"], "ob");
    // A reference by condition, which the transaction resolves.
    let report = json!({"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"},
        "result": [{"reference": "Observation?code:in=http://vs/b"}]});
    let entry = json!({"resource": report, "request": {"method": "POST", "url": "DiagnosticReport"}});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]});
    client.post("/", bundle.to_string()).await.expect(200);
    assert!(!ids(&client.get("/DiagnosticReport?result:Observation._id=ob").await.expect(200).json()).is_empty());
    client.send("DELETE", "/Observation?code:in=ValueSet/b", &[], "").await.expect(204);
    assert_eq!(ids(&client.get("/Observation?code:in=ValueSet/ab").await.expect(200).json()), "oa");
    // Neither a transaction nor its writes are there where a set of it is not.
    let entry = |condition: &str| {
        let request = json!({"method": "POST", "url": "Observation", "ifNoneExist": condition});
        json!({"resource": new("f"), "request": request})
    };
    let entries = [entry("code=http://s|f"), entry("code:in=ValueSet/nowhere")];
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    let refused = client.post("/", bundle.to_string()).await.expect(400).json();
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[1]");
    assert_eq!(client.get("/Observation?code=f").await.expect(200).json()["total"], 0);
}

#[actix_web::test]
async fn what_lasts_longer_than_a_search_names_no_value_set() {
    let (world, client) = filled().await;
    let subscription = json!({"resourceType": "Subscription", "status": "requested", "reason": "x",
        "criteria": "Observation?code:in=ValueSet/ab",
        "channel": {"type": "rest-hook", "endpoint": "https://app.example.org/hook"}});
    let refused = client.post("/Subscription", subscription.to_string()).await.expect(422).json();
    assert_eq!(refused["issue"][0]["expression"][0], "Subscription.criteria");
    assert!(refused["issue"][0]["diagnostics"].as_str().unwrap().contains("name the codes"));
    let scope = "system/Observation.rs?code:in=ValueSet/ab";
    let granted = exchange(&world.organization, &world.assertion("ehr"), scope).await;
    assert_eq!(granted, Err("invalid_scope"));
}
