//! Every area of the state at once: which paths it has and which type is at them.
//!
//! The functions of [`super`] make a path that is right; this reads one that a stranger gave.

use careledger_wire::{
    ids::{
        Address, CircuitId, ClaimId, Digest, EmergencyId, FieldBytes, GrantId, ProposalId, RecordId, RequestId,
        StandingId, SubjectId, TransactionHash, ValidatorKey,
    },
    proto::state,
};

use super::Value;

/// Why a pair can be in no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAPair {
    /// Nothing begins like this.
    #[error("no area of the state has this name")]
    Area,
    /// The area's paths have other parts.
    #[error("the path does not have the parts of its area")]
    Path,
    /// Another type, a field that it does not have, or bytes that only decode to it.
    #[error("the value is not one that the ledger writes at this path")]
    Value,
}

struct Area {
    name: &'static str,
    /// Bytes of each part after the name.
    parts: &'static [usize],
    /// The value, decoded and encoded again.
    again: fn(&[u8]) -> Option<Vec<u8>>,
}

const fn area<V: Value>(name: &'static str, parts: &'static [usize]) -> Area {
    Area { name, parts, again: |bytes| V::decode(bytes).ok().map(|value| value.encode_to_vec()) }
}

const ADDRESS: usize = Address::LENGTH;
const SUBJECT: usize = SubjectId::LENGTH;
const FIELD: usize = FieldBytes::LENGTH;
const DIGEST: usize = Digest::LENGTH;
/// A number of 64 bits, big-endian.
const NUMBER: usize = 8;
/// A level and an index.
const NODE: usize = 1 + NUMBER;

const AREAS: &[Area] = &[
    area::<state::Chain>("chain", &[]),
    area::<state::Parameters>("parameters", &[]),
    area::<state::Account>("account", &[ADDRESS]),
    area::<state::OpenedQuota>("opened-quota", &[ADDRESS]),
    area::<state::KeyOwner>("account-key", &[ADDRESS]),
    area::<state::Guardians>("guardians", &[ADDRESS]),
    area::<state::Recovery>("recovery", &[ADDRESS, ADDRESS]),
    area::<state::Registration>("registration", &[DIGEST]),
    area::<state::Organization>("organization", &[ADDRESS]),
    area::<state::Practitioner>("practitioner", &[ADDRESS, ADDRESS]),
    area::<state::Subject>("subject", &[SUBJECT]),
    area::<state::AccessRequest>("request", &[RequestId::LENGTH]),
    area::<state::Grant>("consent", &[SUBJECT, GrantId::LENGTH]),
    area::<state::Record>("record", &[ADDRESS, RecordId::LENGTH]),
    area::<state::AccessLog>("access-log", &[ADDRESS]),
    area::<state::AccessLogBatch>("access-log-batch", &[ADDRESS, NUMBER]),
    area::<state::Plan>("plan", &[FIELD]),
    area::<state::Tree>("attestation-tree", &[]),
    area::<Vec<u8>>("attestation-node", &[NODE]),
    area::<state::Leaf>("attestation-leaf", &[FIELD]),
    area::<state::Root>("attestation-root", &[FIELD]),
    area::<state::Tree>("enrolment-tree", &[ADDRESS]),
    area::<Vec<u8>>("enrolment-node", &[ADDRESS, NODE]),
    area::<state::Leaf>("enrolment-leaf", &[ADDRESS, FIELD]),
    area::<state::Root>("enrolment-root", &[ADDRESS, FIELD]),
    area::<state::Nullifier>("nullifier", &[FIELD]),
    area::<state::Eligibility>("eligibility", &[ADDRESS, ClaimId::LENGTH]),
    area::<state::VerifyingKey>("verifying-key", &[CircuitId::LENGTH]),
    area::<state::Delegations>("delegation", &[SUBJECT, GrantId::LENGTH]),
    area::<state::Guardianship>("guardianship", &[SUBJECT, ADDRESS]),
    area::<state::Emergency>("emergency", &[SUBJECT, EmergencyId::LENGTH]),
    area::<state::EmergencyReviews>("emergency-reviews", &[ADDRESS]),
    area::<state::StandingApproval>("standing", &[SUBJECT, StandingId::LENGTH]),
    area::<state::Executed>("unordered", &[NUMBER, TransactionHash::LENGTH]),
    area::<state::Proposal>("proposal", &[ProposalId::LENGTH]),
    area::<state::Validator>("validator", &[ValidatorKey::LENGTH]),
    area::<state::Upgrade>("upgrade", &[4]),
    area::<state::AccessLogTree>("access-log-tree", &[ADDRESS]),
    area::<state::Batch>("batch", &[ADDRESS, DIGEST]),
    area::<state::Countersignature>("countersignature", &[ADDRESS, RecordId::LENGTH, ADDRESS]),
    area::<state::AccessDispute>("access-log-dispute", &[SUBJECT, DIGEST]),
];

