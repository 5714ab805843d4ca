//! Values of the state as JSON, for people and scripts: ids as hexadecimal, accounts as bech32,
//! times as Unix seconds.

mod consent;

use careledger_wire::{
    ids::Address,
    proto::{
        consent::ConsentMode,
        identity::{OrganizationKind, SuspensionReason},
        query::{PathResponse, TransactionResult},
        state,
    },
};
use careledger_zk::tree::ARITY;
use serde_json::{Value, json};

/// A value of the state that can be shown.
pub trait Describe: prost::Message + Default {
    /// The value as a flat JSON object.
    fn describe(&self) -> Value;
}

impl Describe for state::Account {
    fn describe(&self) -> Value {
        let role = self.role().as_str_name();
        let keys = self.keys.iter().map(|key| {
            json!({
                "kind": choice(key.kind().as_str_name(), "KEY_KIND_"),
                "key": hex::encode(&key.key),
                "authority": choice(key.authority().as_str_name(), "KEY_AUTHORITY_"),
            })
        });
        json!({
            "account_number": self.number,
            "sequence": self.sequence,
            "role": choice(role, "ACCOUNT_ROLE_"),
            "public_key": hex::encode(&self.public_key),
            "keys": keys.collect::<Vec<_>>(),
        })
    }
}

impl Describe for state::Guardians {
    fn describe(&self) -> Value {
        json!({
            "guardians": self.guardians.iter().map(|bytes| account(bytes)).collect::<Vec<_>>(),
            "threshold": self.threshold,
            "delay_seconds": self.delay_seconds,
            "round": self.round,
            "is_recovering": self.is_recovering,
        })
    }
}

impl Describe for state::Recovery {
    fn describe(&self) -> Value {
        let accounts = |all: &[Vec<u8>]| all.iter().map(|bytes| account(bytes)).collect::<Vec<_>>();
        json!({
            "round": self.round,
            "approvals": accounts(&self.approvals),
            "approved_from": (self.approved_from != 0).then_some(self.approved_from),
            "attestations": accounts(&self.attestations),
            "attested_from": (self.attested_from != 0).then_some(self.attested_from),
        })
    }
}

impl Describe for state::Organization {
    fn describe(&self) -> Value {
        let suspended = match self.suspended() {
            SuspensionReason::Unspecified => Value::Null,
            reason => json!(choice(reason.as_str_name(), "SUSPENSION_REASON_")),
        };
        let kind: OrganizationKind = self.kind();
        json!({
            "kind": choice(kind.as_str_name(), "ORGANIZATION_KIND_"),
            "encryption_key": hex::encode(&self.encryption_key),
            "evidence": hex::encode(&self.evidence),
            "expires_at": self.expires_at,
            "suspended": suspended,
            "generation": self.generation,
            "emergency": self.emergency,
        })
    }
}

impl Describe for state::Practitioner {
    fn describe(&self) -> Value {
        json!({
            "organization": account(&self.organization),
            "role": choice(self.role().as_str_name(), "PRACTITIONER_ROLE_"),
            "qualification": hex::encode(&self.qualification),
            "expires_at": self.expires_at,
            "suspended_at": (self.suspended_at != 0).then_some(self.suspended_at),
        })
    }
}

impl Describe for state::Subject {
    fn describe(&self) -> Value {
        json!({
            "organization": account(&self.organization),
            "claimant": account(&self.claimant),
            "claimed": !self.encryption_key.is_empty(),
            "encryption_key": hex::encode(&self.encryption_key),
            "grants": self.grants,
            "emergencies": self.emergencies,
        })
    }
}

impl Describe for state::AccessRequest {
    fn describe(&self) -> Value {
        json!({
            "requester": account(&self.requester),
            "subject": hex::encode(&self.subject),
            "terms": hex::encode(&self.terms),
            "body": hex::encode(&self.body),
            "expires_at": self.expires_at,
            "grant": hex::encode(&self.grant),
        })
    }
}

