//! Requests as messages.

pub(super) mod custody;
mod governance;
pub(super) mod insurance;

use careledger_wire::{
    access_log, commitment,
    ids::{SubjectId, ValidatorKey},
    message::Message,
    proto::{
        accounts::{
            KeyAuthority, KeyKind, MsgAddKey, MsgApproveRecovery, MsgAttestRecovery, MsgFinishRecovery, MsgRemoveKey,
            MsgSetGuardians, MsgVetoRecovery,
        },
        audit::MsgAnchorAccessLog,
        consent::{
            ConsentMode, EmergencyReason, MsgAmendConsent, MsgAppointGuardian, MsgApproveStanding, MsgBreakGlass,
            MsgDelegateConsent, MsgGrantConsent, MsgReinstateConsent, MsgRequestAccess, MsgReviewEmergency,
            MsgRevokeConsent, MsgWithdrawStanding, ReviewOutcome,
        },
        governance::MsgSuspendPractitioner,
        identity::{
            MsgClaimSubject, MsgEnrolPractitioner, MsgOpenSubject, MsgRegisterOrganization, MsgSuspendOrganization,
            OrganizationKind, PractitionerRole, SuspensionReason,
        },
        records::{Anchor, MsgAnchorRecords, MsgMarkEnteredInError, MsgSupersedeRecords, Supersession},
    },
};

use super::{
    model::{AUTOMATIC_SECONDS, Kind, kind},
    network::{CHAIN, Network, START},
    request::Area,
    script::{AUTOMATIC_FROM, Actor, Key, LOGGED, Request, Subject},
};

impl Network {
    pub(super) fn address(&self, actor: Actor) -> Vec<u8> {
        self.signer(Key::Of(actor)).address().to_vec()
    }

    fn organization(&self, number: u8) -> Vec<u8> {
        self.address(Actor::Organization(number))
    }

    pub(super) fn subject(&self, subject: Subject) -> SubjectId {
        let organization = self.signer(Key::Of(Actor::Organization(subject.organization))).address();
        let patient = self.signer(Key::Of(Actor::Patient(subject.patient))).address();
        commitment::subject_id(&organization, &patient)
    }

    pub(super) fn message(&self, actor: Actor, request: Request) -> Message {
        let sender = self.signer(Key::Of(actor)).address().to_string();
        match request.area() {
            Area::Identity => self.identity_message(sender, request),
            Area::Keys => self.keys_message(sender, actor, request),
            Area::Consent => self.consent_message(sender, request),
            Area::Beyond => self.beyond_message(sender, request),
            Area::Records => record_message(sender, request),
            Area::Custody => self.custody_message(sender, request),
            Area::Insurance => self.insurance_message(sender, actor, request),
            Area::Governance => self.governance_message(sender, request),
        }
    }

    fn identity_message(&self, sender: String, request: Request) -> Message {
        match request {
            Request::Register { organization, content, until, emergency } => MsgRegisterOrganization {
                sender,
                organization: self.organization(organization),
                kind: kind_of(organization, content).into(),
                encryption_key: vec![7; 32],
                evidence: vec![content + 1; 32],
                expires_at: START + until,
                emergency,
            }
            .into(),
            Request::Suspend { organization } => MsgSuspendOrganization {
                sender,
                organization: self.organization(organization),
                reason: SuspensionReason::UnderInvestigation.into(),
            }
            .into(),
            Request::Enrol { practitioner, until } => MsgEnrolPractitioner {
                sender,
                practitioner: self.address(Actor::Practitioner(practitioner)),
                role: PractitionerRole::Physician.into(),
                qualification: vec![9; 32],
                expires_at: START + until,
                binding: None,
            }
            .into(),
            Request::SuspendPractitioner { practitioner } => {
                let practitioner = self.address(Actor::Practitioner(practitioner));
                MsgSuspendPractitioner { sender, practitioner }.into()
            }
            Request::Open { patient } => {
                MsgOpenSubject { sender, claimant: self.address(Actor::Patient(patient)), binding: None }.into()
            }
            Request::Claim { subject } => {
                MsgClaimSubject { sender, subject: self.subject(subject).to_vec(), encryption_key: vec![8; 32] }.into()
            }
            other => unknown(other),
        }
    }

