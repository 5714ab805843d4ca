//! What indexers learn of a transaction: docs/events.md lists every event and its keys.
//!
//! Only identifiers that are on chain anyway; commitments to what is about a person have no event.

use careledger_wire::{
    commitment,
    ids::{Address, ProposalId},
    message::Message,
    transaction::Transaction,
};

use crate::types::Event;

/// The events of a transaction that took effect: for each message the Cosmos SDK's `message`, and
/// one with its identifiers where it has any.
pub fn of(transaction: &Transaction) -> Vec<Event> {
    let signer = transaction.signer();
    let events = transaction.messages().iter().flat_map(|message| {
        let attributes =
            vec![("action".to_owned(), message.type_url().to_owned()), ("sender".to_owned(), signer.to_string())];
        let own = identifiers(&signer, message);
        let own = (!own.is_empty()).then(|| Event {
            kind: kind(message.type_url()),
            attributes: own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        });
        std::iter::once(Event { kind: "message".to_owned(), attributes }).chain(own)
    });
    events.collect()
}

/// `/careledger.consent.v1.MsgGrantConsent` as `grant_consent`.
fn kind(type_url: &str) -> String {
    let name = type_url.rsplit_once(".Msg").map_or(type_url, |(_, name)| name);
    let mut kind = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kind.is_empty() {
            kind.push('_');
        }
        kind.push(letter.to_ascii_lowercase());
    }
    kind
}

type Attributes = Vec<(&'static str, String)>;

fn identifiers(signer: &Address, message: &Message) -> Attributes {
    match message {
        Message::RegisterOrganization(message) => vec![("organization", account(&message.organization))],
        Message::SuspendOrganization(message) => vec![("organization", account(&message.organization))],
        Message::EnrolPractitioner(message) => vec![("practitioner", account(&message.practitioner))],
        Message::OpenSubject(message) => {
            let claimant = Address::try_from(message.claimant.as_slice());
            claimant
                .map(|claimant| ("subject", commitment::subject_id(signer, &claimant).to_string()))
                .into_iter()
                .collect()
        }
        Message::ClaimSubject(message) => vec![("subject", hex::encode(&message.subject))],
        Message::RequestAccess(message) => {
            vec![("subject", hex::encode(&message.subject)), ("request", hex::encode(&message.request))]
        }
        Message::GrantConsent(message) => vec![
            ("subject", hex::encode(&message.subject)),
            ("grant", hex::encode(&message.grant)),
            ("grantee", account(&message.grantee)),
        ],
        Message::RevokeConsent(message) => {
            vec![("subject", hex::encode(&message.subject)), ("grant", hex::encode(&message.grant))]
        }
        Message::AnchorRecords(message) => vec![("count", message.anchors.len().to_string())],
        Message::SupersedeRecords(message) => vec![("count", message.supersessions.len().to_string())],
        Message::MarkEnteredInError(message) => vec![("record", hex::encode(&message.record))],
        Message::AnchorAccessLog(message) => vec![("sequence", message.sequence.to_string())],
        Message::RevokeAttestation(message) => vec![("count", message.commitments.len().to_string())],
        Message::PublishPlan(message) => vec![("policy", hex::encode(&message.policy_id))],
        Message::ProveEligibility(message) => {
            vec![("insurer", account(&message.insurer)), ("claim", hex::encode(&message.claim))]
        }
        other => identifiers_of_consent(signer, other)
            .or_else(|| identifiers_of_governance(other))
            .or_else(|| identifiers_of_accounts(signer, other))
            .unwrap_or_else(|| identifiers_of_records(other)),
    }
}

fn identifiers_of_consent(signer: &Address, message: &Message) -> Option<Attributes> {
    let of = |subject: &[u8], name, id: &[u8]| vec![("subject", hex::encode(subject)), (name, hex::encode(id))];
    Some(match message {
        Message::AmendConsent(message) => of(&message.subject, "grant", &message.grant),
        Message::ReinstateConsent(message) => of(&message.subject, "grant", &message.grant),
        Message::DelegateConsent(message) => {
            let mut attributes = of(&message.subject, "grant", &message.grant);
            attributes.push(("grantee", account(&message.grantee)));
            attributes
        }
        Message::AppointGuardian(message) => vec![("subject", hex::encode(&message.subject))],
        // What a subject's wallet and its custodian watch for: an emergency opened a view.
        Message::BreakGlass(message) => {
            let mut attributes = of(&message.subject, "emergency", &message.emergency);
            attributes.push(("organization", signer.to_string()));
            attributes
        }
        Message::ReviewEmergency(message) => of(&message.subject, "emergency", &message.emergency),
        Message::ApproveStanding(message) => {
            let mut attributes = of(&message.subject, "standing", &message.standing);
            attributes.push(("grantee", account(&message.grantee)));
            attributes
        }
        Message::WithdrawStanding(message) => of(&message.subject, "standing", &message.standing),
        _ => return None,
    })
}

fn identifiers_of_governance(message: &Message) -> Option<Attributes> {
    let proposal = |bytes: &[u8]| {
        let id = ProposalId::try_from(bytes).map(|id| id.to_string()).unwrap_or_default();
        Some(vec![("proposal", id)])
    };
    match message {
        Message::Propose(message) => proposal(&message.proposal),
        Message::Vote(message) => proposal(&message.proposal),
        Message::Rescind(message) => proposal(&message.proposal),
        Message::SuspendPractitioner(message) => Some(vec![("practitioner", account(&message.practitioner))]),
        _ => None,
    }
}

fn identifiers_of_accounts(signer: &Address, message: &Message) -> Option<Attributes> {
    let of = |account: String, key: &[u8]| vec![("account", account), ("key", hex::encode(key))];
    Some(match message {
        Message::AddKey(message) => of(signer.to_string(), &message.key),
        Message::RemoveKey(message) => of(signer.to_string(), &message.key),
        Message::SetGuardians(_) | Message::VetoRecovery(_) => vec![("account", signer.to_string())],
        // What an account's wallet watches for: somebody is about to replace its keys.
        Message::ApproveRecovery(message) => of(account(&message.account), &message.key),
        Message::AttestRecovery(message) => of(account(&message.account), &message.key),
        Message::FinishRecovery(message) => of(account(&message.account), &message.key),
        _ => return None,
    })
}

fn identifiers_of_records(message: &Message) -> Attributes {
    let record = |organization: &[u8], record: &[u8]| {
        vec![("organization", account(organization)), ("record", hex::encode(record))]
    };
    match message {
        Message::AnchorBatch(message) => {
            vec![("batch", hex::encode(&message.root)), ("count", message.count.to_string())]
        }
        Message::ExtractRecord(message) => {
            vec![("batch", hex::encode(&message.batch)), ("record", hex::encode(&message.record))]
        }
        Message::RequestCountersignature(message) => {
            vec![("record", hex::encode(&message.record)), ("countersigner", account(&message.countersigner))]
        }
        Message::GiveCountersignature(message) => record(&message.organization, &message.record),
        Message::ShredRecord(message) => vec![("record", hex::encode(&message.record))],
        Message::SetLegalHold(message) => record(&message.organization, &message.record),
        Message::DisputeAccess(message) => {
            vec![("subject", hex::encode(&message.subject)), ("sequence", message.sequence.to_string())]
        }
        Message::ReleaseLegalHold(message) => record(&message.organization, &message.record),
        _ => Vec::new(),
    }
}

/// The account of a message that took effect, so its address has its length.
fn account(bytes: &[u8]) -> String {
    Address::try_from(bytes).map(|address| address.to_string()).unwrap_or_default()
}
