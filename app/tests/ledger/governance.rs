//! What registrars decide together, validators and their offences, upgrades.
//!
//! `proposes <id> registrars r1 r2 by 2`, `… validator v1 power 5`, `… parameter <name> <value>`,
//! `… upgrade 2 in 3` (three blocks after the next; `off` calls it off); `until` sets the end.

use careledger_app::{
    genesis::{Consensus, Genesis, GenesisError},
    governance,
    limits::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, UPGRADE_BLOCKS_MAX, VALIDATOR_POWER_MAX, VALIDATORS_MAX},
    machine::{Block, Event, Finalized, Machine, Misbehavior},
    state::StateRead as _,
    store::memory::MemoryStore,
    types::{ConsensusParameters, EvidenceParameters},
    upgrade,
};
use careledger_wire::{
    access_log,
    ids::{Digest, ValidatorKey},
    message::Message,
    proto::governance::{
        Content, MsgPropose, MsgRescind, MsgSuspendPractitioner, MsgVote, Parameter, ParameterChange, RegistrarChange,
        ScheduledUpgrade, ValidatorChange, content::Decision,
    },
};
use sha2::{Digest as _, Sha256};

use crate::{
    check,
    script::{FAMILIAR, Words, check_familiar, run},
    world::{START, World, address, bytes, genesis, machine_under, name_of},
};

/// The messages of governance, for scripts.
pub fn message(verb: &str, from: String, words: &Words<'_>) -> Message {
    match verb {
        "proposes" => MsgPropose {
            sender: from,
            proposal: bytes(words.at(1)).to_vec(),
            expires_at: words.time("until", 4_000),
            content: Some(Content { decision: decision(words) }),
        }
        .into(),
        "votes" => MsgVote { sender: from, proposal: bytes(words.at(1)).to_vec() }.into(),
        "rescinds" => MsgRescind { sender: from, proposal: bytes(words.at(1)).to_vec() }.into(),
        "suspends-staff" => MsgSuspendPractitioner { sender: from, practitioner: address(words.at(1)).to_vec() }.into(),
        verb => crate::batches::message(verb, from, words),
    }
}

fn decision(words: &Words<'_>) -> Option<Decision> {
    let number = |word: &str| words.after(word).map(|number| number.parse::<u64>().expect("a number"));
    Some(match words.at(2) {
        "nothing" => return None,
        "registrars" => {
            let named = words.words[3..].iter().take_while(|word| !["by", "until", "unsorted"].contains(word));
            let mut registrars: Vec<Vec<u8>> = named.map(|name| address(name).to_vec()).collect();
            registrars.sort();
            if words.words.contains(&"unsorted") {
                registrars.reverse();
            }
            Decision::Registrars(RegistrarChange { registrars, threshold: number("by").unwrap_or(1) as u32 })
        }
        "validator" => Decision::Validator(ValidatorChange {
            public_key: validator(words.at(3)).to_vec(),
            power: number("power").expect("a power"),
        }),
        "parameter" => {
            let name = format!("PARAMETER_{}", words.at(3).to_uppercase().replace('-', "_"));
            let parameter = Parameter::from_str_name(&name).unwrap_or_default();
            Decision::Parameter(ParameterChange {
                parameter: parameter.into(),
                value: words.at(4).parse().expect("a value"),
            })
        }
        "upgrade" => {
            let next = words.world.machine.height() + 1;
            let height =
                if words.words.contains(&"off") { 0 } else { next + number("in").expect("in how many blocks") };
            Decision::Upgrade(ScheduledUpgrade { version: words.at(3).parse().expect("a version"), height })
        }
        other => panic!("no such decision: {other}"),
    })
}

fn validator(name: &str) -> ValidatorKey {
    ValidatorKey::new(bytes(name))
}

/// A chain under CometBFT with these validators.
pub fn under(validators: &[(&str, u64)]) -> World {
    let consensus = Consensus {
        validators: validators.iter().map(|(name, power)| (validator(name), *power)).collect(),
        evidence: Some(EvidenceParameters { age_blocks: 5_000, age_seconds: 9_000, bytes: 10_000 }),
        ..Consensus::default()
    };
    let machine = || machine_under(&genesis(), &consensus);
    World { machine: machine(), replica: machine(), time: 0 }
}

fn powers(world: &World) -> Vec<(ValidatorKey, u64)> {
    let known = governance::validators(world.machine.store());
    known.into_iter().map(|(key, validator)| (key, validator.power)).filter(|(_, power)| *power > 0).collect()
}

