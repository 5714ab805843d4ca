//! Networks from seeds: whatever crashes, comes twice, comes torn or lies, replicas agree with each
//! other and with the model. `careledgerd sim --seeds 5000` runs many.

use careledger_app::sim::{self, Report, Script};

/// Seeds that every run of the tests plays.
const SEEDS: u64 = 100;

/// Every answer that the model knows. A simulation in which one of them never comes does not try
/// the rule behind it.
const ANSWERS: [&str; 30] = [
    "AddressInUse",
    "AlreadyApproved",
    "AlreadyEnded",
    "AlreadyEnteredInError",
    "DuplicateRecord",
    "GrantExists",
    "GrantRevoked",
    "GranteeNotInGoodStanding",
    "InvalidField",
    "NotAClaimant",
    "NotARegistrar",
    "NotAnOrganization",
    "NotTheSubject",
    "OrganizationExpired",
    "OrganizationSuspended",
    "RecordExists",
    "RequestAnswered",
    "RequestExists",
    "RequestExpired",
    "RequestMismatch",
    "SubjectClaimed",
    "SubjectExists",
    "SubjectNotClaimed",
    "UnknownGrant",
    "UnknownOrganization",
    "UnknownRecord",
    "UnknownRequest",
    "UnknownSubject",
    "WrongVersion",
    "ok",
];

#[test]
fn replicas_and_model_agree_whatever_happens() {
    let mut sum = Report::default();
    for seed in 0..SEEDS {
        sum.add(&sim::run(seed).unwrap_or_else(|failure| panic!("{failure}")));
    }
    let missing: Vec<_> = ANSWERS.iter().filter(|answer| !sum.answers.contains_key(*answer)).collect();
    assert!(missing.is_empty() && sum.kept_out > 0, "never seen: {missing:?} in {sum:?}");
}

#[test]
fn a_seed_gives_one_script_for_ever() {
    let digest = careledger_wire::commitment::hash("test", &[Script::of_seed(7).to_string().as_bytes()]);
    assert_ne!(Script::of_seed(8), Script::of_seed(7));
    assert_eq!(hex::encode(&digest[..8]), "23e1492d77fd26d3", "seeds in old reports must go on meaning the same");
}
