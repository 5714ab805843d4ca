//! PostgreSQL, for an organization whose gateway is several processes: connections, and the locks that
//! its processes hold against one another. What is kept there is `index`'s and `vault`'s business.
//!
//! Calls may come from any thread: connections live on a runtime of their own, and a caller that is not
//! async waits for it. Nothing that the server says about a statement is logged but its code, because
//! its sentences quote values.
//!
//! Another machine is connected to by [`tls`], unless the configuration says that what lies between is
//! somebody else's tunnel.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, mpsc},
    time::Duration,
};

use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::{runtime::Runtime, sync::OwnedSemaphorePermit};
use tokio_postgres::{Client, NoTls, Statement, config::Host, error::SqlState};

pub mod locks;
pub mod settings;
pub mod tls;

pub use settings::Settings;

use crate::outcome::Refusal;

/// Connections of one organization in one process, besides the one that holds its locks.
const CONNECTIONS_MAX: usize = 16;
/// Statements that one connection keeps prepared; then it forgets them all.
const STATEMENTS_MAX: usize = 256;
/// Threads that speak to the server.
const THREADS: usize = 2;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After this time without a word from the other side it is asked whether it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Why the database did not do what it was asked. Values never appear in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody answers, or the connection broke.
    #[error("PostgreSQL at {0} does not answer: is it running, and is the address of [organization.postgres] right?")]
    Unreachable(String),
    /// The server does not let us in.
    #[error("PostgreSQL at {address} refuses the connection ({code}): {advice}")]
    Refused {
        /// Where it is.
        address: String,
        /// The SQLSTATE.
        code: String,
        /// What to do.
        advice: &'static str,
    },
    /// No space.
    #[error("the disk of PostgreSQL is full")]
    Full,
    /// A row that must be new is there already.
    #[error("a row is there already")]
    Taken,
    /// Another process holds what is wanted, and does not let go.
    #[error("another process of the organization does not let go of what is wanted")]
    Held,
    /// Other processes are in the way.
    #[error("{0}")]
    Others(&'static str),
    /// Anything else, by its SQLSTATE.
    #[error("PostgreSQL failed ({0})")]
    Failed(String),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::StorageFull,
            Fault::Held => Self::Busy,
            fault => {
                tracing::error!(%fault, "database");
                Self::Internal("the database failed")
            }
        }
    }
}

/// The database of one organization. Cheap to clone.
#[derive(Clone)]
pub struct Postgres {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    /// Taken only when this is dropped.
    runtime: Option<Runtime>,
    idle: Mutex<Vec<Arc<Connected>>>,
    permits: Arc<tokio::sync::Semaphore>,
}

/// A connection, and the statements that the server knows of it.
pub struct Connected {
    client: Client,
    statements: Mutex<HashMap<String, Statement>>,
}

impl Connected {
    /// The connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A statement, prepared once.
    pub async fn statement(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.lock().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        let mut statements = self.statements.lock();
        if statements.len() >= STATEMENTS_MAX {
            statements.clear();
        }
        statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// A connection for one piece of work; goes back to the others when it is dropped.
pub struct Session {
    postgres: Postgres,
    connected: Arc<Connected>,
    /// Whether a transaction may be open: such a connection is closed, which undoes it.
    is_open: std::cell::Cell<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Postgres {
    /// A database that is connected to when it is needed.
    pub fn open(settings: Settings) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("postgres")
            .enable_all()
            .build()
            .map_err(|error| Fault::Failed(error.to_string()))?;
        let permits = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
        let shared = Shared { settings, runtime: Some(runtime), idle: Mutex::default(), permits };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where it is, without a secret.
    pub fn address(&self) -> String {
        self.shared.settings.address()
    }

    /// Name of the schema that holds everything of the organization.
    pub fn schema(&self) -> &str {
        &self.shared.settings.schema
    }

    /// Connects, to see whether it can be done, and says which server answers.
    pub fn server_version(&self) -> Result<String, Fault> {
        self.session()?
            .run(|connected| async move { connected.client().query_one("SHOW server_version", &[]).await?.try_get(0) })
    }

    /// Makes the organization's schema, if it is not there, and the table of its parts' versions.
    pub fn make_schema(&self) -> Result<(), Fault> {
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {};
             CREATE TABLE IF NOT EXISTS schema_version (part text PRIMARY KEY, version bigint NOT NULL)",
            self.schema()
        );
        self.session()?.run(|connected| async move { connected.client().batch_execute(&sql).await })
    }

    /// Runs `work` on the threads of the database and waits for it here.
    pub fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let (done, answer) = mpsc::sync_channel(1);
        self.spawn(async move {
            // Whoever waits below is still there.
            let _ = done.send(work.await);
        });
        answer.recv().unwrap_or_else(|_| Err(Fault::Failed("the work was interrupted".to_owned())))
    }

    /// Runs `work` on the threads of the database.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = self.shared.runtime.as_ref().expect("there until this is dropped");
        drop(runtime.spawn(work));
    }

