//! What writing a DocumentReference that claims a profile of IHE MHD asks for besides storing it.
//! docs/api/documents.md

pub mod generate;
pub mod provide;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Context, kept, permit, permit_about, readable, sighted::in_sight, update};
use crate::{
    auth::{clock, scopes::Interaction},
    hooks::Proposed,
    index::extract::local_reference,
    json::{Document, Tree, quoted},
    mapping::{
        document::{MHD, MINIMAL, SIMPLIFIED, submission_set},
        element::Element,
    },
    outcome::Refusal,
    records::{Change, Content},
};

/// A DocumentReference whose document was taken out of it (IHE MHD, 2:3.105.4.1.3).
pub struct Published {
    /// The DocumentReference that points at the Binary of its own id.
    pub document: Document,
    /// Media type of the document.
    content_type: String,
    /// The document.
    bytes: Vec<u8>,
}

/// Adds what the DocumentReferences among `proposed` ask for: after them, in the same commit.
pub async fn complete(context: &Context<'_>, mut proposed: Vec<Proposed>) -> Result<Vec<Proposed>, Refusal> {
    let mut added: Vec<Proposed> = Vec::new();
    for at in 0..proposed.len() {
        let entry = proposed[at].entry;
        let more = beside(context, &mut proposed, at).await.map_err(|refusal| refusal.of_entry(entry))?;
        for more in more {
            if added.iter().any(|found| found.change.target() == more.change.target()) {
                let problem = "is replaced by another document of the same request";
                return Err(Refusal::invalid("DocumentReference.relatesTo.target", problem).of_entry(entry));
            }
            added.push(more);
        }
    }
    proposed.extend(added);
    Ok(proposed)
}

async fn beside(context: &Context<'_>, proposed: &mut [Proposed], at: usize) -> Result<Vec<Proposed>, Refusal> {
    let Change::Create { resource_type, id, .. } = &proposed[at].change else { return Ok(Vec::new()) };
    let Some(document) = proposed[at].document.as_ref().filter(|_| resource_type == "DocumentReference") else {
        return Ok(Vec::new());
    };
    if claimed(document, MHD).is_none() {
        return Ok(Vec::new());
    }
    let id = id.clone();
    let published = published(document, &id)?;
    let mut added = superseded(context, proposed, at).await?;
    if let Some(published) = published {
        added.extend(publish(context, &mut proposed[at], &id, published)?);
    }
    Ok(added)
}

/// The first profile that a resource claims and that begins so.
fn claimed<'a>(document: &'a Document, begins: &str) -> Option<&'a str> {
    let profiles = document.root().get("meta")?.get("profile")?.items();
    profiles.iter().filter_map(|profile| profile.as_str()).find(|profile| profile.starts_with(begins))
}

/// What is stored of a DocumentReference that claims to carry its document, if it does.
///
/// # Errors
/// [`Refusal::Invalid`] where it is not what MHD says of such.
pub fn published(document: &Document, id: &str) -> Result<Option<Published>, Refusal> {
    if claimed(document, SIMPLIFIED) != Some(SIMPLIFIED) {
        return Ok(None);
    }
    let value = document.to_value();
    let root = Element::resource(&value);
    for name in ["masterIdentifier", "subject"] {
        if root.get(name).is_missing() {
            return Err(root.get(name).refuse("is required by the profile that the document claims"));
        }
    }
    if root.get("status").text() != Some("current") {
        return Err(root.get("status").refuse("must be current in a document that is published"));
    }
    let mut contents = root.get("content").items();
    let (Some(content), None) = (contents.next(), contents.next()) else {
        return Err(root.get("content").refuse("must be one in a document that is published"));
    };
    let attachment = content.get("attachment");
    if !attachment.get("url").is_missing() {
        return Err(attachment.get("url").refuse("must be absent in a document that carries its data"));
    }
    let content_type = attachment.get("contentType").required()?.to_owned();
    let bytes = decoded(&attachment.get("data"))?.ok_or_else(|| attachment.get("data").refuse("is required"))?;
    let mut tree = Tree::of(document);
    if let Some(profiles) = tree.get_mut("meta").and_then(|meta| meta.get_mut("profile")).and_then(Tree::items_mut) {
        // With the data taken out it is what the profile of all documents says.
        for profile in profiles.iter_mut().filter(|profile| profile.as_primitive() == Some(SIMPLIFIED)) {
            *profile = Tree::Made(quoted(MINIMAL));
        }
    }
    let contents = tree.get_mut("content").and_then(Tree::items_mut).and_then(|items| items.first_mut());
    if let Some(place) = contents.and_then(|content| content.get_mut("attachment")) {
        place.remove("data");
        place.remove("_data");
        place.set("url", Tree::Made(quoted(&format!("Binary/{id}"))));
        place.set("size", Tree::Made(bytes.len().to_string()));
        place.set("hash", Tree::Made(quoted(&hash(&bytes))));
    }
    matches(&attachment, &bytes)?;
    Ok(Some(Published { document: Document::parse(tree.print())?, content_type, bytes }))
}

