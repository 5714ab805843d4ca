//! What the registrars decide together, and what it changes of the ledger and of CometBFT.

use std::{collections::BTreeSet, ops::RangeInclusive};

use careledger_wire::{
    ids::{Address, ValidatorKey},
    proto::{
        governance::{Content, Parameter, content::Decision},
        state::{AccountRole, Governance, Parameters, Validator},
    },
};

use crate::{
    accounts, keys,
    limits::{
        BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, CLOCK_AHEAD_SECONDS_MAX, EVIDENCE_BYTES_MAX, PROPOSAL_SECONDS_MAX,
        REGISTRARS_MAX, UNORDERED_SECONDS_MAX, UPGRADE_BLOCKS_MAX, VALIDATOR_POWER_MAX, VALIDATORS_KNOWN_MAX,
        VALIDATORS_MAX,
    },
    reject::Reject,
    state::{Changes, StateRead, StateWrite},
    types::{BlockContext, ConsensusParameters, ConsensusUpdates, EvidenceParameters},
};

/// CometBFT's own defaults, where genesis said nothing.
const EVIDENCE_DEFAULT: EvidenceParameters =
    EvidenceParameters { age_blocks: 100_000, age_seconds: 172_800, bytes: EVIDENCE_BYTES_MAX as u64 };

/// A decision whose form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposed {
    /// The registrars from now on.
    Registrars {
        /// Ascending.
        registrars: Vec<Address>,
        /// How many must agree.
        threshold: u32,
    },
    /// A validator's power from now on.
    Validator {
        /// Its key.
        key: ValidatorKey,
        /// 0 removes it.
        power: u64,
    },
    /// A parameter's value from now on.
    Parameter {
        /// Which.
        parameter: Parameter,
        /// Within its range.
        value: u64,
    },
    /// An upgrade at a height.
    Upgrade {
        /// The format after it.
        version: u32,
        /// 0 calls it off.
        height: u64,
    },
}

/// What governance changed since genesis.
pub fn of(state: &impl StateRead) -> Governance {
    accounts::parameters(state).governance.unwrap_or_default()
}

/// Format of the state, from 1.
pub fn state_version(state: &impl StateRead) -> u32 {
    of(state).state_version.max(1)
}

/// Most bytes of transactions in a block.
pub fn block_bytes(state: &impl StateRead) -> usize {
    let voted = state.get(&keys::parameters()).and_then(|parameters| parameters.governance);
    match voted.map_or(0, |governance| governance.block_bytes) {
        0 => BLOCK_BYTES_MAX,
        bytes => usize::try_from(bytes).unwrap_or(BLOCK_BYTES_MAX).min(BLOCK_BYTES_MAX),
    }
}

/// CometBFT's bounds of evidence, as far as the state knows them.
pub fn evidence(state: &impl StateRead) -> EvidenceParameters {
    consensus_parameters(&of(state)).evidence.unwrap_or(EVIDENCE_DEFAULT)
}

/// Longest validity of an unordered transaction, seconds.
pub fn unordered_seconds(state: &impl StateRead) -> i64 {
    or_limit(of(state).unordered_seconds, UNORDERED_SECONDS_MAX)
}

/// How long a proposal can be voted on, seconds.
pub fn proposal_seconds(state: &impl StateRead) -> i64 {
    or_limit(of(state).proposal_seconds, PROPOSAL_SECONDS_MAX)
}

fn or_limit(voted: u64, limit: i64) -> i64 {
    match i64::try_from(voted) {
        Ok(1..) => voted.cast_signed().min(limit),
        _ => limit,
    }
}

/// Every validator that has power or had it, by key.
pub fn validators(state: &impl StateRead) -> Vec<(ValidatorKey, Validator)> {
    let pairs = state.scan(keys::VALIDATORS, None, VALIDATORS_KNOWN_MAX);
    let validator = |(path, value): (Vec<u8>, Vec<u8>)| {
        let key = keys::validator_key(&path).expect("validator paths end in a key");
        let value = prost::Message::decode(value.as_slice()).expect("state holds only what a typed key wrote");
        (key, value)
    };
    pairs.into_iter().map(validator).collect()
}

