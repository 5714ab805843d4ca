//! Sponsors and quotas: who answers for a transaction's bytes.

use careledger_app::{
    genesis::{Genesis, GenesisError, GenesisQuotas},
    keys,
    limits::{QUOTA_BYTES_MIN, QUOTA_WINDOW_BLOCKS_MAX},
    machine::{CheckKind, Machine},
    reject::Reject,
    state::StateRead as _,
    store::memory::MemoryStore,
};
use careledger_wire::{
    proto::tx::{AuthInfo, Fee, TxBody, TxRaw},
    transaction::{Replay, Unsigned},
};
use prost::Message as _;

use crate::{
    script::{FAMILIAR, familiar, message, run},
    world::{CHAIN, START, World, address, genesis, key, machine, name_of, signature},
};

/// `sender`'s message, paid for by `sponsor`, signed by these two keys for these accounts.
fn sponsored_with(world: &World, sender: &str, sponsor: &str, part: &str, signers: [&str; 2], chain: &str) -> Vec<u8> {
    let (number, sequence) = world.account(sender);
    let messages = [message(world, None, sender, part)];
    let unsigned = Unsigned::with_key(&messages, &key(sender), chain, number, Replay::Sequence(sequence))
        .sponsored_by(&address(sponsor), &key(sponsor));
    let (of_sponsor, _) = world.account(sponsor);
    let signatures =
        [signature(signers[0], &unsigned.sign_bytes()), signature(signers[1], &unsigned.sign_bytes_of(of_sponsor))];
    unsigned.signed_by(&signatures)
}

/// `sender`'s message, paid for by `sponsor`.
pub fn sponsored(world: &World, sender: &str, sponsor: &str, part: &str) -> Vec<u8> {
    sponsored_with(world, sender, sponsor, part, [sender, sponsor], CHAIN)
}

#[test]
fn a_sponsor_signs_beside_the_sender_and_its_sequence_stays() {
    let mut world = familiar();
    let before = (world.account("alice.clinic").1, world.account("clinic").1);
    let transaction = sponsored(&world, "alice.clinic", "clinic", "grants lab as g");
    assert_eq!(name_of(&world.send(transaction.clone())), "ok");
    assert_eq!((world.account("alice.clinic").1, world.account("clinic").1), (before.0 + 1, before.1));
    assert_eq!(name_of(&world.send(transaction)), "WrongSequence");
    // With any of its keys.
    run(&mut world, "clinic adds cashier as device");
    let transaction = sponsored(&world, "alice.clinic", "clinic@cashier", "grants lab as h");
    assert_eq!(name_of(&world.send(transaction)), "ok");
}

#[test]
fn nobody_is_made_a_sponsor() {
    let cases = [
        ("clinic", ["alice.clinic", "alice.clinic"], CHAIN, "BadSignature"),
        ("clinic", ["clinic", "clinic"], CHAIN, "BadSignature"),
        ("clinic", ["clinic", "alice.clinic"], CHAIN, "BadSignature"),
        ("clinic", ["alice.clinic", "clinic"], "careledger-dev-2", "BadSignature"),
        ("nobody", ["alice.clinic", "nobody"], CHAIN, "UnknownAccount"),
        ("clinic@phone", ["alice.clinic", "clinic@phone"], CHAIN, "UnknownKey"),
        ("alice.clinic", ["alice.clinic", "alice.clinic"], CHAIN, "Malformed"),
        ("clinic", ["alice.clinic", "clinic"], CHAIN, "ok"),
    ];
    for (sponsor, signers, chain, expected) in cases {
        let mut world = familiar();
        let transaction = sponsored_with(&world, "alice.clinic", sponsor, "grants lab as g", signers, chain);
        assert_eq!(name_of(&world.send(transaction)), expected, "{sponsor} {signers:?}");
    }
    let mut world = familiar();
    run(&mut world, "r3 suspends clinic");
    let transaction = sponsored(&world, "alice.clinic", "clinic", "grants lab as g");
    assert_eq!(name_of(&world.send(transaction)), "OrganizationSuspended");
}

