//! Chapters 3 to 5: a doctor asks, the patient narrows and grants, the doctor reads, the patient revokes.

use std::time::Duration;

use serde_json::{Value, json};

use super::Story;
use super::http::Answer;
use super::records::Patient;
use super::world::{World, argument, date, instant, json, now, text};
use crate::failure::Failure;
use crate::home;

const DAY_SECONDS: i64 = 86_400;
/// How long a request may take from one gateway to the other.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(20);

/// What was asked for.
pub struct Request {
    /// Id of the Patient at hospital B.
    patient: String,
    /// The request's id on the ledger.
    id: String,
    /// The doctor's account.
    doctor: String,
}

/// What was granted.
pub struct Granted {
    /// Id of the Patient at hospital B.
    pub patient: String,
    /// The grant on the ledger.
    pub grant: String,
    /// The document as hospital B's EHR sees it, once it was found.
    seen: std::cell::RefCell<String>,
}

fn account(value: &str) -> Value {
    json!({"system": "urn:careledger:account", "value": value})
}

fn coding(system: &str, code: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}]})
}

fn found(bundle: &Value) -> impl Iterator<Item = &Value> {
    let entries = bundle["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().map(|entry| &entry["resource"]).filter(|resource| resource["resourceType"] == "DocumentReference")
}

/// Hospital B's doctor asks for access.
pub fn ask(story: &mut Story, world: &World, darcy: &Patient) -> Result<Request, Failure> {
    let fhir = &world.lakeside.fhir;
    story.chapter("A doctor of hospital B asks");
    world.make_key("doctor")?;
    let doctor = world.account("doctor", None)?;
    story.step("Hospital B's EHR", "enrols its doctor and registers its own view of the patient");
    let practitioner = json!({
        "resourceType": "Practitioner",
        "identifier": [account(&doctor)],
        "active": true,
        "name": [{"family": "Okafor", "given": ["Ngozi"], "prefix": ["Dr."]}],
    });
    let practitioner = fhir.post(story, "Practitioner", &practitioner)?.created_id()?;
    let enrolled = world.query(&["practitioner", &world.lakeside.account, &doctor])?;
    story.check("the ledger has the doctor's enrolment", enrolled.is_some())?;
    let derived = world.account("darcy", Some(&world.lakeside))?;
    let elsewhere = world.account("darcy", Some(&world.general))?;
    story.check("the two hospitals know the patient by accounts that have nothing in common", derived != elsewhere)?;
    let patient = json!({"resourceType": "Patient", "identifier": [account(&derived)], "gender": "female"});
    let patient = fhir.post(story, "Patient", &patient)?.created_id()?;

    let before = fhir.get(story, &format!("DocumentReference?patient={patient}"))?.expect(200)?.json()?;
    story.check_same("without a grant hospital B finds nothing", found(&before).count(), 0)?;

    story.step("The doctor", "asks for documents and observations, for treatment");
    let input =
        |kind: &str, name: &str, value: Value| json!({"type": coding("urn:careledger:task-input", kind), name: value});
    let subject = json!({"system": "urn:careledger:subject", "value": darcy.subject});
    let task = json!({
        "resourceType": "Task",
        "status": "requested",
        "intent": "order",
        "code": coding("urn:careledger:task-code", "access-request"),
        "for": {"reference": format!("Patient/{patient}")},
        "requester": {"reference": format!("Practitioner/{practitioner}")},
        "reasonCode": coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "TREAT"),
        "restriction": {"period": {"end": instant(now() + 7 * DAY_SECONDS)}},
        "input": [
            input("subject", "valueIdentifier", subject),
            input("custodian", "valueIdentifier", account(&world.general.account)),
            input("scope", "valueCode", json!("DocumentReference")),
            input("scope", "valueCode", json!("Observation")),
        ],
    });
    fhir.post(story, "Task", &task)?.created_id()?;
    let id = arrived(story, world, darcy)?;
    story.check("the ledger holds the request", world.query(&["request", &id])?.is_some())?;
    Ok(Request { patient, id, doctor })
}

/// The request as the patient finds it at hospital A; it travels between the gateways first.
fn arrived(story: &mut Story, world: &World, darcy: &Patient) -> Result<String, Failure> {
    story.step("The patient", "sees the request at hospital A");
    let path = format!("Task?patient={}", darcy.id);
    home::wait("the access request to arrive at hospital A", ARRIVAL_TIME_MAX, || {
        world.general.fhir.look(&path).is_ok_and(|answer| answer.json().is_ok_and(|tasks| request_in(&tasks).is_some()))
    })?;
    let tasks = world.general.fhir.get(story, &path)?.expect(200)?.json()?;
    let request = request_in(&tasks).ok_or_else(|| Failure::Check("the request is not there any more".into()))?;
    story.check("who asks, for what and until when is there to read", true)?;
    text(&request, "value")
}

