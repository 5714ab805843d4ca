//! What a ValueSet lists (FHIR R4, ValueSet, 4.9): its expansion where that is whole, else its definition.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    CODES_MAX, Members, SYSTEMS_MAX, TEXT_BYTES_MAX,
    budget::{Spent, weight},
};
use crate::{
    json::{Document, Node},
    outcome::Refusal,
};

/// Where the members of a ValueSet cannot be told, and why: an element, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the element; of what is included, behind that of the element that includes it.
    pub place: String,
    /// What is the matter, and what to do. No content of the ValueSet is in it.
    pub problem: String,
    /// What kind of thing is the matter.
    pub matter: Matter,
}

/// Why the members of a ValueSet are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// It does not list them.
    NotListed,
    /// It would be too much work.
    TooCostly,
}

impl Fault {
    /// At an element, from which the members cannot be told.
    pub fn at(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into(), matter: Matter::NotListed }
    }

    /// At an element that is more than is told.
    pub fn costly(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { matter: Matter::TooCostly, ..Self::at(place, problem) }
    }

    /// The same, in what the element at `place` includes.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        Self { place: format!("{place} > {}", self.place), ..self }
    }

    /// As what a request is refused with.
    pub fn refusal(self) -> Refusal {
        match self.matter {
            Matter::NotListed => Refusal::NotListed { place: self.place, problem: self.problem },
            Matter::TooCostly => Refusal::TooCostly { place: Some(self.place), problem: self.problem },
        }
    }
}

/// What helps where only a code system could tell.
const TO_DO: &str = "no code systems are kept here; write the ValueSet with its expansion, or list its concepts";

/// Extensions of an expansion that say that codes are missing.
const NOT_WHOLE: [&str; 2] = [
    "http://hl7.org/fhir/StructureDefinition/valueset-toocostly",
    "http://hl7.org/fhir/StructureDefinition/valueset-unclosed",
];
/// Parameters of an expansion that leave out codes, or may, unless they say that they do not (FHIR R4, ValueSet/$expand).
const NARROWING: [&str; 6] = [
    // Codes that are inactive now were not when older resources were written.
    "activeOnly",
    // What that means "depends on the code system".
    "excludeNotForUI",
    "excludePostCoordinated",
    "filter",
    "limitedExpansion",
    "offset",
];
/// Parameters that leave out nothing, whatever they say. Of any other, that a server has made up or a later FHIR has, it is
/// not known.
const HARMLESS: [&str; 21] = [
    // What names the value set.
    "url",
    "valueSet",
    "valueSetVersion",
    "context",
    "contextDirection",
    // What is shown of a code, and beside the codes.
    "includeDesignations",
    "designation",
    "displayLanguage",
    "includeDefinition",
    // Whether codes stand within one another.
    "excludeNested",
    // Of which version the systems are: versions are not compared.
    "system-version",
    "check-system-version",
    "force-system-version",
    "version",
    // What was used, and what is to be known of it.
    "used-codesystem",
    "used-valueset",
    "used-supplement",
    "warning-deprecated",
    "warning-draft",
    "warning-experimental",
    "warning-withdrawn",
];
/// What asks for a page of an expansion. Then there may be more, whatever else stands there.
const PAGING: &str = "count";

/// What is asked of others while the members of a ValueSet are told.
pub trait Source {
    /// The members of another ValueSet, by its canonical name. A fault without a place is one of the element that names it.
    ///
    /// # Errors
    /// The place from which they cannot be told.
    fn import(&mut self, name: &str) -> Result<Arc<Members>, Fault>;

    /// Pays for so many codes, or parts of a definition, that are looked at.
    ///
    /// # Errors
    /// [`Spent`].
    fn look(&mut self, codes: usize) -> Result<(), Spent>;
}

/// The canonical names of the ValueSets without which the members of this one cannot be told, each once, and no more than
/// `most`.
pub fn imports(document: &Document, most: usize) -> BTreeSet<&str> {
    let root = document.root();
    let mut names = BTreeSet::new();
    if matches!(expansion(root), Ok(Some(_))) {
        return names;
    }
    let parts = ["include", "exclude"].map(|name| root.get("compose").map_or(&[][..], |compose| items(compose, name)));
    let named = parts.into_iter().flatten().flat_map(|part| items(part, "valueSet"));
    for name in named.filter_map(Node::as_str) {
        if names.len() == most {
            break;
        }
        names.insert(name);
    }
    names
}

/// The members of a ValueSet.
///
/// # Errors
/// The place from which they cannot be told.
pub fn members(document: &Document, source: &mut dyn Source) -> Result<Members, Fault> {
    let root = document.root();
    is_plain(root, "ValueSet")?;
    match (expansion(root), root.get("compose")) {
        (Ok(Some(expansion)), _) => {
            let place = "ValueSet.expansion";
            is_plain(expansion, place)?;
            let mut members = Members::default();
            contained(expansion, place, &mut members, source)?;
            Ok(members)
        }
        // A part of the expansion says nothing that the definition does not.
        (_, Some(compose)) => composed(compose, source),
        (Err(fault), None) => Err(fault),
        (Ok(None), None) => Err(Fault::at("ValueSet.compose", format!("is not there, nor is an expansion; {TO_DO}"))),
    }
}

