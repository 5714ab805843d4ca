//! Journey 1 of the product through two gateways: one with the embedded ledger, the other reaching
//! it through its RPC.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_gateway::{
    cli::consent::{complete, prepared},
    decide::Rule,
    keys::{OrganizationKeys, OrganizationSigner, random},
    ledger::{Ledger, clock},
    mapping::{consent::permit, task::timestamp},
    release::{
        messages::{Read, Right, Search},
        signed::Request,
    },
    remote::peer,
};
use careledger_wire::{
    commitment,
    ids::{Address, GrantId, SubjectId},
    message::Message,
    proto::{
        consent::{
            ConsentMode, EmergencyReason, MsgAmendConsent, MsgBreakGlass, MsgDelegateConsent, MsgGrantConsent,
            MsgReviewEmergency, MsgRevokeConsent, ReviewOutcome,
        },
        identity::{MsgClaimSubject, MsgRegisterOrganization, OrganizationKind},
    },
};
use serde_json::{Value, json};

use super::{
    chain,
    site::{self, Reply, Site},
};

const ACCOUNT: &str = "urn:careledger:account";
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
/// How long something that happens in the background may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
const POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// Two hospitals, a patient known to both, and a document that the first one holds.
struct World {
    _folder: tempfile::TempDir,
    registrar: OrganizationSigner,
    ledger: Ledger,
    a: Site,
    b: Site,
    patient: OrganizationSigner,
    subject: SubjectId,
    /// Ids: the Patient at A, the document and its Binary at A, the Patient at B.
    at_a: String,
    document: String,
    binary: String,
    at_b: String,
    doctor: Address,
}

