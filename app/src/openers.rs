//! Which organization opened an account: what such accounts pay for counts for it, too.
//!
//! An organization opens as many accounts as it likes, and each had a quota of its own: one organization's key could fill
//! every block, and suspending it ended nothing.

use std::collections::BTreeMap;

use careledger_wire::{
    ids::Address,
    proto::state::{Account, AccountRole, Guardianship, Practitioner, Subject},
};
use prost::Message as _;

use crate::{
    governance, keys,
    state::{StateRead, StateWrite},
};

/// The format of the state from which on accounts say who opened them.
const NOTED_SINCE: u32 = 5;

/// Pairs that the migration looks at together.
const PAGE: usize = 1_000;

/// Whether accounts say who opened them.
pub fn are_noted(state: &impl StateRead) -> bool {
    governance::state_version(state) >= NOTED_SINCE
}

/// The organization that opened an account, where it is noted.
pub fn of(account: &Account) -> Option<Address> {
    Address::try_from(account.opened_by.as_slice()).ok()
}

/// Notes it of patients, guardians, and practitioners whom one organization alone enrolled. Which of several was first is
/// not known any more: the practitioner's own word says it, with the next enrolment.
pub fn migrate(state: &mut impl StateWrite) {
    each(keys::SUBJECTS, state, |_, value, state| {
        let subject = Subject::decode(value).expect("state holds only what a typed key wrote");
        note(&subject.claimant, AccountRole::Claimant, &subject.organization, state);
    });
    each(keys::GUARDIANSHIPS, state, |path, value, state| {
        let guardianship = Guardianship::decode(value).expect("state holds only what a typed key wrote");
        let (subject, guardian) = keys::guardianship_of(path).expect("guardianship paths name both");
        if guardianship.until != 0 {
            let subject = state.get(&keys::subject(&subject)).expect("a guardian was appointed of it");
            note(guardian.as_bytes(), AccountRole::Guardian, &subject.organization, state);
        }
    });
    let mut enrolled: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    each(keys::PRACTITIONERS, state, |path, value, _| {
        let enrolment = Practitioner::decode(value).expect("state holds only what a typed key wrote");
        let practitioner = path[path.len() - Address::LENGTH..].to_vec();
        let organization = Some(enrolment.organization);
        enrolled.entry(practitioner).and_modify(|first| *first = None).or_insert(organization);
    });
    for (practitioner, organization) in enrolled {
        if let Some(organization) = organization {
            note(&practitioner, AccountRole::Practitioner, &organization, state);
        }
    }
}

fn note(account: &[u8], role: AccountRole, organization: &[u8], state: &mut impl StateWrite) {
    let address = Address::try_from(account).expect("the ledger keeps addresses here");
    let path = keys::account(&address);
    let Some(mut account) = state.get(&path).filter(|account| account.role() == role) else { return };
    // One whose key said where it wants to be may have been opened elsewhere before.
    account.opened_by = if account.bound_to.is_empty() { organization.to_vec() } else { account.bound_to.clone() };
    state.put(&path, &account);
}

fn each<S: StateWrite>(area: &[u8], state: &mut S, mut visit: impl FnMut(&[u8], &[u8], &mut S)) {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = state.scan(area, after.as_deref(), PAGE);
        for (path, value) in &page {
            visit(path, value, state);
        }
        match page.into_iter().next_back() {
            Some((path, _)) => after = Some(path),
            None => return,
        }
    }
}
