//! ValueSets that one request has to do with, and what they mean together.
//!
//! Each is read once and told once, however many searches of the request name it and however many others include it; what
//! it costs is paid from the request's one [`Budget`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    DEPTH_MAX, Members, NAMES_MAX, Named, Pin, Pins, Sets,
    budget::{Budget, Kind, Spent, weight},
    definition::{self, Fault, Source},
    unknown,
};
use crate::{json::Document, outcome::Refusal};

/// A ValueSet that was read, and what is looked for in it before it is told. To make one takes time with its size.
#[derive(Debug, Clone)]
pub struct Volume {
    document: Document,
    called: Called,
    imports: Vec<Named>,
}

/// What a ValueSet says that it is called: its `url` and `version`.
type Called = [Option<String>; 2];

impl Volume {
    /// Of a ValueSet of the organization whose own resources live at `base_url`.
    pub fn of(document: Document, base_url: &str) -> Self {
        let called = ["url", "version"].map(|element| document.root().text(element).map(str::to_owned));
        // One more than there may be, so that more are noticed.
        let names = definition::imports(&document, NAMES_MAX + 1);
        let names: BTreeSet<Named> = names.into_iter().filter_map(|name| Named::read(name, base_url)).collect();
        Self { document, called, imports: names.into_iter().collect() }
    }
}

/// What was found, under which names.
#[derive(Debug, Default)]
pub struct Shelf {
    /// What each name means; none where there is no such set for the caller.
    names: BTreeMap<Named, Option<Pin>>,
    called: BTreeMap<Pin, Called>,
    /// The names in each set.
    imports: BTreeMap<Pin, Vec<Named>>,
    /// What is read, until [`Self::close`].
    read: BTreeMap<Pin, Document>,
    told: BTreeMap<Pin, Told>,
    /// What was answered to a request's own names.
    answers: BTreeMap<Named, Result<Arc<Members>, Refusal>>,
    /// What was said against names that were asked for together.
    refusals: BTreeMap<Vec<Named>, Refusal>,
}

/// A ValueSet whose members are known.
#[derive(Debug, Clone)]
struct Told {
    members: Arc<Members>,
    /// As how many codes it counts where it is combined with others.
    size: usize,
    /// How many sets are within one another, this one among them.
    depth: usize,
}

impl Shelf {
    /// What a name means, where it was looked for; none where there is no such set for the caller.
    pub fn meaning(&self, name: &Named) -> Option<Option<&Pin>> {
        self.names.get(name).map(Option::as_ref)
    }

    /// Whether nothing must be read to tell the members of a version, but what it includes.
    pub fn has(&self, pin: &Pin) -> bool {
        self.told.contains_key(pin) || self.read.contains_key(pin)
    }

    /// Whether all of these names were answered.
    pub fn has_answered(&self, names: &[Named]) -> bool {
        names.iter().all(|name| self.answers.contains_key(name))
    }

    /// What was said against these names together.
    pub fn refusal(&self, names: &[Named]) -> Option<&Refusal> {
        self.refusals.get(names)
    }

    /// Says what is against these names together.
    pub fn refuse(&mut self, names: Vec<Named>, refusal: Refusal) {
        self.refusals.insert(names, refusal);
    }

    /// Says that there is nothing of that name.
    pub fn put_nothing(&mut self, name: Named) {
        self.names.insert(name, None);
    }

    /// Says which version a name means.
    pub fn put(&mut self, name: Named, pin: Pin) {
        self.names.insert(name, Some(pin));
    }

    /// Puts the content of a version there.
    pub fn open(&mut self, pin: Pin, volume: Volume) {
        let Volume { document, called, imports } = volume;
        self.imports.insert(pin.clone(), imports);
        self.called.insert(pin.clone(), called);
        self.read.insert(pin, document);
    }

    /// Whether a version that was put there has that name, by what it says itself; an id always is one.
    pub fn is_called(&self, pin: &Pin, name: &Named) -> bool {
        let Named::Canonical { url, version } = name else { return true };
        let Some([own_url, own_version]) = self.called.get(pin) else { return false };
        own_url.as_ref() == Some(url) && (version.is_none() || own_version == version)
    }

    /// The names in a version that was put there.
    pub fn imports(&self, pin: &Pin) -> &[Named] {
        self.imports.get(pin).map_or(&[], Vec::as_slice)
    }

    /// Lets go of what was read. What was told stays.
    pub fn close(&mut self) {
        self.read.clear();
    }

