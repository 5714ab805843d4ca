//! Large value sets wait for room in memory, and hold up nobody else.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};
use serde_json::{Value, json};

use super::{filled, ids, listed, observation, put};

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
