//! Bulk exports: what is in them, who gets them, and what is decided again when a file is fetched.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    App,
    body::{BoxBody, MessageBody as _},
    test::{self, TestRequest},
    web::Bytes,
};
use careledger_gateway::{
    export::job::{Export, Job, Order, Scope},
    ledger, server,
    value_sets::Pins,
};
use serde_json::{Value, json};

pub mod amid;
mod waiting;

use super::{
    shown,
    support::{Client, FHIR, Got, SCOPE, World, world},
};

/// How long an export may take.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);
pub const ASYNC: [(&str, &str); 1] = [("prefer", "respond-async")];

/// Below the FHIR endpoint.
pub fn path(url: &str) -> String {
    url.split("/fhir").nth(1).unwrap().to_owned()
}

async fn put(client: &Client, resource: Value) {
    let address = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    let got = client.send("PUT", &address, &[], resource.to_string()).await;
    assert!([200, 201].contains(&got.status), "{}", got.text());
}

fn observation(id: &str, patient: &str, code: &str) -> Value {
    json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [{"code": code}]},
        "subject": {"reference": format!("Patient/{patient}")}})
}

/// Three patients, of whom two are members of a Group.
async fn filled() -> (World, Client) {
    let world = world().await;
    let ehr = world.client("ehr").await;
    put(&ehr, json!({"resourceType": "Practitioner", "id": "doctor"})).await;
    for n in ["1", "2", "3"] {
        put(&ehr, json!({"resourceType": "Patient", "id": format!("p{n}"), "active": true, "gender": "other"})).await;
        put(&ehr, observation(&format!("weight{n}"), &format!("p{n}"), "weight")).await;
        put(&ehr, observation(&format!("height{n}"), &format!("p{n}"), "height")).await;
    }
    let member =
        |n: &str, inactive: bool| json!({"entity": {"reference": format!("Patient/p{n}")}, "inactive": inactive});
    put(
        &ehr,
        json!({"resourceType": "Group", "id": "g", "type": "person", "actual": true,
        "member": [member("1", false), member("2", false), member("3", true)]}),
    )
    .await;
    (world, ehr)
}

/// The status address of an export that was started.
pub async fn started(client: &Client, method: &str, address: &str, body: String) -> String {
    let got = client.send(method, address, &ASYNC, body).await.expect(202);
    path(got.header("content-location").unwrap())
}

/// The manifest, once it is there.
pub async fn finished(client: &Client, status: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let got = client.get(status).await;
        if got.status != 202 {
            assert!(got.header("expires").is_some());
            return got.expect(200).json();
        }
        assert!(got.header("x-progress").is_some() && got.header("retry-after").is_some());
        assert!(Instant::now() < deadline, "the export is not finished in time");
        actix_web::rt::time::sleep(POLL).await;
    }
}

/// Type and id of each line of each file of a list of the manifest; deletions by their address.
pub async fn lines(client: &Client, manifest: &Value, list: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in manifest[list].as_array().unwrap() {
        let got = client.get(&path(file["url"].as_str().unwrap())).await.expect(200);
        assert_eq!(got.header("content-type"), Some("application/fhir+ndjson"));
        for line in got.text().lines() {
            let resource: Value = serde_json::from_str(line).unwrap();
            assert_eq!(resource["resourceType"], file["type"], "a file has one type");
            found.push(match resource["entry"][0]["request"]["url"].as_str() {
                Some(url) => format!("-{url}"),
                None => format!("{}/{}", file["type"].as_str().unwrap(), resource["id"].as_str().unwrap_or_default()),
            });
        }
    }
    found.sort();
    found
}

pub async fn exported(client: &Client, address: &str) -> Vec<String> {
    let status = started(client, "GET", address, String::new()).await;
    let manifest = finished(client, &status).await;
    let found = lines(client, &manifest, "output").await;
    client.send("DELETE", &status, &[], "").await.expect(202);
    found
}

const OF_TWO: [&str; 6] = [
    "Observation/height1",
    "Observation/height2",
    "Observation/weight1",
    "Observation/weight2",
    "Patient/p1",
    "Patient/p2",
];

