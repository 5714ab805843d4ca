//! `POST /{type}/$validate`: docs/api/operations.md. Says everything that is wrong with a resource, and what was not
//! looked at. It stores nothing, reads nothing, and tells nothing of what is stored.

use actix_web::http::StatusCode;
use fhir_sdk::r4b::codes::{IssueSeverity, IssueType};

use super::{Answer, operation::Sent, subset};
use crate::{
    json::{Document, Node},
    outcome::{Issue, Refusal, operation_outcome},
    validate,
};

/// What the validation does not look at.
const NOT_CHECKED: &str = "not checked: the definitions' FHIRPath invariants but for those of contained resources, local \
references, extensions and narrative; profiles and the definitions of extensions; codes where a binding is not required, \
or required from currencies, media types, UCUM units or LL379-9; whether what a reference names exists";

/// Validates what was sent as a `resource_type`, for the resource `id` where one is named.
///
/// # Errors
/// Where the request is none: it cannot be read, has no resource, or names no mode of FHIR.
pub fn validate(resource_type: &str, id: Option<&str>, sent: &Sent<'_>) -> Result<Answer, Refusal> {
    let asked = Asked::read(resource_type, sent)?;
    let mut issues = match asked.resource {
        None if asked.mode.as_deref() == Some("delete") => Vec::new(),
        None => return Err(Refusal::invalid("Parameters.parameter", "must have a resource to validate")),
        Some(ref resource) => found(resource_type, id, &asked, resource),
    };
    if issues.is_empty() {
        issues.push(Issue::new(IssueSeverity::Information, IssueType::Informational, "nothing was found to be wrong"));
    }
    if asked.has_profile {
        issues.push(Issue::new(IssueSeverity::Warning, IssueType::NotSupported, "profiles are not checked here"));
    }
    issues.push(Issue::new(IssueSeverity::Information, IssueType::NotSupported, NOT_CHECKED));
    Ok(Answer::fhir(StatusCode::OK, operation_outcome(issues).to_string().into_bytes()))
}

/// The parameters of the operation.
#[derive(Default)]
struct Asked {
    resource: Option<Document>,
    mode: Option<String>,
    has_profile: bool,
}

impl Asked {
    /// From a Parameters resource, or from a resource and the address.
    fn read(resource_type: &str, sent: &Sent<'_>) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        for (name, value) in sent.pairs {
            match name.as_str() {
                "mode" => asked.mode = Some(value.clone()),
                "profile" => asked.has_profile = true,
                _ => {}
            }
        }
        if !sent.is_empty {
            let document = (sent.document)()?;
            let parameters = document.root().get("parameter").map_or(&[][..], Node::items);
            let named = |name: &str| parameters.iter().find(|parameter| parameter.text("name") == Some(name));
            let resource = named("resource").and_then(|parameter| parameter.get("resource"));
            if document.resource_type() == Some("Parameters") && (resource.is_some() || resource_type != "Parameters") {
                asked.mode = named("mode").and_then(|mode| mode.text("valueCode")).map(str::to_owned).or(asked.mode);
                asked.has_profile |= named("profile").is_some();
                asked.resource = resource.map(|resource| document.extract(resource)).transpose()?;
            } else {
                asked.resource = Some(document);
            }
        }
        match asked.mode.as_deref() {
            None | Some("create" | "update" | "delete" | "profile") => Ok(asked),
            Some(_) => Err(Refusal::BadRequest("mode must be create, update, delete or profile".to_owned())),
        }
    }
}

/// What is wrong.
fn found(resource_type: &str, id: Option<&str>, asked: &Asked, resource: &Document) -> Vec<Issue> {
    if resource.resource_type().is_some_and(|found| found != resource_type) {
        return vec![Refusal::invalid(resource_type, "resourceType is not that of the address").issue()];
    }
    let mut issues: Vec<Issue> = validate::findings(resource).iter().map(Refusal::issue).collect();
    issues.extend(subset::must_be_whole(resource, resource.root()).err().map(|refusal| refusal.issue()));
    let is_update = asked.mode.as_deref() == Some("update");
    if is_update && (resource.id().is_none() || id.is_some_and(|id| resource.id() != Some(id))) {
        let problem = "an update must have the id of the address";
        issues.push(Refusal::invalid(format!("{resource_type}.id"), problem).issue());
    }
    issues
}
