//! Every bound of the ledger, with its unit in its name. Raising one is a coordinated upgrade.

use careledger_wire::signing::CLIENT_DATA_BYTES_MAX;

/// Largest accepted transaction. Bounds gossip cost; holds a batch of
/// [`ANCHORS_PER_TRANSACTION_MAX`] or of [`SUPERSESSIONS_PER_TRANSACTION_MAX`].
pub const TX_BYTES_MAX: usize = 512 * 1024;
/// Smallest transaction that can be one: a signature, a key, a message with its sender. Bounds how
/// many a block can hold.
pub const TX_BYTES_MIN: usize = 150;
/// Most bytes of transactions in one block.
pub const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages in one transaction.
pub const MESSAGES_PER_TRANSACTION_MAX: usize = 32;
/// Records that one transaction anchors.
pub const ANCHORS_PER_TRANSACTION_MAX: usize = 7_000;
/// Records that one transaction supersedes. As many of anchors and supersessions together always
/// fit a transaction.
pub const SUPERSESSIONS_PER_TRANSACTION_MAX: usize = 6_800;
/// Bytes of one anchor in a message, with its framing.
const ANCHOR_BYTES: usize = 2 + 34 + 34;
/// Bytes of one supersession in a message, with its framing and the longest version.
const SUPERSESSION_BYTES: usize = ANCHOR_BYTES + 6;
/// Bytes of a transaction around a batch: signature, key, sender, framing.
const BATCH_FRAME_BYTES: usize = 1024;

/// Longest that an unordered transaction may stay valid after the block that takes it.
pub const UNORDERED_SECONDS_MAX: i64 = 600;
/// Remembered unordered transactions that one block forgets, or twice those that it takes.
pub const UNORDERED_PRUNED_PER_BLOCK_MAX: usize = 2_000;
/// Blocks for which a node keeps the outcome of each transaction.
pub const RESULTS_RETAINED_BLOCKS: u64 = 100_000;

/// Longest accreditation of an organization.
pub const ACCREDITATION_SECONDS_MAX: i64 = 5 * YEAR_SECONDS;
/// Longest enrolment of a practitioner.
pub const PRACTITIONER_SECONDS_MAX: i64 = 2 * YEAR_SECONDS;
/// Longest time for which an access request can be answered.
pub const REQUEST_SECONDS_MAX: i64 = 90 * DAY_SECONDS;
/// Latest end of a grant after the block that takes it.
pub const GRANT_SECONDS_MAX: i64 = 10 * YEAR_SECONDS;

/// Times that one grant can be reinstated; its value keeps when it was closed.
pub const REINSTATEMENTS_MAX: usize = 16;
/// Delegates that one grant can have, revoked ones included.
pub const DELEGATES_MAX: usize = 16;
/// Latest end of a guardianship after the block that takes it.
pub const GUARDIANSHIP_SECONDS_MAX: i64 = 21 * YEAR_SECONDS;
/// Longest view that an emergency opens.
pub const EMERGENCY_SECONDS_MAX: u32 = 86_400;
/// Time for the review of an emergency, from its opening on.
pub const EMERGENCY_REVIEW_SECONDS: i64 = 7 * DAY_SECONDS;
/// Emergencies of one organization that wait for their review.
pub const EMERGENCIES_UNREVIEWED_MAX: usize = 16;
/// Latest end of a standing approval after the block that takes it.
pub const STANDING_SECONDS_MAX: i64 = 2 * YEAR_SECONDS;
/// Longest grant that a standing approval makes.
pub const STANDING_GRANT_SECONDS_MAX: u32 = 90 * 86_400;
/// Grants that one standing approval makes.
pub const STANDING_USES_MAX: u32 = 1_000;

/// Leaves in one access-log batch.
pub const ACCESS_LOG_LEAVES_MAX: u32 = 1 << 20;
/// How far a gateway's clock may be ahead of block time.
pub const CLOCK_AHEAD_SECONDS_MAX: i64 = 60;

/// Intervals of one plan.
pub const PLAN_INTERVALS_MAX: usize = careledger_zk::plan::INTERVALS_MAX;
/// Blocks for which a replaced tree root is still accepted in a proof.
pub const ROOT_WINDOW_BLOCKS: u64 = 100;
/// Days by which a proof's date may be before the block's.
pub const AS_OF_BEHIND_DAYS_MAX: u32 = 3;
/// Days by which a proof's date may be after the block's: it is already tomorrow somewhere.
pub const AS_OF_AHEAD_DAYS_MAX: u32 = 1;
/// Longest validity of an eligibility proof.
pub const PROOF_SECONDS_MAX: i64 = 7 * DAY_SECONDS;
/// Eligibility proofs that one block checks; about 1.5 ms each on one core.
pub const PROOFS_PER_BLOCK_MAX: usize = 256;

