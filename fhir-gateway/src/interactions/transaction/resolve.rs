//! References of a transaction: between its entries, and by condition.

use std::{collections::HashMap, ops::Range};

use super::{
    Identities,
    entry::Entry,
    met::{Asked, Met},
};
use crate::{
    auth::scopes::Interaction,
    interactions::{Context, is_conditional, permit, update},
    json::{Document, Edit},
    outcome::Refusal,
    resources::elements::definition,
    validate::{Link, LinkKind, is_id},
};

/// What stands before the version in a reference to one.
const HISTORY: &str = "/_history/";

/// The entries that references may mean, by their places.
#[derive(Debug, Default)]
pub struct Names<'a> {
    by_url: HashMap<&'a str, usize>,
    /// By the `Type/id` that a RESTful `fullUrl` ends with: several, where these have several bases.
    by_end: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Names<'a> {
    /// The names of `entries`.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where two entries have one: it cannot be told which of them a reference means.
    pub fn of(entries: &'a [Entry]) -> Result<Self, Refusal> {
        let mut names = Self::default();
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.is_read()) {
            let Some(full_url) = &entry.full_url else { continue };
            if let Some(first) = names.by_url.insert(full_url, at) {
                let path = format!("Bundle.entry[{at}].fullUrl");
                return Err(Refusal::invalid(path, format!("is that of Bundle.entry[{first}], too")));
            }
            if let Some((_, end)) = restful(full_url) {
                names.by_end.entry(end).or_default().push(at);
            }
        }
        Ok(names)
    }

    /// The entry that `url` means where `within` says it: by its `fullUrl`, or relatively, from the base of the entry
    /// that says it (FHIR R4, Bundle: resolving references). Where that has no RESTful `fullUrl`, the one entry that can be meant is.
    ///
    /// # Errors
    /// What is wrong where several may be meant, or one of another base: a resource of this server, which may be another
    /// patient, is not meant by what can be one of the Bundle's.
    fn meant(&self, within: Option<&Entry>, url: &str, base_url: &str) -> Result<Option<usize>, &'static str> {
        if let Some(at) = self.by_url.get(url) {
            return Ok(Some(*at));
        }
        let Some(ends) = self.by_end.get(url) else { return Ok(None) };
        match (within.and_then(|entry| restful(entry.full_url.as_deref()?)), ends.as_slice()) {
            (Some((base, _)), _) => match self.by_url.get(format!("{base}/{url}").as_str()) {
                None if base != base_url => {
                    Err("is none of the Bundle from the entry's own base, and one from another's")
                }
                found => Ok(found.copied()),
            },
            (None, [at]) => Ok(Some(*at)),
            (None, _) => Err("may mean several entries: the entry needs a fullUrl with the base of one"),
        }
    }
}

/// Base and `Type/id` of a RESTful URL.
fn restful(url: &str) -> Option<(&str, &str)> {
    let (rest, id) = url.rsplit_once('/')?;
    let (base, resource_type) = rest.rsplit_once('/')?;
    let is_it = base.starts_with("http") && is_id(id) && definition(resource_type).is_some_and(|it| it.is_resource);
    is_it.then(|| (base, &url[base.len() + 1..]))
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

/// What references are resolved with.
pub struct Resolving<'a> {
    /// Whose request it is.
    pub context: &'a Context<'a>,
    /// What is written and read.
    pub entries: &'a [Entry],
    /// What entries are called.
    pub names: &'a Names<'a>,
    /// What they are.
    pub identities: &'a Identities,
    /// What they meet.
    pub met: &'a Met<'a>,
    /// Whether an earlier try under the same key took effect.
    pub is_again: bool,
}

