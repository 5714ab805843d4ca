//! Granular scopes: scope × interaction × (resource within, resource outside, no resource). What is outside of a
//! scope and what is not there are one answer; what is written is within the scope before and after.

use serde_json::{Value, json};

use super::{
    shown,
    support::{Client, Got, World, at_rest, world},
};

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// Scopes that a client is limited by, on Observations.
const LIMITED: [(&str, &str); 6] = [
    ("portal", "patient/Observation.cruds?category=laboratory"),
    ("ehr", "system/Observation.cruds?category=laboratory"),
    ("ehr", "system/Observation.cruds?category:not=vital-signs&status=final"),
    ("ehr", "system/Observation.cruds?_id=lab-1,lab-2"),
    ("ehr", "system/Observation.cruds?code=within system/Observation.cruds?code=nothing"),
    ("portal", "patient/Observation.cruds?_tag=a patient/Observation.cruds?date=ge2020"),
];

/// What the client may do besides: all that refers to Observations, so that only they are hidden.
const BESIDE: &str = "Patient Provenance DiagnosticReport List Group";

fn observation(id: &str, patient: &str, category: &str, code: &str) -> Value {
    let date = if category == "laboratory" { "2021-01-01" } else { "2019-01-01" };
    json!({"resourceType": "Observation", "id": id, "status": "final", "effectiveDateTime": date,
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}], "code": {"coding": [{"code": code}]},
        "subject": {"reference": format!("Patient/{patient}")}})
}

async fn put(client: &Client, resource: &Value) {
    let address = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    let got = client.send("PUT", &address, &[], resource.to_string()).await;
    assert!([200, 201].contains(&got.status), "{}", got.text());
}

/// A laboratory result and a vital sign of one patient, both in a report of theirs; the same of another.
async fn filled() -> (World, Client) {
    let world = world().await;
    let ehr = world.client("ehr").await;
    for patient in ["p1", "p2"] {
        put(&ehr, &json!({"resourceType": "Patient", "id": patient, "active": true})).await;
    }
    for (id, patient, category, code) in [
        ("lab-1", "p1", "laboratory", "within"),
        ("vit-1", "p1", "vital-signs", "hidden"),
        ("lab-2", "p2", "laboratory", "within"),
        ("vit-2", "p2", "vital-signs", "hidden"),
    ] {
        put(&ehr, &observation(id, patient, category, code)).await;
    }
    // Reports that say nothing of what they refer to, so that it shows by the Observations alone.
    for (id, patient, results) in [("rep-1", "p1", ["lab-1", "vit-1"]), ("rep-2", "p2", ["lab-2", "vit-2"])] {
        let results = results.map(|result| json!({"reference": format!("Observation/{result}")}));
        put(
            &ehr,
            &json!({"resourceType": "DiagnosticReport", "id": id, "status": "final", "code": {"text": "x"},
            "subject": {"reference": format!("Patient/{patient}")}, "result": results}),
        )
        .await;
    }
    (world, ehr)
}

async fn limited(world: &World, client: &str, scope: &str) -> Client {
    let level = if client == "portal" { "patient" } else { "system" };
    let beside: Vec<String> = BESIDE.split(' ').map(|name| format!("{level}/{name}.cruds")).collect();
    let token = world.token_for(client, &format!("{scope} {}", beside.join(" "))).await;
    Client::of(&world.gateway, token).await
}

