use proptest::prelude::*;

use super::*;

fn document(version: u32) -> Document {
    Document::new(RecordId::new([3; 32]), version)
}

/// Lengths around every border of a chunk.
const LENGTHS: [usize; 9] = [
    0,
    1,
    15,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    2 * CHUNK_BYTES - 1,
    2 * CHUNK_BYTES,
    3 * CHUNK_BYTES + 7,
];

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 31 % 251) as u8).collect()
}

/// The chunks of a sealed body, without the nonce prefix.
fn chunks(sealed: &[u8]) -> Vec<Vec<u8>> {
    sealed[NONCE_PREFIX_BYTES..].chunks(CHUNK_BYTES + TAG_BYTES).map(<[u8]>::to_vec).collect()
}

fn join(prefix: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    [&prefix[..NONCE_PREFIX_BYTES], &chunks.concat()].concat()
}

#[test]
fn what_is_sealed_opens() {
    for length in LENGTHS {
        let key = DocumentKey::random();
        let sealed = seal(&document(1), &key, &body(length));
        assert_eq!(open(&document(1), &key, &sealed), Ok(body(length)), "{length}");
    }
}

#[test]
fn reordered_truncated_and_repeated_chunks_are_refused() {
    let key = DocumentKey::random();
    let sealed = seal(&document(1), &key, &body(3 * CHUNK_BYTES + 7));
    let original = chunks(&sealed);
    assert_eq!(original.len(), 4);
    let swapped = [&original[1], &original[0], &original[2], &original[3]].map(Clone::clone);
    let repeated = [&original[0], &original[0], &original[1], &original[2], &original[3]].map(Clone::clone);
    let cases: [(&str, &[Vec<u8>]); 6] = [
        ("swapped", &swapped),
        ("repeated", &repeated),
        ("last dropped", &original[..3]),
        ("first dropped", &original[1..]),
        ("only the last", &original[3..]),
        ("nothing", &[]),
    ];
    for (name, chunks) in cases {
        assert_eq!(open(&document(1), &key, &join(&sealed, chunks)), Err(EnvelopeError::Refused), "{name}");
    }
}

#[test]
fn a_body_of_another_document_version_or_key_is_refused() {
    let key = DocumentKey::random();
    let sealed = seal(&document(1), &key, b"body");
    let other = Document::new(RecordId::new([4; 32]), 1);
    for (document, key) in [(document(2), &key), (other, &key), (document(1), &DocumentKey::random())] {
        assert_eq!(open(&document, key, &sealed), Err(EnvelopeError::Refused));
    }
}

#[test]
fn chunks_of_two_bodies_under_one_key_do_not_mix() {
    let key = DocumentKey::random();
    let [first, second] = [0, 1].map(|_| seal(&document(1), &key, &body(2 * CHUNK_BYTES)));
    let mixed = [chunks(&first)[0].clone(), chunks(&second)[1].clone()];
    assert_eq!(open(&document(1), &key, &join(&first, &mixed)), Err(EnvelopeError::Refused));
}

/// Why a key was not given out.
#[track_caller]
fn refusal(unwrapped: Result<DocumentKey, EnvelopeError>) -> EnvelopeError {
    unwrapped.expect_err("it must not open")
}

#[test]
fn equal_input_is_never_sealed_under_an_equal_nonce() {
    let (key, storage) = (DocumentKey::random(), Secret::random());
    let [first, second] = [0, 1].map(|_| wrap_own(&document(1), &key, &StorageKey::of(&storage)));
    assert_ne!(first.enc, second.enc);
    assert_ne!(first.wrapped, second.wrapped);
    let values = [0, 1].map(|_| ValueKey::of(&storage).seal(b"value", b"place"));
    let [(first_nonce, first), (second_nonce, second)] = [&values[0], &values[1]].map(|value| value.split_at(12));
    assert_ne!(first_nonce, second_nonce);
    assert_ne!(first, second);
    for value in &values {
        assert_eq!(ValueKey::of(&storage).open(value, b"place"), Ok(b"value".to_vec()));
        assert_eq!(ValueKey::of(&storage).open(value, b"elsewhere"), Err(EnvelopeError::Refused));
    }
    let [first, second] = [0, 1].map(|_| seal(&document(1), &key, b"body"));
    assert_ne!(first[..NONCE_PREFIX_BYTES], second[..NONCE_PREFIX_BYTES]);
    assert_ne!(first[NONCE_PREFIX_BYTES..], second[NONCE_PREFIX_BYTES..]);
}

