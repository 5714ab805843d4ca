//! Plans, attestations, enrolments, proofs of eligibility, disputes.

use std::{collections::BTreeMap, rc::Rc, sync::LazyLock};

use careledger_wire::{
    access_log, commitment,
    ids::{Address, Digest},
    message::Message,
    proto::{
        audit::MsgDisputeAccess,
        insurance::{
            MsgAnchorAttestation, MsgAnchorEnrolment, MsgProveEligibility, MsgPublishPlan, MsgRevokeAttestation,
        },
    },
};
use careledger_zk::{
    binding,
    date::Day,
    field::Element,
    plan::Plan,
    statement::{CIRCUIT_ID, PublicInputs},
    tree::{self, ARITY, DEPTH, Leaf, Path},
};

use super::{id, named, unknown};
use crate::{
    insurance,
    sim::{
        beginning,
        model::{Leaves, Spent},
        network::{CHAIN, Network, START},
        plans,
        script::{Actor, Flaw, Key, LOGGED, ORGANIZATIONS, PLANS, Proof, Request},
        trapdoor,
    },
};

/// Which tree: all attestations, or the enrolments of an insurer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sim) enum Forest {
    Attestations,
    Enrolments(u8),
}

impl Network {
    pub(super) fn insurance_message(&self, sender: String, actor: Actor, request: Request) -> Message {
        match request {
            Request::Publish { plan, is_sound } => {
                let mut message = self.plan_message(actor, plan);
                if !is_sound {
                    message.intervals[1].low += 1;
                }
                message.into()
            }
            Request::Attest { commitment } => {
                MsgAnchorAttestation { sender, commitment: element("attested", commitment).to_bytes().to_vec() }.into()
            }
            Request::Unattest { first, second } => {
                let commitments = [Some(first), second].into_iter().flatten();
                let commitments = commitments.map(|number| element("attested", number).to_bytes().to_vec()).collect();
                MsgRevokeAttestation { sender, commitments }.into()
            }
            Request::Cover { commitment } => {
                MsgAnchorEnrolment { sender, commitment: element("enrolled", commitment).to_bytes().to_vec() }.into()
            }
            Request::Prove(proof) => self.proof_message(sender, actor, &proof).into(),
            Request::Dispute { subject, sequence, index, is_sound } => {
                let place = usize::from(if is_sound { index } else { index + 1 });
                let path = access_log::inclusion_path(&accesses(sequence), place).unwrap_or_default();
                MsgDisputeAccess {
                    sender,
                    subject: self.subject(subject).to_vec(),
                    sequence: sequence.into(),
                    leaf: access(sequence, index).to_vec(),
                    index: index.into(),
                    path: path.iter().map(Digest::to_vec).collect(),
                }
                .into()
            }
            other => unknown(other),
        }
    }

    /// Only insurers publish; anybody may try.
    fn plan_message(&self, actor: Actor, plan: u8) -> MsgPublishPlan {
        let address = self.signer(Key::Of(actor)).address();
        insurance::publish_plan(&address, &plan_of(&address, plan), &named(id("policy", plan)), &CONTRACT)
    }

    fn proof_message(&self, sender: String, actor: Actor, proof: &Proof) -> MsgProveEligibility {
        let of = |organization| self.signer(Key::Of(Actor::Organization(organization))).address();
        // Made for another sender, it proves nothing for this one.
        let submitter = if proof.flaw == Some(Flaw::OfAnother) { Actor::Registrar(4) } else { actor };
        let submitter = self.signer(Key::Of(submitter)).address();
        let (insurer, claim) = (of(proof.insurer), id("claim", proof.claim));
        let expires_at = START + proof.until;
        let claim_bytes = claim.as_slice().try_into().expect("an id has 32 bytes");
        let seconds = |time: i64| u64::try_from(time).expect("a simulation is after 1970");
        let as_of = Day::from_unix_seconds(seconds(START + proof.as_of)).expect("a simulation is before 3000");
        let enrolments = self.model.enrolments.get(&proof.insurer);
        let enrolled = enrolments.map(|tree| tree.named(proof.enrolled)).unwrap_or_default();
        let expiry = seconds(expires_at);
        let inputs = PublicInputs {
            att_root: self.root(Forest::Attestations, self.model.attestations.named(proof.attested)),
            enr_root: self.root(Forest::Enrolments(proof.insurer), enrolled),
            policy: plan_commitment(proof.publisher, proof.plan),
            as_of,
            null_event: nullifier(Spent::Event(proof.event)),
            null_period: nullifier(Spent::Period(proof.period)),
            amount_commit: amount(),
            ctx: binding::context(CHAIN, &CIRCUIT_ID, insurer.as_bytes(), claim_bytes, submitter.as_bytes(), expiry),
        };
        let mut made = trapdoor::prove(&inputs, proof.claim.into()).to_vec();
        if proof.flaw == Some(Flaw::Garbage) {
            made.fill(0xff);
        }
        let is_unknown = proof.flaw == Some(Flaw::UnknownKey);
        let bytes = |element: Element| element.to_bytes().to_vec();
        MsgProveEligibility {
            sender,
            insurer: insurer.to_vec(),
            plan: bytes(inputs.policy),
            circuit: if is_unknown { id("circuit", 0) } else { trapdoor::circuit().to_vec() },
            as_of: as_of.number(),
            attestation_root: bytes(inputs.att_root),
            enrolment_root: bytes(inputs.enr_root),
            event_nullifier: bytes(inputs.null_event),
            period_nullifier: bytes(inputs.null_period),
            amount_commitment: bytes(inputs.amount_commit),
            claim,
            expires_at,
            proof: made,
        }
    }