/// The ledger's id of the request, in a search's answer.
fn request_in(tasks: &Value) -> Option<Value> {
    let identifiers = tasks["entry"][0]["resource"]["identifier"].as_array()?;
    identifiers.iter().find(|identifier| identifier["system"] == "urn:careledger:request").cloned()
}

/// The patient narrows the request and signs.
pub fn grant(story: &mut Story, world: &World, darcy: &Patient, request: &Request) -> Result<Granted, Failure> {
    let fhir = &world.general.fhir;
    story.chapter("The patient decides");
    story.step("Darcy", "narrows it to documents alone, to this doctor, for 30 days");
    let asked = world.write("consent.json", &consent(world, darcy, request))?;
    let completed = world.file("consent-to-post.json");
    story.call("careledger-gateway consent prepare --consent consent.json --out consent-to-post.json");
    let prepared = world
        .gateway(&["consent", "prepare", "--consent", &argument(&asked), "--out", &argument(&completed)])
        .capture()?;
    let prepared = json(&prepared)?;
    let grant = text(&prepared, "grant")?;
    let consent = json(&crate::places::read(&completed)?)?;

    story.step("Hospital A's EHR", "tries to put it in force itself, without her signature");
    let refused = fhir.post(story, "Consent", &consent)?.expect(422)?;
    story.check("it is refused with an OperationOutcome", refused.json()?["resourceType"] == "OperationOutcome")?;
    story.check("nothing is on the ledger", world.query(&["grant", &darcy.subject, &grant])?.is_none())?;

    story.step("Darcy", "signs on her own device; her EHR posts Consent and signature together");
    let transaction = sign(story, world, darcy, request, &prepared)?;
    let bundle = signed_bundle(&consent, &darcy.id, &transaction);
    let answer = fhir.post(story, "", &bundle)?.expect(200)?.json()?;
    let status = answer["entry"][0]["response"]["status"].as_str().unwrap_or_default();
    story.check("the gateway relayed her transaction and stored the Consent", status.starts_with("201"))?;
    let on_ledger = world.query(&["grant", &darcy.subject, &grant])?;
    story.check("the ledger proves the grant; purpose, scope and actor are commitments there", on_ledger.is_some())?;
    Ok(Granted { patient: request.patient.clone(), grant, seen: Default::default() })
}

fn consent(world: &World, darcy: &Patient, request: &Request) -> Value {
    let actor = |kind: &str, account_of: &str| {
        json!({
            "role": coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
            "reference": {"type": kind, "identifier": account(account_of)},
        })
    };
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
        "category": [coding("http://loinc.org", "59284-0")],
        "patient": {"reference": format!("Patient/{}", darcy.id)},
        "dateTime": instant(now()),
        "policyRule": coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "OPTIN"),
        "provision": {
            "type": "permit",
            "period": {"start": date(now()), "end": date(now() + 30 * DAY_SECONDS)},
            "actor": [actor("Organization", &world.lakeside.account), actor("Practitioner", &request.doctor)],
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
            "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "DocumentReference"}],
        },
    })
}

/// Darcy's transaction, as base64. Signing needs no network but her account's number and sequence.
fn sign(story: &Story, world: &World, darcy: &Patient, request: &Request, prepared: &Value) -> Result<String, Failure> {
    let account = world.account("darcy", Some(&world.general))?;
    let account = world.query(&["account", &account])?.unwrap_or_default();
    let (number, sequence) = (account["account_number"].to_string(), account["sequence"].to_string());
    let (not_before, expires_at) = (prepared["not_before"].to_string(), prepared["expires_at"].to_string());
    story.call("careledgerd tx grant-consent --from darcy --derive <hospital A> … --offline");
    let field = |name: &str| text(prepared, name);
    let signed = world.send(&[
        "grant-consent",
        "--from",
        "darcy",
        "--derive",
        &world.general.account,
        "--offline",
        "--chain-id",
        &world.chain_id,
        "--account-number",
        number.trim_matches('"'),
        "--sequence",
        sequence.trim_matches('"'),
        "--subject",
        &darcy.subject,
        "--grant",
        &field("grant")?,
        "--grantee",
        &field("grantee")?,
        "--mode",
        "view",
        "--not-before",
        &not_before,
        "--expires-at",
        &expires_at,
        "--terms",
        &field("terms")?,
        "--body",
        &field("body")?,
        "--request",
        &request.id,
    ])?;
    story.answer("signed; nothing was sent yet");
    text(&signed, "tx")
}

