//! The first state of a chain that continues another: what `careledgerd export` printed of that one.
//!
//! The genesis file holds it, or names it where it does not fit: then the pairs come from whoever calls
//! [`super::first_state`], which reads a file that each operator has.
//!
//! The pairs must have the root that the export names, which validators of the earlier chain signed
//! in the header after it; whoever wants to know where the new chain comes from compares that root.
//! Each pair must be one that the ledger writes (a key of a known area, a value that decodes and has one
//! encoding), accounts, registrars, keys and upgrades must fit together, and nothing else is checked: ids
//! inside of values and the export's height and time are believed with the root, which is why every
//! operator compares all three with the chain that ended. What the new chain changes is its id and genesis time, and
//! where the genesis file says so, validators and bounds of evidence.

mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use careledger_wire::{
    ids::{Address, ValidatorKey},
    proto::state::{Account, AccountRole, Chain, Validator, VerifyingKey},
    signing::PublicKey,
};
use careledger_zk::key;
use serde::{Deserialize, Serialize};

use text::Printed;
pub use text::origin_of;
pub(super) use text::{Read, of_app_state};

use super::{Consensus, GenesisError, is_development_chain};
use crate::{
    accounts, governance, keys,
    limits::{CHAIN_ID_BYTES_MAX, REGISTRARS_MAX, VALIDATOR_POWER_MAX, VALIDATORS_KNOWN_MAX, VALIDATORS_MAX},
    state::{Changes, Overlay, StateRead, StateWrite},
    store::tree::Tree,
    upgrade,
};

/// Everything below `account`.
const ACCOUNTS: &[u8] = b"account/";
/// Everything below `verifying-key`.
const VERIFYING_KEYS: &[u8] = b"verifying-key/";

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Which state a chain continues with: everything that an export says besides the pairs, to which `app_hash` commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The chain's id.
    pub chain_id: String,
    /// Height of its last block.
    pub height: u64,
    /// Time of that block, Unix seconds.
    pub time: i64,
    /// Root of the state, hexadecimal.
    pub app_hash: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain_id, height, time, app_hash } = self;
        write!(formatter, "{chain_id}, height {height}, time {time}, app_hash {app_hash}")
    }
}

/// A committed state as `careledgerd export` prints it. Each pair is one that a ledger could have written, and they
/// are in key order; whether they are the state that `origin` names, [`Exported::check`] says.
///
/// Reading takes the memory of the state, not of its text: pairs are decoded one by one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Printed")]
pub struct Exported {
    /// Where it is from.
    pub origin: Origin,
    state: State,
}

/// `app_state` of a chain that continues another: the export, with its pairs or without them.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Continues<'a> {
    /// All of it is in the genesis file.
    Inside(&'a Exported),
    /// The pairs are in a file that every operator has: a frame of ABCI does not hold them.
    Beside(&'a Origin),
}

/// `app_state` of this form, to be written.
#[derive(Debug, Serialize)]
pub struct AppState<'a> {
    /// The state that it continues with.
    pub continues: Continues<'a>,
}

/// Why no chain can continue with an exported state. Pairs are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContinuedError {
    /// Not the JSON that `careledgerd export` prints, or a pair that no ledger wrote.
    #[error("not an exported state: {0}")]
    Json(String),
    /// The pairs are not those that were exported.
    #[error("app_hash says {app_hash}, the pairs have the root {root}: a pair was changed, added or lost")]
    Root {
        /// As the export says.
        app_hash: String,
        /// As its pairs have it.
        root: String,
    },
    /// Pairs that cannot stand together.
    #[error("{0}: {1}")]
    State(String, &'static str),
    /// The same id would let transactions of the earlier chain happen again.
    #[error("chain_id {0} is that of the chain that is continued; the new chain needs one of its own")]
    SameChainId(String),
    /// Heights in the state would mean other blocks.
    #[error("initial_height must be {0}, the height after the exported one")]
    InitialHeight(u64),
    /// Time would go back.
    #[error("genesis_time is before {0} (Unix seconds), the time of the exported state")]
    Time(i64),
    /// The genesis file names a state that is not in it, and that could not be read elsewhere.
    #[error("the genesis file does not hold the state that it names ({0}), and {1}")]
    NotHere(Box<Origin>, String),
    /// What was read is another state than the one that the genesis file names.
    #[error("the genesis file names the state of {0}; the export beside it is that of {1}: put the right one there")]
    Another(Box<Origin>, Box<Origin>),
}

