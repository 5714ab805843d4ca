//! Reading and writing the JSON files that people exchange.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::Failure;

/// Largest file that is read; an opening is a few kilobytes, a plan some ten.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a JSON file. The error names the file and the place, never the content.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let name = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("{name}: {error}"))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("{name}: the file is larger than 1 MiB").into());
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("{name}: not what is expected at line {line}, column {column}").into()
    })
}

/// Writes a new JSON file that only its owner can read; never overwrites.
pub fn write_private<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = serde_json::to_string_pretty(value)? + "\n";
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// Writes a JSON file for others to read.
pub fn write_public<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The cache folder that was asked for, or the user's own.
pub fn cache_folder(asked: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    asked
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("careledger")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache").join("careledger")))
        .ok_or_else(|| "there is no cache folder: name one with --cache".into())
}
