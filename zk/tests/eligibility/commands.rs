//! The two programs, as a member, a provider and an insurer use them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::scenario::{HOSPITAL, ICD, INSURER, day, fact, grown, plan};
use careledger_zk::{
    field::Element,
    opening::{AttestationOpening, EnrolmentOpening},
    tree::Leaf,
};
use serde::Serialize;
use tempfile::TempDir;

const CLAIM: &str = "3333333333333333333333333333333333333333333333333333333333333333";
const SUBMITTER: &str = "4444444444444444444444444444444444444444";
const INSURER_HEX: &str = "2222222222222222222222222222222222222222";

/// A folder in which everyone's files lie.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, value: &impl Serialize) {
        let text = serde_json::to_string_pretty(value).expect("JSON");
        fs::write(self.path(name), text).expect("a file");
    }

    /// Runs a program here; `@name` is a file here.
    fn run(&self, program: &str, line: &str) -> Output {
        let arguments = line.split_whitespace().map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => word.into(),
        });
        Command::new(program).args(arguments).output().expect("the program starts")
    }

    fn prove(&self, line: &str) -> String {
        let output = self.run(env!("CARGO_BIN_EXE_prove"), line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Exit code and both streams.
    fn verify(&self, line: &str) -> (i32, String) {
        let output = self.run(env!("CARGO_BIN_EXE_verify"), line);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().expect("it exits"), String::from_utf8(text).expect("text"))
    }
}

/// What the provider, the insurer and the ledger give the member.
fn member_with_files() -> Desk {
    let desk = Desk::new();
    desk.prove("secret --out @wallet.json");
    let pseudonym = desk.prove("pid --wallet @wallet.json --out @pid.json");
    let member = desk.prove(&format!("member --wallet @wallet.json --insurer {INSURER_HEX}"));
    let element = |text: &str| Element::from_hex(text).expect("an element");
    desk.write(
        "attestation.json",
        &AttestationOpening {
            issuer: HOSPITAL,
            pseudonym: element(&pseudonym),
            facts: vec![fact(ICD, "E11.9", "2026-03-02", 123_450, 71)],
            complete: true,
            birth: day("1970-05-17"),
            issued: day("2026-03-10"),
            expiry: day("2026-09-10"),
            salt: element(&desk.prove("salt")),
        },
    );
    let plan = plan();
    desk.write("plan.json", &plan);
    desk.write(
        "enrolment.json",
        &EnrolmentOpening {
            insurer: INSURER,
            member: element(&member),
            policy_id: plan.policy_id,
            start: day("2026-01-01"),
            end: day("2026-12-31"),
            salt: element(&desk.prove("salt")),
        },
    );
    let attestation = element(&desk.prove("commit attestation @attestation.json"));
    let enrolment = element(&desk.prove("commit enrolment @enrolment.json"));
    let attestation = Leaf::attestation(attestation, &HOSPITAL.0);
    desk.write("attestation_path.json", &grown(12, attestation, &[1, 13]));
    let enrolment = Leaf::enrolment(enrolment, &INSURER.0);
    desk.write("enrolment_path.json", &grown(3, enrolment, &[0, 2]));
    desk
}

fn eligibility(fact: usize) -> String {
    format!(
        "eligibility --wallet @wallet.json --pseudonym @pid.json --attestation @attestation.json \
         --attestation-path @attestation_path.json --enrolment @enrolment.json \
         --enrolment-path @enrolment_path.json --plan @plan.json --fact {fact} --as-of 2026-03-20 \
         --chain-id careledger-dev-1 --claim {CLAIM} --submitter {SUBMITTER} --expiry 1800000000 \
         --out @proof.careledger.json --amount-out @amount.json --snarkjs @snarkjs --cache {}",
        env!("CARGO_TARGET_TMPDIR")
    )
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).expect("a file");
    assert!(text.contains(from), "{} holds {from}", path.display());
    fs::write(path, text.replacen(from, to, 1)).expect("a file");
}

