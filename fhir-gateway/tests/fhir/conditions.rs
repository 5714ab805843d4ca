//! Writes by condition, and what must hold before a write or a read.

use std::{collections::BTreeSet, sync::Arc};

use careledger_gateway::server::Gateway;
use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    condition, shown,
    support::{self, BODY_BYTES_MAX, Client, world},
    two_patients,
};

fn patient(id: Option<&str>, mrn: &str, gender: &str) -> String {
    let mut patient =
        json!({"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": mrn}], "gender": gender});
    if let Some(id) = id {
        patient["id"] = json!(id);
    }
    patient.to_string()
}

#[actix_web::test]
async fn a_conditional_update_creates_replaces_or_refuses() {
    let world = world().await;
    let client = world.client("ehr").await;
    let put = |query: &'static str, body: String| client.send("PUT", query, &[], body);
    let created = put("/Patient?identifier=urn:mrn|7", patient(None, "7", "male")).await.expect(201);
    let id = created.id();
    let updated = put("/Patient?identifier=urn:mrn|7", patient(None, "7", "other")).await.expect(200);
    assert_eq!((updated.id(), updated.header("etag")), (id.clone(), Some("W/\"2\"")));
    put("/Patient?identifier=urn:mrn|7", patient(Some(&id), "7", "female")).await.expect(200);
    put("/Patient?identifier=urn:mrn|7", patient(Some("another"), "7", "male")).await.expect(400);
    // Nothing meets it: the body's id is taken, unless it is somebody's.
    put("/Patient?identifier=urn:mrn|8", patient(Some("p8"), "8", "male")).await.expect(201);
    put("/Patient?identifier=urn:mrn|9", patient(Some("p8"), "9", "male")).await.expect(409);
    client.post("/Patient", patient(None, "7", "male")).await.expect(201);
    put("/Patient?identifier=urn:mrn|7", patient(None, "7", "male")).await.expect(412);
    put("/Patient?color=red", patient(None, "7", "male")).await.expect(400);
    put("/Patient", patient(None, "7", "male")).await.expect(400);
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 3);
    let stale = [("if-match", "W/\"1\"")];
    client.send("PUT", "/Patient?_id=p8", &stale, patient(None, "8", "other")).await.expect(200);
    client.send("PUT", "/Patient?_id=p8", &stale, patient(None, "8", "male")).await.expect(412);
    client.send("PUT", "/Patient?_id=never", &stale, patient(None, "8", "male")).await.expect(412);
}

#[actix_web::test]
async fn racing_conditional_updates_give_one_resource() {
    let world = world().await;
    let client = world.client("ehr").await;
    let answers =
        join_all((0..8).map(|_| client.send("PUT", "/Patient?identifier=urn:mrn|7", &[], patient(None, "7", "male"))));
    let answers = answers.await;
    assert_eq!(answers.iter().filter(|got| got.status == 201).count(), 1);
    assert!(answers.iter().all(|got| matches!(got.status, 200 | 201)));
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 1);
}

/// Two gateways that hold no locks against one another: what is left is the order of the ledger, which
/// anchors the id of a condition once.
#[actix_web::test]
async fn sixteen_racing_conditional_creates_on_two_gateways_give_one_resource_a_hundred_times() {
    let world = world().await;
    let one = world.client("ehr").await;
    let other = Gateway::new([Arc::clone(&world.organization)], BODY_BYTES_MAX);
    let other = Client::of(&Arc::new(other), world.token("ehr").await).await;
    race_a_hundred_times([&one, &other]).await;
}

/// Sixteen creates at once through two clients, by a condition that is written in two ways: of each race one
/// creates, and the others find what it created.
pub async fn race_a_hundred_times(clients: [&Client; 2]) {
    for race in 0..100 {
        let mrn = format!("race-{race}");
        let conditions = [format!("identifier=urn:mrn|{mrn}"), format!("?identifier=urn%3Amrn%7C{mrn}")];
        let send = |number: usize| {
            let headers = [("if-none-exist", conditions[number / 2 % 2].as_str())];
            let (client, body) = (clients[number % 2], patient(None, &mrn, "male"));
            async move { client.send("POST", "/Patient", &headers, body).await }
        };
        let answers = join_all((0..16).map(send)).await;
        let mut statuses: Vec<u16> = answers.iter().map(|got| got.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [vec![200; 15], vec![201]].concat(), "race {race}");
        let ids: BTreeSet<String> = answers.iter().map(support::Got::id).collect();
        assert_eq!(ids.len(), 1, "race {race}");
    }
    for client in clients {
        assert_eq!(client.get("/Patient?_summary=count").await.expect(200).json()["total"], 100);
    }
}

