//! The lines of a file as they are sent: each is read and decided anew, for whoever fetches the file now.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::json;

use super::job::{Export, File, Kind, Line, Order, Scope};
use crate::{
    auth::{Caller, clock, scopes::Interaction},
    index::extract::{self, Term},
    interactions::{
        Context, bundle::Size, condition::Locks, local_patient, permit, reach, readable, search::elsewhere, served,
        subset,
    },
    json::{Document, Node, instant},
    organization::Organization,
    outcome::Refusal,
    records::{Content, Stored},
    remote::{merge, rewrite::RemoteId},
    resources::Resource,
    search::{Query, Shape, Summary},
};

/// Bytes that are gathered before they are sent. A single resource may be larger.
const CHUNK_BYTES: usize = 64 * 1024;

/// A file being read: line by line, so that no more than one resource and one chunk are in memory.
pub struct Reading {
    organization: Arc<Organization>,
    caller: Caller,
    locks: Locks,
    export: Export,
    file: u32,
    part: u32,
    lines: VecDeque<Line>,
    shape: Shape,
}

impl Reading {
    /// Begins to read a file of an export for whoever asks for it now.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where there is no such file, and [`Refusal::Forbidden`] where the token has no scope
    /// to read the type.
    pub fn begin(
        organization: &Arc<Organization>,
        caller: &Caller,
        export: Export,
        file: u32,
    ) -> Result<Self, Refusal> {
        let reading = Self {
            organization: Arc::clone(organization),
            caller: caller.clone(),
            locks: Locks::of(organization.records.clone()),
            shape: Shape { summary: Summary::False, elements: export.order.elements.clone() },
            export,
            file,
            part: 0,
            lines: VecDeque::new(),
        };
        let about = reading.about()?;
        if about.kind != Kind::Error {
            permit(&reading.context(), &about.resource_type, Interaction::Read)?;
        }
        Ok(reading)
    }

    /// What the file is.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] where there is none.
    pub fn about(&self) -> Result<&File, Refusal> {
        let at = usize::try_from(self.file).ok();
        at.and_then(|at| self.export.job.files.get(at)).ok_or(Refusal::NotFound)
    }

