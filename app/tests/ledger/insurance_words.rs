//! The words of insurance in scripts.

use careledger_app::{
    insurance::publish_plan,
    keys::TreeId,
    sim::{plans::plan, trapdoor},
    state::StateRead as _,
};
use careledger_wire::{
    ids::{Address, Digest},
    message::Message,
    proto::insurance::{
        MsgAnchorAttestation, MsgAnchorEnrolment, MsgProveEligibility, MsgPublishPlan, MsgRevokeAttestation,
    },
};
use careledger_zk::{
    binding,
    date::Day,
    field::Element,
    statement::{CIRCUIT_ID, PublicInputs},
    tree,
};

use crate::{
    script::Words,
    world::{CHAIN, START, World, address, bytes, element},
};

/// The messages of insurance, for scripts.
pub fn message(verb: &str, from: String, noted: Option<(Element, Element)>, words: &Words<'_>) -> Message {
    match verb {
        "publishes" => publish(from, words).into(),
        "attests" => MsgAnchorAttestation { sender: from, commitment: element(words.at(1)).to_vec() }.into(),
        "unattests" => MsgRevokeAttestation {
            sender: from,
            commitments: words.plain().map(|name| element(name).to_vec()).collect(),
        }
        .into(),
        "covers" => MsgAnchorEnrolment { sender: from, commitment: element(words.at(1)).to_vec() }.into(),
        "proves" => prove(from, noted, words).into(),
        verb => panic!("{verb} is no word of insurance"),
    }
}

fn publish(from: String, words: &Words<'_>) -> MsgPublishPlan {
    let insurer = from.parse().expect("a sender is an address");
    let policy = Digest::new(bytes(words.at(1)));
    let mut message = publish_plan(&insurer, &plan(&insurer, &policy), &policy, &Digest::new(bytes("contract")));
    if words.after("with") == Some("gap") {
        message.intervals[1].low += 1;
    }
    message
}

/// The commitment of the plan `name` of the insurer `insurer`.
pub fn plan_commitment(insurer: &str, name: &str) -> Element {
    plan(&address(insurer), &Digest::new(bytes(name))).commitment()
}

/// Current roots of the attestations and of an insurer's enrolments.
pub fn roots(world: &World, insurer: &Address) -> (Element, Element) {
    let root = |id: TreeId| match world.machine.store().get(&id.tree()) {
        Some(tree) => Element::from_bytes(tree.root.as_slice().try_into().expect("32 bytes")).expect("canonical"),
        None => tree::empty_root(),
    };
    (root(TreeId::Attestations), root(TreeId::Enrolments(*insurer)))
}

/// `proves <plan> claim c event e period p` with options: `insurer=`, `made-for=` (insurer in the
/// proof), `made-by=` (submitter in the proof), `made-on=` (chain), `expires=`, `made-until=`,
/// `days=`, `roots=noted`, `amount=`, `circuit=`, `random=`, `proof=garbage`.
fn prove(from: String, noted: Option<(Element, Element)>, words: &Words<'_>) -> MsgProveEligibility {
    let insurer = words.option("insurer").unwrap_or("payer");
    let (attestation_root, enrolment_root) = match words.option("roots") {
        Some("noted") => noted.expect("note roots comes before"),
        _ => roots(words.world, &address(insurer)),
    };
    let days: i64 = words.option("days").map_or(0, |days| days.parse().expect("days"));
    let today = Day::from_unix_seconds((START + words.world.time) as u64).expect("a day").number();
    let as_of = Day::from_number((i64::from(today) + days) as u32).expect("a day");
    let seconds = |name: &str, default: i64| words.option(name).map_or(default, |time| time.parse().expect("seconds"));
    let expires_at = START + seconds("expires", 1_000);
    let nullifier = |word| Element::from_bytes(&element(words.after(word).expect(word))).expect("canonical");
    let claim = bytes(words.after("claim").expect("claim"));
    let inputs = PublicInputs {
        att_root: attestation_root,
        enr_root: enrolment_root,
        policy: plan_commitment("payer", words.at(1)),
        as_of,
        null_event: nullifier("event"),
        null_period: nullifier("period"),
        amount_commit: Element::from_bytes(&element(words.option("amount").unwrap_or("amount"))).expect("canonical"),
        ctx: binding::context(
            words.option("made-on").unwrap_or(CHAIN),
            &CIRCUIT_ID,
            address(words.option("made-for").unwrap_or(insurer)).as_bytes(),
            &words.option("made-claim").map_or(claim, bytes),
            address(words.option("made-by").unwrap_or(words.sender)).as_bytes(),
            (START + seconds("made-until", expires_at - START)) as u64,
        ),
    };
    let randomness = words.option("random").map_or(0, |number| number.parse().expect("a number"));
    let mut proof = trapdoor::prove(&inputs, randomness).to_vec();
    if words.option("proof") == Some("garbage") {
        proof.fill(0xff);
    }
    let circuit = words.option("circuit").map_or_else(|| trapdoor::circuit().to_vec(), |name| bytes(name).to_vec());
    MsgProveEligibility {
        sender: from,
        insurer: address(insurer).to_vec(),
        plan: inputs.policy.to_bytes().to_vec(),
        circuit,
        as_of: as_of.number(),
        attestation_root: attestation_root.to_bytes().to_vec(),
        enrolment_root: enrolment_root.to_bytes().to_vec(),
        event_nullifier: inputs.null_event.to_bytes().to_vec(),
        period_nullifier: inputs.null_period.to_bytes().to_vec(),
        amount_commitment: inputs.amount_commit.to_bytes().to_vec(),
        claim: claim.to_vec(),
        expires_at,
        proof,
    }
}
