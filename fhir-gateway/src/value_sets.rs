//! Value sets: which codes `:in` and `:not-in` mean. docs/api/search.md
//!
//! The members of a ValueSet are told from what it lists alone: its expansion, or the codes, the whole code systems
//! and the other ValueSets that its definition names. Nothing is guessed: what only a code system could tell is a
//! refusal that names the place.
//!
//! Absent on purpose: code systems. A code that a resource names in a system is taken to be one of that system.

mod budget;
mod definition;
mod edition;
mod members;
mod pins;
mod shelf;

use std::{collections::BTreeMap, sync::Arc};

pub use budget::{BYTES_MAX, Budget, Kind, Spent};
pub use edition::Edition;
pub use members::{Codes, Members};
pub use pins::{PINS_BYTES_MAX, Pin, Pins};
pub use shelf::{Shelf, Volume};

use crate::{index::extract::local_reference, outcome::Refusal};

/// The type.
pub const TYPE: &str = "ValueSet";
/// Most ValueSets that one search has to do with, those that others include among them.
pub const SETS_MAX: usize = 32;
/// Most names of ValueSets that one search has to do with, those in ValueSets and those of what is not there among them.
pub const NAMES_MAX: usize = 2 * SETS_MAX;
/// Longest name of a ValueSet, in bytes.
pub const NAME_BYTES_MAX: usize = 1_000;
/// Most bytes of all names that one search lists.
pub const LISTED_BYTES_MAX: usize = 32 * 1024;
/// Most ValueSets that include one another in turn.
pub const DEPTH_MAX: usize = 8;
/// Most codes of one value set, those that it leaves out of a whole code system among them.
pub const CODES_MAX: usize = 20_000;
/// Most code systems of one value set.
pub const SYSTEMS_MAX: usize = 200;
/// Longest code system and longest code of a value set, in bytes: each is compared with many others.
pub const TEXT_BYTES_MAX: usize = 1_000;

/// How a value set is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// The ValueSet of that id here.
    Id(String),
    /// By its canonical URL.
    Canonical {
        /// `ValueSet.url`.
        url: String,
        /// `ValueSet.version`; the newest if none.
        version: Option<String>,
    },
}

impl Named {
    /// Reads `ValueSet/id`, or `url` or `url|version`; none of what can be neither. `base_url` is where the
    /// organization's own resources live. What is longer than [`NAME_BYTES_MAX`] names nothing.
    pub fn read(text: &str, base_url: &str) -> Option<Self> {
        if text.len() > NAME_BYTES_MAX {
            return None;
        }
        let (url, version) = match text.split_once('|') {
            Some((url, version)) => (url, Some(version)),
            None => (text, None),
        };
        // What has a version is canonical, also where it begins as what is kept here does.
        if version.is_none() {
            match local_reference(url, base_url) {
                // One version of a resource is no canonical name, and which is current is for the server to say.
                Some((TYPE, id)) if !url.contains("/_history/") => return Some(Self::Id(id.to_owned())),
                Some(_) => return None,
                None => {}
            }
        }
        // Of what is contained elsewhere only a part is named.
        let is_absolute = url.contains(':') && !url.contains('#');
        let is_whole = is_absolute && version.is_none_or(|version| !version.is_empty());
        is_whole.then(|| Self::Canonical { url: url.to_owned(), version: version.map(str::to_owned) })
    }
}

/// The value sets that a request names, looked up for whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Sets {
    found: BTreeMap<Named, Result<Arc<Members>, Refusal>>,
    refusal: Option<Refusal>,
    /// What each name meant, the names in ValueSets too.
    pub pins: Pins,
}

impl Sets {
    /// What was found under each name, or why none can be told.
    pub fn new(found: BTreeMap<Named, Result<Arc<Members>, Refusal>>, pins: Pins) -> Self {
        Self { found, refusal: None, pins }
    }

    /// The same answer to every name.
    pub fn refused(refusal: Refusal) -> Self {
        Self { refusal: Some(refusal), ..Self::default() }
    }

    /// The members of a set.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] where there is no such set that the caller may see, [`Refusal::NotListed`] where its
    /// members cannot be told, [`Refusal::TooCostly`] where that is too much work, and what else there is against looking.
    pub fn members(&self, name: &Named) -> Result<Arc<Members>, Refusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.found.get(name).cloned().unwrap_or_else(|| Err(unknown()))
    }
}

/// The answer to a name of what is not here, or not for the caller.
pub fn unknown() -> Refusal {
    Refusal::BadRequest(
        ":in and :not-in name a value set that is not kept here; they take ValueSet/id, or a canonical url or \
         url|version of a ValueSet that was written here"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests;
