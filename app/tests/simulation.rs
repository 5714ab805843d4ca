//! Networks from seeds: whatever crashes, comes twice, comes torn or lies, replicas agree with each
//! other and with the model. `careledgerd sim --seeds 5000` runs many.

use careledger_app::sim::{self, Report, Script};

/// Seeds that every run of the tests plays.
const SEEDS: u64 = 100;

/// Seeds beyond them that alone found a rule broken on purpose (docs/TESTING.md).
const SEEDS_BEYOND: [u64; 1] = [145];

/// Long lives that every run of the tests plays: the first format to the newest, under quotas.
const LIVES: u64 = 24;

/// Answers that these seeds give. A simulation in which one of them never comes does not try the
/// rule behind it any more.
const ANSWERS: [&str; 88] = [
    "AccessDisputed",
    "AccessLogGap",
    "AddressInUse",
    "AlreadyApproved",
    "AlreadyCountersigned",
    "AlreadyEnded",
    "AlreadyEnteredInError",
    "AlreadyRegistered",
    "AlreadyVoted",
    "BatchExists",
    "ClaimAlreadyConfirmed",
    "CommitmentExists",
    "CountersignatureExpired",
    "CountersignatureMismatch",
    "DuplicateRecord",
    "EmergencyNotAccredited",
    "EmergencyReviewOverdue",
    "EndsTooLate",
    "GrantDelegated",
    "GrantExists",
    "GranteeNotInGoodStanding",
    "GuardianshipEnded",
    "IdTaken",
    "InvalidField",
    "InvalidPlan",
    "KeyInUse",
    "KeyNotProven",
    "LastFullKey",
    "MalformedProof",
    "NoRecovery",
    "NotAClaimant",
    "NotAFullKey",
    "NotAGuardian",
    "NotARegistrar",
    "NotAnOrganization",
    "NotInBatch",
    "NotOnLegalHold",
    "NotRecoverable",
    "NotTheIssuer",
    "NotTheSubject",
    "NothingChanges",
    "OrganizationExpired",
    "OrganizationSuspended",
    "OwnEmergency",
    "ParameterOutOfRange",
    "PlanExists",
    "PlanOfAnotherInsurer",
    "PractitionerNotEnrolled",
    "ProofRefused",
    "ProposalClosed",
    "ProposalExpired",
    "RecordExists",
    "RecordOnLegalHold",
    "RecordShredded",
    "RecoveryNotApproved",
    "RequestAnswered",
    "RequestExists",
    "RequestExpired",
    "RequestMismatch",
    "StaleAttestationRoot",
    "StaleEnrolmentRoot",
    "StandingRefuses",
    "SubjectClaimed",
    "SubjectExists",
    "SubjectNotClaimed",
    "TooMuchPowerMoves",
    "UnknownAttestation",
    "UnknownBatch",
    "UnknownCircuit",
    "UnknownCountersignature",
    "UnknownEmergency",
    "UnknownGrant",
    "UnknownGuardian",
    "UnknownKey",
    "UnknownOrganization",
    "UnknownPlan",
    "UnknownPractitioner",
    "UnknownProposal",
    "UnknownRecord",
    "UnknownRequest",
    "UnknownStanding",
    "UnknownSubject",
    "UnknownValidator",
    "WiderThanGrant",
    "WrongOrganizationKind",
    "WrongUpgrade",
    "WrongVersion",
    "ok",
];

/// Answers to the proposals of those who do as they like.
const PROPOSALS: [&str; 9] = [
    "BadSignature",
    "EventAlreadyClaimed",
    "Malformed",
    "PeriodClaimUsed",
    "TooLarge",
    "UnknownAccount",
    "UnknownKey",
    "WrongSequence",
    "ok",
];

#[test]
fn replicas_and_model_agree_whatever_happens() {
    let mut sum = Report::default();
    let seeds: Vec<u64> = (0..SEEDS).chain(SEEDS_BEYOND).collect();
    for report in sim::run_each(&seeds) {
        sum.add(&report.unwrap_or_else(|failure| panic!("{failure}")));
    }
    let missing: Vec<_> = ANSWERS.iter().filter(|answer| !sum.answers.contains_key(*answer)).collect();
    assert!(missing.is_empty() && sum.kept_out > 0, "never seen: {missing:?} in {sum:?}");
    let missing: Vec<_> = PROPOSALS.iter().filter(|answer| !sum.proposals.contains_key(*answer)).collect();
    assert!(missing.is_empty() && sum.upgrades > 0, "never seen: {missing:?} in {sum:?}");
}

#[test]
fn a_chain_comes_to_every_format_by_vote_whatever_happens() {
    let lives = sim::LIVES_FROM..sim::LIVES_FROM + LIVES;
    let mut sum = Report::default();
    for report in sim::run_each(&lives.collect::<Vec<_>>()) {
        sum.add(&report.unwrap_or_else(|failure| panic!("{failure}")));
    }
    // Chance may vote for other registrars, or for another height, at the wrong time.
    assert!(sum.lives > LIVES / 2, "{sum:?}");
    assert!(sum.upgrades >= 2 * sum.lives && sum.proposals.contains_key("QuotaUsed"), "{sum:?}");
}

#[test]
fn a_seed_gives_one_script_for_ever() {
    let digest = careledger_wire::commitment::hash("test", &[Script::of_seed(7).to_string().as_bytes()]);
    assert_ne!(Script::of_seed(8), Script::of_seed(7));
    assert_eq!(hex::encode(&digest[..8]), "5c7b7295a94b58d2", "seeds in old reports must go on meaning the same");
}
