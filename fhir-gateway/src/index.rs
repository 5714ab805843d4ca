//! The search index: derived; in a file of SQLite, encrypted with SQLCipher, or in PostgreSQL for an
//! organization whose gateway is several processes.
//!
//! One writer at a time, many readers. Nothing is true because the index says so: it is rebuilt from
//! vault and ledger whenever it is lost or its tables changed, so in a file its commits are not synced
//! to disk one by one; start-up applies what is missing.

mod behind;
mod bounded;
pub mod changes;
mod compare;
pub mod compartment;
mod database;
pub mod export;
pub mod extract;
mod feed;
pub mod history;
pub mod include;
mod kept;
pub mod letters;
pub mod range;
mod schema;
mod select;
pub mod sight;
pub mod value_sets;
mod write;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use careledger_wire::ids::Address;

pub use select::{Hit, Page};

use behind::{Gathering, Tables};
use compartment::{Compartment, Part};
use database::{Answer, Connection, Place, Row};
use include::Beside;
use kept::{Kept, MATCHES_MAX};
use sight::Sight;

use crate::{
    json::Document,
    outcome::Refusal,
    postgres::Postgres,
    records::{Feed, blocking},
    search::{Cursor, Include, Query, Sort},
    work::Counters,
};

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

/// A resource that the index does not have.
#[derive(Debug, Clone)]
pub struct Unlisted {
    /// Its type.
    pub resource_type: &'static str,
    /// Its id, or what it is called among others of its type.
    pub name: String,
    /// What it says.
    pub document: Document,
}

/// The index of one organization. Calls block; async callers go through [`Index::run`].
pub struct Index {
    tables: Arc<Tables>,
    kept: Kept,
    counters: Arc<Counters>,
}

impl Index {
    /// Opens or creates the index at `path`, encrypted with `key`. An index that was made with
    /// other tables, or encrypted otherwise by an earlier program, is emptied: the caller applies everything again, as after a loss.
    ///
    /// `base_url` (without a slash at its end) is where the organization's own resources live;
    /// `organization` is its account, from which its patients' subject ids follow.
    ///
    /// # Errors
    /// [`Refusal::Internal`] when the file cannot be opened with that key.
    pub fn open(path: &Path, key: &[u8; 32], base_url: &str, organization: Address) -> Result<Self, Refusal> {
        let (place, removed) = Place::file(path.to_path_buf(), key)?;
        place.with_writer(|writer| schema::prepare(writer, removed))?;
        Ok(Self::at(place, base_url, organization))
    }

    /// The index in the organization's schema of a PostgreSQL database, whose tables are there
    /// ([`Self::is_prepared`], [`Self::prepare`]).
    pub fn on(postgres: Postgres, base_url: &str, organization: Address) -> Self {
        Self::at(Place::Server(postgres), base_url, organization)
    }

    fn at(place: Place, base_url: &str, organization: Address) -> Self {
        let tables = Tables::at(place, base_url, organization, Gathering::default());
        Self { tables, kept: Kept::default(), counters: Arc::default() }
    }

    /// The same, which counts where `counters` are.
    #[must_use]
    pub fn counted(mut self, counters: Arc<Counters>) -> Self {
        self.counters = counters;
        self
    }

    /// Whether the tables are those of this program.
    pub fn is_prepared(&self) -> Result<bool, Refusal> {
        self.with_reader(schema::is_current)
    }

    /// Makes the tables anew where they are not those of this program. No other process may use them.
    pub fn prepare(&self) -> Result<(), Refusal> {
        Ok(self.tables.with_writer(|writer| schema::prepare(writer, 0))?)
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
        self.write(|connection, context| {
            write::apply(connection, context, entries)?;
            schema::set_applied(connection, i64_of(through))
        })
    }

