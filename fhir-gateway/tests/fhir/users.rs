//! `user/` scopes: a practitioner whom the token names and the ledger says that the hospital has enrolled.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use careledger_gateway::{config, keys::OrganizationSigner, ledger::clock};
use careledger_wire::{ids::Address, proto::governance::MsgSuspendPractitioner};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use super::{
    condition,
    support::{Client, World, world_that_trusts},
};

const AUDIENCE: &str = "http://localhost/hospital/fhir";
/// Test key, made with OpenSSL for tests only.
const KEY: &[u8] = include_bytes!("../../src/auth/testdata/p384.pem");

/// An identity provider as far as a gateway asks it: discovery and keys. It ends with the test's process.
fn issuer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("http://{}", listener.local_addr().unwrap());
    let mut key = Jwk::from_encoding_key(&EncodingKey::from_ec_pem(KEY).unwrap(), Algorithm::ES384).unwrap();
    key.common.key_id = Some("one".to_owned());
    let discovery = json!({"issuer": name, "jwks_uri": format!("{name}/keys")}).to_string();
    let keys = json!({"keys": [key]}).to_string();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map(Result::unwrap) {
            let mut asked = [0; 4_096];
            let length = connection.read(&mut asked).unwrap();
            let body = if asked[..length].starts_with(b"GET /keys ") { &keys } else { &discovery };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            connection.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        }
    });
    name
}

struct Hospital {
    world: World,
    ehr: Client,
    issuer: String,
    doctor: Address,
}

impl Hospital {
    async fn new() -> Self {
        let issuer = issuer();
        let trusted = config::Issuer {
            issuer: issuer.clone(),
            audience: AUDIENCE.to_owned(),
            scopes: "patient/*.rs user/*.cruds user/Observation.rs?category=laboratory".to_owned(),
            keys_seconds: 300,
            announced: false,
        };
        let world = world_that_trusts(vec![trusted]).await;
        let ehr = world.client("ehr").await;
        for patient in ["p1", "p2"] {
            let body = json!({"resourceType": "Patient", "id": patient});
            ehr.send("PUT", &format!("/Patient/{patient}"), &[], body.to_string()).await.expect(201);
            let id = format!("c-{patient}");
            ehr.send("PUT", &format!("/Condition/{id}"), &[], condition(&id, patient)).await.expect(201);
        }
        let doctor = OrganizationSigner::random().address();
        let hospital = Self { world, ehr, issuer, doctor };
        hospital.put_practitioner("doctor", Some(&doctor)).await;
        hospital.put_practitioner("visitor", None).await;
        hospital
    }

    async fn put_practitioner(&self, id: &str, account: Option<&Address>) {
        let identifiers = account
            .map_or(json!([{"value": id}]), |account| json!([{"system": "urn:careledger:account", "value": account}]));
        let body = json!({"resourceType": "Practitioner", "id": id, "identifier": identifiers});
        let got = self.ehr.send("PUT", &format!("/Practitioner/{id}"), &[], body.to_string()).await;
        assert!([200, 201].contains(&got.status), "{}", got.text());
    }

    /// An app with a token of the issuer.
    async fn app(&self, scope: &str, more: Value) -> Client {
        let mut claims = json!({"iss": self.issuer, "aud": AUDIENCE, "exp": clock() + 240, "sub": "alice",
            "client_id": "app", "scope": scope});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let header = Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::ES384) };
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_pem(KEY).unwrap()).unwrap();
        Client::of(&self.world.gateway, token).await
    }
}

#[actix_web::test]
async fn an_enrolled_practitioner_reaches_what_user_scopes_say_and_anybody_else_nothing_by_them() {
    let hospital = Hospital::new().await;
    let absolute = format!("{AUDIENCE}/Practitioner/doctor");
    for (user, expected) in [
        (json!({"fhirUser": "Practitioner/doctor"}), 200),
        (json!({"fhirUser": absolute}), 200),
        (json!({}), 403),
        (json!({"fhirUser": "Practitioner/visitor"}), 403),
        (json!({"fhirUser": "Practitioner/nobody"}), 403),
        (json!({"fhirUser": "Patient/p1"}), 403),
        (json!({"fhirUser": "http://elsewhere.example.org/fhir/Practitioner/doctor"}), 403),
        (json!({"fhirUser": ""}), 403),
    ] {
        let app = hospital.app("user/*.rs openid fhirUser", user.clone()).await;
        for path in ["/Condition/c-p1", "/Condition/c-p2", "/Condition", "/Patient?_has:Condition:patient:_id=c-p1"] {
            assert_eq!(app.get(path).await.status, expected, "{user} {path}");
        }
        app.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p1")).await.expect(403);
    }
    let app = hospital.app("user/Condition.cruds", json!({"fhirUser": "Practitioner/doctor"})).await;
    app.send("PUT", "/Condition/c-p1", &[], condition("c-p1", "p1")).await.expect(200);
    app.get("/Patient/p1").await.expect(403);
    let events = hospital.ehr.get("/AuditEvent?patient=p1&_count=500").await.expect(200).text();
    assert!(events.contains(&format!("{}#client=app&user=alice", hospital.issuer)));
}

