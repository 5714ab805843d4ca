//! What happens in a simulation: who sends what, and what goes wrong.

use super::generate;

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

/// What registrars vote on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Bits of [`REGISTRARS`], and how many must agree.
    Registrars {
        set: u8,
        threshold: u8,
    },
    Validator {
        key: u8,
        power: u64,
    },
    OffencesTolerated(u64),
    UnorderedSeconds(u64),
    ProposalSeconds(u64),
    /// Height 0 calls it off.
    Upgrade {
        version: u32,
        height: u64,
    },
}

/// What is asked for. Ends are seconds after genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    Register {
        organization: u8,
        content: u8,
        until: i64,
        emergency: bool,
    },
    Suspend {
        organization: u8,
    },
    Enrol {
        practitioner: u8,
        until: i64,
    },
    SuspendPractitioner {
        practitioner: u8,
    },
    Open {
        patient: u8,
    },
    Claim {
        subject: Subject,
    },
    AddKey {
        key: Key,
        is_full: bool,
        is_proven: bool,
    },
    RemoveKey {
        key: Key,
    },
    SetGuardians {
        guardians: [Actor; 2],
        threshold: u8,
        delay: i64,
    },
    ApproveRecovery {
        account: Actor,
        key: Key,
    },
    AttestRecovery {
        account: Actor,
        key: Key,
    },
    VetoRecovery,
    FinishRecovery {
        account: Actor,
        key: Key,
        is_proven: bool,
    },
    Ask {
        subject: Subject,
        request: u8,
        until: i64,
        standing: Option<u8>,
        terms: u8,
    },
    Grant {
        subject: Subject,
        grant: u8,
        grantee: u8,
        from: i64,
        until: i64,
        request: Option<u8>,
        delegable: bool,
    },
    Revoke {
        subject: Subject,
        grant: u8,
    },
    Amend {
        subject: Subject,
        grant: u8,
        version: u8,
        from: i64,
        until: i64,
        delegable: bool,
    },
    Reinstate {
        subject: Subject,
        grant: u8,
    },
    Delegate {
        subject: Subject,
        parent: u8,
        grant: u8,
        grantee: u8,
        from: i64,
        until: i64,
    },
    Appoint {
        subject: Subject,
        guardian: u8,
        until: i64,
        evidence: u8,
    },
    BreakGlass {
        subject: Subject,
        emergency: u8,
        practitioner: u8,
    },
    Review {
        subject: Subject,
        emergency: u8,
    },
    ApproveStanding {
        subject: Subject,
        standing: u8,
        grantee: u8,
        terms: u8,
        until: i64,
        uses: u8,
    },
    WithdrawStanding {
        subject: Subject,
        standing: u8,
    },
    Anchor {
        record: u8,
        another: u8,
    },
    Supersede {
        record: u8,
        version: u8,
    },
    Mark {
        record: u8,
        version: u8,
    },
    Batch {
        batch: u8,
    },
    /// Without a sound path it is that of another record.
    Extract {
        batch: u8,
        index: u8,
        is_sound: bool,
    },
    AskSignature {
        record: u8,
        version: u8,
        countersigner: u8,
        until: i64,
    },
    Countersign {
        organization: u8,
        record: u8,
        version: u8,
    },
    Shred {
        record: u8,
    },
    Hold {
        organization: u8,
        record: u8,
    },
    Release {
        organization: u8,
        record: u8,
    },
    Log {
        sequence: u8,
        from: i64,
        to: i64,
    },
    Propose {
        proposal: u8,
        until: i64,
        decision: Decision,
    },
    Vote {
        proposal: u8,
    },
    Rescind {
        proposal: u8,
    },
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
    /// A new replica takes the place of one, from a snapshot of another.
    Join { giver: u8, place: u8, altered: bool },
}

/// Events, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Format of the state at genesis.
    pub(super) first_format: u32,
    pub(super) events: Vec<Event>,
}

impl Script {
    /// The script of a seed.
    pub fn of_seed(seed: u64) -> Self {
        generate::script(seed)
    }
}
