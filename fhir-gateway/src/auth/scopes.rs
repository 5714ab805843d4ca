//! SMART scopes on resources: v2 `system/Patient.rs`, also with search parameters that the resource must
//! meet (`patient/Observation.rs?category=laboratory`), and v1 `system/Patient.read`, for `system/`,
//! `patient/` and `user/`.

pub mod constraint;

use std::{collections::BTreeSet, fmt};

use crate::resources::resource;
use constraint::Constraint;

/// Most bytes of the scopes of a token: a token that holds them must be short enough to be taken back.
const SCOPES_BYTES_MAX: usize = 4_096;
/// Most scopes of a token. The shortest has ten bytes.
const SCOPES_MAX: usize = 512;
/// Most distinct constraints of a token that are about one type: each is compared with each version that is read.
const CONSTRAINTS_PER_TYPE_MAX: usize = 16;
const _: () = assert!(SCOPES_MAX * 8 <= SCOPES_BYTES_MAX, "both say the same of short scopes");

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
    /// What a practitioner of the organization may see of it.
    User,
}

/// One scope.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    level: Level,
    /// `None` for `*`.
    resource_type: Option<String>,
    interactions: u8,
    /// What resources must meet besides.
    constraint: Option<Constraint>,
}

/// Why a scope is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not a scope on resources, or of a level that is not supported.
    #[error("scope {0} is not supported")]
    Unknown(String),
    /// A scope on resources whose search parameters cannot be enforced.
    #[error("scope {scope}?…: {problem}")]
    Constraint {
        /// The scope without its search parameters.
        scope: String,
        /// What is wrong with them.
        problem: String,
    },
    /// More scopes than a token can hold.
    #[error("the scopes have more than {SCOPES_BYTES_MAX} bytes; ask for fewer")]
    TooLong,
    /// More constraints on one type than are compared.
    #[error(
        "the scopes have more than {CONSTRAINTS_PER_TYPE_MAX} different sets of search parameters for {0}; ask for fewer, \
         or say several values of a parameter with commas"
    )]
    TooManyConstraints(String),
}

impl Scope {
    /// What both allow; nothing where that cannot be said in one scope.
    fn intersection(&self, other: &Self) -> Option<Self> {
        let resource_type = match (&self.resource_type, &other.resource_type) {
            (Some(one), Some(another)) if one != another => return None,
            (Some(one), _) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        };
        let constraint = match (&self.constraint, &other.constraint) {
            (Some(one), Some(another)) => Some(one.and(another)?),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        };
        // Nothing is there of a type that is not kept, and nothing to meet a constraint.
        if constraint.is_some() && resource_type.as_deref().is_some_and(|name| resource(name).is_none()) {
            return None;
        }
        let interactions = self.interactions & other.interactions;
        let both = self.level == other.level && interactions != 0;
        both.then_some(Self { level: self.level, resource_type, interactions, constraint })
    }

    fn read(text: &str) -> Result<Self, ScopeError> {
        let unknown = || ScopeError::Unknown(text.to_owned());
        let (plain, constraint) = match text.split_once('?') {
            Some((plain, constraint)) => (plain, Some(constraint)),
            None => (text, None),
        };
        let (level, rest) = plain.split_once('/').ok_or_else(unknown)?;
        let level = match level {
            "system" => Level::System,
            "patient" => Level::Patient,
            "user" => Level::User,
            _ => return Err(unknown()),
        };
        let (resource_type, access) = rest.split_once('.').ok_or_else(unknown)?;
        let is_type = resource_type.starts_with(|first: char| first.is_ascii_uppercase())
            && resource_type.bytes().all(|byte| byte.is_ascii_alphabetic());
        let resource_type = match resource_type {
            "*" => None,
            _ if is_type => Some(resource_type.to_owned()),
            _ => return Err(unknown()),
        };
        let interactions = match access {
            // Search parameters came with the letters.
            "read" | "write" | "*" if constraint.is_some() => return Err(unknown()),
            "read" => "rs",
            "write" => "cud",
            "*" => "cruds",
            letters => letters,
        };
        let interactions = letters(interactions).map_err(|()| unknown())?;
        let constraint = constraint.map(|constraint| Constraint::parse(resource_type.as_deref(), constraint));
        let constraint =
            constraint.transpose().map_err(|problem| ScopeError::Constraint { scope: plain.to_owned(), problem })?;
        Ok(Self { level, resource_type, interactions, constraint })
    }