#[actix_web::test]
async fn a_condition_creates_anew_once_what_it_created_is_gone_or_says_something_else() {
    let world = world().await;
    let client = world.client("ehr").await;
    let by = [("if-none-exist", "identifier=urn:mrn|7")];
    let create = || client.send("POST", "/Patient", &by, patient(None, "7", "male"));
    let first = create().await.expect(201).id();
    assert_eq!(create().await.expect(200).id(), first);
    client.send("DELETE", &format!("/Patient/{first}"), &[], "").await.expect(204);
    let second = create().await.expect(201).id();
    client.send("PUT", &format!("/Patient/{second}"), &[], patient(Some(&second), "8", "male")).await.expect(200);
    let third = create().await.expect(201).id();
    assert_eq!(BTreeSet::from([&first, &second, &third]).len(), 3);
    // The resource need not meet its own condition; then every create is one.
    let elsewhere =
        || client.send("POST", "/Patient", &[("if-none-exist", "identifier=urn:mrn|x")], patient(None, "9", "male"));
    assert_ne!(elsewhere().await.expect(201).id(), elsewhere().await.expect(201).id());
    // Two entries of one transaction, by one condition that nothing meets.
    let entry = json!({"resource": {"resourceType": "Patient"},
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:mrn|y"}});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry, entry]});
    client.post("/", bundle.to_string()).await.expect(200);
}

/// HAPI's client sends the address of the search where FHIR asks for its criteria alone.
#[actix_web::test]
async fn a_condition_that_is_a_whole_address_was_refused() {
    let world = world().await;
    let client = world.client("ehr").await;
    let create = async |condition: &str| {
        client.send("POST", "/Patient", &[("if-none-exist", condition)], patient(None, "7", "male")).await
    };
    let first = create("http://localhost/hospital/fhir/Patient?identifier=urn%3Amrn%7C7").await.expect(201).id();
    assert_eq!(create("Patient?identifier=urn:mrn|7").await.expect(200).id(), first);
    assert_eq!(create("identifier=urn:mrn|7").await.expect(200).id(), first);
    create("http://localhost/hospital/fhir/Group?identifier=urn:mrn|7").await.expect(400);
    let bundle = |condition: &str| {
        let entry = json!({"resource": {"resourceType": "Patient"},
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": condition}});
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).to_string()
    };
    let answer = client.post("/", bundle("Patient?identifier=urn:mrn|7")).await.expect(200).json();
    assert_eq!(answer["entry"][0]["response"]["status"], "200 OK");
    let refused = client.post("/", bundle("Group?identifier=urn:mrn|7")).await.expect(422);
    assert!(refused.text().contains("Bundle.entry[0].request.ifNoneExist"), "{}", refused.text());
}

#[actix_web::test]
async fn a_conditional_delete_ends_one_resource_or_none() {
    let world = world().await;
    let client = world.client("ehr").await;
    for (id, mrn) in [("a", "1"), ("b", "2"), ("c", "2")] {
        client.send("PUT", &format!("/Patient/{id}"), &[], patient(Some(id), mrn, "male")).await.expect(201);
    }
    client.send("DELETE", "/Patient?identifier=urn:mrn|2", &[], "").await.expect(412);
    client.send("DELETE", "/Patient?identifier=urn:mrn|3", &[], "").await.expect(204);
    client.send("DELETE", "/Patient?identifier=urn:mrn|1", &[("if-match", "W/\"2\"")], "").await.expect(412);
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 3);
    client.send("DELETE", "/Patient?identifier=urn:mrn|1", &[], "").await.expect(204);
    client.get("/Patient/a").await.expect(410);
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "DELETE", "url": "Patient?_id=b"}},
        {"request": {"method": "PUT", "url": "Patient?_id=c"},
            "resource": {"resourceType": "Patient", "gender": "other"}},
    ]});
    let answered = client.post("/", bundle.to_string()).await.expect(200).json();
    let statuses: Vec<&Value> =
        answered["entry"].as_array().unwrap().iter().map(|e| &e["response"]["status"]).collect();
    assert_eq!(statuses, ["204 No Content", "200 OK"]);
}

