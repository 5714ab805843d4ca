//! Search parameters and the paths they read: FHIR's own from `definitions/search.txt`, those that
//! implementation guides add from `definitions/guides.txt`.

use std::collections::{BTreeSet, HashMap};

const SEARCH: &str = include_str!("../../definitions/search.txt");
const GUIDES: &str = include_str!("../../definitions/guides.txt");
const COMPARTMENTS: &str = include_str!("../../definitions/compartments.txt");

/// The number of the first parameter of a guide: above every line of FHIR's own table.
const FIRST_OF_GUIDES: usize = 100_000;

/// Above every number of a parameter.
const CHAINED: i64 = 1_000_000;

/// How a parameter is searched (FHIR R4, Search, 3.1.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the specification")]
pub enum SearchType {
    Token,
    Date,
    Reference,
    String,
    Quantity,
    Number,
    Uri,
    Composite,
    Special,
}

impl SearchType {
    /// The specification's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Date => "date",
            Self::Reference => "reference",
            Self::String => "string",
            Self::Quantity => "quantity",
            Self::Number => "number",
            Self::Uri => "uri",
            Self::Composite => "composite",
            Self::Special => "special",
        }
    }
}

/// One step of a path: a JSON name, and what a child of that object must be to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// JSON name.
    pub name: &'static str,
    /// Only objects whose member has that value.
    pub only: Option<(&'static str, &'static str)>,
}

/// A path to values that a parameter finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// From the resource downwards; arrays are entered.
    pub steps: Vec<Step>,
    /// Type of the values.
    pub leaf: &'static str,
    /// Only references to that resource type.
    pub target: Option<&'static str>,
}

/// Two values that belong together, such as a code and what was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composite {
    /// How each half is searched.
    pub types: [SearchType; 2],
    /// Where pairs stand.
    pub parts: Vec<CompositePart>,
}

/// A place at which pairs stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompositePart {
    /// To the object that holds a pair; empty for the resource itself.
    pub base: Vec<Step>,
    /// From there to the first half.
    pub first: Vec<Path>,
    /// From there to the second half.
    pub second: Vec<Path>,
}

/// A search parameter of one resource type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a query.
    pub code: &'static str,
    /// How it is searched.
    pub search_type: SearchType,
    /// Where its values stand; nowhere for a composite.
    pub paths: Vec<Path>,
    /// The token that it finds where none of its elements is there.
    pub otherwise: Option<&'static str>,
    /// Where its pairs stand, for a composite.
    pub composite: Option<Composite>,
    /// Its number in the index: the line of the table that it comes from.
    pub number: i64,
    /// Canonical URL of its SearchParameter, where a guide defines it.
    pub definition: Option<&'static str>,
}

impl Parameter {
    /// Finds names by how they sound, in place of how they are written.
    pub fn is_phonetic(&self) -> bool {
        self.code == "phonetic"
    }

    /// The number under which the index has what `inner` finds in a contained resource that this
    /// parameter refers to.
    pub fn into_contained(&self, inner: &Self) -> i64 {
        (self.number + 1) * CHAINED + inner.number
    }
}

/// The parameters of every resource type.
pub fn all() -> HashMap<&'static str, Vec<Parameter>> {
    let mut all: HashMap<&'static str, Vec<Parameter>> = HashMap::new();
    let mut current = "";
    let of_guides = GUIDES.lines().enumerate().map(|(at, line)| (FIRST_OF_GUIDES + at, line));
    for (number, line) in SEARCH.lines().enumerate().chain(of_guides) {
        match line.strip_prefix(' ') {
            None => current = line,
            Some(line) => {
                let number = i64::try_from(number).expect("the table is short");
                let parameter = read(line, number).expect("the generator writes whole lines");
                all.entry(current).or_default().push(parameter);
            }
        }
    }
    all
}

/// By which parameters the resources of each type are in the compartment of a Patient.
pub fn compartments() -> HashMap<&'static str, BTreeSet<&'static str>> {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        words.next().map(|name| (name, words.collect()))
    };
    COMPARTMENTS.lines().filter_map(line).collect()
}