/// Decides one block on both replicas.
pub fn finalize(world: &mut World, transactions: Vec<Vec<u8>>, evidence: &[Misbehavior]) -> Finalized {
    let block = Block { height: world.machine.height() + 1, time: START + world.time, transactions };
    let finalized = world.machine.finalize_under(&block, evidence);
    assert_eq!(world.replica.finalize_under(&block, evidence), finalized);
    world.machine.commit();
    world.replica.commit();
    finalized
}

/// Proposes and votes; what the deciding block gave.
pub fn agree(world: &mut World, decision: &str) -> Finalized {
    let name = format!("p{}", world.machine.height());
    assert_eq!(run(world, &format!("r1 proposes {name} {decision}")), ["ok"], "{decision}");
    let parsed = crate::script::message(world, None, "r2", &format!("votes {name}"));
    let vote = world.signed("r2", &[parsed]);
    finalize(world, vec![vote], &[])
}

/// Every kind of event that a block has by itself.
pub fn block_events() -> Vec<Event> {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10)]);
    let mut events = agree(&mut world, "parameter evidence-age-blocks 2000").events;
    events.extend(finalize(&mut world, Vec::new(), &[offence("v1", 1)]).events);
    let kinds: std::collections::BTreeSet<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    events
}

#[test]
fn a_proposal_takes_effect_with_the_approval_that_reaches_the_threshold() {
    check_familiar(
        "clinic proposes p parameter offences-tolerated 2
         r1 proposes p parameter offences-tolerated 2
         r2 proposes p parameter offences-tolerated 3
         r1 votes p
         clinic votes p
         r2 votes q
         r2 votes p
         r3 votes p
         r1 rescinds p
         r3 proposes q parameter offences-tolerated 2",
        "NotARegistrar ok ProposalExists AlreadyVoted NotARegistrar UnknownProposal ok ProposalClosed ProposalClosed NothingChanges",
    );
}

#[test]
fn approvals_are_taken_back_proposals_withdrawn_and_ids_never_used_again() {
    check(
        "r1 proposes three registrars r1 r2 r3 by 3
         r2 votes three
         r1 proposes p parameter offences-tolerated 2
         r3 rescinds p
         r2 votes p
         r2 rescinds q
         r2 rescinds p
         r2 rescinds p
         r3 votes p
         r2 votes p
         r1 proposes q parameter offences-tolerated 3
         r2 votes q
         r1 rescinds q
         r3 votes q
         r1 proposes q parameter offences-tolerated 3",
        "ok ok ok NotApproved ok UnknownProposal ok NotApproved ok ok ok ok ok ProposalClosed ProposalExists",
    );
}

#[test]
fn a_proposal_ends_at_its_time() {
    check_familiar(
        "at 10
         r1 proposes p parameter offences-tolerated 2 until 10
         r1 proposes p parameter offences-tolerated 2 until 7776011
         r1 proposes p parameter offences-tolerated 2 until 20
         r1 proposes q parameter offences-tolerated 2 until 20
         at 19
         r2 votes p
         at 20
         r2 votes q
         r1 rescinds q",
        "AlreadyEnded EndsTooLate ok ok ok ProposalExpired ProposalExpired",
    );
}

#[test]
fn what_has_no_right_form_is_not_proposed() {
    check_familiar(
        "r1 proposes p nothing
         r1 proposes p registrars by 1
         r1 proposes p registrars r1 r2 r3 by 4
         r1 proposes p registrars r1 r2 r3 by 0
         r1 proposes p registrars r1 r1 r3 by 1
         r1 proposes p registrars r1 r2 r3 by 2 unsorted
         r1 proposes p registrars r1 r2 r3 by 2
         r1 proposes p registrars r1 r2 clinic by 2
         r1 proposes p validator v1 power 1000000001
         r1 proposes p parameter unknown 5
         r1 proposes p parameter block-bytes 1048575
         r1 proposes p parameter block-bytes 4194305
         r1 proposes p parameter evidence-age-blocks 0
         r1 proposes p parameter evidence-age-seconds 0
         r1 proposes p parameter unordered-seconds 60
         r1 proposes p parameter offences-tolerated 11
         r1 proposes p parameter proposal-seconds 0
         r1 proposes p upgrade 1 in 5
         r1 proposes p upgrade 0 in 5
         r1 proposes p upgrade 3 in 5
         r1 proposes p upgrade 2 in 0
         r1 proposes p upgrade 2 in 10000001
         r1 proposes p upgrade 2 off",
        "InvalidField InvalidField InvalidField InvalidField InvalidField InvalidField NothingChanges AddressInUse
         InvalidField InvalidField ParameterOutOfRange ParameterOutOfRange ParameterOutOfRange ParameterOutOfRange
         ParameterOutOfRange ParameterOutOfRange ParameterOutOfRange InvalidField InvalidField WrongUpgrade
         WrongUpgradeHeight WrongUpgradeHeight WrongUpgrade",
    );
    assert_eq!(UPGRADE_BLOCKS_MAX, 10_000_000);
}

