//! Making proofs, on the holder's own device.
//!
//! Provers are not constant-time: one who can time this process learns
//! something of the witness. A proof is checked against the rule before it is
//! made and against the verifying key after.

use std::path::Path;

use ark_bn254::{Bn254, Fr};
use ark_ff::PrimeField;
use ark_groth16::{Groth16, ProvingKey};

use crate::{
    circuit::{
        self,
        assignment::{Assignment, raw_inputs},
        builder::Shape,
    },
    key::{PreparedKey, VerifyingKey},
    rule::{self, Statement, Violation, Witness},
    setup::{self, SetupError},
    verify::{PROOF_BYTES, Proof, verify},
};

/// Stack of a proving thread: parallel multiplication nests.
const THREAD_STACK_BYTES: usize = 16 * 1024 * 1024;

/// A proving key, the circuit, and the threads to prove on. Made once a process.
#[derive(Debug)]
pub struct Prover {
    key: ProvingKey<Bn254>,
    shape: Shape,
    verifying_key: VerifyingKey,
    prepared: PreparedKey,
    threads: rayon::ThreadPool,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The rule does not hold.
    #[error(transparent)]
    Rule(#[from] Violation),
    /// The rule holds and a constraint does not: the two disagree.
    #[error("the circuit refuses what the rule accepts, in its part `{0}`")]
    Circuit(&'static str),
    /// The proving key does not fit the circuit, or its cache is not what it should be.
    #[error("the proving key made a proof that does not verify")]
    Key,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Randomness(String),
}

impl Prover {
    /// A prover with the development keys, read from `cache` or computed and kept there.
    pub fn development(cache: &Path) -> Result<Self, SetupError> {
        let shape = circuit::shape();
        let key = setup::cached_development_key(cache, &shape)?;
        let verifying_key = setup::development_verifying_key(&key);
        let threads = rayon::ThreadPoolBuilder::new()
            .stack_size(THREAD_STACK_BYTES)
            .thread_name(|number| format!("prove-{number}"))
            .build()
            .map_err(|error| SetupError::Cache(std::io::Error::other(error)))?;
        let prepared = verifying_key.prepare();
        Ok(Self { key, shape, verifying_key, prepared, threads })
    }

    /// The key that verifies this prover's proofs.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// The circuit.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Proves a statement. Every proof is blinded afresh.
    pub fn prove(&self, statement: &Statement, witness: &Witness) -> Result<[u8; PROOF_BYTES], ProveError> {
        rule::holds(statement, witness)?;
        let assignment = Assignment::new(witness)?;
        let values = circuit::values(raw_inputs(statement), &assignment);
        if let Some(row) = self.shape.broken(&values) {
            return Err(ProveError::Circuit(self.shape.section_of(row)));
        }
        let (r, s) = (random_scalar()?, random_scalar()?);
        let proof = self.threads.install(|| {
            Groth16::<Bn254>::create_proof_with_reduction_and_matrices(
                &self.key,
                r,
                s,
                &self.shape.matrices,
                self.shape.instance_variables,
                self.shape.constraints(),
                &values,
            )
        });
        let proof = proof.map_err(|_| ProveError::Key)?;
        let bytes = Proof::new(proof).map_err(|_| ProveError::Key)?.to_bytes();
        verify(&self.prepared, statement, &bytes).map_err(|_| ProveError::Key)?;
        Ok(bytes)
    }
}

/// A uniform element from the operating system's randomness, for salts,
/// blindings and wallet secrets.
pub fn random_element() -> Result<crate::field::Element, ProveError> {
    random_scalar().map(crate::field::Element::from)
}

fn random_scalar() -> Result<Fr, ProveError> {
    let mut bytes = [0; 64];
    rand::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut bytes)
        .map_err(|error| ProveError::Randomness(error.to_string()))?;
    Ok(Fr::from_be_bytes_mod_order(&bytes))
}
