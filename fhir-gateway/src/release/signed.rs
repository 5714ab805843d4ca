//! Requests between gateways are signed by the organization's account key, for one recipient, one
//! path, one body and one moment, and each is accepted once.

use std::{collections::HashMap, sync::Arc};

use careledger_wire::{
    commitment,
    ids::{Address, Digest},
};
use parking_lot::Mutex;

use crate::{
    keys::{self, OrganizationSigner},
    vault::{Batch, Durability, Space, Store, StoreError},
};

/// Header with the compressed public key, hexadecimal.
pub const KEY: &str = "careledger-key";
/// Header with the time of signing, Unix seconds.
pub const TIME: &str = "careledger-time";
/// Header with 32 random bytes, hexadecimal.
pub const NONCE: &str = "careledger-nonce";
/// Header with the compact signature, hexadecimal.
pub const SIGNATURE: &str = "careledger-signature";

/// How far a request's time may be from this machine's clock, in seconds.
pub const WINDOW_SECONDS: i64 = 60;
/// Requests that are remembered within the window.
const REMEMBERED_MAX: usize = 200_000;
/// How long a row is kept that tells other processes of a request, in seconds. Their clocks may be
/// behind this one's by as much as an asker's may.
const ROW_SECONDS: i64 = 2 * WINDOW_SECONDS;
/// Prefix of those rows in [`Space::State`].
const ROW_PREFIX: &[u8] = b"peer-request/";
/// Rows that are read at once.
const ROWS_PER_PAGE: usize = 1000;

/// Why a request is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or is not what it should be.
    #[error("the request needs the headers careledger-key, -time, -nonce and -signature")]
    Headers,
    /// Signed too long ago, in the future, or before this gateway started.
    #[error("the request was not signed within a minute of now; check both clocks")]
    Time,
    /// The signature is not the key's over this request.
    #[error("the signature does not hold for this recipient, path, body and chain")]
    Signature,
    /// Accepted before.
    #[error("the request was accepted before")]
    Replayed,
    /// Too many requests within the window to remember.
    #[error("too many requests; try again in a minute")]
    Busy,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The ledger's chain.
    pub chain_id: &'a str,
    /// The organization that is asked.
    pub recipient: &'a Address,
    /// Path of the URL.
    pub path: &'a str,
    /// The body's bytes.
    pub body: &'a [u8],
}

/// The headers of a signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// Compressed public key.
    pub key: [u8; 33],
    /// Unix seconds.
    pub time: i64,
    /// Random.
    pub nonce: [u8; 32],
    /// Compact signature.
    pub signature: [u8; 64],
}

impl Request<'_> {
    /// What the signature is over: SHA3-256. It also names the exchange, so that an answer belongs
    /// to one request.
    pub fn digest(&self, time: i64, nonce: &[u8; 32]) -> Digest {
        let recipient = self.recipient.as_bytes();
        let parts: [&[u8]; 7] =
            [self.chain_id.as_bytes(), recipient, b"POST", self.path.as_bytes(), self.body, &time.to_be_bytes(), nonce];
        Digest::new(commitment::hash("careledger/peer/1", &parts))
    }

    /// Signs the request at `time`.
    pub fn sign(&self, signer: &OrganizationSigner, time: i64) -> (Headers, Digest) {
        let nonce = keys::random();
        let digest = self.digest(time, &nonce);
        let signature = signer.sign_digest(*digest.as_bytes());
        (Headers { key: *signer.public_key(), time, nonce, signature }, digest)
    }
}

impl Headers {
    /// Reads the headers of a request; `get` gives a header's text.
    pub fn read<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, SignatureError> {
        Ok(Self {
            key: bytes(get(KEY))?,
            time: get(TIME).and_then(|text| text.parse().ok()).ok_or(SignatureError::Headers)?,
            nonce: bytes(get(NONCE))?,
            signature: bytes(get(SIGNATURE))?,
        })
    }

