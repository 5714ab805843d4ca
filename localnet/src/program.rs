//! Running other programs to their end.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::failure::{Doing, Failure};

mod reach;

/// How much of a failed program's last words an error repeats.
const LAST_WORDS_BYTES_MAX: usize = 2_000;

/// A program with its arguments, to be run and waited for.
#[derive(Debug)]
pub struct Program {
    command: Command,
    shown: String,
}

impl Program {
    /// A program by path, or by name on the search path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let shown = Path::new(program.as_ref()).file_name().unwrap_or(program.as_ref()).to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self { command, shown }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable of its environment.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Sets the folder it runs in.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it with its output on ours.
    pub fn run(mut self) -> Result<(), Failure> {
        let status = self.command.status().doing(|| format!("starting `{}`", self.shown))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::Program { command: self.shown, outcome: format!("ended with {status}") })
    }

    /// Runs it and returns what it wrote to standard output.
    pub fn capture(mut self) -> Result<String, Failure> {
        let output = self.command.output().doing(|| format!("starting `{}`", self.shown))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Failure::Program { command: self.shown, outcome: outcome(&output) })
    }

    /// Runs it, where it fetches from a registry, and returns what it wrote to standard output.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] where it says that the registry could not be reached; where it was and said no, what
    /// [`Self::capture`] gives.
    pub fn fetch(mut self, registry: &'static str) -> Result<String, Failure> {
        let output = self.command.output().doing(|| format!("starting `{}`", self.shown))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = [&output.stderr, &output.stdout].map(|words| String::from_utf8_lossy(words)).concat();
        Err(match reach::unreachable(&words) {
            Some(said) => Failure::Unreachable { registry, said },
            None => Failure::Program { command: self.shown, outcome: outcome(&output) },
        })
    }

    /// Runs it without its output: what it leaves running may keep that open.
    pub fn run_quietly(mut self) -> Result<(), Failure> {
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        self.run()
    }

    /// Whether it can be started and ends with code 0; its output is dropped.
    pub fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

fn outcome(output: &Output) -> String {
    let is_blank = |words: &[u8]| words.trim_ascii().is_empty();
    let words = if is_blank(&output.stderr) { &output.stdout } else { &output.stderr };
    let last = &words[words.len().saturating_sub(LAST_WORDS_BYTES_MAX)..];
    format!("ended with {}: {}", output.status, String::from_utf8_lossy(last).trim())
}

/// Finds a program on the search path.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}
