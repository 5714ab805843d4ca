//! Requests as signed transactions.

use careledger_wire::{
    commitment,
    ids::SubjectId,
    message::Message,
    proto::{
        consent::{ConsentMode, MsgGrantConsent, MsgRequestAccess, MsgRevokeConsent},
        identity::{
            MsgClaimSubject, MsgOpenSubject, MsgRegisterOrganization, MsgSuspendOrganization, OrganizationKind,
            SuspensionReason,
        },
        records::{Anchor, MsgAnchorRecords, MsgMarkEnteredInError, MsgSupersedeRecords, Supersession},
    },
    transaction::{self, Unsigned, hash},
};

use super::{
    model::{Replay, Sent},
    network::{CHAIN, Network, START, Waiting},
    script::{Actor, Delivery, Request, Subject},
};

impl Network {
    pub(super) fn address(&self, actor: Actor) -> Vec<u8> {
        self.signers[&actor].address().to_vec()
    }

    pub(super) fn subject(&self, subject: Subject) -> SubjectId {
        let organization = self.signers[&Actor::Organization(subject.organization)].address();
        commitment::subject_id(&organization, &self.signers[&Actor::Patient(subject.patient)].address())
    }

    fn message(&self, actor: Actor, request: Request) -> Message {
        let sender = self.signers[&actor].address().to_string();
        let organization = |number| self.address(Actor::Organization(number));
        match request {
            Request::Register { organization: number, content, until } => MsgRegisterOrganization {
                sender,
                organization: organization(number),
                kind: OrganizationKind::Provider.into(),
                encryption_key: vec![7; 32],
                evidence: vec![content + 1; 32],
                expires_at: START + until,
                emergency: false,
            }
            .into(),
            Request::Suspend { organization: number } => MsgSuspendOrganization {
                sender,
                organization: organization(number),
                reason: SuspensionReason::UnderInvestigation.into(),
            }
            .into(),
            Request::Open { patient } => {
                MsgOpenSubject { sender, claimant: self.address(Actor::Patient(patient)), binding: None }.into()
            }
            Request::Claim { subject } => {
                MsgClaimSubject { sender, subject: self.subject(subject).to_vec(), encryption_key: vec![8; 32] }.into()
            }
            Request::Ask { subject, request, until } => MsgRequestAccess {
                sender,
                subject: self.subject(subject).to_vec(),
                request: id("request", request),
                terms: vec![1; 32],
                body: vec![2; 32],
                expires_at: START + until,
                standing: Vec::new(),
            }
            .into(),
            Request::Grant { subject, grant, grantee, from, until, request } => MsgGrantConsent {
                sender,
                subject: self.subject(subject).to_vec(),
                grant: id("grant", grant),
                grantee: organization(grantee),
                mode: ConsentMode::View.into(),
                not_before: START + from,
                expires_at: START + until,
                terms: vec![3; 32],
                body: vec![4; 32],
                request: request.map(|request| id("request", request)).unwrap_or_default(),
                delegable: false,
            }
            .into(),
            Request::Revoke { subject, grant } => {
                MsgRevokeConsent { sender, subject: self.subject(subject).to_vec(), grant: id("grant", grant) }.into()
            }
            Request::Anchor { record, another } => {
                let anchor = |record| Anchor { record: id("record", record), commitment: vec![5; 32] };
                MsgAnchorRecords { sender, anchors: vec![anchor(record), anchor(another)] }.into()
            }
            Request::Supersede { record, version } => {
                let next =
                    Supersession { record: id("record", record), version: version.into(), commitment: vec![6; 32] };
                MsgSupersedeRecords { sender, supersessions: vec![next] }.into()
            }
            Request::Mark { record, version } => {
                MsgMarkEnteredInError { sender, record: id("record", record), version: version.into() }.into()
            }
        }
    }

    /// The transaction as its sender makes it now, and how often it comes.
    pub(super) fn sign(&self, actor: Actor, requests: &[Request], delivery: Delivery) -> (Waiting, u8) {
        let account = self.model.accounts.get(&actor).copied();
        let waiting = self.pool.iter().filter(|other| other.sent.actor == actor && other.sent.is_sound);
        let ahead = waiting.filter(|other| matches!(other.sent.replay, Replay::Sequence(_))).count() as u64;
        let (number, next) = account.map_or((0, 0), |account| (account.number, account.sequence + ahead));
        let replay = match delivery {
            Delivery::StaleSequence => Replay::Sequence(next.saturating_sub(1)),
            Delivery::NextButOneSequence => Replay::Sequence(next + 1),
            Delivery::Unordered { until } => Replay::Until(until),
            _ => Replay::Sequence(next),
        };
        let signed_for = match replay {
            Replay::Sequence(sequence) => transaction::Replay::Sequence(sequence),
            Replay::Until(until) => transaction::Replay::UntilTime(START + until),
        };
        let chain = if delivery == Delivery::AnotherChain { "careledger-dev-other" } else { CHAIN };
        let messages: Vec<Message> = requests.iter().map(|request| self.message(actor, *request)).collect();
        let signer = &self.signers[&actor];
        let unsigned = Unsigned::new(&messages, &signer.public_key(), chain, number, signed_for);
        let other = self.signers.values().find(|other| other.address() != signer.address());
        let with = if delivery == Delivery::AnothersSignature { other.unwrap_or(signer) } else { signer };
        let mut bytes = with.sign(unsigned);
        if delivery == Delivery::Torn {
            bytes.truncate(bytes.len() * 2 / 3);
        }
        let is_sound = !matches!(delivery, Delivery::AnotherChain | Delivery::AnothersSignature | Delivery::Torn);
        let identity = u64::from_be_bytes(*hash(&bytes).as_bytes().first_chunk().expect("a hash is longer"));
        let sent = Sent { identity, actor, requests: requests.to_vec(), number, replay, is_sound };
        (Waiting { bytes, sent }, if delivery == Delivery::Twice { 2 } else { 1 })
    }
}

/// The 32 bytes of an id.
pub(super) fn id(kind: &str, number: u8) -> Vec<u8> {
    commitment::hash("careledger/simulation-id/1", &[kind.as_bytes(), &[number]]).to_vec()
}
