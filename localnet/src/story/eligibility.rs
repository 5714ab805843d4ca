//! Chapter 6: the patient proves to an insurer that a plan covers her, and nothing else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::Story;
use super::http::Fhir;
use super::records::Patient;
use super::world::{World, argument, date, instant, now, text};
use crate::failure::Failure;
use crate::places;

const DAY_SECONDS: i64 = 86_400;
const SNOMED_CT: &str = "http://snomed.info/sct";
/// What is claimed, in minor units of the plan's currency.
const AMOUNT: u64 = 125_000;

/// The condition that is claimed; it stays between the hospital and the patient.
struct Condition {
    id: String,
    code: String,
}

/// From plan to confirmed claim.
pub fn prove(story: &mut Story, world: &World, darcy: &Patient) -> Result<(), Failure> {
    story.chapter("Eligibility without a diagnosis");
    let plan = publish(story, world)?;
    let condition = condition(story, world, darcy)?;
    attest(story, world, darcy, &condition)?;
    enrol(story, world, &plan)?;
    let claim = "c1".repeat(32);
    let expires = now() + 3_600;
    let proof = make_proof(story, world, &claim, expires)?;
    submit(story, world, &condition, &claim, expires, &proof)
}

fn publish(story: &mut Story, world: &World) -> Result<String, Failure> {
    let fhir = &world.insurer.fhir;
    story.step("The insurer", "publishes a plan");
    let part = |url: &str, name: &str, value: Value| json!({"url": url, name: value});
    let interval = json!({
        "url": "urn:careledger:extension:plan-interval",
        "extension": [
            part("system", "valueUri", json!(SNOMED_CT)),
            part("class", "valueCode", json!("covered")),
            part("wait-days", "valueUnsignedInt", json!(30)),
            part("cap", "valueUnsignedInt", json!(500_000)),
        ],
    });
    let terms = json!({
        "url": "urn:careledger:extension:plan-terms",
        "extension": [
            part("claims-per-period", "valueUnsignedInt", json!(2)),
            part("period-days", "valueUnsignedInt", json!(365)),
            part("claim-within-days", "valueUnsignedInt", json!(40_000)),
        ],
    });
    let plan = json!({
        "resourceType": "InsurancePlan",
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0b7f3a52-86d1-44c7-9d0e-3a41c1a1b001"}],
        "status": "active",
        "name": "Everyday care",
        "plan": [{"extension": [interval, terms]}],
    });
    let id = fhir.post(story, "InsurancePlan", &plan)?.created_id()?;
    let answer = fhir.get(story, &format!("InsurancePlan/{id}/$plan"))?.expect(200)?.json()?;
    let commitment = parameter(&answer, "commitment")?;
    let published = parameter_json(&answer, "plan")?;
    world.write("plan.json", &published)?;
    story.check("the ledger has its commitment", world.query(&["plan", &commitment])?.is_some())?;
    Ok(commitment)
}

fn condition(story: &mut Story, world: &World, darcy: &Patient) -> Result<Condition, Failure> {
    story.step("Darcy", "chooses the event she claims for; its code stays between her and hospital A");
    let path = format!("Condition?patient={}&_count=50", darcy.id);
    let found = world.general.fhir.get(story, &path)?.expect(200)?.json()?;
    let entries = found["entry"].as_array().cloned().unwrap_or_default();
    let usable = entries.iter().map(|entry| &entry["resource"]).find(|condition| {
        let onset = condition["onsetDateTime"].as_str().unwrap_or_default();
        onset >= "2001" && condition["code"]["coding"][0]["code"].as_str().is_some_and(|code| code.len() >= 6)
    });
    let usable = usable.ok_or_else(|| Failure::Check("the patient has no condition with a day and a code".into()))?;
    let condition = Condition { id: text(usable, "id")?, code: text(&usable["code"]["coding"][0], "code")? };
    story.check("hospital A knows the code", !condition.code.is_empty())?;
    Ok(condition)
}