#[actix_web::test]
async fn an_export_has_what_was_asked_for_once_and_nothing_else() {
    let (_world, ehr) = filled().await;
    let everybody = [
        &OF_TWO[..2],
        &["Observation/height3"],
        &OF_TWO[2..4],
        &["Observation/weight3"],
        &OF_TWO[4..],
        &["Patient/p3"],
    ]
    .concat();
    let with = |more: &[&'static str]| {
        let mut all = [&everybody[..], more].concat();
        all.sort_unstable();
        all
    };
    for (address, expected) in [
        ("/$export", with(&["Group/g", "Practitioner/doctor"])),
        ("/$export?_type=Practitioner,Group&_outputFormat=ndjson", vec!["Group/g", "Practitioner/doctor"]),
        ("/$export?_type=Immunization", vec![]),
        ("/Patient/$export?_type=Patient,Observation", everybody.clone()),
        // The Group is in the compartments of its members.
        ("/Patient/$export", with(&["Group/g"])),
        ("/Group/g/$export?_type=Observation,Patient", OF_TWO.to_vec()),
        (
            "/Group/g/$export?_type=Observation&_typeFilter=Observation%3Fcode%3Dweight",
            vec!["Observation/weight1", "Observation/weight2"],
        ),
        (
            "/$export?_type=Observation,Patient&_typeFilter=Observation?code=weight%26_id=weight1,height1&_typeFilter=Observation?_id=height2",
            vec!["Observation/height2", "Observation/weight1", "Patient/p1", "Patient/p2", "Patient/p3"],
        ),
        ("/Group/g/$export?_since=2999-01-01T00:00:00%2B00:00", vec![]),
    ] {
        assert_eq!(exported(&ehr, address).await, expected, "{address}");
    }
    let parameters = json!({"resourceType": "Parameters", "parameter": [
        {"name": "_type", "valueString": "Patient,Observation"}, {"name": "_elements", "valueString": "Patient.gender,status"},
        {"name": "patient", "valueReference": {"reference": "Patient/p2"}},
    ]});
    for address in ["/Group/g/$export", "/Patient/$export"] {
        let status = started(&ehr, "POST", address, parameters.to_string()).await;
        let manifest = finished(&ehr, &status).await;
        assert_eq!(manifest["requiresAccessToken"], true);
        assert!(manifest["request"].as_str().unwrap().ends_with(&format!("/hospital/fhir{address}")));
        assert_eq!(
            lines(&ehr, &manifest, "output").await,
            ["Observation/height2", "Observation/weight2", "Patient/p2"]
        );
        let file = manifest["output"].as_array().unwrap().iter().find(|file| file["type"] == "Patient").unwrap();
        let patient = ehr.get(&path(file["url"].as_str().unwrap())).await.expect(200).json();
        assert_eq!((&patient["gender"], &patient["active"]), (&json!("other"), &Value::Null));
        assert_eq!(patient["meta"]["tag"][0]["code"], "SUBSETTED");
        ehr.send("DELETE", &status, &[], "").await.expect(202);
    }
}

#[actix_web::test]
async fn a_later_export_goes_on_where_an_earlier_one_ended_and_names_what_was_deleted() {
    let (_world, ehr) = filled().await;
    let first = finished(&ehr, &started(&ehr, "GET", "/Patient/$export", String::new()).await).await;
    let until = |resource: Value| resource["meta"]["lastUpdated"].as_str().unwrap().to_owned();
    let latest = until(ehr.get("/Group/g").await.expect(200).json());
    assert_eq!(first["transactionTime"], latest, "the time of the last block");
    // A block of the next second at the earliest: what was in the first is not in the second.
    let deadline = Instant::now() + PATIENCE;
    let mut since = latest.clone();
    while since == latest {
        assert!(Instant::now() < deadline, "the clock does not move");
        put(&ehr, observation("late", "p1", "late")).await;
        since = until(ehr.get("/Observation/late").await.expect(200).json());
        actix_web::rt::time::sleep(POLL).await;
    }
    for gone in ["Observation/weight1", "Observation/weight3", "Practitioner/doctor"] {
        ehr.send("DELETE", &format!("/{gone}"), &[], "").await.expect(204);
    }
    let since = url::form_urlencoded::byte_serialize(since.as_bytes()).collect::<String>();
    for (address, output, deleted) in [
        (
            "$export",
            &["Observation/late"][..],
            &["-Observation/weight1", "-Observation/weight3", "-Practitioner/doctor"][..],
        ),
        ("Patient/$export", &["Observation/late"], &["-Observation/weight1", "-Observation/weight3"]),
        ("Group/g/$export", &["Observation/late"], &["-Observation/weight1"]),
    ] {
        let status = started(&ehr, "GET", &format!("/{address}?_since={since}"), String::new()).await;
        let manifest = finished(&ehr, &status).await;
        assert_eq!(lines(&ehr, &manifest, "output").await, output, "{address}");
        assert_eq!(lines(&ehr, &manifest, "deleted").await, deleted, "{address}");
        assert_eq!(manifest["error"], json!([]));
    }
}

