//! `start`, `check`, `reindex`, `verify` and `keys show`.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::{
    auth,
    config::{self, Config, LedgerKind},
    http_client,
    ledger::{Ledger, OpenError, embedded},
    operations,
    organization::{self, Opened, Organization},
    postgres::{self, Postgres},
    records::Progress,
    server::{self, Gateway},
};

/// Resources between two lines of progress.
const PROGRESS_STEP: u64 = 5_000;
/// How long a start waits for the ledger's RPC.
const LEDGER_DEADLINE: Duration = Duration::from_secs(30);
/// Between two attempts.
const LEDGER_RETRY: Duration = Duration::from_secs(1);
/// How long the end waits for the threads that served, which have answered all by then.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks.
const CLOSE_POLL: Duration = Duration::from_millis(5);

pub fn start(path: &Path) -> Result<(), Failure> {
    init_log();
    let config = Config::read(path)?;
    tracing::info!(configuration = config.to_log(), "effective configuration");
    let mut open = Vec::new();
    actix_web::rt::System::new().block_on(async {
        let ledger = open_ledger(&config).await?;
        let mut organizations = Vec::new();
        for settings in &config.organizations {
            let (organization, repaired) = Organization::open(&config, settings, ledger.clone()).await?;
            tracing::info!(name = organization.name, address = %organization.address(), ?repaired, "organization open");
            open.push(organization.opened());
            organizations.push(organization);
        }
        let origins = config.server.allowed_origins.clone();
        let gateway = Gateway::new(organizations, config.server.body_bytes_max).with_origins(origins);
        let gateway = Arc::new(gateway.with_bodies_in_work(config.memory.bodies_bytes_max));
        let taken = |address, error: io::Error| format!("cannot listen on {address}: {error}");
        let config::Server { listen, workers, operations_listen, base_url, .. } = &config.server;
        let tls = config.server.tls.as_ref().map(open_tls).transpose()?;
        let server = server::serve(Arc::clone(&gateway), *listen, *workers, tls);
        let server = server.map_err(|error| taken(*listen, error))?;
        tracing::info!(address = %listen, base_url, "serving FHIR");
        let Some(address) = *operations_listen else { return server.await.map_err(Failure::from) };
        let operations = operations::serve(gateway, address).map_err(|error| taken(address, error))?;
        tracing::info!(%address, "serving /health, /ready and /metrics");
        futures::try_join!(server, operations)?;
        Ok(())
    })?;
    close(&open);
    Ok(())
}

/// Waits until the threads that served have let go of the databases, so that who calls closes them: a process that ends
/// while another thread closes one breaks off in the libraries' own clean-up.
fn close(open: &[Opened]) {
    let deadline = Instant::now() + CLOSE_DEADLINE;
    while !open.iter().all(Opened::is_let_go) {
        if Instant::now() > deadline {
            tracing::warn!("a thread still works; what it has open is brought up by the next start");
            return;
        }
        thread::sleep(CLOSE_POLL);
    }
}

/// TLS as configured; its certificate is read again at each SIGHUP.
fn open_tls(settings: &config::Tls) -> Result<rustls::ServerConfig, Failure> {
    let (tls, identity) = server::tls::open(settings)?;
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match identity.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(problem) => tracing::error!(%problem, "the certificate stays as it was"),
            }
        }
    });
    Ok(tls)
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
            let found = organization.records.reindex(shown(name)).await?;
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

/// Reads everything that the vaults hold, and names what is not as it was acknowledged.
pub fn verify(path: &Path) -> Result<(), Failure> {
    init_log();
    let config = Config::read(path)?;
    actix_web::rt::System::new().block_on(async {
        let ledger = open_ledger(&config).await?;
        let mut wrong = 0;
        for settings in &config.organizations {
            let name = &settings.name;
            let organization = Organization::open_as_it_is(&config, settings, ledger.clone()).await?;
            let found = organization.records.verify(shown(name)).await?;
            for flawed in &found.flawed {
                println!("{name}: {flawed}");
            }
            for record in &found.missing {
                println!("{name}: record {record}: on the ledger, and not in the vault");
            }
            let batches = organization.audit.lacking().await?;
            println!(
                "{name}: {} versions read, {} with a flaw, {} records missing, {batches} batches of the access log missing",
                found.versions,
                found.flawed.len(),
                found.missing.len(),
            );
            wrong += found.flawed.len() as u64 + found.missing.len() as u64 + batches;
        }
        if wrong == 0 {
            return Ok(());
        }
        Err(format!("{wrong} findings, named above; docs/RUNBOOK.md says how to restore what a backup still has").into())
    })
}

/// Prints how far an organization's records are, now and then.
fn shown(name: &str) -> impl FnMut(Progress) + Send {
    let mut reported = 0;
    move |Progress { done, total }| {
        if done >= reported + PROGRESS_STEP || done == total {
            reported = done;
            println!("{name}: {done} of {total}");
        }
    }
}

/// Reads the configuration and everything that it names, without starting anything.
pub fn check(path: &Path) -> Result<(), Failure> {
    let config = Config::read(path)?;
    for settings in &config.organizations {
        let keys = organization::open_keys(settings)?;
        let clients = auth::check_clients(settings)?;
        println!("{}: keystore opens, account {}, {clients} clients", settings.name, keys.signer.address());
        if let Some(postgres) = &settings.postgres {
            let found = Postgres::open(postgres::Settings::of(&settings.name, postgres)?)?;
            let version = found.server_version()?;
            println!("{}: PostgreSQL {version} at {} lets us in", settings.name, found.address());
        }
    }
    if let Some(tls) = &config.server.tls {
        server::tls::open(tls)?;
        println!("certificate {}: valid, and the key is its own", tls.certificate.display());
    }
    http_client::Trust::read(config.trusted_authorities.as_deref())?;
    if let Some(embedded) = &config.embedded {
        let shown = embedded.genesis.display();
        let app_state = fs::read(&embedded.genesis).map_err(|error| format!("genesis {shown}: {error}"))?;
        careledger_app::genesis::Genesis::from_json(&app_state).map_err(|error| format!("genesis {shown}: {error}"))?;
        println!("genesis {shown}: well formed");
    }
    println!("{}: nothing wrong was found. The ledger, the peers and the vaults were not opened.", path.display());
    Ok(())
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
            let settings = embedded::Settings {
                chain_id: embedded.chain_id.clone(),
                app_state,
                rpc_listen: embedded.rpc_listen,
                memory: embedded::Memory {
                    storage_bytes: config.storage_bytes_each(),
                    changes_max: config.memory.ledger_changes_max,
                },
            };
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
