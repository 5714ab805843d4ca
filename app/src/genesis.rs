//! The first state, from the `app_state` of CometBFT's genesis file.

pub mod continued;
mod webauthn;

use std::collections::{BTreeMap, BTreeSet};

use careledger_wire::{
    ids::{Address, CircuitId, Digest, EncryptionKey, ValidatorKey},
    proto::{
        identity::{OrganizationKind, SuspensionReason},
        state::{AccountRole, Chain, Governance, Organization, Parameters, Quotas, Validator, VerifyingKey},
    },
};
use careledger_zk::{
    key::{self, KeyError},
    statement::CIRCUIT_DIGEST,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use continued::{ContinuedError, Exported, Origin, Read};
use webauthn::{distinct, is_origin, is_rp_id};

use crate::{
    accounts, keys,
    limits::{
        CHAIN_ID_BYTES_MAX, QUOTA_BYTES_MIN, QUOTA_WINDOW_BLOCKS_MAX, REGISTRARS_MAX, VALIDATOR_POWER_MAX,
        VALIDATORS_MAX, WEBAUTHN_ORIGINS_MAX,
    },
    state::{Changes, Overlay, StateWrite},
    types::EvidenceParameters,
    upgrade,
};

/// Whether a chain of this id accepts keys under which anyone can forge proofs: `careledger-dev`,
/// or `careledger-dev-` and anything.
pub fn is_development_chain(chain_id: &str) -> bool {
    chain_id.strip_prefix("careledger-dev").is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// `app_state` of the genesis file. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Who may register organizations.
    pub registrars: Vec<Address>,
    /// How many registrars must agree.
    pub registrar_threshold: u32,
    /// Verifying keys of the eligibility circuit, hexadecimal.
    #[serde(default)]
    pub verifying_keys: Vec<String>,
    /// Organizations that are registered from the start.
    #[serde(default)]
    pub organizations: Vec<GenesisOrganization>,
    /// Format of the first state: [`crate::upgrade::NEWEST`] for a new chain, 1 where it is absent.
    #[serde(default = "first_version", skip_serializing_if = "is_first_version")]
    pub state_version: u32,
    /// Origins at which passkeys may sign: `https://portal.example`, `http://localhost:8080`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webauthn_origins: Vec<String>,
    /// Relying party ids that passkeys may be of: `portal.example`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webauthn_rp_ids: Vec<String>,
    /// How much accounts may send; without it nothing is bounded but blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quotas: Option<GenesisQuotas>,
}

impl Default for Genesis {
    /// Of the newest format, with nobody in it and nothing bounded.
    fn default() -> Self {
        Self {
            registrars: Vec::new(),
            registrar_threshold: 0,
            verifying_keys: Vec::new(),
            organizations: Vec::new(),
            state_version: upgrade::NEWEST,
            webauthn_origins: Vec::new(),
            webauthn_rp_ids: Vec::new(),
            quotas: None,
        }
    }
}

fn first_version() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_first_version(version: &u32) -> bool {
    *version == 1
}

/// What CometBFT's part of the genesis file says and the ledger keeps track of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consensus {
    /// The first validators and their power.
    pub validators: Vec<(ValidatorKey, u64)>,
    /// How long and how much evidence of misbehavior is accepted.
    pub evidence: Option<EvidenceParameters>,
    /// Height of the first block; 0 stands for 1.
    pub initial_height: u64,
}

/// Bytes of transactions that an account may pay for in each window of blocks, by its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisQuotas {
    /// Blocks in a window.
    pub window_blocks: u32,
    /// For a registrar.
    pub registrar_bytes: u64,
    /// For an organization, also for what it sponsors.
    pub organization_bytes: u64,
    /// For a practitioner.
    pub practitioner_bytes: u64,
    /// For a patient without a sponsor, and for a guardian of a patient.
    pub claimant_bytes: u64,
}

impl Default for GenesisQuotas {
    /// Of a hundred full blocks an organization can fill eight, and a patient half of one: that is some
    /// thousand consents.
    fn default() -> Self {
        Self {
            window_blocks: 100,
            registrar_bytes: 32 << 20,
            organization_bytes: 32 << 20,
            practitioner_bytes: 2 << 20,
            claimant_bytes: 256 << 10,
        }
    }
}

impl GenesisQuotas {
    fn to_state(&self) -> Result<Quotas, GenesisError> {
        let bytes = [self.registrar_bytes, self.organization_bytes, self.practitioner_bytes, self.claimant_bytes];
        if !(1..=QUOTA_WINDOW_BLOCKS_MAX).contains(&self.window_blocks)
            || bytes.iter().any(|bytes| *bytes < QUOTA_BYTES_MIN)
        {
            return Err(GenesisError::Quotas);
        }
        Ok(Quotas {
            window_blocks: self.window_blocks,
            registrar_bytes: self.registrar_bytes,
            organization_bytes: self.organization_bytes,
            practitioner_bytes: self.practitioner_bytes,
            claimant_bytes: self.claimant_bytes,
        })
    }
}

