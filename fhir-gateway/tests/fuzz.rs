//! The gateway's decoders over committed inputs and mutations of them. `tests/fuzz` has the targets,
//! and drives the same ones with libFuzzer.
//!
//! To add inputs for what is new: `UPDATE_CORPUS=1`, which writes those of `seeds` that are missing.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_gateway::{
    envelope::{self, DocumentKey},
    keys::{OrganizationSigner, Secret},
    naming,
    release::{
        messages::{AccessRequest, Answer, Read, Right, Sealed, Search},
        signed::Request,
    },
};
use careledger_wire::ids::{Address, Digest, GrantId, RequestId, SubjectId};
use flate2::read::GzDecoder;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

#[path = "../../tests/fuzz/driver.rs"]
mod driver;
#[path = "../../tests/fuzz/gateway.rs"]
mod gateway;

use driver::Seed;

/// Largest resource of Synthea's that becomes an input, in bytes.
const RESOURCE_BYTES_MAX: usize = 3_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz")
}

#[test]
fn no_bytes_of_a_stranger_stop_the_gateway() {
    for (target, decode, executions) in gateway::TARGETS {
        driver::run(&root(), target, *decode, *executions);
    }
}

#[test]
fn every_target_of_the_gateway_has_its_committed_inputs_and_its_program() {
    driver::check_committed(&root(), seeds(), gateway::TARGETS);
}

fn seeds() -> Vec<Seed> {
    let mut seeds = resource_seeds();
    seeds.extend(query_seeds());
    seeds.extend(sealed_seeds());
    seeds.extend(peer_seeds());
    seeds.extend(client_seeds());
    seeds
}

fn written(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it is data")
}

