//! What goes into the access log of what local clients do: docs/api/audit-event.md

use std::collections::BTreeSet;

use super::{Context, patients_of_version};
use crate::{
    audit::{Access, Action, Agent, Entity, Outcome},
    outcome::Refusal,
    records::Stored,
    resources::elements::definition,
    validate::is_id,
    vault::Durability,
};

/// Logs what the caller did to `stored`, before the caller learns of it.
pub async fn log(context: &Context<'_>, action: Action, stored: &Stored) -> Result<(), Refusal> {
    log_for(context, action, stored, &patients_of_version(context, stored).await?).await
}

/// As [`log`], where it is known whom `stored` is about.
pub async fn log_for(
    context: &Context<'_>,
    action: Action,
    stored: &Stored,
    patients: &BTreeSet<String>,
) -> Result<(), Refusal> {
    log_patients(context, action, patients, &entity_of(stored)).await
}

/// As [`log_for`], of what was written; with the last line goes the note at that key.
pub async fn log_noted(
    context: &Context<'_>,
    action: Action,
    stored: &Stored,
    patients: &BTreeSet<String>,
    note: &[u8],
) -> Result<(), Refusal> {
    let entity = entity_of(stored);
    let mut patients = patients.iter();
    let last = patients.next_back();
    for patient in patients {
        record(context, access(context, action, Outcome::Permitted, Some(patient), entity.clone()), None).await?;
    }
    let access = access(context, action, Outcome::Permitted, last.map(String::as_str), entity);
    record(context, access, Some(note)).await
}

fn entity_of(stored: &Stored) -> Entity {
    Entity {
        resource_type: stored.resource_type.clone(),
        id: Some(stored.id.clone()),
        version: Some(stored.version),
        query: None,
    }
}

/// The local Patients whom a page shows: of a Binary that names nobody, those of its documents, as where
/// it is read alone.
pub async fn patients_of_page<'a>(
    context: &Context<'_>,
    page: impl Iterator<Item = &'a Stored>,
) -> Result<BTreeSet<String>, Refusal> {
    let mut patients = BTreeSet::new();
    for stored in page {
        patients.extend(patients_of_version(context, stored).await?);
    }
    Ok(patients)
}

/// Logs one access for each of the patients whom it showed, or one that names nobody: each of them
/// finds it in their own part of the log.
pub async fn log_patients(
    context: &Context<'_>,
    action: Action,
    patients: &BTreeSet<String>,
    entity: &Entity,
) -> Result<(), Refusal> {
    if patients.is_empty() {
        return log_access(context, action, None, entity.clone()).await;
    }
    for patient in patients {
        log_access(context, action, Some(patient), entity.clone()).await?;
    }
    Ok(())
}

/// Logs one access.
pub async fn log_access(
    context: &Context<'_>,
    action: Action,
    patient: Option<&str>,
    entity: Entity,
) -> Result<(), Refusal> {
    record(context, access(context, action, Outcome::Permitted, patient, entity), None).await
}

/// Logs that a request was refused for who asks: the token does not allow it, or there is nothing
/// that the caller may know of, which the log does not tell apart either. Gives the refusal back.
/// Any other refusal shows nothing and is not logged.
pub async fn refused(
    context: &Context<'_>,
    action: Action,
    resource_type: &str,
    id: Option<&str>,
    refusal: Refusal,
) -> Refusal {
    let reason = match &refusal {
        Refusal::Entry { refusal, .. } => reason_of(refusal),
        refusal => reason_of(refusal),
    };
    let Some(reason) = reason else { return refusal };
    // A line stays for good: what a client wrote into an address is not in it unless it is a name.
    let resource_type =
        definition(resource_type).filter(|found| found.is_resource).map_or("Resource", |_| resource_type);
    let entity = Entity {
        resource_type: resource_type.to_owned(),
        id: id.filter(|id| is_id(id)).map(str::to_owned),
        version: None,
        query: None,
    };
    let outcome = Outcome::Denied(reason.to_owned());
    let logged = record(context, access(context, action, outcome, None, entity), None).await;
    logged.err().unwrap_or(refusal)
}

fn reason_of(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Forbidden(_) => Some("Scope"),
        Refusal::NotFound => Some("Absent"),
        _ => None,
    }
}

fn access(context: &Context<'_>, action: Action, outcome: Outcome, patient: Option<&str>, entity: Entity) -> Access {
    Access {
        action,
        outcome,
        agent: Agent::Client(context.caller.client.clone()),
        purpose: None,
        patient: patient.map(str::to_string),
        entities: vec![entity],
        grant: None,
        origin: context.origin.clone(),
    }
}

async fn record(context: &Context<'_>, access: Access, note: Option<&[u8]>) -> Result<(), Refusal> {
    context.organization.audit.record_and_take(access, Durability::Ordered, note).await.map(|_| ())
}