/// Poseidon hashes that one block computes: those of 34 plans of the most intervals, or of 705
/// commitments.
pub const HASHES_PER_BLOCK_MAX: usize = 12_000;
/// Attestations that one message revokes.
pub const REVOCATIONS_PER_MESSAGE_MAX: usize = 16;
/// Hashes of a leaf that is appended to a tree of commitments, and of its path.
pub const HASHES_PER_APPEND: usize = 17;

/// Hashes of the commitment to a plan of this many intervals: each, the whole tree above them
/// however few they are, one path once more, and the commitment. A plan of more than
/// [`PLAN_INTERVALS_MAX`] is refused
/// before any.
pub const fn hashes_of_plan(intervals: usize) -> usize {
    let intervals = if intervals < PLAN_INTERVALS_MAX { intervals } else { PLAN_INTERVALS_MAX };
    8 + intervals + PLAN_INTERVALS_MAX / 3
}

/// Transactions that one account may have waiting in a node's mempool: a fifth of a mempool of 5,000.
pub const PENDING_PER_ACCOUNT_MAX: usize = 1_000;
/// Bytes that one account may have waiting. CometBFT offers a proposer the oldest block's worth of
/// its mempool, so what arrives after one account's flood is in the next block or the one after.
pub const PENDING_BYTES_PER_ACCOUNT_MAX: usize = BLOCK_BYTES_MAX / 2;
/// Transactions that all accounts which one organization opened may have waiting together.
pub const PENDING_PER_OPENER_MAX: usize = 2 * PENDING_PER_ACCOUNT_MAX;
/// Bytes of them: more than one account may have, so that none keeps the others out.
pub const PENDING_BYTES_PER_OPENER_MAX: usize = BLOCK_BYTES_MAX;
/// Longest window of a quota, in blocks.
pub const QUOTA_WINDOW_BLOCKS_MAX: u32 = 1_000_000;
/// Smallest quota, bytes: some transactions of the largest kind that a patient sends.
pub const QUOTA_BYTES_MIN: u64 = 16 * 1024;

/// Keys of one account.
pub const KEYS_PER_ACCOUNT_MAX: usize = 16;
/// Keys whose possession one block checks; about 0.2 ms each on one core.
pub const KEYS_PER_BLOCK_MAX: usize = 1_000;
/// Guardians of one account.
pub const GUARDIANS_MAX: usize = 16;
/// Shortest time in which a recovery by guardians can be vetoed.
pub const RECOVERY_SECONDS_MIN: i64 = DAY_SECONDS;
/// Longest time in which a recovery by guardians can be vetoed.
pub const RECOVERY_SECONDS_MAX: i64 = 90 * DAY_SECONDS;
/// Time in which a recovery in person can be vetoed.
pub const RECOVERY_IN_PERSON_SECONDS: i64 = 7 * DAY_SECONDS;
/// Organizations that must attest a recovery in person.
pub const RECOVERY_ATTESTATIONS: usize = 2;
/// Organizations that can attest one key: some may leave good standing before the end.
pub const RECOVERY_ATTESTATIONS_MAX: usize = 8;
/// Origins, and relying parties, of passkeys.
pub const WEBAUTHN_ORIGINS_MAX: usize = 16;
/// Longest origin, and longest relying party id.
pub const WEBAUTHN_ORIGIN_BYTES_MAX: usize = 253;

/// Pairs that one subspace query answers.
pub const QUERY_PAIRS_MAX: usize = 1_000;
/// Transactions that a node remembers having read: those that wait, and some more. Only what took
/// effect in the mempool or a block is remembered, so it was signed and each of its entries is whole:
/// when read it is some times its bytes, not the thirty times of a list of empty entries.
pub const READ_TRANSACTIONS_MAX: usize = 12_000;
/// Largest of them, bytes on the wire. Bounds the memory: larger ones are read each time.
pub const READ_TRANSACTION_BYTES_MAX: usize = 4 * 1024;
/// Verified signatures that are remembered. Bounds memory: about 100 bytes each.
pub const VERIFIED_SIGNATURES_MAX: usize = 100_000;
/// Verdicts on proofs that are remembered.
pub const VERIFIED_PROOFS_MAX: usize = 10_000;
/// Registrars at genesis.
pub const REGISTRARS_MAX: usize = 64;
/// Longest chain id, as in CometBFT.
pub const CHAIN_ID_BYTES_MAX: usize = 50;

// Governance