#[actix_web::test]
async fn a_file_is_decided_again_when_it_is_fetched() {
    let (world, ehr) = filled().await;
    let status = started(&ehr, "GET", "/Group/g/$export?_type=Observation,Patient", String::new()).await;
    let manifest = finished(&ehr, &status).await;
    assert_eq!(lines(&ehr, &manifest, "output").await, OF_TWO);
    // A newer version is no reason to leave out the one of the export's time.
    put(&ehr, json!({"resourceType": "Patient", "id": "p1", "active": false})).await;
    ehr.send("DELETE", "/Observation/weight1", &[], "").await.expect(204);
    let after = lines(&ehr, &manifest, "output").await;
    assert_eq!(after, [OF_TWO[0], OF_TWO[1], OF_TWO[3], OF_TWO[4], OF_TWO[5]]);
    // A token with less than the one that asked.
    let narrow = world.client("ehr").await.with_token(&world.token_for("ehr", "system/Patient.rs").await);
    for file in manifest["output"].as_array().unwrap() {
        let expected = if file["type"] == "Patient" { 200 } else { 403 };
        narrow.get(&path(file["url"].as_str().unwrap())).await.expect(expected);
    }
    let before = ehr.get(&path(manifest["output"][1]["url"].as_str().unwrap())).await.expect(200).text();
    assert!(before.contains("\"active\":true") && !before.contains("\"active\":false"), "{before}");
}

#[actix_web::test]
async fn another_clients_export_is_as_absent_as_none_and_a_removed_one_too() {
    let (world, ehr) = filled().await;
    let reader = world.client("reader").await;
    let status = started(&ehr, "GET", "/$export?_type=Patient", String::new()).await;
    let manifest = finished(&ehr, &status).await;
    let file = path(manifest["output"][0]["url"].as_str().unwrap());
    let absent = "/bulk/00000000000000000000000000000000".to_owned();
    for (method, theirs, never) in [
        ("GET", status.clone(), absent.clone()),
        ("DELETE", status.clone(), absent.clone()),
        ("GET", file.clone(), format!("{absent}/0.ndjson")),
    ] {
        let theirs = reader.send(method, &theirs, &[], "").await.expect(404);
        assert_eq!(shown(&theirs), shown(&reader.send(method, &never, &[], "").await), "{method}");
    }
    for wrong in ["1.ndjson", "00.ndjson", "+0.ndjson", "0", "x.ndjson", "99999999999.ndjson"] {
        ehr.get(&format!("{status}/{wrong}")).await.expect(404);
    }
    ehr.send("GET", &file, &[("accept", "text/html")], "").await.expect(406);
    ehr.send("GET", &file, &[("accept", "application/fhir+ndjson")], "").await.expect(200);
    ehr.send("DELETE", &status, &[], "").await.expect(202);
    for path in [&status, &file] {
        ehr.get(path).await.expect(404);
    }
    ehr.send("DELETE", &status, &[], "").await.expect(404);
    // What a client may export is what its scopes open.
    assert_eq!(exported(&reader, "/$export").await, ["Patient/p1", "Patient/p2", "Patient/p3"]);
    assert_eq!(exported(&reader, "/Patient/$export").await, ["Patient/p1", "Patient/p2", "Patient/p3"]);
    reader.send("GET", "/$export?_type=Observation", &ASYNC, "").await.expect(403);
    reader.send("GET", "/Group/g/$export", &ASYNC, "").await.expect(403);
}