/// A sponsor signs the same bytes as the sender: another message, payer or sequence is another
/// transaction, which the sender did not sign. A message of the sponsor's own has no place in it.
#[test]
fn a_sponsor_can_alter_nothing() {
    let world = familiar();
    let sound = sponsored(&world, "alice.clinic", "clinic", "grants lab as g");
    let raw = TxRaw::decode(sound.as_slice()).unwrap();
    let other = TxRaw::decode(sponsored(&world, "alice.clinic", "clinic", "grants chemist as g").as_slice()).unwrap();
    let auth = AuthInfo::decode(raw.auth_info_bytes.as_slice()).unwrap();
    let by_itself = AuthInfo { signer_infos: auth.signer_infos[..1].to_vec(), fee: None };
    let mut body = TxBody::decode(raw.body_bytes.as_slice()).unwrap();
    body.messages.push(message(&world, None, "clinic", "anchors a").to_any());
    let paid_by_lab =
        AuthInfo { fee: Some(Fee { payer: address("lab").to_string(), ..Fee::default() }), ..auth.clone() };
    let cases = [
        ("another message", TxRaw { body_bytes: other.body_bytes.clone(), ..raw.clone() }, "BadSignature"),
        ("a message of the sponsor", TxRaw { body_bytes: body.encode_to_vec(), ..raw.clone() }, "Malformed"),
        (
            "without the sponsor",
            TxRaw {
                auth_info_bytes: by_itself.encode_to_vec(),
                signatures: raw.signatures[..1].to_vec(),
                ..raw.clone()
            },
            "BadSignature",
        ),
        ("another payer", TxRaw { auth_info_bytes: paid_by_lab.encode_to_vec(), ..raw.clone() }, "UnknownKey"),
        (
            "signatures the other way round",
            TxRaw { signatures: vec![raw.signatures[1].clone(), raw.signatures[0].clone()], ..raw.clone() },
            "BadSignature",
        ),
    ];
    for (what, changed, expected) in cases {
        let mut world = familiar();
        assert_eq!(name_of(&world.send(changed.encode_to_vec())), expected, "{what}");
    }
}

fn quotas() -> GenesisQuotas {
    GenesisQuotas { window_blocks: 200, claimant_bytes: QUOTA_BYTES_MIN, ..GenesisQuotas::default() }
}

pub fn bounded() -> World {
    let genesis = Genesis { quotas: Some(quotas()), ..genesis() };
    let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
    assert!(run(&mut world, FAMILIAR).iter().all(|answer| *answer == "ok"));
    world
}

#[test]
fn an_account_sends_its_quota_in_each_window() {
    let mut world = bounded();
    let used =
        |world: &World, name: &str| world.machine.store().get(&keys::account(&address(name))).unwrap().quota_used_bytes;
    let mut sum = used(&world, "alice.clinic");
    assert!(sum > 0, "the claim was paid for");
    let mut sent = 0;
    let refused = loop {
        let grant = message(&world, None, "alice.clinic", &format!("grants lab as g{sent} until 100000"));
        // Unordered transactions are paid for, too.
        let replay = match sent % 2 {
            0 => Replay::UntilTime(START + 500),
            _ => Replay::Sequence(world.account("alice.clinic").1),
        };
        let transaction = world.signed_with("alice.clinic", &[grant], replay);
        if sum + transaction.len() as u64 > QUOTA_BYTES_MIN {
            break transaction;
        }
        let mut block = vec![transaction];
        sum += block[0].len() as u64;
        // Several in a block, so that the window lasts.
        if sent % 2 == 0 {
            block.push(
                world.signed("bob.clinic", &[message(&world, None, "bob.clinic", &format!("grants lab as h{sent}"))]),
            );
        }
        assert!(world.decide(block).iter().all(|outcome| outcome.code == 0));
        assert_eq!(used(&world, "alice.clinic"), sum);
        sent += 1;
    };
    assert!(sent > 10, "a patient sends some");
    let height = world.machine.height() + 1;
    assert!(height < 200, "the test stays in one window: {height}");
    assert_eq!(name_of(&world.machine.check(&refused, CheckKind::New)), "QuotaUsed");
    assert_eq!(world.machine.process(std::slice::from_ref(&refused), height, START), Err(Reject::QuotaUsed));
    assert!(world.machine.prepare(vec![refused.clone()], 1 << 20, height, START).is_empty());
    assert_eq!(name_of(&world.decide(vec![refused.clone()]).remove(0)), "QuotaUsed");
    assert_eq!(used(&world, "alice.clinic"), sum);

    // A sponsor pays in her place, and others are not hindered.
    let before = used(&world, "clinic");
    let transaction = sponsored(&world, "alice.clinic", "clinic", "grants chemist as s");
    assert_eq!(name_of(&world.decide(vec![transaction.clone()]).remove(0)), "ok");
    assert_eq!(used(&world, "clinic"), before + transaction.len() as u64);
    assert_eq!(used(&world, "alice.clinic"), sum);

    while world.machine.height() + 1 < height.next_multiple_of(200) {
        world.decide(Vec::new());
    }
    let transaction = world.signed("alice.clinic", &[message(&world, None, "alice.clinic", "grants chemist as t")]);
    assert_eq!(name_of(&world.decide(vec![transaction.clone()]).remove(0)), "ok");
    assert_eq!(used(&world, "alice.clinic"), transaction.len() as u64);
}

