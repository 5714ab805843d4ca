//! What accounts of a simulation ask for.

use super::script::{Actor, Key, Subject};

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
    /// Without sound intervals it is no plan.
    Publish {
        plan: u8,
        is_sound: bool,
    },
    Attest {
        commitment: u8,
    },
    Unattest {
        first: u8,
        second: Option<u8>,
    },
    Cover {
        commitment: u8,
    },
    Prove(Proof),
    /// Without a sound path it is that of another access.
    Dispute {
        subject: Subject,
        sequence: u8,
        index: u8,
        is_sound: bool,
    },
}

/// A proof of eligibility, with a key whose secret simulations know: each of its statements can be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    pub(super) insurer: u8,
    /// Who published the plan.
    pub(super) publisher: u8,
    pub(super) plan: u8,
    pub(super) attested: Which,
    pub(super) enrolled: Which,
    pub(super) event: u8,
    pub(super) period: u8,
    pub(super) claim: u8,
    /// Any second of the day that it is about.
    pub(super) as_of: i64,
    pub(super) until: i64,
    pub(super) flaw: Option<Flaw>,
}

/// Which of the trees that were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// So many before the one that stands when it is signed.
    Back(u8),
    /// This one, counted from 0; the empty one where there was none yet.
    Number(Option<usize>),
}

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    Garbage,
    OfAnother,
    UnknownKey,
}

/// What a request is about: who knows its rule, and who makes its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Identity,
    Keys,
    Consent,
    /// Consent beyond one grant.
    Beyond,
    Records,
    /// Batches, countersignatures, holds.
    Custody,
    Insurance,
    Governance,
}

impl Request {
    pub(super) fn area(&self) -> Area {
        match self {
            Self::Register { .. }
            | Self::Suspend { .. }
            | Self::Enrol { .. }
            | Self::SuspendPractitioner { .. }
            | Self::Open { .. }
            | Self::Claim { .. } => Area::Identity,
            Self::AddKey { .. }
            | Self::RemoveKey { .. }
            | Self::SetGuardians { .. }
            | Self::ApproveRecovery { .. }
            | Self::AttestRecovery { .. }
            | Self::VetoRecovery
            | Self::FinishRecovery { .. } => Area::Keys,
            Self::Ask { .. }
            | Self::Grant { .. }
            | Self::Revoke { .. }
            | Self::Amend { .. }
            | Self::Reinstate { .. }
            | Self::Delegate { .. } => Area::Consent,
            Self::Appoint { .. }
            | Self::BreakGlass { .. }
            | Self::Review { .. }
            | Self::ApproveStanding { .. }
            | Self::WithdrawStanding { .. } => Area::Beyond,
            Self::Anchor { .. } | Self::Supersede { .. } | Self::Mark { .. } | Self::Log { .. } => Area::Records,
            Self::Batch { .. }
            | Self::Extract { .. }
            | Self::AskSignature { .. }
            | Self::Countersign { .. }
            | Self::Shred { .. }
            | Self::Hold { .. }
            | Self::Release { .. } => Area::Custody,
            Self::Publish { .. }
            | Self::Attest { .. }
            | Self::Unattest { .. }
            | Self::Cover { .. }
            | Self::Prove(_)
            | Self::Dispute { .. } => Area::Insurance,
            Self::Propose { .. } | Self::Vote { .. } | Self::Rescind { .. } => Area::Governance,
        }
    }
}
