//! What a grant does not open is as absent as what never was.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::world::{PDF, World, document, id};

/// Ids of the documents that B finds.
async fn found_at_b(world: &World) -> Vec<Value> {
    world.documents_at_b().await.iter().map(|entry| entry["resource"]["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_labelled_document_stays_closed_unless_its_label_was_opened() {
    let world = World::new().await;
    let (labelled, binary) = world.file(&world.at_a, &["PSY"]).await;
    let grant = world.opened().await;
    assert_eq!(found_at_b(&world).await, [json!(world.shown_id(&grant, &world.document).await)]);
    let closed = world.b.get(&format!("/DocumentReference/{}", world.shown_id(&grant, &labelled).await)).await;
    let closed_binary = world.b.get(&format!("/Binary/{}", world.shown_id(&grant, &binary).await)).await;
    let absent = world.b.get(&format!("/DocumentReference/{}", world.shown_id(&grant, "nothing-there").await)).await;
    assert_eq!(absent.status, 404);
    assert_eq!(closed, absent);
    assert_eq!(closed_binary, absent);
}

/// What is closed is not looked at: no clock tells what is there from what is not.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_closed_grant_what_is_there_costs_what_is_not() {
    let world = World::new().await;
    let grant = world.opened().await;
    let cost = async |resource_type: &str, id: &str| {
        let before = world.a.organization.work();
        let found = world.read_at_a(&grant, resource_type, id).await;
        (found.len(), world.a.organization.work() - before)
    };
    let (found, open) = cost("DocumentReference", &world.document).await;
    assert_eq!(found, 1);
    world.revoke(&grant).await;
    let absent = "0".repeat(world.document.len());
    for (resource_type, id) in [("DocumentReference", &world.document), ("Binary", &world.binary)] {
        let denied = cost(resource_type, id).await;
        assert_eq!(denied, cost(resource_type, &absent).await, "{resource_type}");
        assert!(denied.0 == 0 && denied.1.vault_bytes < open.vault_bytes, "{denied:?} {open:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_nothing_of_another_patient() {
    let world = World::new().await;
    let (others, binary) = world.file(&world.somebody_else().await, &[]).await;
    let grant = world.opened().await;

    assert_eq!(world.searched(&grant, "TREAT", "DocumentReference").await, [world.document.as_str()]);
    assert_eq!(world.read_at_a(&grant, "DocumentReference", &world.document).await, [world.document.as_str()]);
    assert_eq!(world.read_at_a(&grant, "DocumentReference", &others).await, Vec::<String>::new());
    assert_eq!(found_at_b(&world).await, [json!(world.shown_id(&grant, &world.document).await)]);
    let absent = world.b.get(&format!("/DocumentReference/{}", world.shown_id(&grant, "nothing-there").await)).await;
    assert_eq!(absent.status, 404);
    for (resource_type, id) in [("DocumentReference", &others), ("Binary", &binary)] {
        let path = format!("/{resource_type}/{}", world.shown_id(&grant, id).await);
        assert_eq!(world.b.get(&path).await, absent, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_is_closed_when_any_document_that_points_at_it_is() {
    let world = World::new().await;
    let grant = world.opened().await;
    let binary = format!("/Binary/{}", world.shown_id(&grant, &world.binary).await);
    assert_eq!(world.b.get(&binary).await.status, 200);
    let labelled = document(&world.at_a, &world.binary, &["PSY"]);
    let labelled = id(world.a.post("/DocumentReference", &labelled).await.expect(201));
    assert_eq!(world.b.get(&binary).await.status, 404, "one of its documents is closed");
    let mut opened = document(&world.at_a, &world.binary, &[]);
    opened["id"] = json!(labelled);
    world.a.put(&format!("/DocumentReference/{labelled}"), &opened).await.expect(200);
    assert_eq!(world.b.get(&binary).await.status, 200);
    let other = world.somebody_else().await;
    world.a.post("/DocumentReference", &document(&other, &world.binary, &[])).await.expect(201);
    assert_eq!(world.b.get(&binary).await.status, 404, "one of its documents is about somebody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_no_document_of_the_patient_opens_is_as_absent() {
    let world = World::new().await;
    let other = world.somebody_else().await;
    let unpointed = id(world.a.post_raw("application/pdf", PDF).await.expect(201));
    let named = json!({
        "resourceType": "Binary", "contentType": "application/pdf", "data": STANDARD.encode(PDF),
        "securityContext": {"reference": format!("Patient/{other}")},
    });
    let of_another = id(world.a.post("/Binary", &named).await.expect(201));
    world.a.post("/DocumentReference", &document(&world.at_a, &of_another, &[])).await.expect(201);
    let grant = world.opened().await;

    assert_eq!(world.b.get(&format!("/Binary/{}", world.shown_id(&grant, &world.binary).await)).await.status, 200);
    let absent = world.b.get(&format!("/Binary/{}", world.shown_id(&grant, "nothing-there").await)).await;
    assert_eq!(absent.status, 404);
    for binary in [&unpointed, &of_another] {
        assert_eq!(world.b.get(&format!("/Binary/{}", world.shown_id(&grant, binary).await)).await, absent);
        assert_eq!(world.read_at_a(&grant, "Binary", binary).await, Vec::<String>::new());
    }
}

/// A grant that names no label opens what is known to carry none that closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_not_known_to_be_open_closes_a_document() {
    let world = World::new().await;
    let confidentiality = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    let grant = world.opened().await;
    let mut open = vec![world.document.clone()];
    for (label, is_open) in [
        (json!({"coding": [{"system": confidentiality, "code": "M"}]}), true),
        (json!({"coding": [{"system": "http://hospital.example/labels", "code": "M"}]}), false),
        (json!({"coding": [{"code": "N"}]}), false),
        (json!({"coding": [{"system": confidentiality, "display": "very restricted"}]}), false),
        (json!({"text": "Psychiatry - very restricted"}), false),
    ] {
        let mut labelled = document(&world.at_a, &world.binary, &[]);
        labelled["securityLabel"] = json!([label]);
        let labelled = id(world.a.post("/DocumentReference", &labelled).await.expect(201));
        open.extend(is_open.then_some(labelled));
    }
    let mut found = world.searched(&grant, "TREAT", "DocumentReference").await;
    found.sort();
    open.sort();
    assert_eq!(found, open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binarys_own_label_closes_it() {
    let world = World::new().await;
    let grant = world.opened().await;
    for (label, is_open) in [("N", true), ("PSY", false)] {
        let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
        let binary = json!({
            "resourceType": "Binary", "contentType": "application/pdf", "data": STANDARD.encode(PDF),
            "meta": {"security": [{"system": system, "code": label}]},
        });
        let binary = id(world.a.post("/Binary", &binary).await.expect(201));
        world.a.post("/DocumentReference", &document(&world.at_a, &binary, &[])).await.expect(201);
        let expected: &[&str] = if is_open { &[binary.as_str()] } else { &[] };
        assert_eq!(world.read_at_a(&grant, "Binary", &binary).await, expected, "{label}");
    }
}

/// A server has more than one name, and an address more than one spelling.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_document_closes_its_binary_however_it_spells_the_address() {
    let world = World::new().await;
    let grant = world.opened().await;
    let address = world.a.organization.base_url.clone();
    for spelled in [
        "Binary/{id}",
        "Binary/{id}/",
        "./Binary/{id}",
        "/Binary/{id}",
        "/north/fhir/Binary/{id}",
        "Binary/{id}?x=1",
        "%42inary/{id}",
        "http://localhost:1/north/fhir/Binary/{id}",
        "{upper}/Binary/{id}",
        "{address}//Binary/{id}",
        "Binary/{id}/_history/1",
    ] {
        let (_, binary) = world.file(&world.at_a, &[]).await;
        assert_eq!(world.read_at_a(&grant, "Binary", &binary).await, [binary.as_str()]);
        let upper = address.replacen("http", "HTTP", 1);
        let spelled = spelled.replace("{id}", &binary).replace("{upper}", &upper).replace("{address}", &address);
        let mut closed = document(&world.at_a, &binary, &["PSY"]);
        closed["content"][0]["attachment"]["url"] = json!(spelled);
        world.a.post("/DocumentReference", &closed).await.expect(201);
        assert_eq!(world.read_at_a(&grant, "Binary", &binary).await, Vec::<String>::new(), "{spelled}");
    }
}