impl Resolving<'_> {
    /// What has to be replaced so that every link is local.
    pub async fn edits(&self, bundle: &Document, links: &[Link]) -> Result<Edits, Refusal> {
        let mut edits = Vec::new();
        let mut conditions: HashMap<&str, String> = HashMap::new();
        let mut versions: HashMap<usize, u32> = HashMap::new();
        for link in links.iter().filter(|link| is_in_resource(&link.path)) {
            let Some(text) = link.node.as_str() else { continue };
            let local = match self.entry(link, text)? {
                Some(meant) => self.local(&meant, &mut versions).await?,
                None if is_conditional(link) => match conditions.get(text) {
                    Some(local) => local.clone(),
                    None => {
                        let local = self.by_condition(link, text).await?;
                        conditions.insert(text, local.clone());
                        local
                    }
                },
                None => continue,
            };
            edits.push(match link.kind {
                LinkKind::Narrative => Edit::within_string(link.node.range(), &local),
                LinkKind::Reference | LinkKind::Address => Edit::string(&link.node, &local),
            });
        }
        edits.sort_by_key(|edit| edit.range.start);
        debug_assert!(
            edits.last().is_none_or(|edit| edit.range.end <= bundle.bytes().len()),
            "they are of this Bundle"
        );
        Ok(Edits(edits))
    }

    /// The entry that a link names, if it does.
    fn entry<'b>(&self, link: &Link, text: &'b str) -> Result<Option<Meant<'b>>, Refusal> {
        let within = entry_of(&link.path).and_then(|at| self.entries.get(at));
        let (whole, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
        let (url, version) = match whole.rsplit_once(HISTORY) {
            Some((url, version)) => (url, Some(version)),
            None => (whole, None),
        };
        let base_url = &self.context.organization.base_url;
        let at =
            self.names.meant(within, url, base_url).map_err(|problem| Refusal::invalid(link.path.clone(), problem))?;
        Ok(at.map(|at| Meant { at, version, fragment }))
    }

    /// The reference that names here what an entry is.
    async fn local(&self, meant: &Meant<'_>, versions: &mut HashMap<usize, u32>) -> Result<String, Refusal> {
        let Meant { at, version, fragment } = *meant;
        let entry = &self.entries[at];
        let id = self.identities.ids[at].as_deref().ok_or(Refusal::Internal("an entry that is named has no id"))?;
        let local = format!("{}/{id}", entry.resource_type());
        // Versions of another server are not this one's.
        let base = entry.full_url.as_deref().and_then(restful).map(|(base, _)| base);
        let is_foreign = base.is_some_and(|base| base != self.context.organization.base_url);
        let version = match version {
            None => return Ok(format!("{local}{fragment}")),
            // There is no later one that could be meant, or an earlier one is.
            Some(_) if entry.method == "DELETE" && is_foreign => return Ok(format!("{local}{fragment}")),
            Some(version) if entry.method == "DELETE" => version.to_owned(),
            Some(version) if !is_foreign && is_of_before(entry, version) => version.to_owned(),
            Some(_) => {
                let known = match versions.get(&at) {
                    Some(version) => *version,
                    None => self.version(at, id).await.map_err(|refusal| refusal.of_entry(at))?,
                };
                versions.insert(at, known);
                known.to_string()
            }
        };
        Ok(format!("{local}{HISTORY}{version}{fragment}"))
    }

    /// The reference that names here what a condition finds.
    async fn by_condition(&self, link: &Link, text: &str) -> Result<String, Refusal> {
        let condition = text.split_once('?').ok_or_else(|| Refusal::invalid(link.path.clone(), "is not Type?query"))?;
        let found = self.met.one(self.context, condition).await;
        let id =
            found.and_then(|id| id.ok_or(Refusal::PreconditionFailed("a conditional reference names no resource")));
        Ok(format!("{}/{}", condition.0, id.map_err(|refusal| refusal.of_entry(entry_of(&link.path)))?))
    }

    /// The version that a resource has once the transaction took effect.
    async fn version(&self, at: usize, id: &str) -> Result<u32, Refusal> {
        let resource_type = self.entries[at].resource_type();
        let interaction = match (self.entries[at].method.as_str(), self.identities.existing[at]) {
            ("POST", false) => return Ok(1),
            ("POST", true) => Interaction::Search,
            _ => Interaction::Update,
        };
        let changes = |(entry, changed): (&Entry, &Option<String>)| {
            entry.method != "POST" && entry.resource_type() == resource_type && changed.as_deref() == Some(id)
        };
        let is_changed = !self.is_again && self.entries.iter().zip(&self.identities.ids).any(changes);
        permit(self.context, resource_type, interaction)?;
        Ok(match update::current(self.context, resource_type, id, interaction).await? {
            update::Current::Absent => 1,
            update::Current::Present(current) => current.version + u32::from(is_changed),
            update::Current::Deleted(version) => version + 1,
        })
    }
}

/// Whether it is a version that the entry replaces: it says that it is another.
fn is_of_before(entry: &Entry, version: &str) -> bool {
    entry.method == "PUT" && entry.resource_version().is_some_and(|own| own != version)
}

/// The entry that a link names, and what of it.
#[derive(Debug, Clone, Copy)]
struct Meant<'a> {
    at: usize,
    version: Option<&'a str>,
    /// With the number sign.
    fragment: &'a str,
}

/// The conditions of conditional references, each with an entry that has it: type and criteria.
pub fn conditions(links: &[Link]) -> Asked<'_> {
    let conditional = links.iter().filter(|link| is_in_resource(&link.path) && is_conditional(link));
    conditional.filter_map(|link| Some((link.node.as_str()?.split_once('?')?, entry_of(&link.path)))).collect()
}

/// Links of the Bundle itself (`fullUrl`, `request.url`) stay.
fn is_in_resource(path: &str) -> bool {
    path.split_once("].").is_some_and(|(_, rest)| rest.starts_with("resource."))
}

/// The place of the entry that a path such as `Bundle.entry[3].resource` leads into.
fn entry_of(path: &str) -> Option<usize> {
    path.strip_prefix("Bundle.entry[")?.split_once(']')?.0.parse().ok()
}