    fn context(&self) -> Context<'_> {
        Context::in_background(&self.organization, &self.locks, &self.caller)
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`] once the token has expired by which the file was asked for, [`Refusal::CustodianUnavailable`]
    /// where another custodian does not answer, and faults of this server.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Refusal> {
        // Whoever reads slowly reads no longer than a token lasts.
        if clock() >= self.caller.expires_at {
            return Err(Refusal::Unauthorized("the access token has expired"));
        }
        let mut bytes = Vec::new();
        while bytes.len() < CHUNK_BYTES {
            let Some(line) = self.line().await? else { break };
            let Some(text) = written(&self.context(), self.about()?, line, &self.shape).await? else { continue };
            // Line breaks stand between tokens only: within strings they are escaped.
            bytes.extend(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            bytes.push(b'\n');
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    async fn line(&mut self) -> Result<Option<Line>, Refusal> {
        while self.lines.is_empty() && self.part < self.about()?.parts {
            self.lines = self.organization.exports.part(&self.export.job.id, self.file, self.part).await?.into();
            self.part += 1;
        }
        Ok(self.lines.pop_front())
    }

    /// All that is left of it, at once.
    ///
    /// # Errors
    /// As [`Self::next`], and [`Refusal::AnswerTooLarge`].
    pub async fn whole(mut self) -> Result<Vec<u8>, Refusal> {
        let (mut all, mut size) = (Vec::new(), Size::default());
        while let Some(bytes) = self.next().await? {
            size.add(bytes.len())?;
            all.extend(bytes);
        }
        Ok(all)
    }
}

/// A line as it is sent; none where it may not be seen any more.
async fn written(context: &Context<'_>, about: &File, line: Line, shape: &Shape) -> Result<Option<Vec<u8>>, Refusal> {
    match line {
        Line::Version(id, version) => version_of(context, &about.resource_type, &id, version, shape).await,
        Line::Deleted(id, version) => deletion(context, &about.resource_type, &id, version).await,
        Line::Elsewhere(id) => of_other(context, &about.resource_type, &id, shape).await,
        Line::Outcome(outcome) => Ok(Some(outcome.to_string().into_bytes())),
    }
}

async fn version_of(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    version: u32,
    shape: &Shape,
) -> Result<Option<Vec<u8>>, Refusal> {
    let records = &context.organization.records;
    // What was deleted meanwhile is not handed out any more.
    let Some(latest) = there(records.read(resource_type, id).await)? else { return Ok(None) };
    let stored = match latest.version == version {
        true => Some(latest),
        // Whoever may not see it as it is now does not get it as it was.
        false if there(readable(context, &latest).await)?.is_none() => None,
        false => there(records.any_version(resource_type, id, version).await)?,
    };
    let Some(stored) = stored.filter(|stored| stored.content != Content::Deleted) else { return Ok(None) };
    match there(readable(context, &stored).await)? {
        Some(_) => subset::shaped(served(&stored), shape, true).map(Some),
        None => Ok(None),
    }
}

/// A Bundle that deletes the resource, as the guide has it.
async fn deletion(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    version: u32,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(stored) = there(context.organization.records.any_version(resource_type, id, version).await)? else {
        return Ok(None);
    };
    if there(readable(context, &stored).await)?.is_none() {
        return Ok(None);
    }
    let bundle = json!({
        "resourceType": "Bundle",
        "meta": {"lastUpdated": instant(stored.last_updated)},
        "type": "transaction",
        "entry": [{"request": {"method": "DELETE", "url": format!("{resource_type}/{id}")}}],
    });
    Ok(Some(bundle.to_string().into_bytes()))
}

/// What another custodian holds: it is asked again, and decides again.
async fn of_other(
    context: &Context<'_>,
    resource_type: &str,
    id: &str,
    shape: &Shape,
) -> Result<Option<Vec<u8>>, Refusal> {
    let remote = RemoteId::parse(id).ok_or(Refusal::Internal("a line of an export is of no other custodian"))?;
    let only = context.caller.compartment(Interaction::Read, resource_type);
    let by = context.caller.on_behalf_of(Interaction::Read, resource_type);
    let Some(opened) = there(merge::read(context.organization, resource_type, &remote, only, by).await)? else {
        return Ok(None);
    };
    match there(reach::may_read_opened(context, resource_type, id, &opened).await)? {
        Some(()) => subset::shaped(opened.bytes, shape, true).map(Some),
        None => Ok(None),
    }
}

/// What was found; none where it is not there, or may not be known to be.
pub fn there<T>(found: Result<T, Refusal>) -> Result<Option<T>, Refusal> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Refusal::NotFound | Refusal::Gone) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The Patients about whom an export is; none where it is about all.
pub async fn members(context: &Context<'_>, order: &Order) -> Result<Option<BTreeSet<String>>, Refusal> {
    let named: Option<BTreeSet<String>> = order.patients.as_ref().map(|named| named.iter().cloned().collect());
    let Scope::Group { id, version } = &order.scope else { return Ok(named) };
    let Some(group) = there(context.organization.records.any_version("Group", id, *version).await)? else {
        return Ok(Some(BTreeSet::new()));
    };
    let members = of_group(&group, &context.organization.base_url)?;
    Ok(Some(match named {
        Some(named) => members.intersection(&named).cloned().collect(),
        None => members,
    }))
}

/// The local Patients who are members of a Group. What is a member inactive, and Groups within it, are not.
pub fn of_group(group: &Stored, base_url: &str) -> Result<BTreeSet<String>, Refusal> {
    let Content::Json(bytes) = &group.content else { return Ok(BTreeSet::new()) };
    let document = Document::parse(bytes.clone())?;
    let members = document.root().get("member").map_or(&[][..], Node::items);
    let active = members.iter().filter(|member| member.get("inactive").and_then(Node::as_primitive) != Some("true"));
    let patient = |member: &Node| local_patient(member.get("entity")?.text("reference")?, base_url);
    Ok(active.filter_map(patient).collect())
}

/// The local Patients in whose compartments a version was, or who it was; of a deletion, whose it was.
pub fn patients_of(kind: &Resource, stored: &Stored, base_url: &str) -> Result<BTreeSet<String>, Refusal> {
    let mut patients: BTreeSet<String> = stored.about().map(str::to_owned).into_iter().collect();
    let Content::Json(bytes) = &stored.content else { return Ok(patients) };
    let document = Document::parse(bytes.clone())?;
    for parameter in kind.compartment.iter().filter_map(|code| kind.parameter(code)) {
        patients.extend(extract::of_parameter(&document, parameter, base_url).into_iter().filter_map(
            |term| match term {
                Term::Reference { resource_type, target } if resource_type == "Patient" => Some(target),
                _ => None,
            },
        ));
    }
    Ok(patients)
}

/// Whether a version meets one of the searches.
pub async fn meets(context: &Context<'_>, queries: &[Query], stored: &Stored) -> Result<bool, Refusal> {
    let Content::Json(bytes) = &stored.content else { return Ok(false) };
    let document = Document::parse(bytes.clone())?;
    for query in queries {
        let documents = vec![(stored.id.clone(), document.clone())];
        if !elsewhere::matching(context, query, documents).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
