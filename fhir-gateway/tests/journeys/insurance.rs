//! Journey 2 of the product: a provider attests, an insurer enrols, the patient proves on their own
//! device, the insurer's gateway asks the ledger. Every way to cheat has its own code.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_gateway::{
    keys::{OrganizationKeys, OrganizationSigner, random},
    ledger::{Ledger, clock},
    mapping::task::timestamp,
};
use careledger_wire::proto::{
    identity::OrganizationKind,
    query::{PathRequest, Tree},
};
use serde_json::{Value, json};

use super::{
    chain,
    site::{self, Site},
};

const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";

/// The `prove` program: the one that `CARELEDGER_PROVE` names, or built from this repository.
fn prover() -> PathBuf {
    if let Some(program) = std::env::var_os("CARELEDGER_PROVE") {
        return program.into();
    }
    // The same selection as `cargo verify`, which has built it before: nothing is compiled twice then.
    let build = ["build", "--quiet", "--workspace", "--features", "careledger_zk/prover", "--bin", "prove"];
    let built = Command::new(env!("CARGO")).args(build).status().unwrap();
    assert!(built.success(), "the prove program does not build");
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join("prove")
}

/// A patient's device: files in a folder, and the program that reads them.
struct Device {
    folder: PathBuf,
    program: PathBuf,
}

impl Device {
    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.program).args(arguments).current_dir(&self.folder).output().unwrap();
        assert!(output.status.success(), "prove {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn keep(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.join(name), bytes).unwrap();
    }
}

/// The value of one parameter of a Parameters resource.
fn parameter<'a>(parameters: &'a Value, name: &str) -> &'a Value {
    let all = parameters["parameter"].as_array().unwrap();
    all.iter().find(|parameter| parameter["name"] == name).unwrap_or_else(|| panic!("{parameters}"))
}

fn file(parameters: &Value, name: &str) -> Vec<u8> {
    STANDARD.decode(parameter(parameters, name)["valueBase64Binary"].as_str().unwrap()).unwrap()
}

