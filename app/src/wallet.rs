//! A wallet: one mnemonic, from which every key of its owner follows.
//!
//! | key | BIP-32 path | use |
//! |---|---|---|
//! | account | `m/44'/118'/0'/0/0` | an organization's, registrar's or practitioner's account, as Cosmos wallets derive it |
//! | claimant | `m/44'/118'/1'/a'/b'/c'/d'` | a patient's account at one organization |
//! | encryption | `m/44'/118'/2'/a'/b'/c'/d'` | seed of a patient's X25519 key at one organization |
//!
//! a to d are 31 bits each of SHA-256("careledger/derive/1" ‖ the organization's address), so two
//! organizations see keys that share nothing, and any wallet with the mnemonic finds them again.

pub mod keystore;

use bip32::{ChildNumber, DerivationPath, Language, Mnemonic, XPrv};
use careledger_wire::{
    commitment,
    ids::{Address, EncryptionKey},
    signing::PublicKey,
    transaction::Unsigned,
};
use cosmrs::crypto::secp256k1::SigningKey;
use hpke::{Kem as _, Serializable as _, kem::X25519HkdfSha256};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Cosmos Hub's coin type, which Cosmos wallets use where nothing else is set.
const COIN_TYPE: u32 = 118;

/// The words are not a mnemonic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the 24 words of a BIP-39 mnemonic, English, in lower case")]
pub struct MnemonicError;

/// The bytes are not a secp256k1 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a secp256k1 private key")]
pub struct KeyError;

/// Which of a wallet's keys signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The wallet's own account.
    Account,
    /// The patient whom this organization knows.
    ClaimantAt(Address),
}

/// Everything that follows from one mnemonic. Wiped from memory when dropped.
pub struct Wallet {
    mnemonic: Mnemonic,
}

/// A key pair for sealing to a patient (RFC 9180, DHKEM(X25519, HKDF-SHA256)).
pub struct EncryptionPair {
    /// Opens what was sealed.
    pub secret: Zeroizing<[u8; 32]>,
    /// What others seal to; stands on the ledger once the subject is claimed.
    pub public: EncryptionKey,
}

impl Wallet {
    /// A new wallet from the operating system's randomness.
    pub fn random() -> Self {
        let entropy: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
        Self { mnemonic: Mnemonic::from_entropy(*entropy, Language::English) }
    }

    /// The wallet of a mnemonic; spaces around and between the words do not matter.
    pub fn from_mnemonic(words: &str) -> Result<Self, MnemonicError> {
        let words = Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" "));
        let mnemonic = Mnemonic::new(words.as_str(), Language::English).map_err(|_| MnemonicError)?;
        Ok(Self { mnemonic })
    }

    /// The 24 words. Whoever has them is the owner.
    pub fn mnemonic(&self) -> &str {
        self.mnemonic.phrase()
    }

    /// The key for a role.
    pub fn signer(&self, role: Role) -> Signer {
        let path = match role {
            Role::Account => path(&[hardened(0), normal(0), normal(0)]),
            Role::ClaimantAt(organization) => organization_path(1, &organization),
        };
        let key = self.derive(&path);
        Signer { key: SigningKey::from_slice(&key[..]).expect("BIP-32 gives keys within the curve's order") }
    }

    /// The key to which documents are sealed for the patient whom `organization` knows.
    pub fn encryption_pair(&self, organization: &Address) -> EncryptionPair {
        let seed = self.derive(&organization_path(2, organization));
        let (secret, public) = X25519HkdfSha256::derive_keypair(&seed[..]);
        EncryptionPair {
            secret: Zeroizing::new(secret.to_bytes().into()),
            public: EncryptionKey::new(public.to_bytes().into()),
        }
    }

    fn derive(&self, path: &DerivationPath) -> Zeroizing<[u8; 32]> {
        let seed = self.mnemonic.to_seed("");
        let key = XPrv::derive_from_path(&seed, path).expect("a seed of 64 bytes derives along any path");
        Zeroizing::new(key.to_bytes())
    }
}

/// A secp256k1 key that signs transactions.
pub struct Signer {
    key: SigningKey,
}