fn attest(story: &mut Story, world: &World, darcy: &Patient, condition: &Condition) -> Result<(), Failure> {
    story.step("Hospital A", "attests the event to Darcy under a fresh pseudonym; the ledger gets a commitment");
    let (wallet, pseudonym) = (argument(&world.file("wallet.json")), argument(&world.file("pseudonym.json")));
    if !world.file("wallet.json").exists() {
        world.prove(&["secret", "--out", &wallet]).capture()?;
    }
    let pid = world.prove(&["pid", "--wallet", &wallet, "--out", &pseudonym]).capture()?;
    let reference = json!({"reference": format!("Condition/{}", condition.id)});
    let ask = json!({
        "resourceType": "Parameters",
        "parameter": [
            {"name": "pid", "valueString": pid.trim()},
            {"name": "fact", "part": [
                {"name": "condition", "valueReference": reference},
                {"name": "amount", "valueUnsignedInt": AMOUNT},
            ]},
        ],
    });
    let answer = world.general.fhir.post(story, &format!("Patient/{}/$attest", darcy.id), &ask)?.expect(200)?.json()?;
    world.write("attestation.json", &parameter_json(&answer, "opening")?)?;
    Ok(())
}

fn enrol(story: &mut Story, world: &World, plan: &str) -> Result<(), Failure> {
    let fhir = &world.insurer.fhir;
    story.step("The insurer", "enrols Darcy by a number that only this insurer can know her by");
    let wallet = argument(&world.file("wallet.json"));
    let member = world.prove(&["member", "--wallet", &wallet, "--insurer", &world.insurer.account]).capture()?;
    let coverage = json!({
        "resourceType": "Coverage",
        "extension": [{"url": "urn:careledger:extension:member", "valueString": member.trim()}],
        "status": "active",
        "beneficiary": {"identifier": {"system": "urn:careledger:member", "value": member.trim()}},
        "payor": [{"identifier": {"system": "urn:careledger:account", "value": world.insurer.account}}],
        "class": [{
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/coverage-class", "code": "plan"}]},
            "value": plan,
        }],
        "period": {"start": "2000-01-01", "end": date(now() + 365 * DAY_SECONDS)},
    });
    let id = fhir.post(story, "Coverage", &coverage)?.created_id()?;
    let answer = fhir.get(story, &format!("Coverage/{id}/$opening"))?.expect(200)?.json()?;
    world.write("enrolment.json", &parameter_json(&answer, "opening")?)?;
    Ok(())
}

fn make_proof(story: &mut Story, world: &World, claim: &str, expires: i64) -> Result<Value, Failure> {
    story.step("Darcy", "fetches both Merkle paths and proves, on her own device");
    for (kind, insurer) in [("attestation", None), ("enrolment", Some(world.insurer.account.as_str()))] {
        let opening = argument(&world.file(&format!("{kind}.json")));
        let commitment = world.prove(&["commit", kind, &opening]).capture()?;
        let mut arguments = vec!["query", "path", kind, commitment.trim()];
        arguments.extend(insurer.iter().flat_map(|insurer| ["--insurer", insurer]));
        let path = super::world::json(&world.careledgerd(&arguments).capture()?)?;
        world.write(&format!("{kind}-path.json"), &path)?;
    }
    let file = |name: &str| argument(&world.file(name));
    // A file of an earlier telling is never overwritten by the prover.
    let (out, amount) = (world.file("proof.careledger.json"), world.file("amount.json"));
    for earlier in [&out, &amount].into_iter().filter(|file| file.exists()) {
        std::fs::remove_file(earlier).map_err(|error| Failure::Check(format!("{}: {error}", earlier.display())))?;
    }
    story.call("prove eligibility --wallet … --attestation … --enrolment … --plan … --out proof.careledger.json");
    let started = std::time::Instant::now();
    world
        .prove(&["eligibility", "--wallet", &file("wallet.json"), "--pseudonym", &file("pseudonym.json")])
        .args(["--attestation", &file("attestation.json"), "--attestation-path", &file("attestation-path.json")])
        .args(["--enrolment", &file("enrolment.json"), "--enrolment-path", &file("enrolment-path.json")])
        .args(["--plan", &file("plan.json"), "--fact", "0", "--as-of", &date(now()), "--chain-id", &world.chain_id])
        .args(["--claim", claim, "--submitter", &world.insurer.account, "--expiry", &expires.to_string()])
        .args(["--out", &argument(&out), "--amount-out", &argument(&amount), "--snarkjs", &file("snarkjs")])
        .capture()?;
    story.answer(format!("a proof of 128 bytes, after {} ms", started.elapsed().as_millis()));
    super::world::json(&places::read(&out)?)
}

