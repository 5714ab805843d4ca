//! One organization of this process: its keys, vault, index, ledger, tokens and access log, put
//! together from the configuration.

use std::{collections::BTreeMap, fs, io, sync::Arc};

use careledger_app::keys as state_keys;
use careledger_wire::ids::Address;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    audit::AuditLog,
    auth::{Authority, ClientError},
    config::{self, Config},
    export::{self, Exports},
    http_client::Trust,
    in_work::InWork,
    index::Index,
    interactions::owed::{self, Owed},
    keys::{
        OrganizationKeys,
        keystore::{self, KeystoreError},
    },
    ledger::Ledger,
    outcome::Refusal,
    postgres::{Fault, locks::Locks, settings::SettingsError},
    records::{Records, Repaired},
    remote::{Network, outbox::Outbox},
    subscriptions::{self, Subscriptions, channel::Channel},
    vault::{Store, StoreError},
    work::{Counters, Work},
};

pub mod acknowledged;
mod storage;

use acknowledged::Lacking;
pub use storage::Opened;
use storage::Storage;

/// What is expected of a vault when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vault {
    /// All that was acknowledged.
    Whole,
    /// Whatever is there: to find out what is missing, or to go on without it.
    AsItIs,
}

/// Why an organization could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The passphrase cannot be read.
    #[error("passphrase of {organization}: {source} (set {variable}, or write it to the file)")]
    Passphrase {
        /// Name of the organization.
        organization: String,
        /// The environment variable that may hold it.
        variable: String,
        /// What the file system said.
        source: io::Error,
    },
    /// The keystore does not open.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The vault does not open.
    #[error("vault of {0}: {1}")]
    Vault(String, StoreError),
    /// The database cannot be used as it is configured.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database does not let us in, or others are in the way.
    #[error("database of {0}: {1}")]
    Database(String, Fault),
    /// The vault is older than what was acknowledged.
    #[error(
        "the vault of {organization} in {folder} {lacking}. Nothing was changed. Restore a newer copy of the folder; \
         docs/RUNBOOK.md says how, and how to go on without what is lost"
    )]
    Lacking {
        /// Name of the organization.
        organization: String,
        /// Its folder.
        folder: String,
        /// What is missing.
        lacking: Lacking,
    },
    /// A folder cannot be made.
    #[error("data folder of {0}: {1}")]
    Folder(String, io::Error),
    /// The clients cannot be read.
    #[error(transparent)]
    Clients(#[from] ClientError),
    /// Anything below.
    #[error("{0}: {1}")]
    Refused(String, Refusal),
    /// The authorities that peers are trusted by cannot be read.
    #[error("{0}")]
    Trust(String),
    /// An address of the configuration is none.
    #[error("peer {0} has no usable address")]
    Peer(Address),
}

/// One organization.
pub struct Organization {
    /// Path segment of its URLs.
    pub name: String,
    /// URL of its FHIR endpoint, without a slash at its end.
    pub base_url: String,
    /// Its keys.
    pub keys: Arc<OrganizationKeys>,
    /// Its records.
    pub records: Records,
    /// Its search index.
    pub index: Arc<Index>,
    /// The ledger, shared with the other organizations of the process.
    pub ledger: Ledger,
    /// Other organizations' gateways.
    pub network: Network,
    /// Its clients and their tokens.
    pub authority: Authority,
    /// Who looked at what.
    pub audit: AuditLog,
    /// Bulk exports.
    pub exports: Arc<Exports>,
    /// What is to be logged still.
    pub owed: Owed,
    /// ValueSets whose members are being told.
    pub value_sets: InWork,
    counters: Arc<Counters>,
    store: Arc<dyn Store>,
    /// Who is told of what was written.
    pub subscriptions: Arc<Subscriptions>,
    /// Its place among the processes that use its database, kept as long as this is.
    _place: Option<Locks>,
}

impl Organization {
    /// Opens an organization and repairs what a crash left behind. Must run inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`OpenError::Lacking`] where the vault does not have all that was acknowledged, and others.
    pub async fn open(
        config: &Config,
        settings: &config::Organization,
        ledger: Ledger,
    ) -> Result<(Arc<Self>, Repaired), OpenError> {
        let (organization, repaired) = Self::open_with(config, settings, ledger, Vault::Whole).await?;
        tokio::spawn(export::run::work(Arc::downgrade(&organization)));
        tokio::spawn(subscriptions::work::work(Arc::downgrade(&organization)));
        tokio::spawn(owed::work(Arc::downgrade(&organization)));
        Ok((organization, repaired))
    }

    /// As [`Self::open`], also where the vault lacks what was acknowledged.
    pub async fn open_as_it_is(
        config: &Config,
        settings: &config::Organization,
        ledger: Ledger,
    ) -> Result<Arc<Self>, OpenError> {
        Ok(Self::open_with(config, settings, ledger, Vault::AsItIs).await?.0)
    }

