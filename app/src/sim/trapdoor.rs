//! A verifying key whose secret everybody knows, so that simulations and tests prove any statement at once.
//! Its proofs pass the real verifier; that real provers cannot do this is the circuit's test. It is a development
//! key: a chain takes it only if it is named so and its genesis has it.

use std::sync::LazyLock;

use ark_bn254::{Bn254, Fr, G1Projective, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::Field;
use careledger_wire::ids::CircuitId;
use careledger_zk::{
    key::{KeyKind, VerifyingKey},
    statement::{CIRCUIT_DIGEST, INPUTS, PublicInputs},
    verify::{PROOF_BYTES, Proof},
};

const ALPHA: u64 = 11;
const BETA: u64 = 13;
const GAMMA: u64 = 17;
const DELTA: u64 = 19;
const INPUT_BASE: u64 = 101;

fn g1(scalar: Fr) -> ark_bn254::G1Affine {
    (G1Projective::generator() * scalar).into_affine()
}

fn g2(scalar: Fr) -> ark_bn254::G2Affine {
    (G2Projective::generator() * scalar).into_affine()
}

/// The key, marked as a development key.
pub fn key() -> VerifyingKey {
    static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
        let points = ark_groth16::VerifyingKey::<Bn254> {
            alpha_g1: g1(ALPHA.into()),
            beta_g2: g2(BETA.into()),
            gamma_g2: g2(GAMMA.into()),
            delta_g2: g2(DELTA.into()),
            gamma_abc_g1: (0..=INPUTS as u64).map(|number| g1((INPUT_BASE + number).into())).collect(),
        };
        VerifyingKey::new(KeyKind::Development, points).expect("a key with distinct points")
    });
    KEY.clone()
}

/// The key's id.
pub fn circuit() -> CircuitId {
    CircuitId::new(key().id(&CIRCUIT_DIGEST))
}

/// A proof of any statement; each `randomness` gives another proof of it.
pub fn prove(inputs: &PublicInputs, randomness: u64) -> [u8; PROOF_BYTES] {
    let (a, b) = (Fr::from(1_000 + randomness), Fr::from(7));
    let mut input = Fr::from(INPUT_BASE);
    for (number, element) in (1..).zip(inputs.to_elements()) {
        input += Fr::from(INPUT_BASE + number) * element.inner();
    }
    let product = a * b - Fr::from(ALPHA * BETA) - input * Fr::from(GAMMA);
    let c = product * Fr::from(DELTA).inverse().expect("not zero");
    let points = ark_groth16::Proof::<Bn254> { a: g1(a), b: g2(b), c: g1(c) };
    Proof::new(points).expect("points of their groups").to_bytes()
}
