//! `query audit`: an access log against what the ledger proves.

use std::{fs, path::PathBuf, str::FromStr};

use careledger_app::{
    audit::{self, AuditError, Difference, Inclusion, Log},
    client::Client,
    keys,
};
use careledger_wire::{
    access_log::{self, Head},
    ids::{Address, Digest},
};
use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Result,
    trust::{At, Prover},
};

/// Check an organization's access log: every batch against the root that the ledger proves, and
/// leaves that the custodian gave against their batch.
///
/// Prints the log's size and root: note them, and pass them as --since next time, to see that
/// nothing before was rewritten. What the root rests on is trusted as with --prove. A leaf's line is its text, or the hexadecimal of its hash.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd query audit care1hospital…
  careledgerd query audit care1hospital… --since 41:9f3a…
  careledgerd query audit care1hospital… --batch 7 --leaves shown.txt --hashes all.txt
  careledgerd query audit care1hospital… --leaf leaf.txt --inclusion inclusion.json")]
pub struct Audit {
    /// The custodian's account.
    organization: Address,
    /// A size and root that this command printed before.
    #[arg(long, value_name = "SIZE:ROOT")]
    since: Option<Noted>,
    /// Number of the batch that the leaves are of.
    #[arg(long, requires = "leaves")]
    batch: Option<u64>,
    /// File of leaves that somebody shows, one a line.
    #[arg(long, value_name = "FILE", requires = "batch")]
    leaves: Option<PathBuf>,
    /// File with the hashes of all leaves of the batch, one a line: says which leaf is wrong.
    #[arg(long, value_name = "FILE", requires = "leaves")]
    hashes: Option<PathBuf>,
    /// File with one leaf.
    #[arg(long, value_name = "FILE", requires = "inclusion")]
    leaf: Option<PathBuf>,
    /// File with the place of that leaf, as its custodian's gateway gives it.
    #[arg(long, value_name = "FILE", requires = "leaf")]
    inclusion: Option<PathBuf>,
}

/// `SIZE:ROOT`.
#[derive(Debug, Clone, Copy)]
struct Noted(Head);

impl FromStr for Noted {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (size, root) = text.split_once(':').ok_or("expected SIZE:ROOT")?;
        let size = size.parse().map_err(|_| format!("`{size}` is no size: expected a number"))?;
        Ok(Self(Head { size, root: root.parse().map_err(|error| format!("`{root}`: {error}"))? }))
    }
}

impl From<AuditError> for Failure {
    /// Whom to ask. The custodian only where the proven log itself contradicts what was noted.
    fn from(error: AuditError) -> Self {
        let next = match error {
            AuditError::Client(error) => return error.into(),
            AuditError::Unreadable(_) | AuditError::Missing { .. } | AuditError::Altered => {
                "ask another node with --node: this one does not show what the ledger proves"
            }
            AuditError::Rewritten(_) => "keep what both sides signed, and ask the custodian",
            AuditError::NoLog => "see that this is a custodian's account; logs begin with state version 2",
            AuditError::NoBatch(_) => "see that the batch is of this custodian, and anchored already",
        };
        Self::new(error).next(next)
    }
}

impl Audit {
    /// What was checked; a failure says what is wrong.
    pub async fn run(&self, client: &Client, prover: &mut Prover<'_>) -> Result<Value> {
        // First what headers seal, then what the node shows: nobody is accused on its word.
        let tree = keys::access_log_tree(&self.organization);
        let (tree, proven) = prover.prove(tree.as_bytes(), At::Newest).await?;
        if prover.believes_its_node() {
            eprintln!(
                "note: no signature is checked (--trust-node): what follows is the node's word, and shows nobody's fault"
            );
        }
        let log = Log::read(client, &self.organization, tree.as_deref()).await?;
        if let Some(Noted(earlier)) = &self.since {
            log.check_earlier(earlier)?;
        }
        let leaves: u64 = log.batches.iter().map(|batch| u64::from(batch.count)).sum();
        let mut shown = json!({
            "organization": self.organization,
            "batches": log.head.size,
            "leaves": leaves,
            "root": log.head.root,
            "note": format!("--since {}:{}", log.head.size, log.head.root),
            "proven": proven,
        });
        if let (Some(batch), Some(leaves)) = (self.batch, &self.leaves) {
            self.check_leaves(&log, batch, &hashes(leaves)?)?;
            shown["checked_batch"] = json!(batch);
        }
        if let (Some(leaf), Some(inclusion)) = (&self.leaf, &self.inclusion) {
            shown["checked_leaf"] = json!(check_leaf(&log, leaf, inclusion)?);
        }
        Ok(shown)
    }

    fn check_leaves(&self, log: &Log, sequence: u64, shown: &[Digest]) -> Result<()> {
        let batch = log.batch(sequence)?;
        if audit::are_leaves_of(batch, shown) {
            return Ok(());
        }
        let wrong = Failure::new(format!(
            "these are not the leaves of batch {sequence}: it has {}, {} are shown",
            batch.count,
            shown.len()
        ));
        let Some(file) = &self.hashes else {
            return Err(wrong.next("ask the custodian for the hashes of all its leaves, and pass them as --hashes"));
        };
        let all = hashes(file)?;
        if !audit::are_leaves_of(batch, &all) {
            return Err(Failure::new(format!("{} has not the hashes of batch {sequence}", file.display()))
                .next("ask the custodian for those whose root it anchored"));
        }
        let named: Vec<String> = audit::differences(&all, shown).iter().map(describe).collect();
        Err(Failure::new(format!("batch {sequence}: {}", named.join(", "))).next("ask the custodian for these leaves"))
    }
}

fn describe(difference: &Difference) -> String {
    match difference {
        Difference::Dropped(place) => format!("leaf {place} was dropped"),
        Difference::Altered(place) => format!("leaf {place} was altered"),
        Difference::Foreign(line) => format!("line {line} is no leaf of it"),
    }
}

fn check_leaf(log: &Log, leaf: &PathBuf, inclusion: &PathBuf) -> Result<Digest> {
    let place = read_inclusion(inclusion)?;
    let hash = match hashes(leaf)?.as_slice() {
        [hash] => *hash,
        _ => return Err(Failure::new(format!("{} must hold one leaf", leaf.display()))),
    };
    let batch = log.batch(place.sequence)?;
    if audit::is_included(batch, &hash, &place) {
        return Ok(hash);
    }
    Err(Failure::new(format!("the leaf is not in batch {} at place {}", place.sequence, place.index))
        .next("the custodian gave another leaf, or another place, than it anchored"))
}

/// The place of a leaf, as a custodian's gateway gives it.
pub(super) fn read_inclusion(file: &PathBuf) -> Result<Inclusion> {
    serde_json::from_str(&read(file)?).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}

/// A hash for each line: itself, where the line is one; of the line's bytes otherwise.
fn hashes(file: &PathBuf) -> Result<Vec<Digest>> {
    let text = read(file)?;
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines.map(|line| line.parse().unwrap_or_else(|_| access_log::leaf(line.as_bytes()))).collect())
}

fn read(file: &PathBuf) -> Result<String> {
    fs::read_to_string(file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))
}