    /// A new connection that belongs to nobody else.
    pub async fn connect(&self) -> Result<Connected, Fault> {
        let settings = &self.shared.settings;
        let mut config = settings.config.clone();
        config.connect_timeout(CONNECT_TIMEOUT).application_name("careledger-gateway");
        config.keepalives_idle(SILENCE_MAX).keepalives_interval(SILENCE_MAX / 2).keepalives_retries(3);
        config.tcp_user_timeout(3 * SILENCE_MAX);
        let refused = |error| unconnected(settings, &error);
        // A connection ends with its client. What went wrong is told to whoever waits for an answer.
        let client = match settings.tls.clone() {
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
                tokio::spawn(connection.map(drop));
                client
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(refused)?;
                tokio::spawn(connection.map(drop));
                client
            }
        };
        // The name has lower-case letters, digits and underscores only. What a process that is gone holds is free as
        // soon as the server knows.
        let (schema, silence) = (&settings.schema, SILENCE_MAX.as_secs());
        client
            .batch_execute(&format!(
                "SET search_path TO {schema}; SET client_min_messages TO error; SET tcp_keepalives_idle TO {silence}; \
                 SET tcp_keepalives_interval TO {silence}; SET tcp_keepalives_count TO 3"
            ))
            .await
            .map_err(failed)?;
        Ok(Connected { client, statements: Mutex::default() })
    }

    /// A connection for one piece of work.
    pub fn session(&self) -> Result<Session, Fault> {
        let this = self.clone();
        self.wait(async move { this.session_here().await })
    }

    /// As [`Self::session`], on the threads of the database.
    pub async fn session_here(&self) -> Result<Session, Fault> {
        let permits = Arc::clone(&self.shared.permits);
        let permit = permits.acquire_owned().await.map_err(|_| Fault::Failed("closed".to_owned()))?;
        let idle = || self.shared.idle.lock().pop();
        let mut found = idle();
        // Those that broke meanwhile, as by a restart of the server, are let go.
        while found.as_ref().is_some_and(|connected| connected.client.is_closed()) {
            found = idle();
        }
        let connected = match found {
            Some(connected) => connected,
            None => Arc::new(self.connect().await?),
        };
        Ok(Session { postgres: self.clone(), connected, is_open: false.into(), _permit: permit })
    }
}

impl Session {
    /// Runs `work` with the connection and waits for it here.
    pub fn run<T, F>(&self, work: impl FnOnce(Arc<Connected>) -> F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    {
        let work = work(Arc::clone(&self.connected));
        self.postgres.wait(async move { work.await.map_err(failed) })
    }

    /// Says whether a transaction may be open, and gives what was said before.
    pub fn set_open(&self, is_open: bool) -> bool {
        self.is_open.replace(is_open)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_open.get() && !self.connected.client.is_closed() {
            self.postgres.shared.idle.lock().push(Arc::clone(&self.connected));
        }
    }
}

impl Drop for Shared {
    /// Without waiting: it may be dropped where nothing may block.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What went wrong with a statement.
pub fn failed(error: tokio_postgres::Error) -> Fault {
    match error.code() {
        Some(&SqlState::DISK_FULL) => Fault::Full,
        Some(&SqlState::UNIQUE_VIOLATION) => Fault::Taken,
        Some(code) => Fault::Failed(code.code().to_owned()),
        None => Fault::Failed(if error.is_closed() { "the connection broke" } else { "no code" }.to_owned()),
    }
}

fn unconnected(settings: &Settings, error: &tokio_postgres::Error) -> Fault {
    let address = settings.address();
    let asks_for_password = || {
        let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        format!("{error} {source}").contains("password")
    };
    let advice = match error.code() {
        None if asks_for_password() => {
            "it asks for a password: name a password_file in [organization.postgres], or set the variable"
        }
        None if error.to_string().contains("TLS") => {
            "its certificate is not for this address by the authorities of root_certificate, or it has ssl = off"
        }
        None => return Fault::Unreachable(address),
        Some(&SqlState::INVALID_PASSWORD) => "the password is another one",
        Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => "create the role, or allow it in pg_hba.conf",
        Some(&SqlState::INVALID_CATALOG_NAME) => "create the database: createdb --owner ROLE DATABASE",
        Some(&SqlState::TOO_MANY_CONNECTIONS) => "raise max_connections of the server: a process takes 18",
        Some(_) => "the server's log says more",
    };
    let code = error.code().map_or("no code", |code| code.code()).to_owned();
    Fault::Refused { address, code, advice }
}

/// Whether a host is on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}
