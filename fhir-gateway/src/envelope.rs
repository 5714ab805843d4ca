//! Sealed documents: a key per document version, the body under it, and one wrap of that key per
//! recipient.
//!
//! - Body: AES-256-GCM in the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015) with
//!   64 KiB chunks. Chunks that were reordered, truncated, or taken from another document,
//!   version or suite do not open.
//! - Wraps stand apart from the body, so that a new recipient needs a wrap and no new upload.
//! - Suites are named, and the name is authenticated: a wrap or body relabelled as another suite
//!   does not open. A name that is not known here is refused, so nothing can be downgraded.
//!
//! ADR 0006 says why these and what they cost.

use aead_stream::{DecryptorBE32, EncryptorBE32};
use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use careledger_wire::{
    commitment,
    ids::{Digest, EncryptionKey, RecordId},
};
use hpke::{
    Deserializable as _, OpModeR, OpModeS, Serializable as _,
    aead::AesGcm256,
    kdf::HkdfSha256,
    kem::{Kem, X25519HkdfSha256},
};
use serde::{Deserialize, Serialize};

use crate::keys::{EncryptionPair, Secret, random};

/// Plaintext bytes in every chunk but the last.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes that authenticate each chunk.
const TAG_BYTES: usize = 16;
/// Random start of the nonce; the other five bytes are the chunk's number and the last-chunk flag.
const NONCE_PREFIX_BYTES: usize = 7;

/// Why something sealed does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Altered, truncated, reordered, of another document or version, or for another key. Which
    /// of these is not told.
    #[error("the sealed document does not open: it was altered, or belongs to another document or key")]
    Refused,
    /// A recipient's public key that is no X25519 key.
    #[error("the recipient's key is not a usable X25519 key")]
    Recipient,
}

/// How a body is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodySuite {
    /// AES-256-GCM, STREAM with a 32-bit big-endian counter, 64 KiB chunks.
    #[serde(rename = "careledger/aes-256-gcm-stream-64k/1")]
    Aes256GcmStream,
}

impl BodySuite {
    fn name(self) -> &'static str {
        match self {
            Self::Aes256GcmStream => "careledger/aes-256-gcm-stream-64k/1",
        }
    }
}

/// How a document key is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WrapSuite {
    /// AES-256-GCM under the organization's own storage key; `enc` is the nonce.
    #[serde(rename = "careledger/storage-aes-256-gcm/1")]
    Storage,
    /// HPKE (RFC 9180) base mode: X25519-HKDF-SHA256, HKDF-SHA256, AES-256-GCM.
    #[serde(rename = "careledger/hpke-x25519-sha256-aes-256-gcm/1")]
    Hpke,
}

impl WrapSuite {
    fn name(self) -> &'static str {
        match self {
            Self::Storage => "careledger/storage-aes-256-gcm/1",
            Self::Hpke => "careledger/hpke-x25519-sha256-aes-256-gcm/1",
        }
    }
}

/// What a body is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Record id on the ledger.
    pub record: RecordId,
    /// Version of the record, from 1.
    pub version: u32,
    /// How the body is sealed.
    pub suite: BodySuite,
}

impl Document {
    /// Version `version` of `record`, in the suite that new bodies get.
    pub fn new(record: RecordId, version: u32) -> Self {
        Self { record, version, suite: BodySuite::Aes256GcmStream }
    }

    /// Bytes that are authenticated with every chunk and every wrap. `purpose` is a suite's name,
    /// so the last part cannot be confused with the fixed-size parts before it.
    fn associated_data(&self, purpose: &str) -> Vec<u8> {
        let suite = self.suite.name();
        let mut bytes = Vec::with_capacity(32 + 4 + 1 + suite.len() + purpose.len());
        bytes.extend_from_slice(self.record.as_bytes());
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.push(u8::try_from(suite.len()).expect("suite names are short"));
        bytes.extend_from_slice(suite.as_bytes());
        bytes.extend_from_slice(purpose.as_bytes());
        bytes
    }
}

/// The key of one version of one document.
#[derive(Debug, Clone)]
pub struct DocumentKey(Secret);

impl DocumentKey {
    /// A new key. One key seals one body, ever.
    pub fn random() -> Self {
        Self(Secret::random())
    }
}

/// A document key for one recipient. It travels and is stored apart from the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrap {
    /// How the key is wrapped.
    pub suite: WrapSuite,
    /// Names the recipient's key: SHA3-256 of it with the suite's name.
    pub key_id: Digest,
    /// HPKE's encapsulated key, or the nonce.
    #[serde(with = "base64_bytes")]
    pub enc: Vec<u8>,
    /// The wrapped key with its tag.
    #[serde(with = "base64_bytes")]
    pub wrapped: Vec<u8>,
}

