//! One of the two approvals that make a guardian of a subject until a date.

use careledger_wire::{
    ids::{Address, Commitment, SubjectId},
    proto::{
        consent::MsgAppointGuardian,
        state::{AccountRole, Guardianship, GuardianshipApproval},
    },
};

use super::{Action, fields, possession::Binding, standing};
use crate::{
    accounts, governance, keys,
    limits::GUARDIANSHIP_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// The format of the state from which on a subject's full key appoints.
const FULL_KEY_SINCE: u32 = 5;

/// See docs/transactions/appoint-guardian.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AppointGuardian {
    sender: Sender,
    subject: SubjectId,
    guardian: Address,
    until: i64,
    evidence: Commitment,
    binding: Option<Binding>,
}

/// Whether both approve the same, in whatever standing.
fn is_same(one: Option<&GuardianshipApproval>, other: &GuardianshipApproval) -> bool {
    one.is_some_and(|one| (one.until, &one.evidence) == (other.until, &other.evidence))
}

impl AppointGuardian {
    fn approval(&self, state: &impl StateRead) -> GuardianshipApproval {
        let mut approval = GuardianshipApproval {
            until: self.until,
            evidence: self.evidence.to_vec(),
            ..GuardianshipApproval::default()
        };
        if standing::words_hold_in_one(state) {
            match self.is_organization(state) {
                true => approval.generation = standing::generation(self.sender.address(), state),
                false => approval.key = self.sender.key().address().to_vec(),
            }
        }
        approval
    }

    /// The organization that opened the subject.
    fn custodian(&self, state: &impl StateRead) -> Result<Address, Reject> {
        let subject = state.get(&keys::subject(&self.subject)).ok_or(Reject::UnknownSubject)?;
        Ok(Address::try_from(subject.organization.as_slice()).expect("the ledger keeps addresses here"))
    }

    /// What is known, without what the custodian approved in another standing and the subject by a key that it has no
    /// more: a stolen key's word does not wait for the other one's.
    fn known(&self, block: &BlockContext, state: &impl StateRead) -> Guardianship {
        let mut known = state.get(&keys::guardianship(&self.subject, &self.guardian)).unwrap_or_default();
        if standing::words_hold_in_one(state)
            && let Some(subject) = state.get(&keys::subject(&self.subject))
        {
            let address = |bytes: &[u8]| Address::try_from(bytes).expect("the ledger keeps addresses here");
            let custodian = address(&subject.organization);
            let stands =
                |given: &GuardianshipApproval| standing::still_speaks(&custodian, given.generation, block, state);
            known.by_organization = known.by_organization.filter(stands);
            let claimant = accounts::account(&address(&subject.claimant), state).unwrap_or_default();
            known.by_subject = known.by_subject.filter(|given| accounts::has_full_key(&claimant, &given.key));
        }
        known
    }

    /// The sender must be the organization that opened the subject, or the subject.
    fn check_sender(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        if !self.is_organization(state) {
            standing::claimed_subject_of(&self.sender, &self.subject, state)?;
            // A device may be lost: it names nobody who decides for years.
            let is_asked = governance::state_version(state) >= FULL_KEY_SINCE;
            return if is_asked { standing::manages_keys(&self.sender, block, state).map(drop) } else { Ok(()) };
        }
        standing::organization(&self.sender, block, state)?;
        if self.custodian(state)? == *self.sender.address() { Ok(()) } else { Err(Reject::NotTheCustodian) }
    }

    fn is_organization(&self, state: &impl StateRead) -> bool {
        accounts::role(self.sender.address(), state) == AccountRole::Organization
    }
}

impl Action for AppointGuardian {
    type Message = MsgAppointGuardian;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        let guardian = fields::id("guardian", &message.guardian)?;
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            guardian,
            until: fields::time("until", message.until)?,
            evidence: fields::id("evidence", &message.evidence)?,
            binding: Binding::parse(message.binding.as_ref(), &guardian)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        self.check_sender(block, state)?;
        block.check_end(self.until, GUARDIANSHIP_SECONDS_MAX)?;
        let known = self.known(block, state);
        // One key has one subject: a guardian's key shared by two would link them.
        let is_this_ones = known.until != 0 && accounts::role(&self.guardian, state) == AccountRole::Guardian;
        // The first approval shows the address, and somebody may open it: that gives way to the key's word.
        let is_free = match &self.binding {
            None => accounts::is_unused(&self.guardian, state),
            Some(_) => accounts::is_free(&self.guardian, state),
        };
        if !is_this_ones && !is_free {
            return Err(Reject::AddressInUse);
        }
        let approval = self.approval(state);
        let in_force =
            GuardianshipApproval { until: known.until, evidence: known.evidence, ..GuardianshipApproval::default() };
        let own = if self.is_organization(state) { known.by_organization } else { known.by_subject };
        if is_same(Some(&in_force), &approval) || is_same(own.as_ref(), &approval) {
            return Err(Reject::AlreadyAppointed);
        }
        let Some(binding) = &self.binding else { return Ok(()) };
        binding.check(&self.custodian(state)?, block, state)
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let mut guardianship = self.known(block, state);
        let approval = self.approval(state);
        let (own, others) = if self.is_organization(state) {
            (&mut guardianship.by_organization, &guardianship.by_subject)
        } else {
            (&mut guardianship.by_subject, &guardianship.by_organization)
        };
        if is_same(others.as_ref(), &approval) {
            let custodian = self.custodian(state).expect("check found the subject");
            let key = self.binding.as_ref().map(|binding| &binding.key);
            accounts::open_for(&custodian, &self.guardian, AccountRole::Guardian, key, state);
            guardianship = Guardianship {
                until: self.until,
                evidence: self.evidence.to_vec(),
                by_organization: None,
                by_subject: None,
            };
        } else {
            *own = Some(approval);
        }
        state.put(&keys::guardianship(&self.subject, &self.guardian), &guardianship);
    }
}