#[actix_web::test]
async fn a_patients_own_client_exports_nothing_and_learns_nothing() {
    let (world, _ehr) = filled().await;
    let portal = world.client("portal").await;
    let refused = |got: Got| shown(&got.expect(403));
    let own = refused(portal.send("GET", "/Patient/$export", &ASYNC, "").await);
    for address in ["/$export", "/Group/g/$export", "/Group/never/$export", "/Patient/$export?_type=Patient"] {
        assert_eq!(refused(portal.send("GET", address, &ASYNC, "").await), own, "{address}");
    }
}

#[actix_web::test]
async fn what_cannot_be_exported_as_asked_is_refused_at_once() {
    let (_world, ehr) = filled().await;
    ehr.get("/$export").await.expect(400);
    for (address, status) in [
        ("/$export?_outputFormat=text/csv", 400),
        ("/$export?_type=Spaceship", 400),
        ("/$export?_type=AuditEvent", 400),
        ("/Patient/$export?_type=Practitioner", 400),
        ("/$export?_since=yesterday", 400),
        ("/$export?color=red", 400),
        ("/$export?patient=Patient/p1", 400),
        ("/$export?_typeFilter=Observation?color=red", 400),
        ("/$export?_typeFilter=Observation?_count=1", 400),
        ("/$export?_type=Patient&_typeFilter=Observation?code=a", 400),
        ("/$export?includeAssociatedData=LatestProvenanceResources", 400),
        ("/Group/never/$export", 404),
        ("/$exports", 404),
    ] {
        ehr.send("GET", address, &ASYNC, "").await.expect(status);
        // No word of leniency makes an export hold more than was asked for.
        let lenient = [("prefer", "respond-async, handling=lenient")];
        ehr.send("GET", address, &lenient, "").await.expect(status);
    }
    let naming = |id: &str| {
        let patient = json!({"reference": format!("Patient/{id}")});
        json!({"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": patient}]}).to_string()
    };
    for (address, id, status) in [
        ("/Patient/$export", "p3", 202),
        ("/Patient/$export", "never", 422),
        ("/Group/g/$export", "p3", 422),
        ("/Group/g/$export", "p2", 202),
        ("/$export", "p1", 400),
    ] {
        ehr.send("POST", address, &ASYNC, naming(id)).await.expect(status);
    }
    ehr.send("DELETE", "/Group/g", &[], "").await.expect(204);
    ehr.send("GET", "/Group/g/$export", &ASYNC, "").await.expect(410);
}

#[actix_web::test]
async fn an_export_is_one_line_in_the_log_of_each_patient_who_is_in_it() {
    let (_world, ehr) = filled().await;
    let count = async |patient: &str| {
        let found = ehr.get(&format!("/AuditEvent?patient={patient}&_count=500")).await.expect(200).json();
        let entries = found["entry"].as_array().cloned().unwrap_or_default();
        entries.iter().filter(|entry| entry["resource"]["entity"].to_string().contains("$export")).count()
    };
    let status = started(&ehr, "GET", "/Group/g/$export?_type=Observation,Patient", String::new()).await;
    let manifest = finished(&ehr, &status).await;
    let mut counts = BTreeMap::new();
    for patient in ["p1", "p2", "p3"] {
        counts.insert(patient, count(patient).await);
    }
    assert_eq!(counts, BTreeMap::from([("p1", 1), ("p2", 1), ("p3", 0)]));
    lines(&ehr, &manifest, "output").await;
    assert_eq!(count("p1").await, 1, "a fetch is logged without patients");
}

#[actix_web::test]
async fn a_client_has_a_bounded_number_of_exports_and_another_is_not_held_up() {
    let (world, ehr) = filled().await;
    let mut kept = Vec::new();
    let refused = loop {
        let got = ehr.send("GET", "/$export?_type=Patient", &ASYNC, "").await;
        match got.header("content-location") {
            Some(location) => kept.push(path(location)),
            None => break got.expect(429),
        }
        if let Some(status) = kept.last() {
            finished(&ehr, status).await;
        }
    };
    assert!(refused.header("retry-after").is_some());
    assert_eq!(kept.len(), 16);
    exported(&world.client("reader").await, "/$export").await;
    ehr.send("DELETE", &kept[3], &[], "").await.expect(202);
    started(&ehr, "GET", "/$export?_type=Patient", String::new()).await;
}