/// Every door to one Observation: method, path, body. `{id}` is its id, `{code}` its code.
fn doors() -> Vec<(&'static str, String, String)> {
    let get = |path: &str| ("GET", path.to_owned(), String::new());
    let body = |id: &str| observation(id, "p1", "laboratory", "within").to_string();
    let language = || r#"{"language":"en"}"#.to_owned();
    let mut doors = vec![
        get("/Observation/{id}"),
        get("/Observation/{id}/_history"),
        get("/Observation/{id}/_history/1"),
        get("/Observation/{id}/_history/2"),
        get("/Observation/_history?_cursor=Observation/{id}/1"),
        get("/Observation?_id={id}"),
        get("/Observation?_id={id}&_summary=count"),
        get("/Observation?code={code}&_count=0"),
        get("/Observation?_id={id}&_include=*&_revinclude=*&_include:iterate=*"),
        get("/Observation?_id={id}&_sort=code&_elements=id"),
        get("/Patient/p1/Observation?_id={id}"),
        get("/Patient?_has:Observation:patient:_id={id}"),
        get("/Patient?_has:Observation:patient:code={code}&_summary=count"),
        get("/Patient?_has:DiagnosticReport:patient:result:Observation.code={code}"),
        get("/DiagnosticReport?result.code={code}"),
        get("/DiagnosticReport?result:Observation._id={id}"),
        get("/DiagnosticReport?result:Observation._has:DiagnosticReport:result:_id=rep-1&result.code={code}"),
        get("/Patient?_id=p1&_has:Observation:patient:date=2019&_has:Observation:patient:_id={id}"),
        ("PUT", "/Observation/{id}".to_owned(), body("{id}")),
        ("PUT", "/Observation?_id={id}".to_owned(), body("{id}")),
        ("PATCH", "/Observation/{id}".to_owned(), language()),
        ("PATCH", "/Observation?code={code}".to_owned(), language()),
        ("DELETE", "/Observation/{id}".to_owned(), String::new()),
        ("DELETE", "/Observation?code={code}".to_owned(), String::new()),
    ];
    for kind in ["batch", "transaction"] {
        let bundle = |entry: Value| {
            let bundle = json!({"resourceType": "Bundle", "type": kind, "entry": [entry]});
            ("POST", "/".to_owned(), bundle.to_string())
        };
        let mut request = |method: &str, url: &str| {
            doors.push(bundle(json!({"request": {"method": method, "url": url}})));
        };
        request("GET", "Observation/{id}");
        request("GET", "Observation?_id={id}");
        request("GET", "Observation/{id}/_history");
        request("DELETE", "Observation/{id}");
        request("DELETE", "Observation?code={code}");
        let resource = observation("{id}", "p1", "laboratory", "within");
        doors.push(bundle(json!({"resource": resource, "request": {"method": "PUT", "url": "Observation/{id}"}})));
        let patch = json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
            {"name": "type", "valueCode": "add"}, {"name": "path", "valueString": "Observation"},
            {"name": "name", "valueString": "language"}, {"name": "value", "valueCode": "en"}]}]});
        doors.push(bundle(json!({"resource": patch, "request": {"method": "PATCH", "url": "Observation/{id}"}})));
    }
    let reference = json!({"resourceType": "List", "status": "current", "mode": "working",
        "subject": {"reference": "Patient/p1"}, "entry": [{"item": {"reference": "Observation?code={code}"}}]});
    let entry = json!({"resource": reference, "request": {"method": "POST", "url": "List"}});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [entry]});
    doors.push(("POST", "/".to_owned(), bundle.to_string()));
    doors
}

