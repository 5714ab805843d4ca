//! References of a transaction: between its entries, and by condition.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use super::entry::Entry;
use crate::{
    interactions::{Context, condition, is_conditional, kept},
    json::{Document, Edit},
    outcome::Refusal,
    validate::Link,
};

/// What entries are called, and what they are.
#[derive(Debug, Default)]
pub struct Names {
    /// The id of each entry; none for reads.
    pub ids: Vec<Option<String>>,
    local: HashMap<String, String>,
}

impl Names {
    /// `entry` is the resource `id`.
    pub fn add(&mut self, entry: &Entry, id: &str) {
        let Some(full_url) = &entry.full_url else { return };
        let resource_type = &entry.target.resource_type;
        let local = format!("{resource_type}/{id}");
        // A server that exports its own ids also refers to them relatively.
        if let Some(at) = full_url.rfind(&format!("/{resource_type}/")) {
            self.local.insert(full_url[at + 1..].to_string(), local.clone());
        }
        self.local.insert(full_url.clone(), local);
    }
}

/// Edits in bytes of the Bundle, in order.
#[derive(Debug)]
pub struct Edits(Vec<Edit>);

impl Edits {
    /// Those that lie in `range`.
    pub fn within(&self, range: Range<usize>) -> impl Iterator<Item = &Edit> {
        let first = self.0.partition_point(|edit| edit.range.start < range.start);
        self.0[first..].iter().take_while(move |edit| edit.range.end <= range.end)
    }
}

/// What has to be replaced so that every link is local.
pub async fn edits(context: &Context<'_>, bundle: &Document, links: &[Link], names: &Names) -> Result<Edits, Refusal> {
    let mut edits = Vec::new();
    let mut conditions: HashMap<String, String> = HashMap::new();
    for link in links.iter().filter(|link| is_in_resource(&link.path)) {
        let Some(text) = link.node.as_str() else { continue };
        let (whole, fragment) = match text.split_once('#') {
            Some((whole, _)) => (whole, &text[whole.len()..]),
            None => (text, ""),
        };
        if let Some(local) = names.local.get(whole) {
            edits.push(Edit::string(&link.node, &format!("{local}{fragment}")));
        } else if link.is_reference && is_conditional(link) {
            let local = match conditions.get(text) {
                Some(local) => local.clone(),
                None => {
                    let local = by_condition(context, link, text).await?;
                    conditions.insert(text.to_string(), local.clone());
                    local
                }
            };
            edits.push(Edit::string(&link.node, &local));
        }
    }
    edits.sort_by_key(|edit| edit.range.start);
    debug_assert!(edits.last().is_none_or(|edit| edit.range.end <= bundle.bytes().len()), "edits are of this Bundle");
    Ok(Edits(edits))
}

/// The conditions of conditional references, each once: type and criteria.
pub fn conditions(links: &[Link]) -> BTreeSet<(&str, &str)> {
    let conditional =
        links.iter().filter(|link| link.is_reference && is_in_resource(&link.path) && is_conditional(link));
    conditional.filter_map(|link| link.node.as_str()?.split_once('?')).collect()
}

/// Links of the Bundle itself (`fullUrl`, `request.url`) stay.
fn is_in_resource(path: &str) -> bool {
    path.split_once("].").is_some_and(|(_, rest)| rest.starts_with("resource."))
}

async fn by_condition(context: &Context<'_>, link: &Link, text: &str) -> Result<String, Refusal> {
    let refuse = |problem: &str| Refusal::invalid(link.path.clone(), problem);
    let (resource_type, query) = text.split_once('?').ok_or_else(|| refuse("is not Type?query"))?;
    let found = async { condition::one(context, kept(resource_type)?, query).await };
    let named = |refusal: Refusal| refusal.of_entry(entry_of(&link.path));
    let id = found.await.map_err(named)?;
    let id = id.ok_or_else(|| named(Refusal::PreconditionFailed("a conditional reference names no resource")))?;
    Ok(format!("{resource_type}/{id}"))
}

/// The place of the entry that a path such as `Bundle.entry[3].resource` leads into.
fn entry_of(path: &str) -> Option<usize> {
    path.strip_prefix("Bundle.entry[")?.split_once(']')?.0.parse().ok()
}
