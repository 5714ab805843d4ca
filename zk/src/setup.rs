//! Development keys: everyone's, and therefore worth nothing.
//!
//! They are computed from a published seed, so anyone can compute what forges
//! proofs under them. They are the same everywhere, marked in their own id, and
//! refused by any chain that is not a development one. A proving key of several
//! megabytes is not committed: it is derived, and kept in a folder of the
//! caller's choice.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use ark_bn254::{Bn254, Fr, G1Projective, G2Projective};
use ark_ec::PrimeGroup;
use ark_ff::PrimeField;
use ark_groth16::{Groth16, ProvingKey};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_std::rand::{self, RngCore};
use sha2::{Digest, Sha256};

use crate::{
    circuit::builder::Shape,
    key::{KeyKind, VerifyingKey},
    statement::CIRCUIT_DIGEST,
};

/// What the development keys are computed from.
pub const DEVELOPMENT_SEED: &str = "CareLedger development keys: insecure by construction";

/// Why a proving key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The cache folder cannot be read or written.
    #[error("the key cache cannot be used: {0}")]
    Cache(#[from] io::Error),
    /// The circuit gives no key.
    #[error("the setup failed: {0}")]
    Setup(ark_relations::utils::error::SynthesisError),
}

/// Computes the development keys. Takes some seconds.
pub fn development_key(shape: &Shape) -> Result<ProvingKey<Bn254>, SetupError> {
    let [alpha, beta, gamma, delta] = ["alpha", "beta", "gamma", "delta"].map(secret);
    Groth16::<Bn254>::generate_parameters_with_qap(
        shape,
        alpha,
        beta,
        gamma,
        delta,
        G1Projective::generator(),
        G2Projective::generator(),
        &mut HashRng::new("tau"),
    )
    .map_err(SetupError::Setup)
}

/// The verifying half of a development key, marked as such.
///
/// # Panics
/// Never for a key that [`development_key`] made.
pub fn development_verifying_key(key: &ProvingKey<Bn254>) -> VerifyingKey {
    VerifyingKey::new(KeyKind::Development, key.vk.clone())
        .expect("the seed's key has no identity and its gamma is not its delta")
}

/// Reads the development proving key from `folder`, or computes it and keeps it
/// there. A damaged file is computed anew; a file appears whole or not at all.
pub fn cached_development_key(folder: &Path, shape: &Shape) -> Result<ProvingKey<Bn254>, SetupError> {
    let file = cache_file(folder);
    if let Ok(bytes) = fs::read(&file)
        && let Some(key) = read_cached(&bytes)
    {
        return Ok(key);
    }
    let key = development_key(shape)?;
    fs::create_dir_all(folder)?;
    write_whole(&file, &encode(&key))?;
    Ok(key)
}

/// Where [`cached_development_key`] keeps its file; the circuit is in the name.
pub fn cache_file(folder: &Path) -> PathBuf {
    let digest = hex::encode(&CIRCUIT_DIGEST[..8]);
    folder.join(format!("eligibility-1-{digest}-development.pk"))
}

/// SHA-256 of the rest, then the key uncompressed, which reads ten times faster.
fn encode(key: &ProvingKey<Bn254>) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    key.serialize_uncompressed(&mut bytes).expect("writing to memory cannot fail");
    let digest = Sha256::digest(&bytes[32..]);
    bytes[..32].copy_from_slice(&digest);
    bytes
}

/// The key in a cache file that is whole. Its points are not checked again: the
/// file is the user's own, and what is proven with it is verified at once.
fn read_cached(bytes: &[u8]) -> Option<ProvingKey<Bn254>> {
    let (digest, content) = bytes.split_at_checked(32)?;
    if Sha256::digest(content)[..] != *digest {
        return None;
    }
    ProvingKey::deserialize_uncompressed_unchecked(content).ok()
}

fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let mut writer = fs::File::create(&unfinished)?;
    writer.write_all(bytes)?;
    writer.sync_all()?;
    fs::rename(&unfinished, file)
}

fn secret(name: &str) -> Fr {
    let mut bytes = [0; 64];
    HashRng::new(name).fill_bytes(&mut bytes);
    Fr::from_be_bytes_mod_order(&bytes)
}

/// A stream of SHA-256 blocks over the seed, a name and a counter: the same in
/// every version of every library.
struct HashRng {
    name: &'static [u8],
    seed: [u8; 32],
    counter: u64,
}

impl HashRng {
    fn new(name: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(DEVELOPMENT_SEED);
        hasher.update(name);
        Self { name: b"careledger/zk/development/1", seed: hasher.finalize().into(), counter: 0 }
    }
}

impl RngCore for HashRng {
    fn next_u32(&mut self) -> u32 {
        rand_u64(self) as u32
    }

    fn next_u64(&mut self) -> u64 {
        rand_u64(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let mut hasher = Sha256::new();
            hasher.update(self.name);
            hasher.update(self.seed);
            hasher.update(self.counter.to_be_bytes());
            self.counter += 1;
            chunk.copy_from_slice(&hasher.finalize()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

fn rand_u64(source: &mut HashRng) -> u64 {
    let mut bytes = [0; 8];
    source.fill_bytes(&mut bytes);
    u64::from_be_bytes(bytes)
}