/// Puts the DocumentReference in place of what was sent, and gives its Binary and its SubmissionSet.
fn publish(
    context: &Context<'_>,
    proposed: &mut Proposed,
    id: &str,
    published: Published,
) -> Result<[Proposed; 2], Refusal> {
    for resource_type in ["Binary", "List"] {
        permit(context, resource_type, Interaction::Create)?;
        permit_about(context, resource_type, Interaction::Create, proposed.change.patient())?;
    }
    let Published { document, content_type, bytes } = published;
    let patient = proposed.change.patient().map(str::to_owned);
    let list = submission_set(id, &document.to_value(), &context.organization.address(), clock());
    let list = Document::parse(list.to_string())?;
    let create = |resource_type: &str, content: Content| Change::Create {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
        content,
        patient: patient.clone(),
    };
    let beside = |change: Change, document: Option<Document>| Proposed { change, document, entry: proposed.entry };
    let binary = beside(create("Binary", Content::Raw { content_type, bytes: bytes.into() }), None);
    let list = beside(create("List", Content::Json(list.bytes().clone())), Some(list));
    proposed.change = create("DocumentReference", Content::Json(document.bytes().clone()));
    proposed.document = Some(document);
    Ok([binary, list])
}

/// The documents that one replaces become superseded with it: by the request itself, or here.
async fn superseded(context: &Context<'_>, proposed: &[Proposed], at: usize) -> Result<Vec<Proposed>, Refusal> {
    let Some(document) = &proposed[at].document else { return Ok(Vec::new()) };
    let value = document.to_value();
    let mut added = Vec::new();
    for relation in Element::resource(&value).get("relatesTo").items() {
        if relation.get("code").text() != Some("replaces") {
            continue;
        }
        let target = relation.get("target");
        let local =
            target.get("reference").text().and_then(|text| local_reference(text, &context.organization.base_url));
        // A document that stands elsewhere is replaced where it stands.
        let Some(("DocumentReference", id)) = local else { continue };
        let beside = proposed.iter().find(|other| {
            let (resource_type, other, _) = other.change.target();
            (resource_type, other) == ("DocumentReference", id)
        });
        match beside {
            Some(other) => {
                let status = other.document.as_ref().and_then(|document| document.root().text("status"));
                if status != Some("superseded") {
                    return Err(target.refuse("is replaced, so the same request must make its status superseded"));
                }
            }
            None => added.push(supersede(context, &target, id, proposed[at].change.patient()).await?),
        }
    }
    Ok(added)
}

/// The change that makes the document `id` of the same patient superseded. What the caller may not
/// change is as absent.
async fn supersede(
    context: &Context<'_>,
    target: &Element<'_>,
    id: &str,
    patient: Option<&str>,
) -> Result<Proposed, Refusal> {
    let kind = kept("DocumentReference")?;
    permit(context, kind.name, Interaction::Update)?;
    let problem = || target.refuse("must be a DocumentReference of this patient that is current");
    let current = update::current(context, kind.name, id, Interaction::Update).await?;
    let update::Current::Present(update::Present { version: expected, .. }) = current else { return Err(problem()) };
    let stored = context.organization.records.read(kind.name, id).await?;
    let Content::Json(bytes) = &stored.content else { return Err(problem()) };
    let document = Document::parse(bytes.clone())?;
    if document.root().text("status") != Some("current") || stored.about().is_some_and(|of| Some(of) != patient) {
        return Err(problem());
    }
    let mut tree = Tree::of(&document);
    tree.set("status", Tree::Made(quoted("superseded")));
    let document = Document::parse(tree.print())?;
    let change = Change::Update {
        resource_type: kind.name.to_owned(),
        id: id.to_owned(),
        content: Content::Json(document.bytes().clone()),
        patient: stored.patient.clone(),
        expected,
    };
    Ok(Proposed { change, document: Some(document), entry: None })
}

