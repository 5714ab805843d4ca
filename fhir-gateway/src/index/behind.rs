//! The tables of an index, and the versions that wait to be put there.
//!
//! A transaction of a file costs most for the pages that it touches, however little it adds to each. So versions whose
//! writers were answered gather for a moment and share one. Nobody sees the tables without them: whoever reads puts
//! there first what waits. What waits when the process dies is in the vault's journal, from which the next start
//! brings the index up.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use careledger_wire::ids::Address;
use parking_lot::{Condvar, Mutex};

use super::{
    database::{Answer, Connection, Fault, Place},
    feed, i64_of, schema, write,
};
use crate::records::{Listed, Stored};

/// How long versions gather.
const GATHERED_FOR: Duration = Duration::from_millis(50);
/// Versions that gather no longer: whoever reads next waits until they are in the tables.
pub(super) const GATHERED_MAX: usize = 64;
/// Versions that may wait, and bytes of their bodies; who has more to add puts there first what waits.
pub(super) const WAITING_MAX: usize = 500;
pub(super) const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// Bodies of a group that is put there before its writer is answered: in memory no longer than its request, they are
/// among the bodies that are worked on at once.
const LARGE_BYTES: usize = WAITING_BYTES_MAX / 4;
/// How long tables that refused what waits are left alone; whoever reads or writes meanwhile is told what they said.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(1);

/// When versions gather no longer.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    /// Once the first of them waited for so long.
    pub time: Duration,
    /// Once there are so many.
    pub versions: usize,
}

impl Default for Gathering {
    fn default() -> Self {
        Self { time: GATHERED_FOR, versions: GATHERED_MAX }
    }
}

/// Where an index is, and what waits to be put there.
pub struct Tables {
    place: Place,
    base_url: String,
    organization: Address,
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Puts there what gathered.
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Groups of versions in the order of the vault's journal. They leave only while the writing connection is held, once
/// they are in the tables.
#[derive(Default)]
struct Waiting {
    groups: VecDeque<Arc<Group>>,
    /// Sequence of the last change that tables and groups have together; none where the tables have to be asked.
    last: Option<u64>,
    /// When the first of them came.
    since: Option<Instant>,
    /// What the tables said when they refused them, and when.
    refused: Option<(Fault, Instant)>,
    is_closed: bool,
}

/// Versions that became visible together.
struct Group {
    through: u64,
    listed: Vec<Listed>,
    versions: Vec<Arc<Stored>>,
}

impl Waiting {
    fn versions(&self) -> usize {
        self.groups.iter().map(|group| group.versions.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.groups.iter().map(|group| group.bytes()).sum()
    }
}

impl Group {
    fn bytes(&self) -> usize {
        self.versions.iter().map(|stored| stored.content.bytes().len()).sum()
    }
}

impl Tables {
    /// Those at `place`. In a file, versions gather until [`Self::close`].
    pub fn at(place: Place, base_url: &str, organization: Address, gathering: Gathering) -> Arc<Self> {
        let tables = Arc::new(Self {
            place,
            base_url: base_url.to_owned(),
            organization,
            waiting: Mutex::default(),
            changed: Condvar::new(),
            thread: Mutex::default(),
        });
        if tables.gathers() {
            let owned = Arc::clone(&tables);
            let named = thread::Builder::new().name("index-writer".to_owned());
            let started = named.spawn(move || owned.put_what_gathered(gathering));
            // Without it, whoever reads puts there what waits, and whoever has more to add.
            let started = started.map_err(|error| tracing::error!(%error, "the index has no thread that writes"));
            *tables.thread.lock() = started.ok();
        }
        tables
    }

    /// Whether versions gather: in a database that other processes use too, they would not find what waits here.
    fn gathers(&self) -> bool {
        matches!(self.place, Place::File(_))
    }

    /// Where they are, whatever waits.
    #[cfg(test)]
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// What terms depend on besides the resource.
    pub fn context(&self) -> write::Context<'_> {
        write::Context { base_url: &self.base_url, organization: &self.organization }
    }

    /// Puts a group there, soon; `false`, and nothing changes, where `before` is not the last change.
    pub fn put_after(&self, before: u64, through: u64, listed: &[Listed], versions: &[Arc<Stored>]) -> Answer<bool> {
        if !self.gathers() {
            let documents = feed::parsed(versions);
            return self.write(|connection, context| {
                // By the writer, which has it in memory: a reader would decrypt what the last write changed.
                if schema::applied(connection)? != i64_of(before) {
                    return Ok(false);
                }
                write::apply(connection, context, &feed::entries(versions, &documents))?;
                feed::finish(connection, through, listed).map(|()| true)
            });
        }
        self.make_room()?;
        let known = self.waiting.lock().last;
        let last = match known {
            Some(last) => last,
            None => u64::try_from(self.place.with_writer(schema::applied)?).unwrap_or_default(),
        };
        let mut waiting = self.waiting.lock();
        if last != before {
            return Ok(false);
        }
        let group = Arc::new(Group { through, listed: listed.to_vec(), versions: versions.to_vec() });
        let is_large = versions.len() > WAITING_MAX || group.bytes() > LARGE_BYTES;
        waiting.groups.push_back(group);
        waiting.last = Some(through);
        waiting.since.get_or_insert_with(Instant::now);
        drop(waiting);
        self.changed.notify_all();
        if is_large {
            // Where that is refused it waits, as all that nobody tried to put there yet; whoever reads is told.
            let _ = self.put_waiting();
        }
        Ok(true)
    }

