//! Which versions of ValueSets something began with that goes on: a search of several pages, an export.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use careledger_wire::commitment;
use serde::{Deserialize, Serialize};

use super::{NAMES_MAX, Named, SETS_MAX};

/// Bytes of a name's key.
const KEY_BYTES: usize = 8;
/// Longest id of a resource (FHIR R4, 2.24.0.1, id): letters, digits, `-` and `.`, which JSON does not escape.
const ID_BYTES_MAX: usize = 64;
/// Longest text of one set: `["id",4294967295,[]],`.
const PIN_TEXT_MAX: usize = ID_BYTES_MAX + 10 + 9;
/// Longest text of one key: `"…",`.
const KEY_TEXT_MAX: usize = (KEY_BYTES * 8).div_ceil(6) + 3;
/// Longest text of what a search remembers in the link of its next page: links stay shorter than the 8 kB that proxies take.
pub const PINS_BYTES_MAX: usize = 4 * 1024;
const _: () = assert!(2 + SETS_MAX * PIN_TEXT_MAX + NAMES_MAX * KEY_TEXT_MAX <= PINS_BYTES_MAX);

/// One version of a ValueSet that is kept here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pin {
    /// Its id.
    pub id: String,
    /// Its version, from 1.
    pub version: u32,
}

/// Which version of which ValueSet each name meant when something began that goes on: a search of several pages, an
/// export. What is written meanwhile changes nothing of it. Those of one search have at most [`PINS_BYTES_MAX`] as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<Meant>", into = "Vec<Meant>")]
pub struct Pins(BTreeMap<String, Pin>);

/// As text: each version once, with the keys of all names that meant it.
type Meant = (String, u32, Vec<String>);

impl Pins {
    /// What a name meant.
    pub fn get(&self, name: &Named) -> Option<&Pin> {
        self.0.get(&key(name))
    }

    /// Remembers what a name means.
    pub fn insert(&mut self, name: &Named, pin: Pin) {
        self.0.insert(key(name), pin);
    }

    /// Whether nothing was named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<Meant>> for Pins {
    fn from(meant: Vec<Meant>) -> Self {
        let pins = meant.into_iter().flat_map(|(id, version, keys)| {
            let pin = Pin { id, version };
            keys.into_iter().map(move |key| (key, pin.clone()))
        });
        Self(pins.collect())
    }
}

impl From<Pins> for Vec<Meant> {
    fn from(pins: Pins) -> Self {
        let mut meant: BTreeMap<Pin, Vec<String>> = BTreeMap::new();
        for (key, pin) in pins.0 {
            meant.entry(pin).or_default().push(key);
        }
        meant.into_iter().map(|(Pin { id, version }, keys)| (id, version, keys)).collect()
    }
}

/// A short name for a name.
fn key(name: &Named) -> String {
    let parts: [&[u8]; 3] = match name {
        Named::Id(id) => [id.as_bytes(), b"", b"id"],
        Named::Canonical { url, version: None } => [url.as_bytes(), b"", b"url"],
        Named::Canonical { url, version: Some(version) } => [url.as_bytes(), version.as_bytes(), b"version"],
    };
    URL_SAFE_NO_PAD.encode(&commitment::hash("careledger/value-set-name/1", &parts)[..KEY_BYTES])
}
