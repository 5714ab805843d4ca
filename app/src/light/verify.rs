//! Whether a block follows from a trusted one.
//!
//! The predicates are those of `tendermint-light-client-verifier`; what is here asks them in the
//! right order and says in plain words what did not hold.

use std::time::Duration;

use tendermint::{
    Time,
    block::{CommitSig, Header},
    trust_threshold::TrustThresholdFraction,
};
use tendermint_light_client_verifier::{
    ProdVerifier, Verdict, Verifier as _,
    errors::VerificationErrorDetail as Detail,
    operations::{ProdVotingPowerCalculator, VotingPowerCalculator as _},
    options::Options,
    types::{TrustedBlockState, UntrustedBlockState},
};

use super::{
    LightError,
    block::{Signatures, SignedBlock},
};

/// How far this machine's clock may be behind the validators'.
const CLOCK_DRIFT: Duration = Duration::from_secs(10);

/// What one look at a block showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is believed.
    Follows,
    /// Too few of the trusted validators signed it: one between must be looked at first.
    TooFar,
}

/// Whether `block` follows from `trusted`, a block before it.
pub fn step(trusted: &SignedBlock, block: &SignedBlock, period: Duration, now: Time) -> Result<Step, LightError> {
    is_signed(block)?;
    let header = &trusted.signed_header.header;
    let state = TrustedBlockState {
        chain_id: &header.chain_id,
        header_time: header.time,
        height: header.height,
        next_validators: &trusted.next_validators,
        next_validators_hash: header.next_validators_hash,
    };
    match ProdVerifier::default().verify_update_header(untrusted(block), state, &options(period), now) {
        Verdict::NotEnoughTrust(_) => Ok(Step::TooFar),
        verdict => holds(verdict, block).map(|()| Step::Follows),
    }
}

/// Whether a block is what it says by itself: its validators are those of its header, and more than
/// two thirds of them signed it. It may still be of another chain than one believes.
pub fn is_whole(block: &SignedBlock) -> Result<(), LightError> {
    is_signed(block)?;
    let verifier = ProdVerifier::default();
    holds(verifier.verify_validator_sets(&untrusted(block)), block)?;
    holds(verifier.verify_commit(&untrusted(block)), block)
}

/// Whether a block's time has come, by this machine's clock.
pub fn is_past(block: &SignedBlock, now: Time) -> Result<(), LightError> {
    holds(ProdVerifier::default().check_header_is_from_past(&untrusted(block), &options(Duration::MAX), now), block)
}

/// Whether a trusted block is young enough to vouch for others.
pub fn is_fresh(block: &SignedBlock, period: Duration, now: Time) -> Result<(), LightError> {
    let time = block.signed_header.header.time;
    // What lies beyond the end of times has not come.
    let is_over = time.checked_add(period).is_some_and(|end| end <= now);
    if !is_over {
        return Ok(());
    }
    Err(LightError::Expired { height: block.height(), time, period_seconds: period.as_secs() })
}

/// Whether `header` names `earlier` as the one it follows.
pub fn follows(header: &Header, earlier: &Header) -> bool {
    let is_named = header.last_block_id.is_some_and(|id| id.hash == earlier.hash());
    is_named && earlier.height.increment() == header.height && earlier.chain_id == header.chain_id
}

/// Who signed a block, each signature checked: deciding looks at no more than it needs.
pub fn signatures(block: &SignedBlock) -> Result<Signatures, LightError> {
    let all = TrustThresholdFraction::new(1, 1).expect("one is a fraction");
    let tally = ProdVotingPowerCalculator::default().voting_power_in(&block.signed_header, &block.validators, all);
    let tally = tally.map_err(|error| named(error.into_detail(), block))?;
    let commit = &block.signed_header.commit.signatures;
    Ok(Signatures {
        signers: commit.iter().filter(|signature| matches!(signature, CommitSig::BlockIdFlagCommit { .. })).count(),
        validators: block.validators.validators().len(),
        power: tally.tallied,
        power_total: tally.total,
    })
}

fn options(period: Duration) -> Options {
    Options { trust_threshold: TrustThresholdFraction::ONE_THIRD, trusting_period: period, clock_drift: CLOCK_DRIFT }
}

/// An embedded ledger has neither signatures nor validators: what is missing first is said first.
fn is_signed(block: &SignedBlock) -> Result<(), LightError> {
    let is_unsigned = block.signed_header.commit.signatures.iter().all(CommitSig::is_absent);
    if is_unsigned { Err(LightError::Unsigned(block.height())) } else { Ok(()) }
}

fn holds(verdict: Verdict, block: &SignedBlock) -> Result<(), LightError> {
    match verdict {
        Verdict::Success => Ok(()),
        Verdict::NotEnoughTrust(tally) => Err(too_few(block, tally.tallied, tally.total)),
        Verdict::Invalid(detail) => Err(named(detail, block)),
    }
}

fn untrusted(block: &SignedBlock) -> UntrustedBlockState<'_> {
    UntrustedBlockState {
        signed_header: &block.signed_header,
        validators: &block.validators,
        next_validators: Some(&block.next_validators),
    }
}

fn too_few(block: &SignedBlock, power: u64, power_total: u64) -> LightError {
    LightError::TooFew { height: block.height(), power, power_total }
}

fn named(detail: Detail, block: &SignedBlock) -> LightError {
    let height = block.height();
    match detail {
        Detail::InvalidValidatorSet(_) | Detail::InvalidNextValidatorSet(_) => LightError::Validators(height),
        Detail::InvalidCommitValue(_) => LightError::Altered(height),
        Detail::InvalidSignature(_) | Detail::MissingSignature(_) => LightError::Signature(height),
        Detail::NoSignatureForCommit(_) => LightError::Unsigned(height),
        Detail::InsufficientSignersOverlap(few) => too_few(block, few.tally.tallied, few.tally.total),
        Detail::HeaderFromTheFuture(_) => LightError::Future { height, time: block.signed_header.header.time },
        Detail::ChainIdMismatch(chains) => LightError::Chain { expected: chains.expected, found: chains.got },
        other => LightError::Refused { height, reason: other.to_string() },
    }
}