    /// Has no more wait than may; and where the tables refused what waits, nothing.
    fn make_room(&self) -> Answer<()> {
        let waiting = self.waiting.lock();
        let is_refused = waiting.refused.is_some();
        let has_room = !is_refused && waiting.versions() < WAITING_MAX && waiting.bytes() < WAITING_BYTES_MAX;
        drop(waiting);
        if has_room { Ok(()) } else { self.put_waiting() }
    }

    /// Whether anything waits.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.lock().groups.is_empty()
    }

    /// Empties the tables, and forgets what waits.
    pub fn clear(&self) -> Answer<()> {
        self.place.with_writer(|writer| {
            schema::clear(writer)?;
            let mut waiting = self.waiting.lock();
            *waiting = Waiting { is_closed: waiting.is_closed, ..Waiting::default() };
            Ok(())
        })
    }

    /// Runs `work` as one write, after what waits.
    pub fn write<T>(&self, work: impl FnOnce(&Connection, &write::Context<'_>) -> Answer<T>) -> Answer<T> {
        self.with_writer(|writer| schema::writing(writer, |connection| work(connection, &self.context())))
    }

    /// Runs `work` on the connection that writes, after what waits is put there.
    pub fn with_writer<T>(&self, work: impl FnOnce(&Connection) -> Answer<T>) -> Answer<T> {
        self.place.with_writer(|writer| {
            self.put_all(writer)?;
            let done = work(writer);
            self.waiting.lock().last = None;
            done
        })
    }

    /// Runs `work` on a connection that reads, after what waits is put there.
    pub fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> Answer<T>) -> Answer<T> {
        if self.has_waiting() {
            self.put_waiting()?;
        }
        self.place.with_reader(work)
    }

    /// Puts what waits there, unless the tables refused that a moment ago.
    fn put_waiting(&self) -> Answer<()> {
        let refused = self.waiting.lock().refused.clone();
        match refused {
            Some((fault, when)) if when.elapsed() < REFUSED_FOR => Err(fault),
            _ => self.place.with_writer(|writer| self.put_all(writer)),
        }
    }

    /// Puts what waits there, in one transaction; each group by itself where that is refused, so that what is wrong
    /// with one keeps out none before it.
    fn put_all(&self, writer: &Connection) -> Answer<()> {
        let groups: Vec<Arc<Group>> = self.waiting.lock().groups.iter().map(Arc::clone).collect();
        let put = match &groups[..] {
            [] => return Ok(()),
            [only] => self.put(writer, std::slice::from_ref(only)),
            all => self
                .put(writer, all)
                .or_else(|_| all.iter().try_for_each(|group| self.put(writer, std::slice::from_ref(group)))),
        };
        let refused = put.as_ref().err().map(|fault| (fault.clone(), Instant::now()));
        let was_refused = std::mem::replace(&mut self.waiting.lock().refused, refused).is_some();
        match &put {
            Err(fault) if !was_refused => {
                tracing::error!(?fault, "the search index does not take what was written; who searches is told so");
            }
            Ok(()) if was_refused => tracing::info!("the search index took what it had refused"),
            _ => {}
        }
        put
    }

    fn put(&self, writer: &Connection, groups: &[Arc<Group>]) -> Answer<()> {
        let versions: Vec<Arc<Stored>> =
            groups.iter().flat_map(|group| group.versions.iter().map(Arc::clone)).collect();
        let documents = feed::parsed(&versions);
        schema::writing(writer, |connection| {
            write::apply(connection, &self.context(), &feed::entries(&versions, &documents))?;
            let listed: Vec<Listed> = groups.iter().flat_map(|group| group.listed.iter().cloned()).collect();
            feed::finish(connection, groups.last().map_or(0, |group| group.through), &listed)
        })?;
        let mut waiting = self.waiting.lock();
        waiting.groups.drain(..groups.len());
        waiting.since = (!waiting.groups.is_empty()).then(Instant::now);
        Ok(())
    }

    /// Puts there what gathered, until it is closed.
    fn put_what_gathered(&self, gathering: Gathering) {
        while self.wait_for_enough(gathering) {
            // What was refused is tried again a moment later; whoever reads meanwhile is told.
            if self.put_waiting().is_err() {
                let mut waiting = self.waiting.lock();
                if !waiting.is_closed {
                    self.changed.wait_for(&mut waiting, REFUSED_FOR);
                }
            }
        }
    }

    /// Waits until versions gathered for long enough, or enough of them did. `false` once it is closed.
    fn wait_for_enough(&self, gathering: Gathering) -> bool {
        let mut waiting = self.waiting.lock();
        loop {
            let until = waiting.since.map(|since| since + gathering.time);
            if waiting.is_closed || waiting.versions() >= gathering.versions {
                return !waiting.is_closed;
            }
            match until {
                None => self.changed.wait(&mut waiting),
                Some(until) if Instant::now() >= until => return true,
                Some(until) => drop(self.changed.wait_until(&mut waiting, until)),
            }
        }
    }

    /// Puts there what waits, and gathers no more: nothing of it is open afterwards but for those who use it.
    pub fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_all();
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the index broke off");
        }
        if let Err(fault) = self.place.with_writer(|writer| self.put_all(writer)) {
            tracing::warn!(?fault, "the next start brings the search index up");
        }
    }
}
