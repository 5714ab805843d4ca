//! Searches by value sets that are kept here: wherever a search stands, for whoever may see the set, and as it was
//! when the search began.

use std::{pin::pin, sync::Arc, time::Duration};

use careledger_gateway::{
    export::job::{Export, Job, Order, Scope},
    ledger,
    records::{Content, Feed as _, Stored},
    value_sets::{LISTED_BYTES_MAX, Named, PINS_BYTES_MAX, Pin, Pins, SETS_MAX},
    work::Work,
};
use futures::future::{Either, select};
use serde_json::{Value, json};

use super::{
    export::{finished, lines},
    shown,
    support::{Client, Got, SCOPE, World, at_rest, exchange, world},
};

fn value_set(id: &str, parts: Value) -> Value {
    json!({"resourceType": "ValueSet", "id": id, "url": format!("http://vs/{id}"), "version": "1", "status": "active",
        "compose": {"include": parts}})
}

fn listed(id: &str, codes: &[&str]) -> Value {
    let concepts: Vec<Value> = codes.iter().map(|code| json!({"code": code})).collect();
    value_set(id, json!([{"system": "http://s", "concept": concepts}]))
}

fn observation(id: &str, code: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "status": "final", "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": "http://s", "code": code}]}})
}

async fn put(client: &Client, resource: &Value) {
    let address = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    let got = client.send("PUT", &address, &[], resource.to_string()).await;
    assert!([200, 201].contains(&got.status), "{}", got.text());
}

/// A Patient with Observations `oa` to `od` of the codes `a` to `d`, and the value sets that tests name.
async fn fill(client: &Client) {
    put(client, &json!({"resourceType": "Patient", "id": "p1", "gender": "female"})).await;
    for code in ["a", "b", "c", "d"] {
        put(client, &observation(&format!("o{code}"), code)).await;
    }
    for set in [
        listed("ab", &["a", "b"]),
        listed("b", &["b"]),
        value_set("system", json!([{"system": "http://s"}])),
        value_set("both", json!([{"valueSet": ["http://vs/ab", "http://vs/b|1"]}])),
        value_set(
            "asked",
            json!([{"system": "http://s", "filter": [{"property": "p", "op": "=", "value": "canary"}]}]),
        ),
        value_set("asks", json!([{"valueSet": ["http://vs/asked"]}])),
        value_set("lost", json!([{"valueSet": ["http://vs/nowhere"]}])),
        json!({"resourceType": "ValueSet", "id": "expanded", "url": "http://vs/expanded", "status": "active",
            "compose": {"include": [{"system": "http://s", "filter": [{"property": "p", "op": "=", "value": "q"}]}]},
            "expansion": {"timestamp": "2020-01-01", "contains": [{"abstract": true, "display": "x",
                "contains": [{"system": "http://s", "code": "c"}]}]}}),
    ] {
        put(client, &set).await;
    }
    // Of one canonical URL: drafts wait, and 1.10 comes after 1.9.
    for (id, version, status, code) in
        [("e1", "1.9", "active", "a"), ("e2", "1.10", "active", "b"), ("e3", "2", "draft", "c")]
    {
        let mut set = listed(id, &[code]);
        (set["url"], set["version"], set["status"]) = (json!("http://vs/editions"), json!(version), json!(status));
        put(client, &set).await;
    }
}

async fn filled() -> (World, Client) {
    let world = world().await;
    let client = world.client("ehr").await;
    fill(&client).await;
    (world, client)
}

fn ids(bundle: &Value) -> String {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&str> = entries.iter().filter_map(|entry| entry["resource"]["id"].as_str()).collect();
    ids.join(" ")
}

