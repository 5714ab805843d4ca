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
    /// Something that must hold does not.
    #[error("{0}")]
    Check(String),
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