    async fn open_with(
        config: &Config,
        settings: &config::Organization,
        ledger: Ledger,
        expected: Vault,
    ) -> Result<(Arc<Self>, Repaired), OpenError> {
        let name = settings.name.clone();
        let refused = |refusal| OpenError::Refused(settings.name.clone(), refusal);
        let keys = Arc::new(open_keys(settings)?);
        fs::create_dir_all(&settings.data).map_err(|error| OpenError::Folder(name.clone(), error))?;
        let base_url = config.fhir_url(&name);
        let Storage { store, index, place, counters } =
            Storage::open(settings, &base_url, &keys, config.storage_bytes_each())?;
        let parts = (Arc::clone(&keys), Arc::clone(&store), ledger.clone(), Arc::clone(&index));
        let opened = match expected {
            Vault::Whole => Records::open(parts.0, parts.1, parts.2, parts.3).await,
            // What is only looked at, or rebuilt, needs no index that is up to date.
            Vault::AsItIs => Records::open_unindexed(parts.0, parts.1, parts.2, parts.3).await,
        };
        let (records, repaired) = opened.map_err(refused)?;
        let audit = AuditLog::open(Arc::clone(&keys), Arc::clone(&store), ledger.clone(), &config.audit).await;
        let audit = audit.map_err(refused)?;
        if expected == Vault::Whole {
            let lacking = Lacking::of(&records, &index, &audit).await.map_err(refused)?;
            if !lacking.is_nothing() {
                let folder = settings.data.display().to_string();
                return Err(OpenError::Lacking { organization: name, folder, lacking });
            }
        }
        let exports = Exports::open(&keys, Arc::clone(&store));
        let trust = Trust::read(config.trusted_authorities.as_deref()).map_err(OpenError::Trust)?;
        let token_url = config.token_url(&name);
        let authority = Authority::open(settings, &config.auth, token_url, &trust, &keys, Arc::clone(&store))?;
        let network = Network::new(peers(config)?, &settings.data, &trust, &keys, Arc::clone(&store))
            .map_err(|error| OpenError::Folder(name.clone(), error))?;
        let subscriptions = Channel::new(&config.subscriptions, &trust)
            .map(|channel| Subscriptions::open(&keys, Arc::clone(&store), &config.subscriptions, channel))
            .map_err(|error| OpenError::Trust(error.to_string()))?;
        let organization = Arc::new(Self {
            name,
            base_url,
            keys,
            records,
            index,
            ledger,
            network,
            authority,
            audit,
            exports,
            subscriptions,
            owed: Owed::default(),
            value_sets: InWork::of(config.memory.value_sets_bytes_max),
            counters,
            store,
            _place: place,
        });
        organization.report_standing().await;
        tokio::spawn(Outbox::deliver(Arc::clone(&organization)));
        Ok((organization, repaired))
    }

    /// What it has open, for whoever is to close it.
    pub fn opened(&self) -> Opened {
        Opened { store: Arc::clone(&self.store), index: Arc::clone(&self.index), ledger: self.ledger.clone() }
    }

    /// What was looked up and written for it so far.
    pub fn work(&self) -> Work {
        self.counters.with_ledger(self.ledger.reads())
    }

    /// Its account on the ledger.
    pub fn address(&self) -> Address {
        self.keys.signer.address()
    }

    /// Says in the log why writes will be refused, where they will be.
    async fn report_standing(&self) {
        let (name, address) = (&self.name, self.address());
        match self.ledger.get(&state_keys::organization(&address)).await {
            Ok(None) => tracing::warn!(name, %address, "the organization is not registered on the ledger yet"),
            Ok(Some(standing)) if standing.encryption_key != self.keys.encryption.public().as_bytes() => {
                tracing::warn!(name, "the encryption key on the ledger is another one than the keystore's");
            }
            Ok(Some(standing)) if standing.expires_at <= self.ledger.now() => {
                tracing::warn!(name, "the organization's accreditation on the ledger has expired");
            }
            Ok(Some(_)) => tracing::info!(name, %address, "the organization is registered on the ledger"),
            Err(refusal) => tracing::warn!(name, %refusal, "the ledger could not be asked about the organization"),
        }
    }
}

/// Variable that holds the passphrase of an organization's keystore.
pub fn passphrase_variable(organization: &str) -> String {
    format!("CARELEDGER_PASSPHRASE_{}", organization.to_ascii_uppercase().replace('-', "_"))
}

/// Opens the keystore of an organization.
pub fn open_keys(settings: &config::Organization) -> Result<OrganizationKeys, OpenError> {
    let variable = passphrase_variable(&settings.name);
    let passphrase =
        match std::env::var(&variable) {
            Ok(passphrase) => Zeroizing::new(passphrase),
            Err(_) => {
                Zeroizing::new(fs::read_to_string(&settings.passphrase_file).map_err(|source| {
                    OpenError::Passphrase { organization: settings.name.clone(), variable, source }
                })?)
            }
        };
    // Editors end a file with a line break, which is not part of the passphrase.
    let passphrase = passphrase.trim_end_matches(['\r', '\n']);
    Ok(keystore::open(&settings.keystore, passphrase.as_bytes())?)
}

fn peers(config: &Config) -> Result<BTreeMap<Address, Url>, OpenError> {
    let parse = |peer: &config::Peer| {
        let url = Url::parse(&peer.url).map_err(|_| OpenError::Peer(peer.organization))?;
        Ok((peer.organization, url))
    };
    config.peers.iter().map(parse).collect()
}
