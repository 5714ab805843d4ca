//! An organization's keys: who it is on the ledger, who can be wrapped for, and what protects its
//! own disk.
//!
//! - [`OrganizationSigner`]: the secp256k1 account key. It signs clinical writes and the requests
//!   between gateways. The ledger refuses it for a patient's consent.
//! - [`EncryptionPair`]: the X25519 key that is registered on the ledger; others wrap document
//!   keys for it (RFC 9180).
//! - [`Secret`]: symmetric keys: storage (wraps every document key), index (SQLCipher), record
//!   ids (so that nobody else can derive which record of ours is which).
//!
//! All of them live in one encrypted file, see [`keystore`].

use std::{fmt, sync::Arc};

use careledger_wire::{
    commitment,
    ids::{Address, EncryptionKey, RecordId},
};
use hmac::{KeyInit as _, Mac as _, SimpleHmac};
use hpke::{Deserializable as _, Kem as _, Serializable as _, kem::X25519HkdfSha256};
use secp256k1::{PublicKey, SecretKey, ecdsa::Signature};
use sha2::{Digest as _, Sha256};
use sha3::Sha3_256;
use zeroize::Zeroizing;

pub mod keystore;

/// A 256-bit symmetric key. It is wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// The key of these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A key from the operating system's generator.
    pub fn random() -> Self {
        Self::new(random())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for one purpose, so that no key is used with two algorithms or in two formats.
    pub fn derive(&self, purpose: &str) -> Self {
        Self::new(commitment::hash(purpose, &[self.as_bytes()]))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Bytes from the operating system's generator, through the thread's reseeding generator.
pub fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    use rand::Rng as _;
    let mut bytes = [0; LENGTH];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// The organization's account key.
pub struct OrganizationSigner {
    secret: Secret,
    public_key: [u8; 33],
    address: Address,
}

impl OrganizationSigner {
    /// The signer of this secret. `None` for the two values that are no secp256k1 secret: zero
    /// and anything from the group order up.
    pub fn new(secret: Secret) -> Option<Self> {
        let key = SecretKey::from_secret_bytes(*secret.as_bytes()).ok()?;
        let public_key = PublicKey::from_secret_key(&key).serialize();
        Some(Self { secret, public_key, address: Address::of_key(&public_key) })
    }

    /// A new account.
    pub fn random() -> Self {
        loop {
            // A random value is no valid secret once in 2^128.
            if let Some(signer) = Self::new(Secret::random()) {
                return signer;
            }
        }
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The compressed public key.
    pub fn public_key(&self) -> &[u8; 33] {
        &self.public_key
    }

    /// Signs the SHA-256 of `bytes`, as Cosmos transactions do: compact, low s.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.sign_digest(Sha256::digest(bytes).into())
    }

    /// Signs a 32-byte digest: compact, low s, deterministic (RFC 6979).
    pub fn sign_digest(&self, digest: [u8; 32]) -> [u8; 64] {
        let key = SecretKey::from_secret_bytes(*self.secret.as_bytes()).expect("checked when the signer was made");
        let message = secp256k1::Message::from_digest(digest);
        let mut signature = key.sign_ecdsa(message);
        signature.normalize_s();
        signature.serialize_compact()
    }
}

impl fmt::Debug for OrganizationSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OrganizationSigner({})", self.address)
    }
}

/// Whether `signature` (compact, low s) over `digest` was made by the owner of `public_key`.
pub fn verify_digest(public_key: &[u8; 33], digest: [u8; 32], signature: &[u8; 64]) -> bool {
    let (Ok(key), Ok(signature)) = (PublicKey::from_slice(public_key), Signature::from_compact(signature)) else {
        return false;
    };
    // The library refuses a high s, so that a signature has one form.
    signature.verify(secp256k1::Message::from_digest(digest), &key).is_ok()
}

/// An X25519 key pair for HPKE.
pub struct EncryptionPair {
    secret: Secret,
    public: EncryptionKey,
}

impl EncryptionPair {
    /// The pair of this secret: any 32 bytes are an X25519 secret.
    pub fn new(secret: Secret) -> Self {
        let key = private_key(&secret);
        let public: [u8; 32] = X25519HkdfSha256::sk_to_pk(&key).to_bytes().into();
        Self { secret, public: EncryptionKey::new(public) }
    }

