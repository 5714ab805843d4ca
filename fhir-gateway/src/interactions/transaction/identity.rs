//! Which resource each entry of a transaction is about: by its address, by a condition, or a new one.

use std::collections::{BTreeMap, btree_map};

use super::entry::Entry;
use crate::{
    interactions::{Context, condition, create::id_of_new, update, writable},
    outcome::Refusal,
};

/// Which resources entries are about.
#[derive(Debug)]
pub struct Identities {
    /// The id of each entry; none for reads.
    pub ids: Vec<Option<String>>,
    /// Whether it exists, and the condition of the entry found it.
    pub existing: Vec<bool>,
}

/// Gives every entry its id; `keyed` are those of what is created under the request's key.
///
/// # Errors
/// [`Refusal::Invalid`] where two entries change one resource, and whatever is against a condition.
pub async fn identities(
    context: &Context<'_>,
    entries: &[Entry],
    keyed: &[Option<String>],
) -> Result<Identities, Refusal> {
    let mut identities = Identities { ids: Vec::with_capacity(entries.len()), existing: vec![false; entries.len()] };
    let mut seen = Seen::new();
    for (at, entry) in entries.iter().enumerate() {
        let resource_type = entry.resource_type();
        if entry.is_read() {
            identities.ids.push(None);
            continue;
        }
        let found = existing_id(context, entry).await.map_err(|refusal| refusal.of_entry(at))?;
        identities.existing[at] = found.is_some();
        let id = found.or_else(|| entry.address().map(str::to_owned)).or_else(|| keyed[at].clone());
        let id = match id {
            Some(id) => id,
            None => id_in(context, entry, &seen).await.map_err(|refusal| refusal.of_entry(at))?,
        };
        match seen.entry((resource_type.to_string(), id.clone())) {
            btree_map::Entry::Vacant(free) => {
                free.insert(at);
            }
            btree_map::Entry::Occupied(mut other) => {
                may_share(entry, &entries[*other.get()], &identities.existing)?;
                if entry.method != "POST" {
                    other.insert(at);
                }
            }
        }
        identities.ids.push(Some(id));
    }
    Ok(identities)
}

/// Resources by type and id, and the entry that changes each, or else one that found it there.
type Seen = BTreeMap<(String, String), usize>;

/// Refuses two entries that are about one resource, in whatever order they stand: but for a conditional create, which
/// changes nothing where the resource exists, beside what leaves it there.
fn may_share(entry: &Entry, other: &Entry, existing: &[bool]) -> Result<(), Refusal> {
    let found_it = |entry: &Entry| entry.method == "POST" && existing[entry.at];
    let leaves_it = |entry: &Entry| found_it(entry) || matches!(entry.method.as_str(), "PUT" | "PATCH");
    if (found_it(entry) || found_it(other)) && leaves_it(entry) && leaves_it(other) {
        return Ok(());
    }
    let problem = format!("names a resource that Bundle.entry[{}] names, too", other.at);
    Err(Refusal::invalid(format!("Bundle.entry[{}]", entry.at), problem))
}

/// The id of what an entry creates: by its condition, if it has one that no other entry has.
async fn id_in(context: &Context<'_>, entry: &Entry, seen: &Seen) -> Result<String, Refusal> {
    let resource_type = entry.resource_type();
    if let Some((_, condition)) = entry.condition() {
        let id = condition::plan(context, writable(resource_type)?, condition).await?.new_id()?;
        if !seen.contains_key(&(resource_type.to_string(), id.clone())) {
            return Ok(id);
        }
    }
    Ok(id_of_new(&Context { key: None, ..*context }, resource_type))
}

/// The id of the resource that an entry names by condition, if there is one.
async fn existing_id(context: &Context<'_>, entry: &Entry) -> Result<Option<String>, Refusal> {
    let kind = writable(entry.resource_type())?;
    let Some((_, condition)) = entry.condition() else { return Ok(None) };
    let found = condition::one(context, kind, condition).await?;
    match (entry.method.as_str(), &found) {
        ("PUT", Some(id)) if entry.resource_id().is_some_and(|named| named != id) => {
            Err(Refusal::BadRequest("the resource has another id than the one that the condition found".to_string()))
        }
        ("PUT", None) => {
            if let Some(id) = entry.resource_id() {
                update::must_be_free(context, kind, id).await?;
            }
            Ok(None)
        }
        ("PATCH", None) => Err(Refusal::NotFound),
        _ => Ok(found),
    }
}
