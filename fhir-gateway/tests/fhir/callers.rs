//! Callers whose scopes reach further for one type than for another.

use careledger_gateway::{
    auth::{Caller, NEVER, scopes::Scopes},
    interactions::{
        Answer, Context, Incoming,
        condition::Locks,
        create,
        documents::generate,
        export::{self, Of},
        operation::Sent,
    },
    json::Document,
    outcome::Refusal,
};
use serde_json::{Value, json};

use super::{
    support::{Client, World, world},
    two_patients,
};

const MHD: &str = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.";

/// A caller for whom `patient/` scopes are about `p1`.
struct Acting<'a> {
    world: &'a World,
    locks: Locks,
    caller: Caller,
}

impl<'a> Acting<'a> {
    fn new(world: &'a World, client: &str, scopes: &str) -> Self {
        let caller = Caller {
            client: client.to_owned(),
            scopes: Scopes::parse(scopes).unwrap(),
            patient: Some("p1".to_owned()),
            expires_at: NEVER,
            person: None,
        };
        Self { world, locks: Locks::of(world.organization.records.clone()), caller }
    }

    fn context(&self) -> Context<'_> {
        Context::in_background(&self.world.organization, &self.locks, &self.caller)
    }

    async fn create(&self, resource: &Value) -> Result<Answer, Refusal> {
        let document = Document::parse(resource.to_string()).unwrap();
        let resource_type = resource["resourceType"].as_str().unwrap();
        create::create(&self.context(), resource_type, &Incoming::Json(document), None).await
    }
}

/// A Binary with the bytes `text` of each of two patients, by the patient's id.
async fn with_binaries() -> (World, Client) {
    let (world, ehr, _portal) = two_patients().await;
    for patient in ["p1", "p2"] {
        let headers = [("content-type", "text/plain"), ("x-security-context", &*format!("Patient/{patient}"))];
        ehr.send("PUT", &format!("/Binary/{patient}"), &headers, "text").await.expect(201);
    }
    (world, ehr)
}

#[actix_web::test]
async fn a_hash_tells_nothing_of_a_binary_that_the_caller_may_not_read() {
    let (world, _ehr) = with_binaries().await;
    let acting = Acting::new(&world, "ehr", "system/DocumentReference.cruds patient/Binary.rs");
    let document = |binary: &str, hash: &str| {
        json!({"resourceType": "DocumentReference", "status": "current",
            "meta": {"profile": [format!("{MHD}Minimal.DocumentReference")]}, "subject": {"reference": "Patient/p1"},
            "content": [{"attachment": {"url": format!("Binary/{binary}"), "contentType": "text/plain", "hash": hash}}]})
    };
    // SHA-1 of `text`, and of something else.
    let (right, wrong) = ("Ny6gjKsz5xwCxlHbyDpHTTLGduo=", "Ck1VqNd45QIvq3AZd8XYQLvEhtA=");
    for (binary, hash, is_taken) in
        [("p1", right, true), ("p1", wrong, false), ("p2", right, true), ("p2", wrong, true), ("p9", wrong, true)]
    {
        let answer = acting.create(&document(binary, hash)).await;
        assert_eq!(answer.is_ok(), is_taken, "Binary/{binary} {hash}: {answer:?}");
    }
}

#[actix_web::test]
async fn what_is_stored_beside_a_document_keeps_the_rule_of_its_own_type() {
    let world = world().await;
    let published = |patient: &str| {
        json!({"resourceType": "DocumentReference", "status": "current",
            "meta": {"profile": [format!("{MHD}SimplifiedPublish.DocumentReference")]},
            "masterIdentifier": {"value": "1"}, "subject": {"reference": format!("Patient/{patient}")},
            "content": [{"attachment": {"contentType": "text/plain", "data": "dGV4dA=="}}]})
    };
    let generated = |patient: &str| {
        let binary = json!({"resourceType": "Binary", "contentType": "text/plain", "data": "dGV4dA==",
            "securityContext": {"reference": format!("Patient/{patient}")}});
        let parameters = json!({"resourceType": "Parameters", "parameter": [{"name": "document", "resource": binary}]});
        Document::parse(parameters.to_string()).unwrap()
    };
    for scopes in [
        "system/DocumentReference.cruds system/List.cruds patient/Binary.cruds",
        "system/DocumentReference.cruds system/Binary.cruds patient/List.cruds",
    ] {
        let acting = Acting::new(&world, "ehr", scopes);
        for (patient, expected) in [("p1", None), ("p2", Some(Refusal::NotFound))] {
            assert_eq!(acting.create(&published(patient)).await.err(), expected, "{scopes} {patient}");
            let made = generate::generate(&acting.context(), &generated(patient)).await;
            assert_eq!(made.err(), expected, "{scopes} {patient}");
        }
    }
}

/// The worker goes on when the token is long gone, and what an identity provider vouched for with it.
#[actix_web::test]
async fn an_export_is_for_registered_clients() {
    let world = world().await;
    let document = || Err(Refusal::NotFound);
    let sent = Sent { is_empty: true, document: &document, pairs: &[] };
    for (client, is_begun) in [("ehr", true), ("https://issuer.example.org#client=app&user=alice", false)] {
        let acting = Acting::new(&world, client, "system/*.rs");
        let begun = export::begin(&acting.context(), Of::System, &sent, "http://here/$export").await;
        assert_eq!(begun.is_ok(), is_begun, "{client}: {begun:?}");
        if !is_begun {
            assert_eq!(begun.err(), Some(Refusal::Forbidden("system/*.rs".to_owned())));
        }
    }
}

/// Whether a Practitioner is here, and enrolled, was told by how an access request was refused.
#[actix_web::test]
async fn an_access_request_tells_a_patients_client_of_no_practitioner() {
    let (world, ehr, _portal) = two_patients().await;
    ehr.send("PUT", "/Practitioner/here", &[], r#"{"resourceType":"Practitioner","id":"here"}"#).await.expect(201);
    let request = |requester: &str| {
        let request = super::doors::access_request();
        serde_json::from_str::<Value>(&request.to_string().replace("{id}", requester)).unwrap()
    };
    let own = Acting::new(&world, "portal", "patient/*.cruds");
    assert_eq!(own.create(&request("here")).await, own.create(&request("gone")).await);
    let whole = Acting::new(&world, "ehr", "system/*.cruds");
    assert_ne!(whole.create(&request("here")).await, whole.create(&request("gone")).await);
}