    /// Tells the members of what these names mean, as far as they are not known yet.
    pub fn answer(&mut self, names: &[Named], base_url: &str, budget: &mut Budget) {
        for name in names {
            if self.answers.contains_key(name) {
                continue;
            }
            let answer = match self.names.get(name).cloned().flatten() {
                Some(pin) => {
                    let Self { names, read, told, .. } = self;
                    let mut telling = Telling { names, read, told, budget, base_url, open: Vec::new(), below: 0 };
                    telling.told(&pin).map(|told| told.members).map_err(Fault::refusal)
                }
                None => Err(unknown()),
            };
            self.answers.insert(name.clone(), answer);
        }
    }

    /// What was answered to these names, and what they and the names in their sets meant.
    pub fn sets(&self, names: &[Named]) -> Sets {
        let answers = names.iter().filter_map(|name| Some((name.clone(), self.answers.get(name)?.clone())));
        Sets::new(answers.collect(), self.pins(names))
    }

    fn pins(&self, names: &[Named]) -> Pins {
        let (mut pins, mut seen) = (Pins::default(), BTreeSet::new());
        let mut waiting: VecDeque<&Named> = names.iter().collect();
        while let Some(name) = waiting.pop_front() {
            if let (true, Some(Some(pin))) = (seen.insert(name), self.meaning(name)) {
                pins.insert(name, pin.clone());
                waiting.extend(self.imports(pin));
            }
        }
        pins
    }
}

/// What is being told.
struct Telling<'a> {
    names: &'a BTreeMap<Named, Option<Pin>>,
    read: &'a BTreeMap<Pin, Document>,
    told: &'a mut BTreeMap<Pin, Told>,
    budget: &'a mut Budget,
    base_url: &'a str,
    /// Those that are not told yet, each within the one before.
    open: Vec<Pin>,
    /// How many are within one another below the one that is being told.
    below: usize,
}

impl Telling<'_> {
    fn told(&mut self, pin: &Pin) -> Result<Told, Fault> {
        if let Some(told) = self.told.get(pin) {
            return Ok(told.clone());
        }
        let read = self.read;
        let document = read.get(pin).ok_or_else(|| Fault::at("ValueSet", "could not be read just now"))?;
        self.open.push(pin.clone());
        let above = std::mem::take(&mut self.below);
        let found = definition::members(document, self);
        let depth = std::mem::replace(&mut self.below, above) + 1;
        self.open.pop();
        let members = Arc::new(found?);
        let size = size(&members);
        let told = Told { members, size, depth };
        self.budget.take(Kind::Kept, size).map_err(|spent| Fault::costly("ValueSet", spent.problem()))?;
        self.told.insert(pin.clone(), told.clone());
        Ok(told)
    }
}

impl Source for Telling<'_> {
    fn import(&mut self, name: &str) -> Result<Arc<Members>, Fault> {
        let here = |problem: &str| Fault::at("", problem);
        let too_deep = || {
            Fault::costly(
                "",
                format!("is the beginning of more than {DEPTH_MAX} value sets, each within the one before"),
            )
        };
        let costly = |spent: Spent| Fault::costly("", spent.problem());
        self.budget.take(Kind::Imports, 1).map_err(costly)?;
        let absent = "names a value set that is not kept here: write it here, too, or list its concepts";
        let name = Named::read(name, self.base_url).ok_or_else(|| here(absent))?;
        let pin = self.names.get(&name).cloned().flatten().ok_or_else(|| here(absent))?;
        if self.open.contains(&pin) {
            return Err(here("includes what includes it"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep());
        }
        let told = self.told(&pin)?;
        // As if it was told here, wherever it was told first: which name comes first changes nothing.
        if self.open.len() + told.depth > DEPTH_MAX {
            return Err(too_deep());
        }
        self.below = self.below.max(told.depth);
        self.budget.take(Kind::Looks, told.size).map_err(costly)?;
        Ok(told.members)
    }

    fn look(&mut self, codes: usize) -> Result<(), Spent> {
        self.budget.take(Kind::Looks, codes)
    }
}

/// As how many codes a set counts where it is combined with others, or remembered: one for each code and each system, and
/// more for long ones.
fn size(members: &Members) -> usize {
    let texts = members.systems().flat_map(|(system, codes)| {
        let codes = codes.named().iter().map(|code| code.len());
        std::iter::once(system.len()).chain(codes)
    });
    texts.map(weight).sum()
}
