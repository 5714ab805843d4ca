//! What a proof is bound to: the insurer it is for, the provider it relies on,
//! and the one transaction that may carry it.
//!
//! Each value is SHA-256 truncated to 248 bits, which is always a field
//! element. Fields are length-prefixed, so no two lists of fields share bytes.

use sha2::{Digest, Sha256};

use crate::field::Element;

/// The scope of an insurer. The ledger derives it from the insurer's account;
/// a free choice would let one insurer link another's members.
pub fn scope_of(insurer: &[u8; 20]) -> Element {
    digest_248("careledger/zk/scope/1", &[insurer])
}

/// The issuer of an attestation, from the account of the organization.
pub fn issuer_of(organization: &[u8; 20]) -> Element {
    digest_248("careledger/zk/issuer/1", &[organization])
}

/// The identifier of a policy, from its insurer and the insurer's own bytes for it; the ledger takes
/// the SHA-256 of the policy's name.
pub fn policy_id_of(insurer: &[u8; 20], name: &[u8]) -> Element {
    digest_248("careledger/zk/policy/1", &[insurer, name])
}

/// The context of a proof. The ledger computes it again from the transaction
/// that carries the proof, so a copied proof fails under another chain,
/// circuit, insurer, claim, submitter or expiry.
///
/// `circuit_id` is [`crate::statement::CIRCUIT_ID`]; `expiry` is in Unix seconds.
pub fn context(
    chain_id: &str,
    circuit_id: &[u8; 32],
    insurer: &[u8; 20],
    claim: &[u8; 32],
    submitter: &[u8; 20],
    expiry: u64,
) -> Element {
    digest_248(
        "careledger/zk/context/1",
        &[chain_id.as_bytes(), circuit_id, insurer, claim, submitter, &expiry.to_be_bytes()],
    )
}

fn digest_248(domain: &str, fields: &[&[u8]]) -> Element {
    let mut hasher = Sha256::new();
    for field in std::iter::once(&domain.as_bytes()).chain(fields) {
        let length = u32::try_from(field.len()).expect("a field is shorter than 4 GiB");
        hasher.update(length.to_be_bytes());
        hasher.update(field);
    }
    let digest = hasher.finalize();
    let mut kept = [0; 31];
    kept.copy_from_slice(&digest[..31]);
    Element::from_248_bits(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_context_changes_it() {
        let base = context("chain-1", &[1; 32], &[2; 20], &[3; 32], &[4; 20], 5);
        let others = [
            context("chain-2", &[1; 32], &[2; 20], &[3; 32], &[4; 20], 5),
            context("chain-1", &[9; 32], &[2; 20], &[3; 32], &[4; 20], 5),
            context("chain-1", &[1; 32], &[9; 20], &[3; 32], &[4; 20], 5),
            context("chain-1", &[1; 32], &[2; 20], &[9; 32], &[4; 20], 5),
            context("chain-1", &[1; 32], &[2; 20], &[3; 32], &[9; 20], 5),
            context("chain-1", &[1; 32], &[2; 20], &[3; 32], &[4; 20], 9),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn bindings_are_what_any_sha256_tool_gives() {
        // printf of the length-prefixed fields into sha256sum, last byte cut.
        let cases = [
            (scope_of(&[0x11; 20]), "005ef87d151161b498f8105850635af2c350bf76dc30bfae9f3d6fa137f433a5"),
            (
                policy_id_of(&[0x11; 20], &[0x22; 32]),
                "0049042f71f7213d9028c42d8ddacf971570e4972722a69d21f5be62521e9877",
            ),
            (issuer_of(&[0x11; 20]), "00228bcbb5ce31470b89ea1b52156891dd44cb5a81a14ac05518f91d70313064"),
            (
                context("careledger-dev-1", &[1; 32], &[2; 20], &[3; 32], &[4; 20], 1_800_000_000),
                "00f64ec59cdbb4384f98b64213b223975c9d61f77b7bdae92a696e6fdb4eb7a4",
            ),
        ];
        for (element, expected) in cases {
            assert_eq!(element.to_hex(), expected);
        }
    }
}
