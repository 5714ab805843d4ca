//! Wallets in a folder, each in one file, sealed with a passphrase: Argon2id, then AES-256-GCM.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use argon2::{Algorithm, Argon2, Params, Version};
use careledger_wire::ids::Address;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Role, Wallet};

/// Layout of a wallet's file.
const FORMAT: u32 = 1;
/// Memory that opening a wallet takes: OWASP's choice for Argon2id, doubled.
const MEMORY_KIB: u32 = 38 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Most memory that a wallet's file may ask for. Bounds what a hostile file costs.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 16;
/// Longest name of a wallet.
const NAME_BYTES_MAX: usize = 64;

/// Why a wallet could not be kept or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A name that is not one.
    #[error("a key's name has 1 to {NAME_BYTES_MAX} of the characters a-z, A-Z, 0-9, - and _")]
    Name,
    /// Nothing is kept under that name.
    #[error("there is no key named `{0}` here")]
    Unknown(String),
    /// Something is kept under that name, and is not replaced.
    #[error("there is a key named `{0}` already")]
    Exists(String),
    /// The passphrase does not open it, or the file was changed.
    #[error("the passphrase does not open the key")]
    Passphrase,
    /// The file is not one of ours.
    #[error("the key's file is damaged or of another version")]
    Damaged,
    /// The folder or file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// What was read or written.
        path: String,
        /// What the operating system said.
        reason: io::Error,
    },
}

/// A folder of sealed wallets.
#[derive(Debug, Clone)]
pub struct Keystore {
    folder: PathBuf,
}

/// What stands on a wallet's file without its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Name of the wallet on this machine.
    pub name: String,
    /// Its own account.
    pub address: Address,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: u32,
    name: String,
    address: Address,
    argon2id: Cost,
    salt: String,
    nonce: String,
    ciphertext: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Keystore {
    /// The wallets in `folder`, which is made when the first is added.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Seals a wallet under a new name.
    pub fn add(&self, name: &str, wallet: &Wallet, passphrase: &str) -> Result<KeyInfo, KeystoreError> {
        let path = self.path(name)?;
        let info = KeyInfo { name: name.to_owned(), address: wallet.signer(Role::Account).address() };
        let cost = Cost { memory_kib: MEMORY_KIB, passes: PASSES, lanes: LANES };
        let (salt, nonce): ([u8; 16], [u8; 12]) = (rand::random(), rand::random());
        let payload = Payload { msg: wallet.mnemonic().as_bytes(), aad: &associated(&info.address) };
        let ciphertext = cipher(cost, passphrase, &salt)?
            .encrypt(&nonce.into(), payload)
            .expect("a mnemonic is within AES-GCM's length");
        let sealed = Sealed {
            format: FORMAT,
            name: info.name.clone(),
            address: info.address,
            argon2id: cost,
            salt: hex::encode(salt),
            nonce: hex::encode(nonce),
            ciphertext: hex::encode(ciphertext),
        };
        fs::create_dir_all(&self.folder).map_err(|reason| file(&self.folder, reason))?;
        let text = serde_json::to_vec_pretty(&sealed).expect("strings and numbers are JSON");
        match write_new(&path, &text) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeystoreError::Exists(name.to_owned())),
            Err(error) => Err(file(&path, error)),
            Ok(()) => Ok(info),
        }
    }

    /// Opens a wallet.
    pub fn open(&self, name: &str, passphrase: &str) -> Result<Wallet, KeystoreError> {
        let sealed = self.read(name)?;
        let cost = sealed.argon2id;
        if sealed.format != FORMAT || cost.memory_kib > MEMORY_KIB_MAX || cost.passes > PASSES_MAX {
            return Err(KeystoreError::Damaged);
        }
        let bytes = |text: &str| hex::decode(text).map_err(|_| KeystoreError::Damaged);
        let nonce: [u8; 12] = bytes(&sealed.nonce)?.try_into().map_err(|_| KeystoreError::Damaged)?;
        let ciphertext = bytes(&sealed.ciphertext)?;
        let payload = Payload { msg: &ciphertext, aad: &associated(&sealed.address) };
        let opened = cipher(cost, passphrase, &bytes(&sealed.salt)?)?.decrypt(&nonce.into(), payload);
        let words = Zeroizing::new(opened.map_err(|_| KeystoreError::Passphrase)?);
        let words = std::str::from_utf8(&words).map_err(|_| KeystoreError::Damaged)?;
        Wallet::from_mnemonic(words).map_err(|_| KeystoreError::Damaged)
    }

    /// Name and account of one wallet, without its passphrase.
    pub fn info(&self, name: &str) -> Result<KeyInfo, KeystoreError> {
        let sealed = self.read(name)?;
        Ok(KeyInfo { name: sealed.name, address: sealed.address })
    }

    /// Name and account of every wallet, by name.
    pub fn list(&self) -> Result<Vec<KeyInfo>, KeystoreError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|reason| file(&self.folder, reason))?,
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
            .collect();
        names.sort_unstable();
        names.iter().map(|name| self.info(name)).collect()
    }

    fn read(&self, name: &str) -> Result<Sealed, KeystoreError> {
        let path = self.path(name)?;
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeystoreError::Unknown(name.to_owned()));
            }
            other => other.map_err(|reason| file(&path, reason))?,
        };
        serde_json::from_slice(&text).map_err(|_| KeystoreError::Damaged)
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeystoreError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            return Err(KeystoreError::Name);
        }
        Ok(self.folder.join(format!("{name}.json")))
    }
}

