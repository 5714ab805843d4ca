//! Plans, attestations, enrolments, eligibility proofs.

use careledger_app::{keys, state::StateRead as _};
use careledger_wire::{
    ids::{ClaimId, FieldBytes},
    proto::query::{PathRequest, PathResponse, Tree},
};
use careledger_zk::{
    field::Element,
    tree::{Leaf, Path},
};
use prost::Message as _;

use crate::{
    script::{check_familiar, familiar, plan_commitment, roots, run},
    world::{START, address, bytes, element, name_of},
};

const COVERED: &str = "
    payer publishes gold
    clinic attests fact
    payer covers alice";

#[track_caller]
fn check_covered(script: &str, expected: &str) {
    check_familiar(&format!("{COVERED}\n{script}"), &format!("ok ok ok {expected}"));
}

#[test]
fn plans_are_published_once_and_hold_together() {
    check_familiar(
        "payer publishes gold
         payer publishes gold
         payer publishes silver with gap
         r1 registers other as insurer
         r2 registers other as insurer
         other publishes gold",
        "ok PlanExists InvalidPlan ok ok ok",
    );
}

/// Members of two insurers would have one period nullifier at both if both plans had one policy id.
#[test]
fn an_insurer_cannot_choose_anothers_policy_id() {
    let mut world = familiar();
    run(&mut world, "r1 registers other as insurer\nr2 registers other as insurer");
    assert_eq!(run(&mut world, "payer publishes gold\nother publishes gold"), ["ok", "ok"]);
    let policy_id = |world: &crate::world::World, insurer: &str| {
        let plan = FieldBytes::new(plan_commitment(insurer, "gold").to_bytes());
        world.machine.store().get(&keys::plan(&plan)).expect("the plan is published").policy_id
    };
    let theirs = policy_id(&world, "payer");
    assert_ne!(policy_id(&world, "other"), theirs);
    // The other insurer names the derived identifier itself.
    let mut copied = crate::script::message(&world, None, "other", "publishes gold");
    if let careledger_wire::message::Message::PublishPlan(plan) = &mut copied {
        plan.policy_id.clone_from(&theirs);
    }
    let before = world.state();
    let transaction = world.signed("other", &[copied]);
    assert_eq!(world.send(transaction).code, 0);
    let plans = world.state().into_iter().filter(|(key, _)| key.starts_with(b"plan/") && !before.contains_key(key));
    for (_, plan) in plans {
        let plan = careledger_wire::proto::state::Plan::decode(plan.as_slice()).expect("a plan");
        assert_ne!(plan.policy_id, theirs);
    }
}

#[test]
fn the_plan_of_a_suspended_or_expired_insurer_proves_nothing() {
    check_covered(
        "at 999999
         lab proves gold claim c event e period p expires=1000100
         r3 registers lab as laboratory until 2000000
         r2 registers lab as laboratory until 2000000
         at 1000000
         lab proves gold claim d event f period q expires=1000100",
        "ok ok ok OrganizationExpired",
    );
    check_covered(
        "r3 suspends payer
         lab proves gold claim c event e period p",
        "ok OrganizationSuspended",
    );
}

#[test]
fn commitments_are_anchored_once_by_who_may() {
    check_familiar(
        "clinic attests a
         clinic attests a
         lab attests a
         lab attests b
         payer covers a
         payer covers a
         payer covers b",
        "ok CommitmentExists CommitmentExists ok ok CommitmentExists ok",
    );
}

#[test]
fn an_event_and_a_claim_of_a_period_are_used_once() {
    check_covered(
        "lab proves gold claim c event e period p
         lab proves gold claim c event e period p
         lab proves gold claim c event e period p random=5
         payer proves gold claim d event e period q
         payer proves gold claim d event f period p
         payer proves gold claim c event f period q
         payer proves gold claim d event f period q
         payer proves gold claim h event h period h",
        "ok EventAlreadyClaimed EventAlreadyClaimed EventAlreadyClaimed PeriodClaimUsed ClaimAlreadyConfirmed ok InvalidField",
    );
}

#[test]
fn a_proof_is_bound_to_its_transaction() {
    check_covered(
        "lab proves gold claim c event e period p made-by=clinic
         lab proves gold claim c event e period p made-for=clinic
         lab proves gold claim c event e period p made-claim=d
         lab proves gold claim c event e period p made-until=999
         lab proves gold claim c event e period p made-on=careledger-1
         lab proves gold claim c event e period p proof=garbage
         lab proves gold claim c event e period p circuit=other
         lab proves gold claim c event e period p insurer=clinic
         lab proves silver claim c event e period p
         lab proves gold claim c event e period p",
        "ProofRefused ProofRefused ProofRefused ProofRefused ProofRefused MalformedProof UnknownCircuit PlanOfAnotherInsurer UnknownPlan ok",
    );
}

#[test]
fn a_proof_expires_to_the_second() {
    check_covered(
        "at 500
         lab proves gold claim a event a period pa expires=500
         lab proves gold claim a event a period pa expires=501
         lab proves gold claim b event b period pb expires=605301
         lab proves gold claim b event b period pb expires=605300",
        "ProofExpired ok EndsTooLate ok",
    );
}

