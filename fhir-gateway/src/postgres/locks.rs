//! Locks that the processes of one organization hold against one another. They belong to a connection:
//! when a process dies, the server lets go of what it held.
//!
//! They save work and order it; nothing is true because a lock was held. Where a connection breaks its
//! locks are gone while their holder goes on, so that what must not happen twice is refused by rows that
//! must be new, and in the end by the ledger.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use careledger_wire::commitment;
use tokio::sync::{Mutex, oneshot};

use super::{Connected, Fault, Postgres, failed};

/// Between the first attempts at a lock that somebody else has: most are held for a few milliseconds.
const RETRY: Duration = Duration::from_millis(5);
/// Attempts after which each pause is twice the one before,
const QUICK_TRIES: u32 = 20;
/// up to this.
const RETRY_MAX: Duration = Duration::from_millis(100);
/// How long a request waits for locks: longer than whoever holds one waits for the ledger.
const HOLD_DEADLINE: Duration = Duration::from_secs(30);
/// How long a start waits for a process that is just ending.
const MEMBER_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at whether the connection still stands.
const MEMBER_INTERVAL: Duration = Duration::from_secs(2);
/// Name of the lock that every process has as long as it runs.
const MEMBER: &str = "member";
/// Name of the lock of a process that starts.
const PREPARING: &str = "preparing";

const TRY: &str = "SELECT pg_try_advisory_lock($1)";
const TRY_SHARED: &str = "SELECT pg_try_advisory_lock_shared($1)";
const UNLOCK: &str = "SELECT pg_advisory_unlock($1)";

/// How a process shares the organization's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It is the only one: its vault is its own.
    Alone,
    /// Others may be there.
    Shared,
}

impl Membership {
    /// How the place is taken, and what to say where others are in the way.
    fn lock(self) -> (&'static str, &'static str) {
        match self {
            Self::Alone => (
                TRY,
                "another process uses this organization's schema in PostgreSQL, and this one's vault is its own: stop \
                 the other, or set vault = \"postgres\" in both",
            ),
            Self::Shared => (
                TRY_SHARED,
                "another process that keeps its vault to itself uses this organization's schema in PostgreSQL: stop \
                 it, or set vault = \"postgres\" in both",
            ),
        }
    }
}

/// The locks of one process.
#[derive(Clone)]
pub struct Locks {
    postgres: Postgres,
    membership: Membership,
    /// How long is waited for one that another process has.
    deadline: Duration,
    /// The connection that holds them; made anew when it broke.
    connected: Arc<Mutex<Option<Arc<Connected>>>>,
}

/// A lock that is held until this is dropped.
pub struct Guard {
    postgres: Postgres,
    connected: Arc<Connected>,
    keys: Vec<i64>,
}

impl Guard {
    /// Whether the connection broke, and with it the locks are gone.
    pub fn is_lost(&self) -> bool {
        self.connected.client().is_closed()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let (connected, keys) = (Arc::clone(&self.connected), std::mem::take(&mut self.keys));
        self.postgres.spawn(async move {
            for key in keys {
                // A connection that broke has let go already.
                let _ = call(&connected, UNLOCK, key).await;
            }
        });
    }
}

impl Locks {
    /// Becomes a member. Where what is in the schema is not `is_prepared`, it is prepared first, while no
    /// other process is there.
    ///
    /// # Errors
    /// [`Fault::Others`] where other processes are in the way.
    pub fn join<E: From<Fault>>(
        postgres: &Postgres,
        membership: Membership,
        is_prepared: impl Fn() -> Result<bool, E>,
        prepare: impl FnOnce() -> Result<(), E>,
    ) -> Result<Self, E> {
        let (postgres, connected) = (postgres.clone(), Arc::default());
        let locks = Self { postgres: postgres.clone(), membership, deadline: HOLD_DEADLINE, connected };
        let first = {
            let this = locks.clone();
            postgres.wait(async move { this.postgres.connect().await.map(Arc::new) })?
        };
        // Those that start at the same time prepare one after the other, before they are members.
        locks.take(&first, TRY, PREPARING)?.ok_or(Fault::Others("another process is preparing the schema"))?;
        if !is_prepared()? {
            locks.take(&first, TRY, MEMBER)?.ok_or(Fault::Others(
                "the organization's schema in PostgreSQL is another version's, and processes of that version run: \
                 stop all of them, then start this one",
            ))?;
            prepare()?;
            locks.let_go(&first, MEMBER)?;
        }
        let (sql, in_the_way) = locks.membership.lock();
        locks.take(&first, sql, MEMBER)?.ok_or(Fault::Others(in_the_way))?;
        locks.let_go(&first, PREPARING)?;
        let (held, weak) = (locks.clone(), Arc::downgrade(&locks.connected));
        postgres.wait(async move {
            *held.connected.lock().await = Some(first);
            Ok(())
        })?;
        postgres.spawn(Self::stay(postgres.clone(), membership, weak));
        Ok(locks)
    }