/// An organization that is registered from the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisOrganization {
    /// Its account.
    pub address: Address,
    /// What it does.
    pub kind: GenesisKind,
    /// X25519 public key.
    pub encryption_key: EncryptionKey,
    /// SHA-256 of the accreditation evidence.
    pub evidence: Digest,
    /// End of the accreditation, Unix seconds.
    pub expires_at: i64,
}

/// [`OrganizationKind`] as the genesis file spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "as in OrganizationKind")]
pub enum GenesisKind {
    Provider,
    Insurer,
    Laboratory,
    Pharmacy,
}

/// Why a chain cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The chain id is empty or too long.
    #[error("the chain id must have between 1 and {CHAIN_ID_BYTES_MAX} bytes")]
    ChainId,
    /// Not the JSON that [`Genesis`] describes.
    #[error("app_state is not valid: {0}")]
    Json(String),
    /// No registrar, too many, or one twice.
    #[error("there must be between 1 and {REGISTRARS_MAX} registrars, each named once")]
    Registrars,
    /// The threshold cannot be reached, or is zero.
    #[error("registrar_threshold must be between 1 and the number of registrars")]
    Threshold,
    /// A verifying key is not one.
    #[error("verifying key {0} (counted from 0): {1}")]
    VerifyingKey(usize, String),
    /// A development key on a chain that is not a development chain.
    #[error(
        "verifying key {0} (counted from 0) is a development key: anyone can forge proofs under it, \
         so only a chain whose id is careledger-dev, or starts with careledger-dev-, accepts it"
    )]
    DevelopmentKey(usize),
    /// An organization is named twice, is a registrar, or has ended before the chain begins.
    #[error("organization {0}: named twice, a registrar too, or expired at genesis")]
    Organization(Address),
    /// The validators are too many, or one has no power or too much.
    #[error("there must be at most {VALIDATORS_MAX} validators, each named once, of power 1 to {VALIDATOR_POWER_MAX}")]
    Validators,
    /// This program does not know the format.
    #[error("state_version must be between 1 and {}", upgrade::NEWEST)]
    StateVersion,
    /// An origin or relying party id of passkeys is not one, or is named twice.
    #[error(
        "webauthn_origins and webauthn_rp_ids must be at most {WEBAUTHN_ORIGINS_MAX} different ones each, \
         like https://portal.example and portal.example: {0}"
    )]
    Webauthn(String),
    /// A quota that lets nobody send anything, or a window that never ends.
    #[error(
        "quotas need a window of 1 to {QUOTA_WINDOW_BLOCKS_MAX} blocks and at least {QUOTA_BYTES_MIN} bytes for each role"
    )]
    Quotas,
    /// A block was committed already.
    #[error("the chain has started already")]
    Started,
    /// Only a chain that continues another begins later.
    #[error("initial_height must be 1 where app_state continues no other chain")]
    InitialHeight,
    /// The state that the chain begins with is not one that a chain had.
    #[error("app_state, continues: {0}")]
    Continued(#[from] ContinuedError),
}

/// The first state, from either form of `app_state`: a [`Genesis`], or the exported state of another chain
/// ([`continued`]). Where that is named and not in it, `beside` reads it.
pub fn first_state(
    app_state: &[u8],
    chain_id: &str,
    time: i64,
    consensus: &Consensus,
    beside: impl FnOnce(&Origin) -> Result<Exported, ContinuedError>,
) -> Result<Changes, GenesisError> {
    let exported = match continued::of_app_state(app_state)? {
        Some(Read::Inside(exported)) => Some(exported),
        Some(Read::Beside(origin)) => {
            let exported = beside(&origin)?;
            if exported.origin != origin {
                return Err(ContinuedError::Another(Box::new(origin), Box::new(exported.origin)).into());
            }
            Some(exported)
        }
        None => None,
    };
    if let Some(exported) = exported {
        return exported.changes(chain_id, time, consensus);
    }
    if consensus.initial_height > 1 {
        return Err(GenesisError::InitialHeight);
    }
    Genesis::from_json(app_state)?.changes_under(chain_id, time, consensus)
}

impl Genesis {
    /// Reads `app_state`.
    pub fn from_json(app_state: &[u8]) -> Result<Self, GenesisError> {
        serde_json::from_slice(app_state).map_err(|error| GenesisError::Json(error.to_string()))
    }

    /// The first state, of a chain without validators.
    pub fn changes(&self, chain_id: &str, time: i64) -> Result<Changes, GenesisError> {
        self.changes_under(chain_id, time, &Consensus::default())
    }