/// Who was removed has no say from then on, and nothing that was approved under the old set counts.
#[test]
fn a_change_of_registrars_voids_every_approval_under_the_old_ones() {
    check(
        "r3 registers clinic as provider
         r3 proposes p parameter offences-tolerated 2
         r1 proposes change registrars r1 r2 r4 by 2
         r4 votes change
         r2 votes change
         r3 registers lab as provider
         r3 suspends clinic
         r3 proposes q parameter offences-tolerated 2
         r1 votes p
         r3 rescinds p
         r1 registers clinic as provider
         clinic anchors a
         r4 registers clinic as provider
         clinic anchors a",
        "ok ok ok UnknownAccount ok NotARegistrar NotARegistrar NotARegistrar ProposalClosed NotARegistrar ok UnknownAccount ok ok",
    );
}

#[test]
fn a_registrar_who_comes_back_finds_no_old_approval() {
    check(
        "r3 registers clinic as provider
         r1 proposes out registrars r1 r2 by 2
         r2 votes out
         r1 proposes in registrars r1 r2 r3 by 2
         r2 votes in
         r1 registers clinic as provider
         clinic anchors a
         r3 registers clinic as provider
         clinic anchors a",
        "ok ok ok ok ok ok UnknownAccount ok ok",
    );
}

#[test]
fn one_registrar_decides_alone_where_the_threshold_is_one() {
    check(
        "r1 proposes alone registrars r1 by 1
         r2 votes alone
         r1 proposes p parameter offences-tolerated 2
         r1 votes p
         r1 proposes q parameter offences-tolerated 2
         r2 proposes r parameter offences-tolerated 3",
        "ok ok ok ProposalClosed NothingChanges NotARegistrar",
    );
}

#[test]
fn comet_bft_is_told_exactly_what_changed_of_its_validators() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    let added = agree(&mut world, "validator v5 power 10");
    assert_eq!(added.updates.validators, [(validator("v5"), 10)]);
    assert_eq!(added.updates.parameters, None);
    assert!(added.events.iter().any(|event| event.kind == "validator_power"));
    assert_eq!(agree(&mut world, "validator v5 power 11").updates.validators, [(validator("v5"), 11)]);
    assert_eq!(agree(&mut world, "validator v1 power 0").updates.validators, [(validator("v1"), 0)]);
    assert_eq!(powers(&world).len(), 4);
    // Removed and back again: known to CometBFT or not, the update is right.
    assert_eq!(agree(&mut world, "validator v1 power 3").updates.validators, [(validator("v1"), 3)]);
    assert_eq!(finalize(&mut world, Vec::new(), &[]).updates, Default::default());
}

#[test]
fn a_validator_that_comet_bft_does_not_know_is_never_removed() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    let answers = run(
        &mut world,
        "r1 proposes a validator stranger power 0
         r1 proposes b validator v1 power 10
         r1 proposes c validator v1 power 0
         r1 proposes d validator v1 power 0
         r2 votes c
         r2 votes d
         r2 rescinds d",
    );
    assert_eq!(answers, ["UnknownValidator", "NothingChanges", "ok", "ok", "ok", "NothingChanges", "NotApproved"]);
}

/// Two votes that decide in one block: the second waits for the next.
#[test]
fn a_block_changes_one_validator() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    run(&mut world, "r1 proposes a validator v1 power 9\nr2 proposes b validator v2 power 9");
    let vote = |world: &World, sender: &str, part: &str| {
        world.signed(sender, &[crate::script::message(world, None, sender, part)])
    };
    let votes = vec![vote(&world, "r2", "votes a"), vote(&world, "r3", "votes b")];
    let finalized = finalize(&mut world, votes, &[]);
    let answers: Vec<_> = finalized.outcomes.iter().map(name_of).collect();
    assert_eq!(answers, ["ok", "ValidatorsJustChanged"]);
    assert_eq!(finalized.updates.validators, [(validator("v1"), 9)]);
    assert_eq!(run(&mut world, "r3 votes b"), ["ok"]);
}

