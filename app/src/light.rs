//! A light client: which headers a chain's validators signed, from one header that somebody trusts.
//!
//! A node may say anything. From a header that its user trusts, a later one is believed when
//! validators with more than a third of the voting power that the trusted header names signed it,
//! and more than two thirds of its own (skipping verification, as CometBFT's light client does it;
//! `tendermint-light-client-verifier` judges each step). An earlier one is believed when the
//! headers after it lead to it hash by hash. A header that is older than the trusting period
//! vouches for nothing: those who signed it may be validators no more, and their keys anybody's.
//!
//! - [`block`]: a header with its signatures and validators, as a node gives it.
//! - [`verify`]: whether one follows from a trusted one.
//! - [`kept`]: the trusted header in a home folder.
//! - [`node`]: reading blocks from a node. [`history`]: which height stood at a time.

pub mod block;
pub mod history;
pub mod kept;
pub mod node;
pub mod verify;

use std::time::Duration;

use tendermint::{Hash, Time, block::Header};

use crate::client::{ClientError, Proven};
use block::{Signatures, SignedBlock};
use verify::Step;

/// How long a header vouches for those who may sign the next, where nothing else is said: as long as
/// CometBFT's own light client believes one.
pub const TRUSTING_PERIOD: Duration = Duration::from_hours(7 * 24);

/// Blocks that are looked at on the way to one header. Each lies halfway to the next, so a chain of
/// any length needs few, unless its validators are new at almost every one of them.
const STEPS_MAX: usize = 256;

/// Headers that are asked for at once on the way back: as many as CometBFT answers.
const BACKWARD_HEADERS: u64 = 20;

/// Why a header is not believed.
#[derive(Debug, thiserror::Error)]
pub enum LightError {
    /// A node could not be asked.
    #[error(transparent)]
    Node(#[from] ClientError),
    /// What the node gave is no block of that height.
    #[error("{url} gives no usable block of height {height}: {reason}")]
    Block {
        /// Node that was asked.
        url: String,
        /// Height that was asked for.
        height: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The trusted hash is not that of the header that the node has at this height.
    #[error("the header of height {height} has the hash {found}, the trusted one is {expected}")]
    Hash {
        /// Height of both.
        height: u64,
        /// The hash that is trusted.
        expected: Hash,
        /// The hash of the node's header.
        found: Hash,
    },
    /// The trusted header is too old to vouch for anything.
    #[error(
        "the trusted header of height {height} is of {time}, longer ago than the trusting period of {period_seconds} s"
    )]
    Expired {
        /// Its height.
        height: u64,
        /// Its time.
        time: Time,
        /// How long a header is trusted, seconds.
        period_seconds: u64,
    },
    /// The header's time has not come on this machine.
    #[error("the header of height {height} is of {time}, which has not come yet")]
    Future {
        /// Its height.
        height: u64,
        /// Its time.
        time: Time,
    },
    /// Another chain.
    #[error("the node's chain is `{found}`, the trusted header is of `{expected}`")]
    Chain {
        /// Chain of the trusted header.
        expected: String,
        /// Chain of the other.
        found: String,
    },
    /// The validators that the node names are not those that the header names.
    #[error("the validators that the node names for height {0} are not those of its header")]
    Validators(u64),
    /// The header was changed after it was signed.
    #[error("the header of height {0} is not the one that its signatures are for")]
    Altered(u64),
    /// A signature that its validator did not make.
    #[error("a signature of the header of height {0} does not hold")]
    Signature(u64),
    /// Nobody signed: an embedded ledger, which has no validators.
    #[error("nobody signed the header of height {0}: this ledger has no validators")]
    Unsigned(u64),
    /// Validators with too little power signed.
    #[error("too few signed the header of height {height}: {power} of {power_total} voting power")]
    TooFew {
        /// Height of the header.
        height: u64,
        /// Voting power that signed.
        power: u64,
        /// Voting power of all.
        power_total: u64,
    },
    /// The validators of two headers have too little in common, however close they are taken.
    #[error("too many changes of validators lie before the header of height {0}")]
    Steps(u64),
    /// A header on the way back does not have the hash that its successor names.
    #[error("the header of height {0} is not the one that the header after it follows")]
    Link(u64),
    /// Verified, and yet not what the node built its proof on.
    #[error("the node's proof rests on another app hash than the validators signed at height {0}")]
    AppHash(u64),
    /// An answer older than what was verified before: it would show what was revoked since.
    #[error("the node answered with the header of height {answered}, {verified} was verified before")]
    Stale {
        /// Height of the answer's header.
        answered: u64,
        /// Height that was verified before.
        verified: u64,
    },
    /// Another node has another header, and its validators did not sign it.
    #[error("the witness {url} has another header at height {height}, which does not hold: {reason}")]
    Witness {
        /// The witness.
        url: String,
        /// The height.
        height: u64,
        /// Why its header is not believed.
        reason: String,
    },
    /// Two headers of one height, both signed: more than a third of the voting power signed twice.
    #[error("validators signed two headers of height {height}: {ours} and, given by {url}, {theirs}")]
    Fork {
        /// The witness.
        url: String,
        /// The height.
        height: u64,
        /// Hash that the asked node gave.
        ours: Hash,
        /// Hash that the witness gave.
        theirs: Hash,
    },
    /// The verifier's own words for anything else.
    #[error("the header of height {height} is refused: {reason}")]
    Refused {
        /// Height of the header.
        height: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Where blocks come from.
pub trait Source {
    /// What people call it.
    fn name(&self) -> &str;

    /// The block of a height with its signatures, and its validators. Not believed by anybody yet.
    fn block(&self, height: u64) -> impl Future<Output = Result<SignedBlock, LightError>>;

    /// The headers of these heights, ascending. Not believed by anybody yet.
    fn headers(&self, first: u64, last: u64) -> impl Future<Output = Result<Vec<Header>, LightError>>;
}

/// How somebody came to trust the first header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Its height and hash were given by hand.
    Given,
    /// A node gave it, and nobody compared it.
    FirstUse,
}

/// The header that everything else is believed from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Anchor {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
    /// How it came to be trusted.
    pub origin: Origin,
}