fn next(bundle: &Value) -> Option<String> {
    let next = bundle["link"].as_array().unwrap().iter().find(|link| link["relation"] == "next")?.clone();
    Some(next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned())
}

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
async fn no_more_value_sets_are_read_than_one_request_may_name() {
    let (_world, client) = filled().await;
    let names = |count: usize| (0..count).map(|n| format!("ValueSet/n{n}")).collect::<Vec<_>>().join(",");
    for n in 0..32 {
        put(&client, &listed(&format!("n{n}"), &["a"])).await;
    }
    assert_eq!(ids(&client.get(&format!("/Observation?code:in={}", names(32))).await.expect(200).json()), "oa");
    let includes: Vec<Value> = (0..31).map(|n| json!({"valueSet": [format!("http://vs/n{n}")]})).collect();
    put(&client, &value_set("many", json!(includes))).await;
    assert_eq!(ids(&client.get("/Observation?code:in=ValueSet/many").await.expect(200).json()), "oa");
    let absent: Vec<Value> = (0..200).map(|n| json!({"valueSet": [format!("http://vs/absent-{n}")]})).collect();
    put(&client, &value_set("absent", json!(absent))).await;
    for query in [
        format!("code:in={}", names(33)),
        "code:in=ValueSet/many,ValueSet/ab".to_owned(),
        "code:in=ValueSet/absent".to_owned(),
    ] {
        let refused = client.get(&format!("/Observation?{query}")).await.expect(400);
        assert_eq!(refused.json()["issue"][0]["code"], "too-costly", "{query}");
        assert!(refused.text().contains("more than 32"), "{query}: {}", refused.text());
    }
}

#[actix_web::test]
async fn for_more_names_or_longer_ones_than_a_search_may_list_nothing_is_looked_up() {
    let world = at_rest().await;
    let client = world.client("ehr").await;
    let many: Vec<String> = (0..=SETS_MAX).map(|n| format!("ValueSet/n{n}")).collect();
    let often = vec![format!("http://vs/{}", "l".repeat(900)); LISTED_BYTES_MAX / 900].join(",");
    let long = format!("http://vs/{}", "l".repeat(1_000));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let of_parameter = |name: &str, names: &str| format!("{name}={names}");
    let reference = work_of(&world, client.send("POST", "/Observation/_search", &form, "code:in=canary")).await;
    for (body, code) in [
        (of_parameter("code:in", &many.join(",")), "too-costly"),
        (of_parameter("subject:Patient.gender:not-in", &often), "too-costly"),
        (of_parameter("code:in", &long), "invalid"),
    ] {
        let refused = client.send("POST", "/Observation/_search", &form, body.clone()).await.expect(400);
        assert_eq!(refused.json()["issue"][0]["code"], code);
        // As for what names nothing at all.
        let work = work_of(&world, client.send("POST", "/Observation/_search", &form, body)).await;
        assert_eq!(work, reference, "{code}");
    }
}

/// What is looked up and written for a request.
async fn work_of(world: &World, request: impl Future<Output = Got>) -> Work {
    let before = world.organization.work();
    request.await;
    world.organization.work() - before
}

#[actix_web::test]
async fn a_value_set_that_asks_for_too_much_work_is_refused_with_the_place() {
    let (_world, client) = filled().await;
    put(&client, &value_set("often", json!([{"valueSet": vec!["http://vs/ab"; 1_001]}]))).await;
    put(&client, &value_set("of-often", json!([{"valueSet": ["http://vs/often"]}]))).await;
    for (query, diagnostics) in [
        ("code:in=ValueSet/often", "ValueSet.compose.include[0].valueSet[1000]: "),
        (
            "code:not-in=http://vs/of-often",
            "ValueSet.compose.include[0].valueSet[0] > ValueSet.compose.include[0].valueSet[",
        ),
        ("code:in=ValueSet/ab,ValueSet/often", "value set 2 of 2 of code"),
    ] {
        let refused = client.get(&format!("/Observation?{query}")).await.expect(400).json();
        let issue = &refused["issue"][0];
        assert_eq!(issue["code"], "too-costly", "{query}");
        assert!(
            issue["expression"][0].as_str().unwrap().starts_with("ValueSet.compose.include[0].valueSet["),
            "{query}"
        );
        assert!(issue["diagnostics"].as_str().unwrap().contains(diagnostics), "{query}: {issue}");
    }
    // Ten times each set of the same four: each is told once.
    put(&client, &value_set("ten", json!([{"valueSet": vec!["http://vs/both"; 10]}]))).await;
    assert_eq!(ids(&client.get("/Observation?code:in=ValueSet/ten").await.expect(200).json()), "ob");
}

