//! The hash inside the circuit: circomlib's Poseidon over BN254 (x⁵, eight full
//! rounds), with a domain tag in the capacity element.
//!
//! The tag costs no constraint and makes a commitment of one kind useless as
//! one of another. `circomlibjs` computes the same values as
//! `poseidon(inputs, tag)`; `golden/poseidon.json` holds what it says.

use std::sync::LazyLock;

use ark_bn254::Fr;
use ark_ff::Field;
use light_poseidon::{PoseidonParameters, parameters::bn254_x5::get_poseidon_parameters};

use crate::field::Element;

/// Largest number of inputs of one hash.
pub const INPUTS_MAX: usize = 8;

/// What a hash means. Numbers are part of every commitment: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(u64);

impl Domain {
    /// The blinded pseudonym a provider attests to: `(secret, blinding)`.
    pub const PSEUDONYM: Self = Self(1);
    /// The eight fact slots of an attestation.
    pub const FACTS: Self = Self(2);
    /// An attestation: `(pseudonym, facts, dates, issuer, salt)`.
    pub const ATTESTATION: Self = Self(3);
    /// A member as one insurer knows them: `(secret, scope)`.
    pub const MEMBER: Self = Self(4);
    /// An enrolment: `(member, policy id, dates, salt)`.
    pub const ENROLMENT: Self = Self(5);
    /// One interval of a plan: `(lowest, highest, class, wait and cap)`.
    pub const INTERVAL: Self = Self(6);
    /// A plan: `(policy id, scope, interval root, terms)`.
    pub const POLICY: Self = Self(7);
    /// A leaf of the attestation tree: `(attestation, issuer)`.
    pub const ATTESTATION_LEAF: Self = Self(8);
    /// A leaf of the enrolment tree: `(enrolment, scope)`.
    pub const ENROLMENT_LEAF: Self = Self(9);
    /// An inner node of any tree: four children.
    pub const NODE: Self = Self(10);
    /// Spends an event: `(secret, issuer, event, scope)`.
    pub const EVENT_NULLIFIER: Self = Self(11);
    /// Spends one of a period's claims: `(secret, policy id, period, number)`.
    pub const PERIOD_NULLIFIER: Self = Self(12);
    /// The committed amount: `(amount, blinding)`.
    pub const AMOUNT: Self = Self(13);

    /// The value of the capacity element.
    pub fn tag(self) -> Fr {
        Fr::from(self.0)
    }
}

/// Hashes one to [`INPUTS_MAX`] elements under a domain.
///
/// # Panics
/// With no input or more than [`INPUTS_MAX`]: the number of inputs is part of a
/// statement's definition, never data.
pub fn hash<const N: usize>(domain: Domain, inputs: [Element; N]) -> Element {
    const { assert!(N >= 1 && N <= INPUTS_MAX, "a hash takes one to eight inputs") };
    let mut state = Vec::with_capacity(N + 1);
    state.push(domain.tag());
    state.extend(inputs.iter().map(|input| input.inner()));
    permute(&mut state);
    Element::from(state[0])
}

/// The round constants and the matrix for a state of `width` elements.
///
/// # Panics
/// Where `width` is not two to nine.
pub fn parameters(width: usize) -> &'static PoseidonParameters<Fr> {
    static PARAMETERS: LazyLock<Vec<PoseidonParameters<Fr>>> = LazyLock::new(|| {
        (2..=INPUTS_MAX + 1)
            .map(|width| {
                let width = u8::try_from(width).expect("a width is at most nine");
                get_poseidon_parameters(width).expect("the crate has constants up to thirteen")
            })
            .collect()
    });
    &PARAMETERS[width - 2]
}

/// The permutation in its plain form; the circuit uses the same constants.
fn permute(state: &mut Vec<Fr>) {
    let width = state.len();
    let parameters = parameters(width);
    let half = parameters.full_rounds / 2;
    let partial = half..half + parameters.partial_rounds;
    for round in 0..parameters.full_rounds + parameters.partial_rounds {
        let constants = &parameters.ark[round * width..][..width];
        for (element, constant) in state.iter_mut().zip(constants) {
            *element += constant;
        }
        let boxes = if partial.contains(&round) { 1 } else { width };
        for element in &mut state[..boxes] {
            *element *= element.square().square();
        }
        *state = parameters
            .mds
            .iter()
            .map(|row| row.iter().zip(state.iter()).map(|(m, element)| *m * element).sum())
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use light_poseidon::{Poseidon, PoseidonHasher};
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        tag: u64,
        inputs: Vec<Element>,
        hash: Element,
    }

    fn hash_slice(tag: u64, inputs: &[Element]) -> Element {
        let mut state = vec![Fr::from(tag)];
        state.extend(inputs.iter().map(|input| input.inner()));
        permute(&mut state);
        Element::from(state[0])
    }

    #[test]
    fn hashes_are_those_of_circomlibjs() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("../golden/poseidon.json")).expect("the vectors are JSON");
        assert!(vectors.len() >= 40);
        for vector in vectors {
            assert_eq!(hash_slice(vector.tag, &vector.inputs), vector.hash, "{}", vector.tag);
        }
    }

    #[test]
    fn hashes_are_those_of_light_poseidon() {
        for inputs in 1..=INPUTS_MAX {
            for tag in [0_u64, 1, 13, u64::MAX] {
                let values: Vec<Fr> = (0..inputs).map(|i| Fr::from(i as u64 + 7)).collect();
                let mut reference =
                    Poseidon::<Fr>::with_domain_tag_circom(inputs, Fr::from(tag)).expect("the widths are known");
                let ours: Vec<Element> = values.iter().map(|value| Element::from(*value)).collect();
                assert_eq!(hash_slice(tag, &ours).inner(), reference.hash(&values).expect("the widths are known"));
            }
        }
    }

    #[test]
    fn domains_never_share_a_hash() {
        let inputs = [Element::from(1), Element::from(2)];
        let hashes: std::collections::BTreeSet<_> = (1..=13).map(|tag| hash(Domain(tag), inputs).to_bytes()).collect();
        assert_eq!(hashes.len(), 13);
    }
}
