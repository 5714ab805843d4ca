//! What CometBFT proves about validators that break its rules.

use careledger_wire::proto::state::{Offence, Validator};
use sha2::{Digest as _, Sha256};

use crate::{
    governance, keys,
    limits::OFFENCES_KEPT_MAX,
    state::StateWrite,
    types::{Event, Misbehavior},
};

/// Records what a block's evidence says. A validator with more offences than the registrars
/// tolerate loses its power, unless nobody else has any: a chain keeps its last validator.
pub fn record(evidence: &[Misbehavior], height: u64, state: &mut impl StateWrite) -> Vec<Event> {
    let mut events = Vec::new();
    for misbehavior in evidence {
        let known = governance::validators(state);
        let found = known.iter().find(|(key, _)| Sha256::digest(key.as_bytes())[..20] == misbehavior.validator);
        let Some((key, validator)) = found else { continue };
        let offence = Offence { kind: misbehavior.kind, height: misbehavior.height, recorded_height: height };
        let is_known = |other: &Offence| (other.kind, other.height) == (offence.kind, offence.height);
        if validator.newest_offences.iter().any(is_known) {
            continue;
        }
        let mut next: Validator = validator.clone();
        next.offences = next.offences.saturating_add(1);
        next.newest_offences.push(offence);
        if next.newest_offences.len() > OFFENCES_KEPT_MAX {
            next.newest_offences.remove(0);
        }
        let is_last = known.iter().all(|(other, validator)| other == key || validator.power == 0);
        if next.power > 0 && u64::from(next.offences) > governance::of(state).offences_tolerated && !is_last {
            next = governance::with_power(next, 0, height, state);
        }
        state.put(&keys::validator(key), &next);
        events.push(Event {
            kind: "misbehavior".to_owned(),
            attributes: vec![
                ("validator".to_owned(), key.to_string()),
                ("height".to_owned(), misbehavior.height.to_string()),
                ("power".to_owned(), next.power.to_string()),
            ],
        });
    }
    events
}
