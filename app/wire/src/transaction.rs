//! Cosmos transactions: `TxRaw` in `SIGN_MODE_DIRECT`, signed by the account that sends every
//! message, and by its sponsor where `fee.payer` names one.
//!
//! Decoding is strict: what a signer did not mean cannot ride along. Whether a key is the account's,
//! the signatures, the sequence and the expiry are checked against state, by the ledger.

use prost::Message as _;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};

pub use crate::signing::SECP256K1_KEY;
use crate::{
    ids::{Address, TransactionHash},
    message::{Message, MessageError, canonical},
    proto::tx::{AuthInfo, Coin, Fee, ModeInfo, SignDoc, SignerInfo, TxBody, TxRaw, mode_info},
    signing::{PublicKey, Signature},
};

/// `SIGN_MODE_DIRECT` of the Cosmos SDK.
const SIGN_MODE_DIRECT: i32 = 1;
/// `SIGN_MODE_UNSPECIFIED` of the Cosmos SDK.
const SIGN_MODE_UNSPECIFIED: i32 = 0;
/// Gas limit that our own clients state. There are no fees: work is bounded by limits and quotas.
pub const GAS_LIMIT: u64 = 200_000;

/// Why bytes are not a transaction. None of these depends on state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Not protobuf, not canonical, or with a field that this ledger does not know.
    #[error("the {0} is not in canonical protobuf encoding, or has an unknown field")]
    NotCanonical(&'static str),
    /// A message is not understood.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// No message at all.
    #[error("a transaction needs at least one message")]
    Empty,
    /// The memo is free text, which must not reach the chain.
    #[error("the memo must be empty: no free text reaches the chain")]
    Memo,
    /// Not one signature in its key's form for the sender, and one for a sponsor.
    #[error("a transaction needs the sender's signature and, where fee.payer names one, the sponsor's")]
    Signers,
    /// A key or mode other than secp256k1 or a passkey and `SIGN_MODE_DIRECT`.
    #[error("a signer needs a secp256k1 key or a passkey, and SIGN_MODE_DIRECT")]
    SignMode,
    /// A fee granter or an amount, or a payer that is no other account.
    #[error("the fee must name no granter, no payer but a sponsor, and carry no amount: there is no token")]
    Fee,
    /// The messages name no sender, or several.
    #[error("every message must name the same sender")]
    Sender,
    /// Unordered without an expiry, with a sequence, or ordered with a time-out in the past's format.
    #[error("an unordered transaction needs timeout_timestamp in whole seconds and sequence 0")]
    Unordered,
    /// The sponsor's part has a sequence, or the sender's has none: only that is used up.
    #[error("a sponsored transaction needs the sender's sequence, and sequence 0 from the sponsor")]
    Sponsored,
}

/// What protects a transaction from being replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The account's next sequence.
    Sequence(u64),
    /// Valid before this time (Unix seconds); the hash is remembered until then.
    UntilTime(i64),
}

/// One who signed a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signatory {
    /// The account that is meant.
    pub account: Address,
    /// The key; whether it is the account's is the ledger's to say.
    pub key: PublicKey,
    /// None in simulations only.
    pub signature: Option<Signature>,
}

/// A transaction that is well formed. Its signatures are not yet checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    hash: TransactionHash,
    messages: Vec<Message>,
    sender: Signatory,
    sponsor: Option<Signatory>,
    replay: Replay,
    timeout_height: u64,
    names_no_coin: bool,
    body_bytes: Vec<u8>,
    auth_info_bytes: Vec<u8>,
}

/// Whether signatures are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Signed,
    Unsigned,
}

