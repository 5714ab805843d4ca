//! What registrars decide together. Validators and their offences, parameters and upgrades are in files of their own.
//!
//! `proposes <id> registrars r1 r2 by 2`, `… validator v1 power 5`, `… parameter <name> <value>`,
//! `… upgrade 2 in 3` (three blocks after the next; `off` calls it off); `until` sets the end.

mod parameters;
mod upgrades;
mod validators;

use careledger_app::{
    genesis::Consensus,
    governance,
    limits::UPGRADE_BLOCKS_MAX,
    machine::{Block, Event, Finalized, Misbehavior},
    types::EvidenceParameters,
};
use careledger_wire::{
    ids::ValidatorKey,
    message::Message,
    proto::governance::{
        Content, MsgPropose, MsgRescind, MsgSuspendPractitioner, MsgVote, Parameter, ParameterChange, RegistrarChange,
        ScheduledUpgrade, ValidatorChange, content::Decision,
    },
};
use sha2::{Digest as _, Sha256};

use crate::{
    check,
    script::{Words, check_familiar, run},
    world::{START, World, address, bytes, genesis, machine_under},
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

pub fn validator(name: &str) -> ValidatorKey {
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

fn offence(name: &str, height: u64) -> Misbehavior {
    let address = Sha256::digest(bytes(name));
    Misbehavior { kind: 1, validator: address[..20].try_into().expect("20 bytes"), height }
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
