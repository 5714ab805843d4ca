//! The search index: SQLite, encrypted with SQLCipher, derived.
//!
//! One writer, many readers (write-ahead log). Nothing is true because the index says so: it is
//! rebuilt from vault and ledger whenever it is lost or its tables changed, so its commits are
//! not synced to disk one by one; start-up applies what is missing.

mod compare;
pub mod compartment;
pub mod export;
pub mod extract;
pub mod history;
pub mod include;
mod kept;
pub mod range;
mod schema;
mod select;
pub mod sight;
mod write;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use careledger_wire::ids::Address;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

pub use select::{Hit, Page};

use compartment::{Compartment, Part};
use include::Beside;
use kept::{Kept, MATCHES_MAX};
use sight::Sight;

use crate::{
    json::Document,
    outcome::Refusal,
    records::{Content, Feed, Listed, Stored, blocking},
    search::{Cursor, Include, Query, Sort},
};

/// Idle reading connections that are kept. More are opened when more searches run at once.
const IDLE_READERS_MAX: usize = 16;

/// How long a connection waits for another to finish, in milliseconds.
const BUSY_TIMEOUT_MS: u32 = 10_000;

/// What a version looks like to the index.
#[derive(Debug, Clone, Copy)]
pub enum Indexed<'a> {
    /// A resource.
    Resource(&'a Document),
    /// A raw Binary: found by id only.
    Opaque,
    /// A deletion.
    Deleted,
}

/// One version to put into the index.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Resource type.
    pub resource_type: &'a str,
    /// Resource id.
    pub id: &'a str,
    /// Version, from 1.
    pub version: u32,
    /// Block time of the version, Unix seconds.
    pub last_updated: i64,
    /// Local Patient id, if the resource is about a patient.
    pub patient: Option<&'a str>,
    /// What it says.
    pub content: Indexed<'a>,
}

/// A resource that the index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its number in this index, from 1.
    pub number: i64,
    /// Resource type.
    pub resource_type: String,
    /// Resource id.
    pub id: String,
    /// Its newest version.
    pub version: u32,
}

/// The index of one organization. Calls block; async callers go through [`Index::run`].
pub struct Index {
    path: PathBuf,
    key: String,
    base_url: String,
    organization: Address,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    kept: Kept,
}

impl Index {
    /// Opens or creates the index at `path`, encrypted with `key`. An index that was made with
    /// other tables is emptied: the caller applies everything again, as after a loss.
    ///
    /// `base_url` (without a slash at its end) is where the organization's own resources live;
    /// `organization` is its account, from which its patients' subject ids follow.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the file cannot be opened with that key.
    pub fn open(path: &Path, key: &[u8; 32], base_url: &str, organization: Address) -> Result<Self, Refusal> {
        let key = hex::encode(key);
        let writer = connect(path, &key, OpenFlags::default())?;
        schema::prepare(&writer).map_err(fault)?;
        Ok(Self {
            path: path.to_path_buf(),
            key,
            base_url: base_url.to_string(),
            organization,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            kept: Kept::default(),
        })
    }