async fn through(client: &Client, door: &(&'static str, String, String), id: &str, code: &str) -> Got {
    let filled = |text: &str| text.replace("{id}", id).replace("{code}", code);
    let headers: &[(&str, &str)] = if door.0 == "PATCH" { &[("content-type", "application/json")] } else { &[] };
    client.send(door.0, &filled(&door.1), headers, filled(&door.2)).await
}

/// What is left of an answer when what was asked is taken out of it. Ids and codes are as long as each other.
fn comparable(got: &Got, id: &str, code: &str) -> (u16, Vec<(String, String)>, String) {
    let (status, mut headers, text) = shown(got);
    for (_, value) in &mut headers {
        *value = value.replace(id, "{id}").replace(code, "{code}");
    }
    (status, headers, text.replace(id, "{id}").replace(code, "{code}"))
}

fn ids(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> =
        entries.iter().filter_map(|entry| entry["resource"]["id"].as_str().map(str::to_owned)).collect();
    ids.sort();
    ids
}

#[actix_web::test]
async fn no_door_tells_what_is_outside_of_a_scope_from_what_is_absent() {
    let (world, ehr) = filled().await;
    for (name, scope) in LIMITED {
        let client = limited(&world, name, scope).await;
        for door in doors() {
            let hidden = through(&client, &door, "vit-1", "hidden").await;
            let absent = through(&client, &door, "abs-1", "absent").await;
            let same = (comparable(&hidden, "vit-1", "hidden"), comparable(&absent, "abs-1", "absent"));
            assert_eq!(same.0, same.1, "{scope}: {} {} {}", door.0, door.1, door.2);
        }
        let kept = ehr.get("/Observation/vit-1").await.expect(200).json();
        assert_eq!(kept["meta"]["versionId"], "1", "{scope}");
    }
}

#[actix_web::test]
async fn what_is_within_a_scope_is_found_by_every_read_and_search_and_nothing_else_is() {
    let (world, _ehr) = filled().await;
    for (name, scope) in LIMITED {
        let client = limited(&world, name, scope).await;
        client.get("/Observation/lab-1").await.expect(200);
        client.get("/Observation/lab-1/_history/1").await.expect(200);
        let reaches_other = name == "ehr";
        client.get("/Observation/lab-2").await.expect(if reaches_other { 200 } else { 404 });
        let both = if reaches_other { vec!["lab-1", "lab-2"] } else { vec!["lab-1"] };
        let reports = if reaches_other { vec!["rep-1", "rep-2"] } else { vec!["rep-1"] };
        let patients = if reaches_other { vec!["p1", "p2"] } else { vec!["p1"] };
        for (path, expected) in [
            ("/Observation", both.clone()),
            ("/Observation?_id=lab-1,vit-1,lab-2,vit-2", both.clone()),
            ("/Observation?_sort=-date&_total=accurate", both.clone()),
            ("/Observation?_sort=code,_id", both.clone()),
            ("/Observation?date=gt2000", both.clone()),
            ("/Observation?code=hidden", vec![]),
            ("/Observation?code:not=within", vec![]),
            ("/Observation?code:missing=false", both.clone()),
            ("/Observation?patient=p1", vec!["lab-1"]),
            ("/Patient/p1/Observation", vec!["lab-1"]),
            ("/Patient/p1/*?_type=Observation", vec!["lab-1"]),
            ("/Patient/p1/$everything?_type=Observation", vec!["lab-1"]),
            ("/DiagnosticReport?result.code=within", reports.clone()),
            ("/DiagnosticReport?result.code=hidden", vec![]),
            ("/DiagnosticReport?result:Observation.date=lt2020", vec![]),
            ("/Patient?_has:Observation:patient:code=within", patients.clone()),
            ("/Patient?_has:Observation:patient:code=hidden", vec![]),
            ("/Patient?_has:Observation:patient:code:not=within", vec![]),
        ] {
            let found = client.get(path).await.expect(200).json();
            assert_eq!((ids(&found), &found["total"]), (own(&expected), &json!(expected.len())), "{scope}: {path}");
            let separator = if path.contains('?') { "&" } else { "?" };
            if !path.contains('*') && !path.contains('$') {
                let counted = client.get(&format!("{path}{separator}_summary=count")).await.expect(200).json();
                assert_eq!(counted["total"], json!(expected.len()), "{scope}: {path}");
            }
        }
        for (path, expected) in [
            ("/DiagnosticReport?_id=rep-1&_include=DiagnosticReport:result", vec!["lab-1", "rep-1"]),
            ("/DiagnosticReport?_id=rep-1&_include=*", vec!["lab-1", "p1", "rep-1"]),
            ("/Patient?_id=p1&_revinclude=Observation:patient", vec!["lab-1", "p1"]),
            ("/Patient?_id=p1&_revinclude=*&_include:iterate=*", vec!["lab-1", "p1", "rep-1"]),
            ("/Patient/p1/$everything", vec!["lab-1", "p1", "rep-1"]),
            ("/Observation/_history", both.clone()),
            ("/Observation/lab-1/_history", vec!["lab-1"]),
        ] {
            let found = client.get(path).await.expect(200).json();
            assert_eq!(ids(&found), own(&expected), "{scope}: {path}");
        }
    }
}

fn own(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

#[actix_web::test]
async fn pages_of_what_is_within_a_scope_are_full_and_say_nothing_of_the_rest() {
    let (world, ehr) = filled().await;
    for n in 0..9 {
        let category = if n % 3 == 0 { "laboratory" } else { "vital-signs" };
        put(&ehr, &observation(&format!("more-{n}"), "p1", category, "within")).await;
    }
    let client = limited(&world, "portal", "patient/Observation.rs?category=laboratory").await;
    for query in ["_count=2", "_count=2&_sort=-_lastUpdated", "_count=2&_sort=code"] {
        let (mut path, mut pages) = (format!("/Observation?{query}"), Vec::new());
        loop {
            let page = client.get(&path).await.expect(200).json();
            assert_eq!(page["total"], 4, "{query}");
            pages.push(ids(&page).len());
            let links = page["link"].as_array().unwrap();
            let Some(next) = links.iter().find(|link| link["relation"] == "next") else { break };
            path = next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned();
        }
        assert_eq!(pages, [2, 2], "{query}");
    }
}

/// A cursor holds a total: one that was counted for more would tell how much lies outside.
#[actix_web::test]
async fn a_cursor_of_a_wider_token_is_none_of_a_narrower_one() {
    let (world, ehr) = filled().await;
    let next = async |client: &Client, path: &str| {
        let page = client.get(path).await.expect(200).json();
        let links = page["link"].as_array().unwrap().clone();
        let next = links.iter().find(|link| link["relation"] == "next").unwrap_or_else(|| panic!("{path}: {page}"));
        next["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned()
    };
    let narrow = async |scope: &str| Client::of(&world.gateway, world.token_for("ehr", scope).await).await;
    for path in ["/Observation?_count=1", "/Observation?_count=1&_sort=code", "/Patient/p1/$everything?_count=1"] {
        let wide = next(&ehr, path).await;
        ehr.get(&wide).await.expect(200);
        for scope in ["system/Observation.rs?_id=lab-1 system/Patient.rs", "system/Observation.rs system/Patient.rs"] {
            narrow(scope).await.get(&wide).await.expect(400);
        }
    }
    // Another token by scopes that reach as much goes on.
    let scope = "system/Observation.rs?category=laboratory system/Patient.rs";
    let first = next(&narrow(scope).await, "/Observation?_count=1").await;
    narrow(scope).await.get(&first).await.expect(200);
}

#[actix_web::test]
async fn what_is_written_is_within_the_scope_before_and_after() {
    let (world, ehr) = filled().await;
    let scope = "system/Observation.cruds?category=laboratory";
    let client = limited(&world, "ehr", scope).await;
    let lab = |id: &str| observation(id, "p1", "laboratory", "new");
    let vital = |id: &str| observation(id, "p1", "vital-signs", "new");
    let posted = |resource: Value| {
        let entry = json!({"resource": resource, "request": {"method": "POST", "url": "Observation"}});
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"resource": {"resourceType": "List", "status": "current", "mode": "working"},
                "request": {"method": "POST", "url": "List"}}, entry]})
        .to_string()
    };
    let patch = |category: &str| json!({"category": [{"coding": [{"code": category}]}]}).to_string();
    let merge: &[(&str, &str)] = &[("content-type", "application/merge-patch+json")];
    let lists = async || ehr.get("/List?_summary=count").await.json()["total"].clone();
    for (method, path, headers, body, expected) in [
        ("POST", "/Observation", &[][..], vital("x").to_string(), 403),
        ("PUT", "/Observation/lab-1", &[], vital("lab-1").to_string(), 403),
        ("PATCH", "/Observation/lab-1", merge, patch("vital-signs"), 403),
        ("POST", "/", &[], posted(vital("x")), 403),
        // An id of one's own could be one that is hidden.
        ("PUT", "/Observation/abs-1", &[], lab("abs-1").to_string(), 404),
        ("PUT", "/Observation/vit-1", &[], lab("vit-1").to_string(), 404),
        ("POST", "/Observation", &[], lab("x").to_string(), 201),
        ("PUT", "/Observation/lab-1", &[], lab("lab-1").to_string(), 200),
        ("PATCH", "/Observation/lab-1", merge, json!({"language": "en"}).to_string(), 200),
        ("POST", "/", &[], posted(lab("x")), 200),
    ] {
        let before = lists().await;
        let got = client.send(method, path, headers, body).await;
        assert_eq!(got.status, expected, "{method} {path}: {}", got.text());
        if expected == 403 {
            assert!(got.text().contains("the token lacks the scope system/Observation."), "{}", got.text());
            assert_eq!(lists().await, before, "nothing is half-written");
        }
    }
    assert_eq!(ehr.get("/Observation/lab-1").await.json()["meta"]["versionId"], "3");
    client.send("DELETE", "/Observation/vit-1", &[], "").await.expect(204);
    ehr.get("/Observation/vit-1").await.expect(200);
    client.send("DELETE", "/Observation/lab-1", &[], "").await.expect(204);
    ehr.get("/Observation/lab-1").await.expect(410);
    // What is gone says nothing any more, so it is in no such scope.
    client.get("/Observation/lab-1").await.expect(404);
    client.get("/Observation/lab-1/_history").await.expect(404);
    client.get("/Observation/lab-1/_history/1").await.expect(404);
    client.send("PUT", "/Observation/lab-1", &[], lab("lab-1").to_string()).await.expect(404);
}