/// Seals `plaintext` under `key`. The result is its own nonce prefix and the chunks.
pub fn seal(document: &Document, key: &DocumentKey, plaintext: &[u8]) -> Vec<u8> {
    let prefix: [u8; NONCE_PREFIX_BYTES] = random();
    let aad = document.associated_data("");
    let mut stream = EncryptorBE32::<Aes256Gcm>::new(key.0.as_bytes().into(), &prefix.into());
    let chunks = plaintext.len().div_ceil(CHUNK_BYTES).max(1);
    let mut sealed = Vec::with_capacity(NONCE_PREFIX_BYTES + plaintext.len() + chunks * TAG_BYTES);
    sealed.extend_from_slice(&prefix);
    let mut rest = plaintext;
    let mut chunk = Vec::with_capacity(plaintext.len().min(CHUNK_BYTES) + TAG_BYTES);
    while rest.len() > CHUNK_BYTES {
        let (full, after) = rest.split_at(CHUNK_BYTES);
        chunk.clear();
        chunk.extend_from_slice(full);
        stream.encrypt_next_in_place(&aad, &mut chunk).expect("2^32 chunks are beyond every body limit");
        sealed.extend_from_slice(&chunk);
        rest = after;
    }
    chunk.clear();
    chunk.extend_from_slice(rest);
    stream.encrypt_last_in_place(&aad, &mut chunk).expect("a chunk is below the limit of AES-GCM");
    sealed.extend_from_slice(&chunk);
    sealed
}

/// Opens what [`seal`] made, if every byte is as it was.
pub fn open(document: &Document, key: &DocumentKey, sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let (prefix, mut rest) = sealed.split_first_chunk::<NONCE_PREFIX_BYTES>().ok_or(EnvelopeError::Refused)?;
    let aad = document.associated_data("");
    let mut stream = DecryptorBE32::<Aes256Gcm>::new(key.0.as_bytes().into(), &(*prefix).into());
    let mut plaintext = Vec::with_capacity(rest.len());
    let mut chunk = Vec::with_capacity(rest.len().min(CHUNK_BYTES + TAG_BYTES));
    while rest.len() > CHUNK_BYTES + TAG_BYTES {
        let (full, after) = rest.split_at(CHUNK_BYTES + TAG_BYTES);
        chunk.clear();
        chunk.extend_from_slice(full);
        stream.decrypt_next_in_place(&aad, &mut chunk).map_err(|_| EnvelopeError::Refused)?;
        plaintext.extend_from_slice(&chunk);
        rest = after;
    }
    chunk.clear();
    chunk.extend_from_slice(rest);
    stream.decrypt_last_in_place(&aad, &mut chunk).map_err(|_| EnvelopeError::Refused)?;
    plaintext.extend_from_slice(&chunk);
    Ok(plaintext)
}

/// The organization's own storage key, ready for use: each document that is read needs it.
pub struct StorageKey {
    id: Digest,
    cipher: Aes256Gcm,
}

impl StorageKey {
    /// What wraps the keys of documents under `storage`.
    pub fn of(storage: &Secret) -> Self {
        let suite = WrapSuite::Storage.name();
        let id = Digest::new(commitment::hash("careledger/key-id/1", &[suite.as_bytes(), storage.as_bytes()]));
        Self { id, cipher: Aes256Gcm::new(storage.derive(suite).as_bytes().into()) }
    }

    /// Its id, which each wrap names.
    pub fn id(&self) -> &Digest {
        &self.id
    }
}

/// Id of a recipient's HPKE key.
pub fn recipient_key_id(recipient: &EncryptionKey) -> Digest {
    Digest::new(commitment::hash("careledger/key-id/1", &[WrapSuite::Hpke.name().as_bytes(), recipient.as_bytes()]))
}

/// Wraps `key` under the organization's own storage key.
pub fn wrap_own(document: &Document, key: &DocumentKey, storage: &StorageKey) -> Wrap {
    let nonce: [u8; 12] = random();
    let aad = document.associated_data(WrapSuite::Storage.name());
    let wrapped = storage
        .cipher
        .encrypt(&nonce.into(), Payload { msg: key.0.as_bytes(), aad: &aad })
        .expect("32 bytes are below the limit of AES-GCM");
    Wrap { suite: WrapSuite::Storage, key_id: storage.id, enc: nonce.to_vec(), wrapped }
}

