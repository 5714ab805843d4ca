//! What the chain tells of a patient: nothing that joins two organizations' views of one person.

use std::collections::BTreeSet;

use careledger_wire::{
    ids::Address,
    message::Message,
    proto::{
        consent::{ConsentMode, MsgGrantConsent},
        identity::{MsgClaimSubject, MsgOpenSubject},
        records::{Anchor, MsgAnchorRecords},
    },
};

use crate::{
    script::{familiar, subject},
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

/// State is found by area and raw identifiers only, and every value has a fixed shape: no text.
#[test]
fn no_name_can_stand_in_the_state() {
    let mut world = familiar();
    live(&mut world, "lab", "payer");
    let canary = b"alice";
    for (key, value) in world.state() {
        for bytes in [&key, &value] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary), "{}", key.escape_ascii());
        }
    }
}