#[actix_web::test]
async fn a_condition_neither_finds_nor_is_kept_from_creating_by_what_is_outside_of_the_scope() {
    let (world, ehr) = filled().await;
    let client = limited(&world, "ehr", "system/Observation.cruds?category=laboratory").await;
    let body = observation("x", "p1", "laboratory", "hidden").to_string();
    let condition: &[(&str, &str)] = &[("if-none-exist", "code=hidden")];
    let created = client.send("POST", "/Observation", condition, body.clone()).await.expect(201);
    let again = client.send("POST", "/Observation", condition, body.clone()).await.expect(200);
    assert_eq!(created.id(), again.id());
    // For whom all of it is, three meet the condition.
    ehr.send("POST", "/Observation", condition, body).await.expect(412);
    let outside = observation("x", "p1", "vital-signs", "within").to_string();
    client.send("POST", "/Observation", &[("if-none-exist", "code=fresh")], outside).await.expect(403);
}

#[actix_web::test]
async fn an_older_version_is_shown_where_it_and_the_newest_are_within_the_scope() {
    let (world, ehr) = filled().await;
    let client = limited(&world, "portal", "patient/Observation.rs?category=laboratory").await;
    // Was within and is no more; was not and is now.
    put(&ehr, &observation("lab-1", "p1", "vital-signs", "c")).await;
    put(&ehr, &observation("vit-1", "p1", "laboratory", "c")).await;
    for (path, expected) in [
        ("/Observation/lab-1", 404),
        ("/Observation/lab-1/_history/1", 404),
        ("/Observation/lab-1/_history/2", 404),
        ("/Observation/lab-1/_history", 404),
        ("/Observation/vit-1", 200),
        ("/Observation/vit-1/_history/1", 404),
        ("/Observation/vit-1/_history/2", 200),
        ("/Observation/_history?_count=0", 400),
        ("/_history?_count=0", 400),
    ] {
        let got = client.get(path).await;
        assert_eq!(got.status, expected, "{path}: {}", got.text());
    }
    for path in ["/Observation/vit-1/_history", "/Observation/_history"] {
        let found = client.get(path).await.expect(200).json();
        let versions: Vec<&Value> =
            found["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]["meta"]["versionId"]).collect();
        assert_eq!((versions, &found["total"]), (vec![&json!("2")], &Value::Null), "{path}");
    }
}

#[actix_web::test]
async fn several_scopes_of_a_type_are_alternatives_also_across_levels_and_interactions() {
    let (world, _ehr) = filled().await;
    // Scopes of the portal's own registration are of its patient; `ehr` reaches everybody.
    for (name, scope, path, expected) in [
        ("ehr", "system/Observation.rs?category=laboratory system/Observation.rs?code=hidden", "/Observation", 4),
        ("ehr", "system/Observation.rs?category=laboratory system/Observation.rs", "/Observation", 4),
        ("ehr", "system/Observation.rs?category=laboratory&code=hidden", "/Observation", 0),
        ("ehr", "system/Observation.s?category=laboratory system/Observation.r", "/Observation", 2),
        ("ehr", "system/*.rs?_tag=nothing", "/Observation", 0),
        ("ehr", "system/*.rs?_tag:missing=true", "/Observation", 4),
        ("portal", "patient/Observation.rs?category=laboratory patient/*.rs?_tag:missing=true", "/Observation", 2),
    ] {
        let client = Client::of(&world.gateway, world.token_for(name, scope).await).await;
        let found = client.get(path).await.expect(200).json();
        assert_eq!((ids(&found).len(), &found["total"]), (expected, &json!(expected)), "{scope}");
    }
    let client = Client::of(
        &world.gateway,
        world.token_for("ehr", "system/Observation.s?category=laboratory system/Observation.r").await,
    )
    .await;
    client.get("/Observation/vit-1").await.expect(200);
    client.send("DELETE", "/Observation/lab-1", &[], "").await.expect(403);
}

#[actix_web::test]
async fn what_looks_at_all_of_a_type_needs_a_scope_without_search_parameters() {
    let (world, _ehr) = filled().await;
    let scope = "system/Patient.cruds system/Condition.rs?category=encounter-diagnosis";
    let client = Client::of(&world.gateway, world.token_for("ehr", scope).await).await;
    let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "pseudonym", "valueString": "0"}]});
    let got = client.post("/Patient/p1/$attest", parameters.to_string()).await.expect(403);
    assert!(got.text().contains("system/Condition.s"), "{}", got.text());
}

