//! The rule as constraints. [`crate::rule`] says the same in plain Rust, in the
//! same order (commitments, codes, days, amount, nullifiers); read that first.
//!
//! Values are raw field elements throughout: an honest type cannot express a
//! cheat, and every bound must come from a constraint. What the ledger checks
//! when a plan is published need not be proven again: interval bounds are
//! 64-bit numbers, and classes are zero, one or two.

pub mod assignment;
pub mod builder;
pub mod freedom;
mod gadgets;

use ark_bn254::Fr;
use ark_ff::One;

use self::{
    assignment::{Assignment, RawSlot},
    builder::{Builder, Pass, Shape, Wire},
    gadgets::{at_most, boolean, hash, range, root, select},
};
use crate::{
    date::DAY_BITS,
    opening::EVENT_BITS,
    plan::{AMOUNT_BITS, CLAIMS_BITS, CLASS_COVERED, CLASS_NEUTRAL},
    poseidon::Domain,
    statement::INPUTS,
};

/// Bits of a code's number.
const CODE_BITS: u32 = 64;
const _: () = assert!(
    CLASS_NEUTRAL == 0 && CLASS_COVERED == 1,
    "a class that is a boolean does not exclude, and one that is one covers"
);

/// The circuit's constraints; they are the same for every proof.
pub fn shape() -> Shape {
    shape_of([Fr::from(0); INPUTS], &Assignment::blank())
}

/// The constraints as recorded with these values: always those of [`shape`].
pub fn shape_of(inputs: [Fr; INPUTS], assignment: &Assignment) -> Shape {
    build(Pass::Record, inputs, assignment).0
}

/// The values of all variables, in the shape's order.
pub fn values(inputs: [Fr; INPUTS], assignment: &Assignment) -> Vec<Fr> {
    build(Pass::Assign, inputs, assignment).1
}

/// What the parts of the circuit hand to each other.
struct Wires {
    secret: Wire,
    policy_id: Wire,
    scope: Wire,
    issuer: Wire,
    birth: Wire,
    issued: Wire,
    expiry: Wire,
    complete: Wire,
    start: Wire,
    end: Wire,
    slots: Vec<SlotWires>,
    terms: TermWires,
}

struct TermWires {
    claims: Wire,
    period: Wire,
    within: Wire,
    age_min: Wire,
    age_max: Wire,
    needs_complete: Wire,
}

struct SlotWires {
    code: Wire,
    day: Wire,
    amount: Wire,
    event: Wire,
    packed: Wire,
}

/// The claimed fact and the interval it lies in.
struct Claim {
    day: Wire,
    amount: Wire,
    event: Wire,
    wait: Wire,
    cap: Wire,
}

fn build(pass: Pass, inputs: [Fr; INPUTS], given: &Assignment) -> (Shape, Vec<Fr>) {
    let (mut builder, inputs) = Builder::new(pass, inputs);
    let cs = &mut builder;
    let [att_root, enr_root, policy, as_of, null_event, null_period, amount_commit, ctx] = &inputs;

    let wires = declare(cs, given);
    attestation(cs, given, &wires, att_root);
    let intervals = plan(cs, given, &wires, policy);
    enrolment(cs, given, &wires, enr_root);
    let claim = lookups(cs, given, &wires, &intervals);
    days(cs, &wires, &claim, as_of);
    amount(cs, given, &claim, amount_commit);
    nullifiers(cs, given, &wires, &claim, [null_event, null_period]);

    // Ties the context to the proof in the constraints themselves.
    cs.section("context");
    cs.multiply(ctx, ctx);
    builder.finish()
}

/// Allocates what several parts use, each with its range.
fn declare(cs: &mut Builder, given: &Assignment) -> Wires {
    cs.section("ranges");
    let secret = cs.allocate(given.secret);
    let policy_id = cs.allocate(given.policy_id);
    let scope = cs.allocate(given.scope);
    let issuer = cs.allocate(given.issuer);
    let days = [given.birth, given.issued, given.expiry, given.start, given.end];
    let [birth, issued, expiry, start, end] = days.map(|day| ranged(cs, day, DAY_BITS));
    let complete = cs.allocate(given.complete);
    boolean(cs, &complete);
    let needs_complete = cs.allocate(given.needs_complete_list);
    boolean(cs, &needs_complete);
    let terms = TermWires {
        claims: ranged(cs, given.claims_per_period, CLAIMS_BITS),
        period: ranged(cs, given.period_days, DAY_BITS),
        within: ranged(cs, given.claim_within_days, DAY_BITS),
        age_min: ranged(cs, given.age_days_min, DAY_BITS),
        age_max: ranged(cs, given.age_days_max, DAY_BITS),
        needs_complete,
    };
    let slots = given.slots.iter().map(|slot| slot_wires(cs, slot)).collect();
    Wires { secret, policy_id, scope, issuer, birth, issued, expiry, complete, start, end, slots, terms }
}

