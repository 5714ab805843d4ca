//! Another organization, or a registrar, says whether an emergency access was justified.

use careledger_wire::{
    ids::{Address, EmergencyId, SubjectId},
    proto::{
        consent::{MsgReviewEmergency, ReviewOutcome},
        state::{Emergency, EmergencyReviews},
    },
};

use super::{Action, fields, standing};
use crate::{
    keys,
    reject::Reject,
    state::{StateRead, StateWrite},
    types::{BlockContext, Sender},
};

/// See docs/transactions/review-emergency.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewEmergency {
    sender: Sender,
    subject: SubjectId,
    emergency: EmergencyId,
    outcome: ReviewOutcome,
}

impl Action for ReviewEmergency {
    type Message = MsgReviewEmergency;

    fn parse(sender: &Sender, message: Self::Message) -> Result<Self, Reject> {
        Ok(Self {
            sender: *sender,
            subject: fields::id("subject", &message.subject)?,
            emergency: fields::id("emergency", &message.emergency)?,
            outcome: fields::choice("outcome", message.outcome)?,
        })
    }

    fn check(&self, block: &BlockContext, state: &impl StateRead) -> Result<(), Reject> {
        // Who was one is none: an account keeps its role for ever.
        let is_registrar = standing::registrar(&self.sender, state).is_ok();
        if !is_registrar {
            standing::organization(&self.sender, block, state)?;
        }
        let emergency = state.get(&keys::emergency(&self.subject, &self.emergency)).ok_or(Reject::UnknownEmergency)?;
        if emergency.organization == self.sender.address().as_bytes() {
            return Err(Reject::OwnEmergency);
        }
        if emergency.outcome() != ReviewOutcome::Unspecified {
            return Err(Reject::EmergencyReviewed);
        }
        // A missed deadline suspends the capability; only a registrar lifts that.
        if !is_registrar && block.has_passed(emergency.review_by) {
            return Err(Reject::EmergencyReviewOverdue);
        }
        Ok(())
    }

    fn execute(self, block: &BlockContext, state: &mut impl StateWrite) {
        let key = keys::emergency(&self.subject, &self.emergency);
        let emergency: Emergency = state.get(&key).expect("check found it");
        let organization = Address::try_from(emergency.organization.as_slice()).expect("an address was written");
        let reviewed = Emergency {
            outcome: self.outcome.into(),
            reviewer: self.sender.address().to_vec(),
            reviewed_at: block.time,
            ..emergency
        };
        state.put(&key, &reviewed);
        let key = keys::emergency_reviews(&organization);
        let mut reviews: EmergencyReviews = state.get(&key).expect("an unreviewed emergency is in its list");
        let is_this = |subject: &[u8], id: &[u8]| subject == self.subject.as_bytes() && id == self.emergency.as_bytes();
        reviews.open.retain(|review| !is_this(&review.subject, &review.emergency));
        if reviews.open.is_empty() {
            state.delete(&key);
        } else {
            state.put(&key, &reviews);
        }
    }
}