    /// Runs `work` on the index away from the threads that answer requests.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let index = Arc::clone(self);
        blocking(move || work(&index)).await
    }

    /// Puts versions into the index, all or none, and remembers `through` as applied. A version
    /// that is there, or older than what is there, changes nothing.
    pub fn put(&self, through: u64, entries: &[Entry<'_>]) -> Result<(), Refusal> {
        let context = write::Context { base_url: &self.base_url, organization: &self.organization };
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(fault)?;
        for entry in entries {
            write::apply(&transaction, &context, entry).map_err(fault)?;
        }
        transaction.execute("UPDATE progress SET applied = ?1", [i64_of(through)]).map_err(fault)?;
        transaction.commit().map_err(fault)
    }

    /// One page of a search.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] where an order that has to be kept is of too many matches, or was
    /// forgotten.
    pub fn search(&self, query: &Query) -> Result<Page, Refusal> {
        match select::key_of(query) {
            _ if query.only_count => self.with_reader(|reader| select::page(reader, query, Sort::default())),
            Some(sort) => self.with_reader(|reader| select::page(reader, query, sort)),
            None => self.kept_page(query),
        }
    }

    /// One page in an order that is kept from the first page on.
    fn kept_page(&self, query: &Query) -> Result<Page, Refusal> {
        let ended = || Refusal::BadRequest("the search has ended here; search again".to_owned());
        let (order, began) = match query.cursor {
            Some(cursor) => (self.kept.order(cursor.snapshot).ok_or_else(ended)?, cursor),
            None => {
                let order = self.with_reader(|reader| select::ordered(reader, query, MATCHES_MAX + 1))?;
                if order.len() > MATCHES_MAX as usize {
                    let problem = format!("more than {MATCHES_MAX} resources match, which is too many for this _sort");
                    return Err(Refusal::BadRequest(problem));
                }
                let total = query.with_total.then_some(order.len() as u64);
                let has_more = order.len() > query.count as usize;
                let snapshot = if has_more { self.kept.keep(order.clone()) } else { 0 };
                (order.into(), Cursor { snapshot, after: 0, total })
            }
        };
        let after = usize::try_from(began.after).map_or(order.len(), |after| after.min(order.len()));
        let through = order.len().min(after + query.count as usize);
        let hits = self.with_reader(|reader| select::hits(reader, query, &order[after..through]))?;
        let next = (through < order.len()).then(|| Cursor { after: i64_of(through as u64), ..began });
        Ok(Page { hits, total: began.total, next })
    }

    /// Up to `limit` resources that `include` adds to those with `numbers`.
    pub fn beside(
        &self,
        numbers: &[i64],
        include: &Include,
        sight: Option<&Sight>,
        limit: usize,
    ) -> Result<Vec<Beside>, Refusal> {
        self.with_reader(|reader| include::beside(reader, numbers, include, sight, limit))
    }

    /// One page of what is about one patient.
    pub fn compartment(&self, asked: &Compartment) -> Result<Part, Refusal> {
        self.with_reader(|reader| compartment::page(reader, asked))
    }

    /// Up to `limit` resources that meet the criteria, whatever page was asked for: to resolve
    /// conditions.
    pub fn matches(&self, query: &Query, limit: u32) -> Result<Vec<Hit>, Refusal> {
        self.with_reader(|reader| select::matches(reader, query, limit))
    }

    /// One page of versions, newest first; none where it is to begin at one that is not there.
    pub fn history(&self, versions: &history::Versions, count: u32) -> Result<Option<history::Listing>, Refusal> {
        self.with_reader(|reader| history::page(reader, versions, count))
    }

    /// Whether the caller may see any version of a resource.
    pub fn has_history(&self, versions: &history::Versions) -> Result<bool, Refusal> {
        self.with_reader(|reader| history::exists(reader, versions))
    }

    /// One part of a type, in the order of ids, for an export.
    pub fn export(&self, wanted: &export::Wanted) -> Result<Vec<export::Row>, Refusal> {
        self.with_reader(|reader| export::part(reader, wanted))
    }

    /// Time of the newest version that is visible, Unix seconds; 0 where there is none.
    pub fn newest(&self) -> Result<i64, Refusal> {
        self.with_reader(export::newest)
    }

    /// Up to `limit` resources, deleted ones too, numbered above `after`.
    pub fn known(&self, after: i64, limit: u32) -> Result<Vec<Known>, Refusal> {
        self.with_reader(|reader| {
            let mut statement = reader.prepare_cached(
                "SELECT number, type, id, version FROM resource WHERE number > ?1 ORDER BY number LIMIT ?2",
            )?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Known { number: row.get(0)?, resource_type: row.get(1)?, id: row.get(2)?, version: row.get(3)? })
            };
            statement.query_map([after, limit.into()], read)?.collect()
        })
    }

    /// Sequence of the last change that is in the index.
    pub fn last_applied(&self) -> Result<u64, Refusal> {
        Feed::applied(self)
    }

    /// Ids of those among `documents` that meet the criteria of `query`: for resources that are
    /// not in the index. The same tables decide, in memory.
    pub fn matching(
        documents: &[(String, Document)],
        query: &Query,
        base_url: &str,
        organization: Address,
    ) -> Result<BTreeSet<String>, Refusal> {
        let mut connection = Connection::open_in_memory().map_err(fault)?;
        schema::clear(&connection).map_err(fault)?;
        let context = write::Context { base_url, organization: &organization };
        let transaction = connection.transaction().map_err(fault)?;
        for (id, document) in documents {
            let (resource_type, content) = (query.resource.name, Indexed::Resource(document));
            let last_updated = last_updated(document);
            let entry = Entry { resource_type, id, version: 1, last_updated, patient: None, content };
            write::apply(&transaction, &context, &entry).map_err(fault)?;
        }
        transaction.commit().map_err(fault)?;
        let limit = u32::try_from(documents.len()).unwrap_or(u32::MAX);
        // Whose the documents are is not in these tables; the caller of this knows.
        let query = Query { sight: None, ..query.clone() };
        let hits = select::matches(&connection, &query, limit).map_err(fault)?;
        Ok(hits.into_iter().map(|hit| hit.id).collect())
    }

    fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Refusal> {
        let idle = self.readers.lock().pop();
        let reader = match idle {
            Some(reader) => reader,
            None => connect(&self.path, &self.key, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?,
        };
        let answer = work(&reader).map_err(fault)?;
        let mut readers = self.readers.lock();
        if readers.len() < IDLE_READERS_MAX {
            readers.push(reader);
        }
        Ok(answer)
    }
}