    /// Whether the other allows all that this one does, beside which this one need not be said: the same scope,
    /// or one with fewer search parameters.
    fn is_said_by(&self, other: &Self) -> bool {
        let is_of_it = self.level == other.level
            && other.resource_type.as_ref().is_none_or(|name| self.resource_type.as_ref() == Some(name))
            && self.interactions & !other.interactions == 0;
        match (&self.constraint, &other.constraint) {
            // Scopes without search parameters stay as they were asked for.
            (None, _) => self == other,
            (Some(_), None) => is_of_it,
            (Some(own), Some(others)) => is_of_it && own.implies(others),
        }
    }

    fn allows(&self, interaction: Interaction, resource_type: &str) -> bool {
        self.interactions & interaction.bit() != 0
            && self.resource_type.as_deref().is_none_or(|own| own == resource_type)
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
            Level::User => "user",
        };
        write!(formatter, "{level}/{}.", self.resource_type.as_deref().unwrap_or("*"))?;
        let allowed = Interaction::ALL.into_iter().filter(|interaction| self.interactions & interaction.bit() != 0);
        allowed.map(Interaction::letter).try_for_each(|letter| write!(formatter, "{letter}"))?;
        self.constraint.as_ref().map_or(Ok(()), |constraint| write!(formatter, "?{constraint}"))
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
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        text.split_ascii_whitespace().map(Scope::read).collect::<Result<_, _>>().map(Self)
    }

    /// What is left of the scopes that a client asks for under those it is registered with. What
    /// is no scope on resources is not granted.
    ///
    /// # Errors
    /// A scope whose search parameters cannot be enforced, rather than something wider or nothing; too many scopes, or
    /// too many sets of search parameters for one type.
    pub fn granted(registered: &Self, requested: &str) -> Result<Self, ScopeError> {
        let mut granted: Vec<Scope> = Vec::new();
        for asked in requested.split_ascii_whitespace() {
            let asked = match Scope::read(asked) {
                Ok(asked) => asked,
                Err(ScopeError::Unknown(_)) => continue,
                Err(problem) => return Err(problem),
            };
            for scope in registered.0.iter().filter_map(|own| own.intersection(&asked)) {
                if !granted.iter().any(|other| scope.is_said_by(other)) {
                    granted.retain(|other| !other.is_said_by(&scope));
                    granted.push(scope);
                }
                if granted.len() > SCOPES_MAX {
                    return Err(ScopeError::TooLong);
                }
            }
        }
        let granted = Self(granted);
        if granted.to_string().len() > SCOPES_BYTES_MAX {
            return Err(ScopeError::TooLong);
        }
        match granted.too_constrained() {
            Some(resource_type) => Err(ScopeError::TooManyConstraints(resource_type)),
            None => Ok(granted),
        }
    }

    /// A type with more distinct constraints than are compared; those on every type count for each.
    fn too_constrained(&self) -> Option<String> {
        let types: BTreeSet<&str> = self.0.iter().map(|scope| scope.resource_type.as_deref().unwrap_or("*")).collect();
        let is_too_many = |resource_type: &&str| {
            let about = |scope: &&Scope| scope.resource_type.as_deref().is_none_or(|own| own == *resource_type);
            let constraints = self.0.iter().filter(about).filter_map(|scope| Some(scope.constraint.as_ref()?.sorted()));
            constraints.collect::<BTreeSet<_>>().len() > CONSTRAINTS_PER_TYPE_MAX
        };
        types.into_iter().find(is_too_many).map(str::to_owned)
    }

    /// Whether some scope of that level allows the interaction with the resource type, or with some
    /// resources of it.
    pub fn allow(&self, level: Level, interaction: Interaction, resource_type: &str) -> bool {
        self.constraints(level, interaction, resource_type).next().is_some()
    }

    /// What each scope of that level which allows the interaction with the resource type demands; nothing if
    /// none. Any of them will do.
    pub fn constraints(
        &self,
        level: Level,
        interaction: Interaction,
        resource_type: &str,
    ) -> impl Iterator<Item = Option<&Constraint>> {
        let allows = move |scope: &&Scope| scope.level == level && scope.allows(interaction, resource_type);
        self.0.iter().filter(allows).map(|scope| scope.constraint.as_ref())
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
