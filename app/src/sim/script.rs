//! What happens in a simulation: who sends what, and what goes wrong.

use super::generate;
pub use super::request::{Decision, Flaw, Proof, Request, Which};

/// Accounts that are registrars at genesis, or become it by vote.
pub(super) const REGISTRARS: u8 = 5;
/// How many of them are registrars at genesis.
pub(super) const REGISTRARS_FIRST: u8 = 3;
/// Organizations that may come to be.
pub(super) const ORGANIZATIONS: u8 = 3;
/// Keys of patients.
pub(super) const PATIENTS: u8 = 4;
/// Keys of practitioners.
pub(super) const PRACTITIONERS: u8 = 2;
/// Keys of guardians of minors.
pub(super) const GUARDIANS: u8 = 2;
/// Keys that any account may add to its own.
pub(super) const SPARE_KEYS: u8 = 6;
/// Keys of validators, and how many of them are validators at genesis.
pub(super) const VALIDATORS: u8 = 5;
pub(super) const VALIDATORS_FIRST: u8 = 4;
/// Ids of requests, grants and records that are drawn from: few, so that they meet.
pub(super) const IDS: u8 = 4;
/// Records of one batch.
pub(super) const BATCHED: u8 = 4;
/// From here on, numbers of records are those of batches.
pub(super) const BATCHED_FROM: u8 = 100;
/// From here on, numbers of grants are those of requests under standing approvals.
pub(super) const AUTOMATIC_FROM: u8 = 100;
/// Accesses of one batch of an access log.
pub(super) const LOGGED: u8 = 3;
/// Plans of one insurer, and commitments to attest or to enrol.
pub(super) const PLANS: u8 = 2;
pub(super) const COMMITMENTS: u8 = 5;
/// Replicas at the beginning.
pub(super) const REPLICAS: u8 = 4;

/// A subject: the view that an organization has of a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub(super) organization: u8,
    pub(super) patient: u8,
}

/// Whose account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    Registrar(u8),
    Organization(u8),
    Patient(u8),
    Practitioner(u8),
    Guardian(u8),
}

/// A key: the one that an account's address is made of, or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Of(Actor),
    Spare(u8),
}

/// How a transaction comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Ordered,
    StaleSequence,
    NextButOneSequence,
    Unordered { until: i64 },
    AnotherChain,
    AnothersSignature,
    Torn,
    Twice,
}

/// Who signs a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signing {
    pub(super) actor: Actor,
    /// With which key.
    pub(super) key: Key,
    /// Who pays, with the key of its address.
    pub(super) sponsor: Option<Actor>,
    /// Whether the sponsor really signed.
    pub(super) is_sponsored: bool,
}

/// When a replica stops, within a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    BeforeFinalize,
    BeforeCommit,
    AfterCommit,
    /// The disk lost the whole write: the store is as before.
    CommitLost,
}

/// What a proposer that does as it likes puts into its block, besides what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rubbish {
    Nothing,
    Malformed,
    /// A transaction whose last byte, of its signature, is another.
    Forged,
    /// A transaction twice.
    Repeated,
    /// One transaction above its limit.
    Oversize,
    /// More bytes than a block may have.
    TooMuch,
    /// Too short to be a transaction.
    Short,
}

/// One thing that happens.
#[expect(missing_docs, reason = "what each number means, its display says")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction of one or two requests is sent to every replica.
    Send { signing: Signing, requests: Vec<Request>, delivery: Delivery },
    /// The bytes of an earlier transaction come again.
    Replay { back: u8 },
    /// Another proposal is made and looked at by some, and not decided.
    Abandon { proposer: u8, lookers: u8 },
    /// A proposer that does as it likes: everything that waits, in another order, and rubbish.
    Byzantine { order: u8, rubbish: Rubbish },
    /// A block is proposed, decided and executed by all.
    Decide { proposer: u8, lookers: u8, seconds: i64, crash: Option<(u8, Crash)> },
    /// Blocks without transactions; what waits goes on waiting.
    Wait { blocks: u8 },
    /// A new replica takes the place of one, from a snapshot of another.
    Join { giver: u8, place: u8, altered: bool },
}

/// The first seed of a long life: a chain that begins with the first format, has quotas, and comes to every format by vote.
pub const LIVES_FROM: u64 = 1 << 32;

/// Events, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Format of the state at genesis.
    pub(super) first_format: u32,
    /// Whether genesis bounds the bytes that each account pays for.
    pub(super) has_quotas: bool,
    pub(super) events: Vec<Event>,
}

impl Script {
    /// The script of a seed.
    pub fn of_seed(seed: u64) -> Self {
        generate::script(seed)
    }

    /// The same of the formats that follow: with `later` 1, from the second on where it was from the first, and so on.
    pub(super) fn in_formats_later(mut self, later: u32) -> Self {
        self.first_format += later;
        for event in &mut self.events {
            let Event::Send { requests, .. } = event else { continue };
            for request in requests {
                if let Request::Propose { decision: Decision::Upgrade { version: version @ 2.., .. }, .. } = request {
                    *version += later;
                }
            }
        }
        self
    }
}
