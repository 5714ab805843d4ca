//! The tests' Node.js projects, with their packages.

use std::{
    path::PathBuf,
    process::Command,
    sync::{Mutex, PoisonError},
};

/// The project in `folder`, with the packages that its lock file names.
///
/// One test installs while the others wait: they run at the same time. npm writes its own list of what is
/// there last, so an installation that was cut off is done again.
///
/// # Panics
/// Where npm is missing or fails.
pub fn installed(folder: PathBuf) -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !folder.join("node_modules/.package-lock.json").is_file() {
        let output = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).output();
        let output = output.expect("npm starts: install Node.js 20 or newer");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`npm ci` in {}: {said}", folder.display());
    }
    folder
}
