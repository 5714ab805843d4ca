//! Salted commitments: SHA3-256 over a domain tag and length-prefixed parts.
//!
//! The salt is 32 random bytes that only those who may open the commitment hold. Destroying
//! every copy of the salt leaves a value on chain that links to nothing.

use sha3::{Digest as _, Sha3_256};

use crate::{
    ids::{Address, Commitment, Digest, SubjectId},
    signing::PublicKey,
};

/// Random bytes that blind a commitment.
pub type Salt = [u8; 32];

/// Subject of `claimant` at `organization`. Deterministic, so that opening twice is one subject;
/// the claimant's key is derived per organization, so two organizations' subjects are unlinkable.
pub fn subject_id(organization: &Address, claimant: &Address) -> SubjectId {
    SubjectId::new(hash("careledger/subject/1", &[organization.as_bytes(), claimant.as_bytes()]))
}

/// Commitment to one version of a record.
///
/// `subject` is empty for records that are about no patient. `ciphertext` is the SHA3-256 of the
/// sealed body.
pub fn record(salt: &Salt, subject: &[u8], resource_type: &str, version: u32, ciphertext: &Digest) -> Commitment {
    let version = version.to_be_bytes();
    let parts: [&[u8]; 5] = [salt, subject, resource_type.as_bytes(), &version, ciphertext.as_bytes()];
    Commitment::new(hash("careledger/record/1", &parts))
}

/// Commitment to the terms of a consent or of an access request: `terms` is the canonical JSON
/// that docs/api/consent.md describes.
pub fn terms(salt: &Salt, terms: &[u8]) -> Commitment {
    Commitment::new(hash("careledger/terms/1", &[salt, terms]))
}

/// Commitment to a practitioner's qualification.
pub fn qualification(salt: &Salt, qualification: &[u8]) -> Commitment {
    Commitment::new(hash("careledger/qualification/1", &[salt, qualification]))
}

/// Commitment to the evidence that somebody is a subject's guardian.
pub fn guardianship(salt: &Salt, evidence: &[u8]) -> Commitment {
    Commitment::new(hash("careledger/guardianship/1", &[salt, evidence]))
}

/// The sign bytes by which a key says that it wants to be in the key set of `account` on this chain.
/// As with a transaction, their SHA-256 is signed, or is a passkey's challenge; a transaction's sign
/// bytes begin otherwise.
pub fn possession(chain_id: &str, account: &Address, key: &PublicKey) -> [u8; 32] {
    let kind = i32::from(key.kind()).to_be_bytes();
    hash("careledger/possession/1", &[chain_id.as_bytes(), account.as_bytes(), &kind, key.as_bytes()])
}

/// The sign bytes by which a key says that it wants its account at `organization` on this chain. As
/// those of [`possession`].
pub fn binding(chain_id: &str, organization: &Address, key: &PublicKey) -> [u8; 32] {
    let kind = i32::from(key.kind()).to_be_bytes();
    hash("careledger/binding/1", &[chain_id.as_bytes(), organization.as_bytes(), &kind, key.as_bytes()])
}

/// SHA3-256 of bytes, as for sealed bodies.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::new(Sha3_256::digest(bytes).into())
}

/// SHA3-256 over `domain` and `parts`, each with its length before it, so that no two lists of
/// parts give the same bytes.
pub fn hash(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha3_256::new();
    for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_boundary_changes_the_hash() {
        assert_ne!(hash("d", &[b"ab", b"c"]), hash("d", &[b"a", b"bc"]));
        assert_ne!(hash("d", &[b"a"]), hash("d", &[b"a", b""]));
        assert_ne!(hash("da", &[b""]), hash("d", &[b"a"]));
    }

    #[test]
    fn the_same_body_anchored_twice_gives_different_bytes() {
        let body = digest(b"sealed");
        assert_ne!(record(&[1; 32], b"", "Observation", 1, &body), record(&[2; 32], b"", "Observation", 1, &body));
    }

    #[test]
    fn commitments_are_golden() {
        let body = digest(b"sealed");
        let vectors = [
            (record(&[1; 32], &[2; 32], "Observation", 3, &body).to_string(), RECORD),
            (terms(&[1; 32], b"{}").to_string(), TERMS),
            (subject_id(&Address::new([1; 20]), &Address::new([2; 20])).to_string(), SUBJECT),
        ];
        for (actual, expected) in vectors {
            assert_eq!(actual, expected);
        }
    }

    // Computed apart from this code, with Python's hashlib.
    const RECORD: &str = "ae845c711f52ff0f69516b6991eac37ee1d262f18477e75323305889fafed081";
    const TERMS: &str = "a93842e613905867276d081523f799d36bbcb72b09424064ed7848f483c3f6b8";
    const SUBJECT: &str = "5d86a0720dbedc36e12dad3d5a31f84403d851083663e5840438af645fabb67b";
}
