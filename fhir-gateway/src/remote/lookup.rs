//! What this organization itself holds, found through its index. The index is derived, so what it
//! names is read from the records, where what is not there is not found.

use serde_json::Value;

use crate::{
    mapping::facts,
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
    resources::resource,
    search::{Handling, Query},
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
    let resource = resource(resource_type).ok_or(Refusal::UnsupportedResource)?;
    let pairs: Vec<(String, String)> =
        criteria.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let query = Query::parse(resource, &pairs, Handling::Strict, &organization.base_url)?;
    let hits = organization.index.run(move |index| index.matches(&query, limit)).await?;
    let mut found = Vec::with_capacity(hits.len());
    for hit in hits {
        match organization.records.read(resource_type, &hit.id).await {
            Ok(stored) => {
                if let Content::Json(bytes) = &stored.content
                    && let Ok(value) = serde_json::from_slice(bytes)
                {
                    found.push((stored, value));
                }
            }
            Err(Refusal::NotFound | Refusal::Gone) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(found)
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

/// The DocumentReferences that point at a Binary of this organization, at most `limit`.
pub async fn documents_of(
    organization: &Organization,
    binary: &str,
    limit: u32,
) -> Result<Vec<(Stored, Value)>, Refusal> {
    let location = format!("Binary/{binary},{}/Binary/{binary}", organization.base_url);
    let found = versions(organization, "DocumentReference", &[("location:below", location)], limit).await?;
    let points_at = |document: &Value| facts::binaries(document, &organization.base_url).contains(&binary);
    Ok(found.into_iter().filter(|(_, document)| points_at(document)).collect())
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