/// The smallest resource of each type that Synthea made (Apache-2.0, see its folder).
fn synthea() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/synthea");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the bundles are committed")
        .map(|entry| entry.expect("the entry is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "gz"))
        .collect();
    files.sort();
    let mut smallest: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for file in files {
        let mut text = String::new();
        GzDecoder::new(fs::File::open(file).expect("it opens")).read_to_string(&mut text).expect("it is gzip");
        let bundle: Value = serde_json::from_str(&text).expect("it is JSON");
        for entry in bundle["entry"].as_array().expect("a bundle has entries") {
            let resource = &entry["resource"];
            let (kind, bytes) = (resource["resourceType"].as_str().expect("a type").to_owned(), written(resource));
            let is_smaller = smallest.get(&kind).is_none_or(|known| bytes.len() < known.len());
            if is_smaller && bytes.len() <= RESOURCE_BYTES_MAX {
                smallest.insert(kind, bytes);
            }
        }
    }
    assert!(smallest.len() > 10, "the bundles are read");
    smallest
}

fn resource_seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    for (kind, bytes) in synthea() {
        seeds.push(("resource", kind, bytes));
    }
    for (name, value) in [
        ("Consent", consent()),
        ("Task", task()),
        ("InsurancePlan", plan()),
        ("Provenance-signed", signed()),
        ("ValueSet", value_set()),
    ] {
        seeds.push(("resource", format!("our-{name}"), written(&value)));
    }
    let texts = [
        ("escapes", r#"{"a":"\u00e9\ud83d\ude00\\\"\/","b":[1.50,-0,1e9,true,null],"c":{"d":{}}}"#),
        (
            "bundle",
            r#"{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient"}}]}"#,
        ),
        ("deep", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"),
        ("text", "\"a\""),
    ];
    seeds.extend(texts.map(|(name, text)| ("json", name.to_owned(), text.as_bytes().to_vec())));
    seeds.push(("json", "consent".to_owned(), written(&consent())));
    seeds
}

/// Both an expansion and what it was made from.
fn value_set() -> Value {
    let include = json!([
        {"system": "http://s", "concept": [{"code": "a"}, {"code": "b"}]},
        {"system": "http://t", "valueSet": ["ValueSet/other", "http://vs/own"]},
    ]);
    json!({
        "resourceType": "ValueSet", "url": "http://vs/own", "version": "1.0", "status": "active",
        "compose": {"inactive": true, "include": include, "exclude": [{"system": "http://u"}]},
        "expansion": {"timestamp": "2026-01-01", "total": 2, "contains": [
            {"abstract": true, "display": "x", "contains": [{"system": "http://s", "code": "a", "inactive": true}]},
        ]},
    })
}

fn consent() -> Value {
    let actor = |kind: &str, account: Address| json!({"reference": {"type": kind, "identifier": {"system": naming::ACCOUNT, "value": account}}});
    json!({
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/p"},
        "identifier": [{"system": naming::GRANT, "value": "05".repeat(32)}],
        "extension": [{"url": naming::SALT, "valueString": "07".repeat(32)}],
        "provision": {
            "type": "permit",
            "period": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-31"},
            "actor": [
                {"role": {"text": "asks"}, "reference": actor("Practitioner", Address::new([2; 20]))["reference"]},
                {"role": {"text": "asks"}, "reference": actor("Organization", Address::new([1; 20]))["reference"]},
            ],
            "purpose": [{"system": naming::ACT_REASON, "code": "TREAT"}],
            "class": [{"system": naming::RESOURCE_TYPES, "code": "DocumentReference"}],
            "dataPeriod": {"start": "2020"},
            "securityLabel": [{"code": "PSY"}],
        },
    })
}

fn task() -> Value {
    let input = |kind: &str, name: &str, value: Value| json!({"type": {"coding": [{"system": naming::TASK_INPUT, "code": kind}]}, name: value});
    json!({
        "resourceType": "Task", "status": "requested", "intent": "order",
        "code": {"coding": [{"system": naming::TASK_CODE, "code": naming::ACCESS_REQUEST}]},
        "for": {"reference": "Patient/p"}, "requester": {"reference": "Practitioner/d"},
        "reasonCode": {"coding": [{"system": naming::ACT_REASON, "code": "TREAT"}]},
        "restriction": {"period": {"end": "2027-01-02"}},
        "input": [
            input("subject", "valueIdentifier", json!({"system": naming::SUBJECT, "value": "05".repeat(32)})),
            input("custodian", "valueIdentifier", json!({"system": naming::ACCOUNT, "value": Address::new([1; 20])})),
            input("scope", "valueCode", json!("DocumentReference")),
        ],
    })
}

fn plan() -> Value {
    let interval = json!({"url": naming::PLAN_INTERVAL, "extension": [
        {"url": "system", "valueUri": "http://hl7.org/fhir/sid/icd-10-cm"},
        {"url": "prefix", "valueCode": "E11"},
        {"url": "class", "valueCode": "covered"},
        {"url": "wait-days", "valueUnsignedInt": 30},
        {"url": "cap", "valueUnsignedInt": 500_000},
    ]});
    let terms = json!({"url": naming::PLAN_TERMS, "extension": [
        {"url": "claims-per-period", "valueUnsignedInt": 2},
        {"url": "period-days", "valueUnsignedInt": 365},
        {"url": "claim-within-days", "valueUnsignedInt": 90},
    ]});
    json!({
        "resourceType": "InsurancePlan", "status": "active", "name": "Basic",
        "identifier": [{"system": "https://insurer.example/policies", "value": "gold"}],
        "plan": [{"extension": [interval, terms]}],
    })
}

/// A Provenance with a transaction that a patient signed.
fn signed() -> Value {
    let transaction =
        fs::read(root().join("corpus/transaction/grantconsent")).expect("the ledger's corpus is committed");
    json!({
        "resourceType": "Provenance", "recorded": "2027-01-15T08:00:00Z",
        "target": [{"reference": "Consent/c"}],
        "agent": [{"who": {"reference": "Patient/p"}}],
        "signature": [{
            "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": naming::CONSENT_SIGNATURE}],
            "when": "2027-01-15T08:00:00Z", "who": {"reference": "Patient/p"},
            "sigFormat": naming::TRANSACTION_MEDIA_TYPE, "data": STANDARD.encode(transaction),
        }],
    })
}

fn query_seeds() -> Vec<Seed> {
    let searches = [
        "Patient?name=Smith&birthdate=ge1980-01-01&_count=5&_sort=-_lastUpdated",
        "Observation?code=http://loinc.org|8480-6&date=lt2026-02&value-quantity=gt5.4||mg&_total=none",
        "DocumentReference?patient=Patient/p&type=a%5C,b,c&_cursor=4-17-3",
        "Condition?subject:Patient.name:exact=Zo%C3%AB&_summary=count",
        "Encounter?_id=a,b&_lastUpdated=2026-01-15T08:00:00%2B01:00&_format=json&unknown=x",
    ];
    let calls = [
        r#"{"path": "/a", "data": "0aff", "tx": "Cv8=", "height": "7", "prove": true}"#,
        "path=%22/a%22&data=0x0aff&tx=0x0aff&height=7&prove=true",
        "data=%22key%22",
    ];
    let searches = searches.iter().enumerate().map(|(number, text)| ("search", format!("search-{number}"), text));
    let calls = calls.iter().enumerate().map(|(number, text)| ("call", format!("call-{number}"), text));
    searches.chain(calls).map(|(target, name, text)| (target, name, text.as_bytes().to_vec())).collect()
}

