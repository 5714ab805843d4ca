//! The plan that insurers of simulations and tests publish.

use careledger_wire::ids::{Address, Digest};
use careledger_zk::{
    binding,
    plan::{Interval, Plan, Terms},
};

/// What an insurer covers under a policy of this SHA-256: half of all codes, after a month, up to an amount.
pub fn plan(insurer: &Address, policy: &Digest) -> Plan {
    let of = |lo, hi, class, wait_days, cap| Interval { lo, hi, class, wait_days, cap };
    Plan {
        policy_id: binding::policy_id_of(insurer.as_bytes(), policy.as_bytes()),
        scope: binding::scope_of(insurer.as_bytes()),
        intervals: vec![of(0, (1 << 60) - 1, 0, 0, 0), of(1 << 60, u64::MAX, 1, 30, 500_000)],
        terms: Terms::TWO_A_YEAR,
    }
}