impl Signer {
    /// The key of these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(Self { key: SigningKey::from_slice(bytes).map_err(|_| KeyError)? })
    }

    /// A new key from the operating system's randomness.
    pub fn random() -> Self {
        loop {
            let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
            // All but about one in 2^128 are within the curve's order.
            if let Ok(signer) = Self::from_bytes(&bytes) {
                return signer;
            }
        }
    }

    /// Compressed public key.
    pub fn public_key(&self) -> [u8; 33] {
        self.key.public_key().to_bytes().try_into().expect("a compressed key has 33 bytes")
    }

    /// Account that this key signs for.
    pub fn address(&self) -> Address {
        Address::of_key(&self.public_key())
    }

    /// Signature by which this key says that it wants to be one of the account's.
    pub fn prove_possession(&self, chain_id: &str, account: &Address) -> [u8; 64] {
        let bytes = commitment::possession(chain_id, account, &PublicKey::Secp256k1(self.public_key()));
        self.key.sign(&bytes).expect("signing a digest does not fail").to_bytes().into()
    }

    /// Signature by which this key says that it wants its account at the organization.
    pub fn bind_to(&self, chain_id: &str, organization: &Address) -> [u8; 64] {
        let bytes = commitment::binding(chain_id, organization, &PublicKey::Secp256k1(self.public_key()));
        self.key.sign(&bytes).expect("signing a digest does not fail").to_bytes().into()
    }

    /// Signature over the SHA-256 of a transaction's sign bytes: how a sponsor signs, too.
    pub fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes).expect("signing a digest does not fail").to_bytes().into()
    }

    /// The signed transaction: bytes that the ledger takes.
    pub fn sign(&self, unsigned: Unsigned) -> Vec<u8> {
        let signature = self.sign_bytes(&unsigned.sign_bytes());
        unsigned.signed(signature)
    }
}

fn organization_path(branch: u32, organization: &Address) -> DerivationPath {
    let digest = Sha256::new().chain_update(b"careledger/derive/1").chain_update(organization.as_bytes()).finalize();
    let mut children = vec![hardened(branch)];
    children.extend(digest.chunks_exact(4).take(4).map(|chunk| {
        let word = u32::from_be_bytes(chunk.try_into().expect("chunks of four"));
        hardened(word & (ChildNumber::HARDENED_FLAG - 1))
    }));
    path(&children)
}

fn path(rest: &[ChildNumber]) -> DerivationPath {
    let mut path = DerivationPath::default();
    for child in [hardened(44), hardened(COIN_TYPE)].iter().chain(rest) {
        path.push(*child);
    }
    path
}

fn hardened(index: u32) -> ChildNumber {
    ChildNumber::new(index, true).expect("the index is below 2^31")
}

fn normal(index: u32) -> ChildNumber {
    ChildNumber::new(index, false).expect("the index is below 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;
    use careledger_wire::transaction::{Replay, Transaction};

    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
        abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art";

    #[test]
    fn a_mnemonic_gives_the_account_that_cosmos_wallets_derive() {
        let wallet = Wallet::from_mnemonic(WORDS).unwrap();
        // Computed apart from this code; with the prefix `cosmos` it is the account that wallets show for these words.
        assert_eq!(wallet.signer(Role::Account).address().to_string(), ACCOUNT);
    }

    #[test]
    fn two_organizations_see_keys_that_share_nothing() {
        let wallet = Wallet::from_mnemonic(WORDS).unwrap();
        let (one, other) = (Address::new([1; 20]), Address::new([2; 20]));
        let claimant = |at| wallet.signer(Role::ClaimantAt(at)).public_key();
        assert_ne!(claimant(one), claimant(other));
        assert_ne!(claimant(one), wallet.signer(Role::Account).public_key());
        assert_ne!(wallet.encryption_pair(&one).public, wallet.encryption_pair(&other).public);
        let again = Wallet::from_mnemonic(wallet.mnemonic()).unwrap();
        assert_eq!(again.signer(Role::ClaimantAt(one)).public_key(), claimant(one));
        assert_eq!(again.encryption_pair(&one).public, wallet.encryption_pair(&one).public);
    }

    #[test]
    fn wrong_words_are_refused() {
        let swapped = WORDS.replacen("art", "zoo", 1);
        let short = WORDS.rsplit_once(' ').unwrap().0;
        for words in ["", "abandon", &swapped, short, "not words at all"] {
            assert!(Wallet::from_mnemonic(words).is_err(), "{words}");
        }
        assert!(Wallet::from_mnemonic(&format!("  {}\n", WORDS.replace(' ', "   "))).is_ok());
    }

    #[test]
    fn what_is_signed_is_a_transaction_of_the_signer() {
        let signer = Wallet::random().signer(Role::Account);
        let message = careledger_wire::proto::consent::MsgRevokeConsent {
            sender: signer.address().to_string(),
            subject: vec![1; 32],
            grant: vec![2; 32],
        };
        let unsigned = Unsigned::new(&[message.into()], &signer.public_key(), "chain", 1, Replay::Sequence(0));
        let transaction = Transaction::decode(&signer.sign(unsigned)).unwrap();
        assert_eq!(transaction.signer(), signer.address());
    }

    const ACCOUNT: &str = "care1r5v5srda7xfth3hn2s26txvrcrntldjuztf2sn";
}
