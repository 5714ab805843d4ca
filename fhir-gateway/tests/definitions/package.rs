//! The official FHIR R4 definitions and examples: the npm package `hl7.fhir.r4.examples` 4.0.1 (CC0-1.0).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use aws_lc_rs::digest::{SHA512, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// What is fetched.
const PACKAGE: &str = "hl7.fhir.r4.examples@4.0.1";
/// SHA-512 of its archive, as the registry and every lock file name it.
const INTEGRITY: &str = "DXBdIZOeQaSKIgCU7w6HOC7sw/6BzylmipLkBW4f//pT+Bc94x+8LImwTdvaNThPJoOzpBzvxAzNqjeu3X/zLw==";

/// The unpacked package; gone when this is dropped.
pub struct Package {
    _folder: tempfile::TempDir,
    files: PathBuf,
}

/// Why there is no package.
pub enum Missing {
    /// It could not be fetched: nothing can be said.
    Unreachable(String),
    /// Something else was fetched: that is a failure.
    Altered(String),
}

impl Package {
    /// Fetches the package with npm, checks its digest and unpacks it.
    pub fn fetch() -> Result<Self, Missing> {
        let folder =
            tempfile::tempdir().map_err(|error| Missing::Unreachable(format!("no temporary folder: {error}")))?;
        let options = ["--loglevel=error", "--fetch-retries=1", "--fetch-timeout=60000"];
        run(Command::new("npm").arg("pack").args(options).arg(PACKAGE).current_dir(folder.path()))?;
        let is_archive = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tgz");
        let entries = fs::read_dir(folder.path()).expect("the temporary folder is readable");
        let archive = entries.flatten().map(|entry| entry.path()).find(is_archive);
        let archive = archive.ok_or_else(|| Missing::Unreachable("npm left no archive".to_owned()))?;
        let bytes = fs::read(&archive).expect("the archive is readable");
        let found = STANDARD.encode(digest(&SHA512, &bytes));
        if found != INTEGRITY {
            return Err(Missing::Altered(format!("{PACKAGE} has the digest sha512-{found}, not sha512-{INTEGRITY}")));
        }
        run(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()))?;
        let files = folder.path().join("package");
        Ok(Self { _folder: folder, files })
    }

    /// Every JSON file, by name.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.files).expect("the package is readable");
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
        names.sort_unstable();
        names
    }

    /// One file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.files.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The resources of one type among the definitions, by file name.
    pub fn load(&self, resource_type: &str) -> Vec<Value> {
        let prefix = format!("{resource_type}-");
        let names = self.names().into_iter().filter(|name| name.starts_with(&prefix));
        let resources = names.map(|name| serde_json::from_slice(&self.read(&name)).expect("the package holds JSON"));
        resources.filter(|resource: &Value| resource["resourceType"] == resource_type).collect()
    }
}

fn run(command: &mut Command) -> Result<(), Missing> {
    let program = Path::new(command.get_program()).display().to_string();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().find(|line| line.contains("error")).unwrap_or_default().trim();
            Err(Missing::Unreachable(format!("{program} ended with {}: {said}", output.status)))
        }
        Err(error) => Err(Missing::Unreachable(format!("{program} does not run: {error}"))),
    }
}
