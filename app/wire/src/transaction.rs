//! Cosmos transactions: `TxRaw` in `SIGN_MODE_DIRECT`, one secp256k1 signer.
//!
//! Decoding is strict: what a signer did not mean cannot ride along. Checking the signature, the
//! sequence and the expiry against state is the ledger's.

use prost::Message as _;
use prost_types::{Any, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{
    ids::{Address, TransactionHash},
    message::{Message, MessageError, canonical},
    proto::tx::{AuthInfo, Coin, Fee, ModeInfo, PublicKey, SignDoc, SignerInfo, TxBody, TxRaw, mode_info},
};

/// Type URL of the only key that signs transactions.
pub const SECP256K1_KEY: &str = "/cosmos.crypto.secp256k1.PubKey";
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
    /// Not exactly one signer with one 64-byte signature.
    #[error("a transaction needs exactly one signer and one 64-byte signature")]
    Signers,
    /// A key or mode other than secp256k1 and `SIGN_MODE_DIRECT`.
    #[error("the signer needs a secp256k1 key and SIGN_MODE_DIRECT")]
    SignMode,
    /// A fee payer, a fee granter or an amount.
    #[error("the fee must name no payer and no granter and carry no amount: there is no token")]
    Fee,
    /// A message names a sender who did not sign.
    #[error("the signer is not the sender of every message")]
    Sender,
    /// Unordered without an expiry, with a sequence, or ordered with a time-out in the past's format.
    #[error("an unordered transaction needs timeout_timestamp in whole seconds and sequence 0")]
    Unordered,
}

/// What protects a transaction from being replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The account's next sequence.
    Sequence(u64),
    /// Valid before this time (Unix seconds); the hash is remembered until then.
    UntilTime(i64),
}

/// A transaction that is well formed. Its signature is not yet checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    hash: TransactionHash,
    messages: Vec<Message>,
    signer: Address,
    public_key: [u8; 33],
    signature: [u8; 64],
    replay: Replay,
    timeout_height: u64,
    body_bytes: Vec<u8>,
    auth_info_bytes: Vec<u8>,
}

