//! What an insurer does with a proof: check it, and what it is about.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use careledger_zk::{
    binding,
    document::{AmountOpening, ProofDocument},
    key::{KeyKind, VerifyingKey},
    opening::{Account, amount_commitment},
    plan::Plan,
    snarkjs::{KeyJson, ProofJson, PublicJson},
    statement::{CIRCUIT_DIGEST, CIRCUIT_ID, PublicInputs},
    verify::{Proof, verify},
};
use clap::Parser;
use serde::de::DeserializeOwned;

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
#[command(version, about = "Check an eligibility proof, and what it is about.")]
#[command(after_help = "\
Exit code 0: everything asked for holds. 1: something does not, or could not be read. 2: usage.

What this cannot check, because only the ledger knows: that the roots are recent, that the plan is
published, that the nullifiers are new, and that the key is active. Ask your node for those:
docs/circuits/eligibility.md says how.

  verify proof.careledger.json --plan plan.json --amount amount.json \\
         --chain-id careledger-dev-1 --insurer … --claim … --submitter … --expiry …
  verify proof.careledger.json --snarkjs DIR     also writes DIR/proof.json and DIR/public.json for snarkjs
  verify --snarkjs DIR                           checks DIR/proof.json, DIR/public.json, DIR/verification_key.json")]
struct Arguments {
    /// The proof as `prove eligibility` writes it, and as an insurer receives it.
    #[arg(required_unless_present = "snarkjs")]
    proof: Option<PathBuf>,
    /// With a proof: the folder to write it to as snarkjs reads it, proof.json and public.json. No key is
    /// written: it must not come from where the proof comes from. Without: a folder with both and
    /// verification_key.json, to be checked.
    #[arg(long, value_name = "DIR")]
    snarkjs: Option<PathBuf>,
    /// The verifying key, 520 bytes. [default: the development key]
    #[arg(long, requires = "proof")]
    key: Option<PathBuf>,
    /// The plan that the proof should be about.
    #[arg(long)]
    plan: Option<PathBuf>,
    /// The opening of the committed amount.
    #[arg(long)]
    amount: Option<PathBuf>,
    /// The chain that the proof should be for; with the four below, checks the context.
    #[arg(long, requires_all = ["insurer", "claim", "submitter", "expiry"])]
    chain_id: Option<String>,
    /// The insurer's account: care1…
    #[arg(long, requires = "chain_id")]
    insurer: Option<Account>,
    /// The claim: 64 hexadecimal digits.
    #[arg(long, requires = "chain_id")]
    claim: Option<String>,
    /// The account that submits the proof: care1…
    #[arg(long, requires = "chain_id")]
    submitter: Option<Account>,
    /// When the proof expires, in Unix seconds.
    #[arg(long, requires = "chain_id")]
    expiry: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("refused: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let inputs = match (&arguments.proof, &arguments.snarkjs) {
        (Some(proof), folder) => check_document(proof, arguments.key.as_deref(), folder.as_deref())?,
        (None, Some(folder)) => check_snarkjs(folder)?,
        (None, None) => return Err("there is no proof to check".into()),
    };
    if let Some(plan) = &arguments.plan {
        let plan: Plan = read(plan)?;
        plan.check_partition()?;
        require(plan.commitment() == inputs.policy, "the proof is about another plan")?;
        println!("ok  it is about this plan, whose intervals are a partition");
    }
    if let Some(amount) = &arguments.amount {
        let AmountOpening { amount, blinding } = read(amount)?;
        let committed = amount_commitment(amount, blinding) == inputs.amount_commit;
        require(committed, "the amount is not the committed one")?;
        println!("ok  payable at most: {amount} minor units");
    }
    if let (Some(chain), Some(insurer), Some(claim), Some(submitter), Some(expiry)) =
        (&arguments.chain_id, &arguments.insurer, &arguments.claim, &arguments.submitter, arguments.expiry)
    {
        let mut claim_bytes = [0; 32];
        hex::decode_to_slice(claim, &mut claim_bytes)?;
        let expected = binding::context(chain, &CIRCUIT_ID, &insurer.0, &claim_bytes, &submitter.0, expiry);
        require(expected == inputs.ctx, "the proof is for another context")?;
        println!("ok  it is for this chain, insurer, claim, submitter and expiry");
    }
    println!("as of {}; nullifiers {} {}", inputs.as_of, inputs.null_event, inputs.null_period);
    Ok(())
}

fn check_document(path: &Path, key: Option<&Path>, snarkjs: Option<&Path>) -> Result<PublicInputs, Failure> {
    let document: ProofDocument = read(path)?;
    let key = match key {
        Some(path) => VerifyingKey::decode(&fs::read(path)?)?,
        None => VerifyingKey::development(),
    };
    document.verify(&key)?;
    println!("ok  the proof holds under key {}", hex::encode(key.id(&CIRCUIT_DIGEST)));
    if key.is_development() {
        println!("!!  that is a development key: anyone can forge proofs under it");
    }
    if let Some(folder) = snarkjs {
        write_snarkjs(folder, &document)?;
        println!("ok  {0}/proof.json and {0}/public.json are written for snarkjs", folder.display());
    }
    Ok(document.inputs)
}

fn write_snarkjs(folder: &Path, document: &ProofDocument) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let proof = ProofJson::from(&Proof::from_bytes(&document.proof()?)?);
    write(&folder.join("proof.json"), &serde_json::to_string_pretty(&proof)?)?;
    write(&folder.join("public.json"), &serde_json::to_string_pretty(&PublicJson::from(&document.inputs))?)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, format!("{text}\n")).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn check_snarkjs(folder: &Path) -> Result<PublicInputs, Failure> {
    let key: KeyJson = read(&folder.join("verification_key.json"))?;
    let inputs = read::<PublicJson>(&folder.join("public.json"))?.to_inputs()?;
    let proof = read::<ProofJson>(&folder.join("proof.json"))?.to_proof()?;
    // The file cannot say where its key comes from, so nothing is taken for granted.
    let key = key.to_key(KeyKind::Development)?;
    verify(&key.prepare(), &inputs, &proof.to_bytes())?;
    println!("ok  the proof holds under the key in the folder");
    let known = key == VerifyingKey::development();
    let which = if known { "the development key" } else { "not a key that this program knows" };
    println!("!!  that key is {which}: compare it with the one your network activated");
    Ok(inputs)
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|_| format!("{}: not a file of the expected kind", path.display()).into())
}

fn require(condition: bool, otherwise: &str) -> Result<(), Failure> {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}
