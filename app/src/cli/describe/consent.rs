//! Values of consent beyond grants and requests.

use careledger_wire::proto::{
    consent::ReviewOutcome,
    state::{Delegations, Emergency, EmergencyReviews, Guardianship, GuardianshipApproval, StandingApproval},
};
use serde_json::{Value, json};

use super::{Describe, account, choice};

impl Describe for Delegations {
    fn describe(&self) -> Value {
        json!({ "grants": self.grants.iter().map(hex::encode).collect::<Vec<_>>() })
    }
}

impl Describe for Guardianship {
    fn describe(&self) -> Value {
        let approval = |approval: &Option<GuardianshipApproval>| {
            approval
                .as_ref()
                .map(|approval| json!({ "until": approval.until, "evidence": hex::encode(&approval.evidence) }))
        };
        json!({
            "until": (self.until != 0).then_some(self.until),
            "evidence": hex::encode(&self.evidence),
            "approved_by_organization": approval(&self.by_organization),
            "approved_by_subject": approval(&self.by_subject),
        })
    }
}

impl Describe for Emergency {
    fn describe(&self) -> Value {
        let outcome = match self.outcome() {
            ReviewOutcome::Unspecified => Value::Null,
            outcome => json!(choice(outcome.as_str_name(), "REVIEW_OUTCOME_")),
        };
        json!({
            "organization": account(&self.organization),
            "practitioner": account(&self.practitioner),
            "reason": choice(self.reason().as_str_name(), "EMERGENCY_REASON_"),
            "opened_at": self.opened_at,
            "expires_at": self.expires_at,
            "review_by": self.review_by,
            "outcome": outcome,
            "reviewer": (!self.reviewer.is_empty()).then(|| account(&self.reviewer)),
            "reviewed_at": (self.reviewed_at != 0).then_some(self.reviewed_at),
        })
    }
}

impl Describe for EmergencyReviews {
    fn describe(&self) -> Value {
        let open = self.open.iter().map(|review| {
            json!({
                "subject": hex::encode(&review.subject),
                "emergency": hex::encode(&review.emergency),
                "review_by": review.review_by,
            })
        });
        json!({ "open": open.collect::<Vec<_>>() })
    }
}

impl Describe for StandingApproval {
    fn describe(&self) -> Value {
        json!({
            "grantee": account(&self.grantee),
            "mode": choice(self.mode().as_str_name(), "CONSENT_MODE_"),
            "terms": hex::encode(&self.terms),
            "body": hex::encode(&self.body),
            "grant_seconds": self.grant_seconds,
            "expires_at": self.expires_at,
            "uses_max": self.uses_max,
            "uses": self.uses,
        })
    }
}
