//! What is built is read, and nothing else is.

use super::*;
use crate::proto::consent::MsgRevokeConsent;
use cosmrs::crypto::secp256k1::SigningKey;
use proptest::prelude::*;

const CHAIN: &str = "careledger-dev-1";

fn signed(replay: Replay) -> Vec<u8> {
    let key = SigningKey::from_slice(&[7; 32]).unwrap();
    let public_key: [u8; 33] = key.public_key().to_bytes().try_into().unwrap();
    let message =
        MsgRevokeConsent { sender: Address::of_key(&public_key).to_string(), subject: vec![1; 32], grant: vec![2; 32] };
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
    let of = |sender: &str| Message::from(MsgRevokeConsent { sender: sender.to_owned(), ..Default::default() });
    let other = of(&Address::new([1; 20]).to_string());

    let cases = [
        (with_body(TxBody { memo: "flu".to_owned(), ..body.clone() }), TransactionError::Memo),
        (with_body(TxBody { messages: vec![], ..body.clone() }), TransactionError::Empty),
        (with_body(TxBody { unordered: true, ..body.clone() }), TransactionError::Unordered),
        (
            with_body(TxBody { messages: vec![body.messages[0].clone(), other.to_any()], ..body.clone() }),
            TransactionError::Sender,
        ),
        (with_body(TxBody { messages: vec![of("alice").to_any()], ..body.clone() }), TransactionError::Sender),
        (with_auth(fee(Fee { amount: vec![coin], ..Fee::default() })), TransactionError::Fee),
        (with_auth(fee(Fee { payer: "care1".to_owned(), ..Fee::default() })), TransactionError::Fee),
        (with_auth(AuthInfo { signer_infos: vec![], ..auth.clone() }), TransactionError::Signers),
        (TxRaw { signatures: vec![], ..raw.clone() }, TransactionError::Signers),
        (TxRaw { signatures: vec![vec![0; 65]], ..raw.clone() }, TransactionError::Signers),
        (with_auth(fee(Fee { payer: Address::new([1; 20]).to_string(), ..Fee::default() })), TransactionError::Signers),
        (with_auth(fee(Fee { granter: Address::new([1; 20]).to_string(), ..Fee::default() })), TransactionError::Fee),
        (unknown_field, TransactionError::NotCanonical("transaction body")),
    ];
    for (changed, expected) in cases {
        assert_eq!(Transaction::decode(&changed.encode_to_vec()), Err(expected));
    }
}

#[test]
fn a_sponsor_signs_beside_the_sender_and_uses_no_sequence() {
    let secret = |byte: u8| SigningKey::from_slice(&[byte; 32]).unwrap();
    let public = |byte: u8| PublicKey::Secp256k1(secret(byte).public_key().to_bytes().try_into().unwrap());
    let (sender, sponsor) = (public(7).address(), public(8).address());
    let message = MsgRevokeConsent { sender: sender.to_string(), subject: vec![1; 32], grant: vec![2; 32] };
    let unsigned = |replay, sponsor: &Address| {
        Unsigned::with_key(&[message.clone().into()], &public(7), CHAIN, 3, replay).sponsored_by(sponsor, &public(8))
    };
    let sign = |unsigned: Unsigned| {
        let signatures = [(7, 3), (8, 4)].map(|(byte, number)| {
            let signature = secret(byte).sign(&unsigned.sign_bytes_of(number)).unwrap().to_bytes();
            Signature::Secp256k1(signature.into())
        });
        unsigned.signed_by(&signatures)
    };
    let bytes = sign(unsigned(Replay::Sequence(2), &sponsor));
    let transaction = Transaction::decode(&bytes).unwrap();
    assert_eq!((transaction.signer(), transaction.payer()), (sender, sponsor));
    assert_eq!(transaction.sponsor().map(|sponsor| sponsor.key), Some(public(8)));

    let raw = TxRaw::decode(&*bytes).unwrap();
    let one_signature = TxRaw { signatures: raw.signatures[..1].to_vec(), ..raw.clone() }.encode_to_vec();
    let auth = AuthInfo::decode(&*raw.auth_info_bytes).unwrap();
    let mut ordered = auth.clone();
    ordered.signer_infos[1].sequence = 1;
    let ordered = TxRaw { auth_info_bytes: ordered.encode_to_vec(), ..raw.clone() }.encode_to_vec();
    let mut unnamed = auth;
    unnamed.fee = None;
    let unnamed = TxRaw { auth_info_bytes: unnamed.encode_to_vec(), ..raw }.encode_to_vec();
    for (bytes, expected) in [
        (one_signature, TransactionError::Signers),
        (unnamed, TransactionError::Signers),
        (ordered, TransactionError::Sponsored),
        (sign(unsigned(Replay::UntilTime(1_800_000_000), &sponsor)), TransactionError::Sponsored),
        (sign(unsigned(Replay::Sequence(2), &sender)), TransactionError::Fee),
    ] {
        assert_eq!(Transaction::decode(&bytes), Err(expected));
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
            prop_assert!(!same || transaction.sender() != before.sender());
        }
    }

    #[test]
    fn a_truncated_transaction_is_refused(length in 0usize..300) {
        let bytes = signed(Replay::Sequence(1));
        let length = length % bytes.len();
        prop_assert!(Transaction::decode(&bytes[..length]).is_err());
    }
}