/// The expansion, where it has every member.
fn expansion(root: &Node) -> Result<Option<&Node>, Fault> {
    let Some(expansion) = root.get("expansion") else { return Ok(None) };
    let part = |element: &str, what: &str| {
        let problem = format!("{what}; write the ValueSet with its whole expansion, or list its concepts");
        Err(Fault::at(format!("ValueSet.expansion{element}"), problem))
    };
    let primitive = |node: &Node, name: &str| node.get(name).and_then(Node::as_primitive).map(str::to_owned);
    let number = |name: &str| primitive(expansion, name).and_then(|digits| digits.parse::<u64>().ok());
    for (at, extension) in items(expansion, "extension").iter().enumerate() {
        let is_named = extension.text("url").is_some_and(|url| NOT_WHOLE.contains(&url));
        if is_named && primitive(extension, "valueBoolean").as_deref() != Some("false") {
            return part(&format!(".extension[{at}]"), "says that the expansion is not whole");
        }
    }
    if number("offset").is_some_and(|offset| offset > 0) {
        return part(".offset", "says that the expansion is a part");
    }
    let entries = entries(expansion);
    for (at, parameter) in items(expansion, "parameter").iter().enumerate() {
        let name = parameter.text("name").unwrap_or_default();
        let is_harmless = HARMLESS.contains(&name) || NARROWING.contains(&name) && leaves_nothing_out(parameter, name);
        if name != PAGING && !is_harmless {
            return part(&format!(".parameter[{at}]"), "leaves codes out of the expansion, or may");
        }
        // Whether a total counts what is no member is up to who made it: here it may.
        if name == PAGING && number("total").is_none_or(|total| total > entries.members) {
            return part(
                &format!(".parameter[{at}]"),
                "asks for a page, and no total says that there are no more codes",
            );
        }
    }
    match number("total") {
        Some(total) if total > entries.coded => part(".total", "is more than the codes that the expansion contains"),
        None if entries.coded == 0 => part(".contains", "has no codes, and no total of 0 says that there are none"),
        _ => Ok(Some(expansion)),
    }
}

/// Whether a parameter that may leave codes out says that it does not: no, from the first, or no text to filter by. What has
/// no value at all does not say so.
fn leaves_nothing_out(parameter: &Node, name: &str) -> bool {
    let says = |element: &str| parameter.get(element).and_then(Node::as_primitive);
    match name {
        "filter" => says("valueString") == Some(""),
        "offset" => says("valueInteger") == Some("0"),
        _ => says("valueBoolean") == Some("false"),
    }
}

/// What stands in an expansion.
#[derive(Debug, Clone, Copy, Default)]
struct Entries {
    /// Those with a code, abstract ones too.
    coded: u64,
    /// Those that are members.
    members: u64,
}

/// How many entries stand in an expansion, those within others too.
fn entries(node: &Node) -> Entries {
    items(node, "contains").iter().fold(Entries::default(), |counted, entry| {
        let within = entries(entry);
        let is_coded = entry.get("code").is_some();
        Entries {
            coded: counted.coded + within.coded + u64::from(is_coded),
            members: counted.members + within.members + u64::from(is_coded && !is_abstract(entry)),
        }
    })
}

fn is_abstract(entry: &Node) -> bool {
    entry.get("abstract").and_then(Node::as_primitive) == Some("true")
}

/// The codes below an entry of an expansion. What is abstract stands there to be read, and is no member; what is
/// inactive is one: resources that were written before carry it.
fn contained(node: &Node, place: &str, members: &mut Members, source: &mut dyn Source) -> Result<(), Fault> {
    for (at, entry) in items(node, "contains").iter().enumerate() {
        let place = format!("{place}.contains[{at}]");
        let bytes = ["system", "code"].into_iter().filter_map(|name| entry.text(name)).map(str::len).sum();
        look(source, &place, bytes)?;
        is_plain(entry, &place)?;
        if !is_abstract(entry) {
            let required = |name: &str| {
                let problem = "is required of an entry that is not abstract";
                entry.text(name).ok_or_else(|| Fault::at(format!("{place}.{name}"), problem))
            };
            let (system, code) = (required("system")?, required("code")?);
            short(system, &place, "system")?;
            short(code, &place, "code")?;
            members.add(system, code);
            bounded(members, &place)?;
        }
        contained(entry, &place, members, source)?;
    }
    Ok(())
}

