//! What other custodians hold and consent opens, for one's own clinicians.
//!
//! - [`lookup`]: what this organization itself holds, found through its index.
//! - [`approved`]: access requests that patients approved, from the ledger. [`names`]: what they are called
//!   in the ids of what they open.
//! - [`peer`]: asking a custodian's gateway. [`outbox`]: access requests on their way to one.
//! - [`rewrite`]: a custodian's resource as this gateway serves it. [`merge`]: all of it together.
//!
//! Absent on purpose: matching patients by name. A remote subject is linked to a local Patient by
//! the access request that the patient approved, and by nothing else.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use careledger_wire::ids::Address;
use url::Url;

use crate::{
    auth::rates::Rates, http_client::Trust, keys::OrganizationKeys, ledger, release::signed::Acceptance, vault::Store,
};

/// Requests of one other organization: over time, and at once.
const PEER_REQUESTS_PER_SECOND: u32 = 50;
const PEER_REQUEST_BURST: u32 = 200;

pub mod approved;
pub mod lookup;
pub mod merge;
pub mod names;
pub mod outbox;
pub mod peer;
pub mod rewrite;

/// One organization's side of the exchange between gateways. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    peers: BTreeMap<Address, Url>,
    outbox: outbox::Outbox,
    acceptance: Acceptance,
    names: Arc<names::Names>,
    rates: Rates,
    client: reqwest::Client,
}

impl Network {
    /// `peers` are where other organizations' gateways answer (`http://host:port/organization`);
    /// `folder` holds what is on its way to them, `store` what was given out and accepted.
    ///
    /// # Errors
    /// Where the folder cannot be made, the store does not answer, or TLS cannot be set up.
    pub fn new(
        peers: BTreeMap<Address, Url>,
        folder: &Path,
        trust: &Trust,
        keys: &OrganizationKeys,
        store: Arc<dyn Store>,
    ) -> std::io::Result<Self> {
        let outbox = outbox::Outbox::open(&folder.join("outbox"))?;
        let names = names::Names::new(keys, Arc::clone(&store));
        let acceptance = Acceptance::open(store, ledger::clock()).map_err(std::io::Error::other)?;
        let rates = Rates::new(PEER_REQUESTS_PER_SECOND, PEER_REQUEST_BURST);
        let client = peer::client(trust).map_err(std::io::Error::other)?;
        Ok(Self { inner: Arc::new(Inner { peers, outbox, acceptance, names, rates, client }) })
    }

    /// Where the gateway of `organization` answers, where the configuration says so.
    pub fn peer(&self, organization: &Address) -> Option<&Url> {
        self.inner.peers.get(organization)
    }

    /// Access requests on their way.
    pub fn outbox(&self) -> &outbox::Outbox {
        &self.inner.outbox
    }

    /// Which signed requests were accepted.
    pub fn acceptance(&self) -> &Acceptance {
        &self.inner.acceptance
    }

    /// What access requests are called in ids.
    pub fn names(&self) -> &Arc<names::Names> {
        &self.inner.names
    }

    /// How often other organizations may ask, each by its account: every answer costs a synced
    /// line of the access log.
    pub fn rates(&self) -> &Rates {
        &self.inner.rates
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.inner.client
    }
}