/// What is trusted: where it began, and the newest block that was verified since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// Where it began.
    pub anchor: Anchor,
    /// The newest verified block; the anchor's own at first.
    pub newest: SignedBlock,
}

impl Trust {
    /// Trusts the header of this height and hash.
    pub async fn given(source: &impl Source, height: u64, hash: Hash, now: Time) -> Result<Self, LightError> {
        let block = source.block(height).await?;
        if block.hash() != hash {
            return Err(LightError::Hash { height, expected: hash, found: block.hash() });
        }
        Self::of(block, Origin::Given, now)
    }

    /// Trusts whatever header the source has at this height.
    pub async fn first_use(source: &impl Source, height: u64, now: Time) -> Result<Self, LightError> {
        Self::of(source.block(height).await?, Origin::FirstUse, now)
    }

    fn of(block: SignedBlock, origin: Origin, now: Time) -> Result<Self, LightError> {
        verify::is_whole(&block)?;
        verify::is_past(&block, now)?;
        Ok(Self { anchor: Anchor { height: block.height(), hash: block.hash(), origin }, newest: block })
    }
}

/// A header that is believed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The header.
    pub header: Header,
    /// Where trust began.
    pub anchor: Anchor,
    /// Height of the header whose signatures were checked: this one, or a later one that leads to it.
    pub signed_height: u64,
    /// Who signed that.
    pub signatures: Signatures,
    /// Nodes that have the same header.
    pub witnesses: Vec<String>,
}

/// Believes headers of one chain.
#[derive(Debug)]
pub struct LightClient<S> {
    source: S,
    witnesses: Vec<S>,
    period: Duration,
    trust: Trust,
}

impl<S: Source> LightClient<S> {
    /// Believes what follows from `trust`, which is as old as `period` at most. `witnesses` are asked
    /// for the same headers and must have them.
    pub fn new(source: S, witnesses: Vec<S>, period: Duration, trust: Trust) -> Self {
        Self { source, witnesses, period, trust }
    }

