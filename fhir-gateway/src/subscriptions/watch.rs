//! What the worker knows of the Subscriptions without reading them: which there are, what type each is about and how
//! far it is. A commit costs a look at one row and at what changed since the last look, however many there are.
//!
//! Absent on purpose: what they ask for, which may hold secrets, and is read where something is to be told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{State, Status, Subscription, Subscriptions};
use crate::{index::changes::Newest, outcome::Refusal};

/// Longest time until all are read again: a process of an earlier version leaves no stamp.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// What is known of one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    revision: u32,
    is_off: bool,
    end: Option<i64>,
    /// The type; none where that cannot be told any more.
    about: Option<&'static str>,
    state: State,
}

/// What is known of all.
#[derive(Debug, Default)]
pub struct Watch {
    known: BTreeMap<String, Known>,
    /// What is left of removed ones.
    left: BTreeSet<String>,
    /// Those that have to be read again.
    doubtful: BTreeSet<String>,
    /// When all were read, and what was the stamp then.
    read: Option<(Instant, Option<Vec<u8>>)>,
    /// The newest change of each type.
    newest: BTreeMap<String, u64>,
    /// Up to and with this change they are known.
    through: u64,
}

impl Watch {
    /// Reads those again that somebody changed.
    pub async fn refresh(&mut self, subscriptions: &Arc<Subscriptions>) -> Result<(), Refusal> {
        // Before what it is about, so that a change between the two is seen the next time.
        let stamp = subscriptions.stamp().await?;
        let is_known = self.read.as_ref().is_some_and(|(when, read)| *read == stamp && when.elapsed() < READ_AGAIN);
        if !is_known {
            let (all, left) = subscriptions.all().await?;
            self.known = all.into_iter().map(|found| (found.asked.id.clone(), Known::of(&found))).collect();
            (self.left, self.doubtful) = (left.into_iter().collect(), BTreeSet::new());
            self.read = Some((Instant::now(), stamp));
        }
        while let Some(id) = self.doubtful.pop_first() {
            match subscriptions.get(&id).await {
                Ok(Some(found)) => {
                    self.known.insert(id, Known::of(&found));
                }
                Ok(None) => {
                    self.known.remove(&id);
                    self.left.insert(id);
                }
                Err(refusal) => {
                    self.doubtful.insert(id);
                    return Err(refusal);
                }
            }
        }
        Ok(())
    }

    /// How far one is after a step; none where the vault has to be asked.
    pub fn ended(&mut self, id: &str, state: Option<State>) {
        match (self.known.get_mut(id), state) {
            (Some(known), Some(state)) => known.state = state,
            // Also what was removed while its step went on: that put down how far it was.
            _ => {
                self.doubtful.insert(id.to_owned());
            }
        }
    }

    /// Those of which nothing is to be left.
    pub fn over(&self, now: i64) -> Vec<String> {
        let ended = self.known.iter().filter(|(_, known)| known.end.is_some_and(|end| end <= now));
        self.left.iter().chain(ended.map(|(id, _)| id)).cloned().collect()
    }

