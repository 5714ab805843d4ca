//! Writing the development keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use careledger_zk::{prover::Prover, r1cs, snarkjs::KeyJson, statement::CIRCUIT_DIGEST};

use crate::{Failure, files};

pub fn write(out: &Path, cache: Option<PathBuf>) -> Result<(), Failure> {
    let prover = Prover::development(&files::cache_folder(cache)?)?;
    let key = prover.verifying_key();
    fs::create_dir_all(out)?;
    fs::write(out.join("eligibility-1-development.vk"), key.encode())?;
    fs::write(out.join("eligibility-1.r1cs"), r1cs::encode(prover.shape()))?;
    files::write_public(&out.join("verification_key.json"), &KeyJson::from(key))?;
    println!("key     {}", hex::encode(key.id(&CIRCUIT_DIGEST)));
    println!("circuit {}", hex::encode(CIRCUIT_DIGEST));
    println!("These are development keys. Anyone can forge proofs under them.");
    Ok(())
}