#[actix_web::test]
async fn user_scopes_end_with_the_enrolment_and_leave_patient_scopes_what_they_are() {
    let hospital = Hospital::new().await;
    let context = json!({"fhirUser": "Practitioner/doctor", "patient": "p1"});
    let app = hospital.app("user/Condition.rs patient/Patient.rs", context).await;
    app.get("/Condition/c-p2").await.expect(200);
    app.get("/Patient/p1").await.expect(200);
    app.get("/Patient/p2").await.expect(404);
    let organization = &hospital.world.organization;
    let suspend =
        MsgSuspendPractitioner { sender: organization.address().to_string(), practitioner: hospital.doctor.to_vec() };
    organization.ledger.submit(&organization.keys.signer, vec![suspend.into()]).await.unwrap();
    app.get("/Condition/c-p2").await.expect(403);
    app.get("/Patient/p1").await.expect(200);
    hospital.put_practitioner("doctor", Some(&hospital.doctor)).await;
    app.get("/Condition/c-p2").await.expect(200);
    hospital.put_practitioner("doctor", None).await;
    app.get("/Condition/c-p2").await.expect(403);
}

fn practitioner(id: &str, account: Option<&Address>) -> Value {
    let identifiers = account.map(|account| json!([{"system": "urn:careledger:account", "value": account}]));
    let mut body = json!({"resourceType": "Practitioner", "id": id, "active": true});
    if let Some(identifiers) = identifiers {
        body["identifier"] = identifiers;
    }
    body
}

fn transaction(entries: &[Value]) -> String {
    let entry = |resource: &Value| {
        let url = format!("Practitioner/{}", resource["id"].as_str().unwrap());
        json!({"resource": resource, "request": {"method": "PUT", "url": url}})
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).to_string()
}

/// Whoever was such a Practitioner was taken for another person by the ledger and by other organizations.
#[actix_web::test]
async fn an_account_is_one_practitioners_of_a_server() {
    let hospital = Hospital::new().await;
    let ehr = &hospital.ehr;
    let (doctor, other) = (hospital.doctor, OrganizationSigner::random().address());
    let put = async |id: &str, account: Option<&Address>| {
        ehr.send("PUT", &format!("/Practitioner/{id}"), &[], practitioner(id, account).to_string()).await
    };
    let refused = put("second", Some(&doctor)).await.expect(422);
    assert!(refused.text().contains("another Practitioner of this server has that account"), "{}", refused.text());
    assert!(!refused.text().contains(&doctor.to_string()), "{}", refused.text());
    ehr.get("/Practitioner/second").await.expect(404);
    ehr.post("/Practitioner", practitioner("x", Some(&doctor)).to_string()).await.expect(422);
    // It can be put again, also by what renews it.
    put("doctor", Some(&doctor)).await.expect(200);
    put("second", None).await.expect(201);
    put("second", Some(&doctor)).await.expect(422);
    // One request gives it to one.
    let both = transaction(&[practitioner("third", Some(&other)), practitioner("fourth", Some(&other))]);
    let outcome = ehr.post("/", both).await.expect(422).json();
    assert!(outcome["issue"][0]["expression"][0].as_str().unwrap().starts_with("Bundle.entry["), "{outcome}");
    ehr.get("/Practitioner/third").await.expect(404);
    let taken = transaction(&[practitioner("third", Some(&other)), practitioner("fourth", Some(&doctor))]);
    ehr.post("/", taken).await.expect(422);
    ehr.get("/Practitioner/third").await.expect(404);
    // It goes from one to another by one request, or once the one is gone.
    let moved = transaction(&[practitioner("second", Some(&doctor)), practitioner("doctor", None)]);
    ehr.post("/", moved).await.expect(200);
    put("doctor", Some(&doctor)).await.expect(422);
    ehr.send("DELETE", "/Practitioner/second", &[], "").await.expect(204);
    put("doctor", Some(&doctor)).await.expect(200);
    let app = hospital.app("user/Condition.rs", json!({"fhirUser": "Practitioner/doctor"})).await;
    app.get("/Condition/c-p1").await.expect(200);
}

#[actix_web::test]
async fn of_racing_practitioners_one_gets_an_account() {
    let hospital = Hospital::new().await;
    for round in 0..10 {
        let account = OrganizationSigner::random().address();
        let puts = (0..8).map(|number| {
            let id = format!("r{round}-{number}");
            let (path, body) = (format!("/Practitioner/{id}"), practitioner(&id, Some(&account)).to_string());
            let ehr = &hospital.ehr;
            async move { ehr.send("PUT", &path, &[], body).await.status }
        });
        let mut statuses = futures::future::join_all(puts).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422, 422, 422, 422, 422, 422, 422]);
        let found = hospital.ehr.get(&format!("/Practitioner?identifier=urn:careledger:account|{account}")).await;
        assert_eq!(found.expect(200).json()["total"], 1);
    }
}

#[actix_web::test]
async fn search_parameters_of_user_scopes_hold_and_those_that_cannot_are_refused_aloud() {
    let hospital = Hospital::new().await;
    let user = json!({"fhirUser": "Practitioner/doctor"});
    for (id, category) in [("lab", "laboratory"), ("vit", "vital-signs")] {
        let body = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"},
            "category": [{"coding": [{"code": category}]}], "subject": {"reference": "Patient/p1"}});
        hospital.ehr.send("PUT", &format!("/Observation/{id}"), &[], body.to_string()).await.expect(201);
    }
    let app = hospital.app("user/Observation.rs?category=laboratory", user.clone()).await;
    app.get("/Observation/lab").await.expect(200);
    app.get("/Observation/vit").await.expect(404);
    assert_eq!(app.get("/Observation").await.expect(200).json()["total"], 1);
    for wrong in ["user/Observation.rs?shoe=a", "patient/Patient.rs?_has:Group:member:_id=a user/Observation.rs"] {
        let refused = hospital.app(wrong, user.clone()).await.get("/Observation/lab").await.expect(401);
        assert!(refused.text().contains("search parameters that cannot be enforced"), "{}", refused.text());
    }
}
