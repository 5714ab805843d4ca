//! What one gateway asks another: by whom, once, and with a line in the log of who is asked.

use careledger_gateway::{decide::Rule, keys::OrganizationSigner, ledger::clock, release::signed::Request};
use serde_json::{Value, json};

use super::world::{ACCOUNT, World};
use crate::chain;

#[tokio::test(flavor = "multi_thread")]
async fn another_gateways_request_is_accepted_once_and_from_the_ledgers_organizations_only() {
    let world = World::new().await;
    let grant = world.opened().await;
    let right = json!({"grant": grant, "subject": world.subject, "purpose": "TREAT", "practitioner": world.doctor});
    let body = json!({"right": right, "resource_type": "DocumentReference"}).to_string().into_bytes();
    let path = "/north/peer/v1/search";
    let recipient = world.a.organization.address();
    let request = Request { chain_id: chain::CHAIN, recipient: &recipient, path, body: &body };
    let http = reqwest::Client::new();
    let send = async |signer: &OrganizationSigner, body: &[u8]| {
        let (headers, _) = request.sign(signer, clock());
        let mut statuses = Vec::new();
        for _ in 0..2 {
            let mut call = http.post(format!("{}{path}", world.a.url)).body(body.to_vec());
            for (name, value) in headers.write() {
                call = call.header(name, value);
            }
            statuses.push(call.send().await.unwrap().status().as_u16());
        }
        statuses
    };
    let asker = &world.b.organization.keys.signer;
    assert_eq!(send(asker, &body).await, [200, 401], "the second time it is a replay");
    assert_eq!(send(asker, b"{}").await, [401, 401], "another body than was signed");
    assert_eq!(send(&OrganizationSigner::random(), &body).await, [401, 401], "nobody whom the ledger knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_another_gateway_is_one_line_that_says_what_and_how_it_ended() {
    let world = World::new().await;
    let (_, binary) = world.file(&world.at_a, &["PSY"]).await;
    let grant = world.opened().await;
    let events = async || {
        let doctor = format!("{ACCOUNT}%7C{}", world.doctor);
        let found = world.a.get(&format!("/AuditEvent?agent:identifier={doctor}&_count=500")).await.expect(200);
        let entries = found["entry"].as_array().cloned().unwrap_or_default();
        entries.into_iter().map(|entry| entry["resource"].clone()).collect::<Vec<_>>()
    };
    let before = events().await.len();
    assert_eq!(world.read_at_a(&grant, "Binary", &world.binary).await, [world.binary.as_str()]);
    assert_eq!(world.read_at_a(&grant, "Binary", &binary).await, Vec::<String>::new());
    assert_eq!(world.searched(&grant, "TREAT", "Condition").await, Vec::<String>::new());
    world.revoke(&grant).await;
    assert_eq!(world.searched(&grant, "TREAT", "DocumentReference").await, Vec::<String>::new());

    let mut events = events().await;
    events.truncate(events.len() - before);
    events.reverse();
    let patient = json!({"reference": format!("Patient/{}", world.at_a)});
    let by = json!({"identifier": {"system": "urn:careledger:grant", "value": grant}});
    let expected = [
        (json!({"reference": format!("Binary/{}", world.binary)}), None),
        (json!(format!("Binary/{binary}")), Some(Rule::Labels)),
        (json!({"display": "Condition"}), None),
        (json!("DocumentReference"), Some(Rule::NotRevoked)),
    ];
    assert_eq!(events.len(), expected.len(), "one line for each request: {events:?}");
    for (event, (what, refused)) in events.iter().zip(expected) {
        let entities = event["entity"].as_array().unwrap();
        let of_request = entities.iter().filter(|entity| entity["type"]["code"] == "XrequestId").count();
        let known: Vec<&Value> = entities[..entities.len() - of_request].iter().map(|entity| &entity["what"]).collect();
        if refused.is_some() {
            assert_eq!(known, [&patient, &by], "{event}");
            assert_eq!(entities[1]["detail"][0]["valueString"], what, "{event}");
        } else {
            assert_eq!((known, of_request), (vec![&patient, &what, &by], 1), "{event}");
        }
        assert_eq!(event["outcome"], if refused.is_some() { "4" } else { "0" }, "{event}");
        assert_eq!(event["outcomeDesc"], refused.map_or(Value::Null, |rule| json!(rule.refused())), "{event}");
    }
}
