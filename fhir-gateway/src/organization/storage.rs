//! Where an organization's sealed bodies and its index are: in its folder, or in PostgreSQL.

use std::sync::Arc;

use careledger_app::store::disk::DatabaseMemory;

use super::OpenError;
use crate::{
    config::{self, VaultKind},
    index::Index,
    keys::OrganizationKeys,
    ledger::Ledger,
    outcome::Refusal,
    postgres::{
        Fault, Postgres, Settings,
        locks::{Locks, Membership},
    },
    vault::{
        Store,
        counted::Counted,
        local::LocalStore,
        postgresql::{self, PostgresStore},
    },
    work::Counters,
};

/// What an organization stores in.
pub struct Storage {
    /// Its vault.
    pub store: Arc<dyn Store>,
    /// Its index.
    pub index: Arc<Index>,
    /// Its place among the processes that use its schema; none where there is no schema.
    pub place: Option<Locks>,
    /// Where both count.
    pub counters: Arc<Counters>,
}

/// The databases of an organization. Whoever drops them last closes them.
pub struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) index: Arc<Index>,
    #[expect(dead_code, reason = "it is open as long as this is")]
    pub(super) ledger: Ledger,
}

impl Opened {
    /// Whether nobody else has the vault or the index: no organization, and no work that one left.
    pub fn is_let_go(&self) -> bool {
        Arc::strong_count(&self.store) == 1 && Arc::strong_count(&self.index) == 1
    }
}

/// Why a schema could not be used.
enum Unusable {
    Fault(Fault),
    Refused(Refusal),
}

impl From<Fault> for Unusable {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refusal> for Unusable {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Storage {
    /// Opens both. Blocks.
    ///
    /// A vault on this machine's disk keeps about `memory_bytes` in memory.
    pub fn open(
        settings: &config::Organization,
        base_url: &str,
        keys: &OrganizationKeys,
        memory_bytes: usize,
    ) -> Result<Self, OpenError> {
        let name = || settings.name.clone();
        let (address, counters) = (keys.signer.address(), Arc::<Counters>::default());
        let counted = |store: Arc<dyn Store>| Arc::new(Counted::over(store, Arc::clone(&counters))) as Arc<dyn Store>;
        let local = || {
            let memory = DatabaseMemory::of(memory_bytes);
            let store = LocalStore::open_within(&settings.data.join("vault"), &memory);
            store.map(|store| Arc::new(store) as Arc<dyn Store>).map_err(|error| OpenError::Vault(name(), error))
        };
        let Some(on) = &settings.postgres else {
            // The vault first: nobody else has its folder while it is open, so the index may be made anew.
            let store = local()?;
            let path = settings.data.join("index.sqlite");
            let index = Index::open(&path, keys.index.as_bytes(), base_url, address);
            let index = index.map_err(|refusal| OpenError::Refused(name(), refusal))?;
            let index = Arc::new(index.counted(Arc::clone(&counters)));
            return Ok(Self { store: counted(store), index, place: None, counters });
        };
        let database = |fault| OpenError::Database(name(), fault);
        let postgres = Postgres::open(Settings::of(&settings.name, on)?).map_err(database)?;
        let index = Index::on(postgres.clone(), base_url, address).counted(Arc::clone(&counters));
        let index = Arc::new(index);
        let place = join(&postgres, &index, on.vault).map_err(|unusable| match unusable {
            Unusable::Fault(fault) => database(fault),
            Unusable::Refused(refusal) => OpenError::Refused(name(), refusal),
        })?;
        let store = match on.vault {
            VaultKind::Local => local()?,
            VaultKind::Postgres => Arc::new(PostgresStore::on(postgres, place.clone())),
        };
        Ok(Self { store: counted(store), index, place: Some(place), counters })
    }
}

fn join(postgres: &Postgres, index: &Index, vault: VaultKind) -> Result<Locks, Unusable> {
    let membership = match vault {
        VaultKind::Local => Membership::Alone,
        VaultKind::Postgres => Membership::Shared,
    };
    let has_vault = vault == VaultKind::Postgres;
    // Asked first, so that what keeps us out is said as the server says it.
    postgres.server_version()?;
    Locks::join(
        postgres,
        membership,
        || Ok(index.is_prepared()? && (!has_vault || postgresql::is_prepared(postgres)?)),
        || {
            postgres.make_schema()?;
            if has_vault {
                postgresql::prepare(postgres)?;
            }
            Ok(index.prepare()?)
        },
    )
}