#[actix_web::test]
async fn lines_of_the_access_log_are_within_a_scope_or_absent() {
    let (world, ehr) = filled().await;
    let all = Client::of(&world.gateway, world.token_for("ehr", "system/AuditEvent.rs").await).await;
    let created = Client::of(&world.gateway, world.token_for("ehr", "system/AuditEvent.rs?action=C").await).await;
    let of = async |client: &Client, query: &str| {
        let found = client.get(&format!("/AuditEvent?{query}_count=500")).await.expect(200).json();
        (found["entry"].as_array().cloned().unwrap_or_default(), found["total"].clone())
    };
    ehr.get("/Patient/p1").await.expect(200);
    let (every, _) = of(&all, "").await;
    let (within, total) = of(&created, "").await;
    assert!(!within.is_empty() && within.len() < every.len());
    assert!(within.iter().all(|entry| entry["resource"]["action"] == "C"));
    assert_eq!(total, within.len());
    for entry in &every {
        let id = entry["resource"]["id"].as_str().unwrap();
        let expected = if entry["resource"]["action"] == "C" { 200 } else { 404 };
        created.get(&format!("/AuditEvent/{id}")).await.expect(expected);
        created.get(&format!("/AuditEvent/{id}/_history/1")).await.expect(expected);
        let inclusion = created.get(&format!("/AuditEvent/{id}/$inclusion")).await;
        assert_eq!(inclusion.status == 404, expected == 404, "{id}: {}", inclusion.text());
    }
    let counted = created.get("/AuditEvent?patient=p1&_summary=count").await.expect(200).json();
    let of_patient = of(&created, "patient=p1&").await.0.len();
    assert_eq!(counted["total"], of_patient, "a count reads what it counts");
}