    /// The key's proof that it wants to be the account's; another account's where it shall not hold.
    fn possession(&self, key: Key, account: Actor, is_proven: bool) -> Vec<u8> {
        let of = if is_proven { account } else { Actor::Registrar(if account == Actor::Registrar(0) { 1 } else { 0 }) };
        let address = self.signer(Key::Of(of)).address();
        self.signer(key).prove_possession(CHAIN, &address).to_vec()
    }

    fn keys_message(&self, sender: String, actor: Actor, request: Request) -> Message {
        let kind = KeyKind::Secp256k1.into();
        let bytes = |key| self.signer(key).public_key().to_vec();
        match request {
            Request::AddKey { key, is_full, is_proven } => MsgAddKey {
                sender,
                kind,
                key: bytes(key),
                authority: if is_full { KeyAuthority::Full } else { KeyAuthority::Device }.into(),
                possession: self.possession(key, actor, is_proven),
            }
            .into(),
            Request::RemoveKey { key } => MsgRemoveKey { sender, kind, key: bytes(key) }.into(),
            Request::SetGuardians { guardians, threshold, delay } => MsgSetGuardians {
                sender,
                guardians: guardians.map(|guardian| self.address(guardian)).to_vec(),
                threshold: threshold.into(),
                delay_seconds: delay,
            }
            .into(),
            Request::ApproveRecovery { account, key } => {
                MsgApproveRecovery { sender, account: self.address(account), kind, key: bytes(key) }.into()
            }
            Request::AttestRecovery { account, key } => {
                MsgAttestRecovery { sender, account: self.address(account), kind, key: bytes(key) }.into()
            }
            Request::FinishRecovery { account, key, is_proven } => {
                let possession = self.possession(key, account, is_proven);
                MsgFinishRecovery { sender, account: self.address(account), kind, key: bytes(key), possession }.into()
            }
            _ => MsgVetoRecovery { sender }.into(),
        }
    }

    fn consent_message(&self, sender: String, request: Request) -> Message {
        let mode = ConsentMode::View.into();
        match request {
            Request::Ask { subject, request, until, standing, terms } => MsgRequestAccess {
                sender,
                subject: self.subject(subject).to_vec(),
                request: id("request", request),
                terms: vec![10 + terms; 32],
                body: vec![2; 32],
                expires_at: START + until,
                standing: standing.map(|standing| id("standing", standing)).unwrap_or_default(),
            }
            .into(),
            Request::Grant { subject, grant, grantee, from, until, request, delegable } => MsgGrantConsent {
                sender,
                subject: self.subject(subject).to_vec(),
                grant: grant_id(grant),
                grantee: self.organization(grantee),
                mode,
                not_before: START + from,
                expires_at: START + until,
                terms: vec![3; 32],
                body: vec![4; 32],
                request: request.map(|request| id("request", request)).unwrap_or_default(),
                delegable,
            }
            .into(),
            Request::Revoke { subject, grant } => {
                MsgRevokeConsent { sender, subject: self.subject(subject).to_vec(), grant: grant_id(grant) }.into()
            }
            Request::Amend { subject, grant, version, from, until, delegable } => MsgAmendConsent {
                sender,
                subject: self.subject(subject).to_vec(),
                grant: grant_id(grant),
                version: version.into(),
                mode,
                not_before: START + from,
                expires_at: START + until,
                terms: vec![3; 32],
                body: vec![4; 32],
                delegable,
            }
            .into(),
            Request::Reinstate { subject, grant } => {
                MsgReinstateConsent { sender, subject: self.subject(subject).to_vec(), grant: grant_id(grant) }.into()
            }
            Request::Delegate { subject, parent, grant, grantee, from, until } => MsgDelegateConsent {
                sender,
                subject: self.subject(subject).to_vec(),
                parent: grant_id(parent),
                grant: grant_id(grant),
                grantee: self.organization(grantee),
                mode,
                not_before: START + from,
                expires_at: START + until,
                terms: vec![3; 32],
                body: vec![4; 32],
            }
            .into(),
            other => unknown(other),
        }
    }