#[test]
fn those_who_stay_can_always_decide_and_somebody_stays() {
    type Validators = &'static [(&'static str, u64)];
    // (validators of genesis, change, answer)
    let cases: [(Validators, &str, &str); 12] = [
        (&[], "v1 power 1", "TooMuchPowerMoves"),
        (&[("v1", 10)], "v1 power 0", "LastValidator"),
        (&[("v1", 10)], "v2 power 4", "ok"),
        (&[("v1", 10)], "v2 power 5", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10)], "v2 power 0", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 5)], "v2 power 0", "ok"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v3 power 0", "ok"),
        (&[("v1", 10), ("v2", 10), ("v3", 11)], "v3 power 0", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v4 power 14", "ok"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v4 power 15", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v1 power 25", "TooMuchPowerMoves"),
        (&[("v1", 10), ("v2", 10), ("v3", 10)], "v1 power 24", "ok"),
    ];
    for (validators, change, expected) in cases {
        let mut world = under(validators);
        assert_eq!(
            run(&mut world, &format!("r1 proposes p validator {change}")),
            [expected],
            "{validators:?} {change}"
        );
    }
}

#[test]
fn there_are_never_more_validators_than_the_limit() {
    let names: Vec<String> = (0..VALIDATORS_MAX).map(|number| format!("v{number}")).collect();
    let validators: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let mut world = under(&validators);
    let answers = run(&mut world, "r1 proposes p validator one-more power 1\nr1 proposes q validator v3 power 9");
    assert_eq!(answers, ["TooManyValidators", "ok"]);
}

#[test]
fn genesis_takes_no_validators_that_could_not_be_tracked() {
    let start = |validators: Vec<(ValidatorKey, u64)>| {
        let consensus = Consensus { validators, ..Consensus::default() };
        Genesis::changes_under(&genesis(), "careledger-dev-1", START, &consensus).map(|_| ())
    };
    assert_eq!(start(vec![(validator("v1"), VALIDATOR_POWER_MAX)]), Ok(()));
    let v = validator("v1");
    let many = (0..=VALIDATORS_MAX).map(|number| (validator(&format!("v{number}")), 1)).collect();
    for refused in [vec![(v, 0)], vec![(v, VALIDATOR_POWER_MAX + 1)], vec![(v, 1), (v, 1)], many] {
        assert_eq!(start(refused), Err(GenesisError::Validators));
    }
    for state_version in [0, upgrade::NEWEST + 1] {
        let genesis = Genesis { state_version, ..genesis() };
        assert_eq!(genesis.changes("careledger-dev-1", START).map(|_| ()), Err(GenesisError::StateVersion));
    }
}

#[test]
fn parameters_reach_comet_bft_whole_and_bind_the_ledger() {
    let mut world = under(&[("v1", 10)]);
    let expected = |block_bytes, age_blocks, age_seconds| {
        let evidence = Some(EvidenceParameters { age_blocks, age_seconds, bytes: 10_000 });
        Some(ConsensusParameters { state_version: 1, block_bytes, evidence })
    };
    let min = BLOCK_BYTES_MIN as u64;
    let blocks = agree(&mut world, "parameter evidence-age-blocks 2000");
    assert_eq!(blocks.updates.parameters, expected(None, 2_000, 9_000));
    let seconds = agree(&mut world, "parameter evidence-age-seconds 3600");
    assert_eq!(seconds.updates.parameters, expected(None, 2_000, 3_600));
    let bytes = agree(&mut world, &format!("parameter block-bytes {BLOCK_BYTES_MIN}"));
    assert_eq!(bytes.updates.parameters, expected(Some(min), 2_000, 3_600));
    assert_eq!(agree(&mut world, "parameter offences-tolerated 2").updates.parameters, None, "CometBFT has no such");

    let before = world.machine.height() + 1;
    let oversize = vec![vec![0; 500_000]; 3];
    assert_eq!(world.replica.process(&oversize, before, START).unwrap_err().name(), "TooLarge");
    let raised = agree(&mut world, &format!("parameter block-bytes {BLOCK_BYTES_MAX}"));
    assert_eq!(raised.updates.parameters, expected(Some(BLOCK_BYTES_MAX as u64), 2_000, 3_600));
    let before = world.machine.height() + 1;
    assert_eq!(world.replica.process(&oversize, before, START).unwrap_err().name(), "Malformed", "it is read now");
}

