//! `_include` and `_revinclude` (FHIR R4, 3.1.1.5.5).

use crate::{
    outcome::Refusal,
    resources::{
        Resource,
        parameters::{Parameter, SearchType},
        resource,
    },
};

/// What is wanted beside the matches: what they refer to, or what refers to them.
#[derive(Debug, Clone, Copy)]
pub struct Include {
    /// The type that holds the reference; any if none.
    pub source: Option<&'static Resource>,
    /// The reference; any if none.
    pub parameter: Option<&'static Parameter>,
    /// The type that it points at; any if none.
    pub target: Option<&'static str>,
    /// `:iterate`: also of what was included.
    pub iterates: bool,
    /// `_revinclude`
    pub is_reverse: bool,
}

impl Include {
    /// Reads `_include[:iterate]=Type:parameter[:Target]`, `Type:*` or `*`; none where the parameter is
    /// not there.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] for another form.
    pub fn read(name: &str, text: &str) -> Result<Option<Self>, Refusal> {
        let (name, modifier) = name.split_once(':').unwrap_or((name, ""));
        let is_reverse = match name {
            "_include" => false,
            "_revinclude" => true,
            _ => return Ok(None),
        };
        // `recurse` is what `iterate` was called before R4.
        if !["", "iterate", "recurse"].contains(&modifier) {
            return Err(Refusal::BadRequest(format!("{name} has a modifier that is not iterate")));
        }
        let any = Self { source: None, parameter: None, target: None, iterates: !modifier.is_empty(), is_reverse };
        if text == "*" {
            return Ok(Some(any));
        }
        let mut parts = text.split(':');
        let (Some(source), Some(code), target, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::BadRequest(format!(
                "{name} must be Type:parameter, Type:parameter:Target, Type:* or *"
            )));
        };
        let Some(source) = resource(source) else { return Ok(None) };
        let target = match target.filter(|target| !target.is_empty()).map(resource) {
            Some(None) => return Ok(None),
            Some(Some(target)) => Some(target.name),
            None => None,
        };
        let parameter = match code {
            "*" => None,
            _ => match source.parameter(code).filter(|found| found.search_type == SearchType::Reference) {
                Some(parameter) => Some(parameter),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { source: Some(source), parameter, target, ..any }))
    }
}
