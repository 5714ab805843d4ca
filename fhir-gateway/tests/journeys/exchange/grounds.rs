//! Grounds of access besides the patient's own grant to who asks: a delegate's grant, an emergency.

use careledger_gateway::{
    cli::consent::complete,
    keys::{OrganizationKeys, random},
    ledger::clock,
    mapping::consent::permit,
};
use careledger_wire::{
    ids::GrantId,
    proto::{
        consent::{EmergencyReason, MsgBreakGlass, MsgDelegateConsent, MsgReviewEmergency, ReviewOutcome},
        identity::{MsgRegisterOrganization, OrganizationKind},
    },
};
use serde_json::json;

use super::world::World;
use crate::chain;

/// A hospital that the patient trusts lets B act within its grant; what closes the one closes the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_reads_as_long_as_the_grant_stands_that_it_came_from() {
    let world = World::new().await;
    world.enrol().await;
    let keys = OrganizationKeys::random();
    chain::register(&world.ledger, &world.registrar, &keys, OrganizationKind::Provider).await.unwrap();
    let delegator = keys.signer.address();

    let mut given = world.consent(&delegator);
    given["extension"] = json!([{"url": "urn:careledger:extension:delegable", "valueBoolean": true}]);
    let given = complete(&given);
    let mut silent = given.clone();
    silent["extension"].as_array_mut().unwrap().retain(|extension| extension.get("valueBoolean").is_none());
    let unsaid = world.bundle("Consent/given", &silent, world.grant(&given).into()).await;
    assert_eq!(world.a.post("", &unsaid).await.status, 422, "what the patient signs is what the Consent says");
    let bundle = world.bundle("Consent/given", &given, world.grant(&given).into()).await;
    world.a.post("", &bundle).await.expect(200);

    let mut delegated = complete(&world.consent(&world.b.organization.address()));
    delegated["provision"]["period"] = given["provision"]["period"].clone();
    let parent = permit(&given).unwrap().grant;
    let said = world.grant(&delegated);
    let message = MsgDelegateConsent {
        sender: delegator.to_string(),
        subject: said.subject,
        parent: parent.to_vec(),
        grant: said.grant,
        grantee: said.grantee,
        mode: said.mode,
        not_before: said.not_before,
        expires_at: said.expires_at,
        terms: said.terms,
        body: said.body,
    };
    let bundle = world.bundle_signed_by(&keys.signer, "Consent/delegated", &delegated, message.into()).await;
    world.a.post("", &bundle).await.expect(200);
    let grant = permit(&delegated).unwrap().grant;
    assert_eq!(world.released(&grant, "TREAT").await, 1);
    assert_eq!(world.released(&parent, "TREAT").await, 0, "the grant itself is another organization's");
    world.revoke(&parent).await;
    assert_eq!(world.released(&grant, "TREAT").await, 0);
}

/// An accredited organization sees a labelled document without consent, and everybody sees that.
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_opens_until_its_review_finds_it_unjustified() {
    let world = World::new().await;
    world.enrol().await;
    world.file(&world.at_a, &["PSY"]).await;
    let emergency = GrantId::new(random());
    assert_eq!(world.released(&emergency, "ETREAT").await, 0);

    let keys = &world.b.organization.keys;
    let accredits = MsgRegisterOrganization {
        sender: world.registrar.address().to_string(),
        organization: keys.signer.address().to_vec(),
        kind: OrganizationKind::Provider as i32,
        encryption_key: keys.encryption.public().to_vec(),
        evidence: vec![1; 32],
        expires_at: clock() + chain::HALF_A_YEAR,
        emergency: true,
    };
    world.ledger.submit(&world.registrar, vec![accredits.into()]).await.unwrap();
    let breaks = MsgBreakGlass {
        sender: keys.signer.address().to_string(),
        subject: world.subject.to_vec(),
        emergency: emergency.to_vec(),
        practitioner: world.doctor.to_vec(),
        reason: EmergencyReason::Unconscious as i32,
        seconds: 3_600,
    };
    world.ledger.submit(&keys.signer, vec![breaks.into()]).await.unwrap();
    assert_eq!(world.released(&emergency, "ETREAT").await, 2);
    let events = world.a.get(&format!("/AuditEvent?patient=Patient/{}", world.at_a)).await.expect(200);
    assert!(events.to_string().contains(&world.doctor.to_string()), "the patient sees who looked");

    let reviews = MsgReviewEmergency {
        sender: world.registrar.address().to_string(),
        subject: world.subject.to_vec(),
        emergency: emergency.to_vec(),
        outcome: ReviewOutcome::NotJustified as i32,
    };
    world.ledger.submit(&world.registrar, vec![reviews.into()]).await.unwrap();
    assert_eq!(world.released(&emergency, "ETREAT").await, 0);
}