/// Whether the ledger could have written this pair, as far as one pair says.
pub fn check(path: &[u8], value: &[u8]) -> Result<(), NotAPair> {
    let name = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    let area = AREAS.iter().find(|area| area.name.as_bytes() == name).ok_or(NotAPair::Area)?;
    let mut rest = &path[name.len()..];
    for part in area.parts {
        let after = rest.strip_prefix(b"/").and_then(|rest| rest.get(*part..));
        rest = after.ok_or(NotAPair::Path)?;
    }
    if !rest.is_empty() {
        return Err(NotAPair::Path);
    }
    // Before format 4 a removed validator without an offence was written as nothing.
    let may_be_empty = area.name == "validator";
    let is_canonical = (may_be_empty || !value.is_empty()) && (area.again)(value).is_some_and(|again| again == value);
    if is_canonical { Ok(()) } else { Err(NotAPair::Value) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What stands between `Key::new("` and the next quotation mark in the sources of the paths.
    fn named_in_the_sources() -> BTreeSet<String> {
        let source = include_str!("../keys.rs");
        let plain = source.split("Key::new(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let kinds = source.split("self.key(\"").skip(1).filter_map(|rest| rest.split('"').next());
        let of_trees = kinds.flat_map(|kind| [format!("attestation-{kind}"), format!("enrolment-{kind}")]);
        plain.map(str::to_owned).chain(of_trees).collect()
    }

    #[test]
    fn every_path_that_can_be_made_is_in_the_table() {
        let table: BTreeSet<String> = AREAS.iter().map(|area| area.name.to_owned()).collect();
        assert_eq!(table, named_in_the_sources());
        assert_eq!(table.len(), AREAS.len(), "none is there twice");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(
            area in 0..AREAS.len(), path in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..120),
            value in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
        ) {
            let named = [AREAS[area].name.as_bytes(), b"/", &path].concat();
            for path in [named, path] {
                if check(&path, &value).is_ok() {
                    let area = AREAS.iter().find(|area| path.starts_with(area.name.as_bytes()));
                    proptest::prop_assert!(area.is_some() && !value.is_empty());
                }
            }
        }
    }

    #[test]
    fn what_no_ledger_wrote_is_told() {
        let address = [7; ADDRESS];
        let account = super::super::account(&Address::new(address));
        let value = state::Account { number: 1, ..state::Account::default() };
        let bytes = prost::Message::encode_to_vec(&value);
        assert_eq!(check(account.as_bytes(), &bytes), Ok(()));
        let path = |text: &[u8], parts: &[&[u8]]| [text, &parts.concat()].concat();
        let cases = [
            (path(b"accounts/", &[&address]), bytes.clone(), NotAPair::Area),
            (Vec::new(), bytes.clone(), NotAPair::Area),
            (path(b"account", &[&address]), bytes.clone(), NotAPair::Area),
            (path(b"account/", &[&address[1..]]), bytes.clone(), NotAPair::Path),
            (path(b"account/", &[&address, b"/"]), bytes.clone(), NotAPair::Path),
            (path(b"account", &[]), bytes.clone(), NotAPair::Path),
            (path(b"account/", &[&address]), Vec::new(), NotAPair::Value),
            (path(b"account/", &[&address]), vec![0xff], NotAPair::Value),
            // A field that the type does not have, and a default that is never written.
            (path(b"account/", &[&address]), [&bytes[..], &[0xf8, 1, 1]].concat(), NotAPair::Value),
            (path(b"account/", &[&address]), [&bytes[..], &[0x10, 0]].concat(), NotAPair::Value),
        ];
        for (path, value, expected) in cases {
            assert_eq!(check(&path, &value), Err(expected), "{}", path.escape_ascii());
        }
    }
}
