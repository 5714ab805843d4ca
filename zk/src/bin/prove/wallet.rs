//! The wallet, and what is made from it for others.

use std::path::Path;

use careledger_zk::{
    binding::scope_of,
    document::Wallet,
    field::Element,
    opening::{Account, AttestationOpening, EnrolmentOpening, Pseudonym, member},
    plan::Plan,
    prover::random_element,
};

use crate::{CommitKind, Failure, files};

pub fn secret(out: &Path) -> Result<(), Failure> {
    files::write_private(out, &Wallet { secret: random_element()? })
}

pub fn pseudonym(wallet: &Path, out: &Path) -> Result<Element, Failure> {
    let wallet: Wallet = files::read(wallet)?;
    let fresh = Pseudonym::new(wallet.secret, random_element()?);
    files::write_private(out, &fresh)?;
    Ok(fresh.pseudonym)
}

pub fn member_of(wallet: &Path, insurer: &Account) -> Result<Element, Failure> {
    let wallet: Wallet = files::read(wallet)?;
    Ok(member(wallet.secret, scope_of(&insurer.0)))
}

pub fn commitment(kind: CommitKind, file: &Path) -> Result<Element, Failure> {
    Ok(match kind {
        CommitKind::Attestation => files::read::<AttestationOpening>(file)?.commitment()?,
        CommitKind::Enrolment => files::read::<EnrolmentOpening>(file)?.commitment(),
        CommitKind::Plan => {
            let plan: Plan = files::read(file)?;
            plan.check_partition()?;
            plan.commitment()
        }
    })
}