/// Ties the sealed words to the account that stands beside them.
fn associated(address: &Address) -> Vec<u8> {
    [b"careledger/wallet/1".as_slice(), address.as_bytes()].concat()
}

fn cipher(cost: Cost, passphrase: &str, salt: &[u8]) -> Result<Aes256Gcm, KeystoreError> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32));
    let params = params.map_err(|_| KeystoreError::Damaged)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
        .map_err(|_| KeystoreError::Damaged)?;
    Ok(Aes256Gcm::new(&(*key).into()))
}

/// Writes a file that nobody else may read, whole or not at all, never over another.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn file(path: &Path, reason: io::Error) -> KeystoreError {
    KeystoreError::File { path: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_wallet_opens_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(folder.path().join("keys"));
        assert_eq!(keystore.list().unwrap(), []);
        let wallet = Wallet::random();
        let info = keystore.add("alice", &wallet, "correct horse").unwrap();
        assert_eq!(keystore.list().unwrap(), std::slice::from_ref(&info));
        assert_eq!(keystore.open("alice", "correct horse").unwrap().mnemonic(), wallet.mnemonic());
        assert!(matches!(keystore.open("alice", "correct hors"), Err(KeystoreError::Passphrase)));
        assert!(matches!(keystore.open("bob", "correct horse"), Err(KeystoreError::Unknown(_))));
        assert!(matches!(keystore.add("alice", &wallet, "x"), Err(KeystoreError::Exists(_))));
    }

    #[test]
    fn the_file_is_private_and_holds_no_word() {
        let folder = tempfile::tempdir().unwrap();
        let wallet = Wallet::random();
        Keystore::new(folder.path()).add("alice", &wallet, "p").unwrap();
        let path = folder.path().join("alice.json");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(path).unwrap();
        let first_words: Vec<&str> = wallet.mnemonic().split(' ').take(2).collect();
        assert!(!text.contains(&first_words.join(" ")));
    }

    #[test]
    fn a_changed_file_does_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(folder.path());
        keystore.add("alice", &Wallet::random(), "p").unwrap();
        let path = folder.path().join("alice.json");
        let original: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let changes = [
            ("address", serde_json::json!(Address::new([9; 20]))),
            ("salt", serde_json::json!("00".repeat(16))),
            ("ciphertext", serde_json::json!("00".repeat(64))),
            ("nonce", serde_json::json!("00")),
            ("format", serde_json::json!(2)),
            ("argon2id", serde_json::json!({ "memory_kib": u32::MAX, "passes": 2, "lanes": 1 })),
            ("extra", serde_json::json!(1)),
        ];
        for (field, value) in changes {
            let mut changed = original.clone();
            changed[field] = value;
            fs::write(&path, changed.to_string()).unwrap();
            assert!(keystore.open("alice", "p").is_err(), "{field}");
        }
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::new(folder.path());
        for name in ["", "../alice", "a/b", "a.b", "é", &"a".repeat(65)] {
            assert!(matches!(keystore.add(name, &Wallet::random(), "p"), Err(KeystoreError::Name)), "{name}");
        }
    }
}
