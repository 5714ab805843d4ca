//! An organization whose gateway is started again and again, without sockets.

use std::{path::PathBuf, sync::Arc};

use careledger_gateway::{
    config::Config,
    keys::{OrganizationKeys, OrganizationSigner},
    ledger::Ledger,
    organization::{OpenError, Organization},
};
use careledger_wire::proto::identity::OrganizationKind;

use super::{chain, site};

/// One life of a gateway's process: when it is over, its tasks are dropped where they are, what they held in
/// memory is gone, and nothing of it holds a folder.
pub fn live<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

/// What is left of an organization between two lives of its gateway.
pub struct Restarted {
    /// Where everything is.
    pub folder: tempfile::TempDir,
    /// The configuration of every life.
    pub config: Config,
    registrar: OrganizationSigner,
}

impl Restarted {
    /// A hospital that is registered and has not been open yet.
    pub fn new() -> Self {
        let (folder, registrar) = (tempfile::tempdir().unwrap(), OrganizationSigner::random());
        let hospital = OrganizationKeys::random();
        let address = "127.0.0.1:0".parse().unwrap();
        let config = site::configuration(folder.path(), "hospital", &hospital, address, &[]);
        let world = Self { folder, config, registrar };
        live(async {
            let ledger = world.ledger();
            chain::register(&ledger, &world.registrar, &hospital, OrganizationKind::Provider).await.unwrap();
        });
        world
    }

    /// Its ledger, opened.
    pub fn ledger(&self) -> Ledger {
        chain::embedded(&self.folder.path().join("ledger"), &self.registrar).0
    }

    /// The folder of its vault.
    pub fn vault(&self) -> PathBuf {
        self.config.organizations[0].data.join("vault")
    }

    /// The organization, opened as a start of the gateway does.
    pub async fn open(&self) -> Result<Arc<Organization>, OpenError> {
        let opened = Organization::open(&self.config, &self.config.organizations[0], self.ledger()).await;
        opened.map(|(organization, _)| organization)
    }

    /// The organization, opened whatever its vault lacks.
    pub async fn open_as_it_is(&self) -> Arc<Organization> {
        Organization::open_as_it_is(&self.config, &self.config.organizations[0], self.ledger()).await.unwrap()
    }
}