#[actix_web::test]
async fn a_conditional_update_in_a_transaction_takes_the_bodys_id_or_refuses() {
    let world = world().await;
    let client = world.client("ehr").await;
    let run = |url: &str, body: String| {
        let resource: Value = serde_json::from_str(&body).unwrap();
        let entry = json!({"resource": resource, "request": {"method": "PUT", "url": url}});
        client.post("/", json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).to_string())
    };
    run("Patient?identifier=urn:mrn|7", patient(Some("p7"), "7", "male")).await.expect(200);
    client.get("/Patient/p7").await.expect(200);
    run("Patient?identifier=urn:mrn|7", patient(Some("other"), "7", "male")).await.expect(400);
    run("Patient?identifier=urn:mrn|8", patient(Some("p7"), "8", "male")).await.expect(409);
    run("Patient?identifier=urn:mrn|7", patient(None, "7", "female")).await.expect(200);
    assert_eq!(client.get("/Patient/p7").await.expect(200).json()["meta"]["versionId"], "2");
    run("Patient?identifier=urn:mrn|9", patient(None, "9", "female")).await.expect(200);
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 2);
}

#[actix_web::test]
async fn reads_and_writes_keep_their_preconditions() {
    let world = world().await;
    let client = world.client("ehr").await;
    let body = || patient(Some("p1"), "1", "male");
    let create_only = [("if-none-match", "*")];
    client.send("PUT", "/Patient/p1", &create_only, body()).await.expect(201);
    client.send("PUT", "/Patient/p1", &create_only, body()).await.expect(412);
    client.send("PUT", "/Patient/p1", &[("if-none-match", "W/\"1\"")], body()).await.expect(400);
    let modified = client.get("/Patient/p1").await.expect(200).header("last-modified").unwrap().to_owned();
    for (headers, status) in [
        (vec![("if-none-match", "W/\"1\"")], 304),
        (vec![("if-none-match", "W/\"9\", W/\"1\"")], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "W/\"9\"")], 200),
        (vec![("if-modified-since", modified.as_str())], 304),
        (vec![("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT")], 200),
        (vec![("if-modified-since", "soon")], 200),
        (vec![("if-none-match", "W/\"9\""), ("if-modified-since", modified.as_str())], 200),
    ] {
        client.send("GET", "/Patient/p1", &headers, "").await.expect(status);
    }
    let outcome = [("prefer", "return=OperationOutcome")];
    let said = client.send("PUT", "/Patient/p1", &outcome, body()).await.expect(200).json();
    assert_eq!(said["resourceType"], "OperationOutcome");
}

/// A header that was not ASCII was taken for none, and what it should have prevented was done.
#[actix_web::test]
async fn a_precondition_that_was_no_ascii_was_passed_over() {
    let world = world().await;
    let client = world.client("ehr").await;
    client.send("PUT", "/Patient/p1", &[], patient(Some("p1"), "1", "male")).await.expect(201);
    let png = [("content-type", "image/png"), ("x-security-context", "Patient/pé")];
    let refused = client.send("POST", "/Binary", &png, [1u8]).await.expect(400).text();
    assert!(refused.contains("x-security-context"), "{refused}");
    for (method, header, value) in [
        ("PUT", "if-match", "W/\"1\"é"),
        ("PUT", "if-none-match", "*é"),
        ("DELETE", "if-match", "W/\"1\"é"),
        ("GET", "if-none-match", "W/\"1\"é"),
    ] {
        for path in ["/Patient/p1", "/Patient?identifier=urn:mrn%7C1"] {
            let body = if method == "PUT" { patient(Some("p1"), "1", "female") } else { String::new() };
            if (method, path.contains('?')) != ("GET", true) {
                let refused = client.send(method, path, &[(header, value)], body).await.expect(400).text();
                assert!(refused.contains(header), "{method} {path}: {refused}");
            }
        }
    }
    let kept = client.get("/Patient/p1").await.expect(200).json();
    assert_eq!((&kept["meta"]["versionId"], &kept["gender"]), (&json!("1"), &json!("male")));
    assert_eq!(client.get("/Binary").await.expect(200).json()["total"], 0);
}

