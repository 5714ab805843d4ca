//! Two hospitals, a patient known to both, and what each of them does in the journeys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_gateway::{
    cli::consent::{complete, prepared},
    keys::{OrganizationKeys, OrganizationSigner},
    ledger::{Ledger, clock},
    mapping::{consent::permit, task::timestamp},
    release::messages::{Answer, Read, Right, Search},
    remote::{approved, peer, rewrite::RemoteId},
};
use careledger_wire::{
    commitment,
    ids::{Address, GrantId, SubjectId},
    message::Message,
    proto::{
        consent::{ConsentMode, MsgAmendConsent, MsgGrantConsent, MsgRevokeConsent},
        identity::{MsgClaimSubject, OrganizationKind},
    },
};
use serde_json::{Value, json};

use crate::{
    chain,
    site::{self, Site},
};

/// The system of accounts in identifiers.
pub const ACCOUNT: &str = "urn:careledger:account";
/// What the document says.
pub const PDF: &[u8] = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n";
/// How long something that happens in the background may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
const POLL: std::time::Duration = std::time::Duration::from_millis(20);

/// Two hospitals, a patient known to both, and a document that the first one holds.
pub struct World {
    _folder: tempfile::TempDir,
    /// Who registers organizations, and reviews emergencies.
    pub registrar: OrganizationSigner,
    /// The ledger, which A embeds.
    pub ledger: Ledger,
    /// The custodian.
    pub a: Site,
    /// Who asks.
    pub b: Site,
    /// The wallet of the patient.
    pub patient: OrganizationSigner,
    /// The patient at A, on the ledger.
    pub subject: SubjectId,
    /// Id of the Patient at A.
    pub at_a: String,
    /// Id of the document at A.
    pub document: String,
    /// Id of its Binary at A.
    pub binary: String,
    /// Id of the Patient at B.
    pub at_b: String,
    /// The account of B's doctor.
    pub doctor: Address,
}