impl Exported {
    /// For who has nothing beside the genesis file.
    pub fn not_beside(origin: &Origin) -> Result<Self, ContinuedError> {
        let reason = "only careledgerd under CometBFT reads one that is beside it";
        Err(ContinuedError::NotHere(Box::new(origin.clone()), reason.to_owned()))
    }

    /// The pairs.
    pub fn state(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.state
    }

    /// Bytes that the pairs have as JSON: what a genesis file has to hold.
    pub fn pairs_bytes(&self) -> usize {
        // Two digits for a byte; brackets, quotation marks and commas.
        self.state.iter().map(|(key, value)| 2 * (key.len() + value.len()) + r#"["",""],"#.len()).sum()
    }

    /// Whether the pairs are a whole state with the root that the export names.
    pub fn check(&self) -> Result<(), ContinuedError> {
        let state = &self.state;
        let root = hex::encode(Tree::of(state.iter().map(|(key, value)| (key.clone(), value.clone()))).root());
        if root != self.origin.app_hash {
            return Err(ContinuedError::Root { app_hash: self.origin.app_hash.clone(), root });
        }
        self.check_chain_and_parameters()?;
        check_accounts(state)
    }

    fn check_chain_and_parameters(&self) -> Result<(), ContinuedError> {
        let state = &self.state;
        let wrong = |place: &str, what| Err(ContinuedError::State(place.to_owned(), what));
        if StateRead::get(state, &keys::chain()).is_none_or(|chain| chain.chain_id != self.origin.chain_id) {
            return wrong("chain", "it is not the chain that chain_id names");
        }
        let Some(parameters) = StateRead::get(state, &keys::parameters()) else {
            return wrong("parameters", "there are none");
        };
        let registrars = &parameters.registrars;
        let addresses: Vec<Address> =
            registrars.iter().filter_map(|bytes| Address::try_from(bytes.as_slice()).ok()).collect();
        let is_known = |registrar: &Address| accounts::role(registrar, state) == AccountRole::Registrar;
        let are_registrars = addresses.len() == registrars.len()
            && (1..=REGISTRARS_MAX).contains(&registrars.len())
            && addresses.is_sorted_by(|one, next| one < next)
            && addresses.iter().all(is_known)
            && (1..=registrars.len()).contains(&(parameters.registrar_threshold as usize));
        if !are_registrars {
            return wrong("parameters", "the registrars or their threshold cannot decide anything");
        }
        if !(1..=upgrade::NEWEST).contains(&governance::state_version(state)) {
            return wrong("parameters", "this program does not know the format of the state");
        }
        let scheduled = governance::of(state);
        if scheduled.upgrade_version != 0 && scheduled.upgrade_height <= self.origin.height {
            return wrong("parameters", "an upgrade was due before the exported height and was not made");
        }
        Ok(())
    }

    /// The first state of the chain that continues with this one.
    pub fn changes(self, chain_id: &str, time: i64, consensus: &Consensus) -> Result<Changes, GenesisError> {
        if !(1..=CHAIN_ID_BYTES_MAX).contains(&chain_id.len()) {
            return Err(GenesisError::ChainId);
        }
        let origin = &self.origin;
        if chain_id == origin.chain_id {
            return Err(ContinuedError::SameChainId(chain_id.to_owned()).into());
        }
        let initial_height = origin.height.saturating_add(1);
        if consensus.initial_height != initial_height {
            return Err(ContinuedError::InitialHeight(initial_height).into());
        }
        if time < origin.time {
            return Err(ContinuedError::Time(origin.time).into());
        }
        self.check()?;
        check_verifying_keys(chain_id, &self.state)?;
        let nothing = State::new();
        let pairs = self.state.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let mut state = Overlay::with_changes(&nothing, pairs);
        state.put(&keys::chain(), &Chain { chain_id: chain_id.to_owned(), genesis_time: time, initial_height });
        put_validators(&consensus.validators, initial_height, &mut state)?;
        if let Some(evidence) = &consensus.evidence {
            governance::change(&mut state, |_, governance| {
                governance.evidence_age_blocks = evidence.age_blocks;
                governance.evidence_age_seconds = evidence.age_seconds;
                governance.evidence_bytes = evidence.bytes;
            });
        }
        Ok(state.into_changes())
    }
}

/// Pairs below a prefix.
fn below<'a>(state: &'a State, prefix: &'static [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let pairs = state.range(prefix.to_vec()..).take_while(move |(path, _)| path.starts_with(prefix));
    pairs.map(|(path, value)| (path.as_slice(), value.as_slice()))
}