    /// The first state.
    pub fn changes_under(&self, chain_id: &str, time: i64, consensus: &Consensus) -> Result<Changes, GenesisError> {
        if !(1..=CHAIN_ID_BYTES_MAX).contains(&chain_id.len()) {
            return Err(GenesisError::ChainId);
        }
        let registrars: BTreeSet<Address> = self.registrars.iter().copied().collect();
        if registrars.len() != self.registrars.len() || !(1..=REGISTRARS_MAX).contains(&registrars.len()) {
            return Err(GenesisError::Registrars);
        }
        if !(1..=registrars.len()).contains(&(self.registrar_threshold as usize)) {
            return Err(GenesisError::Threshold);
        }
        let nothing = BTreeMap::new();
        let mut state = Overlay::new(&nothing);
        let parameters = Parameters {
            registrars: registrars.iter().map(Address::to_vec).collect(),
            registrar_threshold: self.registrar_threshold,
            governance: self.governance(consensus)?,
            webauthn_origins: distinct(&self.webauthn_origins, is_origin)?,
            webauthn_rp_id_hashes: distinct(&self.webauthn_rp_ids, is_rp_id)?
                .iter()
                .map(|id| Sha256::digest(id).to_vec())
                .collect(),
            quotas: self.quotas.as_ref().map(GenesisQuotas::to_state).transpose()?,
            ..Parameters::default()
        };
        state.put(&keys::parameters(), &parameters);
        state.put(&keys::chain(), &Chain { chain_id: chain_id.to_owned(), genesis_time: time, initial_height: 0 });
        for registrar in &registrars {
            accounts::open(registrar, AccountRole::Registrar, &mut state);
        }
        self.put_verifying_keys(chain_id, &mut state)?;
        self.put_organizations(time, &mut state)?;
        put_validators(&consensus.validators, &mut state)?;
        Ok(state.into_changes())
    }

    fn governance(&self, consensus: &Consensus) -> Result<Option<Governance>, GenesisError> {
        if !(1..=upgrade::NEWEST).contains(&self.state_version) {
            return Err(GenesisError::StateVersion);
        }
        let mut governance = Governance::default();
        if self.state_version > 1 {
            governance.state_version = self.state_version;
        }
        if let Some(evidence) = &consensus.evidence {
            governance.evidence_age_blocks = evidence.age_blocks;
            governance.evidence_age_seconds = evidence.age_seconds;
            governance.evidence_bytes = evidence.bytes;
        }
        Ok((governance != Governance::default()).then_some(governance))
    }

    fn put_verifying_keys(&self, chain_id: &str, state: &mut impl StateWrite) -> Result<(), GenesisError> {
        for (number, text) in self.verifying_keys.iter().enumerate() {
            let refused = |reason: String| GenesisError::VerifyingKey(number, reason);
            let bytes = hex::decode(text).map_err(|error| refused(error.to_string()))?;
            let key = key::VerifyingKey::decode(&bytes).map_err(|error: KeyError| refused(error.to_string()))?;
            if key.is_development() && !is_development_chain(chain_id) {
                return Err(GenesisError::DevelopmentKey(number));
            }
            let id = CircuitId::new(key.id(&CIRCUIT_DIGEST));
            state.put(&keys::verifying_key(&id), &VerifyingKey { key: bytes });
        }
        Ok(())
    }

    fn put_organizations(&self, time: i64, state: &mut impl StateWrite) -> Result<(), GenesisError> {
        for organization in &self.organizations {
            let address = &organization.address;
            let is_known = accounts::role(address, state) != AccountRole::Unspecified;
            if is_known || organization.expires_at <= time {
                return Err(GenesisError::Organization(*address));
            }
            accounts::open(address, AccountRole::Organization, state);
            let value = Organization {
                kind: OrganizationKind::from(organization.kind).into(),
                encryption_key: organization.encryption_key.to_vec(),
                evidence: organization.evidence.to_vec(),
                expires_at: organization.expires_at,
                suspended: SuspensionReason::Unspecified.into(),
                generation: 1,
                emergency: false,
            };
            state.put(&keys::organization(address), &value);
        }
        Ok(())
    }
}

fn put_validators(validators: &[(ValidatorKey, u64)], state: &mut impl StateWrite) -> Result<(), GenesisError> {
    if validators.len() > VALIDATORS_MAX {
        return Err(GenesisError::Validators);
    }
    for (key, power) in validators {
        if !(1..=VALIDATOR_POWER_MAX).contains(power) || state.has(&keys::validator(key)) {
            return Err(GenesisError::Validators);
        }
        state.put(&keys::validator(key), &Validator { power: *power, ..Validator::default() });
    }
    Ok(())
}

impl From<GenesisKind> for OrganizationKind {
    fn from(kind: GenesisKind) -> Self {
        match kind {
            GenesisKind::Provider => Self::Provider,
            GenesisKind::Insurer => Self::Insurer,
            GenesisKind::Laboratory => Self::Laboratory,
            GenesisKind::Pharmacy => Self::Pharmacy,
        }
    }
}
