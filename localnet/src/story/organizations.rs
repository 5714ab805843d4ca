//! Chapter 1: registrars accredit three organizations.

use super::Story;
use super::world::{Organization, World, text};
use crate::failure::Failure;
use crate::network::prepare::registrar;

/// SHA-256 of the empty file: the demo has no evidence to show.
const NO_EVIDENCE: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Registers the hospitals and the insurer.
pub fn register(story: &mut Story, world: &World) -> Result<(), Failure> {
    story.chapter("Who takes part");
    for organization in [&world.general, &world.lakeside, &world.insurer] {
        story.step("Two of three registrars", &format!("accredit {} as {}", organization.name, organization.kind));
        approve(story, world, organization, 0)?;
        let early = world.query(&["organization", &organization.account])?;
        story.check("one registrar alone is not enough", early.is_none())?;
        approve(story, world, organization, 1)?;
        let registered = world.query(&["organization", &organization.account])?;
        story.check("the ledger has it, and proves it against a block header", registered.is_some())?;
    }
    Ok(())
}

fn approve(story: &Story, world: &World, organization: &Organization, index: usize) -> Result<(), Failure> {
    let registrar = registrar(index);
    story.call(format!(
        "careledgerd tx register-organization --from {registrar} --organization {}",
        organization.account
    ));
    let answer = world.send(&[
        "register-organization",
        "--from",
        &registrar,
        "--organization",
        &organization.account,
        "--kind",
        organization.kind,
        "--encryption-key",
        &organization.encryption_key,
        "--evidence",
        NO_EVIDENCE,
        "--expires-at",
        "2031-01-01",
    ])?;
    story.answer(format!("committed at height {}, transaction {}", answer["height"], text(&answer, "hash")?));
    Ok(())
}
