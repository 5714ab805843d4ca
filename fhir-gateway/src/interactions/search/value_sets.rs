//! The value sets that a request names, looked up for its caller. docs/api/search.md
//!
//! What the caller may not find is not there, whoever includes it: it is looked up under what the caller may see, and
//! is answered as what was never written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use actix_web::web::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::{
    auth::scopes::Interaction,
    export::lines::there,
    in_work::SMALL_BYTES,
    index::value_sets::Candidate,
    interactions::{Context, permit, reach, sight},
    json::Document,
    outcome::Refusal,
    records::{Content, Stored, blocking},
    resources::resource,
    search::{Criterion, Modifier, Query, Subject, Wanted, named_sets},
    value_sets::{BYTES_MAX, Budget, Kind, NAMES_MAX, Named, Pin, Pins, SETS_MAX, Sets, Shelf, Spent, TYPE, Volume},
};

/// Most ValueSets of one canonical URL between which is chosen.
const EDITIONS_MAX: usize = 100;
/// How many times as much room there is, where what there was is too little.
const ROOM_GROWTH: usize = 8;

/// What one request has found of value sets, and what it may spend on more. All entries of a Bundle share it.
#[derive(Default)]
pub struct Lookups(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By what value sets mean: as they are now, or as they were when a search began whose page is asked for.
    shelves: BTreeMap<Option<Pins>, Shelf>,
    budget: Budget,
}

impl Lookups {
    /// Forgets what value sets mean: the request has written some. What was spent stays spent.
    pub async fn forget(&self) {
        self.0.lock().await.shelves.clear();
    }
}