/// One organization's key opened as many accounts as it liked, and each had a quota of its own, also once the
/// organization was suspended.
#[test]
fn all_whom_an_organization_opened_have_what_it_has_and_little_while_it_is_suspended() {
    // Two patients' worth.
    let quotas = GenesisQuotas { organization_bytes: 2 * QUOTA_BYTES_MIN, window_blocks: 1_000, ..quotas() };
    let genesis = Genesis { quotas: Some(quotas), state_version: 5, ..genesis() };
    let mut world = World { machine: machine(&genesis), replica: machine(&genesis), time: 0 };
    let more =
        "clinic opens carol.clinic\ncarol.clinic claims carol.clinic\nlab opens dave.lab\ndave.lab claims dave.lab";
    assert!(run(&mut world, &format!("{FAMILIAR}\n{more}")).iter().all(|answer| *answer == "ok"));
    let together = |world: &World| {
        let used = world.machine.store().get(&keys::opened_quota(&address("clinic"))).unwrap_or_default();
        used.used_bytes
    };
    let mut number = 0;
    // Sends until somebody has used up what is left; whose quota that was is seen in what all have used.
    let mut flood = |world: &mut World, name: &str| loop {
        number += 1;
        let grant = message(world, None, name, &format!("grants lab as g{number} until 100000"));
        let transaction = world.signed(name, &[grant]);
        match name_of(&world.decide(vec![transaction]).remove(0)) {
            "ok" => {}
            answer => break answer,
        }
    };
    for name in ["alice.clinic", "bob.clinic", "carol.clinic"] {
        assert_eq!(flood(&mut world, name), "QuotaUsed", "{name}");
    }
    let used = together(&world);
    assert!(used <= 2 * QUOTA_BYTES_MIN && used > 2 * QUOTA_BYTES_MIN - 1_000, "{used}");
    assert_eq!(run(&mut world, "dave.lab grants chemist as g"), ["ok"], "others are not hindered");

    while !(world.machine.height() + 1).is_multiple_of(1_000) {
        world.decide(Vec::new());
    }
    assert_eq!(run(&mut world, "r3 suspends clinic"), ["ok"]);
    for name in ["alice.clinic", "bob.clinic"] {
        assert_eq!(flood(&mut world, name), "QuotaUsed", "{name}");
    }
    let used = together(&world);
    assert!(used <= QUOTA_BYTES_MIN / 4 && used > QUOTA_BYTES_MIN / 4 - 1_000, "{used}");
}

/// A refusal is paid for: it took a place in a block.
#[test]
fn what_is_refused_in_a_block_is_paid_for() {
    let mut world = bounded();
    let used = |world: &World| world.machine.store().get(&keys::account(&address("lab"))).unwrap().quota_used_bytes;
    let before = used(&world);
    let transaction = world.signed("lab", &[message(&world, None, "lab", "supersedes a:2")]);
    let bytes = transaction.len() as u64;
    assert_eq!(name_of(&world.decide(vec![transaction]).remove(0)), "UnknownRecord");
    assert_eq!(used(&world), before + bytes);
}

#[test]
fn quotas_of_genesis_let_everyone_send_something() {
    let start = |quotas: GenesisQuotas| {
        let genesis = Genesis { quotas: Some(quotas), ..genesis() };
        let mut machine = Machine::new(MemoryStore::new());
        machine.init_chain(CHAIN, &serde_json::to_vec(&genesis).unwrap(), START).map(|_| ())
    };
    assert_eq!(start(GenesisQuotas::default()), Ok(()));
    for wrong in [
        GenesisQuotas { window_blocks: 0, ..quotas() },
        GenesisQuotas { window_blocks: QUOTA_WINDOW_BLOCKS_MAX + 1, ..quotas() },
        GenesisQuotas { registrar_bytes: QUOTA_BYTES_MIN - 1, ..quotas() },
        GenesisQuotas { organization_bytes: 0, ..quotas() },
        GenesisQuotas { practitioner_bytes: 0, ..quotas() },
        GenesisQuotas { claimant_bytes: QUOTA_BYTES_MIN - 1, ..quotas() },
    ] {
        assert_eq!(start(wrong), Err(GenesisError::Quotas));
    }
}
