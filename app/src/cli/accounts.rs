//! From the commands about keys, guardians and recovery to their messages.

use careledger_wire::{ids::Address, message::Message, proto::accounts};

use super::messages::Action;

impl Action {
    /// The message that this command about accounts describes.
    pub fn accounts(&self, sender: String) -> Message {
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
            _ => unreachable!("prepare() sends the other actions elsewhere"),
        }
    }
}