fn id(reply: Value) -> String {
    reply["id"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registrar = OrganizationSigner::random();
        let (ledger, rpc) = chain::embedded(&folder.path().join("ledger"), &registrar);
        let (keys_a, keys_b) = (OrganizationKeys::random(), OrganizationKeys::random());
        for keys in [&keys_a, &keys_b] {
            chain::register(&ledger, &registrar, keys, OrganizationKind::Provider).await.unwrap();
        }
        let (address_a, address_b) = (site::free_address(), site::free_address());
        let peer =
            |keys: &OrganizationKeys, address, name: &str| (keys.signer.address(), format!("http://{address}/{name}"));
        let (peer_a, peer_b) = (peer(&keys_a, address_a, "north"), peer(&keys_b, address_b, "south"));
        let a = Site::start(folder.path(), "north", &keys_a, ledger.clone(), address_a, &[peer_b]).await;
        let through_rpc = Ledger::connect(&rpc).await.unwrap();
        let b = Site::start(folder.path(), "south", &keys_b, through_rpc, address_b, &[peer_a]).await;

        let patient = OrganizationSigner::random();
        let named = |name: &str| json!([{"family": name}]);
        let body = json!({
            "resourceType": "Patient", "name": named("Doe"),
            "identifier": [{"system": ACCOUNT, "value": patient.address()}],
        });
        let at_a = id(a.post("/Patient", &body).await.expect(201));
        let subject = commitment::subject_id(&keys_a.signer.address(), &patient.address());
        let claim = MsgClaimSubject {
            sender: patient.address().to_string(),
            subject: subject.to_vec(),
            encryption_key: OrganizationKeys::random().encryption.public().to_vec(),
        };
        ledger.relay(chain::signed(&ledger, &patient, claim.into()).await).await.unwrap();
        let binary = id(a.post_raw("application/pdf", PDF).await.expect(201));
        let document = id(a.post("/DocumentReference", &document(&at_a, &binary, &[])).await.expect(201));
        let local = json!({"resourceType": "Patient", "id": "local", "name": named("Doe")});
        let at_b = id(b.put("/Patient/local", &local).await.expect(201));
        let doctor = OrganizationSigner::random().address();
        Self { _folder: folder, registrar, ledger, a, b, patient, subject, at_a, document, binary, at_b, doctor }
    }

    /// A doctor of B asks for access; returns once the patient can see it at A.
    async fn ask(&self) -> Value {
        let doctor = json!({
            "resourceType": "Practitioner", "name": [{"text": "Dr. South"}],
            "identifier": [{"system": ACCOUNT, "value": self.doctor}],
        });
        let doctor = id(self.b.post("/Practitioner", &doctor).await.expect(201));
        let custodian = self.a.organization.address();
        let input = |kind: &str, name: &str, value: Value| json!({"type": {"coding": [{"system": "urn:careledger:task-input", "code": kind}]}, name: value});
        let task = json!({
            "resourceType": "Task", "status": "requested", "intent": "order",
            "code": {"coding": [{"system": "urn:careledger:task-code", "code": "access-request"}]},
            "for": {"reference": format!("Patient/{}", self.at_b)},
            "requester": {"reference": format!("Practitioner/{doctor}")},
            "reasonCode": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}]},
            "restriction": {"period": {"end": timestamp(clock() + 3_600)}},
            "input": [
                input("subject", "valueIdentifier", json!({"system": "urn:careledger:subject", "value": self.subject})),
                input("custodian", "valueIdentifier", json!({"system": ACCOUNT, "value": custodian})),
                input("scope", "valueCode", json!("DocumentReference")),
                input("scope", "valueCode", json!("Condition")),
            ],
        });
        self.b.post("/Task", &task).await.expect(201);
        let search = format!("/Task?patient=Patient/{}", self.at_a);
        until(async || self.a.get(&search).await.expect(200)["entry"][0]["resource"].clone().as_object().cloned())
            .await
            .into()
    }

    /// The patient narrows and approves: a Consent with the signed transaction beside it.
    async fn approve(&self, task: &Value, change: impl FnOnce(&mut Value)) -> (Reply, GrantId) {
        let mut consent = self.consent(&self.b.organization.address());
        let practitioner = json!({"type": "Practitioner", "identifier": {"system": ACCOUNT, "value": self.doctor}});
        let role = json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]});
        let actors = consent["provision"]["actor"].as_array_mut().unwrap();
        actors.push(json!({"role": role, "reference": practitioner}));
        change(&mut consent);
        let consent = complete(&consent);
        let permit = permit(&consent).unwrap();
        let request = task["identifier"][0]["value"].as_str().unwrap();
        let mut grant = self.grant(&consent);
        grant.request = hex::decode(request).unwrap();
        let reply = self.a.post("", &self.bundle("Consent/c1", &consent, grant.into()).await).await;
        (reply, permit.grant)
    }

    /// A Consent of the patient for an organization.
    fn consent(&self, organization: &Address) -> Value {
        let organization = json!({"type": "Organization", "identifier": {"system": ACCOUNT, "value": organization}});
        let role = json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]});
        json!({
            "resourceType": "Consent", "status": "active",
            "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": format!("Patient/{}", self.at_a)},
            "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
            "provision": {
                "type": "permit",
                "period": {"start": timestamp(clock() - 60), "end": timestamp(clock() + 3_600)},
                "actor": [{"role": role, "reference": organization}],
                "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
                "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "DocumentReference"}],
            },
        })
    }

    /// The message that grants what a complete Consent says.
    fn grant(&self, consent: &Value) -> MsgGrantConsent {
        let permit = permit(consent).unwrap();
        let said = prepared(consent, &permit);
        let bytes = |name: &str| hex::decode(said[name].as_str().unwrap()).unwrap();
        MsgGrantConsent {
            sender: self.patient.address().to_string(),
            subject: self.subject.to_vec(),
            grant: permit.grant.to_vec(),
            grantee: permit.terms.organization.to_vec(),
            mode: ConsentMode::View as i32,
            not_before: permit.window.start,
            expires_at: permit.window.end,
            terms: bytes("terms"),
            body: bytes("body"),
            request: Vec::new(),
            delegable: permit.delegable,
        }
    }

    /// A transaction Bundle that puts a Consent with the patient's signed message beside it.
    async fn bundle(&self, url: &str, consent: &Value, message: Message) -> Value {
        self.bundle_signed_by(&self.patient, url, consent, message).await
    }

    async fn bundle_signed_by(
        &self,
        wallet: &OrganizationSigner,
        url: &str,
        consent: &Value,
        message: Message,
    ) -> Value {
        let transaction = chain::signed(&self.ledger, wallet, message).await;
        let provenance = self.provenance(url, &transaction);
        let mut consent = consent.clone();
        consent["id"] = json!(url.trim_start_matches("Consent/"));
        json!({"resourceType": "Bundle", "type": "transaction", "entry": [
            {"resource": consent, "request": {"method": "PUT", "url": url}},
            {"resource": provenance, "request": {"method": "POST", "url": "Provenance"}},
        ]})
    }

    /// A Consent to `document` types for B, and the patient's transaction that grants it, signed as
    /// the patient's `ahead`th next one.
    async fn granting(&self, id: &str, ahead: u64) -> (Value, Value, GrantId) {
        let organization =
            json!({"type": "Organization", "identifier": {"system": ACCOUNT, "value": self.b.organization.address()}});
        let consent = complete(&json!({
            "resourceType": "Consent", "id": id, "status": "active",
            "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": format!("Patient/{}", self.at_a)},
            "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
            "provision": {
                "type": "permit",
                "period": {"start": timestamp(clock() - 60), "end": timestamp(clock() + 3_600)},
                "actor": [{"role": {"coding": [{"code": "IRCP"}]}, "reference": organization}],
                "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
                "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "DocumentReference"}],
            },
        }));
        let permit = permit(&consent).unwrap();
        let said = prepared(&consent, &permit);
        let bytes = |name: &str| hex::decode(said[name].as_str().unwrap()).unwrap();
        let message = MsgGrantConsent {
            sender: self.patient.address().to_string(),
            subject: self.subject.to_vec(),
            grant: permit.grant.to_vec(),
            grantee: permit.terms.organization.to_vec(),
            mode: ConsentMode::View as i32,
            not_before: permit.window.start,
            expires_at: permit.window.end,
            terms: bytes("terms"),
            body: bytes("body"),
            request: Vec::new(),
            delegable: false,
        };
        let transaction = chain::signed_ahead(&self.ledger, &self.patient, message.into(), ahead).await;
        let entry = json!({"resource": consent, "request": {"method": "PUT", "url": format!("Consent/{id}")}});
        let provenance = self.provenance(&format!("Consent/{id}"), &transaction);
        (entry, json!({"resource": provenance, "request": {"method": "POST", "url": "Provenance"}}), permit.grant)
    }

    fn provenance(&self, target: &str, transaction: &[u8]) -> Value {
        json!({
            "resourceType": "Provenance",
            "target": [{"reference": target}],
            "recorded": timestamp(clock()),
            "agent": [{"who": {"reference": format!("Patient/{}", self.at_a)}}],
            "signature": [{
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.7"}],
                "when": timestamp(clock()),
                "who": {"reference": format!("Patient/{}", self.at_a)},
                "sigFormat": "application/vnd.careledger.tx",
                "data": STANDARD.encode(transaction),
            }],
        })
    }

    /// The amendment that makes the Consent's grant say what the Consent says.
    fn amendment(&self, consent: &Value, version: u32) -> MsgAmendConsent {
        let permit = permit(consent).unwrap();
        let said = prepared(consent, &permit);
        let bytes = |name: &str| hex::decode(said[name].as_str().unwrap()).unwrap();
        MsgAmendConsent {
            sender: self.patient.address().to_string(),
            subject: self.subject.to_vec(),
            grant: permit.grant.to_vec(),
            version,
            mode: ConsentMode::View as i32,
            not_before: permit.window.start,
            expires_at: permit.window.end,
            terms: bytes("terms"),
            body: bytes("body"),
            delegable: false,
        }
    }

    /// The doctor is enrolled by B.
    async fn enrol(&self) {
        let doctor = json!({"resourceType": "Practitioner", "identifier": [{"system": ACCOUNT, "value": self.doctor}]});
        self.b.post("/Practitioner", &doctor).await.expect(201);
    }

    /// How many documents A releases to B's doctor under `grant`.
    async fn released(&self, grant: &GrantId, purpose: &str) -> usize {
        self.searched(grant, purpose, "DocumentReference").await.len()
    }

    fn right(&self, grant: &GrantId, purpose: &str) -> Right {
        Right { grant: *grant, subject: self.subject, purpose: purpose.to_owned(), practitioner: self.doctor }
    }

    /// Ids of what A releases to B's doctor in one signed search.
    async fn searched(&self, grant: &GrantId, purpose: &str, resource_type: &str) -> Vec<String> {
        let search = Search { right: self.right(grant, purpose), resource_type: resource_type.to_owned() };
        let answer = peer::search(&self.b.organization, &self.a.organization.address(), &search).await;
        answer.expect("A answers").documents.into_iter().map(|document| document.id).collect()
    }

    /// Ids of what A releases to B's doctor in one signed read.
    async fn read_at_a(&self, grant: &GrantId, resource_type: &str, id: &str) -> Vec<String> {
        let right = self.right(grant, "TREAT");
        let read = Read { right, resource_type: resource_type.to_owned(), id: id.to_owned() };
        let answer = peer::read(&self.b.organization, &self.a.organization.address(), &read).await;
        answer.expect("A answers").documents.into_iter().map(|document| document.id).collect()
    }

    async fn documents_at_b(&self) -> Vec<Value> {
        let found = self.b.get(&format!("/DocumentReference?patient=Patient/{}", self.at_b)).await.expect(200);
        found["entry"].as_array().cloned().unwrap_or_default()
    }

    async fn revoke(&self, grant: &GrantId) {
        let message = MsgRevokeConsent {
            sender: self.patient.address().to_string(),
            subject: self.subject.to_vec(),
            grant: grant.to_vec(),
        };
        self.ledger.relay(chain::signed(&self.ledger, &self.patient, message.into()).await).await.unwrap();
    }
}

