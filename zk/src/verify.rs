//! Checking proofs: one at a time, or many that stand or fall together.
//!
//! A proof is 128 bytes: A (32), B (64), C (32), compressed as arkworks does.
//! It is never an identity: anyone can make another proof of the same statement
//! from it. The nullifiers are what is spent.

use ark_bn254::{Bn254, Fr, G1Affine, G1Projective, G2Affine};
use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM, pairing::Pairing};
use ark_ff::{Field, PrimeField, Zero};
use sha2::{Digest, Sha256};

use crate::{
    key::{G1_BYTES, G2_BYTES, PreparedKey, put, read_point},
    statement::{INPUTS, PublicInputs},
};

/// Bytes of a proof.
pub const PROOF_BYTES: usize = 2 * G1_BYTES + G2_BYTES;

/// Three points, each in its group and none the identity.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof(ark_groth16::Proof<Bn254>);

/// Why a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A point is not canonical, not in its group, or the identity.
    #[error("the bytes are not three canonical points of their groups")]
    Encoding,
    /// The proof does not prove this statement under this key.
    #[error("the proof does not prove this statement")]
    Refused,
}

impl Proof {
    /// Reads exactly what [`Self::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8; PROOF_BYTES]) -> Result<Self, VerifyError> {
        let (a, rest) = bytes.split_at(G1_BYTES);
        let (b, c) = rest.split_at(G2_BYTES);
        let (a, b, c): (Option<G1Affine>, Option<G2Affine>, Option<G1Affine>) =
            (read_point(a), read_point(b), read_point(c));
        let (Some(a), Some(b), Some(c)) = (a, b, c) else {
            return Err(VerifyError::Encoding);
        };
        // Reading has checked the groups; the identity is in each of them.
        if a.is_zero() || b.is_zero() || c.is_zero() {
            return Err(VerifyError::Encoding);
        }
        Ok(Self(ark_groth16::Proof { a, b, c }))
    }

    /// A proof from its points; refuses the identity and points off the group.
    pub fn new(points: ark_groth16::Proof<Bn254>) -> Result<Self, VerifyError> {
        let on_g1 = |point: &G1Affine| {
            !point.is_zero() && point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve()
        };
        let b: &G2Affine = &points.b;
        let on_g2 = !b.is_zero() && b.is_on_curve() && b.is_in_correct_subgroup_assuming_on_curve();
        if on_g1(&points.a) && on_g2 && on_g1(&points.c) { Ok(Self(points)) } else { Err(VerifyError::Encoding) }
    }

    /// The proof's one encoding.
    pub fn to_bytes(&self) -> [u8; PROOF_BYTES] {
        let mut bytes = Vec::with_capacity(PROOF_BYTES);
        put(&mut bytes, &self.0.a);
        put(&mut bytes, &self.0.b);
        put(&mut bytes, &self.0.c);
        bytes.try_into().expect("three points have one length")
    }

    /// The points, as arkworks holds them.
    pub fn points(&self) -> &ark_groth16::Proof<Bn254> {
        &self.0
    }
}

/// Checks one proof. Costs a pairing of three points, about a millisecond.
pub fn verify(key: &PreparedKey, inputs: &PublicInputs, proof: &[u8; PROOF_BYTES]) -> Result<(), VerifyError> {
    verify_decoded(key, inputs, &Proof::from_bytes(proof)?)
}

fn verify_decoded(key: &PreparedKey, inputs: &PublicInputs, proof: &Proof) -> Result<(), VerifyError> {
    let prepared = input_point(key, &scalars(inputs));
    // The number of inputs is fixed by the types; arkworks would not check it.
    ark_groth16::Groth16::<Bn254>::verify_proof_with_prepared_inputs(&key.inner, &proof.0, &prepared)
        .ok()
        .filter(|accepted| *accepted)
        .map(|_| ())
        .ok_or(VerifyError::Refused)
}