fn id(reply: &Value) -> String {
    reply["id"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// A commitment's authentication path as the `prove` program reads it.
async fn path(ledger: &Ledger, tree: Tree, insurer: &[u8], commitment: &str) -> Vec<u8> {
    let commitment = hex::decode(commitment).unwrap();
    let request = PathRequest { tree: tree.into(), insurer: insurer.to_vec(), commitment };
    let path = ledger.path(&request).await.unwrap().expect("the commitment was anchored");
    let siblings: Vec<Vec<String>> =
        path.siblings.chunks(3).map(|level| level.iter().map(hex::encode).collect()).collect();
    json!({"index": path.index, "siblings": siblings}).to_string().into_bytes()
}

struct World {
    _folder: tempfile::TempDir,
    hospital: Site,
    insurer: Site,
    device: Device,
    claim: String,
    expires: i64,
}

impl World {
    async fn new(root: &Path, folder: tempfile::TempDir) -> Self {
        let registrar = OrganizationSigner::random();
        let (ledger, rpc) = chain::embedded(&root.join("ledger"), &registrar);
        let (hospital, insurer) = (OrganizationKeys::random(), OrganizationKeys::random());
        chain::register(&ledger, &registrar, &hospital, OrganizationKind::Provider).await.unwrap();
        chain::register(&ledger, &registrar, &insurer, OrganizationKind::Insurer).await.unwrap();
        let hospital = Site::start(root, "hospital", &hospital, ledger.clone(), site::free_address(), &[]).await;
        let through_rpc = Ledger::connect(&rpc).await.unwrap();
        let insurer = Site::start(root, "insurer", &insurer, through_rpc, site::free_address(), &[]).await;
        let device = Device { folder: root.join("device"), program: prover() };
        std::fs::create_dir_all(&device.folder).unwrap();
        let (claim, expires) = (hex::encode(random::<32>()), clock() + 3_600);
        let world = Self { _folder: folder, hospital, insurer, device, claim, expires };
        world.prepare(&ledger).await;
        world
    }

    /// Everything up to the patient's proof.
    async fn prepare(&self, ledger: &Ledger) {
        let device = &self.device;
        device.run(&["secret", "--out", "wallet.json"]);
        let pid = device.run(&["pid", "--wallet", "wallet.json", "--out", "pid.json"]);
        let insurer = self.insurer.organization.address();
        let member = device.run(&["member", "--wallet", "wallet.json", "--insurer", &insurer.to_string()]);

        let attested = self.attest(&pid).await;
        device.keep("attestation.json", &file(&attested, "opening"));
        let commitment = parameter(&attested, "commitment")["valueString"].as_str().unwrap();
        device.keep("attestation-path.json", &path(ledger, Tree::Attestations, &[], commitment).await);

        let enrolled = self.enrol(&member).await;
        device.keep("enrolment.json", &file(&enrolled, "opening"));
        let commitment = parameter(&enrolled, "commitment")["valueString"].as_str().unwrap();
        device.keep("enrolment-path.json", &path(ledger, Tree::Enrolments, insurer.as_bytes(), commitment).await);
        self.prove("proof.json", self.expires);
    }

    /// The provider attests the patient's one Condition.
    async fn attest(&self, pid: &str) -> Value {
        let patient = json!({"resourceType": "Patient", "birthDate": "1970-05-17"});
        let patient = id(&self.hospital.post("/Patient", &patient).await.expect(201));
        let condition = json!({
            "resourceType": "Condition",
            "subject": {"reference": format!("Patient/{patient}")},
            "code": {"coding": [{"system": ICD, "code": "E11.9"}]},
            "onsetDateTime": &timestamp(clock() - 5 * 86_400)[..10],
        });
        let condition = id(&self.hospital.post("/Condition", &condition).await.expect(201));
        let fact = json!({"name": "fact", "part": [
            {"name": "condition", "valueReference": {"reference": format!("Condition/{condition}")}},
            {"name": "amount", "valueUnsignedInt": 123_450},
        ]});
        let ask = json!({"resourceType": "Parameters", "parameter": [{"name": "pid", "valueString": pid}, fact]});
        self.hospital.post(&format!("/Patient/{patient}/$attest"), &ask).await.expect(200)
    }

    /// The insurer publishes a plan and enrols the member.
    async fn enrol(&self, member: &str) -> Value {
        let interval = |prefix: &str, class: &str| {
            json!({"url": "urn:careledger:extension:plan-interval", "extension": [
                {"url": "system", "valueUri": ICD}, {"url": "prefix", "valueCode": prefix},
                {"url": "class", "valueCode": class}, {"url": "wait-days", "valueUnsignedInt": 30},
                {"url": "cap", "valueUnsignedInt": 500_000},
            ]})
        };
        let terms = json!({"url": "urn:careledger:extension:plan-terms", "extension": [
            {"url": "claims-per-period", "valueUnsignedInt": 3},
            {"url": "period-days", "valueUnsignedInt": 365},
            {"url": "claim-within-days", "valueUnsignedInt": 60},
        ]});
        let plan = json!({
            "resourceType": "InsurancePlan", "status": "active", "name": "Basic",
            "identifier": [{"system": "https://insurer.example/policies", "value": "basic"}],
            "plan": [{"extension": [terms, interval("E", "covered"), interval("C", "excluded")]}],
        });
        let plan = id(&self.insurer.post("/InsurancePlan", &plan).await.expect(201));
        let published = self.insurer.get(&format!("/InsurancePlan/{plan}/$plan")).await.expect(200);
        self.device.keep("plan.json", &file(&published, "plan"));
        let day = |days: i64| timestamp(clock() + days * 86_400)[..10].to_owned();
        let kind =
            json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/coverage-class", "code": "plan"}]});
        let coverage = json!({
            "resourceType": "Coverage", "status": "active",
            "extension": [{"url": "urn:careledger:extension:member", "valueString": member}],
            "beneficiary": {"display": "a member"}, "payor": [{"display": "the insurer"}],
            "class": [{"type": kind, "value": parameter(&published, "commitment")["valueString"]}],
            "period": {"start": day(-100), "end": day(200)},
        });
        let coverage = id(&self.insurer.post("/Coverage", &coverage).await.expect(201));
        self.insurer.get(&format!("/Coverage/{coverage}/$opening")).await.expect(200)
    }

    fn prove(&self, out: &str, expires: i64) {
        let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/proving-keys");
        let submitter = self.insurer.organization.address().to_string();
        let (as_of, expiry) = (&timestamp(clock())[..10], expires.to_string());
        let amount = format!("amount-of-{out}");
        self.device.run(&[
            "eligibility",
            "--wallet",
            "wallet.json",
            "--pseudonym",
            "pid.json",
            "--attestation",
            "attestation.json",
            "--attestation-path",
            "attestation-path.json",
            "--enrolment",
            "enrolment.json",
            "--enrolment-path",
            "enrolment-path.json",
            "--plan",
            "plan.json",
            "--fact",
            "0",
            "--as-of",
            as_of,
            "--chain-id",
            chain::CHAIN,
            "--claim",
            &self.claim,
            "--submitter",
            &submitter,
            "--expiry",
            &expiry,
            "--out",
            out,
            "--amount-out",
            &amount,
            "--cache",
            cache,
        ]);
    }

    fn proof(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.device.folder.join(name)).unwrap()).unwrap()
    }

    fn request(&self, proof: &Value, claim: &str, expires: i64) -> Value {
        let insurer =
            json!({"identifier": {"system": "urn:careledger:account", "value": self.insurer.organization.address()}});
        json!({
            "resourceType": "CoverageEligibilityRequest", "status": "active", "purpose": ["validation"],
            "identifier": [{"system": "urn:careledger:claim", "value": claim}],
            "patient": {"display": "a member"}, "created": timestamp(clock()), "insurer": insurer,
            "extension": [{"url": "urn:careledger:extension:eligibility-proof", "extension": [
                {"url": "proof", "valueBase64Binary": STANDARD.encode(proof.to_string())},
                {"url": "expires", "valueInstant": timestamp(expires)},
            ]}],
        })
    }
}

