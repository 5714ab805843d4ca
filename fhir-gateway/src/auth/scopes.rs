//! SMART scopes on resources: v2 `system/Patient.rs` and v1 `system/Patient.read`, for `system/`
//! and `patient/`.
//!
//! Absent on purpose: `user/` scopes (there is no person behind a backend client) and v2 scopes
//! with search parameters; they are refused rather than read as something wider.

use std::{fmt, str::FromStr};

/// What is done with a resource, in SMART's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// create
    Create,
    /// read, vread, history of one resource
    Read,
    /// update
    Update,
    /// delete
    Delete,
    /// search
    Search,
}

impl Interaction {
    /// Every interaction, in the order that scopes write them.
    pub const ALL: [Self; 5] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Search];

    /// Its letter.
    pub fn letter(self) -> char {
        match self {
            Self::Create => 'c',
            Self::Read => 'r',
            Self::Update => 'u',
            Self::Delete => 'd',
            Self::Search => 's',
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// Whose data a scope is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The whole organization.
    System,
    /// One patient.
    Patient,
}

/// One scope.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    level: Level,
    /// `None` for `*`.
    resource_type: Option<String>,
    interactions: u8,
}

impl Scope {
    /// What both allow.
    fn intersection(&self, other: &Self) -> Option<Self> {
        let resource_type = match (&self.resource_type, &other.resource_type) {
            (Some(one), Some(another)) if one != another => return None,
            (Some(one), _) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        };
        let interactions = self.interactions & other.interactions;
        let both = self.level == other.level && interactions != 0;
        both.then_some(Self { level: self.level, resource_type, interactions })
    }
}

impl FromStr for Scope {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (level, rest) = text.split_once('/').ok_or(())?;
        let level = match level {
            "system" => Level::System,
            "patient" => Level::Patient,
            _ => return Err(()),
        };
        let (resource_type, access) = rest.split_once('.').ok_or(())?;
        let is_type = resource_type.starts_with(|first: char| first.is_ascii_uppercase())
            && resource_type.bytes().all(|byte| byte.is_ascii_alphabetic());
        let resource_type = match resource_type {
            "*" => None,
            _ if is_type => Some(resource_type.to_owned()),
            _ => return Err(()),
        };
        let interactions = match access {
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            letters => letters,
        };
        Ok(Self { level, resource_type, interactions: letters(interactions)? })
    }
}

/// Letters in the order of `cruds`, each at most once, as SMART demands.
fn letters(text: &str) -> Result<u8, ()> {
    let mut bits = 0;
    let mut order = Interaction::ALL.into_iter();
    for letter in text.chars() {
        let interaction = order.find(|interaction| interaction.letter() == letter).ok_or(())?;
        bits |= interaction.bit();
    }
    if bits == 0 { Err(()) } else { Ok(bits) }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::System => "system",
            Level::Patient => "patient",
        };
        write!(formatter, "{level}/{}.", self.resource_type.as_deref().unwrap_or("*"))?;
        let allowed = Interaction::ALL.into_iter().filter(|interaction| self.interactions & interaction.bit() != 0);
        allowed.map(Interaction::letter).try_for_each(|letter| write!(formatter, "{letter}"))
    }
}

/// Scopes of a client or of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Reads scopes that are separated by spaces.
    ///
    /// # Errors
    /// The first that is not supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split_ascii_whitespace()
            .map(|scope| scope.parse().map_err(|()| scope.to_owned()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What is left of the scopes that a client asks for under those it is registered with. What
    /// is not understood is not granted.
    pub fn granted(registered: &Self, requested: &str) -> Self {
        let requested = requested.split_ascii_whitespace().filter_map(|scope| scope.parse::<Scope>().ok());
        let mut granted: Vec<Scope> = Vec::new();
        for scope in requested.flat_map(|asked| registered.0.iter().filter_map(move |own| own.intersection(&asked))) {
            if !granted.contains(&scope) {
                granted.push(scope);
            }
        }
        Self(granted)
    }

    /// Whether some scope of that level allows the interaction with the resource type.
    pub fn allow(&self, level: Level, interaction: Interaction, resource_type: &str) -> bool {
        self.0.iter().any(|scope| {
            scope.level == level
                && scope.interactions & interaction.bit() != 0
                && scope.resource_type.as_deref().is_none_or(|own| own == resource_type)
        })
    }

    /// Whether any scope is of that level.
    pub fn has_level(&self, level: Level) -> bool {
        self.0.iter().any(|scope| scope.level == level)
    }

    /// Whether nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<String> = self.0.iter().map(Scope::to_string).collect();
        formatter.write_str(&scopes.join(" "))
    }
}
