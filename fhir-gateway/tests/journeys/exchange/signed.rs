//! What only the patient's signature does, and what becomes of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_gateway::{cli::consent::complete, keys::random, ledger::clock, mapping::consent::permit};
use careledger_wire::{
    ids::{GrantId, SubjectId},
    proto::consent::{ConsentMode, MsgGrantConsent},
};
use serde_json::{Value, json};

use super::world::{ACCOUNT, World, transaction_of};
use crate::chain;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_consent_for_the_patient() {
    let world = World::new().await;
    let task = world.ask().await;
    let unsigned = json!({
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": format!("Patient/{}", world.at_a)},
    });
    assert_eq!(world.a.post("/Consent", &unsigned).await.status, 422);
    let mut proposed = unsigned.clone();
    proposed["status"] = json!("proposed");
    assert_eq!(world.a.post("/Consent", &proposed).await.status, 201);

    // What the patient signed is what is granted: a Consent that was widened afterwards is refused.
    let organization = world.b.organization.address();
    let other = SubjectId::new(random());
    let grant = MsgGrantConsent {
        sender: world.patient.address().to_string(),
        subject: other.to_vec(),
        grant: random::<32>().to_vec(),
        grantee: organization.to_vec(),
        mode: ConsentMode::View as i32,
        not_before: clock(),
        expires_at: clock() + 60,
        terms: vec![1; 32],
        body: vec![2; 32],
        request: Vec::new(),
        delegable: false,
    };
    world.approve(&task).await;
    let kept = world.a.get("/Consent/c1").await.expect(200);
    let widened = world.bundle("Consent/c2", &kept, grant.into()).await;
    let refused = world.a.post("", &widened).await;
    assert_eq!(refused.status, 422, "{}", String::from_utf8_lossy(&refused.bytes));
    // A Consent in force is neither changed nor silently closed.
    let mut closed = kept.clone();
    closed["status"] = json!("inactive");
    assert_eq!(world.a.put("/Consent/c1", &closed).await.status, 422);
}

/// The patient opens a label later: the Consent changes with the signed amendment beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_amended_consent_opens_what_it_says_now() {
    let world = World::new().await;
    world.file(&world.at_a, &["PSY"]).await;
    world.opened().await;
    assert_eq!(world.documents_at_b().await.len(), 1);

    let first = world.a.get("/Consent/c1").await.expect(200);
    let mut wider = first.clone();
    wider["provision"]["securityLabel"] = json!([{"code": "PSY"}]);
    assert_eq!(world.a.put("/Consent/c1", &wider).await.status, 422, "nobody amends for the patient");
    let other = world.amendment(&first, 2);
    assert_eq!(world.a.post("", &world.bundle("Consent/c1", &wider, other.into()).await).await.status, 422);

    let signed = world.amendment(&wider, 2);
    world.a.post("", &world.bundle("Consent/c1", &wider, signed.into()).await).await.expect(200);
    assert_eq!(world.documents_at_b().await.len(), 2);
    let late = world.amendment(&first, 2);
    assert_eq!(world.a.post("", &world.bundle("Consent/c1", &first, late.into()).await).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_not_brought_back_by_the_same_transaction() {
    let world = World::new().await;
    let grant = world.opened().await;
    let mut consent = world.a.get("/Consent/c1").await.expect(200);
    consent["id"] = json!("c2");
    let mut provenance = world.a.get("/Provenance").await.expect(200)["entry"][0]["resource"].clone();
    provenance["target"] = json!([{"reference": "Consent/c2"}]);
    let again = transaction_of(json!([
        {"resource": consent, "request": {"method": "PUT", "url": "Consent/c2"}},
        {"resource": provenance, "request": {"method": "POST", "url": "Provenance"}},
    ]));
    assert_eq!(world.a.post("", &again).await.status, 422, "another Consent has that grant");
    world.revoke(&grant).await;
    let deletion = transaction_of(json!([{"request": {"method": "DELETE", "url": "Consent/c1"}}]));
    world.a.post("", &deletion).await.expect(200);
    let refused = world.a.post("", &again).await;
    assert_eq!(refused.status, 422, "{}", String::from_utf8_lossy(&refused.bytes));
    assert_eq!(world.a.get("/Consent/c2").await.status, 404);
}

/// A Consent for B and the patient's transaction that grants it, signed as the patient's `ahead`th next one:
/// the entries of both.
async fn granting(world: &World, id: &str, ahead: u64) -> ([Value; 2], GrantId) {
    let consent = complete(&world.consent(&world.b.organization.address()));
    let message = world.grant(&consent).into();
    let transaction = chain::signed_ahead(&world.ledger, &world.patient, message, ahead).await;
    (world.entries(&format!("Consent/{id}"), &consent, &transaction), permit(&consent).unwrap().grant)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_refused_leaves_no_grant_on_the_ledger() {
    let world = World::new().await;
    let grant_of =
        async |grant: &GrantId| world.ledger.get(&careledger_app::keys::consent(&world.subject, grant)).await.unwrap();
    let ([first, first_signed], first_grant) = granting(&world, "c1", 0).await;
    // The second transaction of the patient leaves a gap in the sequence.
    let ([second, second_signed], second_grant) = granting(&world, "c2", 2).await;
    let refused = world.a.post("", &transaction_of([&first, &first_signed, &second, &second_signed])).await.expect(422);
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[2]", "{refused}");
    // A signature that does not hold.
    let mut forged = second_signed.clone();
    let data = forged["resource"]["signature"][0]["data"].as_str().unwrap();
    let mut transaction = STANDARD.decode(data).unwrap();
    *transaction.last_mut().unwrap() ^= 1;
    forged["resource"]["signature"][0]["data"] = json!(STANDARD.encode(transaction));
    world.a.post("", &transaction_of([&first, &first_signed, &second, &forged])).await.expect(422);
    // The hospital's own part: a second Patient cannot have the account.
    let twin = json!({"resource": {
        "resourceType": "Patient", "identifier": [{"system": ACCOUNT, "value": world.patient.address()}],
    }, "request": {"method": "POST", "url": "Patient"}});
    let refused = world.a.post("", &transaction_of([&first, &first_signed, &twin])).await.expect(422);
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[2]");
    for grant in [&first_grant, &second_grant] {
        assert_eq!(grant_of(grant).await, None);
    }
    // One after the other, both are granted.
    let ([second, second_signed], second_grant) = granting(&world, "c2", 1).await;
    world.a.post("", &transaction_of([&first, &first_signed, &second, &second_signed])).await.expect(200);
    for grant in [&first_grant, &second_grant] {
        assert!(grant_of(grant).await.is_some());
    }
}