/// Opens a wrap that [`wrap_own`] made.
pub fn unwrap_own(document: &Document, wrap: &Wrap, storage: &StorageKey) -> Result<DocumentKey, EnvelopeError> {
    let nonce: [u8; 12] = wrap.enc.as_slice().try_into().map_err(|_| EnvelopeError::Refused)?;
    if wrap.suite != WrapSuite::Storage || wrap.key_id != storage.id {
        return Err(EnvelopeError::Refused);
    }
    let aad = document.associated_data(WrapSuite::Storage.name());
    let key = storage.cipher.decrypt(&nonce.into(), Payload { msg: &wrap.wrapped, aad: &aad });
    document_key(&key.map_err(|_| EnvelopeError::Refused)?)
}

/// Wraps `key` for a recipient. Only the holder of the recipient's private key opens it, and only
/// for this document and version.
pub fn wrap_for(document: &Document, key: &DocumentKey, recipient: &EncryptionKey) -> Result<Wrap, EnvelopeError> {
    let info = WrapSuite::Hpke.name().as_bytes();
    let aad = document.associated_data(WrapSuite::Hpke.name());
    let (enc, wrapped) = seal_to(recipient, info, key.0.as_bytes(), &aad)?;
    Ok(Wrap { suite: WrapSuite::Hpke, key_id: recipient_key_id(recipient), enc, wrapped })
}

/// Opens a wrap that [`wrap_for`] made for the owner of `pair`.
pub fn unwrap_for(document: &Document, wrap: &Wrap, pair: &EncryptionPair) -> Result<DocumentKey, EnvelopeError> {
    if wrap.suite != WrapSuite::Hpke || wrap.key_id != recipient_key_id(&pair.public()) {
        return Err(EnvelopeError::Refused);
    }
    let aad = document.associated_data(WrapSuite::Hpke.name());
    let key = open_from(pair, WrapSuite::Hpke.name().as_bytes(), &wrap.enc, &wrap.wrapped, &aad)?;
    document_key(&key)
}

/// HPKE seal (RFC 9180 section 6.1, base mode) of any message: the encapsulated key and the
/// ciphertext. `info` names the use, so that a message of one use never opens as another.
pub fn seal_to(
    recipient: &EncryptionKey,
    info: &[u8],
    plaintext: &[u8],
    aad: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), EnvelopeError> {
    let recipient =
        <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(recipient.as_bytes()).map_err(|_| EnvelopeError::Recipient)?;
    let (enc, sealed) = hpke::single_shot_seal::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &recipient,
        info,
        plaintext,
        aad,
    )
    .map_err(|_| EnvelopeError::Recipient)?;
    Ok((enc.to_bytes().to_vec(), sealed))
}

/// Opens what [`seal_to`] made.
pub fn open_from(
    pair: &EncryptionPair,
    info: &[u8],
    enc: &[u8],
    sealed: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>, EnvelopeError> {
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(|_| EnvelopeError::Refused)?;
    hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &pair.private_key(),
        &enc,
        info,
        sealed,
        aad,
    )
    .map_err(|_| EnvelopeError::Refused)
}

/// What seals small values for one purpose (what the vault knows about a document, a line of the access log), ready for
/// use. A value is bound to where it is kept, so that none can be put in another's place.
pub struct ValueKey(Aes256Gcm);

impl ValueKey {
    /// Seals under `key`, which was derived for that purpose.
    pub fn of(key: &Secret) -> Self {
        Self(Aes256Gcm::new(key.as_bytes().into()))
    }

    /// Seals a value that is kept at `place`: its nonce, and the ciphertext with its tag.
    pub fn seal(&self, plaintext: &[u8], place: &[u8]) -> Vec<u8> {
        let nonce: [u8; 12] = random();
        let sealed = self.0.encrypt(&nonce.into(), Payload { msg: plaintext, aad: place });
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed.expect("values are below the limit of AES-GCM"));
        bytes
    }

    /// Opens what [`Self::seal`] made for that place.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let (nonce, sealed) = sealed.split_first_chunk::<12>().ok_or(EnvelopeError::Refused)?;
        let opened = self.0.decrypt(&(*nonce).into(), Payload { msg: sealed, aad: place });
        opened.map_err(|_| EnvelopeError::Refused)
    }
}

fn document_key(bytes: &[u8]) -> Result<DocumentKey, EnvelopeError> {
    bytes.try_into().map(|bytes| DocumentKey(Secret::new(bytes))).map_err(|_| EnvelopeError::Refused)
}

/// Bytes as base64 text in JSON.
pub mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    /// Writes standard base64 with padding.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    /// Reads standard base64 with padding.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