/// Refuses a DocumentReference that claims MHD and whose hash or size is not that of its document,
/// where that is at hand: in it, in the same request, or in a Binary of this server that the caller may read.
pub async fn check(context: &Context<'_>, proposed: &[Proposed]) -> Result<(), Refusal> {
    for at in proposed {
        let (resource_type, ..) = at.change.target();
        let Some(document) = at.document.as_ref().filter(|_| resource_type == "DocumentReference") else { continue };
        if claimed(document, MHD).is_none() {
            continue;
        }
        let value = document.to_value();
        if is_as_before(context, &at.change, &value).await? {
            continue;
        }
        for content in Element::resource(&value).get("content").items() {
            let attachment = content.get("attachment");
            if attachment.get("hash").is_missing() && attachment.get("size").is_missing() {
                continue;
            }
            let checked = match bytes_of(context, &attachment, proposed).await {
                Ok(Some(bytes)) => matches(&attachment, &bytes),
                Ok(None) => Ok(()),
                Err(refusal) => Err(refusal),
            };
            checked.map_err(|refusal| refusal.of_entry(at.entry))?;
        }
    }
    Ok(())
}

/// Whether an update leaves the contents what they are: of what is kept nothing is said anew, so
/// that a document whose Binary has changed since can still be superseded.
async fn is_as_before(context: &Context<'_>, change: &Change, value: &Value) -> Result<bool, Refusal> {
    let Change::Update { resource_type, id, expected, .. } = change else { return Ok(false) };
    match context.organization.records.any_version(resource_type, id, *expected).await?.content {
        Content::Json(bytes) => {
            let before: Value =
                serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("a DocumentReference does not parse"))?;
            Ok(before["content"] == value["content"])
        }
        Content::Raw { .. } | Content::Deleted => Ok(false),
    }
}

/// The document of an attachment, where it is at hand.
async fn bytes_of(
    context: &Context<'_>,
    attachment: &Element<'_>,
    proposed: &[Proposed],
) -> Result<Option<Vec<u8>>, Refusal> {
    if let Some(bytes) = decoded(&attachment.get("data"))? {
        return Ok(Some(bytes));
    }
    let url = attachment.get("url").text().unwrap_or_default();
    let Some(("Binary", id)) = local_reference(url, &context.organization.base_url) else { return Ok(None) };
    let beside = proposed.iter().find_map(|beside| match &beside.change {
        Change::Create { resource_type, id: found, content, .. }
        | Change::Update { resource_type, id: found, content, .. }
            if resource_type == "Binary" && found == id =>
        {
            Some(content)
        }
        _ => None,
    });
    if let Some(content) = beside {
        return bytes_in(content);
    }
    // Who may not read a Binary learns nothing of its bytes; an older version has its own.
    if permit(context, "Binary", Interaction::Read).is_err() || url.contains("/_history/") {
        return Ok(None);
    }
    let readable = async {
        in_sight(context, Interaction::Read, "Binary", id).await?;
        let stored = context.organization.records.read("Binary", id).await?;
        readable(context, &stored).await.map(|_| stored)
    };
    match readable.await {
        Ok(stored) => bytes_in(&stored.content),
        Err(Refusal::NotFound | Refusal::Gone) => Ok(None),
        Err(other) => Err(other),
    }
}

fn bytes_in(content: &Content) -> Result<Option<Vec<u8>>, Refusal> {
    match content {
        Content::Raw { bytes, .. } => Ok(Some(bytes.to_vec())),
        Content::Json(bytes) => {
            let value: Value =
                serde_json::from_slice(bytes).map_err(|_| Refusal::Internal("a Binary does not parse"))?;
            decoded(&Element::resource(&value).get("data"))
        }
        Content::Deleted => Ok(None),
    }
}

fn decoded(data: &Element<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(text) = data.text() else { return Ok(None) };
    let text: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(text).map(Some).map_err(|_| data.refuse("is not base64"))
}

/// Base64 of the SHA-1 of a document (FHIR R4, Attachment.hash). It finds what was damaged on the
/// way; against who alters on purpose stands the ledger.
fn hash(bytes: &[u8]) -> String {
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes))
}

/// Refuses bytes that are not those that the attachment says. A size that is wrong beside a hash
/// that is right is let pass, as one of MHD's own examples has it: the bytes are those that were meant.
fn matches(attachment: &Element<'_>, bytes: &[u8]) -> Result<(), Refusal> {
    let (said, size) = (attachment.get("hash"), attachment.get("size"));
    match said.text().map(|text| text.split_ascii_whitespace().collect::<String>()) {
        Some(text) if text == hash(bytes) => Ok(()),
        Some(_) => Err(said.refuse("is not the SHA-1 (in base64) of the document's bytes")),
        None if size.is_missing() || size.value().as_u64() == u64::try_from(bytes.len()).ok() => Ok(()),
        None => Err(size.refuse("is not how many bytes the document has")),
    }
}
