//! Transactions about keys, guardians and recovery, as commands.

use careledger_wire::{ids::Address, message::Message, proto::accounts};
use clap::{Args, Subcommand};

use super::{
    messages::{KeyAuthority, KeyKind},
    parse::{HexBytes, KeyBytes},
};

/// What to send. docs/transactions/ has a page for each.
#[derive(Debug, Subcommand)]
pub enum AccountsAction {
    /// Give the account another key. Needs a full key.
    AddKey {
        /// How the new key signs.
        #[arg(long)]
        kind: KeyKind,
        /// The new key: 33 bytes, compressed.
        #[arg(long, value_name = "HEX")]
        key: KeyBytes,
        /// What it may do: everything, or everything but managing keys.
        #[arg(long)]
        authority: KeyAuthority,
        /// The new key's own signature (keys prove-possession).
        #[arg(long, value_name = "HEX")]
        possession: HexBytes,
    },
    /// Take a key from the account for ever. Needs a full key, and leaves one.
    RemoveKey {
        /// How the key signs.
        #[arg(long)]
        kind: KeyKind,
        /// The key: 33 bytes, compressed.
        #[arg(long, value_name = "HEX")]
        key: KeyBytes,
    },
    /// Name who may restore the account when its keys are lost. Needs a full key.
    SetGuardians {
        /// Account of a guardian; repeat for several. None: nobody may.
        #[arg(long = "guardian", value_name = "ADDRESS")]
        guardians: Vec<Address>,
        /// How many of them must approve a new key.
        #[arg(long, default_value_t = 0)]
        threshold: u32,
        /// Time in which a recovery can be vetoed.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        delay_seconds: i64,
    },
    /// A guardian approves a new key for an account.
    ApproveRecovery(Candidate),
    /// An organization attests that it saw the account's holder in person, with a new key.
    AttestRecovery(Candidate),
    /// Cancel every recovery of the account. Any key of it will do.
    VetoRecovery,
    /// Replace all keys of an account by the approved one, once the time lock ended.
    FinishRecovery {
        #[command(flatten)]
        candidate: Candidate,
        /// The new key's own signature (keys prove-possession).
        #[arg(long, value_name = "HEX")]
        possession: HexBytes,
    },
}

/// A new key for an account whose keys are lost.
#[derive(Debug, Args)]
pub struct Candidate {
    /// The account to restore.
    #[arg(long, value_name = "ADDRESS")]
    pub lost: Address,
    /// How the new key signs.
    #[arg(long)]
    pub kind: KeyKind,
    /// The new key: 33 bytes, compressed.
    #[arg(long, value_name = "HEX")]
    pub key: KeyBytes,
}

impl AccountsAction {
    /// The message that this command describes.
    pub fn message(&self, sender: String) -> Message {
        match self {
            Self::AddKey { kind, key, authority, possession } => accounts::MsgAddKey {
                sender,
                kind: (*kind).into(),
                key: key.0.to_vec(),
                authority: (*authority).into(),
                possession: possession.0.clone(),
            }
            .into(),
            Self::RemoveKey { kind, key } => {
                accounts::MsgRemoveKey { sender, kind: (*kind).into(), key: key.0.to_vec() }.into()
            }
            Self::SetGuardians { guardians, threshold, delay_seconds } => accounts::MsgSetGuardians {
                sender,
                guardians: guardians.iter().map(Address::to_vec).collect(),
                threshold: *threshold,
                delay_seconds: *delay_seconds,
            }
            .into(),
            Self::ApproveRecovery(candidate) => accounts::MsgApproveRecovery {
                sender,
                account: candidate.lost.to_vec(),
                kind: candidate.kind.into(),
                key: candidate.key.0.to_vec(),
            }
            .into(),
            Self::AttestRecovery(candidate) => accounts::MsgAttestRecovery {
                sender,
                account: candidate.lost.to_vec(),
                kind: candidate.kind.into(),
                key: candidate.key.0.to_vec(),
            }
            .into(),
            Self::VetoRecovery => accounts::MsgVetoRecovery { sender }.into(),
            Self::FinishRecovery { candidate, possession } => accounts::MsgFinishRecovery {
                sender,
                account: candidate.lost.to_vec(),
                kind: candidate.kind.into(),
                key: candidate.key.0.to_vec(),
                possession: possession.0.clone(),
            }
            .into(),
        }
    }
}