#[test]
fn a_statement_is_about_today() {
    check_covered(
        "lab proves gold claim a event a period pa days=-4
         lab proves gold claim a event a period pa days=-3
         lab proves gold claim b event b period pb days=2
         lab proves gold claim b event b period pb days=1",
        "AsOfOutOfRange ok AsOfOutOfRange ok",
    );
}

#[test]
fn unknown_roots_are_refused() {
    check_familiar(
        "payer publishes gold
         lab proves gold claim c event e period p
         clinic attests fact
         lab proves gold claim c event e period p
         payer covers alice
         lab proves gold claim c event e period p",
        "ok StaleAttestationRoot ok StaleEnrolmentRoot ok ok",
    );
}

#[test]
fn a_replaced_root_is_accepted_for_a_hundred_blocks() {
    for (tree, refusal) in
        [("clinic attests more", "StaleAttestationRoot"), ("payer covers more", "StaleEnrolmentRoot")]
    {
        let mut world = familiar();
        run(&mut world, COVERED);
        // The root is replaced at height h; it holds at h + 100 and no longer at h + 101.
        let proof = format!("note roots\n{tree}\nlab proves gold claim c event e period p roots=noted random=0");
        let (before, after) = proof.rsplit_once('\n').unwrap();
        for (blocks, expected) in [(99, "ok"), (100, refusal)] {
            let mut world = familiar();
            run(&mut world, COVERED);
            let noted = roots(&world, &address("payer"));
            run(&mut world, before);
            for _ in 0..blocks {
                world.decide(Vec::new());
            }
            let message = crate::script::message(&world, Some(noted), "lab", after.split_once(' ').unwrap().1);
            let transaction = world.signed("lab", &[message]);
            assert_eq!(name_of(&world.send(transaction)), expected, "{tree}, {blocks} blocks");
        }
    }
}

#[test]
fn an_attestation_is_revoked_by_its_issuer_and_by_nobody_else_while_the_issuer_may_act() {
    check_familiar(
        "clinic attests a
         lab unattests a
         r3 unattests a
         payer unattests a
         clinic unattests a b
         clinic unattests a a
         clinic unattests a
         clinic unattests a
         clinic attests a",
        "ok NotTheIssuer NotTheIssuer NotTheIssuer UnknownAttestation InvalidField ok UnknownAttestation CommitmentExists",
    );
}

/// What a suspended issuer attested proved for as long as it was dated.
#[test]
fn the_attestations_of_a_suspended_issuer_are_revoked_by_a_registrar() {
    check_familiar(
        "clinic attests a
         lab attests b
         r3 suspends clinic
         clinic unattests a
         lab unattests a
         r3 unattests a b
         r3 unattests a",
        "ok ok ok OrganizationSuspended NotTheIssuer NotTheIssuer ok",
    );
}

#[test]
fn a_revoked_attestation_is_in_no_later_root_and_has_no_path() {
    use careledger_app::machine::Prove;
    let mut world = familiar();
    run(&mut world, "clinic attests a\nclinic attests b\nclinic attests c");
    let path = |world: &crate::world::World, name: &str| {
        let request =
            PathRequest { tree: Tree::Attestations.into(), insurer: vec![], commitment: element(name).to_vec() };
        let answer = world.machine.query("/careledger.query.v1.Query/Path", &request.encode_to_vec(), 0, Prove::No);
        let response = PathResponse::decode(answer.value.as_slice()).unwrap();
        let siblings: Vec<Element> = response
            .siblings
            .iter()
            .map(|bytes| Element::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap())
            .collect();
        let siblings = siblings.chunks_exact(3).map(|three| three.try_into().unwrap()).collect();
        (answer.code == 0).then_some(Path { index: response.index, siblings })
    };
    let leaf = |name: &str| {
        let commitment = Element::from_bytes(&element(name)).unwrap();
        Leaf::attestation(commitment, address("clinic").as_bytes()).node()
    };
    let before = path(&world, "b").unwrap();
    assert_eq!(before.root(leaf("b")), roots(&world, &address("payer")).0);
    assert_eq!(run(&mut world, "clinic unattests b"), ["ok"]);
    let root = roots(&world, &address("payer")).0;
    assert_ne!(before.root(leaf("b")), root);
    assert_eq!(before.root(Leaf::REVOKED.node()), root, "its place is empty, and nothing else changed");
    assert_eq!(path(&world, "b"), None);
    for stays in ["a", "c"] {
        assert_eq!(path(&world, stays).unwrap().root(leaf(stays)), root);
    }
    assert_eq!(run(&mut world, "clinic attests d"), ["ok"], "no place is used twice");
    assert_eq!(path(&world, "d").unwrap().index, 3);
}

#[test]
fn a_proof_under_a_root_from_before_a_revocation_holds_for_a_hundred_blocks() {
    for (blocks, expected) in [(99, "ok"), (100, "StaleAttestationRoot")] {
        let mut world = familiar();
        run(&mut world, COVERED);
        let noted = roots(&world, &address("payer"));
        assert_eq!(run(&mut world, "clinic unattests fact"), ["ok"]);
        for _ in 0..blocks {
            world.decide(Vec::new());
        }
        let proof = "proves gold claim c event e period p roots=noted random=0";
        let message = crate::script::message(&world, Some(noted), "lab", proof);
        let transaction = world.signed("lab", &[message]);
        assert_eq!(name_of(&world.send(transaction)), expected, "{blocks} blocks");
    }
}

