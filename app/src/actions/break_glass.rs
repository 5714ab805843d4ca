//! An accredited organization opens a view without consent. Everyone sees that it did, in the same
//! block, and somebody else has to say whether it should have.

use careledger_wire::{
    decision,
    ids::{Address, EmergencyId, SubjectId},
    proto::{
        consent::{EmergencyReason, MsgBreakGlass},
        state::{Emergency, EmergencyReviews, OpenReview, Practitioner},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    limits::{EMERGENCIES_UNREVIEWED_MAX, EMERGENCY_REVIEW_SECONDS, EMERGENCY_SECONDS_MAX},
    reject::Reject,
    state::{StateRead, StateWrite},
    subject_counts,
    types::{BlockContext, Sender},
};

/// See docs/transactions/break-glass.md.
#[derive(Debug, Clone, PartialEq)]
pub struct BreakGlass {
    sender: Sender,
    subject: SubjectId,
    emergency: EmergencyId,
    practitioner: Address,
    reason: EmergencyReason,
    seconds: u32,
}

impl BreakGlass {
    fn reviews(&self, state: &impl StateRead) -> EmergencyReviews {
        state.get(&keys::emergency_reviews(self.sender.address())).unwrap_or_default()
    }
}

impl Action for BreakGlass {
    type Message = MsgBreakGlass;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        if !(1..=EMERGENCY_SECONDS_MAX).contains(&message.seconds) {
            return Err(Reject::InvalidField("seconds"));
        }
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            emergency: fields::id("emergency", &message.emergency)?,
            practitioner: fields::id("practitioner", &message.practitioner)?,
            reason: fields::choice("reason", message.reason)?,
            seconds: message.seconds,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        let organization = standing::organization(&self.sender, block, state)?;
        if !organization.emergency {
            return Err(Reject::EmergencyNotAccredited);
        }
        let reviews = self.reviews(state);
        if decision::has_overdue_review(&reviews, block.time) {
            return Err(Reject::EmergencyReviewOverdue);
        }
        if reviews.open.len() >= EMERGENCIES_UNREVIEWED_MAX {
            return Err(Reject::TooManyUnreviewed);
        }
        let enrolment = state.get(&keys::practitioner(self.sender.address(), &self.practitioner));
        // Of a suspended one a new enrolment would open what was broken in its name meanwhile.
        let is_out = |enrolment: &Practitioner| block.has_passed(enrolment.expires_at) || enrolment.suspended_at != 0;
        if enrolment.is_none_or(|enrolment| is_out(&enrolment)) {
            return Err(Reject::PractitionerNotEnrolled);
        }
        if !state.has(&keys::subject(&self.subject)) {
            return Err(Reject::UnknownSubject);
        }
        if state.has(&keys::emergency(&self.subject, &self.emergency)) { Err(Reject::IdTaken) } else { Ok(()) }
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let review_by = block.time.saturating_add(EMERGENCY_REVIEW_SECONDS);
        let emergency = Emergency {
            organization: self.sender.address().to_vec(),
            practitioner: self.practitioner.to_vec(),
            reason: self.reason.into(),
            opened_at: block.time,
            expires_at: block.time.saturating_add(self.seconds.into()),
            review_by,
            ..Emergency::default()
        };
        subject_counts::put_emergency(&self.subject, &self.emergency, &emergency, state);
        // Block time never goes back, so the list stays in the order of the deadlines.
        let mut reviews = self.reviews(state);
        let review = OpenReview { subject: self.subject.to_vec(), emergency: self.emergency.to_vec(), review_by };
        reviews.open.push(review);
        state.put(&keys::emergency_reviews(self.sender.address()), &reviews);
    }
}
