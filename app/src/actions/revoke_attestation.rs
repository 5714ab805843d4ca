//! An issuer ends attestations before their time; a registrar does where the issuer is out of good standing.

use std::collections::BTreeSet;

use careledger_wire::{
    ids::{Address, FieldBytes},
    proto::insurance::MsgRevokeAttestation,
};

use super::{Action, commitment_tree, fields, standing};
use crate::{
    keys::TreeId,
    limits::REVOCATIONS_PER_MESSAGE_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/revoke-attestation.md.
#[derive(Debug, Clone, PartialEq)]
pub struct RevokeAttestation {
    sender: Sender,
    commitments: Vec<FieldBytes>,
}

impl Action for RevokeAttestation {
    type Message = MsgRevokeAttestation;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let refused = Reject::InvalidField("commitments");
        if !(1..=REVOCATIONS_PER_MESSAGE_MAX).contains(&message.commitments.len()) {
            return Err(refused);
        }
        let commitments = message.commitments.iter().map(|bytes| fields::id("commitments", bytes));
        let commitments: Vec<FieldBytes> = commitments.collect::<Result<_, Reject>>()?;
        let mut seen = BTreeSet::new();
        if !commitments.iter().all(|commitment| seen.insert(commitment)) {
            return Err(refused);
        }
        Ok(Self { sender: *sender, commitments })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let is_registrar = standing::registrar(&self.sender, state).is_ok();
        if !is_registrar {
            standing::organization(&self.sender, block, state)?;
        }
        for commitment in &self.commitments {
            let leaf = state.get(&TreeId::Attestations.leaf(commitment)).filter(|leaf| leaf.revoked_height == 0);
            let leaf = leaf.ok_or(Reject::UnknownAttestation)?;
            let issuer = Address::try_from(leaf.issuer.as_slice()).expect("an issuer is written with 20 bytes");
            // A suspended issuer sends nothing, and what it attested must not prove for ever.
            let may = if is_registrar {
                standing::in_good_standing(&issuer, block, state).is_err()
            } else {
                issuer == *self.sender.address()
            };
            if !may {
                return Err(Reject::NotTheIssuer);
            }
        }
        Ok(())
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        commitment_tree::revoke(&TreeId::Attestations, &self.commitments, block, state);
    }
}
