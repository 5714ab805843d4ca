//! What scopes reach of what another custodian opens.

use careledger_gateway::{
    keys::OrganizationSigner,
    outcome::Refusal,
    remote::{merge, rewrite::RemoteId},
};

use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_another_custodian_opens_is_within_the_scopes_and_behind_the_practitioner_who_asks() {
    let world = World::new().await;
    let task = world.ask().await;
    let grant = world.approve(&task).await;
    let id = world.shown_id(&grant, &world.document).await;
    let search = format!("/DocumentReference?patient=Patient/{}", world.at_b);
    let (inside, outside) = ("type=http://loinc.org|11488-4", "type=http://loinc.org|57133-1");
    for (scope, expected) in [
        (format!("system/DocumentReference.rs?{inside}"), 1),
        (format!("system/DocumentReference.rs?{outside}"), 0),
        (format!("system/DocumentReference.rs?{outside} system/DocumentReference.rs?{inside}&status=current"), 1),
        (format!("system/DocumentReference.rs?_id={id}"), 1),
        ("system/DocumentReference.rs?_tag=none".to_owned(), 0),
    ] {
        let token = world.b.token_for("ehr", &scope).await;
        let found = world.b.get_by(&token, &search).await.expect(200);
        assert_eq!(found["total"], expected, "{scope}");
        assert_eq!(found["entry"].as_array().map_or(0, Vec::len), expected, "{scope}");
        let read = world.b.get_by(&token, &format!("/DocumentReference/{id}")).await;
        assert_eq!(read.status, if expected == 1 { 200 } else { 404 }, "{scope}");
        let absent = world.shown_id(&grant, "nothing-there").await;
        let absent = world.b.get_by(&token, &format!("/DocumentReference/{absent}")).await;
        assert!(expected == 1 || read == absent, "{scope}: outside of a scope and absent are the same bytes");
    }
    // By whose request: the doctor's own, another's, anybody's.
    let (b, remote) = (&world.b.organization, RemoteId::parse(&id).unwrap());
    let stranger = OrganizationSigner::random().address();
    for (by, is_open) in [(Some(&world.doctor), true), (Some(&stranger), false), (None, true)] {
        let found = merge::search(b, "DocumentReference", &world.at_b, by).await.unwrap();
        assert_eq!(found.len(), usize::from(is_open), "{by:?}");
        let read = merge::read(b, "DocumentReference", &remote, None, by).await;
        assert_eq!(read.is_ok(), is_open, "{by:?}");
        assert!(is_open || read == Err(Refusal::NotFound), "{by:?}");
    }
}
