//! What the machine needs, found or installed.
//!
//! Nothing is installed twice, and nothing silently: each installation is announced with an estimate, and
//! where the rights are missing the exact command is printed and the program stops.

use std::env;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::places::Places;
use crate::program::{Program, find};

mod golang;
pub mod java;
mod libclang;
pub mod node;
mod packages;
pub mod python;

/// The licence checker, pinned so that a check means the same everywhere.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Beginnings of the variables that cargo sets for programs and tests that it runs.
const SET_BY_CARGO: [&str; 6] =
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_NAME", "CARGO_BIN_", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR"];

/// Something that a command needs on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// C and C++ compilers, make, perl: RocksDB and OpenSSL are built from source.
    CompilerAndMake,
    /// The library that reads RocksDB's header.
    Libclang,
    /// A Python that makes environments: FHIR clients of the tests, schemathesis, and Node.js where it is too old.
    Python,
    /// PostgreSQL's server programs: the index and the vault of several gateway processes.
    Postgres,
    /// A Java compiler and Maven: HAPI's client and validator.
    Java,
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::CompilerAndMake => {
                find("cc").is_some()
                    && find("c++").is_some()
                    && find("make").is_some()
                    && find("perl").is_some()
                    // On macOS these exist as stubs that ask for the developer tools.
                    && Program::new("cc").arg("--version").succeeds()
            }
            Self::Libclang => libclang::find().is_some() && (find("apt-get").is_none() || libclang::has_headers()),
            Self::Postgres => crate::postgres::programs().is_some(),
            Self::Java => java::major().is_some_and(|major| major >= java::MAJOR_MIN) && find("mvn").is_some(),
            Self::Python => python::makes_environments(),
        }
    }
}

/// Finds or installs what is needed.
pub fn provide(needs: &[Need]) -> Result<(), Failure> {
    let missing: Vec<_> = needs.iter().copied().filter(|need| !need.is_met()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    packages::install(&missing)?;
    match missing.iter().find(|need| !need.is_met()) {
        None => Ok(()),
        Some(need) => Err(Failure::Needs(format!(
            "{need:?} is still missing or too old after the installation; install it by hand and try again"
        ))),
    }
}

/// The Go command, at least of the version that the CometBFT module asks for.
pub fn go(places: &Places) -> Result<Program, Failure> {
    let go = Program::new(golang::provide(places)?);
    Ok(golang::ENVIRONMENT.iter().fold(go, |go, (name, value)| go.env(name, value)))
}

/// Cargo, for work on this checkout. Build scripts are run again when a variable that they read has changed, and
/// RocksDB takes a quarter of an hour: so what is built from here has the environment of what is typed in a shell.
pub fn cargo_here(places: &Places) -> Program {
    let mut program = Program::new(cargo()).in_folder(&places.repository);
    // What cargo tells the programs that it runs, of which we are one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if SET_BY_CARGO.iter().any(|prefix| name.starts_with(prefix)) {
            program = program.without_env(&name);
        }
    }
    // Tests run it by name.
    if let Some(path) = node::search_path(places) {
        program = program.env("PATH", path);
    }
    match libclang::to_be_told() {
        Some(folder) => program.env("LIBCLANG_PATH", folder),
        None => program,
    }
}

/// The licence checker, as a cargo subcommand's executable.
///
/// # Errors
/// [`Failure::Unreachable`] where it is missing and crates.io cannot be reached.
pub fn cargo_deny(places: &Places) -> Result<PathBuf, Failure> {
    let folder = places.cache.join("tools");
    let installed = folder.join("bin/cargo-deny");
    let wanted = format!("cargo-deny {CARGO_DENY_VERSION}");
    for candidate in [Some(installed.clone()), find("cargo-deny")].into_iter().flatten() {
        if Program::new(&candidate).arg("--version").capture().is_ok_and(|version| version.trim() == wanted) {
            return Ok(candidate);
        }
    }
    say!("installing {wanted} into {}: three to ten minutes, once", folder.display());
    Program::new(cargo())
        .args(["install", "--locked", "--version", CARGO_DENY_VERSION, "--root"])
        .arg(&folder)
        .arg("cargo-deny")
        // It runs for a second: building it quickly matters more than its speed.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_TARGET_DIR", places.cache.join("tools/build"))
        .fetch("crates.io")?;
    Ok(installed)
}

/// The cargo that runs us, or the one on the search path.
pub fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
