//! Upgrades: changes of the state's format at a height that the registrars agreed on.
//!
//! A program has the rules of every format that it knows and follows the one that the state says,
//! so it may be installed long before the height. Where a height comes whose upgrade a program
//! does not know, it stops before the block.

use careledger_wire::proto::state::Upgrade as Made;

use crate::{
    access_log_tree, governance, keys, openers,
    state::{Changes, StateRead, StateWrite},
    subject_counts,
    types::BlockContext,
};

/// A change of the state's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    /// The format after it.
    pub version: u32,
    /// What it brings, for people.
    pub name: &'static str,
    /// What it does to the state.
    pub migration: Migration,
}

/// What an upgrade does to the state, once, before the transactions of its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// Makes the Merkle log over the batches that each organization anchored before.
    AccessLogTrees,
    /// Counts the grants and emergencies of each subject.
    SubjectCounts,
    /// Notes of each removed validator since when.
    RemovedValidators,
    /// Notes of each account which organization opened it.
    Openers,
}

/// Every upgrade that this program knows, in order.
pub const TABLE: &[Upgrade] = &[
    Upgrade { version: 2, name: "access-log-trees", migration: Migration::AccessLogTrees },
    Upgrade { version: 3, name: "subject-counts", migration: Migration::SubjectCounts },
    Upgrade { version: 4, name: "keys-own-their-addresses", migration: Migration::RemovedValidators },
    Upgrade { version: 5, name: "words-in-standing", migration: Migration::Openers },
];

/// The newest format that this program knows. A new chain begins with it.
pub const NEWEST: u32 = 1 + TABLE.len() as u32;

/// An upgrade that is due at a height and that a program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("upgrade {version} is due at height {height}: install a program that knows it and start again")]
pub struct UnknownUpgrade {
    /// The format after it.
    pub version: u32,
    /// The first height that follows its rules.
    pub height: u64,
}

/// The upgrade that comes before the transactions of `height`, from `table`.
pub fn due<'a>(
    table: &'a [Upgrade],
    height: u64,
    state: &impl StateRead,
) -> Result<Option<&'a Upgrade>, UnknownUpgrade> {
    let Some(parameters) = state.get(&keys::parameters()) else { return Ok(None) };
    let governance = parameters.governance.unwrap_or_default();
    // A program that is older than the state would follow rules that no longer hold.
    if governance.state_version as usize > 1 + table.len() {
        return Err(UnknownUpgrade { version: governance.state_version, height });
    }
    if governance.upgrade_version == 0 || governance.upgrade_height != height {
        return Ok(None);
    }
    let version = governance.upgrade_version;
    let known = table.iter().find(|upgrade| upgrade.version == version);
    known.map(Some).ok_or(UnknownUpgrade { version, height })
}

/// Whether a block's changes are those of a block that came with an upgrade.
pub fn is_made_in(changes: &Changes) -> bool {
    let first = changes.range(keys::UPGRADES.to_vec()..).next();
    first.is_some_and(|(key, _)| key.starts_with(keys::UPGRADES))
}

impl Upgrade {
    /// Migrates the state and notes that this was done.
    pub fn run(&self, block: &BlockContext, state: &mut impl StateWrite) {
        match self.migration {
            Migration::AccessLogTrees => access_log_tree::migrate(state),
            Migration::SubjectCounts => subject_counts::migrate(state),
            Migration::RemovedValidators => governance::note_removed(block.height, state),
            Migration::Openers => openers::migrate(state),
        }
        governance::change(state, |_, governance| {
            governance.state_version = self.version;
            (governance.upgrade_version, governance.upgrade_height) = (0, 0);
        });
        state.put(&keys::upgrade(self.version), &Made { height: block.height, time: block.time });
    }
}

#[cfg(test)]
mod tests {
    use careledger_wire::proto::state::{Governance, Parameters};
    use prost::Message as _;

    use super::*;
    use crate::proofs::ProofVerifier;

    /// By it the store knows what no transaction changed.
    #[test]
    fn the_block_of_every_upgrade_is_told_from_others() {
        let verifier = ProofVerifier::default();
        let block = BlockContext { chain_id: "careledger-dev-1", height: 7, time: 9, time_max: 9, verifier: &verifier };
        let mut before = std::collections::BTreeMap::new();
        before.insert(keys::parameters().into_bytes(), Parameters::default().encode_to_vec());
        for upgrade in TABLE {
            let mut state = crate::state::Overlay::new(&before);
            state.put(&keys::parameters(), &Parameters { next_account_number: 1, ..Parameters::default() });
            assert!(!is_made_in(&state.into_changes()));
            let mut state = crate::state::Overlay::new(&before);
            upgrade.run(&block, &mut state);
            assert!(is_made_in(&state.into_changes()), "{}", upgrade.name);
        }
    }

    #[test]
    fn a_program_that_is_older_than_the_state_does_not_go_on_with_it() {
        let none = std::collections::BTreeMap::new();
        let all = TABLE.len();
        for (version, known, is_refused) in
            [(1, 0, false), (2, 0, true), (2, 1, false), (NEWEST, all - 1, true), (NEWEST, all, false)]
        {
            let mut state = crate::state::Overlay::new(&none);
            let governance = Some(Governance { state_version: version, ..Governance::default() });
            state.put(&keys::parameters(), &Parameters { governance, ..Parameters::default() });
            assert_eq!(due(&TABLE[..known], 7, &state).is_err(), is_refused, "{version} {known}");
        }
    }
}