    /// A new pair.
    pub fn random() -> Self {
        Self::new(Secret::random())
    }

    /// The public key, as it is registered on the ledger.
    pub fn public(&self) -> EncryptionKey {
        self.public
    }

    pub(crate) fn private_key(&self) -> <X25519HkdfSha256 as hpke::Kem>::PrivateKey {
        private_key(&self.secret)
    }
}

impl fmt::Debug for EncryptionPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EncryptionPair({})", self.public)
    }
}

fn private_key(secret: &Secret) -> <X25519HkdfSha256 as hpke::Kem>::PrivateKey {
    <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(secret.as_bytes())
        .expect("any 32 bytes are an X25519 private key")
}

/// Everything that an organization's gateway must keep secret.
#[derive(Debug)]
pub struct OrganizationKeys {
    /// The account on the ledger.
    pub signer: Arc<OrganizationSigner>,
    /// What others wrap document keys for.
    pub encryption: EncryptionPair,
    /// Wraps the organization's own document keys and seals what the vault knows about them.
    pub storage: Secret,
    /// Key of the search index (SQLCipher).
    pub index: Secret,
    /// Key of record ids.
    pub record_ids: Secret,
}

impl OrganizationKeys {
    /// New keys for a new organization.
    pub fn random() -> Self {
        Self {
            signer: Arc::new(OrganizationSigner::random()),
            encryption: EncryptionPair::random(),
            storage: Secret::random(),
            index: Secret::random(),
            record_ids: Secret::random(),
        }
    }

    /// Id on the ledger of the resource `resource_type`/`id`: HMAC-SHA3-256 under a key that only
    /// this organization has, so that the ledger shows neither the type nor the id.
    pub fn record_id(&self, resource_type: &str, id: &str) -> RecordId {
        let mut mac =
            SimpleHmac::<Sha3_256>::new_from_slice(self.record_ids.as_bytes()).expect("HMAC takes any key length");
        mac.update(resource_type.as_bytes());
        mac.update(b"/");
        mac.update(id.as_bytes());
        RecordId::new(mac.finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_accepted_for_its_digest_and_key_only() {
        let signer = OrganizationSigner::random();
        let signature = signer.sign_digest([7; 32]);
        assert!(verify_digest(signer.public_key(), [7; 32], &signature));
        assert!(!verify_digest(signer.public_key(), [8; 32], &signature));
        assert!(!verify_digest(OrganizationSigner::random().public_key(), [7; 32], &signature));
        let mut flipped = signature;
        flipped[40] ^= 1;
        assert!(!verify_digest(signer.public_key(), [7; 32], &flipped));
    }

    #[test]
    fn an_organization_signs_what_cosmos_accepts() {
        let secret = Secret::new([9; 32]);
        let ours = OrganizationSigner::new(secret.clone()).unwrap();
        let theirs = cosmrs::crypto::secp256k1::SigningKey::from_slice(secret.as_bytes()).unwrap();
        assert_eq!(ours.public_key().as_slice(), theirs.public_key().to_bytes());
        assert_eq!(ours.sign(b"bytes")[..], theirs.sign(b"bytes").unwrap().to_bytes()[..]);
    }

    #[test]
    fn zero_is_no_account() {
        assert!(OrganizationSigner::new(Secret::new([0; 32])).is_none());
        assert!(OrganizationSigner::new(Secret::new([0xff; 32])).is_none());
    }

    #[test]
    fn record_ids_differ_by_type_id_and_organization() {
        let keys = OrganizationKeys::random();
        let id = keys.record_id("Patient", "1");
        assert_eq!(id, keys.record_id("Patient", "1"));
        for other in [
            keys.record_id("Patient", "2"),
            keys.record_id("Person", "1"),
            OrganizationKeys::random().record_id("Patient", "1"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let keys = OrganizationKeys::random();
        let printed = format!("{keys:?}");
        for secret in [&keys.storage, &keys.index, &keys.record_ids, &keys.signer.secret, &keys.encryption.secret] {
            assert!(!printed.contains(&hex::encode(secret.as_bytes())));
            assert!(!printed.contains(&format!("{:?}", secret.as_bytes())));
        }
    }
}
