//! ITI-66, ITI-67 and ITI-68: what is found, and what is said of what is not had.

use serde_json::json;

use super::{example, found, put, recipient};

#[actix_web::test]
async fn iti_66_finds_lists_by_every_parameter_by_get_and_by_post() {
    let (_world, client) = recipient().await;
    let mut list = example("mhd/List-ex-compSubmissionSetFull.json");
    list["contained"][0]["name"] = json!([{"family": "Welby", "given": ["Marcus"]}]);
    put(&client, &list).await;
    let other = json!({"resourceType": "List", "id": "other", "status": "retired", "mode": "working"});
    put(&client, &other).await;
    for (query, is_found) in [
        ("patient=Patient/ex-patient&code=submissionset&status=current", true),
        ("patient=ex-patient&code=submissionset&status=current", true),
        ("patient=ex-patient&code=folder&status=current", false),
        ("code=https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes%7Csubmissionset", true),
        ("date=ge2004-12-25&date=lt2004-12-27", true),
        ("date=lt2004-12-25", false),
        ("designationType=225728007", true),
        ("designationType=http://snomed.info/sct%7C225728007", true),
        ("designationType=http://loinc.org%7C225728007", false),
        ("identifier=urn:ietf:rfc:3986%7Curn:uuid:2158bc9d-3d34-4503-9253-1e0383f828ff", true),
        ("patient.identifier=http://example.org/patients%7Cmrn-1234", true),
        ("patient.identifier=http://example.org/patients%7Cmrn-4321", false),
        ("source.family=welby&source.given=MARC", true),
        ("source:Practitioner.family=Welby", true),
        ("source:Patient.family=Welby", false),
        ("source.given=Consuelo", false),
        ("sourceId=urn:oid:1.2.3.4", true),
        ("sourceId=urn:oid:1.2.3", false),
        ("status=current", true),
        ("_id=ex-compSubmissionSetFull&_lastUpdated=ge2020", true),
    ] {
        let expected = if is_found { vec!["ex-compSubmissionSetFull"] } else { Vec::new() };
        for ids in found(&client, "List", query).await {
            assert_eq!(ids, expected, "{query}");
        }
    }
}

#[actix_web::test]
async fn iti_67_finds_documents_by_every_parameter_by_get_and_by_post() {
    let (_world, client) = recipient().await;
    let mut document = example("mhd/DocumentReference-ex-DocumentReferenceComprehensive.json");
    document["contained"][0]["name"] = json!([{"family": "Welby", "given": ["Marcus"]}]);
    put(&client, &document).await;
    for (query, is_found) in [
        ("patient=ex-patient&status=current", true),
        ("patient=ex-patient&status=superseded", false),
        ("patient.identifier=http://example.org/patients%7Cmrn-1234&status=current", true),
        ("author.given=marcus&author.family=WELBY", true),
        ("author.given=Marcus&author.family=Kiley", false),
        ("authenticator:Practitioner.name=welby", true),
        ("category=http://loinc.org%7C11369-6", true),
        ("creation=2021-01-01T04:50:50Z", true),
        ("creation=ge2020-12-31&creation=lt2021-01-02", true),
        ("creation=lt2020-12-31", false),
        ("date=ge2020-12-31", true),
        ("event=ACCTRECEIVABLE", true),
        ("facility=http://snomed.info/sct%7C82242000", true),
        ("format=urn:ihe:iti:xds-sd:text:2008", true),
        ("identifier=urn:ietf:rfc:3986%7Curn:uuid:0c287d32-01e3-4d87-9953-9fcc9404eb21", true),
        ("period=ge2020-12-31&period=lt2021-01-02", true),
        ("period=lt2020-12-30", false),
        ("related:identifier=urn:oid:1.2.840.113556.1.8000.2554.17917.46600.21181.17878.33419.62048.57128.2759", true),
        ("security-label=http://terminology.hl7.org/CodeSystem/v3-Confidentiality%7CN", true),
        ("security-label=R", false),
        ("setting=408467006", true),
        ("type=http://loinc.org%7C55107-7", true),
        ("type=http://loinc.org%7C34133-9", false),
        ("_id=ex-DocumentReferenceComprehensive&_lastUpdated=ge2020", true),
    ] {
        let query = format!("{query}&_id=ex-DocumentReferenceComprehensive");
        let expected = if is_found { vec!["ex-DocumentReferenceComprehensive"] } else { Vec::new() };
        for ids in found(&client, "DocumentReference", &query).await {
            assert_eq!(ids, expected, "{query}");
        }
    }
}

#[actix_web::test]
async fn iti_68_says_of_a_document_that_is_not_had_why_as_far_as_the_caller_may_know() {
    let (_world, client) = recipient().await;
    let png = [("content-type", "image/png"), ("x-security-context", "Patient/ex-patient")];
    let id = client.send("POST", "/Binary", &png, [1u8, 2, 3]).await.expect(201).id();
    let path = format!("/Binary/{id}");
    client.send("GET", &path, &[("accept", "application/pdf")], "").await.expect(406);
    assert_eq!(client.send("GET", &path, &[("accept", "image/png")], "").await.expect(200).bytes, [1, 2, 3]);
    client.get("/Binary/never").await.expect(404);
    client.send("DELETE", &path, &[], "").await.expect(204);
    client.get(&path).await.expect(410);
    // Who may not see it learns not even that it is gone.
    let portal = _world.client("portal").await;
    let (denied, absent) = (portal.get(&path).await.expect(404), portal.get("/Binary/never").await.expect(404));
    assert_eq!(denied.json(), absent.json());
    _world.client("reader").await.get(&path).await.expect(403);
}
