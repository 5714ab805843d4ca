//! Field elements as every wire carries them: 32 bytes, big-endian, canonical.

use std::fmt;

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, BigInteger, BigInteger256, PrimeField, Zero};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of one element on every wire.
pub const ELEMENT_BYTES: usize = 32;

/// An element of the scalar field of BN254, the field the circuit works in.
///
/// Bytes that are not below the field's modulus are refused, never reduced: two
/// spellings of one nullifier would be two nullifiers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Element(Fr);

/// Why bytes or text are not an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElementError {
    /// The number is the modulus or above.
    #[error("a field element must be below the field's modulus")]
    NotCanonical,
    /// Not 64 lower-case hexadecimal digits.
    #[error("a field element is written as 64 lower-case hexadecimal digits")]
    NotHex,
}

impl Element {
    /// Zero: an empty tree leaf, an empty fact slot.
    pub const ZERO: Self = Self(Fr::ZERO);

    /// Reads 32 big-endian bytes; refuses a number that is not below the modulus.
    pub fn from_bytes(bytes: &[u8; ELEMENT_BYTES]) -> Result<Self, ElementError> {
        let mut limbs = [0_u64; 4];
        for (limb, chunk) in limbs.iter_mut().rev().zip(bytes.chunks_exact(8)) {
            *limb = chunk.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
        }
        Fr::from_bigint(BigInteger256::new(limbs)).map(Self).ok_or(ElementError::NotCanonical)
    }

    /// The element as 32 big-endian bytes.
    pub fn to_bytes(self) -> [u8; ELEMENT_BYTES] {
        let mut bytes = [0; ELEMENT_BYTES];
        bytes.copy_from_slice(&self.0.into_bigint().to_bytes_be());
        bytes
    }

    /// Reads 64 lower-case hexadecimal digits, big-endian.
    pub fn from_hex(text: &str) -> Result<Self, ElementError> {
        let mut bytes = [0; ELEMENT_BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ElementError::NotHex)?;
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ElementError::NotHex);
        }
        Self::from_bytes(&bytes)
    }

    /// The element as 64 lower-case hexadecimal digits, big-endian.
    pub fn to_hex(self) -> String {
        hex::encode(self.to_bytes())
    }

    /// An element from 31 big-endian bytes, which are always below the modulus.
    pub fn from_248_bits(bytes: &[u8; 31]) -> Self {
        let mut padded = [0; ELEMENT_BYTES];
        padded[1..].copy_from_slice(bytes);
        Self::from_bytes(&padded).expect("248 bits are below a 254-bit modulus")
    }

    /// The field element that arkworks computes with.
    pub const fn inner(self) -> Fr {
        self.0
    }

    /// Whether this is zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Fr> for Element {
    fn from(value: Fr) -> Self {
        Self(value)
    }
}

impl From<u64> for Element {
    fn from(value: u64) -> Self {
        Self(Fr::from(value))
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}

impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex())
    }
}

impl Serialize for Element {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULUS: &str = "30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001";

    #[test]
    fn numbers_are_accepted_up_to_the_modulus_and_refused_from_it() {
        let cases: [(&str, Result<(), ElementError>); 6] = [
            ("30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000000", Ok(())),
            (MODULUS, Err(ElementError::NotCanonical)),
            ("30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000006", Err(ElementError::NotCanonical)),
            (&"f".repeat(64), Err(ElementError::NotCanonical)),
            (&"0".repeat(63), Err(ElementError::NotHex)),
            (&format!("{}A", "0".repeat(63)), Err(ElementError::NotHex)),
        ];
        for (text, expected) in cases {
            assert_eq!(Element::from_hex(text).map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn bytes_are_big_endian() {
        let mut bytes = [0; 32];
        bytes[31] = 5;
        bytes[30] = 1;
        assert_eq!(Element::from_bytes(&bytes), Ok(Element::from(261)));
    }

    proptest! {
        #[test]
        fn accepted_bytes_come_back_unchanged(bytes in any::<[u8; 32]>()) {
            if let Ok(element) = Element::from_bytes(&bytes) {
                prop_assert_eq!(element.to_bytes(), bytes);
                prop_assert_eq!(Element::from_hex(&element.to_hex()), Ok(element));
            } else {
                prop_assert!(hex::encode(bytes).as_str() >= MODULUS);
            }
        }
    }
}
