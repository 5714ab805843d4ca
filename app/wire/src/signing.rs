//! Keys and signatures: what signs, and in which form a transaction carries it.

use prost::Message as _;
use prost_types::Any;

use crate::{
    ids::Address,
    message::canonical,
    proto::{accounts::KeyKind, crypto, tx},
};

/// Type URL of a secp256k1 key, as Cosmos wallets sign with.
pub const SECP256K1_KEY: &str = "/cosmos.crypto.secp256k1.PubKey";
/// Type URL of a passkey.
pub const WEBAUTHN_P256_KEY: &str = "/careledger.crypto.v1.WebAuthnP256PubKey";
/// Longest authenticator data of an assertion, bytes. Without extensions it has 37.
pub const AUTHENTICATOR_DATA_BYTES_MAX: usize = 256;
/// Longest client data of an assertion, bytes. Browsers write about 150.
pub const CLIENT_DATA_BYTES_MAX: usize = 1_024;

/// A public key of a known kind, 33 bytes. Whether they are a point of its curve shows when a
/// signature is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PublicKey {
    /// Compressed.
    Secp256k1([u8; 33]),
    /// A passkey's, compressed.
    WebAuthnP256([u8; 33]),
}

impl PublicKey {
    /// The key of this kind and these bytes.
    pub fn new(kind: KeyKind, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.try_into().ok()?;
        match kind {
            KeyKind::Unspecified => None,
            KeyKind::Secp256k1 => Some(Self::Secp256k1(bytes)),
            KeyKind::WebauthnP256 => Some(Self::WebAuthnP256(bytes)),
        }
    }

    /// Its kind.
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Secp256k1(_) => KeyKind::Secp256k1,
            Self::WebAuthnP256(_) => KeyKind::WebauthnP256,
        }
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        match self {
            Self::Secp256k1(bytes) | Self::WebAuthnP256(bytes) => bytes,
        }
    }

    /// Whether the bytes are the one encoding that counts, SEC1's compressed form: there is a second of 33 bytes
    /// ("compact", SEC1 draft extension), which libraries read as the same point.
    pub const fn is_compressed(&self) -> bool {
        matches!(self.as_bytes()[0], 2 | 3)
    }

    /// The address of an account whose first key this is.
    pub fn address(&self) -> Address {
        match self {
            Self::Secp256k1(bytes) => Address::of_key(bytes),
            Self::WebAuthnP256(bytes) => Address::of_passkey(bytes),
        }
    }

    /// The key as a transaction and a `BaseAccount` carry it.
    pub fn to_any(&self) -> Any {
        let key = self.as_bytes().to_vec();
        match self {
            Self::Secp256k1(_) => {
                Any { type_url: SECP256K1_KEY.to_owned(), value: tx::PublicKey { key }.encode_to_vec() }
            }
            Self::WebAuthnP256(_) => Any {
                type_url: WEBAUTHN_P256_KEY.to_owned(),
                value: crypto::WebAuthnP256PubKey { key }.encode_to_vec(),
            },
        }
    }

    /// Reads a key as a transaction carries it; strictly.
    pub fn from_any(any: &Any) -> Option<Self> {
        match any.type_url.as_str() {
            SECP256K1_KEY => {
                canonical(&any.value).ok().and_then(|key: tx::PublicKey| Self::new(KeyKind::Secp256k1, &key.key))
            }
            WEBAUTHN_P256_KEY => canonical(&any.value)
                .ok()
                .and_then(|key: crypto::WebAuthnP256PubKey| Self::new(KeyKind::WebauthnP256, &key.key)),
            _ => None,
        }
    }
}

/// What a passkey gives for a challenge. Bounded; not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// As the authenticator made it.
    pub authenticator_data: Vec<u8>,
    /// `clientDataJSON`, as the browser made it.
    pub client_data: Vec<u8>,
    /// ECDSA over P-256, r then s.
    pub signature: [u8; 64],
}

/// A signature of a known kind. Not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// Compact ECDSA, r then s.
    Secp256k1([u8; 64]),
    /// A passkey's assertion.
    WebAuthnP256(Assertion),
}

