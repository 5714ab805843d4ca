//! Chains, `_has`, includes: what other resources say of the one that is searched.

use serde_json::{Value, json};

use super::{
    shown,
    support::{Client, World, world},
};

/// Two patients of two hospitals of one group; each has an observation by their practitioner, which a
/// provenance points at. The portal may see what is about `p1` only.
async fn related() -> (World, Client, Client) {
    let world = world().await;
    let (ehr, portal) = (world.client("ehr").await, world.client("portal").await);
    let put = async |resource: Value| {
        let address = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        ehr.send("PUT", &address, &[], resource.to_string()).await.expect(201);
    };
    put(json!({"resourceType": "Organization", "id": "group", "name": "Group"})).await;
    for n in ["1", "2"] {
        let of = |kind: &str, id: &str| json!({"reference": format!("{kind}/{id}{n}")});
        let group = json!({"reference": "Organization/group"});
        put(json!({"resourceType": "Organization", "id": format!("h{n}"), "name": format!("Hospital {n}"), "partOf": group})).await;
        put(json!({"resourceType": "Practitioner", "id": format!("d{n}"), "name": [{"family": format!("Doctor{n}")}]}))
            .await;
        put(json!({"resourceType": "Patient", "id": format!("p{n}"), "managingOrganization": of("Organization", "h"),
            "name": [{"family": format!("Patient{n}")}], "identifier": [{"system": "urn:mrn", "value": n}]}))
        .await;
        put(json!({"resourceType": "Observation", "id": format!("o{n}"), "status": "final", "subject": of("Patient", "p"),
            "performer": [of("Practitioner", "d")], "code": {"coding": [{"system": "loinc", "code": format!("c{n}")}]}})).await;
        put(json!({"resourceType": "Provenance", "id": format!("v{n}"), "target": [of("Observation", "o")],
            "recorded": "2020-01-01T00:00:00Z", "agent": [{"who": of("Practitioner", "d")}]}))
        .await;
    }
    (world, ehr, portal)
}

/// Ids of a page's matches, then of what stands beside them.
fn entries(bundle: &Value) -> (Vec<String>, Vec<String>) {
    let of_mode = |mode: &str| {
        let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
        let found = entries.into_iter().filter(|entry| entry["search"]["mode"] == mode);
        let mut ids: Vec<String> =
            found.map(|entry| entry["resource"]["id"].as_str().unwrap_or_default().to_owned()).collect();
        ids.sort();
        ids
    };
    (of_mode("match"), of_mode("include"))
}

async fn found(client: &Client, path: &str) -> (Vec<String>, Vec<String>) {
    let bundle = client.get(path).await.expect(200).json();
    let (matches, beside) = entries(&bundle);
    assert_eq!(bundle["total"], matches.len(), "{path}: what stands beside is not counted");
    (matches, beside)
}

#[actix_web::test]
async fn chains_of_any_length_and_has_find_what_they_should() {
    let (_world, ehr, _portal) = related().await;
    for (path, expected) in [
        ("/Observation?patient.identifier=urn:mrn|1", vec!["o1"]),
        ("/Observation?subject:Patient.organization.name=hospital 2", vec!["o2"]),
        ("/Observation?subject:Patient.organization:Organization.partof.name=group", vec!["o1", "o2"]),
        ("/Observation?subject.name=patient1", vec!["o1"]),
        ("/Observation?performer:Practitioner.family=doctor2&patient.family=patient1", vec![]),
        ("/Patient?_has:Observation:patient:code=c1", vec!["p1"]),
        ("/Patient?_has:Observation:patient:code=c1,c2", vec!["p1", "p2"]),
        ("/Patient?_has:Observation:patient:code:not=c1", vec!["p2"]),
        ("/Patient?_has:Observation:patient:_has:Provenance:target:agent.family=doctor2", vec!["p2"]),
        ("/Practitioner?_has:Observation:performer:patient.identifier=1", vec!["d1"]),
        ("/Organization?_has:Patient:organization:_has:Observation:patient:code=loinc|c2", vec!["h2"]),
        ("/Observation?patient._has:Observation:patient:code=c1", vec!["o1"]),
    ] {
        assert_eq!(found(&ehr, &path.replace(' ', "%20")).await.0, expected, "{path}");
    }
}

