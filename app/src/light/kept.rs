//! The trusted header in a home folder: `light/trusted.json`.
//!
//! One chain for each home. Nothing in it is secret; who can write it decides what this home
//! believes, as with its keys.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tendermint::{block::signed_header::SignedHeader, validator};

use super::{
    Anchor, Trust,
    block::{self, SignedBlock},
    verify,
};

/// Layout of the file.
const FORMAT: u32 = 1;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The system's words.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What happened.
        error: io::Error,
    },
    /// Not what was written.
    #[error("{0} is damaged, or of another version of this program")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    chain_id: String,
    anchor: Anchor,
    signed_header: SignedHeader,
    validators: Vec<validator::Info>,
    next_validators: Vec<validator::Info>,
}

/// Where it is.
pub fn path(home: &Path) -> PathBuf {
    home.join("light").join("trusted.json")
}

/// What this home trusts; `None` where it trusts nothing yet.
pub fn read(home: &Path) -> Result<Option<Trust>, KeptError> {
    let path = path(home);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&path, error)),
    };
    let damaged = || KeptError::Damaged(path.display().to_string());
    let kept: Kept = serde_json::from_str(&text).map_err(|_| damaged())?;
    let (validators, next_validators) = (block::validators(kept.validators), block::validators(kept.next_validators));
    let newest = SignedBlock {
        signed_header: kept.signed_header,
        validators: validators.ok_or_else(damaged)?,
        next_validators: next_validators.ok_or_else(damaged)?,
    };
    let is_of_chain = newest.signed_header.header.chain_id.as_str() == kept.chain_id;
    // A bit that turned on the disk must not become what is believed.
    if kept.format != FORMAT || !is_of_chain || verify::is_whole(&newest).is_err() {
        return Err(damaged());
    }
    Ok(Some(Trust { anchor: kept.anchor, newest }))
}

/// Keeps what is trusted for the next call, as a whole or not at all.
pub fn write(home: &Path, trust: &Trust) -> Result<(), KeptError> {
    let SignedBlock { signed_header, validators, next_validators } = trust.newest.clone();
    let kept = Kept {
        format: FORMAT,
        chain_id: signed_header.header.chain_id.to_string(),
        anchor: trust.anchor.clone(),
        signed_header,
        validators: validators.validators,
        next_validators: next_validators.validators,
    };
    // A call beside this one may have come further: nobody goes back behind what it showed.
    let newest = |trust: &Trust| trust.newest.signed_header.header.height;
    if let Ok(Some(other)) = read(home)
        && other.anchor == trust.anchor
        && newest(&other) > newest(trust)
    {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(&kept).expect("headers and keys are JSON");
    let path = path(home);
    // Calls that run side by side have a file each.
    let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
    fs::create_dir_all(home.join("light"))
        .and_then(|()| fs::write(&unfinished, text))
        .and_then(|()| fs::rename(&unfinished, &path))
        .map_err(|error| failed(&path, error))
}

/// Trusts nothing any more; whether there was anything.
pub fn forget(home: &Path) -> Result<bool, KeptError> {
    let path = path(home);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(&path, error)),
    }
}

fn failed(path: &Path, error: io::Error) -> KeptError {
    KeptError::File { path: path.display().to_string(), error }
}