    /// The root of a tree of these leaves.
    pub(in crate::sim) fn root(&self, forest: Forest, leaves: Leaves) -> Element {
        self.nodes(forest, leaves).last().and_then(|top| top.first()).copied().unwrap_or_else(tree::empty_root)
    }

    /// Every node of a tree of these leaves that is above one of them, from the leaves up.
    pub(in crate::sim) fn nodes(&self, forest: Forest, leaves: Leaves) -> Rc<Nodes> {
        let mut trees = self.trees.borrow_mut();
        let key = (forest, leaves);
        if let Some(known) = trees.get(&key) {
            return Rc::clone(known);
        }
        let leaf = |leaf: &Option<(u8, u8)>| {
            let Some((issuer, commitment)) = *leaf else { return Leaf::REVOKED.node() };
            let issuer = self.signer(Key::Of(Actor::Organization(issuer))).address();
            match forest {
                Forest::Attestations => Leaf::attestation(element("attested", commitment), issuer.as_bytes()),
                Forest::Enrolments(_) => Leaf::enrolment(element("enrolled", commitment), issuer.as_bytes()),
            }
            .node()
        };
        let mut nodes: Nodes = vec![key.1.iter().map(leaf).collect()];
        for level in 0..DEPTH {
            let parent = |four: &[Element]| {
                let at = |place: usize| four.get(place).copied().unwrap_or_else(|| tree::empty_node(level));
                Path { index: 0, siblings: vec![[at(1), at(2), at(3)]] }.root(at(0))
            };
            nodes.push(nodes[usize::from(level)].chunks(ARITY).map(parent).collect());
        }
        let nodes = Rc::new(nodes);
        trees.insert(key, Rc::clone(&nodes));
        nodes
    }
}

/// The nodes of a tree, level by level, the leaves first.
pub(in crate::sim) type Nodes = Vec<Vec<Element>>;

/// SHA-256 of a contract, which nobody reads.
const CONTRACT: Digest = Digest::new([5; 32]);

/// A field element for a name.
pub(in crate::sim) fn element(kind: &str, number: u8) -> Element {
    let mut bytes: [u8; 32] = id(kind, number).try_into().expect("an id has 32 bytes");
    // Below the field's order.
    bytes[0] = 0;
    Element::from_bytes(&bytes).expect("what begins with a zero is below the order")
}

pub(in crate::sim) fn nullifier(spent: Spent) -> Element {
    match spent {
        Spent::Event(number) => element("event", number),
        Spent::Period(number) => element("period", number),
    }
}

/// The commitment to what is payable in every proof.
pub(in crate::sim) fn amount() -> Element {
    element("amount", 0)
}

/// A plan as its insurer publishes it.
pub(in crate::sim) fn plan_of(insurer: &Address, plan: u8) -> Plan {
    plans::plan(insurer, &named(id("policy", plan)))
}

/// The commitment of the plan with this number of this organization.
pub(in crate::sim) fn plan_commitment(organization: u8, plan: u8) -> Element {
    static COMMITMENTS: LazyLock<BTreeMap<(u8, u8), Element>> = LazyLock::new(|| {
        let signers = beginning::signers();
        let all = (0..ORGANIZATIONS).flat_map(|organization| (0..PLANS).map(move |plan| (organization, plan)));
        all.map(|(organization, plan)| {
            let address = signers[&Key::Of(Actor::Organization(organization))].address();
            ((organization, plan), plan_of(&address, plan).commitment())
        })
        .collect()
    });
    COMMITMENTS[&(organization, plan)]
}

/// One access of a batch of an access log.
pub(in crate::sim) fn access(sequence: u8, index: u8) -> Digest {
    Digest::new(commitment::hash("careledger/simulation-access/1", &[&[sequence, index]]))
}

/// The accesses of a batch of an access log.
pub(in crate::sim) fn accesses(sequence: u8) -> Vec<Digest> {
    (0..LOGGED).map(|index| access(sequence, index)).collect()
}
