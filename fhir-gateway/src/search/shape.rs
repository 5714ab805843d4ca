//! `_elements` and `_summary`: what of each match is wanted.

use super::ALTERNATIVES_MAX;
use crate::outcome::Refusal;

/// `_summary`, but for `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Summary {
    /// Everything.
    #[default]
    False,
    /// Elements that the definitions mark as part of a summary.
    True,
    /// The narrative, and what must be there.
    Text,
    /// Everything but the narrative.
    Data,
}

impl Summary {
    /// Reads the value.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] for any other.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        match text {
            "true" => Ok(Self::True),
            "text" => Ok(Self::Text),
            "data" => Ok(Self::Data),
            "false" => Ok(Self::False),
            _ => Err(Refusal::BadRequest("_summary must be true, text, data, count or false".to_string())),
        }
    }
}

/// What of each resource is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// `_summary`
    pub summary: Summary,
    /// `_elements`; all of them where there are none.
    pub elements: Vec<String>,
}

impl Shape {
    /// Whether resources are wanted as they are.
    pub fn is_whole(&self) -> bool {
        self.summary == Summary::False && self.elements.is_empty()
    }
}

/// Reads `identifier,Patient.active`: names of elements that stand directly in the resource.
pub fn elements(text: &str) -> Result<Vec<String>, Refusal> {
    let read = |name: &str| {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        is_name.then(|| name.to_owned())
    };
    if text.split(',').nth(ALTERNATIVES_MAX).is_some() {
        return Err(Refusal::BadRequest(format!("_elements has more than {ALTERNATIVES_MAX} names")));
    }
    let names: Option<Vec<String>> = text.split(',').map(|name| read(name.trim())).collect();
    names.ok_or_else(|| Refusal::BadRequest("_elements must be names of elements, with commas between".to_string()))
}