fn ranged(cs: &mut Builder, value: Fr, bits: u32) -> Wire {
    let wire = cs.allocate(value);
    range(cs, &wire, bits);
    wire
}

fn slot_wires(cs: &mut Builder, slot: &RawSlot) -> SlotWires {
    let code = ranged(cs, slot.code, CODE_BITS);
    let day = ranged(cs, slot.day, DAY_BITS);
    let amount = ranged(cs, slot.amount, AMOUNT_BITS);
    let event = ranged(cs, slot.event, EVENT_BITS);
    let packed = concatenate(&[(&code, CODE_BITS), (&day, DAY_BITS), (&amount, AMOUNT_BITS), (&event, EVENT_BITS)]);
    SlotWires { code, day, amount, event, packed }
}

/// Numbers side by side in one element, the last one lowest.
fn concatenate(parts: &[(&Wire, u32)]) -> Wire {
    let (first, rest) = parts.split_first().expect("there is something to concatenate");
    rest.iter().fold(first.0.clone(), |packed, (wire, bits)| &packed.shift(*bits) + *wire)
}

/// The attestation is about this wallet and is in the tree, put there by its issuer.
fn attestation(cs: &mut Builder, given: &Assignment, wires: &Wires, att_root: &Wire) {
    cs.section("attestation");
    let blinding = cs.allocate(given.blinding);
    let salt = cs.allocate(given.attestation_salt);
    let pseudonym = hash(cs, Domain::PSEUDONYM, &[&wires.secret, &blinding]);
    let packed: Vec<&Wire> = wires.slots.iter().map(|slot| &slot.packed).collect();
    let facts = hash(cs, Domain::FACTS, &packed);
    let dates = concatenate(&[
        (&wires.birth, DAY_BITS),
        (&wires.issued, DAY_BITS),
        (&wires.expiry, DAY_BITS),
        (&wires.complete, 1),
    ]);
    let inputs = [&pseudonym, &facts, &dates, &wires.issuer, &salt];
    let commitment = hash(cs, Domain::ATTESTATION, &inputs);
    let leaf = hash(cs, Domain::ATTESTATION_LEAF, &[&commitment, &wires.issuer]);
    let found = root(cs, &leaf, &given.attestation_path);
    cs.equal(&found, att_root);
}

/// The plan is the one that the statement names. Gives its interval root.
fn plan(cs: &mut Builder, given: &Assignment, wires: &Wires, policy: &Wire) -> Wire {
    cs.section("plan");
    let interval_root = cs.derive(interval_root_hint(given));
    let terms = &wires.terms;
    let packed = concatenate(&[
        (&terms.needs_complete, 1),
        (&terms.age_max, DAY_BITS),
        (&terms.age_min, DAY_BITS),
        (&terms.within, DAY_BITS),
        (&terms.period, DAY_BITS),
        (&terms.claims, CLAIMS_BITS),
    ]);
    let inputs = [&wires.policy_id, &wires.scope, &interval_root, &packed];
    let commitment = hash(cs, Domain::POLICY, &inputs);
    cs.equal(&commitment, policy);
    interval_root
}

/// The root that the first slot's path ends in; every slot's must be the same.
fn interval_root_hint(given: &Assignment) -> Fr {
    let top = given.slots[0].path.children.last().expect("a plan's tree has levels");
    crate::poseidon::hash(Domain::NODE, top.map(crate::field::Element::from)).inner()
}

/// The enrolment is of this wallet under this policy, put there by its insurer.
fn enrolment(cs: &mut Builder, given: &Assignment, wires: &Wires, enr_root: &Wire) {
    cs.section("enrolment");
    let salt = cs.allocate(given.enrolment_salt);
    let member = hash(cs, Domain::MEMBER, &[&wires.secret, &wires.scope]);
    let days = concatenate(&[(&wires.start, DAY_BITS), (&wires.end, DAY_BITS)]);
    let inputs = [&member, &wires.policy_id, &days, &salt];
    let commitment = hash(cs, Domain::ENROLMENT, &inputs);
    let leaf = hash(cs, Domain::ENROLMENT_LEAF, &[&commitment, &wires.scope]);
    let found = root(cs, &leaf, &given.enrolment_path);
    cs.equal(&found, enr_root);
}