#[test]
fn the_validity_of_unordered_transactions_is_voted_on() {
    use careledger_wire::transaction::Replay;
    let mut world = World::new();
    let send = |world: &mut World, seconds: i64| {
        let parsed = crate::script::message(world, None, "r3", &format!("registers x{seconds} as provider"));
        let transaction = world.signed_with("r3", &[parsed], Replay::UntilTime(START + seconds));
        name_of(&world.send(transaction))
    };
    assert_eq!(send(&mut world, 300), "ok");
    agree(&mut world, "parameter unordered-seconds 200");
    assert_eq!(send(&mut world, 201), "TimeoutTooFar");
    assert_eq!(send(&mut world, 200), "ok");
}

#[test]
fn proposals_stay_open_as_long_as_was_voted() {
    check(
        "r1 proposes p parameter proposal-seconds 3600
         r2 votes p
         r1 proposes q parameter offences-tolerated 2 until 3601
         r1 proposes q parameter offences-tolerated 2 until 3600",
        "ok ok EndsTooLate ok",
    );
}

fn offence(name: &str, height: u64) -> Misbehavior {
    let address = Sha256::digest(bytes(name));
    Misbehavior { kind: 1, validator: address[..20].try_into().expect("20 bytes"), height }
}

#[test]
fn evidence_is_recorded_and_takes_the_validators_power() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10), ("v4", 10)]);
    let strangers = finalize(&mut world, Vec::new(), &[offence("stranger", 1)]);
    assert_eq!((strangers.updates, strangers.events.len()), (Default::default(), 0));
    let finalized = finalize(&mut world, Vec::new(), &[offence("v2", 1)]);
    assert_eq!(finalized.updates.validators, [(validator("v2"), 0)]);
    assert_eq!(finalized.events[0].kind, "misbehavior");
    let known = governance::validators(world.machine.store());
    let (_, recorded) = known.into_iter().find(|(key, _)| *key == validator("v2")).unwrap();
    assert_eq!((recorded.power, recorded.offences, recorded.newest_offences[0].height), (0, 1, 1));
    assert_eq!(recorded.newest_offences[0].recorded_height, 2);
    let again = finalize(&mut world, Vec::new(), &[offence("v2", 1)]);
    assert_eq!(again.events, [], "one offence counts once");
}

#[test]
fn offences_that_registrars_tolerate_leave_the_power_and_the_last_validator_stays() {
    let mut world = under(&[("v1", 10), ("v2", 10)]);
    agree(&mut world, "parameter offences-tolerated 1");
    assert_eq!(finalize(&mut world, Vec::new(), &[offence("v1", 1)]).updates, Default::default());
    let second = finalize(&mut world, Vec::new(), &[offence("v1", 2)]);
    assert_eq!(second.updates.validators, [(validator("v1"), 0)]);
    let last = finalize(&mut world, Vec::new(), &[offence("v2", 1), offence("v2", 2), offence("v2", 3)]);
    assert_eq!((last.updates.validators, last.events.len()), (Vec::new(), 3));
    assert_eq!(powers(&world), [(validator("v2"), 10)]);
}

/// Everybody at once: whoever comes last keeps the chain going.
#[test]
fn evidence_against_all_leaves_one() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10)]);
    finalize(&mut world, Vec::new(), &["v1", "v2", "v3"].map(|name| offence(name, 1)));
    assert_eq!(powers(&world), [(validator("v3"), 10)]);
}

#[test]
fn evidence_and_a_remembered_proposal_go_together() {
    let mut world = under(&[("v1", 10), ("v2", 10), ("v3", 10)]);
    let parsed = crate::script::message(&world, None, "r1", "registers clinic as provider");
    let transaction = world.signed("r1", &[parsed]);
    let proposed = world.machine.prepare(vec![transaction], 1 << 20, 1, START);
    // The replica computes the block anew.
    let finalized = finalize(&mut world, proposed, &[offence("v1", 1)]);
    assert_eq!(finalized.updates.validators, [(validator("v1"), 0)]);
}