/// Each set of search parameters of each scope had a database in memory of its own, for each version.
#[actix_web::test]
async fn many_constrained_scopes_cost_one_comparison_for_all_that_is_judged_at_once() {
    let world = at_rest().await;
    let ehr = world.client("ehr").await;
    put(&ehr, &json!({"resourceType": "Patient", "id": "p1"})).await;
    for number in 0..12 {
        let category = if number % 2 == 0 { "laboratory" } else { "vital-signs" };
        put(&ehr, &observation(&format!("o{number}"), "p1", category, "c")).await;
    }
    put(&ehr, &observation("o0", "p1", "laboratory", "again")).await;
    put(
        &ehr,
        &json!({"resourceType": "List", "id": "l", "status": "current", "mode": "working", "entry":
            (0..12).map(|number| json!({"item": {"reference": format!("Observation/o{number}")}})).collect::<Vec<_>>()}),
    )
    .await;
    let others = (0..15).map(|number| format!("system/Observation.rs?code=none-{number}"));
    let scopes: Vec<String> = others.chain(["system/Observation.rs?category=laboratory".to_owned()]).collect();
    let limited = limited(&world, "ehr", &scopes.join(" ")).await;
    let all: Vec<String> = ["o0", "o0", "o10", "o2", "o4", "o6", "o8"].map(str::to_owned).to_vec();
    for (path, expected, most) in [
        ("/Observation/_history", all.clone(), 1),
        ("/List?_id=l&_include=List:item", [&all[1..], &["l".to_owned()]].concat(), 1),
        ("/Observation?_sort=_id", all[1..].to_vec(), 1),
    ] {
        let before = world.organization.work();
        let found = ids(&limited.get(path).await.expect(200).json());
        let compared = (world.organization.work() - before).comparisons;
        let mut expected = expected;
        expected.sort();
        assert_eq!(found, expected, "{path}");
        assert!(compared <= most, "{path}: {compared}");
    }
    for (path, status, most) in [
        ("/Observation/o2", 200, 1),
        ("/Observation/o1", 404, 1),
        // It and what it is now.
        ("/Observation/o0/_history/1", 200, 2),
    ] {
        let before = world.organization.work();
        limited.get(path).await.expect(status);
        let compared = (world.organization.work() - before).comparisons;
        assert!((1..=most).contains(&compared), "{path}: {compared}");
    }
}