fn batch(urls: &[String]) -> String {
    let entries: Vec<Value> = urls.iter().map(|url| json!({"request": {"method": "GET", "url": url}})).collect();
    json!({"resourceType": "Bundle", "type": "batch", "entry": entries}).to_string()
}

#[actix_web::test]
async fn entries_of_a_bundle_share_what_was_found_of_value_sets() {
    let world = at_rest().await;
    let client = world.client("ehr").await;
    fill(&client).await;
    let by = |query: &str, times: usize| batch(&vec![format!("Observation?{query}"); times]);
    let one_more = async |query: &str| {
        let once = work_of(&world, client.post("/", by(query, 1))).await;
        work_of(&world, client.post("/", by(query, 2))).await - once
    };
    let by_code = one_more("code=http://s%7Cb").await;
    for set in ["ValueSet/both", "http://vs/both", "ValueSet/b,http://vs/b%7C1"] {
        let by_set = one_more(&format!("code:in={set}")).await;
        assert_eq!((by_set.vault_reads, by_set.index_reads), (by_code.vault_reads, by_code.index_reads), "{set}");
    }
    // One that is included was told already for another one that includes it.
    let urls = ["ValueSet/both", "ValueSet/b"].map(|set| format!("Observation?code:in={set}"));
    let both = work_of(&world, client.post("/", batch(&urls))).await;
    let first = work_of(&world, client.post("/", batch(&urls[..1]))).await;
    assert!((both - first).vault_bytes < by_code.vault_bytes + 2_000, "{both:?} {first:?}");
}

#[actix_web::test]
async fn all_entries_of_a_bundle_have_one_budget() {
    let (_world, client) = filled().await;
    let query = |entry: usize| {
        let names: Vec<String> = (0..SETS_MAX).map(|n| format!("ValueSet/n{entry}-{n}")).collect();
        format!("Observation?code:in={}", names.join(","))
    };
    // Not one of them is there, and 33 times 32 are more than 1,000.
    let mut urls: Vec<String> = (0..33).map(query).collect();
    urls.push("Observation?code:in=ValueSet/b".to_owned());
    urls.push("Observation?code=b".to_owned());
    let answer = client.post("/", batch(&urls)).await.expect(200).json();
    let codes: Vec<&str> = (0..34)
        .map(|at| answer["entry"][at]["response"]["outcome"]["issue"][0]["code"].as_str().unwrap_or("found"))
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == "invalid").count(), 31, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == "too-costly").count(), 3, "{codes:?}");
    assert_eq!(ids(&answer["entry"][34]["resource"]), "ob", "what names no value set is answered");
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
async fn value_sets_that_are_large_wait_for_room_and_small_ones_for_nobody() {
    let (world, client) = filled().await;
    let codes: Vec<String> = (0..3_000).map(|n| format!("none-{n}")).chain(["d".to_owned()]).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    put(&client, &listed("large", &codes)).await;
    // Each is small, and all of them are not.
    for n in 0..9 {
        put(&client, &listed(&format!("part{n}"), &codes[n * 300..(n + 1) * 300])).await;
    }
    let parts: Vec<String> = (0..9).map(|n| format!("ValueSet/part{n}")).collect();
    let all_of_it = world.organization.value_sets.admit(usize::MAX).await;
    assert!(all_of_it.is_some());
    let large = [("ValueSet/large".to_owned(), "od"), (parts.join(",") + ",ValueSet/b", "ob")];
    for (sets, _) in &large {
        let address = format!("/Observation?code:in={sets}");
        let mut waits = pin!(client.get(&address));
        for _ in 0..10 {
            let small = pin!(client.get("/Observation?code:in=ValueSet/b"));
            match select(&mut waits, small).await {
                Either::Right((small, _)) => assert_eq!(ids(&small.expect(200).json()), "ob"),
                Either::Left((found, _)) => panic!("{sets} was read where there is no room: {}", found.text()),
            }
        }
    }
    drop(all_of_it);
    for (sets, expected) in large {
        let found = client.get(&format!("/Observation?code:in={sets}")).await.expect(200).json();
        assert_eq!(ids(&found), expected, "{sets}");
    }
}

