//! Which conditions are met by what the entries of a transaction write, which no index has yet. Judged by the same tables
//! and statements as a search, in memory, by the resources as they were sent; what a condition says of others (chains,
//! `_has`) is asked of nothing but these.

use std::collections::{BTreeMap, BTreeSet};

use super::{Identities, entry::Entry};
use crate::{
    index::Unlisted,
    interactions::{Context, condition, kept},
    json::Document,
    outcome::Refusal,
    search::Query,
};

/// Bytes of all different conditions of a Bundle that writes what they may be about: each is compared with all of that, in one
/// piece of work, while other conditions of the organization wait.
const CONDITIONS_BYTES_MAX: usize = 64 * 1024;

/// Conditions, type and criteria each, and a place that has it.
pub type Asked<'a> = BTreeMap<(&'a str, &'a str), Option<usize>>;

/// What the entries write, by the conditions that it meets.
pub struct Met<'a> {
    /// Ids of what is written and meets a condition.
    by_condition: BTreeMap<(&'a str, &'a str), BTreeSet<String>>,
    /// Ids of what is written in place of what is there, or deleted, by type.
    changed: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Met<'a> {
    /// Judges what `entries` write by their own conditions and by those of references.
    ///
    /// # Errors
    /// Whatever is against a condition, with the entry.
    pub async fn by(
        context: &Context<'_>,
        bundle: &Document,
        entries: &'a [Entry],
        identities: &'a Identities,
        referred: Asked<'a>,
    ) -> Result<Self, Refusal> {
        let (mut asked, mut changed) = (referred, BTreeMap::<&str, BTreeSet<&str>>::new());
        for (entry, id) in entries.iter().zip(&identities.ids) {
            if creates(entry, identities)
                && let Some(condition) = entry.condition()
            {
                asked.insert(condition, Some(entry.at));
            }
            if let (Some(id), "PUT" | "DELETE") = (id, entry.method.as_str()) {
                changed.entry(entry.resource_type()).or_default().insert(id);
            }
        }
        let written = written(bundle, entries, identities, &asked)?;
        let bytes: usize = asked.keys().map(|(_, criteria)| criteria.len()).sum();
        if !written.is_empty() && bytes > CONDITIONS_BYTES_MAX {
            let problem = format!(
                "the Bundle's conditions are to be judged by what it writes itself, and have more than {CONDITIONS_BYTES_MAX} bytes \
                 together: send it in parts"
            );
            return Err(Refusal::TooCostly { place: None, problem });
        }
        let (mut conditions, mut queries) = (Vec::new(), Vec::new());
        for (condition, at) in asked.into_iter().filter(|_| !written.is_empty()) {
            let query = query(context, condition).await.map_err(|refusal| refusal.of_entry(at))?;
            conditions.push(condition);
            queries.push(query);
        }
        let found = if queries.is_empty() {
            Vec::new()
        } else {
            context.organization.index.run(move |index| index.matching(&written, &queries)).await?
        };
        Ok(Self { by_condition: conditions.into_iter().zip(found).collect(), changed })
    }

    /// Refuses what would be created, or created anew, though another entry writes what its condition asks for: whichever
    /// of them is first, the other one would find it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] with both entries.
    pub fn refuse_duplicates(&self, entries: &[Entry], identities: &Identities) -> Result<(), Refusal> {
        for entry in entries.iter().filter(|entry| creates(entry, identities)) {
            let own = &identities.ids[entry.at];
            let met = entry.condition().and_then(|condition| self.by_condition.get(&condition));
            let Some(id) = met.into_iter().flatten().find(|id| own.as_ref() != Some(id)) else { continue };
            let is_it = |other: &&Entry| {
                let is_same = identities.ids[other.at].as_ref() == Some(id);
                is_same && other.resource_type() == entry.resource_type() && writes(other, identities)
            };
            let other = entries.iter().find(is_it).map_or(entry.at, |other| other.at);
            let problem = format!("has a condition that the resource of Bundle.entry[{other}] meets");
            return Err(Refusal::invalid(format!("Bundle.entry[{}]", entry.at), problem));
        }
        Ok(())
    }

    /// The id of the one resource that meets a condition once the transaction took effect; none if none does.
    ///
    /// # Errors
    /// [`Refusal::MultipleMatches`], and whatever is against the condition.
    pub async fn one(&self, context: &Context<'_>, condition: (&str, &str)) -> Result<Option<String>, Refusal> {
        let changed = self.changed.get(condition.0);
        let limit = 2 + changed.map_or(0, BTreeSet::len);
        let query = query(context, condition).await?;
        let found = condition::meeting(context, query, u32::try_from(limit).unwrap_or(u32::MAX)).await?;
        let stays = |id: &String| changed.is_none_or(|changed| !changed.contains(id.as_str()));
        let mut found: BTreeSet<String> = found.into_iter().filter(stays).collect();
        found.extend(self.by_condition.get(&condition).into_iter().flatten().cloned());
        if found.len() > 1 { Err(Refusal::MultipleMatches) } else { Ok(found.pop_first()) }
    }
}

/// Whether an entry puts a resource that its condition did not find, or that it has no condition for.
fn writes(entry: &Entry, identities: &Identities) -> bool {
    match entry.method.as_str() {
        "POST" => !identities.existing[entry.at],
        method => method == "PUT",
    }
}

/// Whether an entry puts a resource because nothing met its condition.
fn creates(entry: &Entry, identities: &Identities) -> bool {
    writes(entry, identities) && entry.condition().is_some() && !identities.existing[entry.at]
}

async fn query(context: &Context<'_>, (resource_type, criteria): (&str, &str)) -> Result<Query, Refusal> {
    condition::query(context, kept(resource_type)?, criteria).await
}

/// What is written of the types that are asked for.
fn written(
    bundle: &Document,
    entries: &[Entry],
    identities: &Identities,
    asked: &Asked<'_>,
) -> Result<Vec<Unlisted>, Refusal> {
    let types: BTreeSet<&str> = asked.keys().map(|(resource_type, _)| *resource_type).collect();
    let is_asked = |entry: &&Entry| types.contains(entry.resource_type()) && writes(entry, identities);
    let mut written = Vec::new();
    for entry in entries.iter().filter(is_asked) {
        let Some(name) = identities.ids[entry.at].clone() else { continue };
        let resource_type = kept(entry.resource_type())?.name;
        written.push(Unlisted { resource_type, name, document: entry.document(bundle)? });
    }
    Ok(written)
}
