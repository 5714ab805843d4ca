//! How many value sets one request may name, and how much work they may be.

use careledger_gateway::{
    value_sets::{LISTED_BYTES_MAX, SETS_MAX},
    work::Work,
};
use serde_json::{Value, json};

use super::{fill, filled, ids, listed, put, value_set};
use crate::support::{Got, World, at_rest};

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
