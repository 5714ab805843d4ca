//! The ledger's state against the model's.

use super::{
    network::{Network, Violation},
    script::Actor,
    sending::id,
};
use crate::{keys, state::StateRead as _};

impl Network {
    /// What the ledger holds is what the model holds.
    pub(super) fn compare_states(&self) -> Result<(), Violation> {
        let state = self.replicas[0].machine.store();
        let mut wrong = Vec::new();
        for (actor, account) in &self.model.accounts {
            let found = state.get(&keys::account(&self.signers[actor].address()));
            if found.as_ref().map(|found| (found.number, found.sequence)) != Some((account.number, account.sequence)) {
                wrong.push(format!("account of {actor}: {found:?}, expected {account:?}"));
            }
        }
        for (subject, is_claimed) in &self.model.subjects {
            let found = state.get(&keys::subject(&self.subject(*subject)));
            if found.map(|found| !found.encryption_key.is_empty()) != Some(*is_claimed) {
                wrong.push(format!("{subject:?}: claimed should be {is_claimed}"));
            }
        }
        for ((subject, grant), is_revoked) in &self.model.grants {
            let key = id("grant", *grant).as_slice().try_into().expect("an id has 32 bytes");
            let found = state.get(&keys::consent(&self.subject(*subject), &key));
            if found.map(|found| found.revoked_at != 0) != Some(*is_revoked) {
                wrong.push(format!("grant {grant} of {subject:?}: revoked should be {is_revoked}"));
            }
        }
        for ((organization, record), (version, marked)) in &self.model.records {
            let key = id("record", *record).as_slice().try_into().expect("an id has 32 bytes");
            let found = state.get(&keys::record(&self.signers[&Actor::Organization(*organization)].address(), &key));
            let expected = (u32::from(*version), u32::from(*marked));
            if found.map(|found| (found.version, found.entered_in_error)) != Some(expected) {
                wrong.push(format!("record {record} of organization-{organization}: should be {expected:?}"));
            }
        }
        match wrong.into_iter().next() {
            Some(wrong) => self.broken("the ledger holds what the model holds", wrong),
            None => Ok(()),
        }
    }
}