    /// What is trusted by now.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The header of this height, if the chain's validators made it.
    pub async fn header(&mut self, height: u64, now: Time) -> Result<Verified, LightError> {
        verify::is_fresh(&self.trust.newest, self.period, now)?;
        let newest = self.trust.newest.height();
        let header = if height < newest {
            let header = self.backward(height).await?;
            self.compare(height, header.hash(), now).await?;
            header
        } else {
            let block = forward(&self.source, &self.trust.newest, height, self.period, now).await?;
            let header = block.signed_header.header.clone();
            self.compare(height, block.hash(), now).await?;
            self.trust.newest = block;
            header
        };
        let signed = &self.trust.newest;
        Ok(Verified {
            header,
            anchor: self.trust.anchor.clone(),
            signed_height: signed.height(),
            signatures: verify::signatures(signed)?,
            witnesses: self.witnesses.iter().map(|witness| witness.name().to_owned()).collect(),
        })
    }

    /// Whether the chain's validators signed the header that a proof rests on.
    pub async fn confirm(&mut self, proven: &Proven, now: Time) -> Result<Verified, LightError> {
        let verified = self.header(proven.header_height, now).await?;
        let is_same = verified.header.app_hash.as_bytes() == proven.app_hash
            && verified.header.time.unix_timestamp() == proven.header_time;
        if is_same { Ok(verified) } else { Err(LightError::AppHash(proven.header_height)) }
    }

    /// As [`Self::confirm`], of an answer that claims to be the newest: it is never older than what
    /// was verified before.
    pub async fn confirm_newest(&mut self, proven: &Proven, now: Time) -> Result<Verified, LightError> {
        let (answered, verified) = (proven.header_height, self.trust.newest.height());
        if answered < verified {
            return Err(LightError::Stale { answered, verified });
        }
        self.confirm(proven, now).await
    }

    /// The header of a height before the newest, to which its successors lead hash by hash.
    async fn backward(&self, height: u64) -> Result<Header, LightError> {
        let mut header = self.trust.newest.signed_header.header.clone();
        while header.height.value() > height {
            let last = header.height.value() - 1;
            let first = height.max(last.saturating_sub(BACKWARD_HEADERS - 1));
            let mut given = self.source.headers(first, last).await?;
            for wanted in (first..=last).rev() {
                // Whatever else the node gives, the next one down is what its successor names.
                header = match given.pop() {
                    Some(earlier) if verify::follows(&header, &earlier) => earlier,
                    _ => return Err(LightError::Link(wanted)),
                };
            }
        }
        Ok(header)
    }

    /// Whether every witness has the header of this height and hash.
    async fn compare(&self, height: u64, ours: Hash, now: Time) -> Result<(), LightError> {
        for witness in &self.witnesses {
            let found = witness.block(height).await?.hash();
            if found == ours {
                continue;
            }
            let url = witness.name().to_owned();
            let judged = if height > self.trust.newest.height() {
                forward(witness, &self.trust.newest, height, self.period, now).await
            } else {
                Err(LightError::Hash { height, expected: ours, found })
            };
            return Err(match judged {
                Ok(theirs) => LightError::Fork { url, height, ours, theirs: theirs.hash() },
                Err(error) => LightError::Witness { url, height, reason: error.to_string() },
            });
        }
        Ok(())
    }
}

/// The block of a height that is not before `trusted`, through as few others as it takes.
async fn forward(
    source: &impl Source,
    trusted: &SignedBlock,
    height: u64,
    period: Duration,
    now: Time,
) -> Result<SignedBlock, LightError> {
    let mut trusted = trusted.clone();
    let mut ahead: Vec<SignedBlock> = Vec::new();
    for _ in 0..STEPS_MAX {
        let from = trusted.height();
        if from == height {
            return Ok(trusted);
        }
        let next = match ahead.pop() {
            Some(next) => next,
            None => source.block(height).await?,
        };
        match verify::step(&trusted, &next, period, now)? {
            Step::Follows => trusted = next,
            Step::TooFar => {
                let middle = from.midpoint(next.height());
                ahead.push(next);
                ahead.push(source.block(middle).await?);
            }
        }
    }
    Err(LightError::Steps(height))
}

#[cfg(test)]
mod tests;
