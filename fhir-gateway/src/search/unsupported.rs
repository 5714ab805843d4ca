//! What a search may ask for in FHIR and not here.

use std::fmt;

use crate::outcome::Refusal;

/// What a search asks for that is not implemented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsupported {
    /// A parameter.
    Parameter(String),
    /// A value that FHIR allows, where the parameter is implemented.
    Value {
        /// The parameter and the value.
        asked: String,
        /// The values that are implemented.
        supported: String,
    },
}

impl Unsupported {
    /// Notes that this was ignored, once however often it was asked for.
    pub fn ignore(self, ignored: &mut Vec<Self>) {
        if !ignored.contains(&self) {
            ignored.push(self);
        }
    }

    /// As a refusal, under `Prefer: handling=strict`.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Parameter(name) => Refusal::UnsupportedParameter(name.clone()),
            Self::Value { .. } => Refusal::UnsupportedValue(self.to_string()),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => write!(formatter, "search parameter {name} is not supported here"),
            Self::Value { asked, supported } => {
                write!(formatter, "{asked} is not supported here ({supported} are)")
            }
        }
    }
}
