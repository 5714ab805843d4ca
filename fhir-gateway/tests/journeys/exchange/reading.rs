//! Who reads what the patient opened, and until when.

use careledger_gateway::{
    audit::Origin,
    release::{
        answer::{self, BOUNDS, Bounds},
        messages::Search,
    },
};
use serde_json::{Value, json};

use super::world::{self, ACCOUNT, PDF, World, id};

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_reads_what_the_patient_opened_and_no_more_after_it_was_closed() {
    let world = World::new().await;
    assert_eq!(world.documents_at_b().await, Vec::<Value>::new(), "nothing is open before the patient says so");
    let task = world.ask().await;
    assert_eq!(task["requester"]["display"], json!("Dr. South"));
    let grant = world.approve(&task).await;

    let found = world.documents_at_b().await;
    assert_eq!(found.len(), 1, "{found:?}");
    let resource = &found[0]["resource"];
    assert_eq!(resource["meta"]["source"], json!(format!("{ACCOUNT}:{}", world.a.organization.address())));
    assert_eq!(resource["subject"]["reference"], json!(format!("Patient/{}", world.at_b)));
    let url = resource["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    let read = world.b.get(&format!("/{url}")).await;
    assert_eq!((read.status, read.bytes.as_slice()), (200, PDF));
    let wrapped = world.b.get_as(&format!("/{url}"), "application/fhir+json").await.expect(200);
    assert_eq!(wrapped["id"], json!(url.trim_start_matches("Binary/")), "a raw Binary has its id here");
    assert_eq!(wrapped["meta"]["source"], resource["meta"]["source"]);
    assert_eq!(wrapped["contentType"], json!("application/pdf"));
    let document_at_b = format!("/DocumentReference/{}", resource["id"].as_str().unwrap());
    assert_eq!(world.b.get(&document_at_b).await.expect(200)["content"], resource["content"]);

    let events = world.a.get(&format!("/AuditEvent?patient=Patient/{}", world.at_a)).await.expect(200);
    let text = events.to_string();
    assert!(text.contains(&world.doctor.to_string()), "the patient sees who looked");

    let absent = world.b.get(&format!("/Binary/{}", world.shown_id(&grant, "nothing-there").await)).await;
    world.revoke(&grant).await;
    let refused = world.b.get(&format!("/{url}")).await;
    assert_eq!(refused.status, 404);
    assert_eq!(refused, absent, "denied and absent are the same bytes");
    assert_eq!(world.b.get(&document_at_b).await.status, 404);
    assert_eq!(world.documents_at_b().await, Vec::<Value>::new());
    assert_eq!(world.a.get(&format!("/Binary/{}", world.binary)).await.status, 200, "A still has its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_that_is_down_is_named_and_never_a_silent_gap() {
    let world = World::new().await;
    world.opened().await;
    let url =
        world.documents_at_b().await[0]["resource"]["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    world.a.stop().await;
    let found = world.documents_at_b().await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["resource"]["resourceType"], json!("OperationOutcome"));
    assert_eq!(found[0]["search"]["mode"], json!("outcome"));
    assert!(found[0].to_string().contains(&world.a.organization.address().to_string()));
    assert_eq!(world.b.get(&format!("/{url}")).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patients_own_client_reads_what_was_opened_for_that_patient_and_for_nobody_else() {
    let world = World::new().await;
    world.opened().await;
    let found = world.documents_at_b().await;
    let document = format!("/DocumentReference/{}", found[0]["resource"]["id"].as_str().unwrap());
    let portal = world.b.token_of("portal").await;
    world.b.get_by(&portal, &document).await.expect(200);
    let search = "/DocumentReference?patient=Patient/local";
    assert_eq!(world.b.get_by(&portal, search).await.expect(200)["entry"][0]["resource"], found[0]["resource"]);

    // The same client at A may see another Patient only.
    let portal = world.a.token_of("portal").await;
    world.a.get_by(&portal, &format!("/DocumentReference/{}", world.document)).await.expect(404);
    world.a.get_by(&portal, &format!("/DocumentReference?patient=Patient/{}", world.at_a)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_practitioner_who_is_gone_asks_for_nothing() {
    let world = World::new().await;
    world.opened().await;
    let found = world.documents_at_b().await;
    assert_eq!(found.len(), 1);
    let practitioners = world.b.get("/Practitioner").await.expect(200);
    let practitioner = practitioners["entry"][0]["resource"]["id"].as_str().unwrap();
    assert_eq!(world.b.delete(&format!("/Practitioner/{practitioner}")).await.status, 204);
    assert_eq!(world.documents_at_b().await, Vec::<Value>::new());
    let document = format!("/DocumentReference/{}", found[0]["resource"]["id"].as_str().unwrap());
    assert_eq!(world.b.get(&document).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_request_is_never_turned_to_another_patient_whatever_code_comes_first() {
    let world = World::new().await;
    world.opened().await;
    assert_eq!(world.documents_at_b().await.len(), 1);
    let other = id(world.b.post("/Patient", &json!({"resourceType": "Patient"})).await.expect(201));
    let search = format!("/Task?patient=Patient/{}", world.at_b);
    let mut own = world.b.get(&search).await.expect(200)["entry"][0]["resource"].clone();
    let path = format!("/Task/{}", own["id"].as_str().unwrap());
    own["for"] = json!({"reference": format!("Patient/{other}")});
    let code = |code: &str| json!({"system": "urn:careledger:task-code", "code": code});
    own["code"] = json!({"coding": [code("decoy"), code("access-request")]});
    world.b.put(&path, &own).await.expect(422);
    own["code"] = json!({"coding": [code("decoy")]});
    world.b.put(&path, &own).await.expect(422);
    // Nor after it was deleted.
    world.b.delete(&path).await.expect(204);
    own["code"] = json!({"coding": [code("decoy"), code("access-request")]});
    world.b.put(&path, &own).await.expect(422);
    let found = world.b.get(&format!("/DocumentReference?patient=Patient/{other}")).await.expect(200);
    assert_eq!(found["entry"].as_array().map_or(0, Vec::len), 0, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_of_another_gateway_goes_on_after_an_id() {
    let world = World::new().await;
    let mut filed = vec![world.document.clone()];
    for _ in 0..3 {
        filed.push(world.file(&world.at_a, &[]).await.0);
    }
    filed.sort();
    let grant = world.opened().await;
    for after in 0..=filed.len() {
        let last = after.checked_sub(1).map(|last| filed[last].as_str());
        let answer = world.searched_after(&grant, "TREAT", "DocumentReference", last).await;
        let found: Vec<String> = answer.documents.into_iter().map(|document| document.id).collect();
        assert_eq!((found.as_slice(), answer.is_truncated), (&filed[after..], false), "after {last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_search_of_another_gateway_never_loads_all_that_a_patient_has() {
    let world = World::new().await;
    let mut filed = vec![world.document.clone()];
    for labels in [&[][..], &["PSY"], &[], &[]] {
        let (document, _) = world.file(&world.at_a, labels).await;
        filed.extend(labels.is_empty().then_some(document));
    }
    filed.sort();
    let grant = world.opened().await;
    let (a, b) = (&world.a.organization, world.b.organization.address());
    let asker = answer::asker(a, b, Origin::default()).await.unwrap().unwrap();
    let answers = async |bounds: Bounds| {
        let (right, resource_type) = (world.right(&grant, "TREAT"), "DocumentReference".to_owned());
        let mut search = Search { right, resource_type, after: None };
        let mut answers: Vec<Vec<(String, usize)>> = Vec::new();
        loop {
            let answer = answer::search(a, &asker, &search, &bounds).await.unwrap();
            let documents = answer.documents.into_iter().map(|document| (document.id, document.body.len()));
            answers.push(documents.collect());
            search.after = answers.last().and_then(|answer| Some(answer.last()?.0.clone()));
            if !answer.is_truncated {
                return answers;
            }
        }
    };
    let all = answers(BOUNDS).await.concat();
    assert_eq!(all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), filed, "the closed one is in none");
    let one_more_than_one = all.iter().map(|(_, bytes)| bytes).max().unwrap() + 1;
    for (bounds, expected) in [
        (Bounds { documents: 3, ..BOUNDS }, vec![3, 1]),
        (Bounds { documents: 2, ..BOUNDS }, vec![2, 2]),
        (Bounds { bytes: one_more_than_one, ..BOUNDS }, vec![1; 4]),
        (Bounds { bytes: 0, ..BOUNDS }, vec![1; 4]),
    ] {
        let answers = answers(bounds).await;
        assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), expected, "{bounds:?}");
        assert_eq!(answers.concat(), all, "{bounds:?}");
    }
}

/// What a custodian does not hold is not to be had of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_leads_back_here_where_the_custodian_holds_it_and_stays_as_it_was_elsewhere() {
    let world = World::new().await;
    let base_url = world.a.organization.base_url.clone();
    let third = "https://third.example.org/fhir/Binary/abc";
    let mut filed = world::document(&world.at_a, &world.binary, &[]);
    let attachment = |url: &str| json!({"attachment": {"contentType": "application/pdf", "url": url}});
    filed["content"] = json!([attachment(&format!("{base_url}/Binary/{}", world.binary)), attachment(third)]);
    let filed = id(world.a.post("/DocumentReference", &filed).await.expect(201));
    let grant = world.opened().await;
    let shown = world.b.get(&format!("/DocumentReference/{}", world.shown_id(&grant, &filed).await)).await.expect(200);
    let url = |at: usize| shown["content"][at]["attachment"]["url"].clone();
    assert_eq!(url(0), json!(format!("Binary/{}", world.shown_id(&grant, &world.binary).await)));
    assert_eq!(url(1), json!(third));
}
