//! `start`, `reindex` and `keys show`.

use std::{fs, path::Path, sync::Arc};

use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::{
    config::{Config, LedgerKind},
    ledger::{Ledger, embedded},
    organization::{self, Organization},
    records::Progress,
    server::{self, Gateway},
};

/// Resources between two lines of progress.
const PROGRESS_STEP: u64 = 5_000;

pub fn start(path: &Path) -> Result<(), Failure> {
    init_log();
    let config = Config::read(path)?;
    tracing::info!(configuration = config.to_toml(), "effective configuration");
    actix_web::rt::System::new().block_on(async {
        let ledger = open_ledger(&config).await?;
        let mut organizations = Vec::new();
        for settings in &config.organizations {
            let (organization, repaired) = Organization::open(&config, settings, ledger.clone()).await?;
            tracing::info!(name = organization.name, address = %organization.address(), ?repaired, "organization open");
            organizations.push(organization);
        }
        let gateway = Gateway::new(organizations, config.server.body_bytes_max);
        let server = server::serve(gateway, config.server.listen, config.server.workers)
            .map_err(|error| format!("cannot listen on {}: {error}", config.server.listen))?;
        tracing::info!(address = %config.server.listen, base_url = config.server.base_url, "serving FHIR");
        server.await.map_err(Failure::from)
    })
}

pub fn reindex(path: &Path) -> Result<(), Failure> {
    init_log();
    let config = Config::read(path)?;
    actix_web::rt::System::new().block_on(async {
        let ledger = open_ledger(&config).await?;
        let mut left_out = 0;
        for settings in &config.organizations {
            let name = &settings.name;
            let (organization, _) = Organization::open(&config, settings, ledger.clone()).await?;
            let mut reported = 0;
            let progress = |Progress { done, total }: Progress| {
                if done >= reported + PROGRESS_STEP || done == total {
                    reported = done;
                    println!("{name}: {done} of {total}");
                }
            };
            let found = organization.records.reindex(progress).await?;
            println!(
                "{name}: {} indexed, {} not as on the ledger, {} damaged, {} missing in the vault",
                found.indexed, found.unanchored, found.damaged, found.missing
            );
            left_out += found.unanchored + found.damaged + found.missing;
        }
        if left_out == 0 { Ok(()) } else { Err(format!("{left_out} resources were left out; see above").into()) }
    })
}

pub fn show_keys(path: &Path) -> Result<(), Failure> {
    let config = Config::read(path)?;
    for settings in &config.organizations {
        let keys = organization::open_keys(settings)?;
        println!("organization    {}", settings.name);
        println!("address         {}", keys.signer.address());
        println!("encryption key  {}", keys.encryption.public());
    }
    Ok(())
}

async fn open_ledger(config: &Config) -> Result<Ledger, Failure> {
    match (config.ledger, &config.embedded, &config.comet) {
        (LedgerKind::Embedded, Some(embedded), _) => {
            let app_state = fs::read(&embedded.genesis)
                .map_err(|error| format!("genesis {}: {error}", embedded.genesis.display()))?;
            let settings =
                embedded::Settings { chain_id: embedded.chain_id.clone(), app_state, rpc_listen: embedded.rpc_listen };
            Ok(Ledger::open_embedded(&embedded.path, &settings)?)
        }
        (LedgerKind::Comet, _, Some(comet)) => Ok(Ledger::connect(&comet.rpc).await?),
        _ => Err("the configuration names a ledger and has no table for it".into()),
    }
}

/// Lines on standard error; `RUST_LOG` chooses them.
fn init_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).finish();
    // Set once: a second call would be a second start in one process, which keeps the first.
    let _ = tracing::subscriber::set_global_default(Arc::new(subscriber));
}