/// The value sets that the pairs of a search name: as `pins` say where it goes on that began before, else as they are
/// now. What there is against one of them is said where its members are asked for.
///
/// # Errors
/// Faults of this server.
pub async fn named(context: &Context<'_>, pairs: &[(String, String)], pins: Option<&Pins>) -> Result<Sets, Refusal> {
    let names = match named_sets(pairs, &context.organization.base_url) {
        Ok(names) if names.is_empty() => return Ok(Sets::default()),
        Ok(names) => names,
        Err(refusal) => return Ok(Sets::refused(refusal)),
    };
    if let Err(refusal) = permit(context, TYPE, Interaction::Search) {
        return Ok(Sets::refused(refusal));
    }
    let own = Lookups::default();
    let mut known = context.value_sets.unwrap_or(&own).0.lock().await;
    let Known { shelves, budget } = &mut *known;
    let shelf = shelves.entry(pins.cloned()).or_default();
    if let Some(refusal) = shelf.refusal(&names) {
        return Ok(Sets::refused(refusal.clone()));
    }
    if !shelf.has_answered(&names) {
        let answered = answer(context, shelf, budget, &names, pins).await;
        shelf.close();
        match answered {
            Ok(()) => {}
            Err(refusal @ (Refusal::BadRequest(_) | Refusal::TooCostly { .. })) => {
                shelf.refuse(names, refusal.clone());
                return Ok(Sets::refused(refusal));
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(shelf.sets(&names))
}

/// Reads what must be read to tell the members of what the names mean, and tells them.
async fn answer(
    context: &Context<'_>,
    shelf: &mut Shelf,
    budget: &mut Budget,
    names: &[Named],
    pins: Option<&Pins>,
) -> Result<(), Refusal> {
    let mut room = SMALL_BYTES;
    loop {
        // Beside the room for bodies, which the request may have: whoever waits here holds nothing that others wait for here.
        let in_work = context.organization.value_sets.admit(room).await;
        let before = budget.clone();
        let mut opening = Opening { context, shelf, budget, pins, room, bytes: 0, in_work };
        match opening.open(names).await? {
            Opened::All => {
                let in_work = opening.in_work;
                return tell(&context.organization.base_url, shelf, budget, names, in_work).await;
            }
            // All of it is asked for anew, so that nobody holds a part and waits for the rest.
            Opened::TooLittleRoom { wanted } => {
                shelf.close();
                *budget = before;
                room = wanted.max(room * ROOM_GROWTH).min(BYTES_MAX);
            }
        }
    }
}

/// Tells the members of what was opened, away from what serves others, and lets go of it. That is done to the end also
/// where nobody waits for it any more, and the room is taken until then.
async fn tell(
    base_url: &str,
    shelf: &mut Shelf,
    budget: &mut Budget,
    names: &[Named],
    in_work: Option<OwnedSemaphorePermit>,
) -> Result<(), Refusal> {
    let (mut open, mut left) = (std::mem::take(shelf), budget.clone());
    let (names, base_url) = (names.to_vec(), base_url.to_owned());
    (*shelf, *budget) = blocking(move || {
        open.answer(&names, &base_url, &mut left);
        open.close();
        drop(in_work);
        Ok((open, left))
    })
    .await?;
    Ok(())
}

/// Whether all is read that must be.
enum Opened {
    All,
    TooLittleRoom { wanted: usize },
}

/// The answer to names of more than one search has to do with.
fn too_much() -> Refusal {
    let problem = format!(
        ":in and :not-in name value sets that are more than {SETS_MAX}, or have more than {NAMES_MAX} names, with those \
         that they include; search for fewer at once, or write a ValueSet with the expansion"
    );
    Refusal::TooCostly { place: None, problem }
}

fn costly(spent: Spent) -> Refusal {
    Refusal::TooCostly { place: None, problem: spent.problem() }
}

/// What the names of a search mean, and what is named there in turn, is being read.
struct Opening<'a> {
    context: &'a Context<'a>,
    shelf: &'a mut Shelf,
    budget: &'a mut Budget,
    pins: Option<&'a Pins>,
    /// How many bytes may be open.
    room: usize,
    /// How many are.
    bytes: usize,
    /// The room: with whoever works on what is open, so that it is taken until the work is done.
    in_work: Option<OwnedSemaphorePermit>,
}

impl Opening<'_> {
    async fn open(&mut self, names: &[Named]) -> Result<Opened, Refusal> {
        let (mut seen, mut sets) = (BTreeSet::new(), BTreeSet::new());
        let mut waiting = VecDeque::from(names.to_vec());
        while let Some(name) = waiting.pop_front() {
            if !seen.insert(name.clone()) {
                continue;
            }
            if seen.len() > NAMES_MAX {
                return Err(too_much());
            }
            let known = self.shelf.meaning(&name).map(Option::<&Pin>::cloned);
            let pin = match known {
                Some(None) => continue,
                Some(Some(pin)) if self.shelf.has(&pin) => pin,
                // Of a name that is known it may be let go of what it means.
                known => match self.read(&name, known.flatten()).await? {
                    Read::Nothing => continue,
                    Read::Open(pin) => pin,
                    Read::TooLittleRoom { wanted } => return Ok(Opened::TooLittleRoom { wanted }),
                },
            };
            sets.insert(pin.clone());
            if sets.len() > SETS_MAX {
                return Err(too_much());
            }
            waiting.extend(self.shelf.imports(&pin).iter().filter(|name| !seen.contains(*name)).cloned());
        }
        Ok(Opened::All)
    }

    /// Looks a name up, of which may be known what it means.
    async fn read(&mut self, name: &Named, known: Option<Pin>) -> Result<Read, Refusal> {
        self.budget.take(Kind::Lookups, 1).map_err(costly)?;
        if self.budget.has_spent(Kind::Bytes) {
            return Err(costly(Spent));
        }
        let context = self.context;
        for which in which(context, name, known, self.pins).await? {
            let Some(versions) = versions(context, &which).await? else { continue };
            // Each time that it is read, whichever name it was read for; and before more is done with it.
            let bytes = versions.last().and_then(json).map_or(0, Bytes::len);
            self.budget.take(Kind::Bytes, bytes).map_err(costly)?;
            if self.bytes + bytes > self.room {
                return Ok(Read::TooLittleRoom { wanted: self.bytes + bytes });
            }
            let all = versions.len();
            // The index may be behind a version that others may see than those who saw the one before.
            let mut visible = reach::visible(context, Interaction::Search, versions).await?;
            let Some(stored) = visible.pop().filter(|_| visible.len() + 1 == all) else { continue };
            let json = json(&stored).cloned().ok_or(Refusal::Internal("a ValueSet is no JSON"))?;
            let pin = Pin { id: stored.id, version: stored.version };
            if !self.shelf.has(&pin) {
                self.bytes += json.len();
                let base_url = context.organization.base_url.clone();
                let in_work = self.in_work.take();
                let opened = move || Ok((Volume::of(Document::parse(json)?, &base_url), in_work));
                let (volume, in_work) = blocking(opened).await?;
                self.in_work = in_work;
                self.shelf.open(pin.clone(), volume);
            }
            // Nor is it told by the index alone what it is called.
            if matches!(which, Which::Now(_)) && !self.shelf.is_called(&pin, name) {
                continue;
            }
            self.shelf.put(name.clone(), pin.clone());
            return Ok(Read::Open(pin));
        }
        self.shelf.put_nothing(name.clone());
        Ok(Read::Nothing)
    }
}

/// What came of a name.
enum Read {
    /// There is nothing of that name for the caller.
    Nothing,
    /// This version, which is there now.
    Open(Pin),
    /// It would be more than is worked on at once.
    TooLittleRoom { wanted: usize },
}

/// A ValueSet that a name may mean.
enum Which {
    /// As it is now.
    Now(String),
    /// As it was.
    Then(Pin),
}

/// What a name may mean, what is to be used before others first: as it is known, or as it was, or as it is now.
async fn which(
    context: &Context<'_>,
    name: &Named,
    known: Option<Pin>,
    pins: Option<&Pins>,
) -> Result<Vec<Which>, Refusal> {
    let ids = match (known, pins, name) {
        (Some(pin), ..) => return Ok(vec![Which::Then(pin)]),
        (None, Some(pins), name) => return Ok(pins.get(name).cloned().map(Which::Then).into_iter().collect()),
        (None, None, Named::Id(id)) => Vec::from_iter(of_id(context, id).await?),
        (None, None, Named::Canonical { url, version }) => newest_first(context, url, version.as_deref()).await?,
    };
    Ok(ids.into_iter().map(Which::Now).collect())
}

/// The version that is meant, last; before it those that the caller must also be able to see. None where it is not there.
async fn versions(context: &Context<'_>, which: &Which) -> Result<Option<Vec<Stored>>, Refusal> {
    let records = &context.organization.records;
    let Pin { id, version } = match which {
        Which::Now(id) => return Ok(there(records.read(TYPE, id).await)?.map(|stored| vec![stored])),
        Which::Then(pin) => pin,
    };
    let Some(stored) = there(records.any_version(TYPE, id, *version).await)? else { return Ok(None) };
    let mut versions = Vec::new();
    // Where search parameters decide, also as it is now.
    if context.caller.reach(Interaction::Search, TYPE).is_constrained() {
        let latest = there(records.latest(TYPE, id).await)?;
        versions.extend(latest.filter(|latest| latest.version != stored.version));
    }
    versions.push(stored);
    Ok(Some(versions))
}

fn json(stored: &Stored) -> Option<&Bytes> {
    match &stored.content {
        Content::Json(json) => Some(json),
        Content::Raw { .. } | Content::Deleted => None,
    }
}

async fn of_id(context: &Context<'_>, id: &str) -> Result<Option<String>, Refusal> {
    let kind = resource(TYPE).ok_or(Refusal::Internal("ValueSet is not kept"))?;
    let wanted = vec![Wanted::Id(id.to_owned())];
    let criterion = Criterion { subject: Subject::Id, modifier: Modifier::None, wanted, links: Vec::new() };
    let mut query = Query { criteria: vec![criterion], ..Query::all(kind) };
    query.see(sight(context, Interaction::Search))?;
    let hits = context.organization.index.run(move |index| index.matches(&query, 1)).await?;
    Ok(hits.into_iter().next().map(|hit| hit.id))
}

/// The ValueSets of a URL, those first that are to be used before others.
async fn newest_first(context: &Context<'_>, url: &str, version: Option<&str>) -> Result<Vec<String>, Refusal> {
    let (url, version, sight) = (url.to_owned(), version.map(str::to_owned), sight(context, Interaction::Search));
    let limit = u32::try_from(EDITIONS_MAX + 1).unwrap_or(u32::MAX);
    let index = &context.organization.index;
    let mut found = index.run(move |index| index.value_sets(&url, version.as_deref(), sight, limit)).await?;
    if found.len() > EDITIONS_MAX {
        let problem = format!("more than {EDITIONS_MAX} ValueSets have one url; name one as ValueSet/id");
        return Err(Refusal::BadRequest(problem));
    }
    found.sort_by(|one, other| other.edition.order(&one.edition));
    Ok(found.into_iter().map(|Candidate { id, .. }| id).collect())
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use futures::FutureExt as _;
    use tokio::{
        runtime::Builder,
        task::spawn_blocking,
        time::{Timeout, timeout},
    };

    use super::*;
    use crate::in_work::InWork;

    #[test]
    fn room_is_taken_until_the_work_is_done_also_where_nobody_waits_for_it_any_more() {
        const BYTES: usize = 1024 * 1024;
        fn soon<F: Future>(what: F) -> Timeout<F> {
            timeout(Duration::from_secs(30), what)
        }
        // One thread for what blocks, on which other work is done first.
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().expect("a runtime");
        runtime.block_on(async {
            let (go_on, stands) = mpsc::channel::<()>();
            let other = spawn_blocking(move || stands.recv());
            let room = InWork::of(BYTES);
            let in_work = room.admit(BYTES).await;
            let (mut shelf, mut budget) = (Shelf::default(), Budget::default());
            let mut telling = Box::pin(tell("http://here", &mut shelf, &mut budget, &[], in_work));
            assert!((&mut telling).now_or_never().is_none(), "it is not done yet");
            drop(telling);
            let mut next = Box::pin(room.admit(BYTES));
            assert!((&mut next).now_or_never().is_none(), "the work is still to be done");
            go_on.send(()).expect("it waits");
            soon(other).await.expect("in time").expect("no panic").expect("sent");
            assert!(soon(next).await.expect("free when it is done").is_some());
        });
    }
}
