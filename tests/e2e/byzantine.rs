//! A validator that lies among three that do not.

use std::path::Path;

use serde_json::Value;

use crate::{
    governance::careledgerd,
    home::{Home, VALIDATORS, built, eventually, example},
    lifecycle::{anchor_log, install, log, organization},
};

/// Which validator lies.
const LIAR: usize = VALIDATORS - 1;

/// One validator proposes everything twice: the others refuse each of its blocks, every transaction is executed once, in
/// somebody else's block, and the chain goes on.
pub fn a_validator_that_proposes_everything_twice_is_outvoted(home: &Home, programs: &Path) {
    home.run(&["up", "--no-build", "--gateways", "0", "--node", "careledger"]);
    let hospital = organization(home);
    home.run(&["kill", "--validator", &LIAR.to_string()]);
    install(programs, &example("careledgerd_that_repeats"));
    home.run(&["revive", "--validator", &LIAR.to_string()]);
    let before = home.height(0);
    eventually("the liar never came back", || home.reaches(LIAR, before + 1));
    // Whoever starts from here on is honest.
    install(programs, &built("careledgerd"));
    let mut batch = 0;
    let has_refused = |index: usize| log(home, index).contains("a proposed block is refused");
    eventually("the liar's turn to propose never came", || {
        // A transaction's block is followed by one that only proves it, so that every other height has one, for as long as
        // nothing comes between: four turns, and the beat that makes it the liar's.
        for _ in 0..VALIDATORS {
            batch += 1;
            anchor_log(home, batch);
        }
        let seen = home.height(0) + 1;
        eventually("no empty block came", || home.reaches(0, seen));
        (0..LIAR).all(has_refused)
    });
    anchor_log(home, batch + 1);
    let kept = careledgerd(home, &["query", "access-log", &hospital]);
    assert_eq!(kept["batches"], Value::from(batch + 1), "each once: {kept}");
    eventually("all four never agreed", || home.succeeds(&["check"]));
}