/// A number that changes when the table does: an index made with another table must be rebuilt.
pub fn fingerprint() -> u32 {
    // FNV-1a: short, stable, and no attacker chooses the table.
    SEARCH
        .bytes()
        .chain(GUIDES.bytes())
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn read(line: &'static str, number: i64) -> Option<Parameter> {
    let (line, definition) = match line.split_once(" @") {
        Some((line, definition)) => (line, Some(definition)),
        None => (line, None),
    };
    let (line, otherwise) = match line.split_once(" =") {
        Some((line, otherwise)) => (line, Some(otherwise)),
        None => (line, None),
    };
    let mut words = line.split(' ');
    let code = words.next()?;
    let search_type = read_type(words.next()?)?;
    if search_type == SearchType::Composite {
        let types = [read_type(words.next()?)?, read_type(words.next()?)?];
        let parts = words.map(read_part).collect::<Option<Vec<_>>>()?;
        let composite = Some(Composite { types, parts });
        return Some(Parameter { code, search_type, paths: Vec::new(), otherwise, composite, number, definition });
    }
    let paths = words.map(read_path).collect::<Option<Vec<_>>>()?;
    Some(Parameter { code, search_type, paths, otherwise, composite: None, number, definition })
}

fn read_type(word: &str) -> Option<SearchType> {
    Some(match word {
        "token" => SearchType::Token,
        "date" => SearchType::Date,
        "reference" => SearchType::Reference,
        "string" => SearchType::String,
        "quantity" => SearchType::Quantity,
        "number" => SearchType::Number,
        "uri" => SearchType::Uri,
        "composite" => SearchType::Composite,
        "special" => SearchType::Special,
        _ => return None,
    })
}

/// `base;path,path;path`, where a base of `.` is the resource itself.
fn read_part(word: &'static str) -> Option<CompositePart> {
    let mut parts = word.split(';');
    let (base, first, second) = (parts.next()?, parts.next()?, parts.next()?);
    let base = match base {
        "." => Vec::new(),
        steps => read_steps(steps)?,
    };
    let paths = |text: &'static str| text.split(',').map(read_path).collect::<Option<Vec<_>>>();
    Some(CompositePart { base, first: paths(first)?, second: paths(second)? })
}

fn read_path(word: &'static str) -> Option<Path> {
    let (steps, leaf) = word.rsplit_once(':')?;
    let (leaf, target) = match leaf.split_once("->") {
        Some((leaf, target)) => (leaf, Some(target)),
        None => (leaf, None),
    };
    let steps = read_steps(steps)?;
    Some(Path { steps, leaf, target })
}

/// Steps are parted by dots; those within a filter, such as a URL's, part nothing.
fn read_steps(steps: &'static str) -> Option<Vec<Step>> {
    let mut is_filter = false;
    let parts = steps.split(move |letter: char| {
        is_filter = (is_filter || letter == '[') && letter != ']';
        letter == '.' && !is_filter
    });
    parts.map(read_step).collect()
}

fn read_step(step: &'static str) -> Option<Step> {
    match step.split_once('[') {
        None => Some(Step { name: step, only: None }),
        Some((name, filter)) => Some(Step { name, only: Some(filter.strip_suffix(']')?.split_once('=')?) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_filters_and_targets() {
        let all = all();
        let parameter = |resource: &str, code: &str| {
            all[resource].iter().find(|parameter| parameter.code == code).cloned().expect("in the table")
        };
        let email = parameter("Patient", "email");
        assert_eq!(email.paths[0].steps, vec![Step { name: "telecom", only: Some(("system", "email")) }]);
        let patient = parameter("Observation", "patient");
        assert_eq!(patient.paths[0].target, Some("Patient"));
        assert_eq!(parameter("Observation", "date").paths.len(), 4);
        let deceased = parameter("Patient", "deceased");
        assert_eq!((deceased.paths.len(), deceased.otherwise), (2, Some("false")));
        let designation = parameter("List", "designationType");
        let url = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/ihe-designationType";
        let extension = Step { name: "extension", only: Some(("url", url)) };
        let value = Step { name: "valueCodeableConcept", only: None };
        assert_eq!(designation.paths[0].steps, [extension, value]);
        assert!(designation.definition.is_some_and(|url| url.ends_with("SearchParameter/List-DesignationType")));
        let pair = parameter("Observation", "component-code-value-quantity").composite.expect("a composite");
        assert_eq!(pair.types, [SearchType::Token, SearchType::Quantity]);
        assert_eq!(pair.parts[0].base, vec![Step { name: "component", only: None }]);
        assert!(compartments()["Observation"].contains("performer"));
    }

    #[test]
    fn no_two_parameters_have_the_same_number_or_the_same_name_in_a_type() {
        let all = all();
        for (resource, parameters) in &all {
            let codes: BTreeSet<&str> = parameters.iter().map(|parameter| parameter.code).collect();
            assert_eq!(codes.len(), parameters.len(), "{resource}");
        }
        let numbers: BTreeSet<i64> = all.values().flatten().map(|parameter| parameter.number).collect();
        assert_eq!(numbers.len(), all.values().map(Vec::len).sum::<usize>());
        assert!(numbers.last().is_some_and(|last| *last < CHAINED));
        assert!(SEARCH.lines().count() < FIRST_OF_GUIDES);
    }
}
