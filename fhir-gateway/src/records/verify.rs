//! Whether every version that was acknowledged is still there, bit for bit, and on the ledger.

use std::collections::HashSet;

use careledger_wire::{ids::RecordId, proto::state};

use super::{
    Core, Progress,
    entry::{self, Entry},
};
use crate::{envelope, outcome::Refusal, vault, vault::Space};

/// Keys that one page of a scan over the vault holds.
const VERSIONS_PER_PAGE: usize = 1_000;

/// What is wrong with one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// The description of the document is missing, or was changed: not even its type can be told.
    Description,
    /// The sealed body is missing, or is not what its address says.
    Body,
    /// The document's key is missing, or was changed.
    Key,
    /// The body is what its address says and does not open with its key.
    Sealed,
    /// The ledger has another version of the record, or another commitment to this one.
    NotOnLedger,
    /// The vault does not say any more which version is current, or has not the one that it names.
    Current,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Description => "its description is missing or was changed",
            Self::Body => "its sealed body is missing or was changed",
            Self::Key => "its key is missing or was changed",
            Self::Sealed => "its body does not open with its key",
            Self::NotOnLedger => "it is not what the ledger says",
            Self::Current => "the vault does not have it as the current one",
        })
    }
}

/// One version with a flaw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flawed {
    /// The record on the ledger.
    pub record: RecordId,
    /// The version.
    pub version: u32,
    /// `Type/id`, where the description tells it.
    pub name: Option<String>,
    /// What is wrong.
    pub flaw: Flaw,
}

impl std::fmt::Display for Flawed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { record, version, name, flaw } = self;
        match name {
            Some(name) => write!(formatter, "{name} version {version}: {flaw} (record {record})"),
            None => write!(formatter, "record {record} version {version}: {flaw}"),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Versions that were read, flawed ones too.
    pub versions: u64,
    /// Those with a flaw.
    pub flawed: Vec<Flawed>,
    /// Records on the ledger of which the vault has no version.
    pub missing: Vec<RecordId>,
}

impl Core {
    /// The body of [`super::Records::verify`].
    pub(super) async fn verify(&self, mut progress: impl FnMut(Progress) + Send) -> Result<Verified, Refusal> {
        let anchored = self.anchored().await?;
        let total = anchored.len() as u64;
        // Records with a version, and those of which the current one was among them.
        let (mut found, mut seen, mut compared) = (Verified::default(), HashSet::new(), HashSet::new());
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(Space::Committed, &[], after.as_deref(), VERSIONS_PER_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, _) in &page {
                let (record, version) = entry::record_and_version(key)?;
                seen.insert(record);
                found.versions += 1;
                // Whatever stands there in place of a version is none.
                let current = self.store.get(Space::Current, record.as_bytes())?;
                let current = current.and_then(|value| entry::version_and_time(&value).ok());
                let is_current = current.is_some_and(|(current, _)| current == version);
                if is_current {
                    compared.insert(record);
                }
                let Ok(Some(entry)) = self.entry(&record, version) else {
                    found.flawed.push(Flawed { record, version, name: None, flaw: Flaw::Description });
                    continue;
                };
                // A next version that does not open is none that is about to become visible.
                let is_anchored = || self.is_anchored(&record, version, anchored.get(&record)).unwrap_or(false);
                let flaw = match self.flaw(&record, version, &entry) {
                    None if is_current && !is_anchored() => Some(Flaw::NotOnLedger),
                    flaw => flaw,
                };
                let name = Some(format!("{}/{}", entry.resource_type, entry.id));
                found.flawed.extend(flaw.map(|flaw| Flawed { record, version, name, flaw }));
            }
            progress(Progress { done: seen.len() as u64, total });
        }
        // A record that is read as absent though its versions are there would be named by nothing else.
        let is_lost = |record: &RecordId| seen.contains(record) && !compared.contains(record);
        let lost = anchored.iter().filter(|(record, _)| is_lost(record));
        let mut lost: Vec<Flawed> = lost
            .map(|(record, state)| Flawed { record: *record, version: state.version, name: None, flaw: Flaw::Current })
            .collect();
        lost.sort_unstable_by_key(|flawed| flawed.record);
        found.flawed.extend(lost);
        let is_missing = |(record, on_ledger): &(&RecordId, &state::Record)| {
            !seen.contains(record) && !self.is_to_be_published(record, on_ledger).unwrap_or(false)
        };
        found.missing = anchored.iter().filter(is_missing).map(|(record, _)| *record).collect();
        found.missing.sort_unstable();
        Ok(found)
    }

    /// What is wrong with a version in the vault alone.
    fn flaw(&self, record: &RecordId, version: u32, entry: &Entry) -> Option<Flaw> {
        let Ok(sealed) = vault::get_body(self.store.as_ref(), &entry.address) else { return Some(Flaw::Body) };
        let document = envelope::Document::new(*record, version);
        let key = self.own_wrap(&document).ok();
        let key = key.and_then(|wrap| envelope::unwrap_own(&document, &wrap, &self.storage_key).ok());
        let Some(key) = key else { return Some(Flaw::Key) };
        envelope::open(&document, &key, &sealed).is_err().then_some(Flaw::Sealed)
    }
}
