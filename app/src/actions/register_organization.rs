//! One registrar's approval of an organization; enough of them register or renew it.

use careledger_wire::{
    commitment,
    ids::{Address, Digest, EncryptionKey},
    proto::{
        identity::{MsgRegisterOrganization, OrganizationKind, SuspensionReason},
        state::{AccountRole, Organization, Registration},
    },
};

use super::{Action, fields, standing};
use crate::{
    accounts, keys,
    limits::ACCREDITATION_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/register-organization.md.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterOrganization {
    sender: Sender,
    organization: Address,
    kind: OrganizationKind,
    encryption_key: EncryptionKey,
    evidence: Digest,
    expires_at: i64,
}

impl RegisterOrganization {
    /// What registrars must agree on, every field but the sender.
    fn content(&self) -> Digest {
        let kind = i32::from(self.kind).to_be_bytes();
        let expires_at = self.expires_at.to_be_bytes();
        let organization = self.organization.as_bytes().as_slice();
        let fields =
            [organization, &kind, self.encryption_key.as_bytes(), self.evidence.as_bytes(), expires_at.as_slice()];
        Digest::new(commitment::hash("careledger/registration/1", &fields))
    }

    fn approvals(&self, state: &impl StateRead) -> Registration {
        state.get(&keys::registration(&self.content())).unwrap_or_default()
    }
}

impl Action for RegisterOrganization {
    type Message = MsgRegisterOrganization;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            organization: fields::id("organization", &message.organization)?,
            kind: fields::choice("kind", message.kind)?,
            encryption_key: fields::id("encryption_key", &message.encryption_key)?,
            evidence: fields::id("evidence", &message.evidence)?,
            expires_at: fields::time("expires_at", message.expires_at)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::registrar(&self.sender, state)?;
        block.check_end(self.expires_at, ACCREDITATION_SECONDS_MAX)?;
        if !accounts::is_free_for(&self.organization, AccountRole::Organization, state) {
            return Err(Reject::AddressInUse);
        }
        let sender = self.sender.address().as_bytes().as_slice();
        if self.approvals(state).approvals.iter().any(|approval| approval == sender) {
            return Err(Reject::AlreadyApproved);
        }
        Ok(())
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let pending = keys::registration(&self.content());
        let mut registration = self.approvals(state);
        registration.approvals.push(self.sender.address().to_vec());
        let threshold = accounts::parameters(state).registrar_threshold as usize;
        if registration.approvals.len() < threshold {
            state.put(&pending, &registration);
            return;
        }
        state.delete(&pending);
        accounts::open(&self.organization, AccountRole::Organization, state);
        let organization = Organization {
            kind: self.kind.into(),
            encryption_key: self.encryption_key.to_vec(),
            evidence: self.evidence.to_vec(),
            expires_at: self.expires_at,
            suspended: SuspensionReason::Unspecified.into(),
        };
        state.put(&keys::organization(&self.organization), &organization);
    }
}
