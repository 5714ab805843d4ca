//! The circuit says what the rule says, to everyone, for every value.

use crate::scenario::{ICD, SNOMED, anchor, day, eligible, fact, later, restate};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, One};
use careledger_zk::{
    circuit::{
        self,
        assignment::{Assignment, raw_inputs},
        builder::Shape,
        freedom::free_variables,
    },
    field::Element,
    opening::Account,
    plan::CLASS_COVERED,
    poseidon::{Domain, hash},
    rule::{self, Statement, Violation, Witness},
    statement::CIRCUIT_DIGEST,
};
use proptest::prelude::*;
use std::sync::LazyLock;

static SHAPE: LazyLock<Shape> = LazyLock::new(circuit::shape);

fn accepts(statement: &Statement, witness: &Witness) -> bool {
    Assignment::new(witness)
        .is_ok_and(|assignment| SHAPE.broken(&circuit::values(raw_inputs(statement), &assignment)).is_none())
}

/// The part of the circuit that refuses, or nothing.
fn refusing(inputs: [Fr; 8], assignment: &Assignment) -> Option<&'static str> {
    SHAPE.broken(&circuit::values(inputs, assignment)).map(|row| SHAPE.section_of(row))
}

#[test]
fn the_circuit_is_the_pinned_one() {
    let sections: Vec<(&str, usize)> = SHAPE.sections.iter().map(|(name, range)| (*name, range.len())).collect();
    assert_eq!(
        sections,
        [
            ("ranges", 1744),
            ("attestation", 6052),
            ("plan", 298),
            ("enrolment", 5626),
            ("lookups", 13136),
            ("claim", 106),
            ("days", 190),
            ("amount", 324),
            ("nullifiers", 694),
            ("context", 1),
        ]
    );
    assert_eq!(SHAPE.constraints(), 28_171);
    assert!(SHAPE.constraints() + SHAPE.instance_variables <= 1 << 15, "proving would double");
    assert_eq!(hex::encode(circuit::digest(&SHAPE)), hex::encode(CIRCUIT_DIGEST));
}

#[test]
fn an_eligible_member_satisfies_rule_and_circuit() {
    let (statement, witness) = eligible();
    assert_eq!(rule::holds(&statement, &witness), Ok(()));
    let assignment = Assignment::new(&witness).expect("there is a claim");
    assert_eq!(refusing(raw_inputs(&statement), &assignment), None);
}

/// Spoils a witness, states anew what can be stated, and names the rule that breaks.
type Case = (&'static str, fn(&mut Witness), &'static str, Result<(), Violation>);