#[actix_web::test]
async fn the_access_log_says_where_an_export_was_asked_for_and_its_files_fetched_from() {
    let (_world, ehr) = filled().await;
    let asked = [ASYNC[0], ("x-request-id", "kick-off-1")];
    let got = ehr.send("GET", "/$export?_type=Patient", &asked, "").await.expect(202);
    let manifest = finished(&ehr, &path(got.header("content-location").unwrap())).await;
    let file = path(manifest["output"][0]["url"].as_str().unwrap());
    ehr.send("GET", &file, &[("x-request-id", "fetch-1")], "").await.expect(200);
    let events = ehr.get("/AuditEvent?_count=500").await.expect(200).json();
    for (request, action) in [("kick-off-1", "E"), ("fetch-1", "R")] {
        let is_it = |entry: &&Value| {
            let entities = entry["resource"]["entity"].to_string();
            entities.contains("$export") && entities.contains(request)
        };
        let found: Vec<&Value> = events["entry"].as_array().unwrap().iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{request}");
        assert_eq!(found[0]["resource"]["action"], action, "{request}");
    }
}

/// The Patients of whom a resource was at the export's time decide, not only those of whom it is now.
#[actix_web::test]
async fn a_groups_export_has_no_older_version_of_what_was_moved_to_a_member_since() {
    let (world, ehr) = filled().await;
    let records = &world.organization.records;
    let time = records.latest("Observation", "weight3").await.unwrap().last_updated;
    // A block of a later second moves it from somebody who is no member.
    let deadline = Instant::now() + PATIENCE;
    while records.latest("Group", "g").await.unwrap().last_updated.max(world.organization.ledger.now()) <= time {
        assert!(Instant::now() < deadline, "the clock does not move");
        actix_web::rt::time::sleep(POLL).await;
    }
    put(&ehr, observation("weight3", "p1", "weight")).await;
    assert!(records.latest("Observation", "weight3").await.unwrap().last_updated > time);
    let group = Scope::Group { id: "g".to_owned(), version: 1 };
    for (at, scope, transaction_time, is_there) in [
        ("group-then", group.clone(), time, false),
        ("group-now", group, ledger::clock() + 3_600, true),
        ("all-then", Scope::Patients, time, true),
    ] {
        world.organization.exports.begin(&as_of(at, scope, transaction_time)).await.unwrap();
        let manifest = finished(&ehr, &format!("/bulk/{at}")).await;
        let found = lines(&ehr, &manifest, "output").await;
        assert_eq!(found.contains(&"Observation/weight3".to_owned()), is_there, "{at}: {found:?}");
        assert!(found.contains(&"Observation/weight1".to_owned()), "{at}: {found:?}");
    }
}

/// An export of Observations as of a time.
fn as_of(id: &str, scope: Scope, transaction_time: i64) -> Export {
    let order = Order {
        scope,
        request: String::new(),
        types: vec!["Observation".to_owned()],
        filters: Vec::new(),
        since: None,
        elements: Vec::new(),
        patients: None,
        sets: Pins::default(),
        waiting: Vec::new(),
    };
    Export { order, job: Job::new(id.to_owned(), "ehr".to_owned(), SCOPE.to_owned(), transaction_time) }
}

/// What the server sends of a body; the error where it breaks off.
async fn sent(body: &mut BoxBody) -> Option<Result<Bytes, String>> {
    let next = poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await;
    next.map(|bytes| bytes.map_err(|error| error.to_string()))
}

/// No clean end: a client that reads slowly takes what it has for no whole file.
#[actix_web::test]
async fn a_file_that_is_read_slowly_breaks_off_when_its_token_ends() {
    let (world, ehr) = filled().await;
    for n in 0..4 {
        let mut large = observation(&format!("large{n}"), "p1", "weight");
        large["note"] = json!([{"text": "x".repeat(60_000)}]);
        put(&ehr, large).await;
    }
    let manifest = finished(&ehr, &started(&ehr, "GET", "/$export?_type=Observation", String::new()).await).await;
    let file = format!("{FHIR}{}", path(manifest["output"][0]["url"].as_str().unwrap()));
    let gateway = Arc::clone(&world.gateway);
    let app = App::new().configure(move |config| server::configure(config, &gateway));
    let app = test::init_service(app).await;
    let begun = async |seconds| {
        let (token, end) = world.token_for_seconds("ehr", seconds).await;
        let request = TestRequest::get().uri(&file).insert_header(("authorization", format!("Bearer {token}")));
        let response = test::call_service(&app, request.to_request()).await;
        assert_eq!(response.status().as_u16(), 200);
        let mut body = response.into_body();
        assert!(sent(&mut body).await.unwrap().unwrap().len() > 60_000);
        (body, end)
    };
    let (mut whole, _) = begun(200).await;
    let mut pieces = 1;
    while let Some(piece) = sent(&mut whole).await {
        piece.unwrap();
        pieces += 1;
    }
    assert!(pieces > 2, "{pieces}");
    let (mut slow, end) = begun(3).await;
    let deadline = Instant::now() + PATIENCE;
    while ledger::clock() < end {
        assert!(Instant::now() < deadline, "the clock does not move");
        actix_web::rt::time::sleep(POLL).await;
    }
    assert!(sent(&mut slow).await.unwrap().is_err(), "what follows is an error, not an end");
}

