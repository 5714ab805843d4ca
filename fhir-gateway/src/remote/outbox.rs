//! Access requests on their way to custodians: kept on disk before the ledger knows of them,
//! forgotten when the custodian acknowledged them or when they expired.
//!
//! What is kept is sealed to the custodian already.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use careledger_wire::ids::Address;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::peer;
use crate::{organization::Organization, outcome::Refusal, release::messages::AccessRequest};

/// Wait after a delivery failed; it doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest wait between two attempts.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// Access requests on their way. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: Arc<PathBuf>,
    wake: Arc<Notify>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    custodian: Address,
    expires_at: i64,
    request: AccessRequest,
}

impl Outbox {
    /// Opens the folder, or makes it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: Arc::new(folder.to_path_buf()), wake: Arc::default() })
    }

    /// Keeps a request durably until it is delivered or `expires_at` (Unix seconds) has passed.
    pub fn keep(&self, custodian: &Address, expires_at: i64, request: &AccessRequest) -> Result<(), Refusal> {
        let item = Item { custodian: *custodian, expires_at, request: request.clone() };
        let path = self.path(&request.request.to_string());
        let failed = |error: io::Error| {
            tracing::error!(%error, "an access request cannot be kept");
            if error.kind() == io::ErrorKind::StorageFull { Refusal::StorageFull } else { Refusal::Internal("outbox") }
        };
        let bytes = serde_json::to_vec(&item).map_err(|_| Refusal::Internal("outbox"))?;
        write_durably(&path, &bytes).map_err(failed)
    }

    /// Tells the deliverer that there is something to deliver.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How many are on their way.
    pub fn len(&self) -> usize {
        self.items().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Delivers what is kept, and what comes, until the task is dropped.
    pub async fn deliver(organization: Arc<Organization>) {
        let outbox = organization.network.outbox().clone();
        let mut pause = RETRY_FIRST;
        loop {
            if outbox.attempt(&organization).await {
                pause = RETRY_FIRST;
                outbox.wake.notified().await;
            } else {
                // Something new is tried at once; what failed waits.
                let _ = tokio::time::timeout(pause, outbox.wake.notified()).await;
                pause = (pause * 2).min(RETRY_LONGEST);
            }
        }
    }

    /// One attempt at everything; whether nothing is left.
    async fn attempt(&self, organization: &Organization) -> bool {
        let mut is_done = true;
        for (path, item) in self.items() {
            let is_expired = item.expires_at <= organization.ledger.now();
            if is_expired || peer::deliver(organization, &item.custodian, &item.request).await {
                // A file that stays is delivered again, which the custodian takes as done.
                let _ = fs::remove_file(path);
            } else {
                is_done = false;
            }
        }
        is_done
    }

    fn items(&self) -> Vec<(PathBuf, Item)> {
        let Ok(entries) = fs::read_dir(self.folder.as_path()) else { return Vec::new() };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        files.filter_map(|path| Some((path.clone(), serde_json::from_slice(&fs::read(path).ok()?).ok()?))).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
