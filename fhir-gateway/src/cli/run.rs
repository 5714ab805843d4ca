//! `start`, `reindex` and `keys show`.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::{
    config::{Config, LedgerKind},
    ledger::{Ledger, OpenError, embedded},
    organization::{self, Organization},
    records::Progress,
    server::{self, Gateway},
};

/// Resources between two lines of progress.
const PROGRESS_STEP: u64 = 5_000;
/// How long a start waits for the ledger's RPC.
const LEDGER_DEADLINE: Duration = Duration::from_secs(30);
/// Between two attempts.
const LEDGER_RETRY: Duration = Duration::from_secs(1);

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

/// What to do about what a vault lacks for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Say so, and leave it to the operator.
    Reported,
    /// Go on without it.
    Accepted,
}

pub fn reindex(path: &Path, loss: Loss) -> Result<(), Failure> {
    init_log();
    let config = Config::read(path)?;
    actix_web::rt::System::new().block_on(async {
        let ledger = open_ledger(&config).await?;
        let (mut left_out, mut lost_batches) = (0, 0);
        for settings in &config.organizations {
            let name = &settings.name;
            let organization = Organization::open_as_it_is(&config, settings, ledger.clone()).await?;
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
            let batches = organization.audit.lacking().await?;
            println!("{name}: {batches} batches of the access log missing in the vault");
            left_out += found.unanchored + found.damaged + found.missing;
            match loss {
                Loss::Accepted if batches > 0 => organization.audit.accept_loss().await?,
                Loss::Accepted | Loss::Reported => lost_batches += batches,
            }
        }
        match (left_out, lost_batches) {
            (0, 0) => Ok(()),
            (resources, 0) if loss == Loss::Accepted => {
                println!("{resources} resources were left out, which is accepted");
                Ok(())
            }
            (resources, batches) => Err(format!(
                "{resources} resources were left out, and {batches} batches of the access log are missing; see above"
            )
            .into()),
        }
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
        (LedgerKind::Comet, _, Some(comet)) => connect(&comet.rpc).await,
        _ => Err("the configuration names a ledger and has no table for it".into()),
    }
}

/// Connects to a ledger that may still be starting.
async fn connect(rpc: &str) -> Result<Ledger, Failure> {
    let deadline = Instant::now() + LEDGER_DEADLINE;
    loop {
        match Ledger::connect(rpc).await {
            Err(OpenError::Unreachable(reason)) if Instant::now() < deadline => {
                tracing::warn!(rpc, reason, "the ledger does not answer yet");
                tokio::time::sleep(LEDGER_RETRY).await;
            }
            other => return Ok(other?),
        }
    }
}

/// Lines on standard error, in colour on a terminal only; `RUST_LOG` chooses them.
fn init_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let is_terminal = io::stderr().is_terminal();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_terminal).with_writer(io::stderr).finish();
    // Set once: a second call would be a second start in one process, which keeps the first.
    let _ = tracing::subscriber::set_global_default(Arc::new(subscriber));
}
