//! FHIR R4 Subscriptions: who is told of what, and how far that is. docs/api/subscriptions.md
//!
//! A Subscription is two sealed rows in the vault: what its owner asked for ([`Asked`]), which only requests write,
//! and how far it is ([`State`]), which only the worker writes ([`work`]). There is no queue: what is still to be
//! told follows from the change up to which it was told, and the order in which versions became visible. So
//! what was acknowledged leads to its notification whatever happens in between, and a Subscription that is not
//! delivered costs a number.
//!
//! What may be sent is decided when it is sent ([`deliver`]), for what its owner may do by then.
//!
//! Absent on purpose: resources in these rows, and Subscriptions among records: they are their owner's alone, and
//! no search, include, history or export of anybody leads to them.

pub mod address;
pub mod channel;
mod deliver;
mod look;
pub mod order;
pub mod room;
mod subscription;
mod watch;
pub mod work;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use tokio::sync::Notify;

use crate::{
    auth::clock,
    config,
    envelope::ValueKey,
    json::Document,
    keys::{OrganizationKeys, random},
    outcome::Refusal,
    records::asking,
    vault::{Batch, Durability, Exclusive, Space, Store},
};
use channel::Channel;
use order::Order;

pub use subscription::{Asked, State, Status, Subscription, Wish};

/// Prefix of the rows in [`Space::State`].
const PREFIX: &str = "subscription/";
/// Ends of the two keys of a Subscription.
const ASKED: &str = "/asked";
const STATE: &str = "/state";
/// Row that is another after each change of what is asked for.
const STAMP: &[u8] = b"subscriptions-stamp";
/// Name of the lock under which requests change what is asked for.
const ASKING: &str = "subscriptions-asked";
/// Name of the lock of the process that delivers.
const DELIVERING: &str = "subscriptions-delivered";

/// What the worker counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Notifications that arrived.
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Subscriptions that failed too often.
    pub given_up: AtomicU64,
    /// Versions that one may have been about and that the vault had no more.
    pub lost: AtomicU64,
}

/// The Subscriptions of one organization.
pub struct Subscriptions {
    store: Arc<dyn Store>,
    /// Seals both rows.
    key: ValueKey,
    settings: config::Subscriptions,
    channel: Arc<Channel>,
    wake: Arc<Notify>,
    /// One request at a time changes what is asked for.
    asking: tokio::sync::Mutex<()>,
    /// Resources that are read at the same time.
    turns: tokio::sync::Semaphore,
    /// For the operator.
    pub counts: Counts,
}

