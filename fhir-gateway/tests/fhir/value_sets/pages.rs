//! Pages and exports go on with the value sets that they began with.

use careledger_gateway::{
    export::job::{Export, Job, Order, Scope},
    ledger,
    value_sets::{Named, PINS_BYTES_MAX, Pin, Pins, SETS_MAX},
};
use serde_json::{Value, json};

use super::{filled, ids, listed, next, put, value_set};
use crate::{
    export::{finished, lines},
    support::{Client, SCOPE},
};

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