    fn beyond_message(&self, sender: String, request: Request) -> Message {
        match request {
            Request::Appoint { subject, guardian, until, evidence } => MsgAppointGuardian {
                sender,
                subject: self.subject(subject).to_vec(),
                guardian: self.address(Actor::Guardian(guardian)),
                until: START + until,
                evidence: vec![20 + evidence; 32],
                binding: None,
            }
            .into(),
            Request::BreakGlass { subject, emergency, practitioner } => MsgBreakGlass {
                sender,
                subject: self.subject(subject).to_vec(),
                emergency: id("emergency", emergency),
                practitioner: self.address(Actor::Practitioner(practitioner)),
                reason: EmergencyReason::Unconscious.into(),
                seconds: 600,
            }
            .into(),
            Request::Review { subject, emergency } => MsgReviewEmergency {
                sender,
                subject: self.subject(subject).to_vec(),
                emergency: id("emergency", emergency),
                outcome: ReviewOutcome::Justified.into(),
            }
            .into(),
            Request::ApproveStanding { subject, standing, grantee, terms, until, uses } => MsgApproveStanding {
                sender,
                subject: self.subject(subject).to_vec(),
                standing: id("standing", standing),
                grantee: self.organization(grantee),
                mode: ConsentMode::View.into(),
                terms: vec![10 + terms; 32],
                body: vec![2; 32],
                grant_seconds: u32::try_from(AUTOMATIC_SECONDS).expect("a few minutes"),
                expires_at: START + until,
                uses_max: uses.into(),
            }
            .into(),
            Request::WithdrawStanding { subject, standing } => {
                let standing = id("standing", standing);
                MsgWithdrawStanding { sender, subject: self.subject(subject).to_vec(), standing }.into()
            }
            other => unknown(other),
        }
    }
}

fn record_message(sender: String, request: Request) -> Message {
    match request {
        Request::Anchor { record, another } => {
            let anchor = |record| Anchor { record: id("record", record), commitment: commitment_of(record, 1) };
            MsgAnchorRecords { sender, anchors: vec![anchor(record), anchor(another)] }.into()
        }
        Request::Supersede { record, version } => {
            let commitment = commitment_of(record, version);
            let next = Supersession { record: id("record", record), version: version.into(), commitment };
            MsgSupersedeRecords { sender, supersessions: vec![next] }.into()
        }
        Request::Mark { record, version } => {
            MsgMarkEnteredInError { sender, record: id("record", record), version: version.into() }.into()
        }
        Request::Log { sequence, from, to } => MsgAnchorAccessLog {
            sender,
            sequence: sequence.into(),
            root: access_log::root(&insurance::accesses(sequence)).to_vec(),
            count: LOGGED.into(),
            period_start: START + from,
            period_end: START + to,
        }
        .into(),
        other => unknown(other),
    }
}

fn unknown(request: Request) -> Message {
    unreachable!("{request:?} is made elsewhere")
}

/// What an organization of this number that registers with this content is.
pub(super) fn kind_of(organization: u8, content: u8) -> OrganizationKind {
    match kind(organization, content) {
        Kind::Provider => OrganizationKind::Provider,
        Kind::Laboratory => OrganizationKind::Laboratory,
        Kind::Insurer => OrganizationKind::Insurer,
    }
}

/// An id as a key names it.
pub(super) fn named<T: for<'a> TryFrom<&'a [u8]>>(bytes: Vec<u8>) -> T {
    T::try_from(bytes.as_slice()).ok().expect("ids of simulations have 32 bytes")
}

/// The 32 bytes of an id.
pub(super) fn id(kind: &str, number: u8) -> Vec<u8> {
    commitment::hash("careledger/simulation-id/1", &[kind.as_bytes(), &[number]]).to_vec()
}

/// A grant under a standing approval has its request's id.
pub(super) fn grant_id(grant: u8) -> Vec<u8> {
    grant.checked_sub(AUTOMATIC_FROM).map_or_else(|| id("grant", grant), |request| id("request", request))
}

/// The key of a validator.
pub(super) fn validator(key: u8) -> ValidatorKey {
    ValidatorKey::try_from(id("validator", key).as_slice()).expect("an id has 32 bytes")
}

/// What a version of a record commits to.
pub(super) fn commitment_of(record: u8, version: u8) -> Vec<u8> {
    commitment::hash("careledger/simulation-commitment/1", &[&[record, version]]).to_vec()
}