impl Subscriptions {
    /// Those in the vault.
    pub fn open(
        keys: &OrganizationKeys,
        store: Arc<dyn Store>,
        settings: &config::Subscriptions,
        channel: Channel,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            key: ValueKey::of(&keys.storage.derive("careledger/subscription/1")),
            settings: settings.clone(),
            channel: Arc::new(channel),
            wake: Arc::default(),
            asking: tokio::sync::Mutex::default(),
            turns: tokio::sync::Semaphore::new(work::READS_AT_ONCE),
            counts: Counts::default(),
        })
    }

    /// Says that there may be something to tell.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Reads what a Subscription asks for, as this server would do it.
    ///
    /// # Errors
    /// As [`Order::read`].
    pub fn order(&self, document: &Document, base_url: &str) -> Result<Order, Refusal> {
        Order::read(document, self.channel.trusted(), base_url)
    }

    /// The Subscription of that id, where it is this client's.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for one of another client, and for one that has ended, as for none.
    pub async fn of_client(self: &Arc<Self>, id: &str, client: &str) -> Result<Subscription, Refusal> {
        let found = self.get(id).await?.filter(|found| found.asked.client == client && !found.is_over(clock()));
        found.ok_or(Refusal::NotFound)
    }

    /// All of a client, in the order in which they were made.
    pub async fn all_of_client(self: &Arc<Self>, client: &str) -> Result<Vec<Subscription>, Refusal> {
        let now = clock();
        let (mut own, _) = self.all().await?;
        own.retain(|found| found.asked.client == client && !found.is_over(now));
        own.sort_by_key(|found| found.asked.number);
        Ok(own)
    }

    /// Waits until nobody else changes what is asked for.
    pub async fn asking(&self) -> Result<impl Sized, Refusal> {
        let own = self.asking.lock().await;
        // After the own one: the lock is for processes, not for tasks.
        let others = self.store.exclusive(vec![ASKING.to_owned()]).await?;
        Ok((others, own))
    }

    /// Keeps a new one durably. The caller holds [`Self::asking`].
    ///
    /// # Errors
    /// [`Refusal::Rule`] where the client has as many as it may have.
    pub async fn add(self: &Arc<Self>, mut new: Subscription) -> Result<Subscription, Refusal> {
        let (all, _) = self.all().await?;
        let most = self.settings.per_client_max as usize;
        let now = clock();
        if all.iter().filter(|other| other.asked.client == new.asked.client && !other.is_over(now)).count() >= most {
            return Err(Refusal::Rule(format!("a client has at most {most} Subscriptions here; delete one first")));
        }
        new.asked.number = all.iter().map(|other| other.asked.number).max().unwrap_or_default() + 1;
        let mut batch = Batch::default();
        self.put(&mut batch, &new.asked.id, ASKED, &new.asked);
        self.put(&mut batch, &new.asked.id, STATE, &new.state);
        stamp(&mut batch);
        self.store.commit(batch, Durability::Synced).await?;
        self.wake();
        Ok(new)
    }

    /// Keeps what its owner wrote anew, durably. The caller holds [`Self::asking`].
    pub async fn replace(&self, asked: &Asked) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        self.put(&mut batch, &asked.id, ASKED, asked);
        stamp(&mut batch);
        self.store.commit(batch, Durability::Synced).await?;
        self.wake();
        Ok(())
    }

    /// Removes one. The caller holds [`Self::asking`].
    pub async fn remove(&self, id: &str) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        batch.delete(Space::State, key(id, ASKED));
        batch.delete(Space::State, key(id, STATE));
        stamp(&mut batch);
        Ok(self.store.commit(batch, Durability::Synced).await?)
    }

    /// Removes one whose end has come, or of which only a part is left; not one that its owner wrote anew meanwhile.
    async fn remove_if_over(self: &Arc<Self>, id: &str) -> Result<(), Refusal> {
        let _asking = self.asking().await?;
        if self.get(id).await?.is_none_or(|found| found.is_over(clock())) { self.remove(id).await } else { Ok(()) }
    }

    /// The lock of the process that delivers; none where another process has it.
    async fn delivering(&self) -> Result<Option<Exclusive>, Refusal> {
        Ok(self.store.try_exclusive(DELIVERING).await?)
    }

    /// Reads the vault where that holds up nobody else.
    async fn reading<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        asking(self, &*self.store, read).await
    }

    /// What is another after each change of what is asked for, whichever process made it.
    async fn stamp(self: &Arc<Self>) -> Result<Option<Vec<u8>>, Refusal> {
        self.reading(|subscriptions| Ok(subscriptions.store.get(Space::State, STAMP)?)).await
    }

    async fn get(self: &Arc<Self>, id: &str) -> Result<Option<Subscription>, Refusal> {
        let id = id.to_owned();
        let rows = move |subscriptions: &Self| Ok((subscriptions.row(&id, ASKED)?, subscriptions.row(&id, STATE)?));
        let (Some(asked), Some(state)) = self.reading(rows).await? else { return Ok(None) };
        Ok(Some(Subscription { asked, state }))
    }

    /// What is asked for now; none where it was removed.
    async fn asked(self: &Arc<Self>, id: &str) -> Result<Option<Asked>, Refusal> {
        let id = id.to_owned();
        self.reading(move |subscriptions| subscriptions.row(&id, ASKED)).await
    }

    /// All there are, and the ids of what is left of removed ones.
    async fn all(self: &Arc<Self>) -> Result<(Vec<Subscription>, Vec<String>), Refusal> {
        self.reading(Self::every).await
    }

    fn every(&self) -> Result<(Vec<Subscription>, Vec<String>), Refusal> {
        let mut rows: BTreeMap<String, (Option<Asked>, Option<State>)> = BTreeMap::new();
        for (key, sealed) in self.store.scan(Space::State, PREFIX.as_bytes(), None, usize::MAX)? {
            let fault = || Refusal::Internal("a key of a Subscription is another one's");
            let text = std::str::from_utf8(&key).ok().and_then(|text| text.strip_prefix(PREFIX)).ok_or_else(fault)?;
            if let Some(id) = text.strip_suffix(ASKED) {
                rows.entry(id.to_owned()).or_default().0 = Some(self.opened(&key, &sealed)?);
            } else if let Some(id) = text.strip_suffix(STATE) {
                rows.entry(id.to_owned()).or_default().1 = Some(self.opened(&key, &sealed)?);
            }
        }
        let (mut all, mut left) = (Vec::new(), Vec::new());
        for (id, row) in rows {
            match row {
                (Some(asked), Some(state)) => all.push(Subscription { asked, state }),
                _ => left.push(id),
            }
        }
        Ok((all, left))
    }

    /// Puts down how far one is. A power cut may take the last of these, and then what was told is told again.
    async fn keep(&self, id: &str, state: &State) -> Result<(), Refusal> {
        let mut batch = Batch::default();
        self.put(&mut batch, id, STATE, state);
        Ok(self.store.commit(batch, Durability::Ordered).await?)
    }

    fn row<T: serde::de::DeserializeOwned>(&self, id: &str, end: &str) -> Result<Option<T>, Refusal> {
        let key = key(id, end);
        let sealed = self.store.get(Space::State, &key)?;
        sealed.map(|sealed| self.opened(&key, &sealed)).transpose()
    }

    fn put(&self, batch: &mut Batch, id: &str, end: &str, value: &impl Serialize) {
        let key = key(id, end);
        let json = serde_json::to_vec(value).expect("text always serialises");
        batch.put(Space::State, key.clone(), self.key.seal(&json, &key));
    }

    fn opened<T: serde::de::DeserializeOwned>(&self, key: &[u8], sealed: &[u8]) -> Result<T, Refusal> {
        let fault = Refusal::Internal("what is kept of a Subscription does not open");
        let json = self.key.open(sealed, key).map_err(|_| fault.clone())?;
        serde_json::from_slice(&json).map_err(|_| fault)
    }

    fn count(&self, counter: impl Fn(&Counts) -> &AtomicU64) {
        counter(&self.counts).fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

fn stamp(batch: &mut Batch) {
    batch.put(Space::State, STAMP, random::<16>());
}

fn key(id: &str, end: &str) -> Vec<u8> {
    format!("{PREFIX}{id}{end}").into_bytes()
}