    /// Names and values.
    pub fn write(&self) -> [(&'static str, String); 4] {
        [
            (KEY, hex::encode(self.key)),
            (TIME, self.time.to_string()),
            (NONCE, hex::encode(self.nonce)),
            (SIGNATURE, hex::encode(self.signature)),
        ]
    }
}

fn bytes<const LENGTH: usize>(text: Option<&str>) -> Result<[u8; LENGTH], SignatureError> {
    let mut bytes = [0; LENGTH];
    hex::decode_to_slice(text.ok_or(SignatureError::Headers)?, &mut bytes).map_err(|_| SignatureError::Headers)?;
    Ok(bytes)
}

/// Accepts each signed request once. What it remembers in memory is lost when the process ends, so
/// requests that were signed before it started are not accepted. Processes that share a store tell
/// each other by it.
#[derive(Clone)]
pub struct Acceptance {
    started: i64,
    seen: Arc<Mutex<Seen>>,
    /// Where other processes of the organization look, if there may be any.
    shared: Option<Arc<dyn Store>>,
}

/// Requests that were accepted, with the time at which each was signed.
#[derive(Default)]
struct Seen {
    times: HashMap<[u8; 32], i64>,
    forgotten_at: i64,
}

impl Acceptance {
    /// Starts remembering at `now`, Unix seconds, for this process alone.
    pub fn new(now: i64) -> Self {
        Self { started: now, seen: Arc::default(), shared: None }
    }

    /// Starts remembering at `now`, Unix seconds, with the other processes of a store that is shared.
    ///
    /// # Errors
    /// What the store says.
    pub fn open(store: Arc<dyn Store>, now: i64) -> Result<Self, StoreError> {
        if !store.is_shared() {
            return Ok(Self::new(now));
        }
        // Rows of a process that is gone are forgotten with one's own.
        let seen = Seen { times: rows(store.as_ref())?, forgotten_at: now };
        Ok(Self { started: now, seen: Arc::new(Mutex::new(seen)), shared: Some(store) })
    }

    /// Checks a request at `now`, Unix seconds: who signed it, and the name of the exchange. It is
    /// accepted only once it is remembered with [`Self::remember`].
    ///
    /// # Errors
    /// [`SignatureError::Time`], [`SignatureError::Signature`].
    pub fn verify(
        &self,
        request: &Request<'_>,
        headers: &Headers,
        now: i64,
    ) -> Result<(Address, Digest), SignatureError> {
        if headers.time < self.started || (now - headers.time).abs() > WINDOW_SECONDS {
            return Err(SignatureError::Time);
        }
        let digest = request.digest(headers.time, &headers.nonce);
        if !keys::verify_digest(&headers.key, *digest.as_bytes(), &headers.signature) {
            return Err(SignatureError::Signature);
        }
        Ok((Address::of_key(&headers.key), digest))
    }

    /// Remembers an exchange that was signed at `time`, so that it is accepted once, by this process or
    /// another one of the same store. Called for organizations that the ledger knows: keys that anybody
    /// can make fill no memory.
    ///
    /// # Errors
    /// [`SignatureError::Replayed`], [`SignatureError::Busy`]; outside of them what the store says.
    pub async fn remember(
        &self,
        digest: &Digest,
        time: i64,
        now: i64,
    ) -> Result<Result<(), SignatureError>, StoreError> {
        let mut batch = Batch::default();
        {
            let mut seen = self.seen.lock();
            let kept = if self.shared.is_some() { ROW_SECONDS } else { WINDOW_SECONDS };
            for name in seen.forget(now, kept) {
                batch.delete(Space::State, row(&name));
            }
            if let Err(refused) = seen.remember(digest, time) {
                return Ok(Err(refused));
            }
        }
        let Some(store) = &self.shared else { return Ok(Ok(())) };
        batch.put_new(Space::State, row(digest.as_bytes()), time.to_be_bytes());
        match store.commit(batch, Durability::Synced).await {
            Ok(()) => Ok(Ok(())),
            Err(StoreError::Taken) => Ok(Err(SignatureError::Replayed)),
            Err(error) => Err(error),
        }
    }
}

impl Seen {
    /// Forgets what was signed more than `kept` seconds ago, once in a while; gives what it forgot.
    fn forget(&mut self, now: i64, kept: i64) -> Vec<[u8; 32]> {
        if now - self.forgotten_at < WINDOW_SECONDS && self.times.len() < REMEMBERED_MAX {
            return Vec::new();
        }
        self.forgotten_at = now;
        self.times.extract_if(|_, time| now - *time > kept).map(|(name, _)| name).collect()
    }

