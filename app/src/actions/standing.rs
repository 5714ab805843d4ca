//! Who may send what.

use careledger_wire::{
    decision,
    ids::{Address, RecordId, SubjectId},
    proto::{
        accounts::KeyAuthority,
        identity::{OrganizationKind, SuspensionReason},
        state::{Account, AccountRole, Organization, Record, Subject},
    },
};

use crate::{
    accounts, governance, keys,
    reject::Reject,
    state::StateRead,
    types::{BlockContext, Sender},
};

/// The sender must be a registrar, and one of those of now: an account keeps its role for ever.
pub(super) fn registrar(sender: &Sender, state: &impl StateRead) -> Result<(), Reject> {
    let is_one = |registrar: &Vec<u8>| registrar == sender.address().as_bytes();
    match accounts::role(sender.address(), state) {
        AccountRole::Registrar if accounts::parameters(state).registrars.iter().any(is_one) => Ok(()),
        _ => Err(Reject::NotARegistrar),
    }
}

/// The sender must be an organization in good standing.
pub(super) fn organization(
    sender: &Sender,
    block: &BlockContext,
    state: &impl StateRead,
) -> Result<Organization, Reject> {
    if accounts::role(sender.address(), state) != AccountRole::Organization {
        return Err(Reject::NotAnOrganization);
    }
    in_good_standing(sender.address(), block, state)
}

/// The sender must be an organization in good standing of one of these kinds.
pub(super) fn organization_of(
    kinds: &[OrganizationKind],
    sender: &Sender,
    block: &BlockContext,
    state: &impl StateRead,
) -> Result<(), Reject> {
    let organization = organization(sender, block, state)?;
    if kinds.contains(&organization.kind()) { Ok(()) } else { Err(Reject::WrongOrganizationKind) }
}

/// The organization at this address, registered, not suspended and not expired.
pub(crate) fn in_good_standing(
    address: &Address,
    block: &BlockContext,
    state: &impl StateRead,
) -> Result<Organization, Reject> {
    let organization = state.get(&keys::organization(address)).ok_or(Reject::UnknownOrganization)?;
    if organization.suspended() != SuspensionReason::Unspecified {
        return Err(Reject::OrganizationSuspended);
    }
    if block.has_passed(organization.expires_at) {
        return Err(Reject::OrganizationExpired);
    }
    Ok(organization)
}

/// The format of the state from which on what an organization approved holds in that one standing: neither while it is
/// suspended or expired nor after it was registered anew.
const WORDS_IN_STANDING_SINCE: u32 = 5;

/// Whether words of organizations hold in one standing only.
pub(super) fn words_hold_in_one(state: &impl StateRead) -> bool {
    governance::state_version(state) >= WORDS_IN_STANDING_SINCE
}

/// What is kept beside a word that `address` gives: an organization's generation, 0 of anybody else.
pub(super) fn generation(address: &Address, state: &impl StateRead) -> u64 {
    state.get(&keys::organization(address)).map_or(0, |organization| organization.generation)
}

/// Whether an organization still speaks as when it gave a word in `generation`.
pub(super) fn still_speaks(address: &Address, generation: u64, block: &BlockContext, state: &impl StateRead) -> bool {
    in_good_standing(address, block, state).is_ok_and(|organization| organization.generation == generation)
}

/// The sender must be the patient's key of this subject. Organizations are refused before
/// anything is said about the subject.
pub(super) fn subject_of(sender: &Sender, subject: &SubjectId, state: &impl StateRead) -> Result<Subject, Reject> {
    if accounts::role(sender.address(), state) != AccountRole::Claimant {
        return Err(Reject::NotAClaimant);
    }
    let subject = state.get(&keys::subject(subject)).ok_or(Reject::UnknownSubject)?;
    if subject.claimant != sender.address().as_bytes() {
        return Err(Reject::NotTheSubject);
    }
    Ok(subject)
}