/// Every account has a role, a number of its own and keys that are keys; every organization an account.
fn check_accounts(state: &State) -> Result<(), ContinuedError> {
    let next = accounts::parameters(state).next_account_number;
    let mut numbers = BTreeSet::new();
    for (path, value) in below(state, ACCOUNTS) {
        let wrong = |what| Err(ContinuedError::State(path.escape_ascii().to_string(), what));
        let account: Account = prost::Message::decode(value).expect("each pair was checked");
        if account.role() == AccountRole::Unspecified {
            return wrong("the account has no role");
        }
        if account.number >= next || !numbers.insert(account.number) {
            return wrong("the account's number is another's, or was never given");
        }
        let are_keys = accounts::keys_of(&account).iter().all(|key| PublicKey::new(key.kind(), &key.key).is_some());
        if !are_keys {
            return wrong("a key of the account is none");
        }
    }
    for (path, _) in below(state, keys::ORGANIZATIONS) {
        let address = path.strip_prefix(keys::ORGANIZATIONS).and_then(|bytes| Address::try_from(bytes).ok());
        let role = address.map(|address| accounts::role(&address, state));
        if role != Some(AccountRole::Organization) {
            return Err(ContinuedError::State(path.escape_ascii().to_string(), "the organization has no account"));
        }
    }
    Ok(())
}

fn check_verifying_keys(chain_id: &str, state: &State) -> Result<(), GenesisError> {
    for (number, (_, value)) in below(state, VERIFYING_KEYS).enumerate() {
        let stored: VerifyingKey = prost::Message::decode(value).expect("each pair was checked");
        let key = key::VerifyingKey::decode(&stored.key)
            .map_err(|error| GenesisError::VerifyingKey(number, error.to_string()))?;
        if key.is_development() && !is_development_chain(chain_id) {
            return Err(GenesisError::DevelopmentKey(number));
        }
    }
    Ok(())
}

/// Gives power to those that the genesis file names and takes it from the others, from `height` on; what they
/// did stays known.
fn put_validators(
    validators: &[(ValidatorKey, u64)],
    height: u64,
    state: &mut impl StateWrite,
) -> Result<(), GenesisError> {
    let named: BTreeMap<ValidatorKey, u64> = validators.iter().copied().collect();
    let have_power = named.values().all(|power| (1..=VALIDATOR_POWER_MAX).contains(power));
    let mut known: BTreeMap<ValidatorKey, Validator> = governance::validators(state).into_iter().collect();
    for key in named.keys() {
        known.entry(*key).or_default();
    }
    let few = named.len() <= VALIDATORS_MAX && known.len() <= VALIDATORS_KNOWN_MAX;
    if named.len() != validators.len() || !have_power || !few {
        return Err(GenesisError::Validators);
    }
    for (key, validator) in known {
        let power = named.get(&key).copied().unwrap_or_default();
        let removed_height = match validator.removed_height {
            _ if power > 0 => 0,
            0 => height,
            known => known,
        };
        state.put(&keys::validator(&key), &Validator { power, removed_height, ..validator });
    }
    Ok(())
}