#[actix_web::test]
async fn includes_bring_what_is_named_and_iterate() {
    let (_world, ehr, _portal) = related().await;
    for (query, expected) in [
        ("_include=Observation:subject", vec!["p1"]),
        ("_include=Observation:subject:Group", vec![]),
        ("_include=Observation:*", vec!["d1", "p1"]),
        ("_include=*", vec!["d1", "p1"]),
        ("_include=Observation:patient&_include=Patient:organization", vec!["p1"]),
        ("_include=Observation:patient&_include:iterate=Patient:organization", vec!["h1", "p1"]),
        (
            "_include=Observation:patient&_include:iterate=Patient:organization&_include:iterate=Organization:partof",
            vec!["group", "h1", "p1"],
        ),
        ("_revinclude=Provenance:target", vec!["v1"]),
        ("_revinclude=*", vec!["v1"]),
        ("_revinclude=Provenance:target&_include:iterate=Provenance:agent", vec!["d1", "v1"]),
        ("_include=Observation:encounter", vec![]),
    ] {
        let (matches, beside) = found(&ehr, &format!("/Observation?code=c1&{query}")).await;
        assert_eq!(
            (matches, beside),
            (vec!["o1".to_owned()], expected.into_iter().map(str::to_owned).collect()),
            "{query}"
        );
    }
    let everyone = found(
        &ehr,
        "/Organization?name=group&_revinclude:iterate=Organization:partof&_revinclude:iterate=Patient:organization",
    );
    assert_eq!(everyone.await.1, ["h1", "h2", "p1", "p2"]);
    let strict = [("prefer", "handling=strict")];
    ehr.send("GET", "/Observation?_include=Observation:shoe", &strict, "").await.expect(400);
    let lenient = ehr.get("/Observation?_include=Observation:shoe").await.expect(200).text();
    assert!(lenient.contains("_include is not supported here"), "{lenient}");
}

#[actix_web::test]
async fn what_a_caller_may_not_see_makes_nothing_be_found_nor_stands_beside_anything() {
    let (_world, ehr, portal) = related().await;
    // The patient's own, but by a practitioner and of an organization that are out of sight.
    for (denied, absent) in [
        ("/Observation?patient.identifier=2", "/Observation?patient.identifier=never"),
        ("/Observation?performer:Practitioner.family=doctor1", "/Observation?performer:Practitioner.family=never"),
        ("/Patient?organization.name=hospital", "/Patient?organization.name=never"),
        ("/Patient?_has:Observation:patient:code=c2", "/Patient?_has:Observation:patient:code=never"),
        ("/Patient?_has:Observation:patient:code:not=c1", "/Patient?_has:Observation:patient:code:not=c1,never"),
        ("/Practitioner?_has:Observation:performer:code=c1", "/Practitioner?_has:Observation:performer:code=never"),
        ("/Practitioner?family=doctor1", "/Practitioner?family=never"),
        ("/Observation?subject=Patient/p2", "/Observation?subject=Patient/never"),
        ("/Observation?_id=o2&_include=*", "/Observation?_id=never&_include=*"),
        ("/Observation?subject=Patient/p2&_summary=count", "/Observation?subject=Patient/never&_summary=count"),
    ] {
        let answers = [portal.get(denied).await, portal.get(absent).await].map(|got| {
            let (status, headers, text) = shown(&got);
            // The link repeats what was asked.
            (status, headers, text.replace(denied.split('?').nth(1).unwrap(), absent.split('?').nth(1).unwrap()))
        });
        let [mut of_denied, mut of_absent] = answers;
        for answer in [&mut of_denied, &mut of_absent] {
            let mut bundle: Value = serde_json::from_str(&answer.2).unwrap();
            bundle["link"] = Value::Null;
            answer.1.retain(|(name, _)| name != "content-length");
            answer.2 = bundle.to_string();
        }
        assert_eq!(of_denied, of_absent, "{denied}");
        assert_eq!(serde_json::from_str::<Value>(&of_denied.2).unwrap()["total"], 0, "{denied}");
    }
    assert_eq!(found(&portal, "/Observation?patient.identifier=1&_include=*&_revinclude=*").await.0, ["o1"]);
    let (matches, beside) = found(&portal, "/Observation?_include=*&_revinclude=*").await;
    assert_eq!((matches, beside), (vec!["o1".to_owned()], vec!["p1".to_owned()]));
    assert_eq!(found(&portal, "/Patient?_revinclude=Observation:subject").await.1, ["o1"]);
    // What the token has no scope for stands beside nothing either.
    let reader = found(&_world.client("reader").await, "/Patient?_revinclude=Observation:subject").await;
    assert_eq!(reader, (vec!["p1".to_owned(), "p2".to_owned()], Vec::new()));
    assert_eq!(found(&ehr, "/Patient?_revinclude=Observation:subject").await.1, ["o1", "o2"]);
}

#[actix_web::test]
async fn whoever_sees_a_resource_beside_a_match_stands_in_the_log() {
    let (_world, ehr, _portal) = related().await;
    let events = "/AuditEvent?patient=p2&action=E&_summary=count";
    assert_eq!(ehr.get(events).await.expect(200).json()["total"], 0);
    ehr.get("/Organization?_id=h2&_revinclude=Patient:organization").await.expect(200);
    assert_eq!(ehr.get(events).await.expect(200).json()["total"], 1);
}
