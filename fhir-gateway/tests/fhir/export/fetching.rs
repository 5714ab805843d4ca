//! Files that are fetched: by whom, for how long, and what is decided again.

use std::{future::poll_fn, pin::Pin, sync::Arc, time::Instant};

use actix_web::{
    App,
    body::{BoxBody, MessageBody as _},
    test::{self, TestRequest},
    web::Bytes,
};
use careledger_gateway::{ledger, server};
use serde_json::json;

use super::{ASYNC, OF_TWO, PATIENCE, POLL, exported, filled, finished, lines, observation, path, put, started};
use crate::{shown, support::FHIR};

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
