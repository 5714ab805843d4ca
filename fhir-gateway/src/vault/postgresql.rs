//! A store in PostgreSQL, for several processes of one organization. Everything in it is sealed before it
//! comes here, so the server and its backups see ciphertext and keyed hashes only.
//!
//! One connection writes what this process was asked, in the order in which it was asked; batches that
//! wait meanwhile share a transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::{mpsc, oneshot};

use super::{Batch, Durability, Exclusive, Hold, Pair, Space, Store, StoreError};
use crate::postgres::{
    Connected, Fault, Postgres, Session, failed,
    locks::{Guard, Locks},
};

/// Batches that one transaction holds.
const GROUP_BATCHES_MAX: usize = 256;
/// Bytes after which a transaction takes no further batch.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Name of the part of the schema, in the table of versions.
const PART: &str = "vault";

/// What makes the tables, one version after the other. Bodies cannot be made anew, so a step is only ever
/// added.
const MIGRATIONS: [&str; 1] = ["CREATE TABLE vault (
        space smallint NOT NULL, key bytea NOT NULL, value bytea NOT NULL, PRIMARY KEY (space, key));
     ALTER TABLE vault ALTER COLUMN value SET STORAGE EXTERNAL"];

const PUT: &str = "WITH gone AS (
        DELETE FROM vault USING unnest($1::smallint[], $2::bytea[], $3::bytea[]) AS lost (space, key, seen)
        WHERE vault.space = lost.space AND vault.key = lost.key AND (lost.seen IS NULL OR vault.value = lost.seen)),
    fresh AS (INSERT INTO vault SELECT * FROM unnest($4::smallint[], $5::bytea[], $6::bytea[]))
    INSERT INTO vault SELECT * FROM unnest($7::smallint[], $8::bytea[], $9::bytea[])
    ON CONFLICT (space, key) DO UPDATE SET value = excluded.value";

struct Waiting {
    batch: Batch,
    durability: Durability,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The store of one organization. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore {
    postgres: Postgres,
    locks: Locks,
    sender: mpsc::UnboundedSender<Waiting>,
}

/// Number of a space in the table; never changed, nor used again.
fn number(space: Space) -> i16 {
    match space {
        Space::Body => 1,
        Space::Wrap => 2,
        Space::Entry => 3,
        Space::Current => 4,
        Space::Committed => 5,
        Space::Pending => 6,
        Space::Journal => 7,
        Space::Subject => 8,
        Space::Leaf => 9,
        Space::Batch => 10,
        Space::State => 11,
        Space::Export => 12,
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Taken => Self::Taken,
            Fault::Held => Self::Held,
            fault => Self::Fault(fault.to_string()),
        }
    }
}

/// Whether the tables are those of this program.
///
/// # Errors
/// [`Fault::Others`] where a newer program made them.
pub fn is_prepared(postgres: &Postgres) -> Result<bool, Fault> {
    let version = version(&postgres.session()?)?;
    if version > MIGRATIONS.len() {
        return Err(Fault::Others("the vault in PostgreSQL was made by a newer careledger-gateway: use that one"));
    }
    Ok(version == MIGRATIONS.len())
}

/// Brings the tables to the version of this program, each step in a transaction. No other process may use
/// them.
pub fn prepare(postgres: &Postgres) -> Result<(), Fault> {
    let session = postgres.session()?;
    for (at, migration) in MIGRATIONS.iter().enumerate().skip(version(&session)?) {
        let sql = format!(
            "BEGIN; {migration};
             INSERT INTO schema_version VALUES ('{PART}', {}) ON CONFLICT (part) DO UPDATE SET version = excluded.version;
             COMMIT",
            at + 1
        );
        // What fails may leave a transaction open.
        session.set_open(true);
        session.run(|connected| async move { connected.client().batch_execute(&sql).await })?;
        session.set_open(false);
    }
    Ok(())
}

fn version(session: &Session) -> Result<usize, Fault> {
    let found = session.run(|connected| async move {
        let is_there = connected.client().query_one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?;
        if !is_there.try_get::<_, bool>(0)? {
            return Ok(0);
        }
        let found =
            connected.client().query_opt("SELECT version FROM schema_version WHERE part = $1", &[&PART]).await?;
        found.map_or(Ok(0), |row| row.try_get::<_, i64>(0))
    })?;
    usize::try_from(found).map_err(|_| Fault::Failed("a version is negative".to_owned()))
}