impl Transaction {
    /// Reads `TxRaw` bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, TransactionError> {
        Self::read(bytes, Form::Signed)
    }

    /// Reads a transaction to be simulated: as [`Self::decode`], but its signatures may be empty
    /// and its modes unspecified, as CosmJS leaves them.
    pub fn decode_unsigned(bytes: &[u8]) -> Result<Self, TransactionError> {
        Self::read(bytes, Form::Unsigned)
    }

    fn read(bytes: &[u8], form: Form) -> Result<Self, TransactionError> {
        let raw: TxRaw = part(bytes, "transaction")?;
        let body: TxBody = part(&raw.body_bytes, "transaction body")?;
        let auth: AuthInfo = part(&raw.auth_info_bytes, "signer information")?;
        if !body.memo.is_empty() {
            return Err(TransactionError::Memo);
        }
        let payer = payer(auth.fee.as_ref())?;
        let infos = auth.signer_infos.as_slice();
        let (sender_info, sponsor_info) = match (infos, payer) {
            ([sender], None) => (sender, None),
            ([sender, sponsor], Some(payer)) => (sender, Some((payer, sponsor))),
            _ => return Err(TransactionError::Signers),
        };
        if form == Form::Signed && raw.signatures.len() != infos.len() {
            return Err(TransactionError::Signers);
        }
        let messages = body.messages.iter().map(Message::decode).collect::<Result<Vec<_>, _>>()?;
        let account = sender(&messages)?;
        let signature = |place: usize| raw.signatures.get(place).map(Vec::as_slice);
        let sponsor = match sponsor_info {
            Some((payer, _)) if payer == account => return Err(TransactionError::Fee),
            Some((payer, info)) => Some(signatory(payer, info, signature(1), form)?),
            None => None,
        };
        let replay = replay(&body, sender_info.sequence)?;
        let sponsored_in_order =
            matches!(replay, Replay::Sequence(_)) && sponsor_info.is_none_or(|(_, info)| info.sequence == 0);
        if sponsor.is_some() && !sponsored_in_order {
            return Err(TransactionError::Sponsored);
        }
        Ok(Self {
            hash: hash(bytes),
            messages,
            sender: signatory(account, sender_info, signature(0), form)?,
            sponsor,
            replay,
            timeout_height: body.timeout_height,
            names_no_coin: names_no_coin(auth.fee.as_ref()),
            body_bytes: raw.body_bytes,
            auth_info_bytes: raw.auth_info_bytes,
        })
    }

    /// Its hash, as CometBFT names it.
    pub fn hash(&self) -> TransactionHash {
        self.hash
    }

    /// The messages, in order; at least one, all from [`Self::signer`].
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The account that every message names as its sender.
    pub fn signer(&self) -> Address {
        self.sender.account
    }

    /// Whether the fee says nothing besides that it is none: at most one coin, [`DENOMINATION`]. Wallets that cannot
    /// leave it out write one.
    pub fn names_no_coin(&self) -> bool {
        self.names_no_coin
    }

    /// Who sends, with key and signature.
    pub fn sender(&self) -> &Signatory {
        &self.sender
    }

    /// Who answers for the transaction's quota in the sender's place.
    pub fn sponsor(&self) -> Option<&Signatory> {
        self.sponsor.as_ref()
    }

    /// The account whose quota the transaction uses.
    pub fn payer(&self) -> Address {
        self.sponsor.as_ref().map_or(self.sender.account, |sponsor| sponsor.account)
    }

    /// What protects it from being replayed.
    pub fn replay(&self) -> Replay {
        self.replay
    }

    /// Last height at which it is valid; 0 for no limit.
    pub fn timeout_height(&self) -> u64 {
        self.timeout_height
    }

    /// SHA-256 of the sign bytes: what the signature of the account with this number is over.
    pub fn sign_digest(&self, chain_id: &str, account_number: u64) -> [u8; 32] {
        let document = SignDoc {
            body_bytes: self.body_bytes.clone(),
            auth_info_bytes: self.auth_info_bytes.clone(),
            chain_id: chain_id.to_owned(),
            account_number,
        };
        Sha256::digest(document.encode_to_vec()).into()
    }
}

/// SHA-256 of the transaction's bytes.
pub fn hash(bytes: &[u8]) -> TransactionHash {
    TransactionHash::new(Sha256::digest(bytes).into())
}

/// A transaction that waits for its signatures.
#[derive(Debug, Clone)]
pub struct Unsigned {
    body_bytes: Vec<u8>,
    auth: AuthInfo,
    chain_id: String,
    account_number: u64,
}

impl Unsigned {
    /// Prepares `messages` of the owner of `public_key`. The signature covers the chain's id and
    /// the account's number, also where a transaction is unordered: pass those of the ledger.
    pub fn new(
        messages: &[Message],
        public_key: &[u8; 33],
        chain_id: &str,
        account_number: u64,
        replay: Replay,
    ) -> Self {
        Self::with_key(messages, &PublicKey::Secp256k1(*public_key), chain_id, account_number, replay)
    }

    /// Prepares `messages` of the account that they name as their sender; `key` is one of its keys.
    /// The signature covers the chain's id and the account's number, also where a transaction is
    /// unordered: pass those of the ledger.
    pub fn with_key(
        messages: &[Message],
        key: &PublicKey,
        chain_id: &str,
        account_number: u64,
        replay: Replay,
    ) -> Self {
        let (sequence, unordered, timeout_timestamp) = match replay {
            Replay::Sequence(sequence) => (sequence, false, None),
            Replay::UntilTime(seconds) => (0, true, Some(Timestamp { seconds, nanos: 0 })),
        };
        let body = TxBody {
            messages: messages.iter().map(Message::to_any).collect(),
            memo: String::new(),
            timeout_height: 0,
            unordered,
            timeout_timestamp,
        };
        let auth = AuthInfo {
            signer_infos: vec![signer_info(key, sequence)],
            fee: Some(Fee { gas_limit: GAS_LIMIT, ..Fee::default() }),
        };
        Self { body_bytes: body.encode_to_vec(), auth, chain_id: chain_id.to_owned(), account_number }
    }