/// Clients send the letters of a search as they are.
#[actix_web::test]
async fn a_condition_in_utf_8_was_passed_over_and_created_a_second_resource() {
    let world = world().await;
    let client = world.client("ehr").await;
    let body = json!({"resourceType": "Patient", "name": [{"family": "Müller"}]}).to_string();
    for (condition, status) in [("family=Müller", 201), ("family=Müller", 200), ("family=M%C3%BCller", 200)] {
        client.send("POST", "/Patient", &[("if-none-exist", condition)], body.clone()).await.expect(status);
    }
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 1);
}

#[actix_web::test]
async fn a_put_by_condition_in_a_transaction_created_what_if_match_says_is_there() {
    let world = world().await;
    let client = world.client("ehr").await;
    let run = |kind: &str, id: Option<&str>, mrn: &str, tag: &str| {
        let resource: Value = serde_json::from_str(&patient(id, mrn, "male")).unwrap();
        let request = json!({"method": "PUT", "url": format!("Patient?identifier=urn:mrn|{mrn}"), "ifMatch": tag});
        let entry = json!({"resource": resource, "request": request});
        client.post("/", json!({"resourceType": "Bundle", "type": kind, "entry": [entry]}).to_string())
    };
    for id in [None, Some("p1")] {
        run("transaction", id, "1", "W/\"1\"").await.expect(412);
        let batch = run("batch", id, "1", "W/\"1\"").await.expect(200).json();
        assert_eq!(batch["entry"][0]["response"]["status"], "412 Precondition Failed");
    }
    assert_eq!(client.get("/Patient").await.expect(200).json()["total"], 0);
    client.send("PUT", "/Patient/p1", &[], patient(Some("p1"), "1", "female")).await.expect(201);
    run("transaction", None, "1", "W/\"2\"").await.expect(412);
    run("transaction", None, "1", "W/\"1\"").await.expect(200);
    assert_eq!(client.get("/Patient/p1").await.expect(200).json()["meta"]["versionId"], "2");
}

#[actix_web::test]
async fn a_write_by_condition_tells_nothing_of_what_the_caller_may_not_see() {
    let (_world, ehr, portal) = two_patients().await;
    let body = |id: &str| condition(id, "p1");
    let without_id = json!({"resourceType": "Condition", "subject": {"reference": "Patient/p2"}}).to_string();
    let cases: [(&str, &str, String, String); 4] = [
        ("DELETE", "/Condition?_id=", String::new(), String::new()),
        ("PUT", "/Condition?_id=", body("c-p2"), body("never")),
        ("PUT", "/Condition?_id=", without_id.clone(), without_id),
        ("PUT", "/Condition?_id=free&patient=p1&_id=", body("c-p2"), body("never")),
    ];
    for (method, path, of_denied, of_absent) in cases {
        let denied = portal.send(method, &format!("{path}c-p2"), &[], of_denied).await;
        let absent = portal.send(method, &format!("{path}never"), &[], of_absent).await;
        assert_eq!(shown(&denied), shown(&absent), "{method} {path}");
    }
    let kept = ehr.get("/Condition/c-p2").await.expect(200).json();
    assert_eq!(kept["meta"]["versionId"], "1");
    ehr.get("/Condition/never").await.expect(404);
    let own = json!({"resourceType": "Condition", "subject": {"reference": "Patient/p1"}}).to_string();
    portal.send("PUT", "/Condition?_id=c-p1", &[], own.clone()).await.expect(200);
    portal.send("PUT", "/Condition?_id=c-none", &[], own).await.expect(201);
    portal.send("DELETE", "/Condition?_id=c-p1", &[], "").await.expect(204);
    ehr.get("/Condition/c-p1").await.expect(410);
}