fn request(world: &World, claim: &str, expires: i64, proof: &Value) -> Value {
    json!({
        "resourceType": "CoverageEligibilityRequest",
        "extension": [{
            "url": "urn:careledger:extension:eligibility-proof",
            "extension": [
                {"url": "proof", "valueBase64Binary": BASE64_STANDARD.encode(proof.to_string())},
                {"url": "expires", "valueInstant": instant(expires)},
            ],
        }],
        "identifier": [{"system": "urn:careledger:claim", "value": claim}],
        "status": "active",
        "purpose": ["validation"],
        "patient": {"identifier": {"system": "urn:careledger:claim", "value": claim}},
        "created": date(now()),
        "insurer": {"identifier": {"system": "urn:careledger:account", "value": world.insurer.account}},
    })
}

fn submit(
    story: &mut Story,
    world: &World,
    condition: &Condition,
    claim: &str,
    expires: i64,
    proof: &Value,
) -> Result<(), Failure> {
    let insurer = &world.insurer.fhir;
    let honest = request(world, claim, expires, proof);
    let mut tampered = proof.clone();
    let digits = text(proof, "proof")?;
    let last = if digits.ends_with('0') { "1" } else { "0" };
    tampered["proof"] = json!(format!("{}{last}", &digits[..digits.len() - 1]));

    story.step("Someone", "tries a tampered proof, an expired one, and one that is addressed to somebody else");
    refused(story, insurer, "tampered", &request(world, claim, expires, &tampered), &["88", "89"])?;
    refused(story, insurer, "expired", &request(world, claim, now() - 60, proof), &["87"])?;
    refused(story, &world.general.fhir, "re-addressed", &honest, &["89"])?;

    story.step("Darcy", "sends the proof to the insurer");
    let response = outcome(story, insurer, &honest)?;
    story.check("the ledger verified it: she is eligible", response["outcome"] == "complete")?;
    let confirmed = world.query(&["eligibility", &world.insurer.account, claim])?;
    story.check("the insurer checks it on the ledger, with a proof against a header", confirmed.is_some())?;
    let leaked = insurer.transcript_contains(&condition.code) || insurer.transcript_contains(&condition.id);
    story.check("nothing that went between her and the insurer holds the code", !leaked)?;

    story.step("Someone", "replays it");
    refused(story, insurer, "replayed", &honest, &["84", "85", "86"])?;
    refused(
        story,
        insurer,
        "replayed for another claim",
        &request(world, &"c2".repeat(32), expires, proof),
        &["84", "85", "89"],
    )
}

fn outcome(story: &Story, fhir: &Fhir, request: &Value) -> Result<Value, Failure> {
    fhir.post(story, "CoverageEligibilityRequest/$submit", request)?.expect(200)?.json()
}

fn refused(story: &mut Story, fhir: &Fhir, what: &str, request: &Value, codes: &[&str]) -> Result<(), Failure> {
    let response = outcome(story, fhir, request)?;
    let code = response["error"][0]["code"]["coding"][0]["code"].as_str().unwrap_or("none").to_owned();
    story.check(&format!("{what}: refused with code {code}"), response["outcome"] == "error" && codes.contains(&&*code))
}

fn parameter(parameters: &Value, name: &str) -> Result<String, Failure> {
    let list = parameters["parameter"].as_array().cloned().unwrap_or_default();
    let found = list.iter().find(|parameter| parameter["name"] == name).cloned().unwrap_or_default();
    let values = found.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("value"));
    let value = values.map(|(_, value)| value).next().and_then(Value::as_str).map(str::to_owned);
    value.ok_or_else(|| Failure::Check(format!("the answer has no parameter {name}: {parameters}")))
}

/// A file that stands in a parameter.
fn parameter_json(parameters: &Value, name: &str) -> Result<Value, Failure> {
    let bytes = BASE64_STANDARD.decode(parameter(parameters, name)?);
    let bytes = bytes.map_err(|error| Failure::Check(format!("the parameter {name} is no base64: {error}")))?;
    super::world::json(&String::from_utf8_lossy(&bytes))
}
