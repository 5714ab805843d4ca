//! What the chain tells of a patient: nothing that joins two organizations' views of one person.

mod scan;
mod year;

use std::collections::BTreeSet;

use careledger_app::{keys, state::StateRead as _};
use careledger_wire::{
    ids::{Address, ClaimId, RequestId},
    message::Message,
    proto::{
        consent::{ConsentMode, MsgGrantConsent},
        identity::{MsgClaimSubject, MsgOpenSubject},
        records::{Anchor, MsgAnchorRecords},
    },
};
use scan::{entries_of_views, is_of_fixed_shape, joined};
use year::{MONTHS, View, year};

use crate::{
    script::{familiar, grant_path, message, run, subject},
    world::{START, State, World, address, bytes, name_of},
};

/// One person's whole life at one organization, with the keys and salts that a wallet and a
/// gateway draw for it.
fn live(world: &mut World, organization: &str, grantee: &str) -> State {
    let before = world.state();
    let claimant = format!("alice.{organization}");
    let own = |what: &str| bytes(&format!("{what} of {claimant}")).to_vec();
    let steps: Vec<(&str, Message)> = vec![
        (
            organization,
            MsgOpenSubject {
                sender: address(organization).to_string(),
                claimant: address(&claimant).to_vec(),
                binding: None,
            }
            .into(),
        ),
        (
            &claimant,
            MsgClaimSubject {
                sender: address(&claimant).to_string(),
                subject: subject(&claimant).to_vec(),
                encryption_key: own("encryption key"),
            }
            .into(),
        ),
        (
            organization,
            MsgAnchorRecords {
                sender: address(organization).to_string(),
                anchors: vec![Anchor { record: own("record"), commitment: own("commitment") }],
            }
            .into(),
        ),
        (
            &claimant,
            MsgGrantConsent {
                sender: address(&claimant).to_string(),
                subject: subject(&claimant).to_vec(),
                grant: own("grant"),
                grantee: address(grantee).to_vec(),
                mode: ConsentMode::View.into(),
                not_before: START,
                expires_at: START + 1_000,
                terms: own("terms"),
                body: own("body"),
                request: Vec::new(),
                delegable: false,
            }
            .into(),
        ),
    ];
    for (sender, message) in steps {
        let transaction = world.signed(sender, &[message]);
        assert_eq!(name_of(&world.send(transaction)), "ok");
    }
    let after = world.state();
    after.into_iter().filter(|(key, value)| before.get(key) != Some(value)).collect()
}

/// Every 20 consecutive bytes: no address, id, key or commitment is shorter.
fn windows(state: &State) -> BTreeSet<Vec<u8>> {
    let all = state.iter().flat_map(|(key, value)| [key.clone(), value.clone()]);
    all.flat_map(|bytes| bytes.windows(Address::LENGTH).map(<[u8]>::to_vec).collect::<Vec<_>>()).collect()
}

#[test]
fn two_organizations_share_no_value_about_one_person() {
    let mut world = familiar();
    // A grantee that both views name is known to both organizations anyway.
    let at_lab = live(&mut world, "lab", "payer");
    let at_chemist = live(&mut world, "chemist", "clinic");
    // The parameters count accounts and are of no person.
    let registrars = windows(&[(b"parameters".to_vec(), world.state()[b"parameters".as_slice()].clone())].into());
    let shared: Vec<_> = windows(&at_lab)
        .intersection(&windows(&at_chemist))
        .filter(|value| !registrars.contains(*value))
        .map(|value| value.escape_ascii().to_string())
        .collect();
    assert!(shared.is_empty(), "shared: {shared:?}");
}

/// Places at which a value of these bytes could stand: each length-delimited field, and those within.
fn places(bytes: &[u8], at: usize, depth: usize, found: &mut Vec<(usize, usize)>) {
    use prost::encoding::{WireType, decode_key, decode_varint};
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok((_, wire)) = decode_key(&mut rest) else { return };
        let before = bytes.len() - rest.len();
        let Ok(number) = decode_varint(&mut rest) else { return };
        if wire != WireType::LengthDelimited {
            continue;
        }
        let start = bytes.len() - rest.len();
        let Some((field, after)) = rest.split_at_checked(number as usize) else { return };
        found.push((at + before, at + start + field.len()));
        if depth > 0 {
            places(field, at + start, depth - 1, found);
        }
        rest = after;
    }
}