impl PostgresStore {
    /// The store whose tables are there ([`is_prepared`], [`prepare`]).
    pub fn on(postgres: Postgres, locks: Locks) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        // It ends with the last store: it has the database, which ends with it.
        postgres.spawn(Writer { postgres: postgres.clone(), connected: None }.run(receiver));
        Self { postgres, locks, sender }
    }

    fn read<T: Send + 'static, F>(&self, work: impl FnOnce(Arc<Connected>) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>> + Send + 'static,
    {
        Ok(self.postgres.session()?.run(work)?)
    }
}

impl Store for PostgresStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_vec();
        self.read(move |connected| async move {
            let statement = connected.statement("SELECT value FROM vault WHERE space = $1 AND key = $2").await?;
            let row = connected.client().query_opt(&statement, &[&number(space), &key]).await?;
            row.map(|row| row.try_get(0)).transpose()
        })
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (first, end) = (prefix.to_vec(), end_of(prefix));
        // Every key is greater than none, and than one that is less than the prefix.
        let after = after.map_or_else(Vec::new, <[u8]>::to_vec);
        let is_first = after.is_empty();
        self.read(move |connected| async move {
            let sql = "SELECT key, value FROM vault WHERE space = $1 AND key >= $2 AND (key > $3 OR $4)
                       AND (key < $5 OR $6) ORDER BY key LIMIT $7";
            let statement = connected.statement(sql).await?;
            let (has_no_end, end) = (end.is_none(), end.unwrap_or_default());
            let space = number(space);
            // The greater of the two bounds is where the server begins to look.
            let low = if after > first { &after } else { &first };
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                [&space, low, &after, &is_first, &end, &has_no_end, &limit];
            let rows = connected.client().query(&statement, &parameters).await?;
            rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
        })
    }

    fn last(&self, space: Space) -> Result<Option<Pair>, StoreError> {
        self.read(move |connected| async move {
            let sql = "SELECT key, value FROM vault WHERE space = $1 ORDER BY key DESC LIMIT 1";
            let statement = connected.statement(sql).await?;
            let row = connected.client().query_opt(&statement, &[&number(space)]).await?;
            row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
        })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> BoxFuture<'static, Result<(), StoreError>> {
        let (done, answer) = oneshot::channel();
        let stopped = || StoreError::Fault("the vault's writer has stopped".to_owned());
        let sent = self.sender.send(Waiting { batch, durability, done }).map_err(|_| stopped());
        async move {
            sent?;
            answer.await.map_err(|_| stopped())?
        }
        .boxed()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn exclusive(&self, names: Vec<String>) -> BoxFuture<'static, Result<Exclusive, StoreError>> {
        let locks = self.locks.clone();
        async move { Ok(Exclusive::by(locks.hold(names).await?)) }.boxed()
    }

    fn try_exclusive(&self, name: &str) -> BoxFuture<'static, Result<Option<Exclusive>, StoreError>> {
        let (locks, name) = (self.locks.clone(), name.to_owned());
        async move { Ok(locks.try_hold(name).await?.map(Exclusive::by)) }.boxed()
    }
}

impl Hold for Guard {
    fn is_lost(&self) -> bool {
        Self::is_lost(self)
    }
}

/// The least key that is greater than all with this prefix; none where there is none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