    /// Becomes a member again, soon after a connection broke.
    async fn stay(postgres: Postgres, membership: Membership, connected: Weak<Mutex<Option<Arc<Connected>>>>) {
        loop {
            tokio::time::sleep(MEMBER_INTERVAL).await;
            let Some(connected) = connected.upgrade() else { return };
            let locks = Self { postgres: postgres.clone(), membership, deadline: HOLD_DEADLINE, connected };
            if let Err(fault) = locks.connection().await {
                tracing::error!(%fault, "this process does not hold its place in PostgreSQL");
            }
        }
    }

    fn take(&self, connected: &Arc<Connected>, sql: &'static str, name: &str) -> Result<Option<()>, Fault> {
        let (connected, key) = (Arc::clone(connected), self.key(name));
        self.postgres.wait(async move {
            let deadline = Instant::now() + MEMBER_DEADLINE;
            while !call(&connected, sql, key).await? {
                if Instant::now() > deadline {
                    return Ok(None);
                }
                tokio::time::sleep(RETRY).await;
            }
            Ok(Some(()))
        })
    }

    fn let_go(&self, connected: &Arc<Connected>, name: &str) -> Result<(), Fault> {
        let (connected, key) = (Arc::clone(connected), self.key(name));
        self.postgres.wait(async move { call(&connected, UNLOCK, key).await.map(|_| ()) })
    }

    /// The same, which waits no longer than this for what another process has.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Waits for all of `names`. The caller lets no two of its own tasks ask for one name at once.
    ///
    /// # Errors
    /// [`Fault::Held`] where another process does not let go in time.
    pub async fn hold(&self, names: Vec<String>) -> Result<Guard, Fault> {
        let (done, answer) = oneshot::channel();
        let this = self.clone();
        self.postgres.spawn(async move {
            // Where nobody waits any more, the lock is let go at once.
            let _ = done.send(this.hold_here(names).await);
        });
        answer.await.unwrap_or_else(|_| Err(Fault::Failed("the work was interrupted".to_owned())))
    }

    /// The lock of that name; none where another process has it. The caller lets no two of its own tasks ask for one
    /// name at once.
    pub async fn try_hold(&self, name: String) -> Result<Option<Guard>, Fault> {
        let (done, answer) = oneshot::channel();
        let this = self.clone();
        self.postgres.spawn(async move {
            // Where nobody waits any more, the lock is let go at once.
            let _ = done.send(this.try_hold_here(&name).await);
        });
        answer.await.unwrap_or_else(|_| Err(Fault::Failed("the work was interrupted".to_owned())))
    }

    async fn try_hold_here(&self, name: &str) -> Result<Option<Guard>, Fault> {
        let connected = self.connection().await?;
        let key = self.key(name);
        let is_held = call(&connected, TRY, key).await?;
        Ok(is_held.then(|| Guard { postgres: self.postgres.clone(), connected, keys: vec![key] }))
    }

    async fn hold_here(&self, names: Vec<String>) -> Result<Guard, Fault> {
        let connected = self.connection().await?;
        let mut wanted: Vec<i64> = names.iter().map(|name| self.key(name)).collect();
        // In one order everywhere, so that no two processes wait for one another.
        wanted.sort_unstable();
        wanted.dedup();
        let mut guard = Guard { postgres: self.postgres.clone(), connected, keys: Vec::new() };
        let end = Instant::now() + self.deadline;
        for key in wanted {
            let (mut tries, mut pause) = (0, RETRY);
            // Asked for and not waited for: the connection is that of all who hold something here, and of those who let go.
            while !call(&guard.connected, TRY, key).await? {
                if Instant::now() + pause > end {
                    return Err(Fault::Held);
                }
                tokio::time::sleep(pause).await;
                tries += 1;
                if tries > QUICK_TRIES {
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
            guard.keys.push(key);
        }
        Ok(guard)
    }

    async fn connection(&self) -> Result<Arc<Connected>, Fault> {
        let mut held = self.connected.lock().await;
        if let Some(connected) = held.as_ref().filter(|connected| !connected.client().is_closed()) {
            return Ok(Arc::clone(connected));
        }
        let connected = Arc::new(self.postgres.connect().await?);
        let (sql, in_the_way) = self.membership.lock();
        if !call(&connected, sql, self.key(MEMBER)).await? {
            return Err(Fault::Others(in_the_way));
        }
        *held = Some(Arc::clone(&connected));
        Ok(connected)
    }

    /// The server knows locks by number, for all schemas of a database.
    fn key(&self, name: &str) -> i64 {
        let hash =
            commitment::hash("careledger/postgres-lock/1", &[self.postgres.schema().as_bytes(), name.as_bytes()]);
        i64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"))
    }
}

async fn call(connected: &Connected, sql: &str, key: i64) -> Result<bool, Fault> {
    let statement = connected.statement(sql).await.map_err(failed)?;
    connected.client().query_one(&statement, &[&key]).await.map_err(failed)?.try_get(0).map_err(failed)
}