    /// The same, with a sponsor whose quota it uses. The sponsor signs, too:
    /// [`Self::sign_bytes_of`] with the sponsor's account number.
    pub fn sponsored_by(mut self, sponsor: &Address, key: &PublicKey) -> Self {
        self.auth.signer_infos.push(signer_info(key, 0));
        self.auth.fee = Some(Fee { gas_limit: GAS_LIMIT, payer: sponsor.to_string(), ..Fee::default() });
        self
    }

    /// The bytes whose SHA-256 the sender signs.
    pub fn sign_bytes(&self) -> Vec<u8> {
        self.sign_bytes_of(self.account_number)
    }

    /// The bytes whose SHA-256 the account with this number signs.
    pub fn sign_bytes_of(&self, account_number: u64) -> Vec<u8> {
        SignDoc {
            body_bytes: self.body_bytes.clone(),
            auth_info_bytes: self.auth.encode_to_vec(),
            chain_id: self.chain_id.clone(),
            account_number,
        }
        .encode_to_vec()
    }

    /// The transaction's bytes with its sender's signature: compact, low s.
    pub fn signed(self, signature: [u8; 64]) -> Vec<u8> {
        self.signed_by(&[Signature::Secp256k1(signature)])
    }

    /// The transaction's bytes with its signatures: the sender's, then the sponsor's.
    pub fn signed_by(self, signatures: &[Signature]) -> Vec<u8> {
        TxRaw {
            body_bytes: self.body_bytes,
            auth_info_bytes: self.auth.encode_to_vec(),
            signatures: signatures.iter().map(Signature::encode).collect(),
        }
        .encode_to_vec()
    }
}

fn signer_info(key: &PublicKey, sequence: u64) -> SignerInfo {
    let mode = mode_info::Single { mode: SIGN_MODE_DIRECT };
    SignerInfo {
        public_key: Some(key.to_any()),
        mode_info: Some(ModeInfo { sum: Some(mode_info::Sum::Single(mode)) }),
        sequence,
    }
}

fn part<M: prost::Message + Default>(bytes: &[u8], name: &'static str) -> Result<M, TransactionError> {
    canonical(bytes).map_err(|_| TransactionError::NotCanonical(name))
}

/// The one sender of all messages.
fn sender(messages: &[Message]) -> Result<Address, TransactionError> {
    let first = messages.first().ok_or(TransactionError::Empty)?.sender();
    if messages.iter().any(|message| message.sender() != first) {
        return Err(TransactionError::Sender);
    }
    first.parse().map_err(|_| TransactionError::Sender)
}

/// The one coin that a fee of nothing may name: there is none, and wallets want a word.
pub const DENOMINATION: &str = "ucare";

fn names_no_coin(fee: Option<&Fee>) -> bool {
    fee.is_none_or(|fee| fee.amount.len() <= 1 && fee.amount.iter().all(|coin| coin.denom == DENOMINATION))
}

/// The sponsor that the fee names.
fn payer(fee: Option<&Fee>) -> Result<Option<Address>, TransactionError> {
    let Some(fee) = fee else { return Ok(None) };
    let no_amount = |coin: &Coin| coin.amount == "0";
    if !fee.granter.is_empty() || !fee.amount.iter().all(no_amount) {
        return Err(TransactionError::Fee);
    }
    if fee.payer.is_empty() { Ok(None) } else { fee.payer.parse().map(Some).map_err(|_| TransactionError::Fee) }
}

fn signatory(
    account: Address,
    info: &SignerInfo,
    signature: Option<&[u8]>,
    form: Form,
) -> Result<Signatory, TransactionError> {
    let Some(ModeInfo { sum: Some(mode_info::Sum::Single(single)) }) = &info.mode_info else {
        return Err(TransactionError::SignMode);
    };
    let is_direct = single.mode == SIGN_MODE_DIRECT;
    let is_open = form == Form::Unsigned && single.mode == SIGN_MODE_UNSPECIFIED;
    let any = info.public_key.as_ref().filter(|_| is_direct || is_open);
    let key = any.and_then(PublicKey::from_any).ok_or(TransactionError::SignMode)?;
    let signature = match form {
        Form::Unsigned => None,
        Form::Signed => {
            let read = signature.and_then(|bytes| Signature::decode(key.kind(), bytes));
            Some(read.ok_or(TransactionError::Signers)?)
        }
    };
    Ok(Signatory { account, key, signature })
}

fn replay(body: &TxBody, sequence: u64) -> Result<Replay, TransactionError> {
    match (body.unordered, &body.timeout_timestamp) {
        (false, None) => Ok(Replay::Sequence(sequence)),
        (true, Some(time)) if sequence == 0 && time.nanos == 0 && time.seconds > 0 => {
            Ok(Replay::UntilTime(time.seconds))
        }
        _ => Err(TransactionError::Unordered),
    }
}

#[cfg(test)]
mod tests;