#[test]
fn a_wrap_opens_for_its_recipient_document_and_version_only() {
    let key = DocumentKey::random();
    let sealed = seal(&document(1), &key, b"body");
    let (recipient, stranger) = (EncryptionPair::random(), EncryptionPair::random());
    let storage = Secret::random();

    let own = wrap_own(&document(1), &key, &StorageKey::of(&storage));
    let released = wrap_for(&document(1), &key, &recipient.public()).unwrap();
    assert_eq!(
        open(&document(1), &unwrap_own(&document(1), &own, &StorageKey::of(&storage)).unwrap(), &sealed).unwrap(),
        b"body"
    );
    let opened = unwrap_for(&document(1), &released, &recipient).unwrap();
    assert_eq!(open(&document(1), &opened, &sealed).unwrap(), b"body");

    assert_eq!(refusal(unwrap_own(&document(2), &own, &StorageKey::of(&storage))), EnvelopeError::Refused);
    assert_eq!(refusal(unwrap_own(&document(1), &own, &StorageKey::of(&Secret::random()))), EnvelopeError::Refused);
    assert_eq!(refusal(unwrap_for(&document(2), &released, &recipient)), EnvelopeError::Refused);
    assert_eq!(refusal(unwrap_for(&document(1), &released, &stranger)), EnvelopeError::Refused);
    let relabelled = Wrap { key_id: recipient_key_id(&stranger.public()), ..released.clone() };
    assert_eq!(refusal(unwrap_for(&document(1), &relabelled, &stranger)), EnvelopeError::Refused);
    let downgraded = Wrap { suite: WrapSuite::Storage, ..released.clone() };
    assert_eq!(refusal(unwrap_for(&document(1), &downgraded, &recipient)), EnvelopeError::Refused);
    assert_eq!(refusal(unwrap_own(&document(1), &downgraded, &StorageKey::of(&storage))), EnvelopeError::Refused);
    let upgraded = Wrap { suite: WrapSuite::Hpke, ..own.clone() };
    assert_eq!(refusal(unwrap_own(&document(1), &upgraded, &StorageKey::of(&storage))), EnvelopeError::Refused);
    assert_eq!(refusal(unwrap_for(&document(1), &upgraded, &recipient)), EnvelopeError::Refused);
    let mut key_id = *released.key_id.as_bytes();
    key_id[0] ^= 1;
    let misnamed = Wrap { key_id: Digest::new(key_id), ..released };
    assert_eq!(refusal(unwrap_for(&document(1), &misnamed, &recipient)), EnvelopeError::Refused);
}

#[test]
fn a_wrap_travels_as_json_and_unknown_suites_are_refused() {
    let recipient = EncryptionPair::random();
    let wrap = wrap_for(&document(1), &DocumentKey::random(), &recipient.public()).unwrap();
    let json = serde_json::to_string(&wrap).unwrap();
    assert_eq!(serde_json::from_str::<Wrap>(&json).unwrap(), wrap);
    let unknown = json.replace("careledger/hpke-x25519-sha256-aes-256-gcm/1", "careledger/none/1");
    assert!(serde_json::from_str::<Wrap>(&unknown).is_err());
}

#[test]
fn a_low_order_recipient_key_is_refused() {
    let low_order = EncryptionKey::new([0; 32]);
    let wrap = wrap_for(&document(1), &DocumentKey::random(), &low_order);
    assert_eq!(wrap, Err(EnvelopeError::Recipient));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_bit_is_refused(length in 0..2 * CHUNK_BYTES + 50, position in any::<prop::sample::Index>()) {
        let key = DocumentKey::random();
        let mut sealed = seal(&document(1), &key, &body(length));
        let bit = position.index(sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(open(&document(1), &key, &sealed), Err(EnvelopeError::Refused));
    }

    #[test]
    fn a_truncated_or_extended_body_is_refused(length in 0..2 * CHUNK_BYTES + 50, cut in any::<prop::sample::Index>()) {
        let key = DocumentKey::random();
        let sealed = seal(&document(1), &key, &body(length));
        prop_assert_eq!(open(&document(1), &key, &sealed[..cut.index(sealed.len())]), Err(EnvelopeError::Refused));
        let extended = [sealed.as_slice(), &[0]].concat();
        prop_assert_eq!(open(&document(1), &key, &extended), Err(EnvelopeError::Refused));
    }

    #[test]
    fn a_wrap_with_a_flipped_bit_is_refused(position in 0usize..((32 + 48) * 8)) {
        let pair = EncryptionPair::random();
        let mut wrap = wrap_for(&document(1), &DocumentKey::random(), &pair.public()).unwrap();
        let (byte, mask) = (position / 8, 1 << (position % 8));
        // X25519 ignores the top bit of a public key (RFC 7748 section 5); HPKE's key schedule
        // does not, because it hashes the encapsulated key.
        if byte < 32 { wrap.enc[byte] ^= mask } else { wrap.wrapped[byte - 32] ^= mask }
        prop_assert_eq!(refusal(unwrap_for(&document(1), &wrap, &pair)), EnvelopeError::Refused);
    }
}