/// The values that a parameter can take.
pub fn range(parameter: Parameter) -> RangeInclusive<u64> {
    match parameter {
        Parameter::Unspecified => RangeInclusive::new(1, 0),
        Parameter::BlockBytes => BLOCK_BYTES_MIN as u64..=BLOCK_BYTES_MAX as u64,
        Parameter::EvidenceAgeBlocks => 1_000..=10_000_000,
        Parameter::EvidenceAgeSeconds => 3_600..=366 * 86_400,
        // Above what a fast clock may be ahead, or gateways would lock themselves out.
        Parameter::UnorderedSeconds => (CLOCK_AHEAD_SECONDS_MAX as u64 * 2)..=UNORDERED_SECONDS_MAX as u64,
        Parameter::OffencesTolerated => 0..=10,
        Parameter::ProposalSeconds => 3_600..=PROPOSAL_SECONDS_MAX as u64,
    }
}

impl Proposed {
    /// Shape and ranges.
    pub fn parse(content: Option<&Content>) -> Result<Self, Reject> {
        let invalid = |field| Err(Reject::InvalidField(field));
        match content.and_then(|content| content.decision.as_ref()) {
            None => invalid("content"),
            Some(Decision::Registrars(change)) => {
                let address = |bytes: &Vec<u8>| Address::try_from(bytes.as_slice());
                let Ok(registrars) = change.registrars.iter().map(address).collect::<Result<Vec<_>, _>>() else {
                    return invalid("registrars");
                };
                let ascending = registrars.windows(2).all(|pair| pair[0] < pair[1]);
                if !ascending || !(1..=REGISTRARS_MAX).contains(&registrars.len()) {
                    return invalid("registrars");
                }
                if !(1..=registrars.len()).contains(&(change.threshold as usize)) {
                    return invalid("threshold");
                }
                Ok(Self::Registrars { registrars, threshold: change.threshold })
            }
            Some(Decision::Validator(change)) => {
                let Ok(key) = ValidatorKey::try_from(change.public_key.as_slice()) else {
                    return invalid("public_key");
                };
                if change.power > VALIDATOR_POWER_MAX {
                    return invalid("power");
                }
                Ok(Self::Validator { key, power: change.power })
            }
            Some(Decision::Parameter(change)) => match change.parameter() {
                Parameter::Unspecified => invalid("parameter"),
                parameter if !range(parameter).contains(&change.value) => Err(Reject::ParameterOutOfRange),
                parameter => Ok(Self::Parameter { parameter, value: change.value }),
            },
            Some(Decision::Upgrade(upgrade)) if upgrade.version < 2 => invalid("version"),
            Some(Decision::Upgrade(upgrade)) => Ok(Self::Upgrade { version: upgrade.version, height: upgrade.height }),
        }
    }

    /// Whether it can take effect on this state.
    pub fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        match self {
            Self::Registrars { registrars, threshold } => check_registrars(registrars, *threshold, state),
            Self::Validator { key, power } => check_validator(key, *power, block, state),
            Self::Parameter { parameter, value } if current(*parameter, &of(state)) == *value => {
                Err(Reject::NothingChanges)
            }
            Self::Parameter { .. } => Ok(()),
            Self::Upgrade { version, height } => check_upgrade(*version, *height, block, state),
        }
    }

    /// Lets it take effect. Cannot fail where [`Self::check`] passed.
    pub fn apply(self, block: &BlockContext, state: &mut impl StateWrite) {
        match self {
            Self::Registrars { registrars, threshold } => {
                for registrar in &registrars {
                    accounts::open(registrar, AccountRole::Registrar, state);
                }
                change(state, |parameters, governance| {
                    parameters.registrars = registrars.iter().map(Address::to_vec).collect();
                    parameters.registrar_threshold = threshold;
                    governance.registrar_generation += 1;
                });
            }
            Self::Validator { key, power } => {
                let path = keys::validator(&key);
                let validator = with_power(state.get(&path).unwrap_or_default(), power, block.height, state);
                state.put(&path, &validator);
                change(state, |_, governance| governance.validators_changed_at = block.height);
            }
            Self::Parameter { parameter, value } => {
                change(state, |_, governance| set(parameter, value, governance));
            }
            Self::Upgrade { height: 0, .. } => change(state, |_, governance| {
                (governance.upgrade_version, governance.upgrade_height) = (0, 0);
            }),
            Self::Upgrade { version, height } => change(state, |_, governance| {
                (governance.upgrade_version, governance.upgrade_height) = (version, height);
            }),
        }
    }
}