    /// One of these may be gone now.
    pub fn removed(&mut self, id: &str) {
        self.left.remove(id);
        self.known.remove(id);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Up to and with which change it is known what became visible.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Takes in what became visible since.
    pub fn changed(&mut self, newest: Newest) {
        self.newest.extend(newest.of_types);
        self.through = self.through.max(newest.through);
    }

    /// Those that may have something to be told, each with its owner's revision.
    pub fn waiting(&self, now: i64) -> impl Iterator<Item = (&str, u32)> {
        let waits = move |known: &&Known| known.end.is_none_or(|end| end > now) && self.has_something(known);
        self.known.iter().filter(move |(_, known)| waits(known)).map(|(id, known)| (id.as_str(), known.revision))
    }

    fn has_something(&self, known: &Known) -> bool {
        match known.state.status_of(known.revision, known.is_off) {
            Status::Requested => true,
            Status::Off => false,
            Status::Active | Status::Error => {
                let newest = match known.about {
                    Some(about) => self.newest.get(about).copied().unwrap_or_default(),
                    None => self.through,
                };
                known.state.cursor < newest
            }
        }
    }
}

impl Known {
    fn of(found: &Subscription) -> Self {
        Self {
            revision: found.asked.revision,
            is_off: found.asked.wish.is_off,
            end: found.asked.wish.end,
            about: found.about(),
            state: found.state.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        config,
        http_client::Trust,
        keys::OrganizationKeys,
        subscriptions::{Wish, channel::Channel},
        vault::{Store, counted::Counted, distant::Distant, local::LocalStore},
        work::Counters,
    };

    /// One vault, as two processes see it.
    struct Shared {
        here: Arc<Subscriptions>,
        there: Arc<Subscriptions>,
        counters: Arc<Counters>,
    }

    impl Shared {
        fn at(folder: &Path) -> Self {
            let (keys, settings) = (OrganizationKeys::random(), config::Subscriptions::default());
            let (store, counters) = (Arc::new(LocalStore::open(folder).unwrap()), Arc::<Counters>::default());
            let opened = |store: Arc<dyn Store>| {
                let channel = Channel::new(&settings, &Trust::default()).unwrap();
                Subscriptions::open(&keys, store, &settings, channel)
            };
            let here = opened(Arc::new(Counted::over(Arc::clone(&store) as Arc<dyn Store>, Arc::clone(&counters))));
            Self { here, there: opened(store), counters }
        }

        fn reads(&self) -> u64 {
            self.counters.with_ledger(0).vault_reads
        }
    }

    fn subscription(id: &str, about: &str) -> Subscription {
        let resource = format!(r#"{{"resourceType":"Subscription","id":"{id}","criteria":"{about}?_tag=a"}}"#);
        let wish = Wish { resource, end: None, is_off: false };
        Subscription::new(id.to_owned(), "ehr", "system/*.rs".to_owned(), wish, 10)
    }

    /// As a step leaves one that was told all up to a change.
    fn told(watch: &mut Watch, id: &str, cursor: u64) {
        let mut state = watch.known[id].state.clone();
        (state.revision, state.cursor) = (watch.known[id].revision, cursor);
        state.turn(Status::Active, None);
        watch.ended(id, Some(state));
    }

    fn waiting(watch: &Watch) -> Vec<&str> {
        watch.waiting(0).map(|(id, _)| id).collect()
    }

    fn newest(of: &[(&str, u64)], through: u64) -> Newest {
        Newest { of_types: of.iter().map(|(name, sequence)| ((*name).to_owned(), *sequence)).collect(), through }
    }

    /// Every commit had all of them read, opened and parsed.
    #[tokio::test]
    async fn a_commit_has_no_subscription_read_unless_one_was_changed_here_or_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::at(folder.path());
        for id in ["a", "b", "c"] {
            shared.here.add(subscription(id, "Observation")).await.unwrap();
        }
        let mut watch = Watch::default();
        watch.refresh(&shared.here).await.unwrap();
        assert_eq!(waiting(&watch), ["a", "b", "c"], "they were never looked at");
        for _ in 0..10 {
            let before = shared.reads();
            watch.refresh(&shared.here).await.unwrap();
            assert_eq!(shared.reads() - before, 1, "the stamp");
        }
        shared.there.add(subscription("d", "Condition")).await.unwrap();
        watch.refresh(&shared.here).await.unwrap();
        assert_eq!(waiting(&watch), ["a", "b", "c", "d"]);
        let mut asked = subscription("b", "Observation").asked;
        (asked.wish.is_off, asked.revision) = (true, 2);
        shared.there.replace(&asked).await.unwrap();
        shared.there.remove("c").await.unwrap();
        watch.refresh(&shared.here).await.unwrap();
        assert_eq!(waiting(&watch), ["a", "d"]);
    }

    #[tokio::test]
    async fn only_what_a_subscription_is_about_has_it_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::at(folder.path());
        for (id, about) in [("a", "Observation"), ("b", "Condition")] {
            shared.here.add(subscription(id, about)).await.unwrap();
        }
        let mut watch = Watch::default();
        watch.refresh(&shared.here).await.unwrap();
        watch.changed(newest(&[("Observation", 8), ("Patient", 10)], 10));
        for id in ["a", "b"] {
            told(&mut watch, id, 10);
        }
        assert!(waiting(&watch).is_empty());
        watch.changed(newest(&[("Patient", 12)], 12));
        assert!(waiting(&watch).is_empty(), "of Patients nobody is told");
        watch.changed(newest(&[("Observation", 14)], 14));
        assert_eq!(waiting(&watch), ["a"]);
        told(&mut watch, "a", 14);
        assert!(waiting(&watch).is_empty());
        // An index that is made anew is behind for a while.
        watch.changed(newest(&[], 3));
        assert_eq!((watch.through(), waiting(&watch).is_empty()), (14, true));
    }

    #[tokio::test]
    async fn what_a_step_left_of_a_removed_one_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::at(folder.path());
        let made = shared.here.add(subscription("a", "Observation")).await.unwrap();
        let mut watch = Watch::default();
        watch.refresh(&shared.here).await.unwrap();
        shared.there.remove("a").await.unwrap();
        watch.refresh(&shared.here).await.unwrap();
        assert!(watch.is_empty() && watch.over(0).is_empty());
        // Its step ends only now, and puts down how far it was.
        shared.here.keep("a", &made.state).await.unwrap();
        watch.ended("a", Some(made.state));
        watch.refresh(&shared.here).await.unwrap();
        assert_eq!(watch.over(0), ["a"]);
        shared.here.remove_if_over("a").await.unwrap();
        watch.removed("a");
        watch.refresh(&shared.here).await.unwrap();
        assert!(watch.over(0).is_empty());
    }

    /// A thread that answers requests stood still while PostgreSQL was asked about Subscriptions.
    #[tokio::test]
    async fn subscriptions_in_a_vault_behind_a_server_hold_up_nobody_else_while_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, settings) = (OrganizationKeys::random(), config::Subscriptions::default());
        let (store, channel) = (Distant::new(folder.path()), Channel::new(&settings, &Trust::default()).unwrap());
        let subscriptions = Subscriptions::open(&keys, Arc::clone(&store) as _, &settings, channel);
        let mut watch = Watch::default();
        store.during(subscriptions.add(subscription("a", "Observation"))).await.unwrap();
        store.during(watch.refresh(&subscriptions)).await.unwrap();
        assert_eq!(waiting(&watch), ["a"]);
        watch.ended("a", None);
        store.during(watch.refresh(&subscriptions)).await.unwrap();
        assert_eq!(waiting(&watch), ["a"], "read once more, alone");
        assert_eq!(store.during(subscriptions.of_client("a", "ehr")).await.unwrap().asked.id, "a");
        assert_eq!(store.during(subscriptions.all_of_client("ehr")).await.unwrap().len(), 1);
        assert!(store.during(subscriptions.asked("a")).await.unwrap().is_some());
        store.during(subscriptions.remove_if_over("a")).await.unwrap();
        assert!(store.during(subscriptions.get("a")).await.unwrap().is_some(), "its end has not come");
    }
}