#[test]
fn every_rule_is_refused_by_its_own_name_and_by_the_circuit() {
    use Violation::*;
    const AS_OF: &str = "2026-03-20";
    let cases: &[Case] = &[
        ("as it is", |_| (), AS_OF, Ok(())),
        ("another covered fact", |w| w.claimed = 2, AS_OF, Ok(())),
        ("a neutral fact", |w| w.claimed = 0, AS_OF, Err(NotCovered)),
        ("an empty slot", |w| w.claimed = 5, AS_OF, Err(Malformed)),
        ("another secret", |w| w.secret = Element::from(1), AS_OF, Err(NotTheHolder)),
        ("another blinding", |w| w.blinding = Element::from(1), AS_OF, Err(NotTheHolder)),
        ("a friend's enrolment", |w| w.enrolment.member = Element::from(1), AS_OF, Err(NotTheMember)),
        ("another policy", |w| w.enrolment.policy_id = Element::from(1), AS_OF, Err(NotTheMember)),
        ("another insurer", |w| w.enrolment.insurer = Account([9; 20]), AS_OF, Err(NotTheMember)),
        ("another scope", |w| w.plan.scope = Element::from(1), AS_OF, Err(NotTheMember)),
        ("before it was issued", |_| (), "2026-03-09", Err(AttestationNotValid)),
        ("on the day it was issued", |_| (), "2026-03-10", Ok(())),
        ("too late to claim", |_| (), "2026-05-02", Err(TooLate)),
        ("on the last day to claim", |_| (), "2026-05-01", Ok(())),
        ("expired", |w| w.attestation.expiry = day("2026-03-19"), AS_OF, Err(AttestationNotValid)),
        ("on the last day", |w| w.attestation.expiry = day(AS_OF), AS_OF, Ok(())),
        ("attested before it happened", |w| w.attestation.issued = day("2026-03-01"), AS_OF, Err(AttestationNotValid)),
        ("waiting", |w| w.enrolment.start = day("2026-02-01"), AS_OF, Err(OutsideCover)),
        ("the wait is over", |w| w.enrolment.start = day("2026-01-31"), AS_OF, Ok(())),
        ("cover has ended", |w| w.enrolment.end = day("2026-03-01"), AS_OF, Err(OutsideCover)),
        ("the last day of cover", |w| w.enrolment.end = day("2026-03-02"), AS_OF, Ok(())),
        ("too young", |w| w.attestation.birth = later(day("2026-03-02"), 1 - 18 * 365), AS_OF, Err(Age)),
        ("just old enough", |w| w.attestation.birth = later(day("2026-03-02"), -18 * 365), AS_OF, Ok(())),
        ("too old", |w| w.attestation.birth = later(day("2026-03-02"), -1 - 90 * 365), AS_OF, Err(Age)),
        ("the oldest covered", |w| w.attestation.birth = later(day("2026-03-02"), -90 * 365), AS_OF, Ok(())),
        ("born after the event", |w| w.attestation.birth = day("2026-03-03"), AS_OF, Err(Age)),
        (
            "an excluded code",
            |w| w.attestation.facts[0] = fact(ICD, "C50.911", "2026-01-01", 0, 70),
            AS_OF,
            Err(Excluded),
        ),
        ("an incomplete list", |w| w.attestation.complete = false, AS_OF, Err(ListNotComplete)),
        (
            "incomplete, and nothing excludes",
            |w| {
                w.attestation.complete = false;
                w.plan.intervals.iter_mut().filter(|i| i.class == 2).for_each(|i| i.class = 0);
            },
            AS_OF,
            Ok(()),
        ),
        ("the last claim of the period", |w| w.claim_number = 2, AS_OF, Ok(())),
        ("one claim too many", |w| w.claim_number = 3, AS_OF, Err(TooManyClaims)),
        (
            "eight facts",
            |w| {
                let line = fact(SNOMED, "38341003", "2026-01-05", 1, 9);
                w.attestation.facts.resize(8, line);
            },
            AS_OF,
            Ok(()),
        ),
        ("a claim of nothing", |w| w.attestation.facts[1] = fact(ICD, "E11.9", "2026-03-02", 0, 71), AS_OF, Ok(())),
    ];
    for (name, spoil, as_of, expected) in cases {
        let (_, mut witness) = eligible();
        spoil(&mut witness);
        anchor(&mut witness);
        let statement = if witness.fact_exists() { restate(&witness, day(as_of)) } else { eligible().0 };
        assert_eq!(rule::holds(&statement, &witness), *expected, "{name}");
        assert_eq!(accepts(&statement, &witness), expected.is_ok(), "{name}");
    }
}

trait FactExists {
    fn fact_exists(&self) -> bool;
}

impl FactExists for Witness {
    fn fact_exists(&self) -> bool {
        self.claimed < self.attestation.facts.len()
    }
}

type Change = fn(&mut Statement);

#[test]
fn another_statement_is_refused_by_rule_and_circuit() {
    use Violation::*;
    let cases: [(Change, Violation); 7] = [
        (|s| s.att_root = Element::from(1), AttestationNotAnchored),
        (|s| s.enr_root = Element::from(1), EnrolmentNotAnchored),
        (|s| s.policy = Element::from(1), AnotherPlan),
        (|s| s.null_event = Element::from(1), Nullifier),
        (|s| s.null_period = Element::from(1), Nullifier),
        (|s| s.amount_commit = Element::from(1), Amount),
        (|s| s.as_of = day("2026-09-11"), AttestationNotValid),
    ];
    for (change, violation) in cases {
        let (mut statement, witness) = eligible();
        change(&mut statement);
        assert_eq!(rule::holds(&statement, &witness), Err(violation));
        assert!(!accepts(&statement, &witness), "{violation:?}");
    }
}

/// A cheat assigns what no honest type can express.
type Cheat = (&'static str, fn(&mut [Fr; 8], &mut Assignment), &'static str);

