//! Whose a resource is, before anything of it is looked at: what docs/api/http.md says of `404`.
//!
//! Who is limited to one patient is asked under that patient's name: in the index, whatever is another's is
//! under another name, and so is looked up as what is not there. Only what is found is read from the vault,
//! which decides. So "denied" and "absent" are the same work, and no clock tells them apart.
//! docs/adr/0035-what-is-denied-costs-what-is-absent.md

use super::Context;
use crate::{
    auth::scopes::Interaction, hooks, hooks::Proposed, mapping::task, outcome::Refusal, records::blocking,
    remote::lookup,
};

/// Refuses what no version of was ever the caller's to see, as if it did not exist.
///
/// # Errors
/// [`Refusal::NotFound`].
pub async fn in_sight(
    context: &Context<'_>,
    interaction: Interaction,
    resource_type: &str,
    id: &str,
) -> Result<(), Refusal> {
    version_in_sight(context, interaction, resource_type, id, None).await
}

/// As [`in_sight`], of one version.
pub async fn version_in_sight(
    context: &Context<'_>,
    interaction: Interaction,
    resource_type: &str,
    id: &str,
    version: Option<u32>,
) -> Result<(), Refusal> {
    match context.caller.compartment(interaction, resource_type) {
        Some(own) if !is_of(context, own, resource_type, id, version).await? => Err(Refusal::NotFound),
        _ => Ok(()),
    }
}

/// Whether a resource, or one version of it, is or was about a Patient, as the index has it.
pub async fn is_of(
    context: &Context<'_>,
    patient: &str,
    resource_type: &str,
    id: &str,
    version: Option<u32>,
) -> Result<bool, Refusal> {
    if resource_type == "Patient" {
        return Ok(id == patient);
    }
    let (patient, kind, id) = (patient.to_owned(), resource_type.to_owned(), id.to_owned());
    let asked = (patient.clone(), id.clone());
    let index = &context.organization.index;
    if index.run(move |index| index.is_of(&asked.0, &kind, &asked.1, version)).await? {
        return Ok(true);
    }
    // A Binary that names nobody is the patient's of its documents.
    Ok(resource_type == "Binary" && lookup::is_in_a_document_of(context.organization, &id, &patient).await?)
}

/// Whether a line of the access log is about a Patient. The line itself is not looked at.
pub async fn is_line_of(context: &Context<'_>, patient: &str, number: u64) -> Result<bool, Refusal> {
    let (audit, patient) = (context.organization.audit.clone(), patient.to_owned());
    blocking(move || audit.is_about(&patient, number)).await
}

/// Refuses the access request of a caller who may see no Practitioner as if the one that it names were not
/// here: whether it is, and is enrolled, would be told by the refusal.
pub fn permit_requesters(context: &Context<'_>, proposed: &[Proposed]) -> Result<(), Refusal> {
    if context.caller.compartment(Interaction::Read, "Practitioner").is_none() {
        return Ok(());
    }
    let is_request = |at: &&Proposed| {
        let document = at.document.as_ref().filter(|_| at.change.target().0 == "Task");
        document.is_some_and(|document| task::is_access_request(&document.to_value()))
    };
    match proposed.iter().find(is_request) {
        Some(at) => Err(hooks::task::unknown_requester().of_entry(at.entry)),
        None => Ok(()),
    }
}