/// The id that a stored resource was given.
pub fn id(reply: Value) -> String {
    reply["id"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// A document about a Patient, which points at a Binary.
pub fn document(patient: &str, binary: &str, labels: &[&str]) -> Value {
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

/// What `question` gives, once it gives something.
pub async fn until<T>(mut question: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(std::time::Instant::now() < deadline, "nothing happened in {PATIENCE:?}");
        tokio::time::sleep(POLL).await;
    }
}

impl World {
    /// The patient has claimed the subject at A, and A holds one document.
    pub async fn new() -> Self {
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
        let (at_a, subject) = patient_at(&a, &ledger, &patient).await;
        let (document, binary) = file(&a, &at_a, &[]).await;
        let local = json!({"resourceType": "Patient", "id": "local", "name": [{"family": "Doe"}]});
        let at_b = id(b.put("/Patient/local", &local).await.expect(201));
        let doctor = OrganizationSigner::random().address();
        Self { _folder: folder, registrar, ledger, a, b, patient, subject, at_a, document, binary, at_b, doctor }
    }

    /// Whatever is done next is about another patient, who is known to both as well, and of whom A holds one
    /// document, too.
    pub async fn turn_to_another_patient(&mut self) {
        self.patient = OrganizationSigner::random();
        (self.at_a, self.subject) = patient_at(&self.a, &self.ledger, &self.patient).await;
        (self.document, self.binary) = file(&self.a, &self.at_a, &[]).await;
        self.at_b = id(self.b.post("/Patient", &json!({"resourceType": "Patient"})).await.expect(201));
    }

    /// Under which id B shows what `grant` opens of A's.
    pub async fn shown_id(&self, grant: &GrantId, id: &str) -> String {
        let approved = approved::of_patient(&self.b.organization, &self.at_b).await.unwrap();
        let opening = approved.iter().find(|approved| approved.right.grant == *grant).expect("it was approved");
        RemoteId::of(&opening.name, id)
    }

    /// A Patient at A whom nobody at B knows; its id.
    pub async fn somebody_else(&self) -> String {
        id(self.a.post("/Patient", &json!({"resourceType": "Patient"})).await.expect(201))
    }

    /// A PDF about a Patient at A; ids of the document and of its Binary.
    pub async fn file(&self, patient: &str, labels: &[&str]) -> (String, String) {
        file(&self.a, patient, labels).await
    }

    /// The doctor is enrolled by B, once: an account is one Practitioner's. The Practitioner's id.
    pub async fn enrol(&self) -> String {
        let found = self.b.get(&format!("/Practitioner?identifier={ACCOUNT}|{}", self.doctor)).await.expect(200);
        if let Some(entry) = found["entry"].as_array().and_then(|entries| entries.first()) {
            return id(entry["resource"].clone());
        }
        let doctor = json!({
            "resourceType": "Practitioner", "name": [{"text": "Dr. South"}],
            "identifier": [{"system": ACCOUNT, "value": self.doctor}],
        });
        id(self.b.post("/Practitioner", &doctor).await.expect(201))
    }

    /// A doctor of B asks for access, and the patient approves; the grant.
    pub async fn opened(&self) -> GrantId {
        let task = self.ask().await;
        self.approve(&task).await
    }

    /// A doctor of B asks for access; returns once the patient can see it at A.
    pub async fn ask(&self) -> Value {
        let doctor = self.enrol().await;
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

    /// The patient narrows and approves: the Consent `c1` with the signed transaction beside it.
    pub async fn approve(&self, task: &Value) -> GrantId {
        let consent = complete(&self.approval());
        self.approve_by(task, "Consent/c1", &consent).await
    }

    /// A Consent of the patient for B's doctor.
    pub fn approval(&self) -> Value {
        let mut consent = self.consent(&self.b.organization.address());
        let practitioner = json!({"type": "Practitioner", "identifier": {"system": ACCOUNT, "value": self.doctor}});
        let role = consent["provision"]["actor"][0]["role"].clone();
        let actors = consent["provision"]["actor"].as_array_mut().unwrap();
        actors.push(json!({"role": role, "reference": practitioner}));
        consent
    }

    /// The patient approves by a complete Consent, which is put at `url`.
    pub async fn approve_by(&self, task: &Value, url: &str, consent: &Value) -> GrantId {
        let request = task["identifier"][0]["value"].as_str().unwrap();
        let mut grant = self.grant(consent);
        grant.request = hex::decode(request).unwrap();
        self.a.post("", &self.bundle(url, consent, grant.into()).await).await.expect(200);
        permit(consent).unwrap().grant
    }

    /// A Consent of the patient for an organization.
    pub fn consent(&self, organization: &Address) -> Value {
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
    pub fn grant(&self, consent: &Value) -> MsgGrantConsent {
        let permit = permit(consent).unwrap();
        let said = prepared(consent, &permit);
        MsgGrantConsent {
            sender: self.patient.address().to_string(),
            subject: self.subject.to_vec(),
            grant: permit.grant.to_vec(),
            grantee: permit.terms.organization.to_vec(),
            mode: ConsentMode::View as i32,
            not_before: permit.window.start,
            expires_at: permit.window.end,
            terms: bytes(&said["terms"]),
            body: bytes(&said["body"]),
            request: Vec::new(),
            delegable: permit.delegable,
        }
    }

    /// The amendment that makes the Consent's grant say what the Consent says.
    pub fn amendment(&self, consent: &Value, version: u32) -> MsgAmendConsent {
        let said = self.grant(consent);
        MsgAmendConsent {
            sender: said.sender,
            subject: said.subject,
            grant: said.grant,
            version,
            mode: said.mode,
            not_before: said.not_before,
            expires_at: said.expires_at,
            terms: said.terms,
            body: said.body,
            delegable: said.delegable,
        }
    }

    /// A transaction Bundle that puts a Consent with the patient's signed message beside it.
    pub async fn bundle(&self, url: &str, consent: &Value, message: Message) -> Value {
        self.bundle_signed_by(&self.patient, url, consent, message).await
    }

    /// The same, with what somebody else signed.
    pub async fn bundle_signed_by(
        &self,
        wallet: &OrganizationSigner,
        url: &str,
        consent: &Value,
        message: Message,
    ) -> Value {
        let transaction = chain::signed(&self.ledger, wallet, message).await;
        transaction_of(self.entries(url, consent, &transaction))
    }

    /// The entries that put a Consent, and file what was signed beside it.
    pub fn entries(&self, url: &str, consent: &Value, transaction: &[u8]) -> [Value; 2] {
        let mut consent = consent.clone();
        consent["id"] = json!(url.trim_start_matches("Consent/"));
        [
            json!({"resource": consent, "request": {"method": "PUT", "url": url}}),
            json!({"resource": self.provenance(url, transaction), "request": {"method": "POST", "url": "Provenance"}}),
        ]
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

    /// The patient closes a grant on the ledger.
    pub async fn revoke(&self, grant: &GrantId) {
        let message = MsgRevokeConsent {
            sender: self.patient.address().to_string(),
            subject: self.subject.to_vec(),
            grant: grant.to_vec(),
        };
        self.ledger.relay(chain::signed(&self.ledger, &self.patient, message.into()).await).await.unwrap();
    }

    /// How many documents A releases to B's doctor under `grant`.
    pub async fn released(&self, grant: &GrantId, purpose: &str) -> usize {
        self.searched(grant, purpose, "DocumentReference").await.len()
    }

    /// Ids of what A releases to B's doctor in one signed search.
    pub async fn searched(&self, grant: &GrantId, purpose: &str, resource_type: &str) -> Vec<String> {
        let answer = self.searched_after(grant, purpose, resource_type, None).await;
        answer.documents.into_iter().map(|document| document.id).collect()
    }

    /// What A answers to B's doctor in one signed search that goes on after an id.
    pub async fn searched_after(
        &self,
        grant: &GrantId,
        purpose: &str,
        resource_type: &str,
        after: Option<&str>,
    ) -> Answer {
        let (right, resource_type) = (self.right(grant, purpose), resource_type.to_owned());
        let search = Search { right, resource_type, after: after.map(str::to_owned) };
        let answer = peer::search(&self.b.organization, &self.a.organization.address(), &search).await;
        answer.expect("A answers")
    }

    /// Ids of what A releases to B's doctor in one signed read.
    pub async fn read_at_a(&self, grant: &GrantId, resource_type: &str, id: &str) -> Vec<String> {
        let right = self.right(grant, "TREAT");
        let read = Read { right, resource_type: resource_type.to_owned(), id: id.to_owned() };
        let answer = peer::read(&self.b.organization, &self.a.organization.address(), &read).await;
        answer.expect("A answers").documents.into_iter().map(|document| document.id).collect()
    }

    /// By which right B's doctor asks.
    pub fn right(&self, grant: &GrantId, purpose: &str) -> Right {
        Right { grant: *grant, subject: self.subject, purpose: purpose.to_owned(), practitioner: self.doctor }
    }

    /// What B's gateway finds of the patient's documents.
    pub async fn documents_at_b(&self) -> Vec<Value> {
        let found = self.b.get(&format!("/DocumentReference?patient=Patient/{}", self.at_b)).await.expect(200);
        found["entry"].as_array().cloned().unwrap_or_default()
    }
}

/// A transaction Bundle of these entries.
pub fn transaction_of(entries: impl serde::Serialize) -> Value {
    json!({"resourceType": "Bundle", "type": "transaction", "entry": entries})
}

/// A Patient at a site, who claims the subject there; its id, and the subject.
async fn patient_at(site: &Site, ledger: &Ledger, wallet: &OrganizationSigner) -> (String, SubjectId) {
    let body = json!({
        "resourceType": "Patient", "name": [{"family": "Doe"}],
        "identifier": [{"system": ACCOUNT, "value": wallet.address()}],
    });
    let patient = id(site.post("/Patient", &body).await.expect(201));
    let subject = commitment::subject_id(&site.organization.address(), &wallet.address());
    let claim = MsgClaimSubject {
        sender: wallet.address().to_string(),
        subject: subject.to_vec(),
        encryption_key: OrganizationKeys::random().encryption.public().to_vec(),
    };
    ledger.relay(chain::signed(ledger, wallet, claim.into()).await).await.unwrap();
    (patient, subject)
}

async fn file(site: &Site, patient: &str, labels: &[&str]) -> (String, String) {
    let binary = id(site.post_raw("application/pdf", PDF).await.expect(201));
    let document = id(site.post("/DocumentReference", &document(patient, &binary, labels)).await.expect(201));
    (document, binary)
}

fn bytes(digits: &Value) -> Vec<u8> {
    hex::decode(digits.as_str().unwrap()).unwrap()
}
