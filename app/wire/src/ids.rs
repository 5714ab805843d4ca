//! Fixed-size identifiers. Each is a type of its own, so that a grant cannot stand where a
//! subject is expected. All print and parse as lower-case hex, addresses as bech32.

use std::{fmt, str::FromStr};

use bech32::{Bech32, Hrp};
use ripemd::Ripemd160;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// Human-readable part of every CareLedger address (BIP-173).
pub const ADDRESS_PREFIX: &str = "care";

/// A value that is not the identifier it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The bytes have another length.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes that the identifier has.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// The text is not hexadecimal.
    #[error("expected hexadecimal digits")]
    Hex,
    /// The text is not a bech32 address that starts with `care1`.
    #[error("expected a bech32 address that starts with care1")]
    Bech32,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = 32;

            /// The identifier of these bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The bytes as a message field.
            pub fn to_vec(&self) -> Vec<u8> {
                self.0.to_vec()
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                let found = bytes.len();
                bytes.try_into().map(Self).map_err(|_| IdError::Length { expected: 32, found })
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(hex::decode(text).map_err(|_| IdError::Hex)?.as_slice())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// One organization's view of one patient. See [`crate::commitment::subject_id`].
    SubjectId
    /// A consent grant, chosen at random by the patient's wallet.
    GrantId
    /// An access request, chosen at random by the requester.
    RequestId
    /// A view that was opened in an emergency, chosen at random by the organization.
    EmergencyId
    /// A standing approval, chosen at random by the patient's wallet.
    StandingId
    /// A record of one custodian, keyed so that nobody else can derive it.
    RecordId
    /// An insurer's id of one claim.
    ClaimId
    /// A salted commitment.
    Commitment
    /// A SHA-256 or SHA3-256 digest, as the field that holds it says.
    Digest
    /// A BN254 scalar field element, big-endian, canonical where it was checked.
    FieldBytes
    /// Id of a verifying key.
    CircuitId
    /// X25519 public key.
    EncryptionKey
    /// A proposal of the registrars, chosen at random by the proposer.
    ProposalId
    /// Ed25519 public key of a validator.
    ValidatorKey
    /// SHA-256 of a transaction's bytes, as CometBFT names it.
    TransactionHash
}

/// An account. Named by its first key: RIPEMD-160 of the SHA-256 of a compressed secp256k1 key, or
/// SHA-256 over the type and the bytes of a passkey (Cosmos SDK ADR-028), cut to 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 20]);

impl Address {
    /// Length in bytes.
    pub const LENGTH: usize = 20;

    /// The address of these bytes.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The address of a compressed secp256k1 public key.
    pub fn of_key(public_key: &[u8; 33]) -> Self {
        Self(Ripemd160::digest(Sha256::digest(public_key)).into())
    }

    /// The address of a passkey: the first 20 bytes of SHA-256 over the SHA-256 of its type's name
    /// and its compressed P-256 point.
    pub fn of_passkey(public_key: &[u8; 33]) -> Self {
        let kind = Sha256::digest(b"careledger.crypto.v1.WebAuthnP256PubKey");
        let digest: [u8; 32] = Sha256::new().chain_update(kind).chain_update(public_key).finalize().into();
        Self(*digest.first_chunk().expect("a digest has more than 20 bytes"))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The bytes as a message field.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl TryFrom<&[u8]> for Address {
    type Error = IdError;

    fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
        let found = bytes.len();
        bytes.try_into().map(Self).map_err(|_| IdError::Length { expected: 20, found })
    }
}

impl FromStr for Address {
    type Err = IdError;

    /// Accepts the lower-case bech32 form only, so that one account has one spelling.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (prefix, bytes) = bech32::decode(text).map_err(|_| IdError::Bech32)?;
        let address = Self::try_from(bytes.as_slice())?;
        let canonical = prefix.as_str() == ADDRESS_PREFIX && address.to_string() == text;
        canonical.then_some(address).ok_or(IdError::Bech32)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32>(Hrp::parse_unchecked(ADDRESS_PREFIX), &self.0)
            .expect("20 bytes are within bech32's length");
        formatter.write_str(&text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        let address = Address::new([7; 20]);
        let text = address.to_string();
        assert!(text.starts_with("care1"));
        assert_eq!(text.parse(), Ok(address));
        for other in [text.to_uppercase(), text.replace("care1", "core1"), format!("{text}q"), String::new()] {
            assert!(other.parse::<Address>().is_err(), "{other}");
        }
    }

    #[test]
    fn an_address_is_what_cosmos_derives() {
        let key = cosmrs::crypto::secp256k1::SigningKey::from_slice(&[9; 32]).unwrap();
        let bytes: [u8; 33] = key.public_key().to_bytes().try_into().unwrap();
        let expected = key.public_key().account_id(ADDRESS_PREFIX).unwrap().to_string();
        assert_eq!(Address::of_key(&bytes).to_string(), expected);
    }

    #[test]
    fn an_identifier_has_exactly_its_length() {
        assert_eq!(GrantId::try_from([0; 31].as_slice()), Err(IdError::Length { expected: 32, found: 31 }));
        assert_eq!("zz".parse::<GrantId>(), Err(IdError::Hex));
        let grant = GrantId::new([0xab; 32]);
        assert_eq!(grant.to_string().parse(), Ok(grant));
    }
}
