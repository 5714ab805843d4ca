//! One of the two approvals that make a guardian of a subject until a date.

use careledger_wire::{
    ids::{Address, Commitment, SubjectId},
    proto::{
        consent::MsgAppointGuardian,
        state::{AccountRole, Guardianship, GuardianshipApproval},
    },
};

use super::{Action, fields, standing};
use crate::{
    accounts, keys,
    limits::GUARDIANSHIP_SECONDS_MAX,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/appoint-guardian.md.
#[derive(Debug, Clone, PartialEq)]
pub struct AppointGuardian {
    sender: Sender,
    subject: SubjectId,
    guardian: Address,
    until: i64,
    evidence: Commitment,
}

impl AppointGuardian {
    fn approval(&self) -> GuardianshipApproval {
        GuardianshipApproval { until: self.until, evidence: self.evidence.to_vec() }
    }

    fn known(&self, state: &impl StateRead) -> Option<Guardianship> {
        state.get(&keys::guardianship(&self.subject, &self.guardian))
    }

    /// The sender must be the organization that opened the subject, or the subject.
    fn check_sender(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        if !self.is_organization(state) {
            return standing::claimed_subject_of(&self.sender, &self.subject, state);
        }
        standing::organization(&self.sender, block, state)?;
        let subject = state.get(&keys::subject(&self.subject)).ok_or(Reject::UnknownSubject)?;
        let is_custodian = subject.organization == self.sender.address().as_bytes();
        if is_custodian { Ok(()) } else { Err(Reject::NotTheCustodian) }
    }

    fn is_organization(&self, state: &impl StateRead) -> bool {
        accounts::role(self.sender.address(), state) == AccountRole::Organization
    }
}

impl Action for AppointGuardian {
    type Message = MsgAppointGuardian;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            guardian: fields::id("guardian", &message.guardian)?,
            until: fields::time("until", message.until)?,
            evidence: fields::id("evidence", &message.evidence)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        self.check_sender(block, state)?;
        block.check_end(self.until, GUARDIANSHIP_SECONDS_MAX)?;
        let known = self.known(state).unwrap_or_default();
        // One key has one subject: a guardian's key shared by two would link them.
        let is_this_ones = known.until != 0 && accounts::role(&self.guardian, state) == AccountRole::Guardian;
        if !is_this_ones && !accounts::is_unused(&self.guardian, state) {
            return Err(Reject::AddressInUse);
        }
        let in_force = GuardianshipApproval { until: known.until, evidence: known.evidence };
        let own = if self.is_organization(state) { known.by_organization } else { known.by_subject };
        if in_force == self.approval() || own == Some(self.approval()) {
            return Err(Reject::AlreadyAppointed);
        }
        Ok(())
    }

    fn execute(self, _block: &BlockContext, state: &mut impl StateWrite) {
        let mut guardianship = self.known(state).unwrap_or_default();
        let approval = Some(self.approval());
        if self.is_organization(state) {
            guardianship.by_organization = approval;
        } else {
            guardianship.by_subject = approval;
        }
        if guardianship.by_organization == guardianship.by_subject {
            accounts::open(&self.guardian, AccountRole::Guardian, state);
            guardianship = Guardianship {
                until: self.until,
                evidence: self.evidence.to_vec(),
                by_organization: None,
                by_subject: None,
            };
        }
        state.put(&keys::guardianship(&self.subject, &self.guardian), &guardianship);
    }
}
