//! Who may send what.

use careledger_wire::{
    ids::{Address, SubjectId},
    proto::{
        accounts::KeyAuthority,
        identity::{OrganizationKind, SuspensionReason},
        state::{Account, AccountRole, Organization, Subject},
    },
};

use crate::{
    accounts, keys,
    reject::Reject,
    state::StateRead,
    types::{BlockContext, Sender},
};

/// The sender must be a registrar.
pub(super) fn registrar(sender: &Sender, state: &impl StateRead) -> Result<(), Reject> {
    match accounts::role(sender.address(), state) {
        AccountRole::Registrar => Ok(()),
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