fn document(patient: &str, binary: &str, labels: &[&str]) -> Value {
    let labels: Vec<Value> = labels.iter().map(|code| json!({"coding": [{"code": code}]})).collect();
    let mut document = json!({
        "resourceType": "DocumentReference", "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}]},
        "subject": {"reference": format!("Patient/{patient}")},
        "date": "2026-01-02T03:04:05Z",
        "content": [{"attachment": {"contentType": "application/pdf", "url": format!("Binary/{binary}"), "title": "canary-of-the-exchange"}}],
    });
    if !labels.is_empty() {
        document["securityLabel"] = json!(labels);
    }
    document
}

async fn until<T>(mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "nothing happened in {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_reads_what_the_patient_opened_and_no_more_after_it_was_closed() {
    let world = World::new().await;
    assert_eq!(world.documents_at_b().await, Vec::<Value>::new(), "nothing is open before the patient says so");
    let task = world.ask().await;
    assert_eq!(task["requester"]["display"], json!("Dr. South"));
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);

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

    let absent = world.b.get(&format!("/Binary/r.{}.nothing-there", &grant.to_string()[..16])).await;
    world.revoke(&grant).await;
    let refused = world.b.get(&format!("/{url}")).await;
    assert_eq!(refused.status, 404);
    assert_eq!(refused, absent, "denied and absent are the same bytes");
    assert_eq!(world.b.get(&document_at_b).await.status, 404);
    assert_eq!(world.documents_at_b().await, Vec::<Value>::new());
    assert_eq!(world.a.get(&format!("/Binary/{}", world.binary)).await.status, 200, "A still has its own");
}