#[actix_web::test]
async fn who_waits_for_room_for_value_sets_holds_no_condition_that_others_wait_for() {
    let (world, client) = filled().await;
    let codes: Vec<String> = (0..3_000).map(|n| format!("none-{n}")).chain(["d".to_owned()]).collect();
    let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
    put(&client, &listed("large", &codes)).await;
    let new = |code: &str| {
        let mut new = observation("", code);
        new.as_object_mut().unwrap().remove("id");
        new
    };
    let entry = |resource: &Value, condition: &str| {
        let request = json!({"method": "POST", "url": resource["resourceType"], "ifNoneExist": condition});
        json!({"resource": resource, "request": request})
    };
    let mut report = json!({"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "x"}});
    report["result"] = json!([{"reference": "Observation?code:in=ValueSet/large"}]);
    for (code, by_set) in
        [("x", entry(&new("d"), "code:in=ValueSet/large")), ("y", entry(&report, "identifier=http://reports|1"))]
    {
        let condition = format!("code=http://s|{code}");
        let entries = [by_set, entry(&new(code), &condition)];
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).to_string();
        let all_of_it = world.organization.value_sets.admit(usize::MAX).await;
        let mut waits = pin!(client.post("/", bundle));
        for _ in 0..10 {
            let small = pin!(client.get("/Observation?code:in=ValueSet/b"));
            match select(&mut waits, small).await {
                Either::Right((small, _)) => assert_eq!(ids(&small.expect(200).json()), "ob"),
                Either::Left((answer, _)) => panic!("answered where there is no room: {}", answer.text()),
            }
        }
        let headers = [("if-none-exist", condition.as_str())];
        let other = pin!(client.send("POST", "/Observation", &headers, new(code).to_string()));
        let other = tokio::time::timeout(Duration::from_secs(60), select(&mut waits, other)).await;
        match other.expect("it waits for no room") {
            Either::Right((created, _)) => drop(created.expect(201)),
            Either::Left((answer, _)) => panic!("answered where there is no room: {}", answer.text()),
        }
        drop(all_of_it);
        let answer = waits.await.expect(200).json();
        assert!(answer["entry"][1]["response"]["status"].as_str().unwrap().starts_with("200"), "{answer}");
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
async fn the_link_of_a_next_page_is_short_however_many_value_sets_a_search_has() {
    let (_world, client) = filled().await;
    let id = |n: usize| format!("{n:0>64}");
    for n in 1..SETS_MAX {
        let mut set = listed(&id(n), &["a", "b"]);
        set["url"] = json!(format!("http://vs/{n}"));
        put(&client, &set).await;
    }
    let includes: Vec<Value> =
        (1..SETS_MAX).map(|n| json!({"valueSet": [format!("http://vs/{n}"), format!("http://vs/{n}|1")]})).collect();
    put(&client, &value_set(&id(0), json!(includes))).await;
    let began = client.get(&format!("/Observation?code:in=ValueSet/{}&_count=1", id(0))).await.expect(200).json();
    let link = next(&began).unwrap();
    assert!(link.len() < PINS_BYTES_MAX * 4 / 3 + 500, "{}", link.len());
    assert_eq!(ids(&client.get(&link).await.expect(200).json()), "ob");
}

/// Status, headers and body, without the name that was asked for; and the work that it was.
async fn told(world: &World, client: &Client, door: &Door, id: &str) -> (u16, Vec<(String, String)>, String, String) {
    let filled = |text: &str| text.replace("{id}", id);
    let before = world.organization.work();
    let headers: Vec<(&str, String)> = door.headers.iter().map(|(name, value)| (*name, filled(value))).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let got: Got = client.send(door.method, &filled(&door.path), &headers, filled(&door.body)).await;
    let work = format!("{:?}", world.organization.work() - before);
    let (status, headers, text) = shown(&got);
    let headers = headers.into_iter().map(|(name, value)| (name, value.replace(id, "{id}"))).collect();
    (status, headers, text.replace(id, "{id}"), work)
}

struct Door {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn doors() -> Vec<Door> {
    let door = |method, path: &str, headers, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Door { method, path: path.to_owned(), headers, body }
    };
    let new = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}});
    let mut doors: Vec<Door> = [
        "/Observation?code:in=ValueSet/{id}",
        "/Observation?code:not-in=ValueSet/{id}",
        "/Observation?code:in=http://vs/{id}",
        "/Observation?code:in=http://vs/{id}%7C1&_summary=count",
        "/Observation?code:in=ValueSet/seen,ValueSet/{id}",
        "/Patient?_has:Observation:patient:code:in=ValueSet/{id}",
        "/DiagnosticReport?result.code:in=ValueSet/{id}",
        "/Observation?code:in=ValueSet/of-{id}",
    ]
    .map(|path| door("GET", path, Vec::new(), &Value::Null))
    .into();
    doors.push(door("POST", "/Observation", vec![("if-none-exist", "code:in=ValueSet/{id}".to_owned())], &new));
    doors.push(door("PUT", "/Observation?code:in=ValueSet/{id}", Vec::new(), &new));
    doors.push(door("DELETE", "/Observation?code:in=http://vs/{id}", Vec::new(), &Value::Null));
    let asynchronous = vec![("prefer", "respond-async".to_owned())];
    let filter = "/$export?_type=Observation&_typeFilter=Observation%3Fcode:in%3DValueSet/{id}";
    doors.push(door("GET", filter, asynchronous, &Value::Null));
    for kind in ["batch", "transaction"] {
        let request = json!({"method": "POST", "url": "Observation", "ifNoneExist": "code:in=ValueSet/{id}"});
        let entry = json!({"resource": new, "request": request});
        let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
        doors.push(door("POST", "/", Vec::new(), &bundle));
    }
    doors
}