/// Checks many proofs under one key with one combined pairing, and gives each
/// its verdict, which is what [`verify`] gives.
///
/// The coefficients are drawn from a hash of the key, the proofs and the inputs
/// in order, so every validator draws the same; 128 bits each, so a wrong proof
/// hides with probability 2⁻¹²⁸. Where the combination fails, each proof is
/// checked by itself.
pub fn verify_batch(key: &PreparedKey, proofs: &[(PublicInputs, [u8; PROOF_BYTES])]) -> Vec<Result<(), VerifyError>> {
    let decoded: Vec<_> = proofs.iter().map(|(_, bytes)| Proof::from_bytes(bytes)).collect();
    let well_formed: Vec<(&PublicInputs, &Proof)> = proofs
        .iter()
        .zip(&decoded)
        .filter_map(|((inputs, _), proof)| proof.as_ref().ok().map(|proof| (inputs, proof)))
        .collect();
    let all_hold = well_formed.len() > 1 && combination_holds(key, &well_formed);
    proofs
        .iter()
        .zip(decoded)
        .map(|((inputs, _), proof)| match proof {
            Err(error) => Err(error),
            Ok(_) if all_hold => Ok(()),
            Ok(proof) => verify_decoded(key, inputs, &proof),
        })
        .collect()
}

fn combination_holds(key: &PreparedKey, proofs: &[(&PublicInputs, &Proof)]) -> bool {
    let coefficients = coefficients(key, proofs);
    let sum: Fr = coefficients.iter().sum();
    let mut inputs = [Fr::zero(); INPUTS];
    for ((public, _), coefficient) in proofs.iter().zip(&coefficients) {
        for (input, scalar) in inputs.iter_mut().zip(scalars(public)) {
            *input += scalar * coefficient;
        }
    }
    let constant = key.inner.vk.gamma_abc_g1[0];
    let input_sum = input_point(key, &inputs) + constant * (sum - Fr::ONE);
    let c: Vec<G1Affine> = proofs.iter().map(|(_, proof)| proof.0.c).collect();
    let Ok(c_sum) = G1Projective::msm(&c, &coefficients) else {
        return false;
    };
    let a = proofs.iter().zip(&coefficients).map(|((_, proof), r)| proof.0.a * r);
    let a: Vec<_> = G1Projective::normalize_batch(&a.collect::<Vec<_>>());

    type G1Prepared = <Bn254 as Pairing>::G1Prepared;
    type G2Prepared = <Bn254 as Pairing>::G2Prepared;
    let mut left: Vec<G1Prepared> = a.into_iter().map(Into::into).collect();
    let mut right: Vec<G2Prepared> = proofs.iter().map(|(_, proof)| proof.0.b.into()).collect();
    left.extend([input_sum.into_affine().into(), c_sum.into_affine().into()]);
    right.extend([key.inner.gamma_g2_neg_pc.clone(), key.inner.delta_g2_neg_pc.clone()]);
    Bn254::final_exponentiation(Bn254::multi_miller_loop(left, right))
        .is_some_and(|output| output.0 == key.inner.alpha_g1_beta_g2.pow(sum.into_bigint()))
}

/// 128-bit coefficients over everything that is checked, in order.
fn coefficients(key: &PreparedKey, proofs: &[(&PublicInputs, &Proof)]) -> Vec<Fr> {
    let mut transcript = Sha256::new();
    transcript.update(b"careledger/zk/batch/1");
    transcript.update(key.bytes_digest);
    transcript.update((proofs.len() as u64).to_be_bytes());
    for (inputs, proof) in proofs {
        transcript.update(proof.to_bytes());
        transcript.update(inputs.to_bytes());
    }
    let seed = transcript.finalize();
    (0..proofs.len() as u64)
        .map(|number| {
            let mut hasher = Sha256::new();
            hasher.update(seed);
            hasher.update(number.to_be_bytes());
            Fr::from_be_bytes_mod_order(&hasher.finalize()[..16])
        })
        .collect()
}

fn scalars(inputs: &PublicInputs) -> [Fr; INPUTS] {
    inputs.to_elements().map(crate::field::Element::inner)
}

/// The combination of the key's input points that the inputs select.
fn input_point(key: &PreparedKey, inputs: &[Fr; INPUTS]) -> G1Projective {
    key.input_points.sum(inputs) + key.inner.vk.gamma_abc_g1[0]
}