impl Feed for Index {
    fn applied(&self) -> Result<u64, Refusal> {
        self.with_reader(|reader| {
            let applied: i64 = reader.query_row("SELECT applied FROM progress", [], |row| row.get(0))?;
            Ok(u64::try_from(applied).unwrap_or_default())
        })
    }

    fn apply(&self, through: u64, versions: &[Arc<Stored>]) -> Result<(), Refusal> {
        let documents: Vec<Option<Document>> = versions.iter().map(|stored| parsed(stored)).collect();
        let entries: Vec<Entry<'_>> = versions
            .iter()
            .zip(&documents)
            .map(|(stored, document)| Entry {
                resource_type: &stored.resource_type,
                id: &stored.id,
                version: stored.version,
                last_updated: stored.last_updated,
                patient: stored.patient.as_deref(),
                content: match (document, &stored.content) {
                    (Some(document), _) => Indexed::Resource(document),
                    (None, Content::Deleted) => Indexed::Deleted,
                    (None, _) => Indexed::Opaque,
                },
            })
            .collect();
        self.put(through, &entries)
    }

    fn list(&self, versions: &[Listed]) -> Result<(), Refusal> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction().map_err(fault)?;
        history::list(&transaction, versions).map_err(fault)?;
        transaction.commit().map_err(fault)
    }

    fn clear(&self) -> Result<(), Refusal> {
        schema::clear(&self.writer.lock()).map_err(fault)
    }
}

/// The JSON of a version. One that does not parse is found by id only: a single damaged body must
/// not keep everything after it out of the index.
fn parsed(stored: &Stored) -> Option<Document> {
    let Content::Json(bytes) = &stored.content else { return None };
    let document = Document::parse(bytes.clone());
    if document.is_err() {
        let (resource_type, version) = (&stored.resource_type, stored.version);
        tracing::error!(resource_type, version, "a kept resource does not parse and is indexed by its id alone");
    }
    document.ok()
}

/// What a resource says about itself, Unix seconds.
fn last_updated(document: &Document) -> i64 {
    let text = document.root().get("meta").and_then(|meta| meta.text("lastUpdated"));
    text.and_then(range::date).map_or(0, |range| range.low.div_euclid(1000))
}

fn i64_of(number: u64) -> i64 {
    i64::try_from(number).expect("a count of changes fits")
}

fn connect(path: &Path, key: &str, flags: OpenFlags) -> Result<Connection, Refusal> {
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    // The raw form: the key is random already, so no derivation.
    connection.pragma_update(None, "key", format!("x'{key}'")).map_err(fault)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS.into())).map_err(fault)?;
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "temp_store", "MEMORY").map_err(fault)?;
    Ok(connection)
}

/// A fault of the database. Its message may hold values, so only its code is logged.
fn fault(error: rusqlite::Error) -> Refusal {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => Refusal::StorageFull,
        code => {
            tracing::error!(?code, "the search index failed");
            Refusal::Internal("search index")
        }
    }
}

#[cfg(test)]
mod tests;