#[actix_web::test]
async fn a_token_is_for_what_is_asked_for_and_registered_and_a_wrong_parameter_is_refused_by_name() {
    let world = world().await;
    let ask = async |client: &str, scope: &str| {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("scope", scope)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &world.assertion(client))
            .finish();
        let now = careledger_gateway::ledger::clock();
        let issued = world.organization.authority.issue(form.as_bytes(), now).await;
        issued.map(|issued| issued.scopes.to_string()).map_err(|error| format!("{error:?}"))
    };
    for (client, asked, granted) in [
        ("ehr", "system/Observation.rs?category=a|b", "system/Observation.rs?category=a|b"),
        ("ehr", "system/Observation.rs?category=a%7Cb%20c", "system/Observation.rs?category=a|b%20c"),
        ("ehr", "system/Patient.rs?name=%C3%84 openid", "system/Patient.rs?name=%C3%84"),
        ("reader", "system/*.cruds?_tag=a", "system/Patient.rs?_tag=a"),
    ] {
        assert_eq!(ask(client, asked).await.as_deref(), Ok(granted), "{asked}");
    }
    let long: Vec<String> = (0..200).map(|n| format!("system/Observation.rs?code=code-{n}")).collect();
    for (asked, problem) in [
        ("system/Observation.rs?shoe=a", "shoe"),
        ("system/Observation.rs?patient.name=canary", "patient.name is not about the resource itself"),
        ("system/Observation.rs?_has:DiagnosticReport:result:code=a", "not about the resource itself"),
        ("system/Observation.rs?date=canary", "date has a value that its type does not allow"),
        ("system/*.rs?category=a", "category"),
        ("system/Observation.rs system/Observation.rs?_count=1", "_count"),
        (&long.join(" "), "bytes"),
        (&long[..17].join(" "), "more than 16 different sets of search parameters for Observation"),
        ("system/Observation.read?code=a", "none of the scopes"),
        ("user/Observation.rs", "none of the scopes"),
    ] {
        let refused = ask("ehr", asked).await.unwrap_err();
        assert!(refused.contains("invalid_scope") && refused.contains(problem), "{asked}: {refused}");
        assert!(!refused.contains("canary"), "no value is repeated: {refused}");
    }
}
