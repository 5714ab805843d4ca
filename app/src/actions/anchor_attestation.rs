//! A provider or laboratory anchors the commitment to facts it attests about one patient.

use careledger_wire::{
    ids::FieldBytes,
    proto::{identity::OrganizationKind, insurance::MsgAnchorAttestation},
};
use careledger_zk::{field::Element, tree::Leaf};

use super::{Action, commitment_tree, fields, standing};
use crate::{
    keys::TreeId,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/anchor-attestation.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorAttestation {
    sender: Sender,
    commitment: Element,
}

impl AnchorAttestation {
    fn key(&self) -> FieldBytes {
        fields::field_bytes(self.commitment)
    }

    fn tree(&self) -> TreeId {
        TreeId::Attestations
    }
}

impl Action for AnchorAttestation {
    type Message = MsgAnchorAttestation;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender, commitment: fields::element("commitment", &message.commitment)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization_of(
            &[OrganizationKind::Provider, OrganizationKind::Laboratory],
            &self.sender,
            block,
            state,
        )?;
        commitment_tree::check_append(&self.tree(), &self.key(), state)
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let sender = self.sender.address();
        // The leaf is bound to its sender: nobody attests or enrols in another's name.
        let leaf = Leaf::attestation(self.commitment, sender.as_bytes());
        commitment_tree::append(&self.tree(), &self.key(), sender, leaf, block, state);
    }
}
