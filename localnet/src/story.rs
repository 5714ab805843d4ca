//! Telling what happens, step by step, and checking each step.
//!
//! A step says who does what, shows the call, shows the answer, and checks what must hold. The first check that
//! does not hold ends the story.

use std::fmt::Display;

use crate::failure::Failure;
use crate::places;

use self::world::World;

mod consent;
mod eligibility;
pub mod http;
mod organizations;
mod records;
pub mod world;

/// What a story leaves behind, for those who look on.
#[derive(Debug)]
pub struct Told {
    /// Id of the Patient at hospital A.
    pub patient: String,
    /// Id of one of her DocumentReferences there.
    pub document: String,
    /// Id of the Patient at hospital B.
    pub patient_at_lakeside: String,
    /// Her subject at hospital A, on the ledger.
    pub subject: String,
    /// The grant that was given and revoked.
    pub grant: String,
}

/// Tells the whole story in a world whose gateways run, and whose ledger knows nobody yet.
pub fn tell(world: &World) -> Result<Told, Failure> {
    if world.folder().exists() {
        return Err(Failure::Needs(format!(
            "the story was begun in {} before, and its patient and claim are known there; start afresh with `up --fresh`",
            world.home.display()
        )));
    }
    places::make_folder(&world.folder())?;
    let mut story = Story::default();
    organizations::register(&mut story, world)?;
    let darcy = records::file(&mut story, world)?;
    let request = consent::ask(&mut story, world, &darcy)?;
    let granted = consent::grant(&mut story, world, &darcy, &request)?;
    consent::read(&mut story, world, &darcy, &granted)?;
    consent::revoke(&mut story, world, &darcy, &granted)?;
    eligibility::prove(&mut story, world, &darcy)?;
    say!("\nThe story is told: {}.", story.sum());
    Ok(Told {
        patient: darcy.id,
        document: darcy.documents[0].clone(),
        patient_at_lakeside: granted.patient,
        subject: darcy.subject,
        grant: granted.grant,
    })
}

/// A story as it is told.
#[derive(Debug, Default)]
pub struct Story {
    steps: usize,
    checks: usize,
    /// The step that is being told.
    current: String,
}

impl Story {
    /// Begins a chapter.
    pub fn chapter(&mut self, title: &str) {
        say!("\n## {title}");
    }

    /// Begins a step: `who` does `what`.
    pub fn step(&mut self, who: &str, what: &str) {
        self.steps += 1;
        self.current = format!("{}. {who} {what}", self.steps);
        say!("\n{}.", self.current);
    }

    /// Shows what is called.
    pub fn call(&self, call: impl Display) {
        say!("   → {call}");
    }

    /// Shows what was answered.
    pub fn answer(&self, answer: impl Display) {
        say!("   ← {answer}");
    }

    /// Checks what must hold after the step.
    pub fn check(&mut self, claim: &str, holds: bool) -> Result<(), Failure> {
        self.checks += 1;
        if holds {
            say!("   ✓ {claim}");
            return Ok(());
        }
        say!("   ✗ {claim}");
        Err(Failure::Check(format!("{}: it does not hold that {claim}", self.current)))
    }

    /// Checks that two values are the same, and shows both where they are not.
    pub fn check_same<V: PartialEq + Display>(&mut self, claim: &str, found: V, wanted: V) -> Result<(), Failure> {
        if found != wanted {
            say!("   found {found}, wanted {wanted}");
        }
        self.check(claim, found == wanted)
    }

    /// How many steps were told and how many checks held.
    pub fn sum(&self) -> String {
        format!("{} steps, {} checks, all of them held", self.steps, self.checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_does_not_hold_names_its_step() {
        let mut story = Story::default();
        story.step("The patient", "revokes");
        story.check("the revocation is committed", true).unwrap();
        let failure = story.check_same("the next read is refused", 200, 404).unwrap_err().to_string();
        assert!(
            failure.contains("1. The patient revokes") && failure.contains("the next read is refused"),
            "{failure}"
        );
        assert_eq!(story.sum(), "1 steps, 2 checks, all of them held");
    }
}
