//! A member with a covered claim: what tests and benches begin from and then spoil.

use std::collections::BTreeMap;

use careledger_zk::{
    binding,
    code::prefix_range,
    date::Day,
    field::Element,
    opening::{Account, AttestationOpening, EnrolmentOpening, Fact, Pseudonym, member},
    plan::{CLASS_COVERED, CLASS_EXCLUDED, Interval, Plan, Terms, partition},
    rule::{Statement, Witness},
    tree::{self, Leaf, Path},
};

pub const HOSPITAL: Account = Account([0x11; 20]);
pub const INSURER: Account = Account([0x22; 20]);
pub const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
pub const SNOMED: &str = "http://snomed.info/sct";

pub fn day(text: &str) -> Day {
    text.parse().expect("tests write days rightly")
}

pub fn later(day: Day, days: i64) -> Day {
    let number = u32::try_from(i64::from(day.number()) + days).expect("a day after 1900");
    Day::from_number(number).expect("a day before 4770")
}

pub fn fact(system: &str, code: &str, date: &str, amount: u64, event: u64) -> Fact {
    Fact::new(system, code, day(date), amount, event).expect("tests write facts rightly")
}

/// Endocrine diseases (E) are covered after 30 days up to 5,000.00, injuries (S)
/// at once up to 900.00, neoplasms (C) exclude.
pub fn plan() -> Plan {
    let interval = |prefix, class, wait_days, cap| {
        let range = prefix_range(ICD, prefix).expect("a prefix");
        Interval { lo: *range.start(), hi: *range.end(), class, wait_days, cap }
    };
    Plan {
        policy_id: binding::policy_id_of(&INSURER.0, b"basic"),
        scope: binding::scope_of(&INSURER.0),
        intervals: partition(vec![
            interval("E", CLASS_COVERED, 30, 500_000),
            interval("S", CLASS_COVERED, 0, 90_000),
            interval("C", CLASS_EXCLUDED, 0, 0),
        ]),
        terms: Terms {
            claims_per_period: 3,
            period_days: 365,
            claim_within_days: 60,
            age_days_min: 18 * 365,
            age_days_max: 90 * 365,
        },
    }
}

/// A tree with strangers' leaves around one at `index`, and the path of that one.
pub fn grown(index: u64, leaf: Leaf, strangers: &[u64]) -> Path {
    let mut nodes: BTreeMap<(u8, u64), Element> = BTreeMap::new();
    let others = strangers.iter().map(|index| (*index, Leaf::attestation(Element::from(*index), &[0x99; 20])));
    for (index, leaf) in others.chain([(index, leaf)]) {
        let writes = tree::append(index, leaf, |level, place| nodes.get(&(level, place)).copied());
        nodes.extend(writes.into_iter().map(|(level, place, node)| ((level, place), node)));
    }
    tree::path(index, |level, place| nodes.get(&(level, place)).copied())
}

/// An eligible member and the statement that they prove.
pub fn eligible() -> (Statement, Witness) {
    let secret = Element::from(0x5ec2e7);
    let own = Pseudonym::new(secret, Element::from(0xb11d));
    let plan = plan();
    let attestation = AttestationOpening {
        issuer: HOSPITAL,
        pseudonym: own.pseudonym,
        facts: vec![
            fact(SNOMED, "44054006", "2026-02-11", 0, 70),
            fact(ICD, "E11.9", "2026-03-02", 123_450, 71),
            fact(ICD, "S72.001A", "2026-03-05", 250_000, 72),
        ],
        complete: true,
        birth: day("1970-05-17"),
        issued: day("2026-03-10"),
        expiry: later(day("2026-03-10"), 184),
        salt: Element::from(0x5a17),
    };
    let enrolment = EnrolmentOpening {
        insurer: INSURER,
        member: member(secret, plan.scope),
        policy_id: plan.policy_id,
        start: day("2026-01-01"),
        end: day("2026-12-31"),
        salt: Element::from(0x5a18),
    };
    let mut witness = Witness {
        secret,
        blinding: own.blinding,
        attestation,
        attestation_path: Path { index: 0, siblings: Vec::new() },
        enrolment,
        enrolment_path: Path { index: 0, siblings: Vec::new() },
        plan,
        claimed: 1,
        claim_number: 0,
        amount_blinding: Element::from(0xa403),
    };
    anchor(&mut witness);
    let statement = restate(&witness, day("2026-03-20"));
    (statement, witness)
}

/// Puts the openings, as they are now, into fresh trees.
pub fn anchor(witness: &mut Witness) {
    let commitment = witness.attestation.commitment().expect("tests open rightly");
    let leaf = Leaf::attestation(commitment, &witness.attestation.issuer.0);
    witness.attestation_path = grown(7, leaf, &[0, 4, 5, 6, 1_000, tree::LEAVES_MAX - 1]);
    let leaf = Leaf::enrolment(witness.enrolment.commitment(), &witness.enrolment.insurer.0);
    witness.enrolment_path = grown(65_537, leaf, &[3, 65_536, 65_539]);
}

/// The statement that this witness speaks of, on a day.
pub fn restate(witness: &Witness, as_of: Day) -> Statement {
    let context = binding::context(
        "careledger-dev-1",
        &careledger_zk::statement::CIRCUIT_ID,
        &INSURER.0,
        &[0x33; 32],
        &[0x44; 20],
        1_800_000_000,
    );
    witness.statement(as_of, context).expect("a witness with a claim makes a statement")
}
