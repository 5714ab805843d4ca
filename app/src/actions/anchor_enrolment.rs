//! An insurer anchors the commitment to one member's enrolment.

use careledger_wire::{
    ids::FieldBytes,
    proto::{identity::OrganizationKind, insurance::MsgAnchorEnrolment},
};
use careledger_zk::{field::Element, tree::Leaf};

use super::{Action, commitment_tree, fields, standing};
use crate::{
    keys::TreeId,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/anchor-enrolment.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AnchorEnrolment {
    sender: Sender,
    commitment: Element,
}

impl AnchorEnrolment {
    fn key(&self) -> FieldBytes {
        fields::field_bytes(self.commitment)
    }

    fn tree(&self) -> TreeId {
        TreeId::Enrolments(*self.sender.address())
    }
}

impl Action for AnchorEnrolment {
    type Message = MsgAnchorEnrolment;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self { sender: *sender, commitment: fields::element("commitment", &message.commitment)? })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::organization_of(&[OrganizationKind::Insurer], &self.sender, block, state)?;
        commitment_tree::check_append(&self.tree(), &self.key(), state)
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let sender = self.sender.address();
        // The leaf is bound to its sender: nobody attests or enrols in another's name.
        let leaf = Leaf::enrolment(self.commitment, sender.as_bytes());
        commitment_tree::append(&self.tree(), &self.key(), sender, leaf, block, state);
    }
}
