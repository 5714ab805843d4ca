//! Requests between gateways are signed by the organization's account key, for one recipient, one
//! path, one body and one moment, and each is accepted once.

use std::{collections::HashMap, sync::Arc};

use careledger_wire::{
    commitment,
    ids::{Address, Digest},
};
use parking_lot::Mutex;

use crate::keys::{self, OrganizationSigner};

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

/// Accepts each signed request once. What it remembers is lost when the process ends, so requests
/// that were signed before it started are not accepted.
#[derive(Debug, Clone)]
pub struct Acceptance {
    started: i64,
    seen: Arc<Mutex<HashMap<[u8; 32], i64>>>,
}

impl Acceptance {
    /// Starts remembering at `now`, Unix seconds.
    pub fn new(now: i64) -> Self {
        Self { started: now, seen: Arc::default() }
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

    /// Remembers an exchange that was signed at `time`, so that it is accepted once. Called for
    /// organizations that the ledger knows: keys that anybody can make fill no memory.
    ///
    /// # Errors
    /// [`SignatureError::Replayed`], [`SignatureError::Busy`].
    pub fn remember(&self, digest: &Digest, time: i64, now: i64) -> Result<(), SignatureError> {
        let mut seen = self.seen.lock();
        if seen.len() >= REMEMBERED_MAX {
            seen.retain(|_, time| now - *time <= WINDOW_SECONDS);
        }
        if seen.contains_key(digest.as_bytes()) {
            return Err(SignatureError::Replayed);
        }
        if seen.len() >= REMEMBERED_MAX {
            return Err(SignatureError::Busy);
        }
        seen.insert(*digest.as_bytes(), time);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Acceptance {
        fn accept(
            &self,
            request: &Request<'_>,
            headers: &Headers,
            now: i64,
        ) -> Result<(Address, Digest), SignatureError> {
            let (address, digest) = self.verify(request, headers, now)?;
            self.remember(&digest, headers.time, now)?;
            Ok((address, digest))
        }
    }

    const NOW: i64 = 1_000_000;
    const REQUEST: Request<'_> = Request {
        chain_id: "careledger-dev-1",
        recipient: &Address::new([1; 20]),
        path: "/a/peer/v1/read",
        body: b"{}",
    };

    #[test]
    fn a_signed_request_is_accepted_once() {
        let signer = OrganizationSigner::random();
        let acceptance = Acceptance::new(NOW - 10);
        let (headers, digest) = REQUEST.sign(&signer, NOW);
        assert_eq!(acceptance.accept(&REQUEST, &headers, NOW), Ok((signer.address(), digest)));
        assert_eq!(acceptance.accept(&REQUEST, &headers, NOW), Err(SignatureError::Replayed));
        let (again, _) = REQUEST.sign(&signer, NOW);
        assert!(acceptance.accept(&REQUEST, &again, NOW).is_ok(), "the same question may be asked again");
    }

    #[test]
    fn nothing_of_a_request_can_be_changed() {
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
            assert_eq!(acceptance.accept(&request, &headers, NOW), Err(SignatureError::Signature));
        }
        let stolen = Headers { key: *OrganizationSigner::random().public_key(), ..headers.clone() };
        let moved = Headers { time: NOW + 1, ..headers.clone() };
        let renamed = Headers { nonce: [0; 32], ..headers };
        for headers in [stolen, moved, renamed] {
            assert_eq!(acceptance.accept(&REQUEST, &headers, NOW), Err(SignatureError::Signature));
        }
    }

    #[test]
    fn the_window_is_exact_to_the_second() {
        let acceptance = Acceptance::new(0);
        let signer = OrganizationSigner::random();
        for (distance, accepted) in [(-61, false), (-60, true), (0, true), (60, true), (61, false)] {
            let (headers, _) = REQUEST.sign(&signer, NOW + distance);
            assert_eq!(acceptance.accept(&REQUEST, &headers, NOW).is_ok(), accepted, "{distance} s");
        }
    }

    #[test]
    fn what_was_signed_before_the_start_is_refused() {
        let (headers, _) = REQUEST.sign(&OrganizationSigner::random(), NOW - 1);
        assert_eq!(Acceptance::new(NOW).accept(&REQUEST, &headers, NOW), Err(SignatureError::Time));
        assert!(Acceptance::new(NOW - 1).accept(&REQUEST, &headers, NOW).is_ok());
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
