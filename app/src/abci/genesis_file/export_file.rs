//! An exported state in a file of its own: what a chain continues with where a frame of ABCI does not hold it.

use std::{
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use crate::genesis::continued::{ContinuedError, Exported, Origin};

/// Bytes that are read at once.
const READ_BYTES: usize = 1024 * 1024;

/// Reads what `careledgerd export` printed, in the memory that the state takes.
///
/// # Errors
/// Why the file cannot be read, or the line that is not as an export has it; the path is named.
pub fn read_export(path: &Path) -> Result<Exported, String> {
    open(path).map_err(|error| format!("{}: {error}", path.display())).and_then(|file| read(path, file))
}

/// Reads the state that a genesis file names from `path`; the error says what to do.
pub fn reading(path: &Path) -> impl FnOnce(&Origin) -> Result<Exported, ContinuedError> {
    move |origin| {
        let exported = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(format!(
                "there is no {}: put there what `careledgerd export` printed of that state, as on every other validator",
                path.display()
            )),
            Err(error) => Err(format!("{}: {error}", path.display())),
            Ok(file) => read(path, file),
        };
        exported.map_err(|reason| ContinuedError::NotHere(Box::new(origin.clone()), reason))
    }
}

fn open(path: &Path) -> io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(READ_BYTES, File::open(path)?))
}

fn read(path: &Path, file: BufReader<File>) -> Result<Exported, String> {
    serde_json::from_reader(file)
        .map_err(|error| format!("{}: {}", path.display(), ContinuedError::Json(error.to_string())))
}
