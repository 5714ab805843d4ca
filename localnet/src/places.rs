//! Where things are on this machine.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::{Doing, Failure};

/// The folders every command works with.
#[derive(Clone, Debug)]
pub struct Places {
    /// This program. Found before cargo replaces the file, after which the system calls it deleted.
    pub program: PathBuf,
    /// The checkout: the folder with the workspace's `Cargo.toml`.
    pub repository: PathBuf,
    /// Cargo's target folder (`CARGO_TARGET_DIR`, or `target` in the checkout).
    pub target: PathBuf,
    /// What outlives a checkout: tools that were installed for it.
    pub cache: PathBuf,
    /// How our own programs are built.
    pub profile: Profile,
}

/// How our own programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// As for the demo and the tests: dependencies are optimised, our own code is not.
    Dev,
    /// As for those who run a network. Builds everything once more.
    Release,
}

impl Profile {
    /// The folder in cargo's target folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }

    /// Cargo's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
        }
    }
}

impl Places {
    /// Finds the folders from the environment, or from the current folder upwards.
    pub fn find() -> Result<Self, Failure> {
        let here = env::current_dir().doing(|| "reading the current folder".into())?;
        let program = env::current_exe().doing(|| "finding this program".into())?;
        let start = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| here.clone(), PathBuf::from);
        let repository = start
            .ancestors()
            .find(|folder| folder.join("localnet/networks").is_dir())
            .ok_or_else(|| Failure::Needs("run this inside a checkout of CareLedger".into()))?
            .to_path_buf();
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), |folder| here.join(folder));
        let home = env::var_os("HOME")
            .ok_or_else(|| Failure::Needs("set HOME: tools are kept in its .cache folder".into()))?;
        let cache = env::var_os("XDG_CACHE_HOME")
            .map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from)
            .join("careledger");
        Ok(Self { program, repository, target, cache, profile: Profile::Dev })
    }

    /// A program that cargo built.
    pub fn built(&self, program: &str) -> PathBuf {
        self.target.join(self.profile.folder()).join(program)
    }

    /// The Go module with CometBFT and our node program.
    pub fn cometbft_module(&self) -> PathBuf {
        self.repository.join("localnet/cometbft")
    }

    /// The Go module that verifies the ledger's proofs.
    pub fn ics23_module(&self) -> PathBuf {
        self.repository.join("tests/ics23")
    }

    /// The home of the network that `up` starts unless told otherwise.
    pub fn default_home(&self) -> PathBuf {
        self.target.join("localnet")
    }

    /// A manifest of `localnet/networks`, by name.
    pub fn manifest(&self, name: &str) -> PathBuf {
        self.repository.join("localnet/networks").join(name).with_extension("toml")
    }
}

/// Makes a folder and those above it.
pub fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).doing(|| format!("making {}", folder.display()))
}

/// Reads a text file.
pub fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).doing(|| format!("reading {}", file.display()))
}

/// Writes a file as a whole: a reader sees the old content or the new, never a part.
pub fn write(file: &Path, content: &str) -> Result<(), Failure> {
    let unfinished = file.with_extension("unfinished");
    fs::write(&unfinished, content).doing(|| format!("writing {}", unfinished.display()))?;
    fs::rename(&unfinished, file).doing(|| format!("writing {}", file.display()))
}

/// Writes a file that only its owner may read, from the first byte on.
pub fn write_secret(file: &Path, content: &str) -> Result<(), Failure> {
    let mut options = fs::File::options();
    options
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(content.as_bytes()))
        .doing(|| format!("writing {}", file.display()))
}