/// What is closed is not looked at: no clock tells what is there from what is not.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_closed_grant_what_is_there_costs_what_is_not() {
    let world = World::new().await;
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);
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

/// A finished export at B, once it is there.
async fn exported_at_b(world: &World, path: &str) -> Value {
    let status = world.b.export(path).await;
    until(async || match world.b.get(&status).await {
        Reply { status: 202, .. } => None,
        reply => Some(reply.expect(200)),
    })
    .await
}

/// Paths of the files of a list of a manifest.
fn files(manifest: &Value, list: &str) -> Vec<String> {
    let files = manifest[list].as_array().unwrap().iter();
    files.map(|file| file["url"].as_str().unwrap().split("/fhir").nth(1).unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_an_export_holds_what_is_still_open_when_it_is_fetched() {
    let world = World::new().await;
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);
    let at_b = json!({
        "resourceType": "DocumentReference", "status": "current", "subject": {"reference": format!("Patient/{}", world.at_b)},
        "content": [{"attachment": {"title": "own"}}],
    });
    let own = id(world.b.post("/DocumentReference", &at_b).await.expect(201));
    // An export of the organization's own records is no disclosure of others'.
    let system = exported_at_b(&world, "/$export?_type=DocumentReference").await;
    assert_eq!(files(&system, "output").len(), 1);

    let manifest = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    assert_eq!(manifest["error"], json!([]));
    let files_at_b = files(&manifest, "output");
    assert_eq!(files_at_b.len(), 2, "{manifest}");
    let local = world.b.get(&files_at_b[0]).await.expect(200);
    assert_eq!(local["id"], json!(own));
    let remote = world.b.get(&files_at_b[1]).await.expect(200);
    assert_eq!(remote["id"], json!(format!("r.{}.{}", &grant.to_string()[..16], world.document)));
    let events = world.b.get(&format!("/AuditEvent?patient=Patient/{}", world.at_b)).await.expect(200);
    assert!(events.to_string().contains("$export"), "the patient sees the export");

    world.revoke(&grant).await;
    let after = world.b.get(&files_at_b[1]).await;
    assert_eq!((after.status, after.bytes), (200, Vec::new()), "what was closed is in no file");
    assert_eq!(world.b.get(&files_at_b[0]).await.expect(200)["id"], json!(own));
    let later = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    assert_eq!(files(&later, "output").len(), 1, "{later}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_names_the_custodian_that_did_not_answer() {
    let world = World::new().await;
    let task = world.ask().await;
    world.approve(&task, |_| {}).await.0.expect(200);
    let before = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    let file = files(&before, "output").remove(0);
    world.b.get(&file).await.expect(200);
    world.a.stop().await;
    assert_eq!(world.b.get(&file).await.status, 503, "half a file is none");
    let after = exported_at_b(&world, "/Patient/$export?_type=DocumentReference").await;
    assert_eq!(after["output"], json!([]));
    let said = world.b.get(&files(&after, "error")[0]).await.expect(200);
    let custodian = world.a.organization.address().to_string();
    assert!(said["resourceType"] == "OperationOutcome" && said.to_string().contains(&custodian), "{said}");
    assert!(!said.to_string().contains(&world.at_b), "it names no patient");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_labelled_document_stays_closed_unless_its_label_was_opened() {
    let world = World::new().await;
    let binary = id(world.a.post_raw("application/pdf", PDF).await.expect(201));
    let labelled = id(world.a.post("/DocumentReference", &document(&world.at_a, &binary, &["PSY"])).await.expect(201));
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);
    let prefix = &grant.to_string()[..16];
    let ids: Vec<Value> = world.documents_at_b().await.iter().map(|entry| entry["resource"]["id"].clone()).collect();
    assert_eq!(ids, [json!(format!("r.{prefix}.{}", world.document))]);
    let closed = world.b.get(&format!("/DocumentReference/r.{prefix}.{labelled}")).await;
    let closed_binary = world.b.get(&format!("/Binary/r.{prefix}.{binary}")).await;
    let absent = world.b.get(&format!("/DocumentReference/r.{prefix}.nothing-there")).await;
    assert_eq!(absent.status, 404);
    assert_eq!(closed, absent);
    assert_eq!(closed_binary, absent);
}

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
    let binary = id(world.a.post_raw("application/pdf", PDF).await.expect(201));
    world.a.post("/DocumentReference", &document(&world.at_a, &binary, &["PSY"])).await.expect(201);
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

/// The patient opens a label later: the Consent changes with the signed amendment beside it.
#[tokio::test(flavor = "multi_thread")]
async fn an_amended_consent_opens_what_it_says_now() {
    let world = World::new().await;
    let binary = id(world.a.post_raw("application/pdf", PDF).await.expect(201));
    world.a.post("/DocumentReference", &document(&world.at_a, &binary, &["PSY"])).await.expect(201);
    let task = world.ask().await;
    let (reply, _) = world.approve(&task, |_| {}).await;
    reply.expect(200);
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
    let (reply, _) = world.approve(&task, |_| {}).await;
    reply.expect(200);
    let kept = world.a.get("/Consent/c1").await.expect(200);
    let widened = world.bundle("Consent/c2", &kept, grant.into()).await;
    let refused = world.a.post("", &widened).await;
    assert_eq!(refused.status, 422, "{}", String::from_utf8_lossy(&refused.bytes));
    // A Consent in force is neither changed nor silently closed.
    let mut closed = kept.clone();
    closed["status"] = json!("inactive");
    assert_eq!(world.a.put("/Consent/c1", &closed).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custodian_that_is_down_is_named_and_never_a_silent_gap() {
    let world = World::new().await;
    let task = world.ask().await;
    let (reply, _) = world.approve(&task, |_| {}).await;
    reply.expect(200);
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
async fn another_gateways_request_is_accepted_once_and_from_the_ledgers_organizations_only() {
    let world = World::new().await;
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);
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
async fn a_binary_is_closed_when_any_document_that_points_at_it_is() {
    let world = World::new().await;
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);
    let binary = format!("/Binary/r.{}.{}", &grant.to_string()[..16], world.binary);
    assert_eq!(world.b.get(&binary).await.status, 200);
    let labelled = document(&world.at_a, &world.binary, &["PSY"]);
    let labelled = id(world.a.post("/DocumentReference", &labelled).await.expect(201));
    assert_eq!(world.b.get(&binary).await.status, 404, "one of its documents is closed");
    let opened = document(&world.at_a, &world.binary, &[]);
    let mut opened = opened.clone();
    opened["id"] = json!(labelled);
    world.a.put(&format!("/DocumentReference/{labelled}"), &opened).await.expect(200);
    assert_eq!(world.b.get(&binary).await.status, 200);
    let other = id(world.a.post("/Patient", &json!({"resourceType": "Patient"})).await.expect(201));
    world.a.post("/DocumentReference", &document(&other, &world.binary, &[])).await.expect(201);
    assert_eq!(world.b.get(&binary).await.status, 404, "one of its documents is about somebody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_nothing_of_another_patient() {
    let world = World::new().await;
    let other = id(world.a.post("/Patient", &json!({"resourceType": "Patient"})).await.expect(201));
    let binary = id(world.a.post_raw("application/pdf", PDF).await.expect(201));
    let others = id(world.a.post("/DocumentReference", &document(&other, &binary, &[])).await.expect(201));
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);

    assert_eq!(world.searched(&grant, "TREAT", "DocumentReference").await, [world.document.as_str()]);
    assert_eq!(world.read_at_a(&grant, "DocumentReference", &world.document).await, [world.document.as_str()]);
    assert_eq!(world.read_at_a(&grant, "DocumentReference", &others).await, Vec::<String>::new());
    let prefix = &grant.to_string()[..16];
    let ids: Vec<Value> = world.documents_at_b().await.iter().map(|entry| entry["resource"]["id"].clone()).collect();
    assert_eq!(ids, [json!(format!("r.{prefix}.{}", world.document))]);
    let absent = world.b.get(&format!("/DocumentReference/r.{prefix}.nothing-there")).await;
    assert_eq!(absent.status, 404);
    for path in [format!("/DocumentReference/r.{prefix}.{others}"), format!("/Binary/r.{prefix}.{binary}")] {
        assert_eq!(world.b.get(&path).await, absent, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_no_document_of_the_patient_opens_is_as_absent() {
    let world = World::new().await;
    let other = id(world.a.post("/Patient", &json!({"resourceType": "Patient"})).await.expect(201));
    let unpointed = id(world.a.post_raw("application/pdf", PDF).await.expect(201));
    let named = json!({
        "resourceType": "Binary", "contentType": "application/pdf", "data": STANDARD.encode(PDF),
        "securityContext": {"reference": format!("Patient/{other}")},
    });
    let of_another = id(world.a.post("/Binary", &named).await.expect(201));
    world.a.post("/DocumentReference", &document(&world.at_a, &of_another, &[])).await.expect(201);
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);

    let prefix = &grant.to_string()[..16];
    assert_eq!(world.b.get(&format!("/Binary/r.{prefix}.{}", world.binary)).await.status, 200);
    let absent = world.b.get(&format!("/Binary/r.{prefix}.nothing-there")).await;
    assert_eq!(absent.status, 404);
    for binary in [&unpointed, &of_another] {
        assert_eq!(world.b.get(&format!("/Binary/r.{prefix}.{binary}")).await, absent);
        assert_eq!(world.read_at_a(&grant, "Binary", binary).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_another_gateway_is_one_line_that_says_what_and_how_it_ended() {
    let world = World::new().await;
    let binary = id(world.a.post_raw("application/pdf", PDF).await.expect(201));
    world.a.post("/DocumentReference", &document(&world.at_a, &binary, &["PSY"])).await.expect(201);
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_not_brought_back_by_the_same_transaction() {
    let world = World::new().await;
    let task = world.ask().await;
    let (reply, grant) = world.approve(&task, |_| {}).await;
    reply.expect(200);
    let mut consent = world.a.get("/Consent/c1").await.expect(200);
    consent["id"] = json!("c2");
    let mut provenance = world.a.get("/Provenance").await.expect(200)["entry"][0]["resource"].clone();
    provenance["target"] = json!([{"reference": "Consent/c2"}]);
    let again = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": consent, "request": {"method": "PUT", "url": "Consent/c2"}},
        {"resource": provenance, "request": {"method": "POST", "url": "Provenance"}},
    ]});
    assert_eq!(world.a.post("", &again).await.status, 422, "another Consent has that grant");
    world.revoke(&grant).await;
    let deletion = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"request": {"method": "DELETE", "url": "Consent/c1"}},
    ]});
    world.a.post("", &deletion).await.expect(200);
    let refused = world.a.post("", &again).await;
    assert_eq!(refused.status, 422, "{}", String::from_utf8_lossy(&refused.bytes));
    assert_eq!(world.a.get("/Consent/c2").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_refused_leaves_no_grant_on_the_ledger() {
    let world = World::new().await;
    let grant_of =
        async |grant: &GrantId| world.ledger.get(&careledger_app::keys::consent(&world.subject, grant)).await.unwrap();
    let bundle =
        |entries: &[&Value]| json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}).clone();
    let (first, first_signed, first_grant) = world.granting("c1", 0).await;
    // The second transaction of the patient leaves a gap in the sequence.
    let (second, second_signed, second_grant) = world.granting("c2", 2).await;
    let refused = world.a.post("", &bundle(&[&first, &first_signed, &second, &second_signed])).await.expect(422);
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[2]", "{refused}");
    // A signature that does not hold.
    let mut forged = second_signed.clone();
    let data = forged["resource"]["signature"][0]["data"].as_str().unwrap();
    let mut transaction = STANDARD.decode(data).unwrap();
    *transaction.last_mut().unwrap() ^= 1;
    forged["resource"]["signature"][0]["data"] = json!(STANDARD.encode(transaction));
    world.a.post("", &bundle(&[&first, &first_signed, &second, &forged])).await.expect(422);
    // The hospital's own part: a second Patient cannot have the account.
    let twin = json!({"resource": {
        "resourceType": "Patient", "identifier": [{"system": ACCOUNT, "value": world.patient.address()}],
    }, "request": {"method": "POST", "url": "Patient"}});
    let refused = world.a.post("", &bundle(&[&first, &first_signed, &twin])).await.expect(422);
    assert_eq!(refused["issue"][0]["expression"][0], "Bundle.entry[2]");
    for grant in [&first_grant, &second_grant] {
        assert_eq!(grant_of(grant).await, None);
    }
    // One after the other, both are granted.
    let (second, second_signed, second_grant) = world.granting("c2", 1).await;
    world.a.post("", &bundle(&[&first, &first_signed, &second, &second_signed])).await.expect(200);
    for grant in [&first_grant, &second_grant] {
        assert!(grant_of(grant).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patients_own_client_reads_what_was_opened_for_that_patient_and_for_nobody_else() {
    let world = World::new().await;
    let task = world.ask().await;
    let (reply, _) = world.approve(&task, |_| {}).await;
    reply.expect(200);
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
    let task = world.ask().await;
    let (reply, _) = world.approve(&task, |_| {}).await;
    reply.expect(200);
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
    let task = world.ask().await;
    world.approve(&task, |_| {}).await.0.expect(200);
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
