//! A validator is killed under load, and a gateway too. Nothing that was acknowledged may be lost.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use careledger_wire::{commitment, ids::Address};
use serde_json::{Value, json};

use crate::{
    fhir::Fhir,
    home::{Home, POLL, VALIDATORS, eventually, succeeded},
};

/// The validator that is killed: hospital B's gateway uses it.
const KILLED: &str = "1";
/// Acknowledged writes that are waited for in each phase.
const WRITES: usize = 15;

/// What a gateway acknowledged: a Patient, and with it a subject on the ledger.
struct Acknowledged {
    id: String,
    family: String,
    subject_key: Vec<u8>,
}

/// Writes Patients to one organization until it is told to stop.
struct Writer<'a> {
    fhir: Fhir,
    organization: Address,
    stop: &'a AtomicBool,
    acknowledged: Mutex<Vec<Acknowledged>>,
    refused: Mutex<BTreeMap<u16, usize>>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl<'a> Writer<'a> {
    fn new(home: &Home, name: &str, stop: &'a AtomicBool) -> Self {
        let account = home.variable(&format!("{}_ACCOUNT", name.to_uppercase()));
        Self {
            fhir: Fhir::new(home, name),
            organization: account.parse().unwrap(),
            stop,
            acknowledged: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    fn write_until_stopped(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let digits = commitment::hash("careledger/test-account/1", &[&number.to_be_bytes()]);
            let claimant = Address::new(*digits.first_chunk().unwrap());
            let family = format!("Crash{number}");
            let patient = json!({
                "resourceType": "Patient",
                "identifier": [{"system": "urn:careledger:account", "value": claimant.to_string()}],
                "name": [{"family": family}],
            });
            // 0: nobody answered.
            let (status, body) = self.fhir.create(&patient).unwrap_or_default();
            if status != 201 {
                *self.refused.lock().unwrap().entry(status).or_default() += 1;
                // As a client that honours 503 does; or it would be told 429.
                thread::sleep(POLL);
                continue;
            }
            let subject = commitment::subject_id(&self.organization, &claimant);
            let id = body["id"].as_str().unwrap().to_owned();
            let subject_key = [b"subject/".as_slice(), subject.as_bytes()].concat();
            self.acknowledged.lock().unwrap().push(Acknowledged { id, family, subject_key });
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until it wrote some more.
    fn wait_for_more(&self, when: &str) {
        let wanted = self.count() + WRITES;
        eventually(&format!("{when}: {} writes, wanted {wanted}", self.organization), || self.count() >= wanted);
    }
}

pub fn kill_and_revive_under_load(home: &Home) {
    let stop = AtomicBool::new(false);
    let general = Writer::new(home, "general", &stop);
    let lakeside = Writer::new(home, "lakeside", &stop);
    thread::scope(|scope| {
        // However this ends, the writers end too.
        let _stopped = StopWhenDropped(&stop);
        scope.spawn(|| general.write_until_stopped());
        scope.spawn(|| general.write_until_stopped());
        scope.spawn(|| lakeside.write_until_stopped());
        general.wait_for_more("before the crash");
        lakeside.wait_for_more("before the crash");

        home.run(&["kill", "--validator", KILLED]);
        general.wait_for_more("three of four validators go on");

        home.run(&["revive", "--validator", KILLED]);
        lakeside.wait_for_more("the revived validator serves its gateway again");

        // A gateway dies as well. Its supervisor starts it again, and it mends what was under way.
        let gateway = home.pids()["g0"].clone();
        succeeded(Command::new("kill").args(["-KILL", &gateway]));
        general.wait_for_more("the gateway came back");
    });
    let refused = [&general, &lakeside].map(|writer| writer.refused.lock().unwrap().clone());
    for status in refused.iter().flat_map(BTreeMap::keys) {
        assert!([0, 503].contains(status), "while a validator or gateway is gone: no answer, or 503; {refused:?}");
    }
    eventually("all four never agreed", || home.succeeds(&["check"]));
    assert_all_agree_at_every_height(home);
    for (name, writer) in [("general", &general), ("lakeside", &lakeside)] {
        assert_nothing_lost(home, name, &writer.acknowledged.lock().unwrap());
    }
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn assert_all_agree_at_every_height(home: &Home) {
    let lowest = (0..VALIDATORS).map(|index| home.height(index)).min().unwrap();
    assert!(lowest > 20, "the load made blocks");
    for height in 1..=lowest {
        let view = |index| -> Value {
            let commit = home.rpc(index, "commit", &json!({"height": height.to_string()}));
            let signed = &commit["signed_header"];
            json!([signed["header"]["app_hash"], signed["commit"]["block_id"]["hash"]])
        };
        let first = view(0);
        assert!(first[0].is_string() && first[1].is_string(), "{first}");
        for index in 1..VALIDATORS {
            assert_eq!(view(index), first, "validator {index} at height {height}");
        }
    }
}

/// Every validator has each subject, and the gateway each Patient.
fn assert_nothing_lost(home: &Home, name: &str, acknowledged: &[Acknowledged]) {
    let fhir = Fhir::new(home, name);
    assert!(acknowledged.len() >= 2 * WRITES);
    for one in acknowledged {
        for index in 0..VALIDATORS {
            let value = home.state(index, &one.subject_key);
            assert!(value.is_some(), "validator {index} lost what {name} acknowledged: {}", one.family);
        }
        let (status, body) = fhir.get(&format!("Patient/{}", one.id));
        assert_eq!(status, 200, "{name} lost {}", one.family);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["name"][0]["family"], one.family.as_str());
    }
}