fn composed(compose: &Node, source: &mut dyn Source) -> Result<Members, Fault> {
    let place = "ValueSet.compose";
    is_plain(compose, place)?;
    if compose.get("inactive").and_then(Node::as_primitive) == Some("false") {
        let problem = format!("leaves out what only a code system says to be inactive: {TO_DO}");
        return Err(Fault::at(format!("{place}.inactive"), problem));
    }
    let is_locked = compose.get("lockedDate").is_some();
    let mut all = [Members::default(), Members::default()];
    for (all, name) in all.iter_mut().zip(["include", "exclude"]) {
        for (at, part) in items(compose, name).iter().enumerate() {
            let place = format!("{place}.{name}[{at}]");
            look(source, &place, 0)?;
            let part = Part { node: part, place: &place, is_locked };
            *all = std::mem::take(all).union(&part.members(source)?);
            bounded(all, &place)?;
        }
    }
    let [included, excluded] = all;
    let members = included.difference(&excluded);
    bounded(&members, place)?;
    Ok(members)
}

/// An include or an exclude.
struct Part<'a> {
    node: &'a Node,
    place: &'a str,
    /// Whether versions are meant that are not named: those of a date.
    is_locked: bool,
}

impl Part<'_> {
    /// What its system and concepts say and each of its value sets, together: what all of them have.
    fn members(&self, source: &mut dyn Source) -> Result<Members, Fault> {
        is_plain(self.node, self.place)?;
        if self.node.get("filter").is_some() {
            return Err(Fault::at(
                format!("{}.filter", self.place),
                format!("asks what only a code system says: {TO_DO}"),
            ));
        }
        let mut all = self.of_system(source)?;
        for (at, name) in items(self.node, "valueSet").iter().enumerate() {
            let place = format!("{}.valueSet[{at}]", self.place);
            let name = name.as_str().unwrap_or_default();
            if self.is_locked && !name.contains('|') {
                let problem = "means the version of ValueSet.compose.lockedDate: name the version that it was then";
                return Err(Fault::at(place, problem));
            }
            let imported = source.import(name).map_err(|fault| match fault.place.is_empty() {
                true => Fault { place: place.clone(), ..fault },
                false => fault.within(&place),
            })?;
            all = Some(match all {
                Some(all) => all.intersection(&imported),
                None => Members::clone(&imported),
            });
        }
        all.ok_or_else(|| Fault::at(self.place, "names neither a system nor a value set"))
    }

    /// What its system and its concepts say; none where it names no system.
    fn of_system(&self, source: &mut dyn Source) -> Result<Option<Members>, Fault> {
        let concepts = items(self.node, "concept");
        let Some(system) = self.node.text("system") else {
            return match concepts {
                [] => Ok(None),
                _ => Err(Fault::at(format!("{}.system", self.place), "is required where concepts are listed")),
            };
        };
        short(system, self.place, "system")?;
        if concepts.is_empty() {
            let element = if self.is_locked { "system" } else { "version" };
            if self.is_locked || self.node.get("version").is_some() {
                let problem = format!("means what one version of a code system has: {TO_DO}");
                return Err(Fault::at(format!("{}.{element}", self.place), problem));
            }
            return Ok(Some(Members::whole(system)));
        }
        let mut members = Members::default();
        for (at, concept) in concepts.iter().enumerate() {
            let place = format!("{}.concept[{at}]", self.place);
            let code = concept.text("code");
            look(source, &place, system.len() + code.map_or(0, str::len))?;
            is_plain(concept, &place)?;
            let code = code.ok_or_else(|| Fault::at(format!("{place}.code"), "is required"))?;
            short(code, &place, "code")?;
            members.add(system, code);
            bounded(&members, self.place)?;
        }
        Ok(Some(members))
    }
}

/// Refuses what an extension says that changes what everything beside it means: no rule here knows one.
fn is_plain(node: &Node, place: &str) -> Result<(), Fault> {
    match node.get("modifierExtension") {
        Some(_) => Err(Fault::at(format!("{place}.modifierExtension"), "is not understood here")),
        None => Ok(()),
    }
}

/// Pays for what stands at a place, with texts of so many bytes.
fn look(source: &mut dyn Source, place: &str, bytes: usize) -> Result<(), Fault> {
    source.look(weight(bytes)).map_err(|spent| Fault::costly(place, spent.problem()))
}

/// Refuses a text that is longer than any code or system is.
fn short(text: &str, place: &str, element: &str) -> Result<(), Fault> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(Fault::costly(format!("{place}.{element}"), format!("is longer than {TEXT_BYTES_MAX} bytes")))
}

fn bounded(members: &Members, place: &str) -> Result<(), Fault> {
    let too_many = |most: usize, what: &str| {
        let problem =
            format!("makes a value set of more than {most} {what}: search for smaller ones, with commas between them");
        Err(Fault::costly(place, problem))
    };
    match (members.codes(), members.systems_count()) {
        (codes, _) if codes > CODES_MAX => too_many(CODES_MAX, "codes"),
        (_, systems) if systems > SYSTEMS_MAX => too_many(SYSTEMS_MAX, "code systems"),
        _ => Ok(()),
    }
}

fn items<'a>(node: &'a Node, name: &str) -> &'a [Node] {
    node.get(name).map_or(&[], Node::items)
}
