//! Why a command of this program could not do what it was asked.

use std::io;

/// Every failure ends the command with a sentence and exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What the system answered.
        source: io::Error,
    },
    /// A program we ran did not end well.
    #[error("`{command}` {outcome}")]
    Program {
        /// The command line, as one could type it.
        command: String,
        /// How it ended, with what it said last.
        outcome: String,
    },
    /// Someone has to change something first; the sentence says what.
    #[error("{0}")]
    Needs(String),
    /// What is needed is elsewhere, and elsewhere could not be reached.
    #[error("{registry} cannot be reached: {said}")]
    Unreachable {
        /// What was asked.
        registry: &'static str,
        /// The line in which the program that asked says so.
        said: String,
    },
    /// Something that must hold does not.
    #[error("{0}")]
    Check(String),
}

impl Failure {
    /// The sentence of a failure that says something of this machine or of its network, and nothing of the code.
    ///
    /// # Errors
    /// Every other failure, as it was.
    pub fn of_this_machine(self) -> Result<String, Self> {
        match self {
            Self::Needs(_) | Self::Unreachable { .. } => Ok(self.to_string()),
            other => Err(other),
        }
    }
}

/// Says what was being done when the system refused.
pub trait Doing<T> {
    /// Turns the error into a [`Failure`] that begins with `what`.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Doing<T> for Result<T, io::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|source| Failure::System { doing: what(), source })
    }
}
