//! Bulk exports (HL7 Bulk Data Access 2.0): docs/api/export.md
//!
//! An export runs in the background ([`run`]), step by step; after each step what it found and how far it is
//! are put into the vault together, so that a process that is killed goes on exactly where it was, or another one
//! does that shares the vault.
//!
//! A file holds no resource: it is a sealed list of versions ([`job::Line`]), and the resources are read
//! from the vault, or from their custodian, when the file is fetched ([`lines`]). So there is one copy of each
//! body, and what the caller may see is decided twice: when a line is written and when it is sent.
//!
//! What was asked for is a row that is written once; how far that is, another, which is short: whoever looks for
//! work reads no more than these.
//!
//! An export is there as long as its client's row is ([`Exports::begin`], [`Exports::remove`]), which only requests
//! write; how far it is, only the worker writes. Whatever a worker puts down too late brings no export back.
//!
//! Absent on purpose: a count of lines, which would be one of what a later fetch leaves out; and exports in memory,
//! which other processes would not see.

mod find;
pub mod job;
pub mod lines;
mod rows;
pub mod run;
mod sweep;
mod worker;

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    envelope::ValueKey,
    keys::{OrganizationKeys, random},
    outcome::Refusal,
    records::asking,
    vault::{Batch, Durability, Exclusive, Space, Store, StoreError},
};
use job::{Export, Job, Line, Order};
use rows::{BEGUN, ORDER, OWN, STAMP, STATE, begun_value, is_over, key, lines_key, step_key};

/// Exports of one client that run at the same time.
pub const RUNNING_MAX: usize = 4;
/// Exports of one client that are kept, those that have ended too.
pub const KEPT_MAX: usize = 16;
/// Seconds after which a client that has too many may try again.
const RETRY_SECONDS: u64 = 60;
/// Name of the lock under which exports are begun, put down and removed.
const CHANGING: &str = "exports-changed";
/// Name of the lock of the process that makes them.
const MAKING: &str = "exports-made";

/// The exports of one organization.
pub struct Exports {
    store: Arc<dyn Store>,
    /// Seals jobs and lists of lines.
    key: ValueKey,
    /// Names clients and patients in keys that show nobody.
    names: Arc<OrganizationKeys>,
    /// One task at a time begins, puts down or removes one.
    changing: tokio::sync::Mutex<()>,
    wake: Arc<Notify>,
    /// Keys of rows that do not open and of which the log says so.
    noted: Mutex<BTreeSet<Vec<u8>>>,
}

/// The exports that are there.
struct Kept {
    /// Their ids.
    ids: BTreeSet<String>,
    /// Whether the row of every client opened: else there are more.
    are_all: bool,
}