fn signed_bundle(consent: &Value, patient: &str, transaction: &str) -> Value {
    const CONSENT: &str = "urn:uuid:5f0a5f2e-53a3-4d8f-9a0e-0c7d6f1b2a10";
    let who = json!({"reference": format!("Patient/{patient}")});
    json!({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": CONSENT, "resource": consent, "request": {"method": "POST", "url": "Consent"}},
            {
                "resource": {
                    "resourceType": "Provenance",
                    "target": [{"reference": CONSENT}],
                    "recorded": instant(now()),
                    "agent": [{"who": who}],
                    "signature": [{
                        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.7"}],
                        "when": instant(now()),
                        "who": who,
                        "sigFormat": "application/vnd.careledger.tx",
                        "data": transaction,
                    }],
                },
                "request": {"method": "POST", "url": "Provenance"},
            },
        ],
    })
}

/// The doctor finds and opens the document at hospital B's own gateway.
pub fn read(story: &mut Story, world: &World, darcy: &Patient, granted: &Granted) -> Result<(), Failure> {
    let fhir = &world.lakeside.fhir;
    story.chapter("The doctor reads");
    story.step("The doctor", "searches at hospital B's own gateway, in plain FHIR");
    let bundle = fhir.get(story, &format!("DocumentReference?patient={}", granted.patient))?.expect(200)?.json()?;
    let documents: Vec<&Value> = found(&bundle).collect();
    story.check_same("every document of hospital A is there", documents.len(), darcy.documents.len())?;
    let general = format!("urn:careledger:account:{}", world.general.account);
    let from_general = |document: &&Value| document["meta"]["source"] == general.as_str();
    story.check("meta.source names hospital A", documents.iter().all(from_general))?;
    let pdf =
        documents.iter().find(|document| document["content"][0]["attachment"]["contentType"] == "application/pdf");
    let pdf = pdf.ok_or_else(|| Failure::Check("the PDF is not among the documents".into()))?;
    *granted.seen.borrow_mut() = text(pdf, "id")?;

    story.step("The doctor", "opens the PDF");
    let url = text(&pdf["content"][0]["attachment"], "url")?;
    let path = url.strip_prefix(fhir.base()).unwrap_or(&url).trim_start_matches('/').to_owned();
    let opened = fhir.get(story, &path)?.expect(200)?;
    story.check("the bytes are those that hospital A filed", opened.bytes() == darcy.first)?;
    story.check_same("with their own media type", opened.header("content-type"), "application/pdf")?;
    Ok(())
}

/// The patient sees who looked, and closes the window.
pub fn revoke(story: &mut Story, world: &World, darcy: &Patient, granted: &Granted) -> Result<(), Failure> {
    let fhir = &world.lakeside.fhir;
    story.chapter("The patient sees, and revokes");
    story.step("Darcy", "asks hospital A who looked");
    let path = format!("AuditEvent?patient={}", darcy.id);
    let events = world.general.fhir.get(story, &path)?.expect(200)?;
    let named = String::from_utf8_lossy(events.bytes()).contains(&world.lakeside.account);
    story.check("the access log names hospital B", named)?;

    story.step("Darcy", "revokes, from her own device");
    story.call("careledgerd tx revoke-consent --from darcy --derive <hospital A> …");
    let revoked = world.send(&[
        "revoke-consent",
        "--from",
        "darcy",
        "--derive",
        &world.general.account,
        "--subject",
        &darcy.subject,
        "--grant",
        &granted.grant,
    ])?;
    story.answer(format!("committed at height {}", revoked["height"]));

    story.step("The doctor", "tries again");
    let seen = granted.seen.borrow().clone();
    let refused = fhir.get(story, &format!("DocumentReference/{seen}"))?.expect(404)?;
    let absent = seen.replace(|letter: char| letter.is_ascii_hexdigit() && letter.is_ascii_digit(), "0");
    let never = fhir.get(story, &format!("DocumentReference/{absent}"))?.expect(404)?;
    story.check("denied and absent are the same answer", same_but_for(&refused, &seen, &never, &absent))?;
    let bundle = fhir.get(story, &format!("DocumentReference?patient={}", granted.patient))?.expect(200)?.json()?;
    story.check_same("and the search finds nothing", found(&bundle).count(), 0)?;
    Ok(())
}

fn same_but_for(one: &Answer, one_id: &str, other: &Answer, other_id: &str) -> bool {
    let plain = |answer: &Answer, id: &str| String::from_utf8_lossy(answer.bytes()).replace(id, "");
    plain(one, one_id) == plain(other, other_id)
}