#[actix_web::test]
async fn a_value_set_that_the_caller_may_not_see_is_as_absent() {
    let world = at_rest().await;
    let ehr = world.client("ehr").await;
    fill(&ehr).await;
    put(&ehr, &listed("seen", &["a"])).await;
    let mut hidden = listed("hidden", &["a"]);
    hidden["status"] = json!("draft");
    put(&ehr, &hidden).await;
    // Who may see these may not see what they include.
    for id in ["hidden", "absent"] {
        put(&ehr, &value_set(&format!("of-{id}"), json!([{"valueSet": [format!("http://vs/{id}")]}]))).await;
    }
    let rest = "Observation.cruds {}/Patient.rs {}/DiagnosticReport.rs";
    let scopes = |level: &str, sets: &str| format!("{level}/{} {sets}", rest.replace("{}", level));
    let limited = world.token_for("ehr", &scopes("system", "system/ValueSet.rs?status=active")).await;
    let limited = Client::of(&world.gateway, limited).await;
    let portal = world.token_for("portal", &scopes("patient", "patient/ValueSet.rs")).await;
    let portal = Client::of(&world.gateway, portal).await;
    for door in doors() {
        for (who, client) in [("limited", &limited), ("portal", &portal)] {
            let denied = told(&world, client, &door, "hidden").await;
            let absent = told(&world, client, &door, "absent").await;
            assert_eq!(denied, absent, "{who} {} {}", door.method, door.path);
            let is_refused = (400..405).contains(&absent.0) || absent.2.contains("\"400 ");
            assert!(is_refused, "{who} {} {}: {absent:?}", door.method, door.path);
        }
    }
    assert_eq!(ids(&limited.get("/Observation?code:in=ValueSet/seen").await.expect(200).json()), "oa");
    assert_eq!(ids(&ehr.get("/Observation?code:in=ValueSet/of-hidden").await.expect(200).json()), "oa");
    // Without a scope on value sets there is nothing to look for, whatever the name.
    let none = Client::of(&world.gateway, world.token_for("ehr", &scopes("system", "")).await).await;
    for door in doors() {
        let answers = [told(&world, &none, &door, "hidden").await, told(&world, &none, &door, "absent").await];
        assert_eq!(answers[0], answers[1], "{} {}", door.method, door.path);
        let is_refused = answers[0].0 == 403 || answers[0].2.contains("\"403 ");
        assert!(is_refused && answers[0].2.contains("system/ValueSet.s"), "{} {:?}", door.path, answers[0]);
    }
}