    /// Runs `work` as one write.
    fn write<T>(&self, work: impl FnOnce(&Connection, &write::Context<'_>) -> Answer<T>) -> Result<T, Refusal> {
        Ok(self.tables.write(work)?)
    }

    /// One page of a search.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] where an order that has to be kept is of too many matches, or was
    /// forgotten here.
    pub fn search(&self, query: &Query) -> Result<Page, Refusal> {
        match select::key_of(query) {
            _ if query.only_count => self.with_reader(|reader| select::page(reader, query, Sort::default())),
            Some(sort) => self.with_reader(|reader| select::page(reader, query, sort)),
            None => self.kept_page(query),
        }
    }

    /// One page in an order that is kept from the first page on.
    fn kept_page(&self, query: &Query) -> Result<Page, Refusal> {
        let ended = || {
            let problem = "the order of this search is not kept any more, or by another process; search again";
            Refusal::BadRequest(problem.to_owned())
        };
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

    /// Whether any version of a resource, or the one that is named, was about a patient.
    pub fn is_of(&self, patient: &str, resource_type: &str, id: &str, version: Option<u32>) -> Result<bool, Refusal> {
        self.with_reader(|reader| history::is_of(reader, patient, resource_type, id, version))
    }

    /// One part of a type, in the order of ids, for an export; none where the index lacks changes that it must have.
    pub fn export(&self, wanted: &export::Wanted) -> Result<Option<Vec<export::Row>>, Refusal> {
        self.with_reader(|reader| export::part(reader, wanted))
    }

    /// The next changes of a type, in their order.
    pub fn changes(&self, wanted: &changes::Wanted) -> Result<changes::Found, Refusal> {
        self.with_reader(|reader| changes::after(reader, wanted))
    }

    /// The newest change of each type of which there is one after `after`.
    pub fn newest_changes(&self, after: u64) -> Result<changes::Newest, Refusal> {
        self.with_reader(|reader| changes::newest(reader, after))
    }

    /// Time of the newest version that is visible, Unix seconds; 0 where there is none.
    pub fn newest(&self) -> Result<i64, Refusal> {
        self.with_reader(export::newest)
    }

    /// Up to `limit` resources, deleted ones too, numbered above `after`.
    pub fn known(&self, after: i64, limit: u32) -> Result<Vec<Known>, Refusal> {
        let sql = "SELECT number, type, id, version FROM resource WHERE number > $1 ORDER BY number LIMIT $2";
        let read = |row: &Row| {
            let (number, resource_type, id, version) = (row.integer(0)?, row.text(1)?, row.text(2)?, row.count(3)?);
            Ok(Known { number, resource_type, id, version })
        };
        self.with_reader(|reader| reader.query(sql, vec![after.into(), limit.into()])?.iter().map(read).collect())
    }

    /// Sequence of the last change that is in the index.
    pub fn last_applied(&self) -> Result<u64, Refusal> {
        Feed::applied(self)
    }

    /// Sequence of the last change that this index has, or had when an earlier program made it.
    pub fn last_known(&self) -> Result<u64, Refusal> {
        let earlier = u64::try_from(self.with_reader(schema::earlier)?).unwrap_or_default();
        Ok(self.last_applied()?.max(earlier))
    }

    /// Names of those among `documents` that meet the criteria of each of `queries`: for resources that are
    /// not in the index. The same tables decide, in memory, once for all of them.
    pub fn matching(&self, documents: &[Unlisted], queries: &[Query]) -> Result<Vec<BTreeSet<String>>, Refusal> {
        self.counters.comparison();
        let in_memory = || -> Answer<Vec<BTreeSet<String>>> {
            let connection = Connection::in_memory()?;
            schema::clear(&connection)?;
            let context = self.tables.context();
            let entries: Vec<Entry<'_>> = documents.iter().map(Unlisted::entry).collect();
            schema::writing(&connection, |connection| write::apply(connection, &context, &entries))?;
            let limit = u32::try_from(documents.len()).unwrap_or(u32::MAX);
            let met = queries.iter().map(|query| {
                // Whose the documents are is not in these tables; the caller of this knows.
                let query = Query { sight: None, ..query.clone() };
                Ok(select::matches(&connection, &query, limit)?.into_iter().map(|hit| hit.id).collect())
            });
            met.collect()
        };
        in_memory().map_err(Refusal::from)
    }

    fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> Answer<T>) -> Result<T, Refusal> {
        self.counters.index_read();
        Ok(self.tables.with_reader(work)?)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.tables.close();
    }
}

impl Unlisted {
    /// It, as if it were here.
    fn entry(&self) -> Entry<'_> {
        let Self { resource_type, name, document } = self;
        let (last_updated, content) = (last_updated(document), Indexed::Resource(document));
        Entry { resource_type, id: name, version: 1, last_updated, patient: None, content }
    }
}

/// What a resource says about itself, Unix seconds.
fn last_updated(document: &Document) -> i64 {
    let text = document.root().get("meta").and_then(|meta| meta.text("lastUpdated"));
    text.and_then(range::date).map_or(0, |range| range.low.div_euclid(1000))
}

fn i64_of(number: u64) -> i64 {
    i64::try_from(number).expect("a count of changes fits")
}

#[cfg(test)]
mod tests;
