//! The file that holds an organization's keys: JSON, sealed with AES-256-GCM under a key that
//! Argon2id (RFC 9106) derives from a passphrase.
//!
//! The address stands in the clear, so that an operator can tell files apart; it is authenticated
//! with the rest, so that nobody can change it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use argon2::{Algorithm, Argon2, Params, Version};
use careledger_wire::ids::Address;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{EncryptionPair, OrganizationKeys, OrganizationSigner, Secret, random};

/// Format of the file; another one is refused rather than guessed at.
const FORMAT: &str = "careledger-keystore/1";
/// Memory that Argon2id uses, in KiB: the second recommendation of RFC 9106, section 4.
const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
/// Passes over the memory.
const ARGON2_PASSES: u32 = 3;
/// Lanes.
const ARGON2_LANES: u32 = 4;
/// Most memory that a file may ask for, in KiB, so that a planted file cannot exhaust the machine.
const ARGON2_MEMORY_KIB_MAX: u32 = 1024 * 1024;
/// Most passes that a file may ask for.
const ARGON2_PASSES_MAX: u32 = 16;

/// Why a keystore was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file system said no.
    #[error("keystore {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: io::Error,
    },
    /// The file is not a keystore, or of a format that this version does not know.
    #[error("keystore {path} is not a {FORMAT} file")]
    Format {
        /// The file.
        path: String,
    },
    /// The passphrase does not open it, or the file was altered: the two cannot be told apart.
    #[error("the passphrase does not open keystore {path} (or the file was altered)")]
    Passphrase {
        /// The file.
        path: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    address: Address,
    kdf: Kdf,
    nonce: String,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    algorithm: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    account: String,
    encryption: String,
    storage: String,
    index: String,
    record_ids: String,
}

/// Writes `keys` to a new file that only its owner may read. An existing file is never replaced:
/// its keys may be the only way to records.
pub fn create(path: &Path, passphrase: &[u8], keys: &OrganizationKeys) -> Result<(), KeystoreError> {
    let shown = path.display().to_string();
    let salt: [u8; 16] = random();
    let nonce: [u8; 12] = random();
    let kdf = Kdf {
        algorithm: "argon2id".to_owned(),
        memory_kib: ARGON2_MEMORY_KIB,
        passes: ARGON2_PASSES,
        lanes: ARGON2_LANES,
        salt: hex::encode(salt),
    };
    let address = keys.signer.address();
    let key = derive(&kdf, passphrase).ok_or_else(|| KeystoreError::Format { path: shown.clone() })?;
    let plain = Keys {
        account: hex::encode(keys.signer.secret.as_bytes()),
        encryption: hex::encode(keys.encryption.secret.as_bytes()),
        storage: hex::encode(keys.storage.as_bytes()),
        index: hex::encode(keys.index.as_bytes()),
        record_ids: hex::encode(keys.record_ids.as_bytes()),
    };
    let plain = Zeroizing::new(serde_json::to_vec(&plain).expect("strings always serialise"));
    let aad = associated_data(&address);
    let payload = Payload { msg: &plain, aad: aad.as_bytes() };
    let ciphertext = Aes256Gcm::new(key.as_bytes().into())
        .encrypt(&nonce.into(), payload)
        .expect("the keys are far below the limit of AES-GCM");
    let file = File {
        format: FORMAT.to_owned(),
        address,
        kdf,
        nonce: hex::encode(nonce),
        ciphertext: hex::encode(ciphertext),
    };
    let text = serde_json::to_vec_pretty(&file).expect("strings always serialise");
    write_new(path, &text).map_err(|source| KeystoreError::File { path: shown, source })
}