async fn submit(site: &Site, request: &Value) -> Value {
    site.post("/CoverageEligibilityRequest/$submit", request).await.expect(200)
}

fn code(response: &Value) -> &str {
    assert_eq!(response["outcome"], json!("error"), "{response}");
    response["error"][0]["code"]["coding"][0]["code"].as_str().unwrap()
}

/// The same proof with its first two points negated: it verifies as well, and is other bytes.
fn rerandomised(proof: &Value) -> Value {
    let mut bytes = hex::decode(proof["proof"].as_str().unwrap()).unwrap();
    for sign in [31, 95] {
        bytes[sign] ^= 0x80;
    }
    let mut changed = proof.clone();
    changed["proof"] = json!(hex::encode(bytes));
    changed
}

/// The proof with one of its public inputs exchanged for another's.
fn tampered(proof: &Value) -> Value {
    let mut changed = proof.clone();
    changed["inputs"]["amount_commit"] = proof["inputs"]["enr_root"].clone();
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_covers_an_event_that_nobody_names_and_no_proof_is_worth_anything_twice() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    let world = World::new(&root, folder).await;
    let proof = world.proof("proof.json");
    let good = world.request(&proof, &world.claim, world.expires);
    assert!(!good.to_string().contains("E11"), "the transcript holds no code");

    let past = clock() - 60;
    let other_claim = hex::encode(random::<32>());
    let mut broken = proof.clone();
    broken["proof"] = json!("00".repeat(128));
    let refused = [
        ("89", "tampered", world.request(&tampered(&proof), &world.claim, world.expires)),
        ("89", "of another claim", world.request(&proof, &other_claim, world.expires)),
        ("89", "with a longer life", world.request(&proof, &world.claim, world.expires + 1)),
        ("87", "expired", world.request(&proof, &world.claim, past)),
        ("88", "no proof at all", world.request(&broken, &world.claim, world.expires)),
    ];
    for (expected, what, request) in &refused {
        assert_eq!(code(&submit(&world.insurer, request).await), *expected, "{what}");
    }
    assert_eq!(code(&submit(&world.hospital, &good).await), "89", "sent by somebody else");

    let accepted = submit(&world.insurer, &good).await;
    assert_eq!(accepted["outcome"], json!("complete"), "{accepted}");
    assert_eq!(accepted["insurance"][0]["inforce"], json!(true));
    assert!(!accepted.to_string().contains("E11"));

    assert_eq!(code(&submit(&world.insurer, &good).await), "84", "replayed");
    let again = world.request(&rerandomised(&proof), &world.claim, world.expires);
    assert_eq!(code(&submit(&world.insurer, &again).await), "84", "re-randomised");
    let request = accepted["request"]["reference"].as_str().unwrap();
    let found = world.insurer.get(&format!("/CoverageEligibilityResponse?request={request}")).await.expect(200);
    assert_eq!(found["entry"][0]["resource"]["outcome"], json!("complete"));
}