impl Describe for state::Grant {
    fn describe(&self) -> Value {
        let mode: ConsentMode = self.mode();
        let closures = self
            .closures
            .iter()
            .map(|closure| json!({ "revoked_at": closure.revoked_at, "reinstated_at": closure.reinstated_at }));
        json!({
            "grantee": account(&self.grantee),
            "mode": choice(mode.as_str_name(), "CONSENT_MODE_"),
            "not_before": self.not_before,
            "expires_at": self.expires_at,
            "terms": hex::encode(&self.terms),
            "body": hex::encode(&self.body),
            "request": hex::encode(&self.request),
            "revoked_at": (self.revoked_at != 0).then_some(self.revoked_at),
            "version": u64::from(self.amendments) + 1,
            "delegable": self.delegable,
            "delegated_from": (!self.parent.is_empty()).then(|| hex::encode(&self.parent)),
            "by_guardian": self.by_guardian,
            "closures": closures.collect::<Vec<_>>(),
            "standing": (!self.standing.is_empty()).then(|| hex::encode(&self.standing)),
        })
    }
}

impl Describe for state::Record {
    fn describe(&self) -> Value {
        json!({
            "version": self.version,
            "commitment": hex::encode(&self.commitment),
            "recorded_at": self.recorded_at,
            "entered_in_error": (self.entered_in_error != 0).then_some(self.entered_in_error),
            "shredded_at": (self.shredded_at != 0).then_some(self.shredded_at),
            "held_by_custodian": self.held_by_custodian,
            "held_by_registrars": self.held_by_registrars,
        })
    }
}

impl Describe for state::AccessLog {
    fn describe(&self) -> Value {
        json!({ "batches": self.batches })
    }
}

impl Describe for state::AccessLogBatch {
    fn describe(&self) -> Value {
        json!({
            "root": hex::encode(&self.root),
            "count": self.count,
            "period_start": self.period_start,
            "period_end": self.period_end,
            "recorded_at": self.recorded_at,
        })
    }
}

impl Describe for state::Plan {
    fn describe(&self) -> Value {
        let intervals = self.intervals.iter().map(|interval| {
            json!({
                "lo": interval.low,
                "hi": interval.high,
                "class": interval.class,
                "wait_days": interval.wait_days,
                "cap": interval.cap,
            })
        });
        json!({
            "insurer": account(&self.insurer),
            "policy_id": hex::encode(&self.policy_id),
            "intervals": intervals.collect::<Vec<_>>(),
            "claims_per_period": self.claims_per_period,
            "period_days": self.period_days,
            "claim_within_days": self.claim_within_days,
            "age_days_min": self.age_days_min,
            "age_days_max": self.age_days_max,
            "terms": hex::encode(&self.terms),
        })
    }
}

impl Describe for state::Eligibility {
    fn describe(&self) -> Value {
        json!({
            "insurer": account(&self.insurer),
            "plan": hex::encode(&self.plan),
            "as_of": self.as_of,
            "amount_commitment": hex::encode(&self.amount_commitment),
            "confirmed_at": self.confirmed_at,
        })
    }
}

impl Describe for TransactionResult {
    fn describe(&self) -> Value {
        json!({ "height": self.height, "code": self.code, "log": self.log, "time": self.time })
    }
}

impl Describe for PathResponse {
    /// As `prove eligibility` reads it: index, and the siblings of each level. The root follows from them.
    fn describe(&self) -> Value {
        let levels = self.siblings.chunks(ARITY - 1);
        let siblings: Vec<Vec<String>> = levels.map(|level| level.iter().map(hex::encode).collect()).collect();
        json!({ "index": self.index, "siblings": siblings })
    }
}

/// Bytes of the state that are an account; as hexadecimal where they are not.
pub(super) fn account(bytes: &[u8]) -> String {
    Address::try_from(bytes).map_or_else(|_| hex::encode(bytes), |address| address.to_string())
}

/// `KIND_IN_CAPITALS` as the command line spells it.
pub(super) fn choice(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase().replace('_', "-")
}
