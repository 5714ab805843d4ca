//! `prove eligibility`: from files to a proof.

use std::{
    fs,
    path::{Path, PathBuf},
};

use careledger_zk::{
    binding,
    date::Day,
    document::{AmountOpening, ProofDocument, Wallet},
    field::Element,
    opening::{Account, Pseudonym},
    prover::{Prover, random_element},
    rule::{Statement, Witness},
    snarkjs::{KeyJson, ProofJson, PublicJson},
    statement::CIRCUIT_ID,
    verify::Proof,
};

use crate::{Failure, files};

/// What is proven, for whom, and where the files are.
#[derive(clap::Args)]
pub struct Eligibility {
    /// Your wallet (`prove secret`).
    #[arg(long)]
    wallet: PathBuf,
    /// The pseudonym that the provider attested (`prove pid`).
    #[arg(long)]
    pseudonym: PathBuf,
    /// What the provider gave you.
    #[arg(long)]
    attestation: PathBuf,
    /// Its path in the attestation tree, from the ledger.
    #[arg(long)]
    attestation_path: PathBuf,
    /// What the insurer gave you.
    #[arg(long)]
    enrolment: PathBuf,
    /// Its path in the enrolment tree, from the ledger.
    #[arg(long)]
    enrolment_path: PathBuf,
    /// The plan, as published.
    #[arg(long)]
    plan: PathBuf,
    /// Which fact of the attestation you claim, counted from 0.
    #[arg(long)]
    fact: usize,
    /// Which of the period's claims this is, counted from 0.
    #[arg(long, default_value_t = 0)]
    claim_number: u16,
    /// The day on which it holds (YYYY-MM-DD); the ledger wants about today.
    #[arg(long)]
    as_of: Day,
    /// The chain that will check the proof.
    #[arg(long)]
    chain_id: String,
    /// The claim: 64 hexadecimal digits, from the insurer's request.
    #[arg(long, value_parser = claim)]
    claim: [u8; 32],
    /// The account that will submit the proof: care1…
    #[arg(long)]
    submitter: Account,
    /// When the proof expires, in Unix seconds.
    #[arg(long)]
    expiry: u64,
    /// The proof, for the insurer: proof.careledger.json, so that nobody takes it for snarkjs's proof.json.
    #[arg(long)]
    out: PathBuf,
    /// The new file that opens the committed amount; give it to the insurer to be paid.
    #[arg(long)]
    amount_out: PathBuf,
    /// Also write proof.json, public.json and verification_key.json here, as snarkjs reads them. An insurer
    /// takes the key from elsewhere.
    #[arg(long, value_name = "DIR")]
    snarkjs: Option<PathBuf>,
    /// Where proving keys are kept. [default: the user's cache folder]
    #[arg(long)]
    cache: Option<PathBuf>,
}

impl Eligibility {
    pub fn run(self) -> Result<(), Failure> {
        let witness = self.witness()?;
        witness.plan.check_partition()?;
        let statement = witness.statement(self.as_of, self.context(&witness))?;
        let prover = Prover::development(&files::cache_folder(self.cache.clone())?)?;
        let proof = prover.prove(&statement, &witness)?;
        let amount = witness.payable()?;
        let opening = AmountOpening { amount, blinding: witness.amount_blinding };
        files::write_private(&self.amount_out, &opening)?;
        let document = ProofDocument::new(prover.verifying_key(), statement, &proof);
        files::write_public(&self.out, &document)?;
        if let Some(folder) = &self.snarkjs {
            write_snarkjs(folder, &prover, &statement, &Proof::from_bytes(&proof)?)?;
        }
        println!("The proof is made and verifies. Send {} to the insurer.", self.out.display());
        println!("It is under development keys: it convinces a development chain only.");
        Ok(())
    }

    fn witness(&self) -> Result<Witness, Failure> {
        let wallet: Wallet = files::read(&self.wallet)?;
        let pseudonym: Pseudonym = files::read(&self.pseudonym)?;
        Ok(Witness {
            secret: wallet.secret,
            blinding: pseudonym.blinding,
            attestation: files::read(&self.attestation)?,
            attestation_path: files::read(&self.attestation_path)?,
            enrolment: files::read(&self.enrolment)?,
            enrolment_path: files::read(&self.enrolment_path)?,
            plan: files::read(&self.plan)?,
            claimed: self.fact,
            claim_number: self.claim_number,
            amount_blinding: random_element()?,
        })
    }

    fn context(&self, witness: &Witness) -> Element {
        binding::context(
            &self.chain_id,
            &CIRCUIT_ID,
            &witness.enrolment.insurer.0,
            &self.claim,
            &self.submitter.0,
            self.expiry,
        )
    }
}

fn write_snarkjs(folder: &Path, prover: &Prover, statement: &Statement, proof: &Proof) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    files::write_public(&folder.join("proof.json"), &ProofJson::from(proof))?;
    files::write_public(&folder.join("public.json"), &PublicJson::from(statement))?;
    let key = KeyJson::from(prover.verifying_key());
    files::write_public(&folder.join("verification_key.json"), &key)
}

fn claim(text: &str) -> Result<[u8; 32], &'static str> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "a claim is 64 hexadecimal digits")?;
    Ok(bytes)
}