/// The format of the state from which on a validator without power says since when: no value is empty.
pub const REMOVED_HEIGHT_SINCE: u32 = 4;

/// The validator with this power from the block of `height` on.
pub fn with_power(validator: Validator, power: u64, height: u64, state: &impl StateRead) -> Validator {
    let is_removed = power == 0 && state_version(state) >= REMOVED_HEIGHT_SINCE;
    Validator { power, removed_height: if is_removed { height } else { 0 }, ..validator }
}

/// Says of validators that were removed before that they are, at the latest, from `height` on.
pub fn note_removed(height: u64, state: &mut impl StateWrite) {
    for (key, validator) in validators(state) {
        if validator.power == 0 && validator.removed_height == 0 {
            state.put(&keys::validator(&key), &Validator { removed_height: height, ..validator });
        }
    }
}

/// Changes the parameters in one step.
pub fn change(state: &mut impl StateWrite, with: impl FnOnce(&mut Parameters, &mut Governance)) {
    let mut parameters = accounts::parameters(state);
    let mut governance = parameters.governance.unwrap_or_default();
    with(&mut parameters, &mut governance);
    parameters.governance = Some(governance);
    state.put(&keys::parameters(), &parameters);
}

fn check_registrars(registrars: &[Address], threshold: u32, state: &impl StateRead) -> Result<(), Reject> {
    let parameters = accounts::parameters(state);
    let current: BTreeSet<&[u8]> = parameters.registrars.iter().map(Vec::as_slice).collect();
    let next: BTreeSet<&[u8]> = registrars.iter().map(|registrar| registrar.as_bytes().as_slice()).collect();
    if current == next && parameters.registrar_threshold == threshold {
        return Err(Reject::NothingChanges);
    }
    let is_free = |registrar: &Address| {
        accounts::role(registrar, state) == AccountRole::Registrar || accounts::is_free(registrar, state)
    };
    if registrars.iter().all(is_free) { Ok(()) } else { Err(Reject::AddressInUse) }
}

/// One change a block, and the validators that keep their power can decide blocks by themselves,
/// before and after: they hold more than two thirds of the new power, so that the chain does not
/// stop where what is new is not there, and two thirds of the old, so that who trusts the old set
/// can follow (CometBFT's light clients need a third).
fn check_validator(key: &ValidatorKey, power: u64, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
    let known = validators(state);
    let current = known.iter().find(|(other, _)| other == key).map(|(_, validator)| validator.power);
    if current.unwrap_or_default() == power {
        return Err(if current.is_some() { Reject::NothingChanges } else { Reject::UnknownValidator });
    }
    if of(state).validators_changed_at == block.height {
        return Err(Reject::ValidatorsJustChanged);
    }
    let others = known.iter().filter(|(other, validator)| other != key && validator.power > 0);
    let (count, kept) = others.fold((0, 0), |(count, sum), (_, validator)| (count + 1, sum + validator.power));
    if power == 0 && count == 0 {
        return Err(Reject::LastValidator);
    }
    if power > 0 && (count >= VALIDATORS_MAX || current.is_none() && known.len() >= VALIDATORS_KNOWN_MAX) {
        return Err(Reject::TooManyValidators);
    }
    let before = current.unwrap_or_default();
    let stays = kept + before.min(power);
    let holds = 3 * stays > 2 * (kept + power) && 3 * stays >= 2 * (kept + before);
    if holds { Ok(()) } else { Err(Reject::TooMuchPowerMoves) }
}

fn check_upgrade(version: u32, height: u64, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
    let governance = of(state);
    if height == 0 {
        // What was scheduled for the next block can no longer be called off everywhere.
        let is_open = governance.upgrade_version == version && governance.upgrade_height > block.height;
        return if is_open { Ok(()) } else { Err(Reject::WrongUpgrade) };
    }
    if governance.upgrade_version != 0 || version != governance.state_version.max(1) + 1 {
        return Err(Reject::WrongUpgrade);
    }
    let heights = block.height + 1..=block.height + UPGRADE_BLOCKS_MAX;
    if heights.contains(&height) { Ok(()) } else { Err(Reject::WrongUpgradeHeight) }
}

