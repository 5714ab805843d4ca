//! One registrar's approval of an organization; enough of them register or renew it.

use careledger_wire::{
    commitment,
    ids::{Address, Digest, EncryptionKey},
    proto::{
        identity::{MsgRegisterOrganization, OrganizationKind, SuspensionReason},
        state::{AccountRole, Organization, Registration},
    },
};
use prost::Message as _;

use super::{Action, fields, standing};
use crate::{
    accounts, governance, keys,
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
    emergency: bool,
}

impl RegisterOrganization {
    /// What registrars must agree on: every field but the sender, and what the ledger holds of the
    /// organization. Its standing changes with every registration and suspension, so an approval
    /// that comes late, or was given before a suspension, never counts for another registration.
    fn content(&self, state: &impl StateRead) -> Digest {
        let kind = i32::from(self.kind).to_be_bytes();
        let expires_at = self.expires_at.to_be_bytes();
        let organization = self.organization.as_bytes().as_slice();
        let standing = self.registered(state).map(|organization| organization.encode_to_vec()).unwrap_or_default();
        let (key, evidence) = (self.encryption_key.as_bytes(), self.evidence.as_bytes());
        // As genesis has no generation, its approvals hash as they did before registrars could change.
        let generation = governance::of(state).registrar_generation.to_be_bytes();
        let mut fields = vec![organization, &kind, key, evidence, expires_at.as_slice(), standing.as_slice()];
        // A capability is one more part, so that registrations without one keep their paths.
        if self.emergency {
            fields.push(b"emergency");
        }
        if generation != [0; 8] {
            fields.push(&generation);
        }
        Digest::new(commitment::hash("careledger/registration/2", &fields))
    }

    fn registered(&self, state: &impl StateRead) -> Option<Organization> {
        state.get(&keys::organization(&self.organization))
    }

    fn approvals(&self, state: &impl StateRead) -> Registration {
        state.get(&keys::registration(&self.content(state))).unwrap_or_default()
    }

    /// The organization as this registration leaves it.
    fn organization(&self, generation: u64) -> Organization {
        Organization {
            kind: self.kind.into(),
            encryption_key: self.encryption_key.to_vec(),
            evidence: self.evidence.to_vec(),
            expires_at: self.expires_at,
            suspended: SuspensionReason::Unspecified.into(),
            generation,
            emergency: self.emergency,
        }
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
            emergency: message.emergency,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        standing::registrar(&self.sender, state)?;
        block.check_end(self.expires_at, ACCREDITATION_SECONDS_MAX)?;
        let role = accounts::role(&self.organization, state);
        if role != AccountRole::Organization && !accounts::is_free(&self.organization, state) {
            return Err(Reject::AddressInUse);
        }
        if self.registered(state).is_some_and(|organization| organization == self.organization(organization.generation))
        {
            return Err(Reject::AlreadyRegistered);
        }
        let sender = self.sender.address().as_bytes().as_slice();
        if self.approvals(state).approvals.iter().any(|approval| approval == sender) {
            return Err(Reject::AlreadyApproved);
        }
        Ok(())
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let pending = keys::registration(&self.content(state));
        let mut registration = self.approvals(state);
        registration.approvals.push(self.sender.address().to_vec());
        let threshold = accounts::parameters(state).registrar_threshold as usize;
        if registration.approvals.len() < threshold {
            state.put(&pending, &registration);
            return;
        }
        state.delete(&pending);
        accounts::open(&self.organization, AccountRole::Organization, state);
        let generation = self.registered(state).map_or(0, |organization| organization.generation) + 1;
        let organization = self.organization(generation);
        state.put(&keys::organization(&self.organization), &organization);
    }
}