#[actix_web::test]
async fn pages_keep_the_value_sets_that_their_search_began_with() {
    let (_world, client) = filled().await;
    for (query, changed) in [
        ("code:in=ValueSet/ab", listed("ab", &["c", "d"])),
        ("code:in=http://vs/both-of&_sort=-_id", listed("part", &["d"])),
        ("code:in=http://vs/newest&_sort=code,-_id", listed("later", &["d"])),
        ("code:not-in=ValueSet/cd&_sort=-_lastUpdated", listed("cd", &["a", "b"])),
    ] {
        put(&client, &listed("ab", &["a", "b"])).await;
        put(&client, &listed("part", &["a", "b"])).await;
        put(&client, &value_set("both-of", json!([{"valueSet": ["http://vs/part"]}]))).await;
        put(&client, &listed("cd", &["c", "d"])).await;
        let mut newest = listed("earlier", &["a", "b"]);
        newest["url"] = json!("http://vs/newest");
        put(&client, &newest).await;
        let mut changed = changed;
        if query.contains("newest") {
            (changed["url"], changed["version"]) = (json!("http://vs/newest"), json!("2"));
        }
        let began = client.get(&format!("/Observation?{query}&_count=1")).await.expect(200).json();
        assert_eq!(began["total"], 2, "{query}");
        put(&client, &changed).await;
        let link = next(&began).unwrap();
        let page = client.get(&link).await.expect(200).json();
        assert_eq!(page["total"], 2, "{query}");
        let mut seen = [ids(&began), ids(&page)];
        seen.sort();
        assert_eq!(seen, ["oa", "ob"], "{query}");
        assert_eq!(next(&page), None, "{query}");
        // What begins now sees what is now.
        let anew = ids(&client.get(&format!("/Observation?{query}")).await.expect(200).json());
        assert!(!anew.contains("oa"), "{query}: {anew}");
        let address = format!("/ValueSet/{}", changed["id"].as_str().unwrap());
        client.send("DELETE", &address, &[], "").await.expect(204);
        assert_eq!(ids(&client.get(&link).await.expect(200).json()), ids(&page), "{query}, after it was deleted");
    }
}

#[actix_web::test]
async fn a_page_does_not_go_on_with_a_value_set_that_is_out_of_sight_by_now() {
    let (world, ehr) = filled().await;
    let scopes = "system/Observation.rs system/ValueSet.rs?status=active";
    let limited = Client::of(&world.gateway, world.token_for("ehr", scopes).await).await;
    let began = limited.get("/Observation?code:in=ValueSet/ab&_count=1").await.expect(200).json();
    let link = next(&began).unwrap();
    limited.get(&link).await.expect(200);
    let mut retired = listed("ab", &["a", "b"]);
    retired["status"] = json!("retired");
    put(&ehr, &retired).await;
    let refused = limited.get(&link).await.expect(400);
    let absent = limited.get("/Observation?code:in=ValueSet/never").await.expect(400);
    assert_eq!(refused.json()["issue"], absent.json()["issue"]);
    // A name that the search did not begin with means nothing on its pages.
    let other = link.replace("ValueSet%2Fab", "ValueSet%2Fb").replace("ValueSet/ab", "ValueSet/b");
    assert_ne!(other, link);
    limited.get(&other).await.expect(400);
}