#[actix_web::test]
async fn an_export_has_what_is_within_the_scopes_that_asked_and_that_fetch() {
    let (world, ehr) = filled().await;
    let with = async |scope: &str| Client::of(&world.gateway, world.token_for("ehr", scope).await).await;
    let weights = with("system/Observation.rs?code=weight system/Patient.rs").await;
    let within = ["Observation/weight1", "Observation/weight2", "Observation/weight3"];
    for address in ["/$export?_type=Observation", "/Patient/$export?_type=Observation"] {
        assert_eq!(exported(&weights, address).await, within, "{address}");
    }
    let filtered = "/$export?_type=Observation&_typeFilter=Observation%3Fcode%3Dheight";
    assert_eq!(exported(&weights, filtered).await, [""; 0], "a filter opens nothing");
    // The same export fetched with less, and after what it names says something else.
    let status = started(&weights, "GET", "/$export?_type=Observation", String::new()).await;
    let manifest = finished(&weights, &status).await;
    let one = with("system/Observation.rs?_id=weight1,height1").await;
    assert_eq!(lines(&one, &manifest, "output").await, ["Observation/weight1"]);
    put(&ehr, observation("weight2", "p2", "height")).await;
    assert_eq!(lines(&weights, &manifest, "output").await, ["Observation/weight1", "Observation/weight3"]);
    // What was deleted says nothing any more.
    let since = manifest["transactionTime"].as_str().unwrap().to_owned();
    ehr.send("DELETE", "/Observation/weight3", &[], "").await.expect(204);
    let address = format!("/$export?_type=Observation&_since={}", since.replace('+', "%2B"));
    for (client, expected) in [(&weights, 0), (&ehr, 1)] {
        let status = started(client, "GET", &address, String::new()).await;
        let manifest = finished(client, &status).await;
        assert_eq!(lines(client, &manifest, "deleted").await.len(), expected);
    }
    let of_a_patient = with("system/Observation.r?code=weight").await;
    of_a_patient.send("GET", "/$export?_type=Observation", &ASYNC, "").await.expect(403);
}

/// What is out of sight was read from the vault, opened and only then left out.
#[actix_web::test]
async fn what_an_export_may_not_have_is_not_even_read() {
    let (world, ehr) = filled().await;
    for n in 0..20 {
        let mut large = observation(&format!("large{n}"), "p3", "height");
        large["note"] = json!([{"text": "x".repeat(100_000)}]);
        put(&ehr, large).await;
    }
    let scope = "system/Observation.rs?code=weight system/Group.rs system/Patient.rs";
    let weights = Client::of(&world.gateway, world.token_for("ehr", scope).await).await;
    let cost = async |client: &Client, address: &str| {
        let before = world.organization.work().vault_bytes;
        // Making the files alone: to fetch them costs what they hold.
        finished(client, &started(client, "GET", address, String::new()).await).await;
        world.organization.work().vault_bytes - before
    };
    let all = cost(&ehr, "/$export?_type=Observation").await;
    assert!(all > 2_000_000, "whoever may have it reads it: {all}");
    for (client, address) in [
        (&weights, "/$export?_type=Observation"),
        (&weights, "/Patient/$export?_type=Observation"),
        // They are about nobody of the Group.
        (&ehr, "/Group/g/$export?_type=Observation"),
    ] {
        let cost = cost(client, address).await;
        assert!(cost < 1_000_000, "{address}: {cost}");
    }
}
