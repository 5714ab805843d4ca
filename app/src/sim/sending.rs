//! Requests as signed transactions.

use careledger_wire::{
    message::Message,
    signing::{PublicKey, Signature},
    transaction::{self, Unsigned, hash},
};

use super::{
    model::{Replay, Sent},
    network::{CHAIN, Network, START, Waiting},
    script::{Actor, Delivery, Key, Proof, Request, Signing, Which},
};
use crate::wallet::Signer;

impl Network {
    /// The key pair of a key. Every key has one, also of what is no account yet.
    pub(super) fn signer(&self, key: Key) -> &Signer {
        self.signers.get(&key).expect("a network makes the keys of all actors at its beginning")
    }

    /// Whose own key is no longer one of the account's signs with one that is: nobody goes on with
    /// what does not work.
    fn usable(&self, actor: Actor, key: Key) -> Key {
        let keys = self.model.accounts.get(&actor).map(|account| &account.keys);
        let other = keys.filter(|keys| key == Key::Of(actor) && !keys.contains_key(&key));
        other.and_then(|keys| keys.keys().next().copied()).unwrap_or(key)
    }

    fn number(&self, actor: Actor) -> u64 {
        self.model.accounts.get(&actor).map_or(0, |account| account.number)
    }

    /// The transaction as its sender makes it now, and how often it comes.
    pub(super) fn sign(&self, signing: Signing, requests: &[Request], delivery: Delivery) -> (Waiting, u8) {
        let Signing { actor, sponsor, is_sponsored, .. } = signing;
        let key = self.usable(actor, signing.key);
        let waiting = self.pool.iter().filter(|other| other.sent.actor == actor && other.sent.is_sound);
        let ahead = waiting.filter(|other| matches!(other.sent.replay, Replay::Sequence(_))).count() as u64;
        let sequence = self.model.accounts.get(&actor).map_or(0, |account| account.sequence + ahead);
        let replay = match delivery {
            Delivery::StaleSequence => Replay::Sequence(sequence.saturating_sub(1)),
            Delivery::NextButOneSequence => Replay::Sequence(sequence + 1),
            Delivery::Unordered { until } => Replay::Until(until),
            _ => Replay::Sequence(sequence),
        };
        let signed_for = match replay {
            Replay::Sequence(sequence) => transaction::Replay::Sequence(sequence),
            Replay::Until(until) => transaction::Replay::UntilTime(START + until),
        };
        let chain = if delivery == Delivery::AnotherChain { "careledger-dev-other" } else { CHAIN };
        let requests: Vec<Request> = requests.iter().map(|request| self.named(*request)).collect();
        let messages: Vec<Message> = requests.iter().map(|request| self.message(actor, *request)).collect();
        let (number, public) = (self.number(actor), |key| PublicKey::Secp256k1(self.signer(key).public_key()));
        let mut unsigned = Unsigned::with_key(&messages, &public(key), chain, number, signed_for);
        if let Some(sponsor) = sponsor {
            let address = self.signer(Key::Of(sponsor)).address();
            unsigned = unsigned.sponsored_by(&address, &public(Key::Of(sponsor)));
        }
        // Any other key than the right one.
        let another = if key == Key::Spare(0) { Key::Spare(1) } else { Key::Spare(0) };
        let with = if delivery == Delivery::AnothersSignature { another } else { key };
        let mut signatures = vec![self.signature(with, &unsigned, number)];
        if let Some(sponsor) = sponsor {
            let with = if is_sponsored { Key::Of(sponsor) } else { key };
            signatures.push(self.signature(with, &unsigned, self.number(sponsor)));
        }
        let mut bytes = unsigned.signed_by(&signatures);
        if delivery == Delivery::Torn {
            bytes.truncate(bytes.len() * 2 / 3);
        }
        let is_whole = !matches!(delivery, Delivery::AnotherChain | Delivery::AnothersSignature | Delivery::Torn);
        let identity = u64::from_be_bytes(*hash(&bytes).as_bytes().first_chunk().expect("a hash is longer"));
        let sponsor = sponsor.map(|sponsor| (sponsor, self.number(sponsor)));
        let is_sound = is_whole && (is_sponsored || sponsor.is_none());
        let size = bytes.len() as u64;
        let sent = Sent { identity, actor, key, requests, number, replay, sponsor, is_sound, size };
        (Waiting { bytes, sent }, if delivery == Delivery::Twice { 2 } else { 1 })
    }

    /// A proof names the trees that stand when it is signed, or stood before, whatever comes until its block.
    fn named(&self, request: Request) -> Request {
        let Request::Prove(proof) = request else { return request };
        let enrolments = self.model.enrolments.get(&proof.insurer);
        Request::Prove(Proof {
            attested: self.model.attestations.number(proof.attested),
            enrolled: enrolments.map_or(Which::Number(None), |tree| tree.number(proof.enrolled)),
            ..proof
        })
    }

    fn signature(&self, key: Key, unsigned: &Unsigned, number: u64) -> Signature {
        Signature::Secp256k1(self.signer(key).sign_bytes(&unsigned.sign_bytes_of(number)))
    }
}
