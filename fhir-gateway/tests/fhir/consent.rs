//! Accounts, and Consents without a signature.

use serde_json::{Value, json};

use super::support::world;

#[actix_web::test]
async fn an_account_is_not_locked_to_a_patient_that_never_came_to_be() {
    let world = world().await;
    let client = world.client("ehr").await;
    let account = careledger_wire::ids::Address::new([9; 20]);
    let patient = |id: &str| {
        json!({"resourceType": "Patient", "id": id,
            "identifier": [{"system": "urn:careledger:account", "value": account}]})
    };
    // The second entry is refused after the first was looked at.
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": patient("ghost"), "request": {"method": "PUT", "url": "Patient/ghost"}},
        {"resource": consent("active", "05"), "request": {"method": "POST", "url": "Consent"}},
    ]});
    client.post("/", bundle.to_string()).await.expect(422);
    client.send("PUT", "/Patient/p1", &[], patient("p1").to_string()).await.expect(201);
    client.get("/Patient/p1/$subject").await.expect(200);
    client.send("PUT", "/Patient/ghost", &[], patient("ghost").to_string()).await.expect(422);
    client.get("/Patient/p1/$subject").await.expect(200);
}

fn consent(status: &str, grant: &str) -> Value {
    json!({
        "resourceType": "Consent", "status": status,
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p1"},
        "identifier": [{"system": "urn:careledger:grant", "value": grant.repeat(32)}],
    })
}

#[actix_web::test]
async fn a_grant_is_named_by_one_consent() {
    let world = world().await;
    let client = world.client("ehr").await;
    let created = client.post("/Consent", consent("draft", "05").to_string()).await.expect(201);
    client.post("/Consent", consent("draft", "05").to_string()).await.expect(422);
    client.post("/Consent", consent("draft", "06").to_string()).await.expect(201);
    let mut changed = consent("draft", "05");
    changed["id"] = json!(created.id());
    client.send("PUT", &format!("/Consent/{}", created.id()), &[], changed.to_string()).await.expect(200);
}