/// The value that holds now.
fn current(parameter: Parameter, governance: &Governance) -> u64 {
    let or = |value: u64, default: u64| if value == 0 { default } else { value };
    match parameter {
        Parameter::Unspecified => 0,
        Parameter::BlockBytes => governance.block_bytes,
        Parameter::EvidenceAgeBlocks => or(governance.evidence_age_blocks, EVIDENCE_DEFAULT.age_blocks),
        Parameter::EvidenceAgeSeconds => or(governance.evidence_age_seconds, EVIDENCE_DEFAULT.age_seconds),
        Parameter::UnorderedSeconds => or(governance.unordered_seconds, UNORDERED_SECONDS_MAX as u64),
        Parameter::OffencesTolerated => governance.offences_tolerated,
        Parameter::ProposalSeconds => or(governance.proposal_seconds, PROPOSAL_SECONDS_MAX as u64),
    }
}

fn set(parameter: Parameter, value: u64, governance: &mut Governance) {
    let is_of_evidence = matches!(parameter, Parameter::EvidenceAgeBlocks | Parameter::EvidenceAgeSeconds);
    if is_of_evidence && (governance.evidence_age_blocks, governance.evidence_age_seconds) == (0, 0) {
        governance.evidence_age_blocks = EVIDENCE_DEFAULT.age_blocks;
        governance.evidence_age_seconds = EVIDENCE_DEFAULT.age_seconds;
        governance.evidence_bytes = EVIDENCE_DEFAULT.bytes;
    }
    match parameter {
        Parameter::Unspecified => {}
        Parameter::BlockBytes => governance.block_bytes = value,
        Parameter::EvidenceAgeBlocks => governance.evidence_age_blocks = value,
        Parameter::EvidenceAgeSeconds => governance.evidence_age_seconds = value,
        Parameter::UnorderedSeconds => governance.unordered_seconds = value,
        Parameter::OffencesTolerated => governance.offences_tolerated = value,
        Parameter::ProposalSeconds => governance.proposal_seconds = value,
    }
}

/// CometBFT's parameters as this state has them.
pub fn consensus_parameters(governance: &Governance) -> ConsensusParameters {
    let evidence = EvidenceParameters {
        age_blocks: governance.evidence_age_blocks,
        age_seconds: governance.evidence_age_seconds,
        bytes: governance.evidence_bytes,
    };
    ConsensusParameters {
        state_version: governance.state_version.max(1),
        block_bytes: (governance.block_bytes > 0).then_some(governance.block_bytes),
        evidence: (evidence.age_blocks > 0 && evidence.age_seconds > 0).then_some(evidence),
    }
}

/// What a block's changes mean for CometBFT.
pub fn updates(before: &impl StateRead, changes: &Changes) -> ConsensusUpdates {
    let power = |bytes: &[u8]| -> u64 {
        let validator: Validator = prost::Message::decode(bytes).expect("state holds only what a typed key wrote");
        validator.power
    };
    let mut updates = ConsensusUpdates::default();
    let changed = changes.range(keys::VALIDATORS.to_vec()..).take_while(|(path, _)| path.starts_with(keys::VALIDATORS));
    for (path, value) in changed {
        let old = before.get_bytes(path).map_or(0, |bytes| power(&bytes));
        let new = value.as_deref().map_or(0, power);
        if old != new {
            let key = keys::validator_key(path).expect("validator paths end in a key");
            updates.validators.push((key, new));
        }
    }
    if let Some(Some(bytes)) = changes.get(keys::parameters().as_bytes()) {
        let after: Parameters =
            prost::Message::decode(bytes.as_slice()).expect("state holds only what a typed key wrote");
        let after = consensus_parameters(&after.governance.unwrap_or_default());
        let before = consensus_parameters(&of(before));
        updates.parameters = (after != before).then_some(after);
    }
    updates
}