#[test]
fn one_upgrade_is_scheduled_at_a_time_and_can_be_called_off() {
    let mut world = World::new();
    agree(&mut world, "upgrade 2 in 9");
    assert_eq!(run(&mut world, "r1 proposes p upgrade 2 in 20"), ["WrongUpgrade"]);
    agree(&mut world, "upgrade 2 off");
    agree(&mut world, "upgrade 2 in 3");
    let height = governance::of(world.machine.store()).upgrade_height;
    while world.machine.height() + 1 < height {
        assert_eq!(world.machine.state_version(), 1);
        finalize(&mut world, Vec::new(), &[]);
    }
    let upgraded = finalize(&mut world, Vec::new(), &[]);
    let parameters = upgraded.updates.parameters.expect("the version is in every header from the next on");
    assert_eq!((parameters.state_version, parameters.block_bytes), (2, None));
    assert_eq!(world.machine.state_version(), 2);
    assert!(world.machine.store().has(&careledger_app::keys::upgrade(2)));
    assert_eq!(run(&mut world, "r1 proposes again upgrade 2 in 5"), ["WrongUpgrade"]);
    assert_eq!(finalize(&mut world, Vec::new(), &[]).updates, Default::default(), "it is made once");
}

/// The upgrade from the program without it to the program with it, over one state.
#[test]
fn an_old_program_stops_before_the_upgrade_and_a_new_one_goes_on() {
    let mut world = World::new();
    run(&mut world, FAMILIAR);
    run(&mut world, "clinic logs 1\nclinic logs 2\nlab logs 1");
    agree(&mut world, "upgrade 2 in 2");
    let old = Machine::with_upgrades(world.machine.store().clone(), &[]);
    let height = old.height() + 1;
    let mut old = old;
    for height in height..height + 2 {
        if old.halts_before(height).is_some() {
            break;
        }
        let block = Block { height, time: START, transactions: Vec::new() };
        old.finalize(&block);
        old.commit();
    }
    let next = old.height() + 1;
    let stopped = old.halts_before(next).expect("the old program does not know the upgrade");
    assert_eq!((stopped.version, stopped.height), (2, next));
    assert!(stopped.to_string().contains("upgrade 2"));
    let store: MemoryStore = old.into_store();
    assert_eq!(store.scan(b"access-log-tree/", None, 9), []);

    let block = Block { height: next, time: START, transactions: Vec::new() };
    let [one, other] = [Machine::new(store.clone()), Machine::new(store)].map(|mut new| {
        assert_eq!(new.halts_before(next), None);
        let hash = new.finalize(&block).app_hash;
        new.commit();
        (hash, new)
    });
    assert_eq!(one.0, other.0, "the migration is the same everywhere");
    world = World { machine: one.1, replica: other.1, time: 0 };
    assert_log_is_of_its_batches(&world, "clinic", 2);
    assert_log_is_of_its_batches(&world, "lab", 1);
    assert_eq!(run(&mut world, "clinic logs 3\nchemist logs 1"), ["ok", "ok"]);
    assert_log_is_of_its_batches(&world, "clinic", 3);
    assert_log_is_of_its_batches(&world, "chemist", 1);
}

/// What is in the state is RFC 6962's root over the batches in the state.
pub fn assert_log_is_of_its_batches(world: &World, organization: &str, batches: u64) {
    let state = world.machine.store();
    let organization = address(organization);
    let leaf = |sequence| {
        let batch = state.get(&careledger_app::keys::access_log_batch(&organization, sequence)).expect("a batch");
        let root = Digest::try_from(batch.root.as_slice()).expect("a root");
        access_log::batch_leaf(&root, batch.count, batch.period_start, batch.period_end)
    };
    let leaves: Vec<Digest> = (1..=batches).map(leaf).collect();
    let tree = state.get(&careledger_app::keys::access_log_tree(&organization)).expect("a tree");
    assert_eq!((tree.size, tree.root), (batches, access_log::root(&leaves).to_vec()));
}

#[test]
fn an_organization_suspends_its_staff_and_nobody_elses() {
    check_familiar(
        "lab suspends-staff doctor
         clinic suspends-staff nobody
         clinic suspends-staff doctor
         clinic suspends-staff doctor
         clinic enrols doctor
         clinic suspends-staff doctor
         r1 suspends clinic
         clinic suspends-staff doctor",
        "UnknownPractitioner UnknownPractitioner ok PractitionerSuspended ok ok ok OrganizationSuspended",
    );
}
