//! Making a script that breaks something as short as it gets.

use super::{
    network::{self, Violation},
    script::{Event, Script},
};

/// Leaves out whatever is not needed: first halves, then quarters, then single events, then
/// requests and crashes.
pub(super) fn shrink(script: Script) -> (Script, Violation) {
    let mut best = script;
    let mut violation = network::play(&best).expect_err("a script that breaks something is shrunk");
    let mut size = best.events.len().div_ceil(2);
    loop {
        let mut start = 0;
        while start < best.events.len() {
            let end = (start + size).min(best.events.len());
            let mut shorter = best.clone();
            shorter.events.drain(start..end);
            if !keep(shorter, &mut best, &mut violation) {
                start = end;
            }
        }
        if size == 1 {
            break;
        }
        size = size.div_ceil(2);
    }
    for index in 0..best.events.len() {
        let mut simpler = best.clone();
        match &mut simpler.events[index] {
            Event::Send { requests, .. } if requests.len() > 1 => requests.truncate(1),
            Event::Decide { crash: crash @ Some(_), .. } => *crash = None,
            _ => continue,
        }
        keep(simpler, &mut best, &mut violation);
    }
    (best, violation)
}

/// Takes the other script if it breaks the same kind of thing.
fn keep(other: Script, best: &mut Script, violation: &mut Violation) -> bool {
    match network::play(&other) {
        Err(found) if found.kind == violation.kind => {
            (*best, *violation) = (other, found);
            true
        }
        _ => false,
    }
}
