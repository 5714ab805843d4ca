//! `cargo demo`: two gateways on the embedded ledger, the story on them, then serving until Ctrl-C.

use std::time::Duration;

use crate::binaries;
use crate::failure::Failure;
use crate::gateways::{self, Ledger, Town};
use crate::network::prepare;
use crate::places::{self, Places};
use crate::story;
use crate::supervisor::{self, Lifetime};

/// What happens after the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The demo ends.
    End,
    /// The gateways keep serving until Ctrl-C.
    Serve,
}