/// Every code lies in an interval of the plan that does not exclude, the
/// claimed one in an interval that covers. Gives the claimed fact.
fn lookups(cs: &mut Builder, given: &Assignment, wires: &Wires, interval_root: &Wire) -> Claim {
    cs.section("lookups");
    let one = cs.constant(Fr::one());
    let (mut selectors, mut classes, mut packed) = (Vec::new(), Vec::new(), Vec::new());
    for (raw, slot) in given.slots.iter().zip(&wires.slots) {
        let [lo, hi, class, terms] = [raw.lo, raw.hi, raw.class, raw.packed].map(|value| cs.allocate(value));
        at_most(cs, &lo, &slot.code, CODE_BITS);
        at_most(cs, &slot.code, &hi, CODE_BITS);
        let leaf = hash(cs, Domain::INTERVAL, &[&lo, &hi, &class, &terms]);
        let found = root(cs, &leaf, &raw.path);
        cs.equal(&found, interval_root);
        // Neutral is zero and covered is one; excluded is two, and refused here.
        boolean(cs, &class);
        let claimed = cs.allocate(raw.claimed);
        boolean(cs, &claimed);
        selectors.push(claimed);
        classes.push(class);
        packed.push(terms);
    }
    cs.section("claim");
    let count = selectors.iter().skip(1).fold(selectors[0].clone(), |sum, next| &sum + next);
    cs.equal(&count, &one);
    let class = select(cs, &selectors, &classes);
    cs.equal(&class, &one);
    // A plan that excludes needs a complete list.
    let incomplete = &one - &wires.complete;
    let zero = cs.constant(Fr::from(0));
    cs.enforce(&wires.terms.needs_complete, &incomplete, &zero);

    let of =
        |part: fn(&SlotWires) -> &Wire| -> Vec<Wire> { wires.slots.iter().map(|slot| part(slot).clone()).collect() };
    let day = select(cs, &selectors, &of(|slot| &slot.day));
    let amount = select(cs, &selectors, &of(|slot| &slot.amount));
    let event = select(cs, &selectors, &of(|slot| &slot.event));
    let packed = select(cs, &selectors, &packed);
    let wait = ranged(cs, given.wait_days, DAY_BITS);
    let cap = ranged(cs, given.cap, AMOUNT_BITS);
    cs.equal(&concatenate(&[(&wait, DAY_BITS), (&cap, AMOUNT_BITS)]), &packed);
    Claim { day, amount, event, wait, cap }
}

/// The days fit: attestation, cover, waiting time, lateness, age.
fn days(cs: &mut Builder, wires: &Wires, claim: &Claim, as_of: &Wire) {
    cs.section("days");
    range(cs, as_of, DAY_BITS);
    at_most(cs, &claim.day, &wires.issued, DAY_BITS);
    at_most(cs, &wires.issued, as_of, DAY_BITS);
    at_most(cs, as_of, &wires.expiry, DAY_BITS);
    // The sums on either side have one bit more; their differences that pass do not.
    at_most(cs, &(&wires.start + &claim.wait), &claim.day, DAY_BITS);
    at_most(cs, &claim.day, &wires.end, DAY_BITS);
    at_most(cs, as_of, &(&claim.day + &wires.terms.within), DAY_BITS + 1);
    let age = &claim.day - &wires.birth;
    at_most(cs, &wires.terms.age_min, &age, DAY_BITS);
    at_most(cs, &age, &wires.terms.age_max, DAY_BITS);
}

/// The committed amount is the claimed one, up to the cap.
fn amount(cs: &mut Builder, given: &Assignment, claim: &Claim, amount_commit: &Wire) {
    cs.section("amount");
    let payable = cs.allocate(given.payable);
    let blinding = cs.allocate(given.amount_blinding);
    at_most(cs, &payable, &claim.amount, AMOUNT_BITS);
    at_most(cs, &payable, &claim.cap, AMOUNT_BITS);
    let zero = cs.constant(Fr::from(0));
    cs.enforce(&(&claim.amount - &payable), &(&claim.cap - &payable), &zero);
    let commitment = hash(cs, Domain::AMOUNT, &[&payable, &blinding]);
    cs.equal(&commitment, amount_commit);
}

/// The nullifiers are those of this event and of one of the period's claims.
fn nullifiers(
    cs: &mut Builder,
    given: &Assignment,
    wires: &Wires,
    claim: &Claim,
    [null_event, null_period]: [&Wire; 2],
) {
    cs.section("nullifiers");
    let inputs = [&wires.secret, &wires.issuer, &claim.event, &wires.scope];
    let event = hash(cs, Domain::EVENT_NULLIFIER, &inputs);
    cs.equal(&event, null_event);

    // The event's day is `period` whole periods and an offset below one.
    let period = ranged(cs, given.period, DAY_BITS);
    let offset = ranged(cs, given.period_offset, DAY_BITS);
    let one = cs.constant(Fr::one());
    let days = &wires.terms.period;
    at_most(cs, &offset, &(days - &one), DAY_BITS);
    let before = &claim.day - &offset;
    cs.enforce(&period, days, &before);
    let number = ranged(cs, given.claim_number, CLAIMS_BITS);
    at_most(cs, &number, &(&wires.terms.claims - &one), CLAIMS_BITS);
    let inputs = [&wires.secret, &wires.policy_id, &period, &number];
    let spent = hash(cs, Domain::PERIOD_NULLIFIER, &inputs);
    cs.equal(&spent, null_period);
}

/// SHA-256 of the circuit's constraints in the iden3 `.r1cs` format.
pub fn digest(shape: &Shape) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(crate::r1cs::encode(shape)).into()
}