/// No transaction has a field that would carry a sentence: whichever is given one, it is refused for
/// its form, before anything is asked of the state.
#[test]
fn no_field_of_any_transaction_takes_a_text() {
    let text = b"Alice Example, born 1980-02-30, diagnosed with something nobody else should know.";
    let field = [&[u8::try_from(text.len()).expect("a short text")], text.as_slice()].concat();
    let (mut tried, mut parsed) = (0, 0);
    for (line, sender) in crate::matrix::every_transaction() {
        let mut world = familiar();
        assert!(run(&mut world, crate::matrix::BEFORE).iter().all(|answer| *answer == "ok"));
        let any = message(&world, None, sender, &line).to_any();
        let mut found = Vec::new();
        places(&any.value, 0, 1, &mut found);
        for (start, end) in found {
            let mut value = any.value.clone();
            value.splice(start..end, field.iter().copied());
            let altered = prost_types::Any { type_url: any.type_url.clone(), value };
            tried += 1;
            // Most nested messages are none any more; what is one must be refused as itself.
            let Ok(altered) = Message::decode(&altered) else { continue };
            parsed += 1;
            let transaction = world.signed(sender, &[altered]);
            let answer = name_of(&world.send(transaction));
            assert!(["InvalidField", "Malformed"].contains(&answer), "{line}, bytes {start} to {end}: {answer}");
        }
    }
    assert!(tried > 150 && parsed > 130, "{tried} fields, {parsed} of them in messages");
}

#[test]
fn a_year_of_everything_joins_no_two_views_of_a_person() {
    for (view, own) in entries_of_views(year().pairs()) {
        assert!(own.len() > 100, "{} lives through a year: {}", view.claimant(), own.len());
    }
    assert_eq!(joined(year().pairs()), [""; 0]);
}

/// The scan above finds what it looks for, wherever it stands.
#[test]
fn whatever_joins_two_views_of_a_person_is_found() {
    let [first, second, ..] = View::all()[..] else { panic!("views") };
    assert_eq!(first.person, second.person);
    let pairs = year().pairs();
    let both = [subject(&first.claimant()).to_vec(), subject(&second.claimant()).to_vec()].concat();
    let grant = |view: &View| grant_path(&view.claimant(), &view.own("grant", 3));
    let claim =
        |view: &View| keys::eligibility(&address("payer"), &ClaimId::new(bytes(&view.own("claim", 3)))).into_bytes();
    let guardians = |view: &View| keys::guardians(&address(&view.claimant())).into_bytes();
    let with = |changes: &[(Vec<u8>, Vec<u8>)]| {
        let mut state = pairs.clone();
        state.extend(changes.iter().cloned());
        state
    };
    let appended = |path: Vec<u8>, bytes: &[u8]| {
        let value = [pairs[&path].as_slice(), bytes].concat();
        (path, value)
    };
    // A friend who restores both accounts by one of their own, a commitment made once for both, a key
    // of both, and one value that names both.
    let friend = address("friend").to_vec();
    let leaks = [
        with(&[(b"joined".to_vec(), both)]),
        with(&[appended(guardians(&first), &friend), appended(guardians(&second), &friend)]),
        with(&[appended(grant(&first), &[0xab; 20]), appended(grant(&second), &[0xab; 20])]),
        with(&[(grant(&second), pairs[&grant(&first)].clone())]),
        // What an insurer is told of two claims.
        with(&[appended(claim(&first), &[0xcd; 20]), appended(claim(&second), &[0xcd; 20])]),
    ];
    for (number, state) in leaks.iter().enumerate() {
        assert!(!joined(state).is_empty(), "leak {number} is not found");
    }
}

/// Areas whose values say that something is open, asked, or happened. None says that something is
/// denied: a request that the patient refuses looks like one that waits.
const AREAS: [&str; 40] = [
    "access-log",
    "access-log-batch",
    "access-log-dispute",
    "access-log-tree",
    "account",
    "account-key",
    "attestation-leaf",
    "attestation-node",
    "attestation-root",
    "attestation-tree",
    "batch",
    "chain",
    "consent",
    "countersignature",
    "delegation",
    "eligibility",
    "emergency",
    "emergency-reviews",
    "enrolment-leaf",
    "enrolment-node",
    "enrolment-root",
    "enrolment-tree",
    "guardians",
    "guardianship",
    "nullifier",
    "organization",
    "parameters",
    "plan",
    "practitioner",
    "proposal",
    "record",
    "recovery",
    "registration",
    "request",
    "standing",
    "subject",
    "unordered",
    "upgrade",
    "validator",
    "verifying-key",
];

#[test]
fn a_year_of_everything_leaves_no_denial_and_no_text() {
    let mut seen = BTreeSet::new();
    for (key, value) in year().pairs() {
        let area = key.split(|byte| *byte == b'/').next().expect("an area");
        let area = String::from_utf8(area.to_vec()).expect("an area is ASCII");
        assert!(AREAS.contains(&area.as_str()), "{area}");
        // These two are of the chain, from its genesis.
        if !["chain", "verifying-key"].contains(&area.as_str()) {
            assert!(is_of_fixed_shape(value), "{area}: {}", hex::encode(value));
        }
        seen.insert(area);
    }
    assert_eq!(seen.len(), AREAS.len(), "the year writes to every area: {seen:?}");
    for view in View::all() {
        for month in 0..MONTHS {
            let refused = RequestId::new(bytes(&view.own("asked", month)));
            let request = year().get(&keys::request(&refused)).expect("the request");
            assert!(request.grant.is_empty(), "nothing tells a refusal from silence");
        }
    }
}