/// Writes batches in their order.
struct Writer {
    postgres: Postgres,
    connected: Option<Connected>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Waiting>) {
        while let Some(first) = receiver.recv().await {
            let mut bytes = first.batch.bytes();
            let mut group = vec![first];
            while group.len() < GROUP_BATCHES_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(next) = receiver.try_recv() else { break };
                bytes += next.batch.bytes();
                group.push(next);
            }
            self.write(group).await;
        }
    }

    async fn write(&mut self, group: Vec<Waiting>) {
        let outcome = self.together(&group).await;
        if outcome == Err(Fault::Taken) && group.len() > 1 {
            // Nobody is refused for somebody else's pair.
            for waiting in group {
                let outcome = self.together(std::slice::from_ref(&waiting)).await;
                let _ = waiting.done.send(outcome.map_err(StoreError::from));
            }
            return;
        }
        for waiting in group {
            // Whoever stopped waiting does not need the answer; the write stands.
            let _ = waiting.done.send(outcome.clone().map_err(StoreError::from));
        }
    }

    /// One transaction. Where the connection breaks in it, its outcome is unknown and an error.
    async fn together(&mut self, group: &[Waiting]) -> Result<(), Fault> {
        let Changes { gone, fresh, kept } = Changes::of(group)?;
        let connected = match self.connected.take().filter(|connected| !connected.client().is_closed()) {
            Some(connected) => connected,
            None => self.postgres.connect().await?,
        };
        let statement = connected.statement(PUT).await.map_err(failed)?;
        let is_synced = group.iter().any(|waiting| waiting.durability == Durability::Synced);
        let begin = if is_synced { "BEGIN" } else { "BEGIN; SET LOCAL synchronous_commit = off" };
        let client = connected.client();
        let parameters = [gone.parameters(), fresh.parameters(), kept.parameters()].concat();
        // Sent at once; a statement that failed makes the last one undo all.
        let (begun, put, ended) = futures::join!(
            client.batch_execute(begin),
            client.execute(&statement, &parameters),
            client.batch_execute("COMMIT")
        );
        let outcome = begun.and(put.map(|_| ())).and(ended).map_err(failed);
        self.connected = Some(connected);
        outcome
    }
}

/// Pairs as the columns of a table. Of those that are removed the value is the one that they must still have, if any.
#[derive(Default)]
struct Columns {
    spaces: Vec<i16>,
    keys: Vec<Vec<u8>>,
    values: Vec<Option<Vec<u8>>>,
}

impl Columns {
    fn push(&mut self, space: i16, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.spaces.push(space);
        self.keys.push(key);
        self.values.push(value);
    }

    fn parameters(&self) -> [&(dyn tokio_postgres::types::ToSql + Sync); 3] {
        [&self.spaces, &self.keys, &self.values]
    }
}

/// What a group changes in the end, each pair once and in one order everywhere, so that no two processes
/// wait for one another.
#[derive(Default)]
struct Changes {
    gone: Columns,
    fresh: Columns,
    kept: Columns,
}

/// The newest value of a pair, whether the first one had to be new, and which one a removal needs to find.
struct Last<'a> {
    value: Option<&'a Vec<u8>>,
    is_fresh: bool,
    seen: Option<&'a [u8]>,
}

impl Changes {
    fn of(group: &[Waiting]) -> Result<Self, Fault> {
        let mut last: BTreeMap<(i16, &[u8]), Last<'_>> = BTreeMap::new();
        for waiting in group {
            let fresh: BTreeSet<(Space, &[u8])> = waiting.batch.fresh().collect();
            for (place, (space, key, value)) in waiting.batch.changes().iter().enumerate() {
                let must_be_new = fresh.contains(&(*space, key.as_slice()));
                let pair = (number(*space), key.as_slice());
                let before = last.get(&pair);
                if must_be_new && before.is_some() {
                    return Err(Fault::Taken);
                }
                let is_fresh = must_be_new || before.is_some_and(|before| before.is_fresh);
                let seen = match (waiting.batch.seen(place), before) {
                    // What another batch of the group put there is not what was seen, or is: then it goes.
                    (Some(seen), Some(Last { value, .. })) if value.map(Vec::as_slice) != Some(seen) => continue,
                    (seen, None) => seen,
                    (_, Some(_)) => None,
                };
                last.insert(pair, Last { value: value.as_ref(), is_fresh, seen });
            }
        }
        let mut changes = Self::default();
        for ((space, key), Last { value, is_fresh, seen }) in last {
            let key = key.to_vec();
            match (value, is_fresh) {
                (Some(value), true) => changes.fresh.push(space, key, Some(value.clone())),
                (Some(value), false) => changes.kept.push(space, key, Some(value.clone())),
                (None, _) => changes.gone.push(space, key, seen.map(<[u8]>::to_vec)),
            }
        }
        Ok(changes)
    }
}