/// Reads the keys of a file.
pub fn open(path: &Path, passphrase: &[u8]) -> Result<OrganizationKeys, KeystoreError> {
    let shown = path.display().to_string();
    let text = fs::read(path).map_err(|source| KeystoreError::File { path: shown.clone(), source })?;
    let format = || KeystoreError::Format { path: shown.clone() };
    let refused = || KeystoreError::Passphrase { path: shown.clone() };
    let file: File = serde_json::from_slice(&text).map_err(|_| format())?;
    if file.format != FORMAT || file.kdf.algorithm != "argon2id" {
        return Err(format());
    }
    let nonce: [u8; 12] = hex::decode(&file.nonce).ok().and_then(|nonce| nonce.try_into().ok()).ok_or_else(format)?;
    let ciphertext = hex::decode(&file.ciphertext).map_err(|_| format())?;
    let key = derive(&file.kdf, passphrase).ok_or_else(format)?;
    let aad = associated_data(&file.address);
    let plain = Aes256Gcm::new(key.as_bytes().into())
        .decrypt(&nonce.into(), Payload { msg: &ciphertext, aad: aad.as_bytes() })
        .map(Zeroizing::new)
        .map_err(|_| refused())?;
    let keys: Keys = serde_json::from_slice(&plain).map_err(|_| format())?;
    let signer = secret(&keys.account).and_then(OrganizationSigner::new).ok_or_else(format)?;
    Ok(OrganizationKeys {
        signer: Arc::new(signer),
        encryption: EncryptionPair::new(secret(&keys.encryption).ok_or_else(format)?),
        storage: secret(&keys.storage).ok_or_else(format)?,
        index: secret(&keys.index).ok_or_else(format)?,
        record_ids: secret(&keys.record_ids).ok_or_else(format)?,
    })
}

fn associated_data(address: &Address) -> String {
    format!("{FORMAT} {address}")
}

fn secret(text: &str) -> Option<Secret> {
    let bytes = Zeroizing::new(hex::decode(text).ok()?);
    Some(Secret::new(bytes.as_slice().try_into().ok()?))
}

fn derive(kdf: &Kdf, passphrase: &[u8]) -> Option<Secret> {
    if kdf.memory_kib > ARGON2_MEMORY_KIB_MAX || kdf.passes > ARGON2_PASSES_MAX {
        return None;
    }
    let salt = hex::decode(&kdf.salt).ok()?;
    let params = Params::new(kdf.memory_kib, kdf.passes, kdf.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &salt, key.as_mut_slice())
        .ok()?;
    Some(Secret::new(*key))
}

/// Writes a file that must not exist yet, readable by its owner only, durable when it returns.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_written_opens_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keystore.json");
        let keys = OrganizationKeys::random();
        create(&path, b"correct horse", &keys).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let opened = open(&path, b"correct horse").unwrap();
        assert_eq!(opened.signer.address(), keys.signer.address());
        assert_eq!(opened.encryption.public(), keys.encryption.public());
        assert_eq!(
            (opened.storage, opened.index, opened.record_ids),
            (keys.storage.clone(), keys.index.clone(), keys.record_ids.clone())
        );

        let refused = open(&path, b"wrong").unwrap_err().to_string();
        assert!(refused.starts_with("the passphrase does not open keystore "), "{refused}");
        assert!(matches!(create(&path, b"again", &keys), Err(KeystoreError::File { .. })), "never overwritten");
    }

    #[test]
    fn an_altered_file_does_not_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keystore.json");
        create(&path, b"passphrase", &OrganizationKeys::random()).unwrap();
        let original: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let other = OrganizationKeys::random().signer.address().to_string();
        for (pointer, value) in [
            ("/address", serde_json::json!(other)),
            ("/kdf/passes", serde_json::json!(2)),
            ("/kdf/memory_kib", serde_json::json!(u32::MAX)),
            ("/nonce", serde_json::json!("00".repeat(12))),
            ("/format", serde_json::json!("careledger-keystore/2")),
        ] {
            let mut altered = original.clone();
            *altered.pointer_mut(pointer).unwrap() = value;
            fs::write(&path, altered.to_string()).unwrap();
            assert!(open(&path, b"passphrase").is_err(), "{pointer}");
        }
    }
}