/// As [`subject_of`], and the patient has claimed the subject.
pub(super) fn claimed_subject_of(sender: &Sender, subject: &SubjectId, state: &impl StateRead) -> Result<(), Reject> {
    let subject = subject_of(sender, subject, state)?;
    if subject.encryption_key.is_empty() { Err(Reject::SubjectNotClaimed) } else { Ok(()) }
}

/// A record of this organization of which more is left than its anchor.
pub(super) fn record(organization: &Address, record: &RecordId, state: &impl StateRead) -> Result<Record, Reject> {
    let record = state.get(&keys::record(organization, record)).ok_or(Reject::UnknownRecord)?;
    if record.shredded_at == 0 { Ok(record) } else { Err(Reject::RecordShredded) }
}

/// Whose legal hold it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// The organization that has the record.
    Custodian,
    /// Any of the registrars.
    Registrars,
}

/// The sender must be a registrar, or this organization in good standing.
pub(super) fn holder(
    sender: &Sender,
    organization: &Address,
    block: &BlockContext,
    state: &impl StateRead,
) -> Result<Holder, Reject> {
    if registrar(sender, state).is_ok() {
        return Ok(Holder::Registrars);
    }
    self::organization(sender, block, state)?;
    if sender.address() == organization { Ok(Holder::Custodian) } else { Err(Reject::RecordOfAnother) }
}

/// Who decides for a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acting {
    /// The subject itself.
    Subject,
    /// Its guardian.
    Guardian {
        /// End of the guardian's power, exclusive.
        until: i64,
    },
}

impl Acting {
    /// Refuses a window that a guardian opens beyond the guardian's own power.
    pub(super) fn check_window(self, expires_at: i64) -> Result<(), Reject> {
        match self {
            Self::Guardian { until } if expires_at > until => Err(Reject::EndsTooLate),
            _ => Ok(()),
        }
    }
}

/// The sender must be the patient's key of this subject, which the patient claimed, or the key of
/// its guardian while that one has power.
pub(super) fn acts_for(
    sender: &Sender,
    subject: &SubjectId,
    block: &BlockContext,
    state: &impl StateRead,
) -> Result<Acting, Reject> {
    if !is_guardian(sender, state) {
        return claimed_subject_of(sender, subject, state).map(|()| Acting::Subject);
    }
    let organization = state.get(&keys::subject(subject)).ok_or(Reject::UnknownSubject)?.organization;
    // One key has one subject. Others may have named it before its own word said where it wants to be.
    let bound_to = accounts::account(sender.address(), state).map(|account| account.bound_to).unwrap_or_default();
    if !bound_to.is_empty() && bound_to != organization {
        return Err(Reject::NotTheSubject);
    }
    let guardianship = state.get(&keys::guardianship(subject, sender.address())).ok_or(Reject::NotTheSubject)?;
    match decision::out_of_power(Some(&guardianship), block.time) {
        None => Ok(Acting::Guardian { until: guardianship.until }),
        Some(_) => Err(Reject::GuardianshipEnded),
    }
}

/// Whether the sender is a guardian, of whomever.
pub(super) fn is_guardian(sender: &Sender, state: &impl StateRead) -> bool {
    accounts::role(sender.address(), state) == AccountRole::Guardian
}

/// The sender must have signed with a full key; an organization must be in good standing.
pub(super) fn manages_keys(sender: &Sender, block: &BlockContext, state: &impl StateRead) -> Result<Account, Reject> {
    let account = accounts::account(sender.address(), state).ok_or(Reject::UnknownAccount)?;
    if account.role() == AccountRole::Organization {
        in_good_standing(sender.address(), block, state)?;
    }
    match accounts::authority(sender.address(), &account, sender.key()) {
        Some(KeyAuthority::Full) => Ok(account),
        Some(_) => Err(Reject::NotAFullKey),
        None => Err(Reject::UnknownKey),
    }
}
