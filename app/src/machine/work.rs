//! What a transaction costs besides its bytes and its signature, known from its messages alone.

use careledger_wire::message::Message;

use crate::{
    limits::{HASHES_PER_APPEND, HASHES_PER_BLOCK_MAX, KEYS_PER_BLOCK_MAX, PROOFS_PER_BLOCK_MAX, hashes_of_plan},
    reject::Reject,
};

/// Eligibility proofs to check, Poseidon hashes to compute and keys whose possession to check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Work {
    proofs: usize,
    hashes: usize,
    keys: usize,
}

impl Work {
    /// The work of these messages.
    pub(super) fn of(messages: &[Message]) -> Self {
        messages.iter().map(Self::of_message).fold(Self::default(), Self::and)
    }

    fn of_message(message: &Message) -> Self {
        match message {
            Message::ProveEligibility(_) => Self { proofs: 1, ..Self::default() },
            Message::AnchorAttestation(_) | Message::AnchorEnrolment(_) => {
                Self { hashes: HASHES_PER_APPEND, ..Self::default() }
            }
            Message::RevokeAttestation(revoke) => {
                Self { hashes: HASHES_PER_APPEND.saturating_mul(revoke.commitments.len()), ..Self::default() }
            }
            Message::PublishPlan(plan) => Self { hashes: hashes_of_plan(plan.intervals.len()), ..Self::default() },
            Message::OpenSubject(open) => Self { keys: usize::from(open.binding.is_some()), ..Self::default() },
            Message::EnrolPractitioner(enrol) => Self { keys: usize::from(enrol.binding.is_some()), ..Self::default() },
            Message::AppointGuardian(appoint) => {
                Self { keys: usize::from(appoint.binding.is_some()), ..Self::default() }
            }
            Message::AddKey(_) | Message::FinishRecovery(_) => Self { keys: 1, ..Self::default() },
            _ => Self::default(),
        }
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { proofs: self.proofs + other.proofs, hashes: self.hashes + other.hashes, keys: self.keys + other.keys }
    }

    /// Its largest part of what a block may hold, in millionths.
    pub(super) fn share(self) -> usize {
        let part = |amount: usize, most: usize| amount.saturating_mul(1_000_000) / most;
        part(self.proofs, PROOFS_PER_BLOCK_MAX)
            .max(part(self.hashes, HASHES_PER_BLOCK_MAX))
            .max(part(self.keys, KEYS_PER_BLOCK_MAX))
    }

    /// Whether a block may hold this much.
    pub(super) fn check_block(self) -> Result<(), Reject> {
        if self.proofs > PROOFS_PER_BLOCK_MAX {
            return Err(Reject::TooManyProofs);
        }
        if self.hashes > HASHES_PER_BLOCK_MAX || self.keys > KEYS_PER_BLOCK_MAX {
            Err(Reject::TooMuchWork)
        } else {
            Ok(())
        }
    }
}