#[test]
fn cheating_assignments_are_refused_where_they_cheat() {
    let cheats: &[Cheat] = &[
        ("a day of more than 20 bits", |x, _| x[3] = Fr::from(1_u64 << 20), "days"),
        ("a day that wraps", |x, _| x[3] = -Fr::one(), "days"),
        ("a code that wraps", |_, a| a.slots[3].code = -Fr::one(), "ranges"),
        ("a code of 65 bits", |_, a| a.slots[3].code = Fr::from(1_u128 << 64), "ranges"),
        ("a negative amount", |_, a| a.slots[1].amount = -Fr::one(), "ranges"),
        ("a negative wait", |_, a| a.wait_days = -Fr::from(30_u64), "claim"),
        ("a larger cap", |_, a| a.cap += Fr::one(), "claim"),
        (
            "a cap from the wait",
            |_, a| {
                a.wait_days -= Fr::one();
                a.cap += Fr::from(1_u64 << 40);
            },
            "claim",
        ),
        ("no claimed slot", |_, a| a.slots[1].claimed = Fr::ZERO, "claim"),
        ("two claimed slots", |_, a| a.slots[2].claimed = Fr::one(), "claim"),
        (
            "half of two slots",
            |_, a| {
                let half = Fr::from(2_u64).inverse().expect("two has an inverse");
                a.slots[1].claimed = half;
                a.slots[2].claimed = half;
            },
            "lookups",
        ),
        ("an interval's other class", |_, a| a.slots[0].class = Fr::from(u64::from(CLASS_COVERED)), "lookups"),
        ("a wider interval", |_, a| a.slots[0].hi = Fr::from(u64::MAX), "lookups"),
        (
            "another slot's interval",
            |_, a| {
                let mut other = a.slots[1].clone();
                (other.code, other.claimed) = (a.slots[0].code, a.slots[0].claimed);
                (other.day, other.amount, other.event) = (a.slots[0].day, a.slots[0].amount, a.slots[0].event);
                a.slots[0] = other;
            },
            "lookups",
        ),
        ("less than is payable", |_, a| a.payable -= Fr::one(), "amount"),
        ("less than nothing", |_, a| a.payable = -Fr::one(), "amount"),
        ("a plan that needs no complete list", |_, a| a.needs_complete_list = Fr::ZERO, "plan"),
        ("an endless period", |_, a| a.period_days += Fr::one(), "plan"),
        (
            "an earlier period",
            |_, a| {
                a.period -= Fr::one();
                a.period_offset += a.period_days;
            },
            "nullifiers",
        ),
        (
            "a fraction of a period",
            |_, a| a.period += Fr::from(2_u64).inverse().expect("two has an inverse"),
            "nullifiers",
        ),
        ("a claim number that wraps", |_, a| a.claim_number = -Fr::one(), "nullifiers"),
        ("another scope for the nullifier", |_, a| a.scope += Fr::one(), "plan"),
        ("another issuer for the nullifier", |_, a| a.issuer += Fr::one(), "attestation"),
        (
            "a position between children",
            |_, a| {
                a.attestation_path.positions[3][0] = Fr::from(2_u64).inverse().expect("two has an inverse");
            },
            "attestation",
        ),
        ("a position outside", |_, a| a.enrolment_path.positions[0][1] = Fr::from(2_u64), "enrolment"),
        (
            "a stranger's leaf",
            |_, a| {
                let level = &mut a.attestation_path;
                level.positions[0] = [Fr::ZERO, Fr::ZERO];
            },
            "attestation",
        ),
        ("an uncompleted list called complete by two", |_, a| a.complete = Fr::from(2_u64), "ranges"),
    ];
    for (name, cheat, section) in cheats {
        let (statement, witness) = eligible();
        let mut inputs = raw_inputs(&statement);
        let mut assignment = Assignment::new(&witness).expect("there is a claim");
        cheat(&mut inputs, &mut assignment);
        restate_freely(&mut inputs, &assignment);
        assert_eq!(refusing(inputs, &assignment), Some(*section), "{name}");
    }
}

/// A cheat also states whatever suits: nullifiers and amount are nobody's to know before.
fn restate_freely(inputs: &mut [Fr; 8], cheat: &Assignment) {
    let event = cheat.slots.iter().map(|slot| slot.claimed * slot.event).sum::<Fr>();
    let event = [cheat.secret, cheat.issuer, event, cheat.scope];
    let period = [cheat.secret, cheat.policy_id, cheat.period, cheat.claim_number];
    let amount = [cheat.payable, cheat.amount_blinding];
    inputs[4] = hash(Domain::EVENT_NULLIFIER, event.map(Element::from)).inner();
    inputs[5] = hash(Domain::PERIOD_NULLIFIER, period.map(Element::from)).inner();
    inputs[6] = hash(Domain::AMOUNT, amount.map(Element::from)).inner();
}

#[test]
fn no_other_amount_can_be_committed() {
    // Fact 1 is below its cap, fact 2 above.
    let cases = [
        (1, 123_450, None),
        (1, 500_000, Some("amount")),
        (1, 123_449, Some("amount")),
        (2, 90_000, None),
        (2, 250_000, Some("amount")),
        (2, 89_999, Some("amount")),
        (2, 0, Some("amount")),
    ];
    for (claimed, payable, expected) in cases {
        let (_, mut witness) = eligible();
        witness.claimed = claimed;
        let mut inputs = raw_inputs(&restate(&witness, day("2026-03-20")));
        let mut assignment = Assignment::new(&witness).expect("there is a claim");
        assignment.payable = Fr::from(payable);
        restate_freely(&mut inputs, &assignment);
        assert_eq!(refusing(inputs, &assignment), expected, "{claimed} {payable}");
    }
}

