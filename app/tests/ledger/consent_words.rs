//! The words of scripts for consent beyond granting and revoking.
//!
//! - `amends g to 2 [from 0] [until 1000] [append] [delegable]`, `reinstates g`
//! - `delegates g to payer as d [from 0] [until 1000] [append]`
//! - `appoints uncle until 900`
//! - `breaks alice.clinic as e by doctor [for 100]`, `reviews e [unjustified]`
//! - `preapproves lab as s [until 1000] [each 100] [uses 2]`, `withdraws s`
//!
//! `on alice.clinic` names the subject where it is not the sender.

use careledger_wire::{
    message::Message,
    proto::consent::{
        EmergencyReason, MsgAmendConsent, MsgAppointGuardian, MsgApproveStanding, MsgBreakGlass, MsgDelegateConsent,
        MsgReinstateConsent, MsgReviewEmergency, MsgWithdrawStanding, ReviewOutcome,
    },
};

use crate::{
    script::{Words, subject},
    world::{address, bytes},
};

/// The message that these words describe.
pub fn message(sender: String, words: &Words<'_>) -> Message {
    let id = |index: usize| bytes(words.at(index)).to_vec();
    let number = |word: &str, default: u32| words.after(word).map_or(default, |text| text.parse().expect("a number"));
    let (terms, body) = (words.named("terms"), words.named("body"));
    let of_subject = words.subject().to_vec();
    match words.at(0) {
        "amends" => MsgAmendConsent {
            sender,
            subject: of_subject,
            grant: id(1),
            version: number("to", 0),
            mode: words.mode().into(),
            not_before: words.time("from", 0),
            expires_at: words.time("until", 1_000),
            terms,
            body,
            delegable: words.has("delegable"),
        }
        .into(),
        "reinstates" => MsgReinstateConsent { sender, subject: of_subject, grant: id(1) }.into(),
        "delegates" => MsgDelegateConsent {
            sender,
            subject: of_subject,
            parent: id(1),
            grant: bytes(words.after("as").expect("as which grant")).to_vec(),
            grantee: address(words.after("to").expect("to whom")).to_vec(),
            mode: words.mode().into(),
            not_before: words.time("from", 0),
            expires_at: words.time("until", 1_000),
            terms,
            body,
        }
        .into(),
        "appoints" => MsgAppointGuardian {
            sender,
            subject: of_subject,
            guardian: address(words.at(1)).to_vec(),
            until: words.time("until", 2_000),
            evidence: words.named("evidence"),
            binding: words.binding(),
        }
        .into(),
        "breaks" => MsgBreakGlass {
            sender,
            subject: subject(words.at(1)).to_vec(),
            emergency: bytes(words.after("as").expect("as which emergency")).to_vec(),
            practitioner: address(words.after("by").expect("by which practitioner")).to_vec(),
            reason: EmergencyReason::Unconscious.into(),
            seconds: number("for", 100),
        }
        .into(),
        "reviews" => MsgReviewEmergency {
            sender,
            subject: of_subject,
            emergency: id(1),
            outcome: if words.has("unjustified") { ReviewOutcome::NotJustified } else { ReviewOutcome::Justified }
                .into(),
        }
        .into(),
        "preapproves" => MsgApproveStanding {
            sender,
            subject: of_subject,
            standing: bytes(words.after("as").expect("as which approval")).to_vec(),
            grantee: address(words.at(1)).to_vec(),
            mode: words.mode().into(),
            terms,
            body,
            grant_seconds: number("each", 100),
            expires_at: words.time("until", 1_000),
            uses_max: number("uses", 2),
        }
        .into(),
        "withdraws" => MsgWithdrawStanding { sender, subject: of_subject, standing: id(1) }.into(),
        verb => panic!("no such verb: {verb}"),
    }
}
