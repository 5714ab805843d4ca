//! Bulk exports (HL7 Bulk Data Access 2.0): docs/api/export.md
//!
//! An export runs in the background ([`run`]), step by step; after each step what it found and how far it is
//! are put into the vault together, so that a process that is killed goes on exactly where it was.
//!
//! A file holds no resource: it is a sealed list of versions ([`job::Line`]), and the resources are read
//! from the vault, or from their custodian, when the file is fetched ([`lines`]). So there is one copy of each
//! body, and what the caller may see is decided twice: when a line is written and when it is sent.
//!
//! Absent on purpose: a count of lines, which would be one of what a later fetch leaves out.

pub mod job;
pub mod lines;
pub mod run;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    auth::clock,
    envelope,
    keys::{OrganizationKeys, Secret},
    outcome::Refusal,
    vault::{Batch, Durability, Space, Store},
};
use job::{Job, Line};

/// Exports of one client that run at the same time.
pub const RUNNING_MAX: usize = 4;
/// Exports of one client that are kept, those that have ended too.
pub const KEPT_MAX: usize = 16;
/// Seconds after which a client that has too many may try again.
const RETRY_SECONDS: u64 = 60;
/// Keys that one page of a removal holds.
const KEYS_PER_PAGE: usize = 1_000;

/// The exports of one organization.
pub struct Exports {
    store: Arc<dyn Store>,
    /// Seals jobs and lists of lines.
    key: Secret,
    /// Names patients in keys that show nobody.
    names: Arc<OrganizationKeys>,
    /// Every export that is there. Held while a change is handed to the store, so that nothing is written of one
    /// that is not.
    jobs: Mutex<BTreeMap<String, Job>>,
    wake: Arc<Notify>,
}

impl Exports {
    /// Opens what is in the vault; what is left of exports that were removed is removed.
    pub fn open(keys: &Arc<OrganizationKeys>, store: Arc<dyn Store>) -> Result<Self, Refusal> {
        let exports = Self {
            store,
            key: keys.storage.derive("careledger/export/1"),
            names: Arc::clone(keys),
            jobs: Mutex::default(),
            wake: Arc::default(),
        };
        let mut jobs = BTreeMap::new();
        for (key, sealed) in exports.store.scan(Space::Export, b"job/", None, usize::MAX)? {
            let job: Job = exports.opened(&key, &sealed)?;
            jobs.insert(job.id.clone(), job);
        }
        *exports.jobs.lock() = jobs;
        Ok(exports)
    }

    /// Keeps a new export durably and starts it.
    ///
    /// # Errors
    /// [`Refusal::TooMany`] where the client has as many as it may have.
    pub async fn begin(&self, job: Job) -> Result<(), Refusal> {
        let id = job.id.clone();
        let written = {
            let mut jobs = self.jobs.lock();
            let own = || jobs.values().filter(|other| other.client == job.client && !is_over(other));
            let running = own().filter(|other| other.end.is_none()).count();
            if running >= RUNNING_MAX || own().count() >= KEPT_MAX {
                return Err(Refusal::TooMany { retry_after: RETRY_SECONDS });
            }
            let mut batch = Batch::default();
            self.put_job(&mut batch, &job);
            jobs.insert(job.id.clone(), job);
            self.store.commit(batch, Durability::Synced)
        };
        if let Err(error) = written.await {
            self.jobs.lock().remove(&id);
            return Err(error.into());
        }
        self.wake.notify_one();
        Ok(())
    }

    /// The export of that id, where it is this client's.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for one of another client, and for one that was removed or has expired, as for none.
    pub fn of_client(&self, id: &str, client: &str) -> Result<Job, Refusal> {
        let jobs = self.jobs.lock();
        jobs.get(id).filter(|job| job.client == client && !is_over(job)).cloned().ok_or(Refusal::NotFound)
    }

    /// Ends and removes an export.
    ///
    /// # Errors
    /// As [`Self::of_client`].
    pub async fn remove(&self, id: &str, client: &str) -> Result<(), Refusal> {
        self.of_client(id, client)?;
        self.forget(id).await
    }

    /// The lines of a part.
    pub fn part(&self, job: &str, file: u32, part: u32) -> Result<Vec<Line>, Refusal> {
        let key = part_key(job, file, part);
        let sealed = self.store.get(Space::Export, &key)?.ok_or(Refusal::NotFound)?;
        self.opened(&key, &sealed)
    }

    /// Those that have not ended, oldest first.
    fn running(&self) -> Vec<Job> {
        let jobs = self.jobs.lock();
        let mut running: Vec<Job> = jobs.values().filter(|job| job.end.is_none()).cloned().collect();
        running.sort_by_key(|job| job.began);
        running
    }

    /// Those among `patients` of whom no line of the access log says yet that this export has their records.
    fn unseen(&self, job: &str, patients: BTreeSet<String>) -> Result<BTreeSet<String>, Refusal> {
        let mut unseen = BTreeSet::new();
        for patient in patients {
            if self.store.get(Space::Export, &self.seen_key(job, &patient))?.is_none() {
                unseen.insert(patient);
            }
        }
        Ok(unseen)
    }