#[test]
fn no_variable_can_change_alone() {
    let (statement, witness) = eligible();
    let assignment = Assignment::new(&witness).expect("there is a claim");
    let mut values = circuit::values(raw_inputs(&statement), &assignment);
    assert_eq!(values.len(), SHAPE.variables);
    let mut rows_of = vec![Vec::new(); SHAPE.variables];
    for matrix in &SHAPE.matrices {
        for (row, terms) in matrix.iter().enumerate() {
            for (_, variable) in terms {
                rows_of[*variable].push(row);
            }
        }
    }
    let shift = Fr::from(0x1234_5678_9abc_def1_u64).square();
    let survivors: Vec<usize> = (1..values.len())
        .filter(|variable| {
            let honest = values[*variable];
            let survives = [shift, Fr::one(), -honest].into_iter().filter(|change| *change != Fr::ZERO).any(|change| {
                values[*variable] = honest + change;
                rows_of[*variable].iter().all(|row| SHAPE.row_holds(*row, &values))
            });
            values[*variable] = honest;
            survives
        })
        .collect();
    assert_eq!(survivors, [0_usize; 0]);
}

#[test]
fn declared_values_determine_all_but_the_context() {
    let (statement, witness) = eligible();
    let assignment = Assignment::new(&witness).expect("there is a claim");
    let values = circuit::values(raw_inputs(&statement), &assignment);
    let context_input = 8;
    let mut is_declared = vec![false; SHAPE.variables];
    SHAPE.declared.iter().for_each(|variable| is_declared[*variable] = true);
    assert_eq!(free_variables(&SHAPE, &values, |variable| is_declared[variable]), [context_input]);

    // With the public inputs fixed, what is left is what hashes hide: 192 siblings, 16 secrets,
    // salts and other hashed values, less the 14 equations that end in a root or an input.
    let is_input = |variable| variable < SHAPE.instance_variables;
    assert_eq!(free_variables(&SHAPE, &values, is_input).len(), 194);
}

#[test]
fn the_shape_does_not_depend_on_values() {
    let (statement, witness) = eligible();
    let assignment = Assignment::new(&witness).expect("there is a claim");
    assert_eq!(circuit::shape_of(raw_inputs(&statement), &assignment), *SHAPE);
}

/// Small changes to the honest numbers, so that both verdicts are common.
#[derive(Clone, Debug)]
struct Nudge {
    days: Vec<i64>,
    flags: Vec<bool>,
    claimed: usize,
    number: u16,
    amount: u64,
}

fn nudges() -> impl Strategy<Value = Nudge> {
    let day = prop_oneof![5 => Just(0_i64), 1 => -2_i64..=2];
    let days = prop::collection::vec(day, 7);
    let flags = prop::collection::vec(prop::bool::weighted(0.05), 5);
    let claimed = prop_oneof![5 => Just(1_usize), 1 => 0..4_usize];
    let number = prop_oneof![5 => 0..3_u16, 1 => 3..5_u16];
    (days, flags, claimed, number, 0..1_000_000_u64).prop_map(|(days, flags, claimed, number, amount)| Nudge {
        days,
        flags,
        claimed,
        number,
        amount,
    })
}

fn nudged(nudge: &Nudge) -> (Statement, Witness) {
    let Nudge { days, flags, .. } = nudge;
    let (_, mut witness) = eligible();
    let event = later(day("2026-03-02"), 13 * days[0]);
    let attestation = &mut witness.attestation;
    attestation.facts[1] = fact(ICD, "E11.9", &event.to_string(), nudge.amount, 71);
    attestation.issued = later(event, 1 + days[1]);
    attestation.expiry = later(event, 61 + days[2]);
    attestation.birth = later(event, days[3] - 18 * 365 - 1);
    attestation.complete = !flags[0];
    if flags[1] {
        attestation.facts.push(fact(ICD, "C80.1", "2020-01-01", 0, 73));
    }
    witness.enrolment.start = later(event, days[4] - 31);
    witness.enrolment.end = later(event, days[5] + 1);
    witness.claimed = nudge.claimed.min(witness.attestation.facts.len() - 1);
    witness.claim_number = nudge.number;
    if flags[2] {
        witness.plan.terms.period_days = 1;
    }
    anchor(&mut witness);
    let mut statement = restate(&witness, later(event, 59 + days[6]));
    if flags[3] {
        statement.null_period = statement.null_event;
    }
    if flags[4] {
        statement.amount_commit = Element::from(nudge.amount);
    }
    (statement, witness)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn rule_and_circuit_agree(nudge in nudges()) {
        let (statement, witness) = nudged(&nudge);
        let verdict = rule::holds(&statement, &witness);
        prop_assert_eq!(verdict.is_ok(), accepts(&statement, &witness), "{:?}", verdict);
    }
}