    fn remember(&mut self, digest: &Digest, time: i64) -> Result<(), SignatureError> {
        if self.times.contains_key(digest.as_bytes()) {
            return Err(SignatureError::Replayed);
        }
        if self.times.len() >= REMEMBERED_MAX {
            return Err(SignatureError::Busy);
        }
        self.times.insert(*digest.as_bytes(), time);
        Ok(())
    }
}

/// What other processes of the organization remember, or did.
fn rows(store: &dyn Store) -> Result<HashMap<[u8; 32], i64>, StoreError> {
    let mut rows = HashMap::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(Space::State, ROW_PREFIX, after.as_deref(), ROWS_PER_PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(rows) };
        after = Some(last.clone());
        for (key, value) in &page {
            let name = key.get(ROW_PREFIX.len()..).and_then(|name| name.try_into().ok());
            let time = value.as_slice().try_into().map(i64::from_be_bytes);
            if let (Some(name), Ok(time)) = (name, time) {
                rows.insert(name, time);
            }
        }
    }
}

fn row(name: &[u8; 32]) -> Vec<u8> {
    [ROW_PREFIX, name].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{forwarding::forward, local::LocalStore};

    impl Acceptance {
        async fn accept(
            &self,
            request: &Request<'_>,
            headers: &Headers,
            now: i64,
        ) -> Result<(Address, Digest), SignatureError> {
            let (address, digest) = self.verify(request, headers, now)?;
            self.remember(&digest, headers.time, now).await.unwrap()?;
            Ok((address, digest))
        }
    }

    /// A store that says it is shared, as that of several processes does.
    struct Shared(LocalStore);

    impl Store for Shared {
        forward!([0]: get, scan, last, commit);

        fn is_shared(&self) -> bool {
            true
        }
    }

    const NOW: i64 = 1_000_000;
    const REQUEST: Request<'_> = Request {
        chain_id: "careledger-dev-1",
        recipient: &Address::new([1; 20]),
        path: "/a/peer/v1/read",
        body: b"{}",
    };

    #[tokio::test]
    async fn a_signed_request_is_accepted_once() {
        let signer = OrganizationSigner::random();
        let acceptance = Acceptance::new(NOW - 10);
        let (headers, digest) = REQUEST.sign(&signer, NOW);
        assert_eq!(acceptance.accept(&REQUEST, &headers, NOW).await, Ok((signer.address(), digest)));
        assert_eq!(acceptance.accept(&REQUEST, &headers, NOW).await, Err(SignatureError::Replayed));
        let (again, _) = REQUEST.sign(&signer, NOW);
        assert!(acceptance.accept(&REQUEST, &again, NOW).await.is_ok(), "the same question may be asked again");
    }

    #[tokio::test]
    async fn nothing_of_a_request_can_be_changed() {
        let other = Address::new([2; 20]);
        let changed = [
            Request { chain_id: "careledger-dev-2", ..REQUEST },
            Request { recipient: &other, ..REQUEST },
            Request { path: "/b/peer/v1/read", ..REQUEST },
            Request { body: b"{ }", ..REQUEST },
        ];
        let acceptance = Acceptance::new(NOW);
        let (headers, _) = REQUEST.sign(&OrganizationSigner::random(), NOW);
        for request in changed {
            assert_eq!(acceptance.accept(&request, &headers, NOW).await, Err(SignatureError::Signature));
        }
        let stolen = Headers { key: *OrganizationSigner::random().public_key(), ..headers.clone() };
        let moved = Headers { time: NOW + 1, ..headers.clone() };
        let renamed = Headers { nonce: [0; 32], ..headers };
        for headers in [stolen, moved, renamed] {
            assert_eq!(acceptance.accept(&REQUEST, &headers, NOW).await, Err(SignatureError::Signature));
        }
    }

    #[tokio::test]
    async fn the_window_is_exact_to_the_second() {
        let acceptance = Acceptance::new(0);
        let signer = OrganizationSigner::random();
        for (distance, accepted) in [(-61, false), (-60, true), (0, true), (60, true), (61, false)] {
            let (headers, _) = REQUEST.sign(&signer, NOW + distance);
            assert_eq!(acceptance.accept(&REQUEST, &headers, NOW).await.is_ok(), accepted, "{distance} s");
        }
    }

    #[tokio::test]
    async fn what_was_signed_before_the_start_is_refused() {
        let (headers, _) = REQUEST.sign(&OrganizationSigner::random(), NOW - 1);
        assert_eq!(Acceptance::new(NOW).accept(&REQUEST, &headers, NOW).await, Err(SignatureError::Time));
        assert!(Acceptance::new(NOW - 1).accept(&REQUEST, &headers, NOW).await.is_ok());
    }

    #[tokio::test]
    async fn a_request_is_accepted_once_by_all_processes_of_one_store() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Shared(LocalStore::open(folder.path()).unwrap()));
        let signer = OrganizationSigner::random();
        let [one, other] = [(); 2].map(|()| Acceptance::open(Arc::clone(&store), NOW).unwrap());
        let (headers, digest) = REQUEST.sign(&signer, NOW);
        assert_eq!(one.accept(&REQUEST, &headers, NOW).await, Ok((signer.address(), digest)));
        assert_eq!(other.accept(&REQUEST, &headers, NOW).await, Err(SignatureError::Replayed));
        let (again, _) = REQUEST.sign(&signer, NOW);
        assert!(other.accept(&REQUEST, &again, NOW).await.is_ok());
        assert_eq!(one.accept(&REQUEST, &again, NOW).await, Err(SignatureError::Replayed));
        // One that comes to both at once.
        let (raced, _) = REQUEST.sign(&signer, NOW);
        let outcomes = futures::join!(one.accept(&REQUEST, &raced, NOW), other.accept(&REQUEST, &raced, NOW));
        assert!(outcomes.0.is_ok() != outcomes.1.is_ok(), "{outcomes:?}");
        // One that starts within the same second.
        let third = Acceptance::open(store, NOW).unwrap();
        assert_eq!(third.accept(&REQUEST, &headers, NOW).await, Err(SignatureError::Replayed));
    }

    #[tokio::test]
    async fn rows_of_requests_are_removed_once_no_process_accepts_them_also_those_of_a_process_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Shared(LocalStore::open(folder.path()).unwrap()));
        let signer = OrganizationSigner::random();
        let kept = || rows(store.as_ref()).unwrap().len();
        let gone = Acceptance::open(Arc::clone(&store), NOW).unwrap();
        let accept = async |acceptance: &Acceptance, now: i64| {
            let (headers, _) = REQUEST.sign(&signer, now);
            acceptance.accept(&REQUEST, &headers, now).await.unwrap();
        };
        accept(&gone, NOW).await;
        drop(gone);
        let acceptance = Acceptance::open(Arc::clone(&store), NOW + 1).unwrap();
        accept(&acceptance, NOW + WINDOW_SECONDS).await;
        assert_eq!(kept(), 2);
        // A process whose clock is a minute behind might still accept the first one.
        accept(&acceptance, NOW + ROW_SECONDS).await;
        assert_eq!(kept(), 3);
        accept(&acceptance, NOW + ROW_SECONDS + WINDOW_SECONDS).await;
        assert_eq!(kept(), 3, "the first one is gone");
    }

    #[test]
    fn headers_are_read_as_written() {
        let (headers, _) = REQUEST.sign(&OrganizationSigner::random(), NOW);
        let written = headers.write();
        let get = |name: &str| written.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        assert_eq!(Headers::read(get), Ok(headers.clone()));
        for missing in [KEY, TIME, NONCE, SIGNATURE] {
            assert_eq!(Headers::read(|name| get(name).filter(|_| name != missing)), Err(SignatureError::Headers));
        }
    }
}