/// Most bytes of transactions in a block, at least: registrars cannot vote it lower.
pub const BLOCK_BYTES_MIN: usize = 1024 * 1024;
/// Most bytes of evidence in a block. CometBFT refuses more than a block's bytes.
pub const EVIDENCE_BYTES_MAX: usize = 1024 * 1024;
/// Voting power of one validator.
pub const VALIDATOR_POWER_MAX: u64 = 1_000_000_000;
/// Validators that have power.
pub const VALIDATORS_MAX: usize = 128;
/// Validators that have power or had it: each may still be blamed.
pub const VALIDATORS_KNOWN_MAX: usize = 1_024;
/// Offences of one validator whose heights are kept.
pub const OFFENCES_KEPT_MAX: usize = 16;
/// Longest time for which a proposal can be voted on, and what holds until registrars change it.
pub const PROPOSAL_SECONDS_MAX: i64 = 90 * DAY_SECONDS;
/// Blocks after which a scheduled upgrade comes at the latest.
pub const UPGRADE_BLOCKS_MAX: u64 = 10_000_000;
/// Records in one batch.
pub const BATCH_RECORDS_MAX: u32 = 1 << 20;
/// Sibling hashes in the longest path of a batch.
pub const BATCH_PATH_MAX: usize = BATCH_RECORDS_MAX.ilog2() as usize;
/// Sibling hashes in the longest path of an access-log batch.
pub const ACCESS_LOG_PATH_MAX: usize = ACCESS_LOG_LEAVES_MAX.ilog2() as usize;
/// Longest time for which a countersignature can be given.
pub const COUNTERSIGNATURE_SECONDS_MAX: i64 = 366 * DAY_SECONDS;
/// CometBFT's bound on the sum of voting power.
const COMETBFT_POWER_MAX: u64 = i64::MAX as u64 / 8;

const DAY_SECONDS: i64 = 86_400;
const YEAR_SECONDS: i64 = 366 * DAY_SECONDS;

const _: () = assert!(TX_BYTES_MAX * 8 <= BLOCK_BYTES_MAX, "one sender must not fill a block");
const _: () = assert!(
    ANCHORS_PER_TRANSACTION_MAX * ANCHOR_BYTES + BATCH_FRAME_BYTES <= TX_BYTES_MAX,
    "a full batch of anchors must fit a transaction"
);
const _: () = assert!(
    SUPERSESSIONS_PER_TRANSACTION_MAX * SUPERSESSION_BYTES + BATCH_FRAME_BYTES <= TX_BYTES_MAX,
    "a full batch of supersessions must fit a transaction, whatever their versions are"
);
const _: () =
    assert!(MESSAGES_PER_TRANSACTION_MAX <= PROOFS_PER_BLOCK_MAX, "a transaction full of proofs must fit a block");
const _: () = assert!(
    MESSAGES_PER_TRANSACTION_MAX * hashes_of_plan(PLAN_INTERVALS_MAX) <= HASHES_PER_BLOCK_MAX
        && MESSAGES_PER_TRANSACTION_MAX * REVOCATIONS_PER_MESSAGE_MAX * HASHES_PER_APPEND <= HASHES_PER_BLOCK_MAX,
    "no transaction alone may be more work than a block, or it could never be answered"
);
const _: () =
    assert!(EMERGENCY_SECONDS_MAX as i64 <= EMERGENCY_REVIEW_SECONDS, "no view may outlast the time for its review");
const _: () = assert!(TX_BYTES_MAX <= PENDING_BYTES_PER_ACCOUNT_MAX, "the largest transaction must be able to wait");
const _: () =
    assert!(MESSAGES_PER_TRANSACTION_MAX <= KEYS_PER_BLOCK_MAX, "a transaction full of keys must fit a block");
const _: () = assert!(
    WEBAUTHN_ORIGIN_BYTES_MAX + 200 <= CLIENT_DATA_BYTES_MAX,
    "what a browser writes about the longest origin must fit"
);
const _: () = assert!(CLOCK_AHEAD_SECONDS_MAX < UNORDERED_SECONDS_MAX, "a fast clock must not lock a gateway out");
const _: () =
    assert!(TX_BYTES_MAX < BLOCK_BYTES_MIN && BLOCK_BYTES_MIN <= BLOCK_BYTES_MAX, "a transaction fits a block");
const _: () = assert!(EVIDENCE_BYTES_MAX <= BLOCK_BYTES_MIN, "CometBFT refuses evidence larger than a block");
const _: () = assert!(
    VALIDATOR_POWER_MAX * (VALIDATORS_MAX as u64) < COMETBFT_POWER_MAX,
    "CometBFT stops above its bound on voting power"
);