    /// Puts down how far an export is, with the lines that it found and the patients who are in the access log for
    /// it; nothing where it was removed meanwhile.
    async fn advance(
        &self,
        job: Job,
        pieces: Vec<(u32, u32, Vec<Line>)>,
        seen: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        for (file, part, lines) in pieces {
            let key = part_key(&job.id, file, part);
            batch.put(Space::Export, key.clone(), self.sealed(&key, &lines));
        }
        for patient in seen {
            batch.put(Space::Export, self.seen_key(&job.id, patient), []);
        }
        self.put_job(&mut batch, &job);
        let (before, written) = {
            let mut jobs = self.jobs.lock();
            let Some(kept) = jobs.get_mut(&job.id) else { return Ok(()) };
            let before = std::mem::replace(kept, job);
            // A power cut may take the last steps, each whole, and they are made again.
            (before, self.store.commit(batch, Durability::Ordered))
        };
        if let Err(error) = written.await {
            // What is in memory is what is on the disk.
            if let Some(kept) = self.jobs.lock().get_mut(&before.id) {
                *kept = before;
            }
            return Err(error.into());
        }
        Ok(())
    }

    /// Removes an export and all of its files.
    async fn forget(&self, id: &str) -> Result<(), Refusal> {
        let (job, written) = {
            let mut jobs = self.jobs.lock();
            let Some(job) = jobs.remove(id) else { return Ok(()) };
            let mut batch = Batch::default();
            batch.delete(Space::Export, job_key(id));
            (job, self.store.commit(batch, Durability::Synced))
        };
        if let Err(error) = written.await {
            // It is still kept, and would be there again after a restart.
            self.jobs.lock().entry(id.to_owned()).or_insert(job);
            return Err(error.into());
        }
        self.sweep(&format!("part/{id}/")).await?;
        self.sweep(&format!("seen/{id}/")).await
    }

    /// Removes those that have expired.
    async fn expire(&self) -> Result<(), Refusal> {
        let over: Vec<String> =
            self.jobs.lock().values().filter(|job| is_over(job)).map(|job| job.id.clone()).collect();
        for id in over {
            tracing::info!(export = id, "an export has expired");
            self.forget(&id).await?;
        }
        Ok(())
    }

    /// Removes what is left of exports that are not there any more.
    async fn sweep_orphans(&self) -> Result<(), Refusal> {
        for space in ["part/", "seen/"] {
            let mut after: Option<Vec<u8>> = None;
            while let Some((key, _)) = self.store.scan(Space::Export, space.as_bytes(), after.as_deref(), 1)?.pop() {
                let id = key[space.len()..].split(|byte| *byte == b'/').next().unwrap_or_default();
                let id = String::from_utf8_lossy(id).into_owned();
                if !self.jobs.lock().contains_key(&id) {
                    self.sweep(&format!("{space}{id}/")).await?;
                }
                // Behind everything of that export: a byte that is in no key.
                after = Some([space.as_bytes(), id.as_bytes(), b"/\xff"].concat());
            }
        }
        Ok(())
    }

    async fn sweep(&self, prefix: &str) -> Result<(), Refusal> {
        loop {
            let page = self.store.scan(Space::Export, prefix.as_bytes(), None, KEYS_PER_PAGE)?;
            if page.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::default();
            page.into_iter().for_each(|(key, _)| batch.delete(Space::Export, key));
            self.store.commit(batch, Durability::Ordered).await?;
        }
    }

    fn put_job(&self, batch: &mut Batch, job: &Job) {
        let key = job_key(&job.id);
        batch.put(Space::Export, key.clone(), self.sealed(&key, job));
    }

    fn sealed(&self, key: &[u8], value: &impl serde::Serialize) -> Vec<u8> {
        let json = serde_json::to_vec(value).expect("text always serialises");
        envelope::seal_value(&self.key, &json, key)
    }

    fn opened<T: serde::de::DeserializeOwned>(&self, key: &[u8], sealed: &[u8]) -> Result<T, Refusal> {
        let fault = Refusal::Internal("what is kept of an export does not open");
        let json = envelope::open_value(&self.key, sealed, key).map_err(|_| fault.clone())?;
        serde_json::from_slice(&json).map_err(|_| fault)
    }

    /// The key shows no patient.
    fn seen_key(&self, job: &str, patient: &str) -> Vec<u8> {
        format!("seen/{job}/{}", self.names.record_id("careledger/export-of", patient)).into_bytes()
    }
}

fn is_over(job: &Job) -> bool {
    job.expires_at() <= clock()
}

fn job_key(id: &str) -> Vec<u8> {
    format!("job/{id}").into_bytes()
}

fn part_key(job: &str, file: u32, part: u32) -> Vec<u8> {
    format!("part/{job}/{file:010}/{part:010}").into_bytes()
}

#[cfg(test)]
mod tests;
