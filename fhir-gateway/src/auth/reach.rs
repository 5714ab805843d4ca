//! What of a type a caller's scopes reach: all, nothing, or what is about one patient or meets search
//! parameters.

use super::scopes::constraint::Constraint;

/// What of a type a caller may do something with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach<'a> {
    /// All of it.
    Whole,
    /// What lies in any of these parts; nothing if none.
    Parts(Vec<Part<'a>>),
}

/// Some resources of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// The Patient whom they are about; anybody or nobody if none.
    pub patient: Option<&'a str>,
    /// What they must meet.
    pub constraint: Option<&'a Constraint>,
}

impl<'a> Reach<'a> {
    /// All of these parts together. What lies within another part is left out.
    pub fn of(parts: impl Iterator<Item = Part<'a>>) -> Self {
        let mut kept: Vec<Part<'a>> = Vec::new();
        for part in parts {
            if part.patient.is_none() && part.constraint.is_none() {
                return Self::Whole;
            }
            if !kept.iter().any(|other| part.is_within(other)) {
                kept.retain(|other| !other.is_within(&part));
                kept.push(part);
            }
        }
        Self::Parts(kept)
    }

    /// Whether there is more of the type than is reached.
    pub fn is_limited(&self) -> bool {
        *self != Self::Whole
    }

    /// Whether what a resource says decides about it.
    pub fn is_constrained(&self) -> bool {
        matches!(self, Self::Parts(parts) if parts.iter().any(|part| part.constraint.is_some()))
    }

    /// Whether others are reached than one patient's.
    pub fn is_beyond_one_patient(&self) -> bool {
        match self {
            Self::Whole => true,
            Self::Parts(parts) => parts.iter().any(|part| part.patient.is_none()),
        }
    }

    /// One text for the same reach: the patient where all of a patient's is reached, nothing where all is.
    pub fn name(&self) -> String {
        let Self::Parts(parts) = self else { return String::new() };
        let name = |part: &Part<'_>| {
            let constraint = part.constraint.map(|constraint| format!("?{}", constraint.sorted()));
            format!("{}{}", part.patient.unwrap_or_default(), constraint.unwrap_or_default())
        };
        let mut names: Vec<String> = parts.iter().map(name).collect();
        names.sort();
        names.join(" ")
    }
}

impl Part<'_> {
    /// Whether the other part has all of this one, as far as that is told without reading a resource.
    fn is_within(&self, other: &Self) -> bool {
        (other.patient.is_none() || other.patient == self.patient)
            && (other.constraint.is_none() || other.constraint == self.constraint)
    }
}
