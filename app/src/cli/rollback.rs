//! `rollback`: the last block of the state, undone.

use careledger_app::store::disk::{DiskStore, OpenError, Retention, Schedule, Undo, UndoError};
use clap::Args;
use serde_json::json;

use super::{
    Failure, Format, Home, Result,
    node::{SNAPSHOTS_FOLDER, STATE_FOLDER},
};

/// Undo the last block of the committed state, as `cometbft rollback` does with the node's.
///
/// For a block that was executed wrongly: stop both programs, install the ones that are right, roll both
/// back by one block, and start them. CometBFT then gives the same block again, and the app hash must be
/// the one that the network agreed on. Without --yes it only says what it would do. What is undone cannot be
/// brought back other than by executing the block again. Outcomes of its transactions, and snapshots of it,
/// are forgotten. Every further call undoes one block more, as far back as `[retention] heights` reaches.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd rollback --home /var/lib/careledger
  cometbft rollback --home /var/lib/cometbft
  careledgerd rollback --home /var/lib/careledger --yes

Both must print the same height and the same app hash.")]
pub struct Rollback {
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    format: Format,
    /// Do it, instead of saying what would be done.
    #[arg(long)]
    yes: bool,
}

impl Rollback {
    pub fn run(self) -> Result<()> {
        let home = self.home.path();
        let folder = home.join(STATE_FOLDER);
        if !folder.join("CURRENT").exists() {
            return Err(Failure::new(format!("there is no state in {}", folder.display()))
                .next("name the home folder of the ledger with --home"));
        }
        let opened = DiskStore::open(&folder, Retention::default());
        let store = opened.map_err(|error| not_opened(&error))?;
        let snapshots = home.join(SNAPSHOTS_FOLDER);
        let mut store = store
            .with_snapshots(&snapshots, Schedule { interval: 0, keep: usize::MAX })
            .map_err(|error| Failure::new(format!("{}: {error}", snapshots.display())))?;
        let undo = store.undo().map_err(|error| {
            let next = advice(&error);
            Failure::new(error).next(next)
        })?;
        let told = told(&undo, self.yes);
        let block = undo.height;
        if self.yes {
            let path = snapshots.display().to_string();
            store.roll_back(undo).map_err(|error| {
                Failure::new(format!("{path}: {error}")).next("nothing was undone; remove the snapshots by hand first")
            })?;
        }
        self.format.print(&told);
        if !self.yes {
            eprintln!("nothing was changed; with --yes block {block} is undone");
        }
        Ok(())
    }
}

fn told(undo: &Undo, done: bool) -> serde_json::Value {
    json!({
        "undone_block": undo.height,
        "height": undo.height - 1,
        "app_hash": hex::encode(undo.app_hash),
        "time": undo.time,
        "keys_restored": undo.keys(),
        "outcomes_forgotten": undo.outcomes(),
        "snapshots_removed": undo.snapshots,
        "done": done,
    })
}

fn not_opened(error: &OpenError) -> Failure {
    let next = match error {
        OpenError::InUse { .. } => "stop careledgerd first, and CometBFT with it",
        _ => "docs/RUNBOOK.md, \"The state is damaged\"",
    };
    Failure::new(error).next(next)
}

fn advice(error: &UndoError) -> &'static str {
    match error {
        UndoError::NoBlock => "there is nothing to undo",
        UndoError::NotKept(_) | UndoError::NotNoted(_) => {
            "where CometBFT still has every block, move the state folder aside and start again: it replays them; else \
             join from a snapshot (docs/RUNBOOK.md)"
        }
        UndoError::Damaged(_) => "docs/RUNBOOK.md, \"The state is damaged\"",
    }
}
