//! A fault stops the node.
//!
//! A disk that fails or a tree that cannot be read is this node's own trouble. It must not become
//! an answer that other validators did not give, so the process ends and says why; what was
//! committed is on disk and the supervisor starts it again.

use std::fmt::Display;

use crate::upgrade::UnknownUpgrade;

/// Exit code of a process that ended because of a fault (`EX_IOERR` of `sysexits.h`).
pub const EXIT_CODE: i32 = 74;

/// Exit code of a process that needs to be replaced by one that knows an upgrade (`EX_TEMPFAIL`).
pub const UPGRADE_EXIT_CODE: i32 = 75;

/// Says which upgrade is due and ends the process: the block is another program's.
pub fn stop_for_upgrade(upgrade: &UnknownUpgrade) -> ! {
    tracing::error!(%upgrade, "the node stops");
    eprintln!("careledger: {upgrade}\neverything before that height is on disk");
    std::process::exit(UPGRADE_EXIT_CODE)
}

/// Says what failed and ends the process. `context` is what was being done.
pub fn stop(context: &str, reason: impl Display) -> ! {
    tracing::error!(%reason, context, "the node stops");
    let reason = reason.to_string();
    let hint = if reason.contains("No space left") || reason.contains("File too large") {
        "\nfree some space and start it again: nothing that was acknowledged is lost"
    } else {
        ""
    };
    eprintln!("careledger: {context}: {reason}{hint}");
    std::process::exit(EXIT_CODE)
}
