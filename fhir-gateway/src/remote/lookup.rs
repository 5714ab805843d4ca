//! What this organization itself holds, found through its index. The index is derived, so what it
//! names is read from the records, where what is not there is not found.

use serde_json::Value;

use crate::{
    index::{extract, sight::Sight},
    mapping::facts,
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
    resources::resource,
    search::{Handling, Query},
    validate::is_id,
};

/// Resources of one patient that are looked at.
const OF_PATIENT_MAX: u32 = 10_000;

/// Ids and contents of the resources of one type that meet every criterion, at most `limit`.
pub async fn matches(
    organization: &Organization,
    resource_type: &str,
    criteria: &[(&str, String)],
    limit: u32,
) -> Result<Vec<(String, Value)>, Refusal> {
    let found = versions(organization, resource_type, criteria, limit).await?;
    Ok(found.into_iter().map(|(stored, value)| (stored.id, value)).collect())
}

/// Current versions and contents of the resources of one type that meet every criterion, at most
/// `limit`.
pub async fn versions(
    organization: &Organization,
    resource_type: &str,
    criteria: &[(&str, String)],
    limit: u32,
) -> Result<Vec<(Stored, Value)>, Refusal> {
    let ids = ids(organization, resource_type, criteria, limit).await?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(current(organization, resource_type, &id).await?);
    }
    Ok(found)
}

/// Ids of the resources of one type that meet every criterion, at most `limit`, in order of arrival.
/// Nothing is read but the index.
pub async fn ids(
    organization: &Organization,
    resource_type: &str,
    criteria: &[(&str, String)],
    limit: u32,
) -> Result<Vec<String>, Refusal> {
    let resource = resource(resource_type).ok_or(Refusal::UnsupportedResource)?;
    let pairs: Vec<(String, String)> =
        criteria.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let query = Query::parse(resource, &pairs, Handling::Strict, &organization.base_url)?;
    let hits = organization.index.run(move |index| index.matches(&query, limit)).await?;
    Ok(hits.into_iter().map(|hit| hit.id).collect())
}

/// The current version of one resource and its content; none where it is not there, or no JSON.
pub async fn current(
    organization: &Organization,
    resource_type: &str,
    id: &str,
) -> Result<Option<(Stored, Value)>, Refusal> {
    let stored = match organization.records.read(resource_type, id).await {
        Ok(stored) => stored,
        Err(Refusal::NotFound | Refusal::Gone) => return Ok(None),
        Err(other) => return Err(other),
    };
    let value = match &stored.content {
        Content::Json(bytes) => serde_json::from_slice(bytes).ok(),
        Content::Raw { .. } | Content::Deleted => None,
    };
    Ok(value.map(|value| (stored, value)))
}

/// Ids and contents of one patient's resources of one type.
pub async fn of_patient(
    organization: &Organization,
    resource_type: &str,
    patient: &str,
) -> Result<Vec<(String, Value)>, Refusal> {
    let criteria = [("patient", format!("Patient/{patient}"))];
    matches(organization, resource_type, &criteria, OF_PATIENT_MAX).await
}

/// The DocumentReferences that point at a Binary of this organization, of the first `limit` that may.
pub async fn documents_of(
    organization: &Organization,
    binary: &str,
    limit: u32,
) -> Result<Vec<(Stored, Value)>, Refusal> {
    let mut found = documents_that_may_name(organization, binary, limit).await?;
    found.retain(|(_, document)| facts::binaries(document, &organization.base_url).contains(&binary));
    Ok(found)
}

/// The DocumentReferences that may point at a Binary of this organization, at most `limit`.
pub async fn documents_that_may_name(
    organization: &Organization,
    binary: &str,
    limit: u32,
) -> Result<Vec<(Stored, Value)>, Refusal> {
    let locations = format!("{},{}", locations(organization, binary), extract::possible_binary(binary));
    let found = versions(organization, "DocumentReference", &[("location:below", locations)], limit).await?;
    Ok(found.into_iter().filter(|(_, document)| facts::may_point_at(document, binary)).collect())
}

/// Whether a document about a Patient may point at a Binary of this organization. Nothing is read but the index,
/// and of it only what is about that Patient: what others' documents point at is as absent.
pub async fn is_in_a_document_of(organization: &Organization, binary: &str, patient: &str) -> Result<bool, Refusal> {
    // What can be no id would be more than one alternative, or the beginning of all.
    if !is_id(binary) {
        return Ok(false);
    }
    let resource = resource("DocumentReference").ok_or(Refusal::UnsupportedResource)?;
    let location = ("location:below".to_owned(), locations(organization, binary));
    let mut query = Query::parse(resource, &[location], Handling::Strict, &organization.base_url)?;
    query.sight = Some(Sight { own: vec![resource.name], patient: Some(patient.to_owned()), ..Sight::default() });
    let found = organization.index.run(move |index| index.matches(&query, 1)).await?;
    Ok(!found.is_empty())
}

/// What a document calls a Binary of this organization, as a search has alternatives.
fn locations(organization: &Organization, binary: &str) -> String {
    format!("Binary/{binary},{}/Binary/{binary}", organization.base_url)
}

/// Every resource with an identifier. Anybody may have written one, so a caller keeps those that
/// the ledger agrees with.
pub async fn by_identifier(
    organization: &Organization,
    resource_type: &str,
    system: &str,
    value: &str,
) -> Result<Vec<(String, Value)>, Refusal> {
    matches(organization, resource_type, &[("identifier", format!("{system}|{value}"))], OF_PATIENT_MAX).await
}