impl Transaction {
    /// Reads `TxRaw` bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, TransactionError> {
        let raw: TxRaw = part(bytes, "transaction")?;
        let signature = match raw.signatures.as_slice() {
            [one] => one.as_slice().try_into().map_err(|_| TransactionError::Signers)?,
            _ => return Err(TransactionError::Signers),
        };
        Self::from_parts(hash(bytes), raw.body_bytes, raw.auth_info_bytes, signature, &[SIGN_MODE_DIRECT])
    }

    /// Reads a transaction to be simulated: as [`Self::decode`], but its signature may be empty
    /// and its mode unspecified, as CosmJS leaves them.
    pub fn decode_unsigned(bytes: &[u8]) -> Result<Self, TransactionError> {
        let raw: TxRaw = part(bytes, "transaction")?;
        let modes = [SIGN_MODE_UNSPECIFIED, SIGN_MODE_DIRECT];
        Self::from_parts(hash(bytes), raw.body_bytes, raw.auth_info_bytes, [0; 64], &modes)
    }

    fn from_parts(
        hash: TransactionHash,
        body_bytes: Vec<u8>,
        auth_info_bytes: Vec<u8>,
        signature: [u8; 64],
        modes: &[i32],
    ) -> Result<Self, TransactionError> {
        let body: TxBody = part(&body_bytes, "transaction body")?;
        let auth: AuthInfo = part(&auth_info_bytes, "signer information")?;
        if !body.memo.is_empty() {
            return Err(TransactionError::Memo);
        }
        if auth.fee.is_some_and(|fee| !is_free(&fee)) {
            return Err(TransactionError::Fee);
        }
        let [signer_info] = auth.signer_infos.as_slice() else { return Err(TransactionError::Signers) };
        let public_key = public_key(signer_info, modes)?;
        let signer = Address::of_key(&public_key);
        let messages = body.messages.iter().map(Message::decode).collect::<Result<Vec<_>, _>>()?;
        if messages.is_empty() {
            return Err(TransactionError::Empty);
        }
        let sender = signer.to_string();
        if messages.iter().any(|message| message.sender() != sender) {
            return Err(TransactionError::Sender);
        }
        Ok(Self {
            hash,
            messages,
            signer,
            public_key,
            signature,
            replay: replay(&body, signer_info.sequence)?,
            timeout_height: body.timeout_height,
            body_bytes,
            auth_info_bytes,
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

    /// The account that signed, derived from the key in the transaction.
    pub fn signer(&self) -> Address {
        self.signer
    }

    /// Compressed secp256k1 key.
    pub fn public_key(&self) -> &[u8; 33] {
        &self.public_key
    }

    /// Compact signature, r then s.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// What protects it from being replayed.
    pub fn replay(&self) -> Replay {
        self.replay
    }

    /// Last height at which it is valid; 0 for no limit.
    pub fn timeout_height(&self) -> u64 {
        self.timeout_height
    }

    /// SHA-256 of the sign bytes: what the signature is over.
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

/// A transaction that waits for its signature.
#[derive(Debug, Clone)]
pub struct Unsigned {
    body_bytes: Vec<u8>,
    auth_info_bytes: Vec<u8>,
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
        let key = PublicKey { key: public_key.to_vec() };
        let auth = AuthInfo {
            signer_infos: vec![SignerInfo {
                public_key: Some(Any { type_url: SECP256K1_KEY.to_owned(), value: key.encode_to_vec() }),
                mode_info: Some(ModeInfo {
                    sum: Some(mode_info::Sum::Single(mode_info::Single { mode: SIGN_MODE_DIRECT })),
                }),
                sequence,
            }],
            fee: Some(Fee { gas_limit: GAS_LIMIT, ..Fee::default() }),
        };
        Self {
            body_bytes: body.encode_to_vec(),
            auth_info_bytes: auth.encode_to_vec(),
            chain_id: chain_id.to_owned(),
            account_number,
        }
    }

    /// The bytes whose SHA-256 is signed.
    pub fn sign_bytes(&self) -> Vec<u8> {
        SignDoc {
            body_bytes: self.body_bytes.clone(),
            auth_info_bytes: self.auth_info_bytes.clone(),
            chain_id: self.chain_id.clone(),
            account_number: self.account_number,
        }
        .encode_to_vec()
    }

    /// The transaction's bytes with its signature: compact, low s.
    pub fn signed(self, signature: [u8; 64]) -> Vec<u8> {
        TxRaw {
            body_bytes: self.body_bytes,
            auth_info_bytes: self.auth_info_bytes,
            signatures: vec![signature.to_vec()],
        }
        .encode_to_vec()
    }
}

fn part<M: prost::Message + Default>(bytes: &[u8], name: &'static str) -> Result<M, TransactionError> {
    canonical(bytes).map_err(|_| TransactionError::NotCanonical(name))
}

fn is_free(fee: &Fee) -> bool {
    let no_amount = |coin: &Coin| coin.amount == "0";
    fee.payer.is_empty() && fee.granter.is_empty() && fee.amount.iter().all(no_amount)
}

fn public_key(signer: &SignerInfo, modes: &[i32]) -> Result<[u8; 33], TransactionError> {
    let single = matches!(
        &signer.mode_info,
        Some(ModeInfo { sum: Some(mode_info::Sum::Single(single)) }) if modes.contains(&single.mode)
    );
    let any = signer.public_key.as_ref().filter(|any| single && any.type_url == SECP256K1_KEY);
    let any = any.ok_or(TransactionError::SignMode)?;
    let key: PublicKey = part(&any.value, "public key")?;
    key.key.try_into().map_err(|_| TransactionError::SignMode)
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
mod tests {
    use super::*;
    use crate::proto::consent::MsgRevokeConsent;
    use cosmrs::crypto::secp256k1::SigningKey;
    use proptest::prelude::*;

    const CHAIN: &str = "careledger-dev-1";

    fn signed(replay: Replay) -> Vec<u8> {
        let key = SigningKey::from_slice(&[7; 32]).unwrap();
        let public_key: [u8; 33] = key.public_key().to_bytes().try_into().unwrap();
        let message = MsgRevokeConsent {
            sender: Address::of_key(&public_key).to_string(),
            subject: vec![1; 32],
            grant: vec![2; 32],
        };
        let unsigned = Unsigned::new(&[message.into()], &public_key, CHAIN, 3, replay);
        let signature = key.sign(&unsigned.sign_bytes()).unwrap().to_bytes().into();
        unsigned.signed(signature)
    }

    #[test]
    fn what_is_built_is_read() {
        for replay in [Replay::Sequence(0), Replay::Sequence(9), Replay::UntilTime(1_800_000_000)] {
            let bytes = signed(replay);
            let transaction = Transaction::decode(&bytes).unwrap();
            assert_eq!(transaction.replay(), replay);
            assert_eq!(transaction.hash(), hash(&bytes));
            assert_eq!(transaction.messages().len(), 1);
        }
    }

    #[test]
    fn sign_bytes_are_those_of_cosmos() {
        let bytes = signed(Replay::Sequence(4));
        let theirs = cosmrs::Tx::from_bytes(&bytes).unwrap();
        assert_eq!(theirs.auth_info.signer_infos[0].sequence, 4);
        let raw: cosmrs::proto::cosmos::tx::v1beta1::TxRaw = cosmrs::proto::traits::Message::decode(&*bytes).unwrap();
        let document = cosmrs::proto::cosmos::tx::v1beta1::SignDoc {
            body_bytes: raw.body_bytes,
            auth_info_bytes: raw.auth_info_bytes,
            chain_id: CHAIN.to_owned(),
            account_number: 3,
        };
        let expected: [u8; 32] = Sha256::digest(cosmrs::proto::traits::Message::encode_to_vec(&document)).into();
        assert_eq!(Transaction::decode(&bytes).unwrap().sign_digest(CHAIN, 3), expected);
    }

    #[test]
    fn what_the_ledger_does_not_know_is_refused() {
        let raw = TxRaw::decode(&*signed(Replay::Sequence(1))).unwrap();
        let body = TxBody::decode(&*raw.body_bytes).unwrap();
        let auth = AuthInfo::decode(&*raw.auth_info_bytes).unwrap();
        let with_body = |body: TxBody| TxRaw { body_bytes: body.encode_to_vec(), ..raw.clone() };
        let with_auth = |auth: AuthInfo| TxRaw { auth_info_bytes: auth.encode_to_vec(), ..raw.clone() };
        let fee = |fee: Fee| AuthInfo { fee: Some(fee), ..auth.clone() };
        let coin = Coin { denom: "ucare".to_owned(), amount: "1".to_owned() };
        let mut unknown_field = raw.body_bytes.clone();
        unknown_field.extend([0x78, 0x01]);
        let unknown_field = TxRaw { body_bytes: unknown_field, ..raw.clone() };
        let other = MsgRevokeConsent { sender: Address::new([1; 20]).to_string(), ..Default::default() };

        let cases = [
            (with_body(TxBody { memo: "flu".to_owned(), ..body.clone() }), TransactionError::Memo),
            (with_body(TxBody { messages: vec![], ..body.clone() }), TransactionError::Empty),
            (with_body(TxBody { unordered: true, ..body.clone() }), TransactionError::Unordered),
            (
                with_body(TxBody { messages: vec![Message::from(other).to_any()], ..body.clone() }),
                TransactionError::Sender,
            ),
            (with_auth(fee(Fee { amount: vec![coin], ..Fee::default() })), TransactionError::Fee),
            (with_auth(fee(Fee { payer: "care1".to_owned(), ..Fee::default() })), TransactionError::Fee),
            (with_auth(AuthInfo { signer_infos: vec![], ..auth.clone() }), TransactionError::Signers),
            (TxRaw { signatures: vec![], ..raw.clone() }, TransactionError::Signers),
            (TxRaw { signatures: vec![vec![0; 65]], ..raw.clone() }, TransactionError::Signers),
            (unknown_field, TransactionError::NotCanonical("transaction body")),
        ];
        for (changed, expected) in cases {
            assert_eq!(Transaction::decode(&changed.encode_to_vec()), Err(expected));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Transaction::decode(&bytes);
        }

        /// Whatever is changed, the transaction is refused or what was signed has changed.
        #[test]
        fn a_flipped_bit_never_leaves_the_meaning(position in 0usize..4000) {
            let original = signed(Replay::Sequence(1));
            let mut changed = original.clone();
            let bit = position % (changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            if let Ok(transaction) = Transaction::decode(&changed) {
                let before = Transaction::decode(&original).unwrap();
                let same = transaction.sign_digest(CHAIN, 3) == before.sign_digest(CHAIN, 3);
                prop_assert!(!same || transaction.signature() != before.signature());
            }
        }

        #[test]
        fn a_truncated_transaction_is_refused(length in 0usize..300) {
            let bytes = signed(Replay::Sequence(1));
            let length = length % bytes.len();
            prop_assert!(Transaction::decode(&bytes[..length]).is_err());
        }
    }
}