fn sealed_seeds() -> Vec<Seed> {
    let (pair, document, key) = (gateway::pair(), gateway::sealing(), DocumentKey::random());
    let answer = Answer { documents: Vec::new(), is_truncated: true };
    let exchange = Digest::new([5; 32]);
    vec![
        ("envelope", "value".to_owned(), envelope::ValueKey::of(&gateway::storage()).seal(gateway::SEALED, b"fuzz")),
        (
            "envelope",
            "own".to_owned(),
            written(&envelope::wrap_own(&document, &key, &envelope::StorageKey::of(&gateway::storage()))),
        ),
        (
            "envelope",
            "theirs".to_owned(),
            written(&envelope::wrap_for(&document, &key, &pair.public()).expect("a usable key")),
        ),
        (
            "envelope",
            "answer".to_owned(),
            written(&Sealed::answer(&answer, &pair.public(), &exchange).expect("a usable key")),
        ),
        (
            "envelope",
            "asked".to_owned(),
            written(&Sealed::access_request(&answer, &pair.public(), &RequestId::new([5; 32])).expect("a usable key")),
        ),
    ]
}

fn peer_seeds() -> Vec<Seed> {
    let right = Right {
        grant: GrantId::new([1; 32]),
        subject: SubjectId::new([2; 32]),
        purpose: "TREAT".to_owned(),
        practitioner: Address::new([3; 20]),
    };
    let sealed = Sealed { enc: vec![1; 32], ciphertext: vec![2; 48] };
    let bodies = [
        (
            "search",
            written(&Search { right: right.clone(), resource_type: "DocumentReference".to_owned(), after: None }),
        ),
        ("read", written(&Read { right, resource_type: "Binary".to_owned(), id: "b".to_owned() })),
        ("request", written(&AccessRequest { request: RequestId::new([4; 32]), sealed })),
    ];
    let signer = OrganizationSigner::new(Secret::new([7; 32])).expect("a small number is a key");
    let recipient = Address::new([2; 20]);
    let seed = |(name, body): (&str, Vec<u8>)| {
        let request =
            Request { chain_id: "careledger-dev-1", recipient: &recipient, path: "/peer/v1/read", body: &body };
        let (headers, _) = request.sign(&signer, 1_800_000_000);
        let lines = headers.write().map(|(_, value)| value + "\n").concat();
        ("peer", name.to_owned(), [lines.into_bytes(), body.clone()].concat())
    };
    bodies.map(seed).to_vec()
}

fn client_seeds() -> Vec<Seed> {
    let key = EncodingKey::from_ec_pem(include_bytes!("../src/auth/testdata/other-p384.pem")).expect("a key of tests");
    let header = Header { kid: Some("ES384".to_owned()), ..Header::new(Algorithm::ES384) };
    let claims = json!({
        "iss": "ehr", "sub": "ehr", "aud": "https://clinic.example/fhir", "exp": 1_800_000_240, "iat": 1_800_000_000,
        "jti": "one",
    });
    let assertion = jsonwebtoken::encode(&header, &claims, &key).expect("it is signed");
    let leaf = json!({
        "number": 1, "time": 1_800_000_000,
        "access": {
            "action": "Read", "outcome": {"Denied": "purpose"}, "agent": {"Client": "ehr"}, "purpose": "TREAT",
            "patient": "p", "entities": [{"resource_type": "Patient", "id": "p", "version": 1}], "grant": "01".repeat(32),
        },
        "salt": "0a".repeat(16),
    });
    let batch = json!({"leaves": {"start": 1, "end": 9}, "root": "01".repeat(32), "period": [1, 2]});
    let place = json!({"sequence": 1, "index": 0, "count": 2, "path": ["02".repeat(32)], "root": "01".repeat(32)});
    vec![
        ("client", "assertion".to_owned(), assertion.into_bytes()),
        ("client", "keys".to_owned(), gateway::CLIENT_KEYS.as_bytes().to_vec()),
        ("client", "scopes".to_owned(), b"system/*.cruds patient/Patient.rs system/Observation.r".to_vec()),
        (
            "client",
            "granular".to_owned(),
            b"user/*.rs?_tag=a|b patient/Observation.r?code:not=c%2Cd&date=ge2020".to_vec(),
        ),
        ("leaf", "leaf".to_owned(), written(&leaf)),
        ("leaf", "batch".to_owned(), written(&batch)),
        ("leaf", "place".to_owned(), written(&place)),
    ]
}