impl Signature {
    /// Reads a signature of a key of this kind; strictly.
    pub fn decode(kind: KeyKind, bytes: &[u8]) -> Option<Self> {
        match kind {
            KeyKind::Unspecified => None,
            KeyKind::Secp256k1 => bytes.try_into().ok().map(Self::Secp256k1),
            KeyKind::WebauthnP256 => {
                let signature: crypto::WebAuthnSignature = canonical(bytes).ok()?;
                let fits = signature.authenticator_data.len() <= AUTHENTICATOR_DATA_BYTES_MAX
                    && signature.client_data_json.len() <= CLIENT_DATA_BYTES_MAX;
                let assertion = Assertion {
                    signature: signature.signature.try_into().ok()?,
                    authenticator_data: signature.authenticator_data,
                    client_data: signature.client_data_json,
                };
                fits.then_some(Self::WebAuthnP256(assertion))
            }
        }
    }

    /// The signature's bytes in a transaction.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Secp256k1(bytes) => bytes.to_vec(),
            Self::WebAuthnP256(assertion) => crypto::WebAuthnSignature {
                authenticator_data: assertion.authenticator_data.clone(),
                client_data_json: assertion.client_data.clone(),
                signature: assertion.signature.to_vec(),
            }
            .encode_to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assertion(authenticator_data: usize, client_data: usize) -> Signature {
        Signature::WebAuthnP256(Assertion {
            authenticator_data: vec![1; authenticator_data],
            client_data: vec![2; client_data],
            signature: [3; 64],
        })
    }

    #[test]
    fn a_key_has_one_encoding_and_one_address() {
        for key in [PublicKey::Secp256k1([2; 33]), PublicKey::WebAuthnP256([2; 33])] {
            assert_eq!(PublicKey::from_any(&key.to_any()), Some(key));
            assert_eq!(PublicKey::new(key.kind(), key.as_bytes()), Some(key));
            let mut any = key.to_any();
            any.value.extend([0x78, 0x01]);
            assert_eq!(PublicKey::from_any(&any), None, "an unknown field");
            assert_eq!(PublicKey::new(key.kind(), &[2; 32]), None);
        }
        assert_eq!(PublicKey::new(KeyKind::Unspecified, &[2; 33]), None);
        let other = Any { type_url: "/cosmos.crypto.ed25519.PubKey".to_owned(), value: Vec::new() };
        assert_eq!(PublicKey::from_any(&other), None);
        assert_ne!(PublicKey::Secp256k1([2; 33]).address(), PublicKey::WebAuthnP256([2; 33]).address());
    }

    #[test]
    fn a_passkeys_signature_is_read_strictly_and_bounded() {
        let longest = assertion(AUTHENTICATOR_DATA_BYTES_MAX, CLIENT_DATA_BYTES_MAX);
        for signature in [assertion(37, 150), longest] {
            assert_eq!(Signature::decode(KeyKind::WebauthnP256, &signature.encode()), Some(signature));
        }
        let mut trailing = assertion(37, 150).encode();
        trailing.push(0);
        let mut unknown = assertion(37, 150).encode();
        unknown.extend([0x78, 0x01]);
        let raw = |signature: usize| crypto::WebAuthnSignature {
            authenticator_data: vec![1; 37],
            client_data_json: vec![2; 150],
            signature: vec![3; signature],
        };
        let refused = [
            trailing,
            unknown,
            assertion(AUTHENTICATOR_DATA_BYTES_MAX + 1, 150).encode(),
            assertion(37, CLIENT_DATA_BYTES_MAX + 1).encode(),
            raw(63).encode_to_vec(),
            raw(65).encode_to_vec(),
            vec![3; 64],
            Vec::new(),
        ];
        for (number, bytes) in refused.iter().enumerate() {
            assert_eq!(Signature::decode(KeyKind::WebauthnP256, bytes), None, "case {number}");
        }
        assert_eq!(Signature::decode(KeyKind::Secp256k1, &[3; 65]), None);
        assert_eq!(Signature::decode(KeyKind::Unspecified, &[3; 64]), None);
    }
}