#[test]
fn a_member_proves_and_an_insurer_verifies() {
    let desk = member_with_files();
    desk.prove(&eligibility(0));

    let context =
        format!("--chain-id careledger-dev-1 --insurer {INSURER_HEX} --claim {CLAIM} --submitter {SUBMITTER}");
    let whole = format!("@proof.careledger.json --plan @plan.json --amount @amount.json {context}");
    let (code, text) = desk.verify(&format!("{whole} --expiry 1800000000"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("payable at most: 123450"), "{text}");
    assert!(text.contains("development key"), "{text}");
    let (code, text) = desk.verify("--snarkjs @snarkjs");
    assert_eq!(code, 0, "{text}");

    let (code, text) = desk.verify("@proof.careledger.json --snarkjs @converted");
    assert_eq!(code, 0, "{text}");
    for name in ["proof.json", "public.json"] {
        let read = |folder: &str| fs::read_to_string(desk.path(folder).join(name)).expect("a file");
        assert_eq!(read("converted"), read("snarkjs"), "{name}: the insurer's own conversion is the member's");
    }
    assert!(!desk.path("converted/verification_key.json").exists(), "a key never comes with a proof");

    let (code, text) = desk.verify(&format!("{whole} --expiry 1800000001"));
    assert_eq!((code, text.contains("another context")), (1, true), "{text}");
    let (code, _) = desk.verify("@nothing.json");
    assert_eq!(code, 1);
    let (code, _) = desk.verify("");
    assert_eq!(code, 2);

    replace(&desk.path("amount.json"), "123450", "123451");
    assert_eq!(desk.verify("@proof.careledger.json --amount @amount.json").0, 1);
    replace(&desk.path("plan.json"), "\"wait_days\": 30", "\"wait_days\": 29");
    assert_eq!(desk.verify("@proof.careledger.json --plan @plan.json").0, 1);
    replace(&desk.path("proof.careledger.json"), "2026-03-20", "2026-03-21");
    let (code, text) = desk.verify("@proof.careledger.json");
    assert_eq!((code, text.contains("does not prove")), (1, true), "{text}");
    assert_eq!(desk.verify("@proof.careledger.json --snarkjs @refused").0, 1);
    assert!(!desk.path("refused").exists(), "what does not verify is not converted");
    replace(&desk.path("snarkjs/public.json"), "\"", "\"0");
    assert_eq!(desk.verify("--snarkjs @snarkjs").0, 1);
}

#[test]
fn what_the_member_sends_names_no_code() {
    let desk = member_with_files();
    desk.prove(&eligibility(0));
    for name in ["proof.careledger.json", "amount.json", "snarkjs/proof.json", "snarkjs/public.json"] {
        let text = fs::read_to_string(desk.path(name)).expect("a file");
        assert!(!text.contains("E11") && !text.contains("icd"), "{name}");
    }
}

#[test]
fn secrets_are_private_and_never_overwritten() {
    let desk = member_with_files();
    desk.prove(&eligibility(0));
    #[cfg(unix)]
    for name in ["wallet.json", "pid.json", "amount.json"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(desk.path(name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let before = fs::read(desk.path("wallet.json")).expect("a file");
    let again = desk.run(env!("CARGO_BIN_EXE_prove"), "secret --out @wallet.json");
    assert!(!again.status.success());
    assert_eq!(fs::read(desk.path("wallet.json")).expect("a file"), before);
}

#[test]
fn a_refusal_names_the_rule_and_no_value() {
    let desk = member_with_files();
    let cases = [
        (eligibility(1), "the openings do not describe a claim"),
        (eligibility(0).replace("2026-03-20", "2026-06-20"), "too long ago"),
        (eligibility(0).replace("@enrolment.json", "@plan.json"), "not what is expected at line"),
    ];
    for (line, expected) in cases {
        let output = desk.run(env!("CARGO_BIN_EXE_prove"), &line);
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1));
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("E11"), "{text}");
        assert!(!desk.path("proof.careledger.json").exists());
    }
}