#[actix_web::test]
async fn pages_of_a_search_by_large_value_sets_cost_no_more_where_a_scope_has_search_parameters() {
    let (world, ehr) = filled().await;
    // With what is shown of its codes: more than half of what one request reads, and twice three eighths.
    let long = |id: &str, bytes: usize| {
        let mut set = listed(id, &["a", "b", "c", "d"]);
        for at in 0..4 {
            set["compose"]["include"][0]["concept"][at]["display"] = json!("x".repeat(bytes / 4));
        }
        set
    };
    const MIB: usize = 1024 * 1024;
    for (id, bytes) in [("long", 4 * MIB - 64), ("one", 3 * MIB), ("other", 3 * MIB)] {
        put(&ehr, &long(id, bytes)).await;
    }
    let scopes = "system/Observation.rs system/ValueSet.rs?status=active";
    let limited = Client::of(&world.gateway, world.token_for("ehr", scopes).await).await;
    for sets in ["ValueSet/long", "ValueSet/one,ValueSet/other"] {
        let mut page = limited.get(&format!("/Observation?code:in={sets}&_count=2")).await.expect(200).json();
        let mut found = vec![ids(&page)];
        while let Some(link) = next(&page) {
            page = limited.get(&link).await.expect(200).json();
            found.push(ids(&page));
        }
        assert_eq!(found, ["oa ob", "oc od"], "{sets}");
    }
    // Where it was changed meanwhile, what is read is what the search began with.
    let began = limited.get("/Observation?code:in=ValueSet/one,ValueSet/other&_count=2").await.expect(200).json();
    put(&ehr, &long("other", 3 * MIB + 4)).await;
    assert_eq!(ids(&limited.get(&next(&began).unwrap()).await.expect(200).json()), "oc od");
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

/// What is in an export's files, once it is complete.
async fn exported(client: &Client, id: &str) -> Vec<String> {
    let manifest = finished(client, &format!("/bulk/{id}")).await;
    lines(client, &manifest, "output").await
}

#[actix_web::test]
async fn an_export_keeps_the_value_sets_that_it_was_asked_for_with() {
    let (world, client) = filled().await;
    let filter = "_type=Observation&_typeFilter=Observation%3Fcode:in%3DValueSet/ab";
    let asynchronous = [("prefer", "respond-async")];
    let started = client.send("GET", &format!("/$export?{filter}"), &asynchronous, "").await.expect(202);
    let at = started.header("content-location").unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(exported(&client, &at).await, ["Observation/oa", "Observation/ob"]);
    for wrong in ["ValueSet/asked", "ValueSet/nowhere", "http://vs/lost"] {
        let path = format!("/$export?_type=Observation&_typeFilter=Observation%3Fcode:in%3D{wrong}");
        client.send("GET", &path, &asynchronous, "").await.expect(400);
    }
    // As one that goes on after the set was changed.
    put(&client, &listed("ab", &["c"])).await;
    let named = Named::read("ValueSet/ab", &world.organization.base_url).unwrap();
    for (id, version, expected) in
        [("then", 1, vec!["Observation/oa", "Observation/ob"]), ("now", 2, vec!["Observation/oc"])]
    {
        let mut sets = Pins::default();
        sets.insert(&named, Pin { id: "ab".to_owned(), version });
        let order = Order {
            scope: Scope::System,
            request: String::new(),
            types: vec!["Observation".to_owned()],
            filters: vec![("Observation".to_owned(), "code:in=ValueSet/ab".to_owned())],
            since: None,
            elements: Vec::new(),
            patients: None,
            sets,
            waiting: Vec::new(),
        };
        let job = Job::new(id.to_owned(), "ehr".to_owned(), SCOPE.to_owned(), ledger::clock() + 3_600);
        world.organization.exports.begin(&Export { order, job }).await.unwrap();
        assert_eq!(exported(&client, id).await, expected, "{id}");
    }
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