impl Exports {
    /// Those in the vault.
    pub fn open(keys: &Arc<OrganizationKeys>, store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            store,
            key: ValueKey::of(&keys.storage.derive("careledger/export/1")),
            names: Arc::clone(keys),
            changing: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            noted: Mutex::default(),
        })
    }

    /// Keeps a new export durably and starts it, in whichever process makes them.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] where the client has as many as it may have. After any, nothing is kept, unless the vault
    /// fails while what it took is made durable and again while that is removed: then it goes with its time.
    pub async fn begin(self: &Arc<Self>, export: &Export) -> Result<(), Refusal> {
        let Export { order, job } = export;
        let written = {
            let _changing = self.changing().await?;
            let all = self.asking(Self::all).await?;
            let own = || all.iter().filter(|other| other.client == job.client && !is_over(other));
            let running = own().filter(|other| other.end.is_none()).count();
            if running >= RUNNING_MAX || own().count() >= KEPT_MAX {
                return Err(Refusal::TooMany { retry_after: RETRY_SECONDS });
            }
            let mut batch = Batch::default();
            let own = self.own_key(&job.id, &job.client);
            batch.put(Space::Export, key(BEGUN, &job.id), begun_value(job.began, &own));
            self.put(&mut batch, own, &job.id);
            self.put(&mut batch, key(ORDER, &job.id), order);
            self.put(&mut batch, key(STATE, &job.id), job);
            batch.put(Space::Export, STAMP, random::<16>());
            self.store.commit(batch, Durability::Synced).await
        };
        if let Err(error) = written {
            // A disk that failed while it was made durable may have it all the same, and nobody knows its id.
            if let Err(refusal) = self.forget(&job.id, &job.client).await {
                tracing::warn!(export = job.id, %refusal, "what may be left of a refused export could not be removed");
            }
            return Err(error.into());
        }
        self.wake.notify_one();
        Ok(())
    }

    /// The export of that id, where it is this client's.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for one of another client, and for one that was removed or has expired, as for none.
    pub async fn of_client(self: &Arc<Self>, id: &str, client: &str) -> Result<Export, Refusal> {
        let (id, client) = (id.to_owned(), client.to_owned());
        self.asking(move |exports| exports.own(&id, &client)).await
    }

    /// Ends and removes an export, also one that does not open: nobody else gets rid of it.
    ///
    /// # Errors
    /// As [`Self::of_client`]. Where the vault fails, it may be there still.
    pub async fn remove(self: &Arc<Self>, id: &str, client: &str) -> Result<(), Refusal> {
        let (own, state) = (self.own_key(id, client), key(STATE, id));
        let is_there = move |exports: &Self| {
            // Read, and not guessed from an error: whoever knows the address of another client's export is refused.
            if exports.store.get(Space::Export, &own)?.is_none() {
                return Ok(false);
            }
            let state = exports.store.get(Space::Export, &state)?.map(|sealed| exports.opened::<Job>(&state, &sealed));
            Ok(!matches!(state, Some(Ok(job)) if is_over(&job)))
        };
        if self.asking(is_there).await? { self.forget(id, client).await } else { Err(Refusal::NotFound) }
    }

    /// The lines of a part.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where the export was removed meanwhile.
    pub async fn part(self: &Arc<Self>, job: &str, file: u32, part: u32) -> Result<Vec<Line>, Refusal> {
        let key = lines_key(job, file, part);
        let lines = move |exports: &Self| {
            let lines = exports.row(&key)?;
            lines.ok_or(Refusal::NotFound)
        };
        self.asking(lines).await
    }

    /// Asks the vault where that holds up nobody else.
    async fn asking<T: Send + 'static>(
        self: &Arc<Self>,
        ask: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        asking(self, &*self.store, ask).await
    }

    /// The lock of the process that makes exports; none where another process has it.
    async fn making(&self) -> Result<Option<Exclusive>, Refusal> {
        Ok(self.store.try_exclusive(MAKING).await?)
    }

    /// Waits until nobody else begins, puts down or removes one.
    async fn changing(&self) -> Result<impl Sized, Refusal> {
        let own = self.changing.lock().await;
        // After the own one: the lock is for processes, not for tasks.
        let others = self.store.exclusive(vec![CHANGING.to_owned()]).await?;
        Ok((others, own))
    }

    /// What is another after each kick-off, through whichever process.
    async fn stamp(self: &Arc<Self>) -> Result<Option<Vec<u8>>, Refusal> {
        self.asking(|exports| Ok(exports.store.get(Space::Export, STAMP)?)).await
    }

    /// Those that have not ended, oldest first. Those that have expired are removed.
    async fn running(self: &Arc<Self>) -> Result<Vec<Job>, Refusal> {
        let (over, mut kept): (Vec<Job>, Vec<Job>) = self.asking(Self::all).await?.into_iter().partition(is_over);
        for job in over {
            tracing::info!(export = job.id, "an export has expired");
            if let Err(refusal) = self.forget(&job.id, &job.client).await {
                tracing::warn!(%refusal, "an expired export could not be removed; it is tried again");
            }
        }
        kept.retain(|job| job.end.is_none());
        kept.sort_by_key(|job| job.began);
        Ok(kept)
    }

    /// What was asked for; none where it was removed meanwhile.
    async fn order(self: &Arc<Self>, id: &str) -> Result<Option<Order>, Refusal> {
        let key = key(ORDER, id);
        self.asking(move |exports| exports.row(&key)).await
    }

    /// Those among `patients` of whom no line of the access log says yet that this export has their records.
    async fn unseen(self: &Arc<Self>, job: &str, patients: BTreeSet<String>) -> Result<BTreeSet<String>, Refusal> {
        let job = job.to_owned();
        let unseen = move |exports: &Self| {
            let mut unseen = BTreeSet::new();
            for patient in patients {
                if exports.store.get(Space::Export, &exports.logged_key(&job, &patient))?.is_none() {
                    unseen.insert(patient);
                }
            }
            Ok(unseen)
        };
        self.asking(unseen).await
    }

    /// Puts down how far an export is, with the lines that it found and the patients who are in the access log for
    /// it; nothing where it was removed meanwhile, or where another process made the same step first.
    async fn advance(
        self: &Arc<Self>,
        mut job: Job,
        pieces: Vec<(u32, u32, Vec<Line>)>,
        seen: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        // A lock may be lost while its holder goes on: what must not happen twice is a row that must be new.
        batch.put_new(Space::Export, step_key(&job.id, job.revision), []);
        job.revision += 1;
        for (file, part, lines) in pieces {
            self.put(&mut batch, lines_key(&job.id, file, part), &lines);
        }
        for patient in seen {
            batch.put(Space::Export, self.logged_key(&job.id, patient), []);
        }
        self.put(&mut batch, key(STATE, &job.id), &job);
        let _changing = self.changing().await?;
        let own = self.own_key(&job.id, &job.client);
        let is_there = move |exports: &Self| Ok(exports.store.get(Space::Export, &own)?.is_some());
        if !self.asking(is_there).await? {
            return Ok(());
        }
        // A power cut may take the last steps, each whole, and they are made again.
        match self.store.commit(batch, Durability::Ordered).await {
            Err(StoreError::Taken) => {
                tracing::info!(export = job.id, "another process made a step of an export first");
                Ok(())
            }
            written => Ok(written?),
        }
    }

    /// The export of that id, looked up under its client's name: what is another's is looked up as what is absent.
    fn own(&self, id: &str, client: &str) -> Result<Export, Refusal> {
        if self.store.get(Space::Export, &self.own_key(id, client))?.is_none() {
            return Err(Refusal::NotFound);
        }
        // Removed between two of these, it is not there.
        let job: Job = self.row(&key(STATE, id))?.ok_or(Refusal::NotFound)?;
        let order = self.row(&key(ORDER, id))?.ok_or(Refusal::NotFound)?;
        if job.client == client && !is_over(&job) { Ok(Export { order, job }) } else { Err(Refusal::NotFound) }
    }

    /// How far each is that is there; what was asked for is not read. One that does not open is passed over, and
    /// keeps no other from being made.
    fn all(&self) -> Result<Vec<Job>, Refusal> {
        let kept = self.kept()?.ids;
        let mut all = Vec::with_capacity(kept.len());
        for (key, sealed) in self.store.scan(Space::Export, STATE.as_bytes(), None, usize::MAX)? {
            if !std::str::from_utf8(&key[STATE.len()..]).is_ok_and(|id| kept.contains(id)) {
                continue;
            }
            match self.opened(&key, &sealed) {
                Ok(job) => all.push(job),
                Err(refusal) => self.passed_over(&key, &refusal),
            }
        }
        Ok(all)
    }

    /// All that are there. A client's row that does not open is passed over, and keeps no other export from being made.
    fn kept(&self) -> Result<Kept, Refusal> {
        let mut kept = Kept { ids: BTreeSet::new(), are_all: true };
        for (key, sealed) in self.store.scan(Space::Export, OWN.as_bytes(), None, usize::MAX)? {
            match self.opened(&key, &sealed) {
                Ok(id) => {
                    kept.ids.insert(id);
                }
                Err(refusal) => {
                    kept.are_all = false;
                    self.passed_over(&key, &refusal);
                }
            }
        }
        Ok(kept)
    }

    /// Says once of each row that it does not open: whoever looks for work comes by every second.
    fn passed_over(&self, key: &[u8], refusal: &Refusal) {
        if self.noted.lock().insert(key.to_vec()) {
            let key = String::from_utf8_lossy(key);
            tracing::error!(%key, %refusal, "an export is passed over; its row goes eight days after it was begun");
        }
    }

    fn row<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Refusal> {
        let sealed = self.store.get(Space::Export, key)?;
        sealed.map(|sealed| self.opened(key, &sealed)).transpose()
    }

    fn put(&self, batch: &mut Batch, key: Vec<u8>, value: &impl serde::Serialize) {
        let sealed = self.sealed(&key, value);
        batch.put(Space::Export, key, sealed);
    }
}

#[cfg(test)]
mod tests;