/// Revoking the newest leaf leaves the tree from before it. Its root is known since it first was current;
/// taken for one that this block made, the next change would have forgotten it at once.
#[test]
fn a_root_that_comes_back_and_goes_in_one_block_stays_accepted() {
    let mut world = familiar();
    run(&mut world, COVERED);
    let noted = roots(&world, &address("payer"));
    assert_eq!(run(&mut world, "clinic attests more"), ["ok"]);
    let sent = |world: &crate::world::World, sender: &str, what: &str| {
        world.signed(sender, &[crate::script::message(world, None, sender, what)])
    };
    let both = vec![sent(&world, "clinic", "unattests more"), sent(&world, "lab", "attests other")];
    assert!(world.decide(both).iter().all(|outcome| outcome.code == 0));
    assert_ne!(roots(&world, &address("payer")), noted);
    let proof = "proves gold claim c event e period p roots=noted random=0";
    let message = crate::script::message(&world, Some(noted), "lab", proof);
    let transaction = world.signed("lab", &[message]);
    assert_eq!(name_of(&world.send(transaction)), "ok");
}

#[test]
fn the_insurer_reads_the_confirmation() {
    let mut world = familiar();
    run(&mut world, COVERED);
    assert_eq!(run(&mut world, "lab proves gold claim c event e period p"), ["ok"]);
    let key = keys::eligibility(&address("payer"), &ClaimId::new(bytes("c")));
    let eligibility = world.machine.store().get(&key).unwrap();
    assert_eq!(eligibility.plan, plan_commitment("payer", "gold").to_bytes());
    assert_eq!(eligibility.amount_commitment, element("amount"));
    assert_eq!(eligibility.confirmed_at, START);
}

#[test]
fn a_holder_fetches_the_path_of_a_commitment() {
    use careledger_app::machine::Prove;
    let mut world = familiar();
    run(
        &mut world,
        "clinic attests a\nlab attests b\nclinic attests c\nclinic attests d\nclinic attests e\npayer covers a",
    );
    let cases = [
        (
            Tree::Attestations,
            vec![],
            "a",
            Leaf::attestation(Element::from_bytes(&element("a")).unwrap(), address("clinic").as_bytes()),
        ),
        (
            Tree::Attestations,
            vec![],
            "b",
            Leaf::attestation(Element::from_bytes(&element("b")).unwrap(), address("lab").as_bytes()),
        ),
        (
            Tree::Attestations,
            vec![],
            "e",
            Leaf::attestation(Element::from_bytes(&element("e")).unwrap(), address("clinic").as_bytes()),
        ),
        (
            Tree::Enrolments,
            address("payer").to_vec(),
            "a",
            Leaf::enrolment(Element::from_bytes(&element("a")).unwrap(), address("payer").as_bytes()),
        ),
    ];
    for (tree, insurer, name, leaf) in cases {
        let request = PathRequest { tree: tree.into(), insurer, commitment: element(name).to_vec() };
        let path = "/careledger.query.v1.Query/Path";
        let answer = world.machine.query(path, &request.encode_to_vec(), 0, Prove::No);
        let response = PathResponse::decode(answer.value.as_slice()).unwrap();
        let element = |bytes: &Vec<u8>| Element::from_bytes(bytes.as_slice().try_into().unwrap()).unwrap();
        let siblings: Vec<Element> = response.siblings.iter().map(element).collect();
        let siblings = siblings.chunks_exact(3).map(|three| three.try_into().unwrap()).collect();
        let root = Path { index: response.index, siblings }.root(leaf.node());
        assert_eq!(root.to_bytes().to_vec(), response.root, "{name} of {tree:?}");
        let (attestations, enrolments) = roots(&world, &address("payer"));
        assert_eq!(root, if tree == Tree::Attestations { attestations } else { enrolments });
    }
}

/// A proof's time is used before any rule is asked: one that is no time must not get that far.
#[test]
fn a_proof_that_expires_at_no_time_is_refused_everywhere() {
    for expires_at in [-1, 0, i64::MIN, 253_402_300_800, i64::MAX] {
        let mut world = familiar();
        let asked = crate::script::message(&world, None, "lab", "proves gold claim c event e period p");
        let careledger_wire::message::Message::ProveEligibility(proof) = asked else { panic!("a proof was asked for") };
        let asked = careledger_wire::proto::insurance::MsgProveEligibility { expires_at, ..proof };
        let transaction = world.signed("lab", &[asked.into()]);
        let checked = world.machine.check(&transaction, careledger_app::machine::CheckKind::New);
        assert_eq!(name_of(&checked), "InvalidField", "{expires_at}");
        let outcomes = world.decide(vec![transaction]);
        assert_eq!(name_of(&outcomes[0]), "InvalidField", "{expires_at}");
    }
}
