//! What the access log says of an export.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ASYNC, filled, finished, lines, path, started};

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
